"""What is left to read on a connection that can no longer be written to.

Owns: the time between a failed send, or a hang-up, and the end of the connection. Must not know why
the send failed.

Theory of operation: the peer may have sent data before it reset the connection or closed it, and a
response to read is worth more than the news that a request could not be sent. So the socket is read
to its end first, one piece a turn, and then the connection is lost with the error of the send. A
paused connection emits `hangup`, and is read when it resumes.
"""

from __future__ import annotations

from thor.tcp.sockets import RECV_BYTES
from thor.tcp.state import OPEN
from thor.tcp.transport import Transport


class FailedWrite:
    """The remaining input of a connection whose sends fail."""

    __slots__ = ("_conn", "_exc", "_hangup_emitted")

    def __init__(self, conn: Transport, exc: OSError | None) -> None:
        """exc: of the send; None if the kernel reported a hang-up"""
        self._conn = conn
        self._exc = exc
        self._hangup_emitted = False

    def read_remaining(self) -> None:
        """Deliver one piece of what is left to read; after the last, the connection is lost."""
        conn = self._conn
        if conn.read_state is OPEN and not conn.pushed_back and not self._read_piece():
            return
        if not conn.pushed_back:
            conn.connection_lost(self._exc)
        elif conn.read_paused:
            self._emit_hangup()
        else:
            data, conn.pushed_back = conn.pushed_back, b""
            conn.loop.call_soon(self.read_remaining)
            conn.deliver(data)

    def _read_piece(self) -> bool:
        """Read a piece and push it back. Return False if the connection has ended instead."""
        conn = self._conn
        try:
            data = conn.stream.recv(RECV_BYTES)
        except OSError as exc:
            conn.connection_lost(self._exc or exc)
            return False
        if data:
            conn.bytes_read += len(data)
            conn.pushed_back = data
            return True
        # A reset that was reported by a `send` is not reported again: reading then finds what looks
        # like a FIN. Only after EPIPE, which is how a send fails that comes after a FIN, it is one.
        if self._exc is None or isinstance(self._exc, BrokenPipeError):
            conn.eof_received()
        conn.connection_lost(self._exc)
        return False

    def failed(self, exc: BaseException) -> None:
        """Reset the connection: a listener raised `exc`."""
        self._conn.failed(exc)

    def _emit_hangup(self) -> None:
        if not self._hangup_emitted:
            self._hangup_emitted = True
            owner = self._conn.owner
            if owner is not None:
                owner.hangup()
            self._conn.emit("hangup")
