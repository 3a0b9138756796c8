"""What a client's connection waits for, and for how long.

Owns: the one deadline of an `HttpServerConnection` and the reactions to it. Must not know
messages.

Theory of operation: the deadline follows from the connection's state (`_next_deadline`). It is set
when the connection begins to wait for something (`_wait`), and worked out again when it comes up:
a request that was answered at once leaves no trace here. Time during which the program itself has
paused counts against nobody. Whether anything leaves is looked at when a deadline comes up, so
that a client that stops reading is told from one that reads slowly after one to two times the
setting.

| state | waits for | setting | reaction |
|---|---|---|---|
| new, no byte of a request | a request | idle_timeout, head_timeout | close |
| no byte of the next request | a request | idle_timeout | close |
| no byte of a request, in a drain | a request | drain_idle_timeout | close |
| part of a head | the rest of it | head_timeout | 408 |
| request not complete, not paused | more of the body | body_timeout, min_body_rate | 408 |
| request complete, no response | the program | response_timeout | 504 |
| the client closed its side | its answers to leave | half_close_timeout | reset |
| bytes queued, none leaves | the client to read | send_timeout | reset |
| answered, closing | the client to close | linger_timeout | close |
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from thor.http.error import (
    ConnectError,
    ExchangeTimeoutError,
    HttpError,
    RequestTimeoutError,
    SendTimeoutError,
)
from thor.http.wire.state import ServerReading, ServerWriting

if TYPE_CHECKING:
    from thor.http.server.exchange import HttpServerExchange
    from thor.http.server.server import HttpServer
    from thor.http.wire.reader import RequestReader
    from thor.loop import LoopBase
    from thor.tcp import TcpConnection

HEAD, READ_BODY = ServerReading.HEAD, ServerReading.BODY
IDLE, DONE = ServerWriting.IDLE, ServerWriting.DONE

#: What there is of the next head: nothing on a connection that is new, nothing yet, its beginning.
NEW, QUIET, BEGUN = range(3)

#: Over how long `min_body_rate` is measured, in seconds. Silence is not slowness: while nothing
#: comes at all it is `body_timeout` that counts, so that an upload may falter.
RATE_WINDOW_S = 10.0


class Patience:
    """The deadline of a connection, which is this class with the rest."""

    tcp_conn: TcpConnection | None
    server: HttpServer
    _loop: LoopBase
    _reader: RequestReader
    _exchange: HttpServerExchange | None
    _reading: ServerReading
    _head: int
    _half_closed = False
    _closing = False
    _lingering = False
    #: When the present wait began, or what it waits for last moved.
    _since: float
    _body_bytes: int
    _window_start: float
    _window_bytes: int
    #: A send was short; when bytes last left, as far as is known, and how many had by then.
    _write_blocked = False
    #: One of the things that are looked at only when one of them has happened: the client closed
    #: its side, the server drains, a send was short.
    _needs_deadline_check: bool
    _moved_at = 0.0
    _moved_bytes = 0
    deadline_at: float
    deadline_entry: float

    def _refuse(self, error: HttpError) -> None:
        raise AssertionError

    def _gone(self, error: HttpError) -> None:
        raise AssertionError

    def _close(self) -> None:
        raise AssertionError

    def _close_lingering(self) -> None:
        raise AssertionError

    # -- waiting -------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Set the deadline of what the connection waits for."""
        if self.tcp_conn is not None:
            self._loop.deadlines.arm(self, self._next_deadline()[0])

    def _begin_wait(self) -> None:
        """A wait begins now."""
        # Not the time of the turn: a program may have called from outside of one.
        self._since = self._loop.clock.monotonic()
        self._wait()

    def _begin_body_wait(self) -> None:
        """From now on the client is due to send a body, and fast enough."""
        self._window_start = self._loop.clock.monotonic()
        self._window_bytes = self._body_bytes
        self._begin_wait()

    def write_blocked(self) -> None:
        """A send was short: the client does not read as fast as we write."""
        if not self._write_blocked and self.tcp_conn is not None:
            self._write_blocked = self._needs_deadline_check = True
            self._mark_progress(self.tcp_conn)
            self._wait()

    def _mark_progress(self, tcp_conn: TcpConnection) -> None:
        self._moved_at = self._loop.now
        self._moved_bytes = tcp_conn.bytes_written

    # -- for how long --------------------------------------------------------------------------

    def _next_deadline(self) -> tuple[float, Any]:
        """When waiting is over, and what is done then."""
        server = self.server
        exchange = self._exchange
        when: float = inf
        then: Any = None
        if self._lingering:
            when, then = self._since + (server.linger_timeout or 0.0), self._time_out_quiet
        elif self._closing:
            pass  # what is queued is being sent
        elif exchange is None:
            when, then = self._request_deadline()
        elif exchange._writing is not DONE:
            when, then = self._exchange_deadline(exchange)
        if self._write_blocked and server.send_timeout:
            stalled = self._moved_at + server.send_timeout
            if stalled < when:
                when, then = stalled, self._time_out_send
        return when, then

    def _request_deadline(self) -> tuple[float, Any]:
        """There is no exchange: until when a request has to be there."""
        server = self.server
        if self._reading is READ_BODY:  # the rest of one that is answered
            when, then = self._body_deadline()
        elif self._head == BEGUN:
            when = self._since + server.head_timeout if server.head_timeout else inf
            return when, self._time_out_head
        else:
            patience = server.idle_timeout or inf
            if self._head == NEW and server.head_timeout:
                patience = min(patience, server.head_timeout)
            when, then = self._since + patience, self._time_out_quiet
        # Not of a request that is there, and waits for the client to read the answer before it.
        if (server._draining or server._crowded) and not self._reader.started:
            until = self._since + (server.drain_idle_timeout or 0.0)
            if until <= when:
                when, then = until, self._time_out_drain
        return when, then

    def _exchange_deadline(self, exchange: HttpServerExchange) -> tuple[float, Any]:
        """Until when the client or the program has to go on with this exchange."""
        server = self.server
        when: float = inf
        then: Any = None
        if self._reading is READ_BODY:
            if exchange._paused:
                return inf, None
            if not exchange.expects_continue:
                when, then = self._body_deadline()
        elif server.response_timeout and exchange._writing is IDLE:
            when, then = self._since + server.response_timeout, self._time_out_program
        if self._half_closed and server.half_close_timeout:
            stalled = self._moved_at + server.half_close_timeout
            if stalled < when:
                when, then = stalled, self._time_out_half_closed
        return when, then

    def _body_deadline(self) -> tuple[float, Any]:
        server = self.server
        when = self._since + server.body_timeout if server.body_timeout else inf
        if server.min_body_rate:
            when = min(when, self._window_start + RATE_WINDOW_S)
        return when, self._time_out_body

    # -- when it is over -----------------------------------------------------------------------

    def on_deadline(self, now: float) -> None:
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        if tcp_conn.bytes_written != self._moved_bytes:
            self._mark_progress(tcp_conn)
        if not tcp_conn.write_buffer.size:
            self._write_blocked = False
        when, then = self._next_deadline()
        if when > now:
            self._loop.deadlines.arm(self, when)
        else:
            then()

    def _time_out_quiet(self) -> None:
        """The client does nothing; if it could not know yet that it is its turn, wait anew."""
        if self.tcp_conn is not None and self.tcp_conn.write_buffer.size:
            self._begin_wait()
        else:
            self._close()

    def _time_out_drain(self) -> None:
        """The server drains, and nothing came. What has come by now is yet to be read."""
        self._loop.call_soon(self._end_drain)

    def _end_drain(self) -> None:
        tcp_conn = self.tcp_conn
        if tcp_conn is None or self._closing:
            return
        server = self.server
        when, then = self._next_deadline()
        if then != self._time_out_drain or when > self._loop.now:
            self._wait()  # something came
        elif tcp_conn.write_buffer.size and server.drain_idle_timeout:
            self._begin_wait()  # it could not know yet that it is its turn
        elif self._reading is READ_BODY:
            self._close_lingering()
        else:
            self._close()

    def _time_out_head(self) -> None:
        self._refuse(RequestTimeoutError("the head did not come in time"))

    def _time_out_body(self) -> None:
        server = self.server
        now = self._loop.now
        stopped = server.body_timeout and now >= self._since + server.body_timeout
        came = self._body_bytes - self._window_bytes
        slow = 0 < came < (server.min_body_rate or 0) * RATE_WINDOW_S
        if not stopped and not slow:
            self._window_start = now
            self._window_bytes = self._body_bytes
            self._wait()
        else:
            self._refuse(RequestTimeoutError("the body did not come in time"))

    def _time_out_program(self) -> None:
        self._refuse(ExchangeTimeoutError("the program did not answer in time"))

    def _time_out_half_closed(self) -> None:
        self._gone(ConnectError("the client closed its side, and nothing could be sent"))

    def _time_out_send(self) -> None:
        self._gone(SendTimeoutError("the client does not read its response"))
