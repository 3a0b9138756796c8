"""One TCP connection.

Owns: a connected socket, its two directions, the bytes that wait to be sent. Must not know what
the bytes mean.

Theory of operation. Reading and writing are two axes, each a small state machine (`state.py`).
Whether reading is paused is a third fact, since a paused connection still has a state.

*Reading*: one `recv` a readiness, level-triggered; what is left is reported again in the next
turn, which keeps connections fair to each other. A paused connection is not watched for reading.
The kernel reports a hang-up on it all the same, and would for ever: the fd is watched no longer
then. If something is left in the socket it is held for when reading resumes, data first; if not,
the connection has ended.

*Writing* is in `writing.py`. A send that fails is the connection's end, but what has arrived is
read first.

A layer above attaches as `_owner` and is called directly, before the users' listeners.
"""

from __future__ import annotations

import os
import socket as socket_module
import struct
from typing import TYPE_CHECKING, Any

from thor.events import EventEmitter
from thor.loop import EventLoop, EventSource
from thor.loop.poller import READABLE, WRITABLE
from thor.tcp.address import unmapped
from thor.tcp.sendfile import File, queue_file
from thor.tcp.splice import Splice, SpliceTarget, begin_splice
from thor.tcp.state import CLOSED, ENDED, FLUSHING, OPEN
from thor.tcp.write_buffer import NOTHING, WriteBuffer
from thor.tcp.writing import WritingSide
from thor.types import Address

if TYPE_CHECKING:
    from thor.tcp.proxy_protocol import ProxyHeader

#: Bytes of one `recv`: more than this seldom waits, and it stays below malloc's mmap threshold.
RECV_BYTES = 64 * 1024


class TcpConnection(WritingSide):
    """A TCP connection. It starts paused: `pause(False)` begins reading.

    Emits:
        data(data: bytes): bytes arrived. Not while paused, nor after `close()`.
        end(): the peer finished sending; once; no `data` follows. Unless `allow_half_open` is
            set, what is queued is then sent and the connection closes.
        pause(paused: bool): the queue to send went above `high_water` (True), or is below
            `low_water` again (False): also after `close()`, while the rest is sent.
        hangup(): the peer is gone, but data that it sent is left and reading is paused: nothing
            can be written any more, `pause(False)` reads the rest, `abort()` drops it. At most
            once; `data`, `end`, `close` and `disconnect` can follow.
        close(): the peer or the network ended the connection; at most once; not after `close()`
            or `abort()`. Only `disconnect` follows.
        disconnect(): the socket is closed, whoever began; exactly once, last.
    """

    emits = frozenset(("data", "end", "pause", "hangup", "close", "disconnect"))

    #: Whether the connection stays writable when the peer has finished sending.
    allow_half_open = False

    #: Whether what comes and goes is other than what the program reads and writes.
    is_encrypted = False
    _loss_error: OSError | None = None
    _hangup_emitted = False
    _unread = b""
    server: Any = None
    _local_address: Address | None = None
    #: The PROXY header that the connection began with; None where none was due.
    proxy_header: ProxyHeader | None = None

    def __init__(
        self, sock: socket_module.socket, address: Address, loop: EventLoop | None = None
    ) -> None:
        """sock: connected and non-blocking; the connection owns it from now on."""
        EventSource.__init__(self, loop)
        # What every read or write looks at is set here: reading a default of the class through
        # an instance costs several times as much.
        self._listeners = self._sink = None
        self.write_failed = False
        self.high_water = self.high_water
        self.socket = sock
        self.address = address
        self.bytes_read = 0
        self.bytes_written = 0
        self.owner: Any = None
        self.read_state = OPEN
        self.write_state = OPEN
        self.read_paused = True
        self.write_paused = False
        self._flush_due = False
        self._after_flush = False
        self.write_buffer: WriteBuffer = NOTHING
        self._splice: Splice | None = None
        self.watch_fd(sock.fileno(), 0)

    # What bytes come and go by. Methods, since what is bound for each connection takes memory.

    def _recv(self, size: int) -> bytes | None:
        splice = self._splice
        return self.socket.recv(size) if splice is None else splice.recv(size)

    def _send(self, data: Any) -> int:
        return self.socket.send(data)

    def _sendmsg(self, chunks: list[Any]) -> int:
        return self.socket.sendmsg(chunks)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.address!r} reading {self.read_state.value}"
            f"{' (paused)' if self.read_paused else ''}, writing {self.write_state.value}>"
        )

    @property
    def local_address(self) -> Address:
        """The address of this side: that which the client connected to, by the PROXY header.

        Raises: OSError if it is first asked for after the end
        """
        if self._local_address is None:
            told = self.proxy_header.destination if self.proxy_header is not None else None
            self._local_address = unmapped(self.socket.getsockname() if told is None else told)
        return self._local_address

    @property
    def tcp_connected(self) -> bool:
        """Whether data may still be written."""
        return self.write_state is OPEN

    # -- reading -------------------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) `data` events. It holds at once, in any listener."""
        if paused == self.read_paused or self.read_state is CLOSED:
            return
        self.read_paused = paused
        if paused:
            self.set_interest(self._interest & ~READABLE)
        elif self._unread or self.write_failed:
            self.loop.call_soon(self._resume)
        elif self.read_state is OPEN:
            self.set_interest(self._interest | READABLE)

    def unread(self, data: bytes) -> None:
        """Give bytes back: they are emitted as `data` before what arrives later.

        For the one who hands the connection on: what is not paused gets them again at once.
        Raises: TypeError
        """
        if not isinstance(data, bytes):
            raise TypeError(f"what is given back is bytes, not {type(data).__name__}")
        if data and self.read_state is not CLOSED:
            self._unread = data + self._unread
            self.set_interest(self._interest & ~READABLE)
            if not self.read_paused:
                self.loop.call_soon(self._resume)

    def splice_to(self, dst: TcpConnection, target: SpliceTarget) -> bool:
        """From the next readiness on, have what arrives go to `dst` without being looked at.

        It is as if each piece came as `data` and was written to `dst`; `target` says how much may
        go, and is told what went. It ends by itself where a piece is better, or can only be, read
        and written: that one comes as `data`, and this may be called again.
        Returns: False if it cannot be: not on this system, or not with connections of this kind
        """
        return begin_splice(self, dst, target)

    def write_file(self, file: File, offset: int, count: int) -> bool:
        """Queue `count` bytes of `file` from `offset` on; they are sent as if they were written.

        The pages are to be in memory, or the loop waits for the disk. Where the file has become
        shorter, the connection is aborted.
        Returns: False if they have to be read and written: not a connection of this kind, or
            something is queued
        """
        return queue_file(self, file, offset, count)

    def _resume(self) -> None:
        """Deliver what was given back, then read on."""
        if self.read_paused or self.read_state is CLOSED:
            return
        if self.write_failed:
            self._read_rest()
            return
        data, self._unread = self._unread, b""
        ended = self.read_state is ENDED
        if not ended:
            self.set_interest(self._interest | READABLE)
        if data:
            self._deliver(data)
            if ended and not self._unread:
                # Who gave back what came before the end has it still to come.
                self._end_of_stream()

    def _deliver(self, data: bytes) -> None:
        owner = self.owner
        if owner is not None:
            owner.data(data)
            if self.read_state is CLOSED or self.owner is not owner:
                return  # it was that owner's; who has the connection now gets what comes next
        self.emit("data", data)

    def on_ready(self, bits: int) -> None:
        interest = self._interest
        if interest & READABLE:
            if bits != WRITABLE:
                try:
                    data = self._recv(RECV_BYTES)
                except (BlockingIOError, InterruptedError):
                    pass
                except OSError as exc:
                    self._on_connection_lost(exc)
                    return
                else:
                    if data:
                        self.bytes_read += len(data)
                        owner = self.owner
                        if owner is not None and self._listeners is None:
                            owner.data(data)
                        else:
                            self._deliver(data)
                    elif self._splice is not None:
                        self._splice.tell()
                    else:
                        self._end_of_stream()
        elif bits & ~(READABLE | WRITABLE):
            self._on_hangup()
            return
        if bits & WRITABLE and self._interest & WRITABLE:
            self.flush()

    def _end_of_stream(self) -> None:
        """The peer's FIN."""
        self.read_state = ENDED
        self.set_interest(self._interest & ~READABLE)
        self._emit_end()
        if self.read_state is not ENDED:
            return
        if self.write_state is ENDED:
            self._on_connection_lost(None)
        elif not self.allow_half_open:
            self._closing_after_eof = True
            if self.write_state is OPEN:
                self._begin_flushing()

    def _emit_end(self) -> None:
        owner = self.owner
        if owner is not None:
            owner.end()
        if self.read_state is ENDED:
            self.emit("end")

    def _on_hangup(self) -> None:
        """Both directions are over, and nobody reads: paused, or after the peer's FIN."""
        if self.read_state is ENDED:
            code = self.socket.getsockopt(socket_module.SOL_SOCKET, socket_module.SO_ERROR)
            self._on_connection_lost(OSError(code, os.strerror(code)) if code else None)
        else:
            self._on_write_error(None)

    def _on_write_error(self, exc: OSError | None) -> None:
        """Nothing can be sent any more; what has arrived is read first, then it is over."""
        if not self.write_failed:
            self.write_failed = True
            self._loss_error = exc
            self.write_buffer.clear()
            self.stop_polling()
            self.loop.call_soon(self._read_rest)

    def _read_rest(self) -> None:
        """Read one piece of what is left of a broken connection; after the last it is lost."""
        if self.read_state is OPEN and not self._unread and not self._read_ahead():
            return
        if not self._unread:
            self._on_connection_lost(self._loss_error)
        elif self.read_paused:
            self._emit_hangup()
        else:
            data, self._unread = self._unread, b""
            self.loop.call_soon(self._read_rest)
            self._deliver(data)

    def _read_ahead(self) -> bool:
        """Hold one piece of what is left in `_unread`. Returns: False if it is over instead."""
        try:
            data = self._recv(RECV_BYTES)
        except OSError as exc:
            self._on_connection_lost(self._loss_error or exc)
            return False
        if data:
            self.bytes_read += len(data)
            self._unread = data
            return True
        # A reset that was told to a `send` is not told again: reading then finds what looks like
        # a FIN. Only after EPIPE, which is how a send fails that comes after a FIN, it is one.
        if self._loss_error is None or isinstance(self._loss_error, BrokenPipeError):
            self._end_of_stream()
        self._on_connection_lost(self._loss_error)
        return False

    def _emit_hangup(self) -> None:
        if not self._hangup_emitted:
            self._hangup_emitted = True
            owner = self.owner
            if owner is not None:
                owner.hangup()
            self.emit("hangup")

    # -- ending --------------------------------------------------------------------------------

    def close(self) -> None:
        """Send what is queued, then close. Nothing is read any more; `disconnect` follows."""
        if self.read_state is CLOSED:
            return
        self.read_state = CLOSED
        self._closing_after_eof = False
        self._unread = b""
        if self.write_failed:
            self.loop.call_soon(self._finish)
            return
        self.set_interest(self._interest & ~READABLE)
        if self.write_state is OPEN:
            self._begin_flushing()
        elif self.write_state is ENDED:
            self.loop.call_soon(self._finish)

    def end_writing(self) -> None:
        """Send what is queued, then tell the peer that no more will come (FIN); reading goes on."""
        if self.write_state is OPEN:
            self._begin_flushing()

    def abort(self) -> None:
        """Drop what is queued and reset the connection (RST). Only `disconnect` follows."""
        if self.write_state is CLOSED:
            return
        try:
            self.socket.setsockopt(
                socket_module.SOL_SOCKET, socket_module.SO_LINGER, struct.pack("ii", 1, 0)
            )
        except OSError:
            pass  # the kernel has ended it already
        self._release()
        self.loop.call_soon(self._emit_disconnect)

    def _begin_flushing(self) -> None:
        self.write_state = FLUSHING
        self._after_flush = True
        self._queue_flush()

    def _on_flushed(self) -> None:
        """Everything was sent after `close()`, `end_writing()` or the peer's FIN."""
        self.write_state = ENDED
        if self.read_state is CLOSED:
            self._finish()
        elif self.read_state is ENDED:
            self._on_connection_lost(None)
        else:
            try:
                self.socket.shutdown(socket_module.SHUT_WR)
            except OSError as exc:
                self._on_write_error(exc)

    def _finish(self) -> None:
        """Our own close is done."""
        if self.write_state is not CLOSED:
            self._release()
            self._emit_disconnect()

    def _on_connection_lost(self, exc: OSError | None) -> None:
        """The peer or the network has ended the connection."""
        if self.write_state is CLOSED:
            return
        by_us = self.read_state is CLOSED
        self._release()
        try:
            if not by_us:
                owner = self.owner
                if owner is not None:
                    owner.close(exc)
                self.emit("close")
        finally:
            self._emit_disconnect()

    def _release(self) -> None:
        self.read_state = self.write_state = CLOSED
        self.write_failed = self._closing_after_eof = False
        self.write_buffer.clear()
        self._unread = b""
        self._sent_marks = None
        if self._splice is not None:
            self._splice.end()
        self.unregister_fd()
        self._close_socket()

    def _close_socket(self) -> None:
        self.loop.close_later(self.socket)

    def _detach_socket(self) -> None:
        """Let go of the socket, which another connection takes over; nothing more is emitted."""
        self.read_state = self.write_state = CLOSED
        self.owner = self._sent_marks = None
        self.unregister_fd()
        self._forget()

    def _emit_disconnect(self) -> None:
        owner, self.owner = self.owner, None
        server, self.server = self.server, None
        try:
            if owner is not None:
                owner.disconnect()
            self.emit("disconnect")
        finally:
            self._forget()
            if server is not None:
                server._on_closed(self)

    def on_loop_stopped(self) -> None:
        """The loop was stopped: nothing can come of this connection any more."""
        EventSource.on_loop_stopped(self)
        self.read_state = self.write_state = CLOSED
        self.write_buffer.clear()
        self.socket.close()
        if self.server is not None:
            self.server._closed_by_stop(self)

    def failed(self, exc: BaseException) -> None:
        """A listener raised `exc`: what it left undone is unknown, so the connection is reset."""
        owner = self.owner
        if owner is not None:
            owner.failed(exc)
        else:
            self.abort()


def has_ended(conn: TcpConnection) -> bool:
    """Ask the kernel whether a connection on which nothing is due has ended, or has received data.

    What the next turn of the loop would read is read now: bytes are dropped, so that the caller has
    to close the connection then. Records of TLS that hold no data, such as the tickets of TLS 1.3
    (RFC 8446 section 4.6.1), are taken in and end nothing.
    """
    try:
        conn._recv(RECV_BYTES)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        pass
    return True


def hand_over(emitter: EventEmitter, conn: TcpConnection) -> None:
    """Emit `connect(conn)`; a connection that nobody takes, or not properly, is aborted."""
    try:
        taken = emitter.emit("connect", conn)
    except BaseException:
        conn.abort()
        raise
    if not taken:
        conn.abort()
