"""What the modules around a connection use of it.

Owns: the types of a connection's byte stream, of the connection as splicing, files and failed
writes use it, and of the server that tracks it. Must not know how these work: it exists so that
none of these modules has to import `connection.py`, which imports them.
"""

from __future__ import annotations

import socket as socket_module
from typing import TYPE_CHECKING, Protocol

from thor.tcp.write_buffer import ByteSink, WriteBuffer

if TYPE_CHECKING:
    from thor.loop import EventLoop
    from thor.tcp.owner import ConnectionOwner
    from thor.tcp.state import State


class ByteStream(ByteSink, Protocol):
    """What a connection reads from and writes to: a socket, TLS, or a splice."""

    def recv(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes that arrived, b"" at the end of the stream.

        Returns: None if a splice has moved them instead
        Raises: BlockingIOError if there is nothing now; OSError
        """


class WriterPauser(Protocol):
    """What watches a send queue."""

    def pause_writer(self) -> None:
        """Emit `pause(True)`; `pause(False)` follows when the queue is short enough."""


class Transport(Protocol):
    """A connection, as splicing, files and failed writes use it."""

    loop: EventLoop
    socket: socket_module.socket
    stream: ByteStream
    owner: ConnectionOwner | None
    is_encrypted: bool
    read_state: State
    write_state: State
    read_paused: bool
    write_failed: bool
    write_buffer: WriteBuffer
    pushed_back: bytes
    bytes_read: int

    def pause(self, paused: bool, /) -> None:
        """Stop or resume reading."""

    def poll_reading(self, polled: bool, /) -> None:
        """Watch the socket for READABLE, or do not."""

    def resume_reading(self) -> None:
        """Deliver what was pushed back, then read on."""

    def own_monitor(self) -> WriterPauser:
        """Return what watches the queue."""

    def own_buffer(self) -> WriteBuffer:
        """Return the queue, to append to."""

    def queue_flush(self) -> None:
        """Send what is queued at the end of the batch."""

    def deliver(self, data: bytes, /) -> None:
        """Pass bytes to the owner and the listeners."""

    def eof_received(self) -> None:
        """Handle the peer's FIN."""

    def connection_lost(self, exc: OSError | None, /) -> None:
        """End the connection: the peer or the network has ended it."""

    def abort(self) -> None:
        """Reset the connection."""

    def emit(self, event: str, /, *args: object) -> bool:
        """Emit an event."""

    def failed(self, exc: BaseException, /) -> None:
        """Reset the connection: a listener raised `exc`."""

    def has_listener(self, event: str, /) -> bool:
        """Return whether anything would be called for `event`."""


class TrackedConnection(Protocol):
    """A connection of a server: one that is open, or whose PROXY header is being read."""

    def abort(self) -> None:
        """Reset the connection."""


class ConnectionTracker(Protocol):
    """The server that a connection was accepted by."""

    def replace_connection(self, old: TrackedConnection, new: TrackedConnection, /) -> None:
        """Track `new`, which has taken over the socket, in place of `old`."""

    def on_connection_closed(self, conn: TrackedConnection, /) -> None:
        """Track a connection no longer: it has closed."""

    def on_connection_stopped(self, conn: TrackedConnection, /) -> None:
        """Track a connection no longer: its loop was stopped, and has closed it."""
