"""The remote side of one connection, played by a test.

Owns: one connected socket, of the kernel or in memory, and TLS on it where the test asks for TLS.
Must not use Thor's connections, which it tests; must not know HTTP.

How it works: the socket is a source of the loop under test, so that bytes move when that loop runs,
at the time that its clock gives. TLS is OpenSSL on two buffers between the socket and the test.
"""

from __future__ import annotations

import errno
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from difflib import ndiff
from time import monotonic
from typing import Self

from thor.events import EventEmitter
from thor.loop import EventSource, LoopBase
from thor.tcp import TcpConnection
from thor.testing.memory import BUFFER_BYTES, MemorySocket, is_in_memory, settle

#: How long a real loop is run for what has to happen, in seconds.
LIMIT_S = 10.0
_RECV_BYTES = 1 << 18
#: What a diff shows: lines, and characters of each.
_MAX_LINES, _MAX_LINE = 200, 1000
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def run_until(loop: LoopBase, condition: Callable[[], object]) -> bool:
    """Run a loop until a condition holds; a memory loop, until nothing is left to do now.

    Returns: whether it holds; False from a real loop after LIMIT_S seconds
    """
    if is_in_memory(loop):
        settle(loop)
    else:
        limit = monotonic() + LIMIT_S
        while not condition() and monotonic() < limit:
            loop.run_once(0.05)
    return bool(condition())


def difference(expected: list[str], found: list[str]) -> str:
    """Return a diff, line by line; its first lines, if it is long."""
    lines = [line[:_MAX_LINE] for line in ndiff(expected, found)]
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES:] = [f"... and {len(lines) - _MAX_LINES} lines more"]
    return "\n".join(["expected (-), happened (+):", *lines])


class Peer(EventEmitter):
    """The remote side of one connection. It sends what the test says, and keeps what it receives.

    On a memory loop each method runs the loop until nothing is left to do, unless a callback of
    that loop calls it.

    received: the bytes that have arrived, and were not taken yet; of TLS, the plaintext
    is_ended: the other side has finished sending (FIN; of TLS, close_notify)
    is_reset: the connection was lost (RST; of TLS, also a FIN without close_notify)

    Emits:
        data(bytes): some have arrived.
        end(): the other side has finished sending.
        close(): the connection is over, by a reset or because both sides have finished.
    """

    emits = frozenset(("data", "end", "close"))

    def __init__(
        self,
        loop: LoopBase,
        sock: TcpConnection | MemorySocket | socket.socket,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> None:
        """Play the part of a connected socket, or of a connection, whose socket it takes over.

        tls: speak TLS with this context, as the client of `server_hostname`, or as a server
        """
        if isinstance(sock, TcpConnection):
            sock.unregister_fd()
            sock = sock.socket
        sock.setblocking(False)
        self.sock: MemorySocket | socket.socket = sock
        self.received = b""
        self.is_ended = self.is_reset = False
        self._loop = loop
        self._tls = None if tls is None else _Tls(tls, server_hostname)
        self._unsent = bytearray()
        self._ends = self._finished = self._closes = self._paused = False
        self._source = EventSource(loop)
        self._source.register_fd(sock.fileno(), "fd_readable")
        self._source.on("fd_readable", lambda: self._receive(_RECV_BYTES))
        self._source.on("fd_writable", self._flush)
        self._source.on("fd_error", self._read)
        self._source.on("fd_close", self._read)
        if self._tls is not None:
            self._unsent += self._tls.encrypt(b"")  # the first flight of a client's handshake
        self._flush()

    @property
    def unsent(self) -> int:
        """How many bytes wait until the other side reads; of TLS, of its records."""
        return len(self._unsent)

    @property
    def is_closed(self) -> bool:
        """Whether the other side has ended the connection, in either way."""
        return self.is_ended or self.is_reset

    # -- what the peer does ---------------------------------------------------------------------

    def send(self, *pieces: bytes) -> Self:
        """Send each piece as one segment; what a lost connection does not take is dropped."""
        for piece in pieces:
            self._unsent += piece if self._tls is None else self._tls.encrypt(piece)
            self._flush()
            self._run()
        return self

    def end(self) -> Self:
        """Finish sending (FIN; of TLS, close_notify and FIN), and go on reading."""
        if self._tls is not None:
            self._unsent += self._tls.end()
        self._ends = True
        self._flush()
        return self._run()

    def close(self) -> Self:
        """Close, without close_notify, when everything is sent; bytes not read make it a reset."""
        self._closes = True
        self._flush()
        return self._run()

    def abort(self) -> Self:
        """Reset the connection (RST)."""
        if self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self._release()
        return self._run()

    def pause(self, paused: bool = True) -> Self:
        """Stop or resume reading.

        In memory no byte arrives meanwhile, and an end or a reset is seen; a kernel's buffer takes
        some bytes, and what follows them is seen after them.
        """
        if isinstance(self.sock, MemorySocket):
            self.sock.buffer_bytes = 0 if paused else BUFFER_BYTES
        else:
            self._stop_reading(paused)
        return self._run()

    def read(self, count: int) -> Self:
        """Read so many bytes while reading is paused."""
        if not isinstance(self.sock, MemorySocket):
            self._receive(count)
            return self._run()
        self._stop_reading(True)
        self.sock.buffer_bytes = count
        self._run()
        self.sock.buffer_bytes = 0
        self._stop_reading(False)
        return self._run()

    def _stop_reading(self, paused: bool) -> None:
        self._paused = paused
        if paused:
            self._source.event_del("fd_readable")
        else:
            self._source.event_add("fd_readable")
            self._read()

    # -- what the peer sees ---------------------------------------------------------------------

    def take(self) -> bytes:
        """Return what has arrived since the last time."""
        self._run()
        data, self.received = self.received, b""
        return data

    def expect(self, data: bytes) -> Self:
        """Take what has arrived, as soon as it is as long as `data`.

        Raises: AssertionError, with a diff, unless it is `data`
        """
        run_until(self._loop, lambda: self.is_closed or len(self.received) >= len(data))
        found = self.take()
        if found != data:
            lines = ([repr(line) for line in each.splitlines(True)] for each in (data, found))
            raise AssertionError(difference(*lines))
        return self

    def expect_end(self) -> Self:
        """Wait for the end of the stream.

        Raises: AssertionError unless it has come in good order, after nothing that was not taken
        """
        return self._expect_over(
            "an end", lambda: self.is_ended and not (self.is_reset or self.received)
        )

    def expect_reset(self) -> Self:
        """Wait for a reset. Raises: AssertionError unless it has come"""
        return self._expect_over("a reset", lambda: self.is_reset)

    def _expect_over(self, what: str, condition: Callable[[], bool]) -> Self:
        run_until(self._loop, lambda: self.is_closed)
        if not condition():
            state = "reset" if self.is_reset else "ended" if self.is_ended else "open"
            raise AssertionError(
                f"expected {what}; the connection is {state}, not taken: {self.received!r}"
            )
        return self

    # -- the socket -----------------------------------------------------------------------------

    def _run(self) -> Self:
        if not self._loop.in_turn and is_in_memory(self._loop):
            settle(self._loop)
        return self

    def _read(self) -> None:
        """Read all that has arrived."""
        while not self._paused and self._receive(_RECV_BYTES):
            pass

    def _receive(self, count: int) -> bool:
        """Receive once. Return whether there may be more."""
        if self.sock.fileno() < 0:
            return False
        try:
            data = self.sock.recv(count)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._lose()
            return False
        if self.is_ended:  # a reset behind the end is not told by `recv`
            if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._lose()
        elif self._tls is not None:
            self._receive_tls(data)
        elif data:
            self._deliver(data)
        else:
            self._end_of_stream()
        return bool(data)

    def _receive_tls(self, data: bytes) -> None:
        assert self._tls is not None
        try:
            self._deliver(self._tls.decrypt(data))
        except ssl.SSLError:  # also a FIN without close_notify
            self._lose()
            return
        self._unsent += self._tls.outgoing.read()
        self._flush()
        if self._tls.is_ended:
            self._end_of_stream()

    def _deliver(self, data: bytes) -> None:
        if data:
            self.received += data
            self.emit("data", data)

    def _end_of_stream(self) -> None:
        self.is_ended = True
        self._source.event_del("fd_readable")
        self.emit("end")
        self._finish()

    def _flush(self) -> None:
        """Send what can be sent; then finish, or close, if that is due."""
        if self.sock.fileno() < 0:
            return
        try:
            while self._unsent:
                del self._unsent[: self.sock.send(self._unsent)]
            if self._tls is not None and self._tls.is_waiting():
                return
            if self._ends and not self._finished:
                self._finished = True
                self.sock.shutdown(socket.SHUT_WR)
        except (BlockingIOError, InterruptedError):
            self._source.event_add("fd_writable")
            return
        except OSError as exc:
            self._unsent.clear()
            self._read()  # what had arrived before the reset
            if exc.errno == errno.ECONNRESET and not self.is_reset:
                self._lose()
            return
        self._source.event_del("fd_writable")
        if self._closes:
            self._release()
        else:
            self._finish()

    def _finish(self) -> None:
        """Close when both sides have finished."""
        if self.is_ended and self._finished and self.sock.fileno() >= 0:
            self._release()
            self.emit("close")

    def _lose(self) -> None:
        self.is_reset = True
        self._release()
        self.emit("close")

    def _release(self) -> None:
        self._source.unregister_fd()
        self.sock.close()


class _Tls:
    """OpenSSL on two buffers."""

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.secure = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        self.is_ended = self.on_ready = self._ends = False
        self._waiting = b""  # written before the handshake was done

    def is_waiting(self) -> bool:
        """Whether something is still to be sent after the handshake."""
        return bool(self._waiting) or (self._ends and not self.on_ready)

    def encrypt(self, data: bytes) -> bytes:
        self._waiting += data
        self._handshake()
        return self.outgoing.read()

    def end(self) -> bytes:
        """Send close_notify behind what was written."""
        self._ends = True
        if self.on_ready:
            self._unwrap()
        return self.outgoing.read()

    def _handshake(self) -> bool:
        if not self.on_ready:
            try:
                self.secure.do_handshake()
            except ssl.SSLWantReadError:
                return False
            self.on_ready = True
            self._write()
            if self._ends:
                self._unwrap()
        self._write()
        return True

    def _write(self) -> None:
        if self._waiting:
            self.secure.write(self._waiting)
            self._waiting = b""

    def _unwrap(self) -> None:
        with suppress(ssl.SSLError):  # it has no answer yet
            self.secure.unwrap()

    def decrypt(self, data: bytes) -> bytes:
        """Decrypt bytes that arrived. Raises: ssl.SSLError"""
        self.incoming.write(data) if data else self.incoming.write_eof()
        pieces: list[bytes] = []
        try:
            while self._handshake() and not self.is_ended:
                pieces.append(self.secure.read(_RECV_BYTES))
                self.is_ended = not pieces[-1]
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_ended = True
        return b"".join(pieces)
