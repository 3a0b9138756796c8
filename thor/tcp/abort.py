"""Resetting a connection after all that was written on it has been sent.

Owns: the wait between the decision and the reset. Must not know what was written.

Theory of operation: a reset tells the peer that what it has is incomplete, but it also destroys
data in flight: the connection's queue, and what the kernel holds for a peer that reads slowly. So
the reset waits for both, up to a limit. The connection reports when its queue is empty; the kernel
has to be polled (TIOCOUTQ: what the peer has not acknowledged), at growing intervals. Where the
kernel does not support that, the reset waits for the queue alone.
"""

from __future__ import annotations

import fcntl
import socket as socket_module
import sys
import termios
from math import inf
from typing import TYPE_CHECKING

from thor.tcp.state import CLOSED

if TYPE_CHECKING:
    from thor.loop import ScheduledEvent
    from thor.tcp.connection import TcpConnection

#: The interval at which the kernel is polled, in seconds: the first one, and the longest.
FIRST_CHECK_S = 0.01
MAX_CHECK_INTERVAL_S = 1.0


def unacknowledged_bytes(sock: object) -> int:
    """Return how many sent bytes the peer's kernel has not acknowledged; 0 if that is unknown."""
    # A socket in memory has no fd that the kernel knows.
    if not isinstance(sock, socket_module.socket):
        return 0
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)


def abort_when_sent(conn: TcpConnection, timeout_s: float | None) -> None:
    """Reset `conn` (RST) when the peer has all that was written, or after `timeout_s`.

    Nothing may be written any more. If nothing is in flight it is reset now.
    timeout_s: in seconds; None or 0: no limit
    """
    if conn.write_state is CLOSED:
        return
    if conn.write_buffer.size or unacknowledged_bytes(conn.socket):
        _AbortAfterDrain(conn, timeout_s or inf)
    else:
        conn.abort()


class _AbortAfterDrain:
    """The wait of one connection."""

    __slots__ = ("check_s", "conn", "timer", "until")

    def __init__(self, conn: TcpConnection, timeout_s: float) -> None:
        self.conn = conn
        self.until = conn.loop.clock.monotonic() + timeout_s
        self.check_s = FIRST_CHECK_S
        self.timer: ScheduledEvent | None = None
        if timeout_s < inf:
            self.timer = conn.loop.call_later(timeout_s, conn.abort)
        conn.on("disconnect", self._stop)
        conn.when_sent(self._check_drained)

    def _check_drained(self) -> None:
        """Reset the connection if the kernel has nothing left to send, else check again later."""
        conn, loop = self.conn, self.conn.loop
        if conn.write_state is CLOSED:
            return
        left = self.until - loop.clock.monotonic()
        if left <= 0 or not unacknowledged_bytes(conn.socket):
            conn.abort()
            return
        self._stop()
        self.timer = loop.call_later(min(self.check_s, left), self._check_drained)
        self.check_s = min(2 * self.check_s, MAX_CHECK_INTERVAL_S)

    def _stop(self) -> None:
        if self.timer is not None:
            self.timer.delete()
