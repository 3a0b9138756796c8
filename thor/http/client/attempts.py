"""The attempts to get one request answered: the wait for a connection, and when to try again.

Owns: the time that a wait may take, and how many attempts there were. Must not know what a request
is made of, nor whether it may be repeated: that is the exchange's.

Theory of operation: an exchange has this object only once it had to wait: queued, connecting, or
for `retry_delay`. `pool` is the pool that has to forget the exchange if it wants no connection any
more, and one timer limits the wait. A connection that was used before may just have timed out: a
request that failed on one is sent again at once, the first time.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from thor.http.error import ConnectError, ExchangeTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from thor.http.error import HttpError
    from thor.http.streams import ConnectionPool
    from thor.loop import LoopBase, ScheduledEvent


class AttemptSettings(Protocol):
    """The settings of a client that limit attempts, see `HttpClient`."""

    loop: LoopBase
    pool_timeout: float | None
    retry_limit: int
    retry_delay: float


class AttemptedExchange(Protocol):
    """What attempts know of their exchange."""

    #: When it has to be over, in monotonic seconds; `inf` for never.
    expires_at: float

    @property
    def client(self) -> AttemptSettings:
        """The client, with its settings."""

    def try_again(self) -> None:
        """Send the request once more, on a new connection."""

    def fail(self, error: HttpError) -> None:
        """End the exchange with `error`."""


class Attempts:
    """The wait of an exchange, and the count of its attempts."""

    __slots__ = ("_exchange", "_has_restarted", "_pool", "_retries", "_timer")

    def __init__(self, exchange: AttemptedExchange) -> None:
        self._exchange = exchange
        self._pool: ConnectionPool | None = None
        self._timer: ScheduledEvent | None = None
        self._retries = 0
        self._has_restarted = False

    def on_queued(self, pool: ConnectionPool) -> None:
        """Wait for a connection: all that are allowed are in use."""
        self._pool = pool
        timeout = self._exchange.client.pool_timeout
        self._wait(inf if timeout is None else timeout, self._on_queue_timeout)

    def on_connecting(self, pool: ConnectionPool) -> None:
        """Wait for a connection that is being made."""
        self.stop_waiting()
        self._pool = pool
        self._wait(inf, self._on_timeout)

    def connect_failed(self, error: HttpError) -> None:
        """Try again, or fail: no connection could be made."""
        self.stop_waiting()
        if error.__class__ is ConnectError:
            self.retry(error)
        else:
            self._exchange.fail(error)

    def retry(self, error: HttpError, at_once: bool = False) -> None:
        """Try again after `retry_delay`, or fail with `error`, if that was the last time.

        at_once: the first time, without a delay, and not counted
        """
        client = self._exchange.client
        if at_once and not self._has_restarted:
            self._has_restarted = True
            self._try_again()
        elif self._retries < client.retry_limit:
            self._retries += 1
            self._wait(client.retry_delay, self._try_again)
        else:
            self._exchange.fail(error)

    def stop_waiting(self) -> ConnectionPool | None:
        """End the wait: there is a stream, or the exchange ends. Return the pool that was waited
        for, if any."""
        pool, self._pool = self._pool, None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.delete()
        return pool

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` in so many seconds, unless the wait is over or the exchange times out."""
        loop, expires_at = self._exchange.client.loop, self._exchange.expires_at
        if expires_at != inf:
            left = max(0.0, expires_at - loop.clock.monotonic())
            if left < seconds:
                seconds, then = left, self._on_timeout
        if seconds != inf:
            self._timer = loop.call_later(seconds, then)

    def _try_again(self) -> None:
        self.stop_waiting()
        self._exchange.try_again()

    def _on_queue_timeout(self) -> None:
        self._exchange.fail(ConnectError("no connection became free in time"))

    def _on_timeout(self) -> None:
        self._exchange.fail(ExchangeTimeoutError())
