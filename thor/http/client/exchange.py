"""A request and its response, as the client's program sees them.

Owns: the life of an exchange: when it has a connection, when it is tried again, how it ends. Must
not know the bytes of a response: its connection reads them and emits on it.

Theory of operation: an exchange that was started has a connection, or waits for one (queued,
connecting, or for `retry_delay`); `_group` says who has to be told if it does not want it any
more, and one timer limits the wait. It ends exactly once, through `_end`: with `response_done`,
`upgrade` or `error`, after which its listeners are dropped, or silently, by `cancel()`.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Any

from thor.http.client.request import (
    BODY,
    DONE,
    FAILED,
    IDLE,
    RESPONSE_DUE,
    OutgoingRequest,
)
from thor.http.error import (
    ConnectError,
    ExchangeTimeoutError,
    HttpError,
    OutputStateError,
)
from thor.http.semantics import idempotent_methods
from thor.http.uri import show_uri
from thor.http.wire.framing import LENGTH, NO_BODY
from thor.http.wire.state import ClientReading

if TYPE_CHECKING:
    from collections.abc import Callable

    from thor.http.client.client import HttpClient
    from thor.http.client.pool import OriginPool
    from thor.loop import LoopBase, ScheduledEvent
    from thor.tcp import TcpConnection
    from thor.types import OriginType

log = logging.getLogger("thor.http")

READ_HEAD, READ_BODY, READ_FAILED = (
    ClientReading.HEAD,
    ClientReading.BODY,
    ClientReading.FAILED,
)


class ExchangeConnection:
    """The connection of one exchange, as long as it has it: what its program may do with it."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: HttpClientExchange) -> None:
        self._exchange = exchange

    @property
    def tcp_conn(self) -> TcpConnection | None:
        """The TCP connection; None once it is gone, or no longer this exchange's."""
        conn = self._exchange._conn
        return conn.tcp_conn if conn is not None else None

    @property
    def res_version(self) -> bytes:
        """The exchange's `res_version`."""
        return self._exchange.res_version

    def close(self) -> None:
        """End the exchange silently, like `cancel()`."""
        self._exchange.cancel()


class HttpClientExchange(OutgoingRequest):
    """A request to be sent, and the response to it.

    Emits:
        response_nonfinal(status: bytes, phrase: bytes, headers: [(bytes, bytes)]): an
            informational response (1xx), any number before the final one; a 101 too, which is
            followed by `upgrade`.
        response_start(status: bytes, phrase: bytes, headers: [(bytes, bytes)]): once.
        response_body(chunk: bytes): any number of times. Not while paused.
        response_done(trailers: [(bytes, bytes)]): the response is complete; terminal. A request
            that was not complete by then is abandoned.
        pause(paused: bool): the request's body is more than the connection takes (True): stop
            calling `request_body` until it is emitted with False.
        upgrade(conn: TcpConnection): after a 101 (`response_nonfinal`) or a 2xx to CONNECT
            (`response_start`); the connection is the program's, paused, and what came behind
            the response is its first `data`. Terminal.
        error(err: HttpError): the exchange is lost; terminal.
    Exactly one of the terminal events is emitted, or none after `cancel()`; nothing follows it.
    """

    emits = frozenset(
        (
            "response_nonfinal",
            "response_start",
            "response_body",
            "response_done",
            "pause",
            "upgrade",
            "error",
        )
    )

    _retries = 0
    _restarted = False
    _error_due: HttpError | None = None

    def __init__(self, client: HttpClient) -> None:
        # In one place: a default of the class is slower to get at, and what is set for the first
        # time later, or beyond the 29th, gives the instance a dict of its own.
        self._listeners = self._sink = None
        #: The layer above, if there is one. It is called directly for what each response has:
        #: `response_start`, `response_body` and `response_done`; it is the sink as well.
        self._owner: Any = None
        self.client = client
        self.method = b""
        self.uri = b""
        self._route = None
        #: The version of the response, informational ones too, b"1.1"; empty before it.
        self.res_version = b""
        #: Bytes of the final response's head.
        self.input_header_length = 0
        self._writing = IDLE
        self._reading = READ_HEAD
        self._conn = None
        self._head = b""
        self._head_parts = None
        self._framing = NO_BODY
        self._left = 0
        self._protocol = None
        self._replay_buffer = None
        self._replay_sent = 0
        self._replay_bytes = 0
        self.awaits_continue = False
        self._pause_emitted = False
        self._paused = False
        self._group: OriginPool | None = None
        self._timer: ScheduledEvent | None = None
        self._expires_at = inf
        self._transfer_bytes = 0
        #: What the Content-Length says that frames the response's body; -1 if none does.
        self._length = -1

    def __repr__(self) -> str:
        method, uri = self.method.decode("latin-1"), show_uri(self.uri)
        return (
            f"<HttpClientExchange {method} {uri} "
            f"request {self._writing.name}, response {self._reading.name}>"
        )

    @property
    def loop(self) -> LoopBase:
        """The loop of the client."""
        return self.client.loop

    @property
    def origin(self) -> OriginType | None:
        """Whom the request is for: (scheme, host, port); None before it was started."""
        return self._route.origin if self._route is not None else None

    @property
    def conn(self) -> ExchangeConnection | None:
        """The connection, while the exchange has one."""
        return ExchangeConnection(self) if self._conn is not None else None

    @property
    def input_transfer_length(self) -> int:
        """Bytes of the response's body as they were transferred, chunks and trailers included."""
        conn = self._conn
        return conn.body_bytes() if conn is not None else self._transfer_bytes

    # -- what the program calls ----------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) `response_body` and `response_done`. It holds at once."""
        if paused != self._paused:
            self._paused = paused
            if not paused and self._conn is not None:
                self.loop.call_soon(self._conn.resume)

    def cancel(self) -> None:
        """End the exchange, silently: nothing more is emitted. Harmless at any time."""
        self._error_due = None
        if self._reading in RESPONSE_DUE:
            self._stop()
        self._forget()

    # -- for bodies that nobody looks at -------------------------------------------------------

    def body_splice(self) -> HttpClientExchange | None:
        """Return what can move this exchange's bodies in the kernel."""
        return self if self._conn is not None else None

    @property
    def transport(self) -> TcpConnection | None:
        """The connection, while the exchange has it."""
        return self._conn.tcp_conn if self._conn is not None else None

    def bytes_expected(self) -> int:
        """Return how many bytes of the response's body are still to arrive."""
        conn = self._conn
        due = conn is not None and self._reading is READ_BODY and not self._paused
        return conn._reader.body_due if conn is not None and due else 0

    def on_spliced_in(self, count: int) -> None:
        """Count bytes that arrived and were moved."""
        conn = self._conn
        assert conn is not None  # else nothing is due
        conn._since = self.loop.now
        conn._reader.skip_body(count)

    def bytes_promised(self) -> int:
        """Return how many bytes of the request's body are still to be sent."""
        # What is held may have to be sent again, and is not complete without the rest.
        free = self._conn is not None and self._replay_buffer is None and self._head_parts is None
        return self._left if free and self._writing is BODY and self._framing == LENGTH else 0

    def on_spliced_out(self, count: int) -> None:
        """Count bytes that were moved."""
        self._left -= count

    # -- waiting for a connection --------------------------------------------------------------

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` in so many seconds, unless the wait is over or the exchange times out."""
        if self._expires_at != inf:
            left = max(0.0, self._expires_at - self.loop.clock.monotonic())
            if left < seconds:
                seconds, then = left, self._time_out
        if seconds != inf:
            self._timer = self.loop.call_later(seconds, then)

    def _queued(self, group: OriginPool) -> None:
        """All connections that may be are in use."""
        self._group = group
        timeout = self.client.pool_timeout
        self._wait(inf if timeout is None else timeout, self._time_out_queue)

    def _connecting(self, group: OriginPool) -> None:
        """A connection is being made."""
        self._stop_waiting()
        self._group = group
        self._wait(inf, self._time_out)

    def _stop_waiting(self) -> None:
        """The wait is over: there is a connection, or the exchange ends."""
        self._group = None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.delete()

    def _time_out_queue(self) -> None:
        self._fail(ConnectError("no connection became free in time"))

    def _time_out(self) -> None:
        self._fail(ExchangeTimeoutError())

    # -- trying again --------------------------------------------------------------------------

    def _connect_failed(self, error: HttpError) -> None:
        """No connection could be made."""
        self._stop_waiting()
        if error.__class__ is ConnectError and self._may_retry():
            self._wait(self.client.retry_delay, self._try_again)
        else:
            self._fail(error)

    def _no_response(self, error: HttpError, sent: bool, reused: bool) -> None:
        """The connection ended before any byte of a response.

        sent: some byte of the request has left
        reused: an earlier exchange had the connection, so that it may just have timed out
        """
        self._conn = None
        dropped = self._replay_buffer is None and self._head_parts is None
        if dropped or (sent and self.method not in idempotent_methods):
            self._fail(error)
        elif reused and not self._restarted:
            self._restarted = True
            self._try_again()
        elif self._may_retry():
            self._wait(self.client.retry_delay, self._try_again)
        else:
            self._fail(error)

    def _may_retry(self) -> bool:
        self._retries += 1
        return self._retries <= self.client.retry_limit

    def _try_again(self) -> None:
        self._stop_waiting()
        self._replay_sent = 0
        try:
            assert self._route is not None
            self._route.group.acquire(self, fresh=True)
        except HttpError as exc:
            self._fail(exc)

    # -- ending --------------------------------------------------------------------------------

    def _end(self, reading: ClientReading) -> None:
        """The exchange is over."""
        self._reading = reading
        if self._writing is not DONE:
            self._writing = FAILED
        self._conn = None
        self._replay_buffer = self._head_parts = None

    def _stop(self) -> None:
        """End it from this side: whoever works for it is told."""
        group, conn = self._group, self._conn
        self._stop_waiting()
        self._end(READ_FAILED)
        if group is not None:
            group.cancel(self)
        if conn is not None:
            conn.abandoned()

    def _fail(self, error: HttpError) -> None:
        """End it with `error`. Not to be called from a method of the program's."""
        if self._reading in RESPONSE_DUE:
            self._stop()
            self._emit_error(error)

    def _fail_soon(self, error: HttpError) -> None:
        """End it with `error`, which is emitted after the present callback."""
        self._stop()
        self._error_due = error
        self.loop.call_soon(self._emit_due)

    def _emit_due(self) -> None:
        error, self._error_due = self._error_due, None
        if error is not None:
            self._emit_error(error)

    def _emit_error(self, error: HttpError) -> None:
        try:
            if not self.emit("error", error):
                log.warning("%r: %s", self, error)
        finally:
            self._forget()

    def failed(self, exc: BaseException) -> None:
        """A listener raised `exc`, which was logged: what it left undone is unknown."""
        self._fail(OutputStateError(f"the program failed: {type(exc).__name__}"))

    def _forget(self) -> None:
        self._listeners = self._sink = self._owner = None
