"""What a client's connection waits for, and for how long.

Owns: the one dead-line of an `HttpServerConnection` and the reactions to it. Must not know messages.

Theory of operation: the dead-line follows from the connection's state (`_next_deadline`). It is set
when the connection begins to wait for something (`_wait`), and worked out again when it comes up:
a request that was answered at once leaves no trace here. Time during which the program itself has
paused counts against nobody.

| state | waits for | setting | reaction |
|---|---|---|---|
| no byte of a request | a request | idle_timeout | close |
| part of a head | the rest of it | head_timeout | 408 |
| request not complete, not paused | more of the body | body_timeout, min_body_rate | 408 |
| request complete, no response | the program | response_timeout | 504 |
| the client closed its side | its answers to leave | half_close_timeout | reset |
| bytes queued, none leaves | the client to read | send_timeout | reset |
| answered, closing | the client to close | LINGER_S | close |
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

READ_BODY = ServerReading.BODY
IDLE = ServerWriting.IDLE

#: How long a client that was answered may take to close: a reset would destroy the answer on its
#: way (RFC 9112 section 9.6). nginx's lingering_timeout is 5 s, Apache's 2 s.
LINGER_S = 2.0
#: Over how long `min_body_rate` is measured, in seconds.
RATE_WINDOW_S = 10.0


class Patience:
    """The dead-line of a connection, which is this class with the rest."""

    tcp_conn: TcpConnection | None
    server: HttpServer
    _loop: LoopBase
    _reader: RequestReader
    _reading: ServerReading
    _exchange: HttpServerExchange | None
    _half_closed: bool
    _closing: bool
    _lingering: bool
    #: When the present wait began.
    _since: float
    _body_bytes: int
    _window_start: float
    _window_bytes: int
    #: Since when bytes wait to be sent; and how many had left at the last look.
    _stuck_at: float
    _stuck_bytes: int
    _deadline_at: float
    _deadline_entry: float

    def _refuse(self, error: HttpError) -> None:
        raise AssertionError

    def _gone(self, error: HttpError) -> None:
        raise AssertionError

    def _close(self) -> None:
        raise AssertionError

    def _begin_wait(self) -> None:
        """A wait begins now."""
        self._since = self._loop._now
        self._wait()

    def _wait(self) -> None:
        """Set the dead-line of what the connection waits for."""
        self._loop._deadlines.arm(self, self._next_deadline()[0])

    def _next_deadline(self) -> tuple[float, Any]:
        """When waiting is over, and what is done then."""
        server = self.server
        when, then = inf, self._time_out_client
        exchange = self._exchange
        if self._lingering:
            when, then = self._since + LINGER_S, self._close
        elif self._closing:
            pass  # what is queued is being sent
        elif exchange is None:
            if self._reader.started:
                if server.head_timeout:
                    when, then = self._since + server.head_timeout, self._time_out_head
            elif server.idle_timeout:
                when, then = self._deadline_at, self._close
                if when == inf:
                    when = self._loop._now + server.idle_timeout
        elif self._half_closed and server.half_close_timeout:
            when, then = self._since + server.half_close_timeout, self._time_out_client
        elif self._reading is READ_BODY:
            if not exchange._paused:
                when, then = self._body_deadline()
        elif server.response_timeout and exchange._writing is IDLE:
            when, then = self._since + server.response_timeout, self._time_out_program
        if self._stuck_at != inf and server.send_timeout:
            stuck = self._stuck_at + server.send_timeout
            if stuck < when:
                when, then = stuck, self._time_out_send
        return when, then

    def _body_deadline(self) -> tuple[float, Any]:
        server = self.server
        when = self._since + server.body_timeout if server.body_timeout else inf
        if server.min_body_rate:
            when = min(when, self._window_start + RATE_WINDOW_S)
        return when, self._time_out_body

    def _deadline_due(self, now: float) -> None:
        self._deadline_at = now  # what `_next_deadline` takes for an idle connection's own
        when, then = self._next_deadline()
        if when > now:
            self._loop._deadlines.arm(self, when)
        else:
            then()

    def _time_out_head(self) -> None:
        self._refuse(RequestTimeoutError("the head did not come in time"))

    def _time_out_body(self) -> None:
        server = self.server
        now = self._loop._now
        stopped = server.body_timeout and now >= self._since + server.body_timeout
        if not stopped and self._body_bytes - self._window_bytes >= (
            server.min_body_rate * RATE_WINDOW_S
        ):
            self._window_start = now
            self._window_bytes = self._body_bytes
            self._wait()
        else:
            self._refuse(RequestTimeoutError("the body did not come in time"))

    def _time_out_program(self) -> None:
        self._refuse(ExchangeTimeoutError("the program did not answer in time"))

    def _progressed(self) -> bool:
        """Whether bytes have left since we last looked."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None or tcp_conn.bytes_written <= self._stuck_bytes:
            return False
        self._stuck_bytes = tcp_conn.bytes_written
        return True

    def _time_out_client(self) -> None:
        if self._progressed():
            self._begin_wait()
        else:
            self._gone(ConnectError("the client closed its side, and nothing can be sent"))

    def _time_out_send(self) -> None:
        tcp_conn = self.tcp_conn
        if tcp_conn is None or not tcp_conn._buffer.size:
            self._stuck_at = inf
        elif self._progressed():
            self._stuck_at = self._loop._now
        else:
            self._gone(SendTimeoutError("the client does not read its response"))
            return
        self._wait()
