"""One client's connection to an HTTP server.

Owns: the order of requests and responses on it, and what ends it. Must not know sockets: it is the
`_owner` of a `TcpConnection`; nor listening: that is the server's.

Theory of operation: bytes are pushed into the reader; `_pump` pulls out what has been parsed while
nothing holds it up, so that pausing, pipelining and closing inside a listener are one condition of
one loop. Requests are dealt with one at a time: the next head is parsed when the response to the
one before is complete; what a client pipelines meanwhile waits in the reader, up to a bound, then
reading pauses.

How long the connection waits for what is in `patience.py`.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Any

from thor.http.connection import READ_AHEAD_BYTES, date_value
from thor.http.error import (
    ConnectError,
    ExpectationError,
    HttpError,
    OutputStateError,
)
from thor.http.server.exchange import DONE, FAILED, IDLE, UPGRADED, HttpServerExchange
from thor.http.server.patience import Patience
from thor.http.wire.framing import NO_BODY, UNTIL_CLOSE
from thor.http.wire.reader import RequestReader
from thor.http.wire.state import ServerReading, ServerWriting
from thor.http.wire.writer import error_response, response_head, switching_head

if TYPE_CHECKING:
    from thor.http.server.server import HttpServer
    from thor.http.wire.head import RequestHead
    from thor.tcp import TcpConnection
    from thor.types import HeadersIn

log = logging.getLogger("thor.http")

HEAD, READ_BODY, READ_DONE = ServerReading.HEAD, ServerReading.BODY, ServerReading.DONE
BODY = ServerWriting.BODY

#: What is read and dropped after the last answer, before closing.
LINGER_BYTES = 64 * 1024
#: The rest of a request's body that is read for the sake of keeping the connection.
DRAIN_BYTES = 256 * 1024


def _is_success(status: Any) -> bool:
    """Whether a program's status, of whatever type, is a 2xx."""
    text = status.decode("latin-1") if isinstance(status, bytes) else str(status)
    return text.startswith("2")


class HttpServerConnection(Patience):
    """A connection of an `HttpServer`; `tcp_conn` is None once it is gone."""

    def __init__(self, tcp_conn: TcpConnection, server: HttpServer) -> None:
        self.tcp_conn: TcpConnection | None = tcp_conn
        self.server = server
        self.address = tcp_conn.address
        self._loop = tcp_conn._loop
        self._reader = RequestReader(server._limits)
        self._reading = HEAD
        self._exchange: HttpServerExchange | None = None
        self._pumping = False
        self._half_closed = False
        self._unsent: list[HttpServerExchange] = []
        self._head_begun = False
        self._closing = False
        self._lingering = False
        self._discarded = 0
        self._since = self._loop._now
        self._window_start = 0.0
        self._window_bytes = 0
        self._body_bytes = 0
        self._stuck_at: float = inf
        self._stuck_bytes = 0
        self._deadline_at: float = inf
        self._deadline_entry: float = inf
        tcp_conn._owner = self
        tcp_conn.allow_half_open = True
        tcp_conn.pause(False)
        self._wait()

    # -- called by the transport ---------------------------------------------------------------

    def data(self, data: bytes) -> None:
        """Bytes arrived."""
        if self._lingering:
            self._discard(len(data))
            return
        reader = self._reader
        reader.feed(data)
        if not self._pumping:
            self._pump()
        if reader.buffered > READ_AHEAD_BYTES and self.tcp_conn is not None:
            self.tcp_conn.pause(True)

    def end(self) -> None:
        """The client finished sending: what it asked for is still answered."""
        self._half_closed = True
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        if self._closing:
            self._close()
        elif self.server.abort_on_half_close and self._exchange is not None:
            self._gone(ConnectError("the client closed its side"))
        else:
            self._stuck_bytes = tcp_conn.bytes_written
            self._pump()
            self._begin_wait()

    def pause(self, paused: bool) -> None:
        """The response is more than the client takes."""
        exchange = self._exchange
        if exchange is not None and exchange._writing is BODY:
            exchange.emit("pause", paused)

    def stuck(self) -> None:
        """A send was short: the client does not read as fast as we write."""
        if self._stuck_at == inf and self.tcp_conn is not None:
            self._stuck_at = self._loop._now
            self._stuck_bytes = self.tcp_conn.bytes_written
            self._wait()

    def hangup(self) -> None:
        """The client is gone, seen while reading was paused."""
        self._gone(ConnectError("the client reset the connection"))

    def close(self, exc: OSError | None) -> None:
        """The client or the network ended the connection."""
        self._gone(ConnectError(str(exc) if exc is not None else "the client closed"))

    def disconnect(self) -> None:
        """The socket is closed."""
        self._gone(ConnectError("the connection was closed"))
        self.server._disconnected(self)

    def failed(self, exc: BaseException) -> None:
        """A listener raised: the client gets a 500 if nothing was answered yet."""
        exchange = self._exchange
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        error = OutputStateError(f"the program failed: {type(exc).__name__}")
        if exchange is None or exchange._writing is DONE:
            tcp_conn.close()
        elif exchange._writing is IDLE:
            tcp_conn.write(error_response(error))
            self._close_lingering()
        else:
            tcp_conn.abort()
        self._lose_exchange(error)

    # -- the request ---------------------------------------------------------------------------

    def _pump(self) -> None:
        """Pull out what was parsed and emit it, until something holds it up."""
        if self._pumping or self.tcp_conn is None:
            return
        reader = self._reader
        self._pumping = True
        try:
            while not self._closing:
                exchange = self._exchange
                if exchange is None:
                    head = reader.read_head()
                    if head is None:
                        self._await_head()
                        break
                    self._begin(head)
                elif exchange._writing is DONE:
                    if self._reading is READ_DONE or self._drained():
                        self._finish(exchange)
                    else:
                        break
                elif self._reading is READ_DONE or exchange._paused:
                    break
                elif not self._read_body(exchange):
                    break
        except HttpError as why:
            self._refuse(why)
        finally:
            self._pumping = False
        tcp_conn = self.tcp_conn
        if tcp_conn is not None and tcp_conn._paused and reader.buffered <= READ_AHEAD_BYTES:
            tcp_conn.pause(False)

    def _await_head(self) -> None:
        """No complete head is there."""
        if self._half_closed:
            self._close()
        elif self._reader.started:
            if not self._head_begun:  # its first bytes: the clock of the whole head starts
                self._head_begun = True
                self._begin_wait()
        elif self.server._draining:
            self._close()

    def _begin(self, head: RequestHead) -> None:
        """A head was accepted."""
        self._head_begun = False
        server = self.server
        if head.expect_other:
            raise ExpectationError()
        exchange = self._exchange = HttpServerExchange(self, head)
        self._reading = READ_BODY
        server.emit("exchange", exchange)
        if exchange is not self._exchange:
            return  # upgraded, or lost
        writing = exchange._writing
        if writing is not DONE:
            exchange.emit("request_start", head.method, head.target, head.headers)
            if exchange is not self._exchange:
                return
        if self._reader.complete:
            if exchange._writing is DONE:
                self._reading = READ_DONE
            elif not exchange._paused:
                self._request_done(exchange)
            if exchange is self._exchange and exchange._writing is not DONE:
                self._begin_wait()
        else:
            if exchange._must_continue:
                self._continue(exchange)
            self._body_bytes = self._window_bytes = 0
            self._begin_wait()
            self._window_start = self._since

    def _continue(self, exchange: HttpServerExchange) -> None:
        """Answer `Expect: 100-continue`, if the program reads and has not answered."""
        if exchange._writing is not IDLE:
            return
        listeners = exchange._listeners
        if listeners is not None and "expect_continue" in listeners:
            exchange.emit("expect_continue")
        elif not exchange._paused:
            exchange.response_nonfinal(100, "Continue", [])

    def _read_body(self, exchange: HttpServerExchange) -> bool:
        """Emit what there is of the body. Returns: whether to look again"""
        reader = self._reader
        chunk = reader.read_body()
        if chunk:
            self._since = self._loop._now
            self._body_bytes += len(chunk)
            exchange._must_continue = False
            exchange.emit("request_body", chunk)
            return True
        if reader.complete:
            self._request_done(exchange)
            return True
        if self._half_closed:
            reader.eof()
        return False

    def _request_done(self, exchange: HttpServerExchange) -> None:
        self._reading = READ_DONE
        if exchange._writing is DONE:
            return
        exchange.emit("request_done", self._reader.trailers)
        if self.server.response_timeout is not None and exchange is self._exchange:
            self._begin_wait()

    def _drained(self) -> bool:
        """The response is complete and the request is not: drop the rest of it, up to a bound."""
        reader = self._reader
        exchange = self._exchange
        while not reader.complete:
            if exchange is None or exchange._must_continue:
                # It may or may not send the body now: what comes next cannot be told apart.
                self._close_lingering()
                return False
            chunk = reader.read_body()
            if chunk is None:
                if reader.complete:
                    break
                if self._half_closed:
                    self._close()
                return False
            self._discarded += len(chunk)
            if self._discarded > DRAIN_BYTES:
                self._close_lingering()
                return False
        self._discarded = 0
        self._reading = READ_DONE
        return True

    # -- the response --------------------------------------------------------------------------

    def _write_response_head(
        self, exchange: HttpServerExchange, status: Any, phrase: Any, headers: HeadersIn
    ) -> None:
        head = exchange._head
        server = self.server
        keep_alive = exchange._keep_alive and not server._draining and not self._half_closed
        untaken = False
        if exchange.method == b"CONNECT":
            keep_alive = False  # what follows may be meant for a tunnel
            if _is_success(status):
                # Only upgrade() opens a tunnel; a client must not believe that it has one.
                status, phrase, headers = 405, "Method Not Allowed", [("Content-Length", "0")]
                untaken = True
        elif exchange._must_continue and not self._reader.complete:
            keep_alive = False
        date = date_value(self._loop.time()) if server.send_date else None
        out = response_head(
            status,
            phrase,
            headers,
            method=exchange.method,
            http11=head.http11,
            keep_alive=keep_alive,
            date=date,
        )
        exchange._keep_alive = out.keep_alive
        exchange._framing = NO_BODY if untaken else out.framing
        exchange._left = out.length
        exchange._writing = BODY
        self.tcp_conn.write(out.data)  # type: ignore[union-attr]

    def _response_ended(self) -> None:
        if not self._pumping:
            self._loop._soon(self._pump)

    def _response_broken(self, exchange: HttpServerExchange) -> None:
        """The program wrote more or less than it declared: the client must see that it is wrong."""
        if exchange is self._exchange and self.tcp_conn is not None:
            exchange._writing = FAILED
            self.tcp_conn.abort()

    def _finish(self, exchange: HttpServerExchange) -> None:
        """Request and response are complete."""
        self._exchange = None
        self._reading = HEAD
        tcp_conn = self.tcp_conn
        assert tcp_conn is not None
        listeners = exchange._listeners
        if (listeners is not None and "done" in listeners) or hasattr(exchange._sink, "done"):
            self._unsent.append(exchange)
            tcp_conn._when_sent(self._sent)
        else:
            exchange._listeners = exchange._sink = None
        if not exchange._keep_alive or self.server._draining:
            if self._reader.buffered:
                self._close_lingering()
            else:
                self._close()
            return
        idle_timeout = self.server.idle_timeout
        if idle_timeout:
            self._deadline_at = when = self._loop._now + idle_timeout
            if when < self._deadline_entry:
                self._loop._deadlines.arm(self, when)

    def _sent(self) -> None:
        """The last byte of the oldest response has left."""
        self._unsent.pop(0)._emit_done(None)

    def _exchange_paused(self, exchange: HttpServerExchange, paused: bool) -> None:
        if exchange is not self._exchange or paused:
            return
        if exchange._must_continue:
            self._continue(exchange)
        self._since = self._window_start = self._loop._now
        self._window_bytes = self._body_bytes
        self._loop._soon(self._pump)

    def _upgrade(
        self, exchange: HttpServerExchange, protocol: bytes, headers: HeadersIn
    ) -> TcpConnection:
        tcp_conn = self.tcp_conn
        if exchange is not self._exchange or tcp_conn is None:
            raise OutputStateError("upgrade of an exchange that is over")
        if exchange.method == b"CONNECT":
            date = date_value(self._loop.time()) if self.server.send_date else None
            data = response_head(
                200,
                "Connection established",
                headers,
                method=b"CONNECT",
                http11=exchange._head.http11,
                keep_alive=True,
                date=date,
            ).data
        else:
            offered = [name.lower() for name in exchange._head.upgrade]
            if protocol.lower() not in offered:
                raise OutputStateError("upgrade to a protocol that the client did not offer")
            if not self._reader.complete:
                raise OutputStateError("upgrade before the request's body was read")
            data = switching_head(protocol, headers)
        tcp_conn.write(data)
        exchange._writing = UPGRADED
        self._exchange = None
        rest = self._reader.take_rest()
        tcp_conn._owner = None
        self.tcp_conn = None
        self._deadline_at = inf
        tcp_conn.pause(True)
        tcp_conn.allow_half_open = False
        if rest:
            tcp_conn.unread(rest)
        self.server._disconnected(self)
        self._loop._soon(exchange._emit_done, None)
        return tcp_conn

    # -- ending --------------------------------------------------------------------------------

    def _refuse(self, error: HttpError) -> None:
        """The client sent what cannot be accepted: say so once, and close."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        exchange = self._exchange
        if exchange is None:
            tcp_conn.write(error_response(error))
            self._close_lingering()
            if not self.server.emit("refused", tcp_conn, error):
                log.info("request from %s refused: %s", self.address, error)
            return
        if exchange._writing is IDLE:
            tcp_conn.write(error_response(error))
            self._close_lingering()
        elif exchange._writing is DONE:
            self._close_lingering()
            # The response went out whole; only the rest of the request was wrong.
            self._exchange = None
            exchange._emit_done(None)
            return
        else:
            tcp_conn.abort()
        self._lose_exchange(error)

    def _lose_exchange(self, error: HttpError) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        if exchange._writing is DONE:
            exchange._emit_done(None)
            return
        exchange._writing = FAILED
        if not exchange.emit("error", error):
            log.info("%r from %s: %s", exchange, self.address, error)
        exchange.emit("close")
        exchange._emit_done(error)

    def _gone(self, error: HttpError) -> None:
        """The client is gone: tell the program in the same turn."""
        tcp_conn, self.tcp_conn = self.tcp_conn, None
        self._deadline_at = inf
        if tcp_conn is not None:
            tcp_conn.abort()
            unsent, self._unsent = self._unsent, []
            for exchange in unsent:
                exchange._emit_done(error)
            self._lose_exchange(error)

    def _close(self) -> None:
        """Close when everything was sent; the client has nothing more that we want."""
        self._closing = True
        self._lingering = False
        if self.tcp_conn is not None:
            self.tcp_conn.close()
            self._wait()

    def _close_lingering(self) -> None:
        """Finish sending, and drop for a while what still arrives: closing with unread bytes
        resets the connection, which would destroy the answer on its way (section 9.6)."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None or self._closing:
            return
        if self._half_closed:
            self._close()
            return
        self._closing = self._lingering = True
        self._discarded = 0
        self._reader.take_rest()
        tcp_conn.end_writing()
        tcp_conn.pause(False)
        self._begin_wait()

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._discarded > LINGER_BYTES:
            self._close()

    def shutdown(self) -> None:
        """Close now: what is queued is sent, an exchange in progress is lost."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        exchange = self._exchange
        cut = exchange is not None and exchange._writing is BODY
        if cut and exchange is not None and exchange._framing == UNTIL_CLOSE:
            tcp_conn.abort()  # a clean close would look like a complete response
        else:
            self._close()
        if exchange is not None:
            self._loop._soon(self._lose_exchange, ConnectError("the server was shut down"))

    def drain(self) -> None:
        """Close when idle: now, or after the response in progress."""
        if self._exchange is None and not self._reader.started and not self._closing:
            self._close()
