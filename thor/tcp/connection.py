"""One TCP connection.

Owns: a connected socket, its two directions, the queue of bytes to send. Must not know what the
bytes mean.

Theory of operation. Reading and writing are two axes, each a small state machine (`state.py`).
Whether reading is paused is a third fact, since a paused connection still has a state.

*Reading*: one `recv` for each readiness, level-triggered; what is left is reported again in the
next turn, which keeps connections fair to each other. A paused connection is not watched for
reading. The kernel reports a hang-up on it all the same, and would do so for ever: polling stops
then. What the socket still holds is read when reading resumes (`failed_write.py`).

*Writing*: `write` queues; the loop's flush stage sends, once a turn, all that was written in it.
Above `high_water` the queue is sent at once, and if it stays above, the writer is paused
(`send_monitor.py`). WRITABLE is asked for only after a short send.

Bytes go through `stream`: the socket, or TLS, or a splice that reads for a while (`splice.py`).
"""

from __future__ import annotations

import socket as socket_module
from collections.abc import Callable
from typing import TYPE_CHECKING

from thor.loop import EventLoop, EventSource
from thor.loop.poller import READABLE, WRITABLE
from thor.tcp.address import local_address
from thor.tcp.failed_write import FailedWrite
from thor.tcp.pushback import deliver_pushed_back, push_back
from thor.tcp.send_monitor import SendMonitor
from thor.tcp.sendfile import File, queue_file
from thor.tcp.sockets import RECV_BYTES, pending_error, reset_on_close
from thor.tcp.splice import Splice, SpliceTarget, begin_splice, end_splice
from thor.tcp.state import CLOSED, ENDED, FLUSHING, OPEN
from thor.tcp.write_buffer import EMPTY_BUFFER, HIGH_WATER, LOW_WATER, WriteBuffer
from thor.types import Address, Data, to_bytes

if TYPE_CHECKING:
    from thor.tcp.owner import ConnectionOwner
    from thor.tcp.proxy_protocol import ProxyHeader
    from thor.tcp.transport import ByteStream, ConnectionTracker


class TcpConnection(EventSource):
    """A TCP connection. It starts paused: `pause(False)` begins reading.

    Emits:
        data(data: bytes): bytes arrived. Not while paused, nor after `close()`.
        end(): the peer finished sending; once; no `data` follows. Unless `allow_half_open` is
            set, what is queued is then sent and the connection closes.
        pause(paused: bool): the send queue went above `high_water` (True), or is below
            `low_water` again (False): also after `close()`, while the rest is sent.
        hangup(): the peer is gone, but data that it sent is left and reading is paused: nothing
            can be written any more, `pause(False)` reads the rest, `abort()` drops it. At most
            once; `data`, `end`, `close` and `disconnect` can follow.
        close(): the peer or the network ended the connection; at most once; not after `close()`
            or `abort()`. Only `disconnect` follows.
        disconnect(): the socket is closed, whoever began; exactly once, last.
    """

    emits = frozenset(("data", "end", "pause", "hangup", "close", "disconnect"))

    #: Marks of the send queue, in bytes.
    high_water = HIGH_WATER
    low_water = LOW_WATER
    #: Whether the connection stays writable when the peer has finished sending.
    allow_half_open = False
    #: The PROXY header that the connection began with; None where none was expected.
    proxy_header: ProxyHeader | None = None

    #: Whether the bytes on the wire differ from those that the program reads and writes.
    is_encrypted = False
    #: The server that accepted the connection, until it has closed.
    server: ConnectionTracker | None = None
    #: Bytes that were read, and are delivered before what arrives later.
    pushed_back = b""

    cached_local_address: Address | None = None
    _failure: FailedWrite | None = None
    #: The peer has finished sending, and what is queued is still sent.
    closing_after_eof = False

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
        self.stream: ByteStream = sock
        self.address = address
        self.bytes_read = 0
        self.bytes_written = 0
        self.owner: ConnectionOwner | None = None
        self.read_state = OPEN
        self.write_state = OPEN
        self.read_paused = True
        self.write_paused = False
        self._flush_due = False
        self._monitor: SendMonitor | None = None
        self.write_buffer: WriteBuffer = EMPTY_BUFFER
        self.watch_fd(sock.fileno(), 0)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.address!r} reading {self.read_state.value}"
            f"{' (paused)' if self.read_paused else ''}, writing {self.write_state.value}>"
        )

    @property
    def local_address(self) -> Address:
        """The address of this side: the one the client connected to, as the PROXY header has it.

        Raises: OSError if it is first asked for after the end
        """
        if self.cached_local_address is None:
            self.cached_local_address = local_address(self.socket, self.proxy_header)
        return self.cached_local_address

    @property
    def tcp_connected(self) -> bool:
        """Whether data may still be written."""
        return self.write_state is OPEN

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) `data` events. It holds at once, in any listener."""
        if paused == self.read_paused or self.read_state is CLOSED:
            return
        self.read_paused = paused
        if paused:
            self.poll_reading(False)
        elif self.pushed_back or self.write_failed:
            self.loop.call_soon(self.resume_reading)
        elif self.read_state is OPEN:
            self.poll_reading(True)

    def unread(self, data: bytes) -> None:
        """Push bytes back, for the next protocol on the connection. Raises: TypeError

        They are emitted as `data` before what arrives later; at once, unless it is paused.
        """
        push_back(self, data)

    def repeat_end(self) -> None:
        """Emit `end` again, for the layer that has taken the connection over since."""
        if self.read_state is ENDED:
            self.eof_received()

    def splice_to(self, dst: TcpConnection, target: SpliceTarget) -> bool:
        """Move what arrives from now on to `dst`, without reading it, as far as `target` allows.

        Returns: False if it cannot be: not on this system, or not with connections of this kind
        """
        return begin_splice(self, dst, target)

    def write_file(self, file: File, offset: int, count: int) -> bool:
        """Queue `count` bytes of `file` from `offset` on; they are sent as if they were written.

        Returns: False if they have to be read and written: see `can_send_files`
        """
        return queue_file(self, file, offset, count)

    def poll_reading(self, polled: bool) -> None:
        """Watch the socket for READABLE, or do not: for Thor's own packages."""
        interest = self._interest
        self.set_interest(interest | READABLE if polled else interest & ~READABLE)

    def resume_reading(self) -> None:
        """Deliver what was pushed back, then read on, unless reading was paused meanwhile."""
        if self.read_paused or self.read_state is CLOSED:
            return
        if self._failure is not None:
            self._failure.read_remaining()
        else:
            deliver_pushed_back(self)

    def deliver(self, data: bytes) -> None:
        """Pass bytes to the owner and the listeners: for Thor's own packages."""
        owner = self.owner
        if owner is not None:
            owner.data(data)
            if self.read_state is CLOSED or self.owner is not owner:
                return  # the bytes were that owner's; the next owner receives what follows
        self.emit("data", data)

    def on_ready(self, bits: int) -> None:
        """Handle what the poller reports. Called by the loop."""
        interest = self._interest
        if interest & READABLE:
            if bits != WRITABLE:
                try:
                    data = self.stream.recv(RECV_BYTES)
                except (BlockingIOError, InterruptedError):
                    pass
                except OSError as exc:
                    self.connection_lost(exc)
                    return
                else:
                    if data:
                        self.bytes_read += len(data)
                        owner = self.owner
                        if owner is not None and self._listeners is None:
                            owner.data(data)
                        else:
                            self.deliver(data)
                    elif isinstance(self.stream, Splice):
                        self.stream.report()
                    else:
                        self.eof_received()
        elif bits & ~(READABLE | WRITABLE):
            # Both directions have ended, and nothing is read: paused, or after the peer's FIN.
            if self.read_state is ENDED:
                self.connection_lost(pending_error(self.socket))
            else:
                self.fail_writing(None)
            return
        if bits & WRITABLE and self._interest & WRITABLE:
            self.flush()

    def eof_received(self) -> None:
        """Handle the peer's FIN: for Thor's own packages."""
        self.read_state = ENDED
        self.poll_reading(False)
        owner = self.owner
        if owner is not None:
            owner.end()
        if self.read_state is ENDED:
            self.emit("end")
        if self.read_state is not ENDED:
            return
        if self.write_state is ENDED:
            self.connection_lost(None)
        elif not self.allow_half_open:
            self.closing_after_eof = True
            self.end_writing()

    def write(self, data: Data) -> bool:
        """Queue `data` to be sent; it leaves at the end of the current batch of events.

        data: `str` is sent as UTF-8; a `bytearray` or `memoryview` is copied
        Returns: False when the queue is above its high mark: wait for `pause(False)`
        Raises: ValueError on a connection that was closed; the message names its state
        """
        if data.__class__ is not bytes:
            data = to_bytes(data)
        if self.write_state is not OPEN:
            if self.write_failed or self.closing_after_eof:
                return False  # the program has not been told yet
            raise ValueError(f"write on a connection that is {self.write_state.value}")
        buffer = self.write_buffer
        if data and not self.write_failed:
            if buffer is EMPTY_BUFFER:  # as `own_buffer`, without the call
                buffer = self.write_buffer = WriteBuffer()
                buffer.size = 0
            buffer.append(data)
            buffer.size = size = buffer.size + len(data)
            if not self._flush_due:
                self._flush_due = True
                self.loop.to_flush.append(self)
            if size > self.high_water:
                if not self._interest & WRITABLE:
                    self._send_queue()
                if self.write_buffer.size > self.high_water:
                    self.own_monitor().pause_writer()
        return not self.write_paused

    def own_buffer(self) -> WriteBuffer:
        """Return the queue, to append to: a connection has one of its own only while needed."""
        if self.write_buffer is EMPTY_BUFFER:
            self.write_buffer = WriteBuffer()
            self.write_buffer.size = 0
        return self.write_buffer

    def when_sent(self, callback: Callable[[], object]) -> None:
        """Call `callback()` when all that was written until now has been passed to the kernel.

        It is never called if the connection is lost before.
        """
        self.own_monitor().add_callback(callback)
        self.queue_flush()

    def own_monitor(self) -> SendMonitor:
        """Return what watches the queue: a connection has one only while somebody waits."""
        if self._monitor is None:
            self._monitor = SendMonitor(self)
        return self._monitor

    def _send_queue(self) -> None:
        """Send as much of the queue as fits now."""
        try:
            self.bytes_written += self.write_buffer.send_to(self.stream)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as exc:
            self.fail_writing(exc)

    def flush(self) -> None:
        """Send what is queued. Called by the loop, once a turn."""
        self._flush_due = False
        if self.write_failed:
            return
        buffer = self.write_buffer
        if buffer.size:
            try:  # as `_send_queue`, without the call
                self.bytes_written += buffer.send_to(self.stream)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as exc:
                self.fail_writing(exc)
                return
        if buffer.size:
            self._flush_due = True  # WRITABLE will flush it
            if not self._interest & WRITABLE:
                self.set_interest(self._interest | WRITABLE)
                if self.owner is not None:
                    self.owner.write_blocked()
        else:
            if self._interest & WRITABLE:
                self.set_interest(self._interest & ~WRITABLE)
            if buffer is self.write_buffer and not buffer:  # else it was replaced already
                self.write_buffer = EMPTY_BUFFER
        monitor = self._monitor
        if monitor is not None and not monitor.on_sent() and self._monitor is monitor:
            self._monitor = None

    def queue_flush(self) -> None:
        """Send what is queued at the end of the batch, unless that is due already."""
        if not self._flush_due:
            self._flush_due = True
            self.loop.to_flush.append(self)

    def fail_writing(self, exc: OSError | None) -> None:
        """Send nothing any more; the connection is lost when what has arrived was read."""
        if not self.write_failed:
            self.write_failed = True
            self._failure = FailedWrite(self, exc)
            self.write_buffer.clear()
            self.stop_polling()
            self.loop.call_soon(self._failure.read_remaining)

    def close(self) -> None:
        """Send what is queued, then close. Nothing is read any more; `disconnect` follows."""
        if self.read_state is CLOSED:
            return
        self.read_state = CLOSED
        self.closing_after_eof = False
        self.pushed_back = b""
        if self.write_failed:
            self.loop.call_soon(self._finish)
            return
        self.poll_reading(False)
        if self.write_state is ENDED:
            self.loop.call_soon(self._finish)
        else:
            self.end_writing()

    def end_writing(self) -> None:
        """Send what is queued, then tell the peer that no more will come (FIN); reading goes on."""
        if self.write_state is OPEN:
            self.write_state = FLUSHING
            self.own_monitor()
            self.queue_flush()

    def abort(self) -> None:
        """Drop what is queued and reset the connection (RST). Only `disconnect` follows."""
        if self.write_state is not CLOSED:
            reset_on_close(self.socket)
            self._release()
            self.loop.call_soon(self._emit_disconnect)

    def on_flushed(self) -> None:
        """Handle that all was sent after `close()`, `end_writing()` or the peer's FIN."""
        self.write_state = ENDED
        if self.read_state is CLOSED:
            self._finish()
        elif self.read_state is ENDED:
            self.connection_lost(None)
        else:
            try:
                self.socket.shutdown(socket_module.SHUT_WR)
            except OSError as exc:
                self.fail_writing(exc)

    def _finish(self) -> None:
        """End the connection: our own `close()` is done."""
        if self.write_state is not CLOSED:
            self._release()
            self._emit_disconnect()

    def connection_lost(self, exc: OSError | None) -> None:
        """End the connection: the peer or the network has ended it."""
        if self.write_state is CLOSED:
            return
        closed_here = self.read_state is CLOSED
        self._release()
        try:
            if not closed_here:
                owner = self.owner
                if owner is not None:
                    owner.close(exc)
                self.emit("close")
        finally:
            self._emit_disconnect()

    def _release(self) -> None:
        self.read_state = self.write_state = CLOSED
        self.write_failed = self.closing_after_eof = False
        self.write_buffer.clear()
        self.pushed_back = b""
        self._failure = self._monitor = None
        end_splice(self)
        self.unregister_fd()
        self._close_socket()

    def _close_socket(self) -> None:
        self.loop.close_later(self.socket)

    def detach_socket(self) -> socket_module.socket:
        """Give up the socket, which another connection takes over; nothing more is emitted."""
        self.read_state = self.write_state = CLOSED
        self.owner = self._monitor = None
        self.unregister_fd()
        self._forget()
        return self.socket

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
                server.on_connection_closed(self)

    def on_loop_stopped(self) -> None:
        """Close the socket: the loop was stopped, and nothing is emitted any more."""
        EventSource.on_loop_stopped(self)
        self.read_state = self.write_state = CLOSED
        self.write_buffer.clear()
        self._monitor = None
        self.socket.close()
        if self.server is not None:
            self.server.on_connection_stopped(self)

    def failed(self, exc: BaseException) -> None:
        """Reset the connection: a listener raised `exc`, and what it left undone is unknown."""
        owner = self.owner
        if owner is not None:
            owner.failed(exc)
        else:
            self.abort()
