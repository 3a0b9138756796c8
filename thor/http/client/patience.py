"""What a client's connection waits for, and for how long.

Owns: the one deadline of an `HttpClientConnection` and the reactions to it. Must not know
messages.

Theory of operation: the deadline follows from the connection's state (`_next_deadline`). It is
set when a wait begins (`_wait`), and worked out again when it comes up; what happens meanwhile
moves `_since` and nothing else. Time during which the program has paused the response, or has not
finished its request although all of it was sent, counts against nobody.

| state | waits for | setting | reaction |
|---|---|---|---|
| no exchange | a request | idle_timeout | close |
| head sent, body held | a 100 | CONTINUE_S | send the body |
| request being sent | the server to read | read_timeout | ReadTimeoutError |
| request sent, no head | the response's head | response_timeout, read_timeout | ReadTimeoutError |
| response not complete | more of it | read_timeout | ReadTimeoutError |
| any exchange | its end | exchange_timeout | ExchangeTimeoutError |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thor.http.error import ExchangeTimeoutError, HttpError, ReadTimeoutError
from thor.http.wire.state import ClientReading, ClientWriting

if TYPE_CHECKING:
    from thor.http.client.exchange import HttpClientExchange
    from thor.loop import LoopBase
    from thor.tcp import TcpConnection

#: How long a body is held back for a 100. curl waits as long.
CONTINUE_S = 1.0

HEAD = ClientReading.HEAD
BODY = ClientWriting.BODY


class ClientPatience:
    """The deadline of a connection, which is this class with the rest."""

    tcp_conn: TcpConnection | None
    _loop: LoopBase
    _exchange: HttpClientExchange | None
    #: When the present wait began, or something last moved; when the request was complete.
    _since: float
    _sent_at: float
    #: Whether a send was short and the rest waits; how much had left at the last look.
    _write_blocked: bool
    _written: int
    _idle_until: float
    deadline_at: float
    deadline_entry: float

    def _fail(self, error: HttpError) -> None:
        raise AssertionError

    def close_idle(self) -> None:
        """The connection is idle, and not wanted any more."""
        raise AssertionError

    def await_continue(self) -> None:
        """The head of a request was written that expects a 100."""
        self._sent_at = self._since = self._loop.clock.monotonic()
        self._wait()

    def await_response(self) -> None:
        """The request was written: from now on the server is due."""
        exchange = self._exchange
        assert exchange is not None
        client = exchange.client
        # Outside of a turn the loop's own reading of the clock may be old.
        loop = self._loop
        self._since = self._sent_at = now = loop.now if loop.in_turn else loop.clock.monotonic()
        # The earliest that may be due; which one it is, is found out when it is.
        when = exchange._expires_at
        if (timeout := client.read_timeout) and now + timeout < when:
            when = now + timeout
        if (timeout := client.response_timeout) and now + timeout < when:
            when = now + timeout
        self.deadline_at = when
        if when < self.deadline_entry:
            self._loop.deadlines.arm(self, when)

    def write_blocked(self) -> None:
        """A send was short: the server does not read as fast as we write."""
        tcp_conn = self.tcp_conn
        if tcp_conn is not None and not self._write_blocked:
            self._write_blocked = True
            self._since = self._loop.now
            self._written = tcp_conn.bytes_written
            tcp_conn.when_sent(self._drained)
            self._wait()

    def _drained(self) -> None:
        """What was queued when the server fell behind has left."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        self._since = self._sent_at = self._loop.now
        if tcp_conn.write_buffer.size:
            tcp_conn.when_sent(self._drained)
        else:
            self._write_blocked = False
            self._wait()

    def _wait(self) -> None:
        """Set the deadline of what the connection waits for."""
        self._loop.deadlines.arm(self, self._next_deadline()[0])

    def _next_deadline(self) -> tuple[float, Any]:
        """When waiting is over, and what is done then."""
        exchange = self._exchange
        if exchange is None:
            return self._idle_until, self.close_idle
        client = exchange.client
        when, then = exchange._expires_at, self._time_out_exchange
        if exchange.awaits_continue:
            until = self._sent_at + CONTINUE_S
            return (until, exchange._continue) if until < when else (when, then)
        if exchange._paused:
            return when, then
        sent = exchange._writing is not BODY and not self._write_blocked
        if client.response_timeout and exchange._reading is HEAD and sent:
            until = self._sent_at + client.response_timeout
            if until < when:
                when, then = until, self._time_out_head
        if client.read_timeout and (sent or self._write_blocked):
            until = self._since + client.read_timeout
            if until < when:
                when, then = until, self._time_out_read
        return when, then

    def on_deadline(self, now: float) -> None:
        tcp_conn = self.tcp_conn
        if self._write_blocked and tcp_conn is not None and tcp_conn.bytes_written != self._written:
            self._written = tcp_conn.bytes_written  # slow, but it reads
            self._since = now
        when, then = self._next_deadline()
        if when > now:
            self._loop.deadlines.arm(self, when)
        else:
            then()

    def _time_out_read(self) -> None:
        exchange = self._exchange
        if self._write_blocked:
            waited = "while sending"
        elif exchange is not None and exchange._reading is HEAD:
            waited = "for a response"
        else:
            waited = "in the body"
        self._fail(ReadTimeoutError(waited))

    def _time_out_head(self) -> None:
        self._fail(ReadTimeoutError("for the head of a response"))

    def _time_out_exchange(self) -> None:
        self._fail(ExchangeTimeoutError())
