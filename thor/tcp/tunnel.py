"""A tunnel: two connections, each of which sends what the other receives.

Owns: both connections from the moment they are joined (`join`). Must not know what the bytes mean,
nor why there is a tunnel.

Theory of operation: each connection has a `_TunnelSide` as its owner, which calls the other
connection. Pausing is wired in both directions: while one connection cannot send, the other is not
read, so that the marks of the two queues bound memory. When large pieces arrive, the kernel moves
the bytes where it can. A FIN is forwarded, and the other direction stays open; when both have
ended, the connections close on their own. If one connection is lost, the tunnel ends the other:
after a clean close it still sends what is queued; after a reset it is reset too, so that neither
peer takes a truncated stream for a complete one. What happened to a connection before it was joined
counts as well: a FIN that was read is forwarded, and one that is closed resets the other.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from thor.events import require_callback
from thor.tcp.splice import MIN_SPLICE_BYTES, PIPE_BYTES
from thor.tcp.state import CLOSED, ENDED

if TYPE_CHECKING:
    from thor.tcp.connection import TcpConnection
    from thor.tcp.owner import ConnectionOwner


def join(
    a: TcpConnection,
    b: TcpConnection,
    done: Callable[[Tunnel], object] | None = None,
    *,
    idle_timeout: float | None = None,
) -> Tunnel:
    """Forward what each of two connections receives to the other, until both are closed.

    A FIN is forwarded, and the other direction stays open. While one side does not take what it is
    sent, the other is not read. A reset of one resets the other, and so does the program when it
    closes or aborts one of them.

    a, b: connections of any kind on one loop, each without another owner; listeners of theirs still
        hear `data` and the other events, except bytes that the kernel moves
    done: called once with the tunnel, when both are closed
    idle_timeout: seconds without a byte in either direction after which both are reset
    Raises: ValueError if they are one connection, or on two loops; TypeError for a `done` that
        cannot be called, or is a coroutine function
    """
    if a is b or a.loop is not b.loop:
        raise ValueError("join needs two connections on one loop")
    if done is not None:
        require_callback(done, "done")
    return Tunnel(a, b, idle_timeout=idle_timeout, done=done)


class Tunnel:
    """Joins two connections until both are closed."""

    def __init__(
        self,
        downstream: TcpConnection,
        upstream: TcpConnection,
        *,
        idle_timeout: float | None = None,
        done: Callable[[Tunnel], object] | None = None,
    ) -> None:
        """Join the connections, and begin to read them; see `join`."""
        self.downstream = downstream
        self.upstream = upstream
        self._loop = downstream.loop
        self._idle_timeout = idle_timeout or inf
        self._done = done
        self._open_count = 2
        self.deadline_at = self.deadline_entry = inf
        self._downstream_side = _TunnelSide(self, downstream, upstream)
        self._upstream_side = _TunnelSide(self, upstream, downstream)
        self._downstream_side.opposite = self._upstream_side
        self._upstream_side.opposite = self._downstream_side
        self.restart_idle_timeout()
        for side in (self._downstream_side, self._upstream_side):
            side.begin()

    @property
    def bytes_from_downstream(self) -> int:
        """Bytes that `downstream` received since the connections were joined."""
        return self._downstream_side.received

    @property
    def bytes_from_upstream(self) -> int:
        """Bytes that `upstream` received since the connections were joined."""
        return self._upstream_side.received

    def abort(self) -> None:
        """Reset both connections."""
        self.downstream.abort()
        self.upstream.abort()

    # -- called by the sides and by the loop ---------------------------------------------------

    def restart_idle_timeout(self) -> None:
        """Start to wait for the next byte."""
        if self._idle_timeout != inf:
            self._loop.deadlines.arm(self, self._loop.now + self._idle_timeout)

    def on_deadline(self, now: float) -> None:
        """Reset both connections: the tunnel was idle."""
        self.abort()

    def on_side_closed(self) -> None:
        """Count a closed connection; call `done` after the second."""
        self._open_count -= 1
        if not self._open_count:
            self._loop.deadlines.arm(self, inf)
            done, self._done = self._done, None
            if done is not None:
                done(self)


class _TunnelSide:
    """The owner of one of the two connections, and the `SpliceTarget` for what it receives."""

    __slots__ = ("conn", "destination", "has_ended", "opposite", "received", "tunnel")

    def __init__(self, tunnel: Tunnel, conn: TcpConnection, destination: TcpConnection) -> None:
        """Forward from `conn` to `destination`."""
        self.tunnel = tunnel
        self.conn = conn
        self.destination = destination
        self.opposite: _TunnelSide = self
        self.has_ended = False
        self.received = 0

    def begin(self) -> None:
        """Own the connection from now on, and read it."""
        conn = self.conn
        if conn.write_state is CLOSED:
            conn.loop.call_soon(self.disconnect)  # which was emitted before
            return
        owner: ConnectionOwner = self
        conn.owner = owner
        conn.allow_half_open = True
        if conn.read_state is ENDED and not conn.pushed_back:  # else `end` follows those bytes
            conn.loop.call_soon(self.end)
        conn.pause(False)

    def data(self, data: bytes) -> None:
        """Forward bytes that arrived."""
        self.received += len(data)
        self.tunnel.restart_idle_timeout()
        if self.destination.tcp_connected:
            self.destination.write(data)
            if len(data) >= MIN_SPLICE_BYTES:
                self.conn.splice_to(self.destination, self)

    def allowance(self) -> int:
        """Return how many bytes the kernel may move."""
        return PIPE_BYTES if self.destination.tcp_connected else 0

    def on_spliced(self, count: int) -> None:
        """Count bytes that the kernel has moved."""
        self.received += count
        self.tunnel.restart_idle_timeout()

    def end(self) -> None:
        """Forward the FIN of the peer."""
        self.has_ended = True
        self.tunnel.restart_idle_timeout()
        self.destination.end_writing()

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) reading the other connection."""
        self.destination.pause(paused)

    def write_blocked(self) -> None:
        """Ignore a short send: the idle timeout is about bytes that arrive."""

    def hangup(self) -> None:
        """Reset both, unless the peer expects no more bytes: otherwise the hangup was a reset."""
        if not self.opposite.has_ended:
            self.tunnel.abort()

    def close(self, exc: OSError | None) -> None:
        """End the other connection as the peer has ended this one."""
        if exc is not None:
            self.destination.abort()
        else:
            self.destination.close()

    def disconnect(self) -> None:
        """Report that the socket is closed; reset the other side unless it is ending already: the
        program has ended this one, or it was closed before it was joined."""
        if self.destination.read_state is not CLOSED:
            self.destination.abort()
        self.tunnel.on_side_closed()

    def failed(self, exc: BaseException) -> None:
        """Reset both after an exception, which was logged."""
        self.tunnel.abort()
