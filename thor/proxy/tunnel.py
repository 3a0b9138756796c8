"""Two connections joined: what one receives, the other sends.

Owns: both connections from the moment they are joined. Must not know what the bytes mean, nor
how it came to the tunnel.

Theory of operation: each connection has a `_Side` as its owner, which knows the other connection.
Pausing is wired across: while one side cannot send, the other is not read, so that memory is
bounded by the marks of the two queues. When large pieces arrive, the connections are left to move
them alone, where they can. A FIN is passed on and the other direction stays open; when
both are over, the connections close by themselves. A side that is lost takes the other with it:
after a clean end what is queued is still sent, after a reset the other is reset too, so that no
end takes a broken stream for a whole one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from thor.tcp.splice import MIN_SPLICE_BYTES, PIPE_BYTES

if TYPE_CHECKING:
    from thor.loop import LoopBase
    from thor.tcp import TcpConnection


class Tunnel:
    """Joins two connections until both are closed."""

    def __init__(
        self,
        one: TcpConnection,
        other: TcpConnection,
        loop: LoopBase,
        *,
        idle_timeout: float | None = None,
        done: Callable[[Tunnel], Any] | None = None,
    ) -> None:
        """Join them; reading begins.

        idle_timeout: seconds without a byte in either direction after which both are reset
        done: called once with the tunnel, when both are closed
        """
        self.one = one
        self.other = other
        self._loop = loop
        self._idle_timeout = idle_timeout or inf
        self._done = done
        self._open = 2
        self.deadline_at = self.deadline_entry = inf
        left, right = _Side(self, other), _Side(self, one)
        left.opposite, right.opposite = right, left
        self._sides = left, right
        for conn, side in ((one, left), (other, right)):
            conn.owner = side
            conn.allow_half_open = True
        self._touch()
        one.pause(False)
        other.pause(False)

    @property
    def bytes_from_one(self) -> int:
        """Bytes that `one` received since they were joined."""
        return self._sides[0].received

    @property
    def bytes_from_other(self) -> int:
        """Bytes that `other` received since they were joined."""
        return self._sides[1].received

    def abort(self) -> None:
        """Reset both connections."""
        self.one.abort()
        self.other.abort()

    def _touch(self) -> None:
        """Bytes went through."""
        if self._idle_timeout != inf:
            self._loop.deadlines.arm(self, self._loop.now + self._idle_timeout)

    def on_deadline(self, now: float) -> None:
        self.abort()

    def _side_closed(self) -> None:
        self._open -= 1
        if not self._open:
            self._loop.deadlines.arm(self, inf)
            done, self._done = self._done, None
            if done is not None:
                done(self)


class _Side:
    """The owner of one of the two connections."""

    __slots__ = ("ended", "opposite", "received", "to", "tunnel")

    opposite: _Side

    def __init__(self, tunnel: Tunnel, to: TcpConnection) -> None:
        """to: the other connection"""
        self.tunnel = tunnel
        self.to = to
        self.opposite: _Side = self
        self.ended = False
        self.received = 0

    def data(self, data: bytes) -> None:
        """Bytes arrived."""
        self.received += len(data)
        self.tunnel._touch()
        if self.to.tcp_connected:
            self.to.write(data)
            if len(data) >= MIN_SPLICE_BYTES:
                self.opposite.to.splice_to(self.to, self)

    def allowance(self) -> int:
        """How much may go across unseen."""
        return PIPE_BYTES if self.to.tcp_connected else 0

    def on_spliced(self, count: int) -> None:
        """So much went across unseen."""
        self.received += count
        self.tunnel._touch()

    def end(self) -> None:
        """The peer finished sending."""
        self.ended = True
        self.tunnel._touch()
        self.to.end_writing()

    def pause(self, paused: bool) -> None:
        """This side takes no more for now (True)."""
        self.to.pause(paused)

    def write_blocked(self) -> None:
        """A send was short; the deadline is about bytes that arrive."""

    def hangup(self) -> None:
        """The peer is gone while it was not read. If it may still expect bytes, it was a reset."""
        if not self.opposite.ended:
            self.tunnel.abort()

    def close(self, exc: OSError | None) -> None:
        """The peer ended the connection."""
        if exc is not None:
            self.to.abort()
        else:
            self.to.close()

    def disconnect(self) -> None:
        """The socket is closed."""
        self.tunnel._side_closed()

    def failed(self, exc: BaseException) -> None:
        """Something raised; it was logged."""
        self.tunnel.abort()
