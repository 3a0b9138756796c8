"""One client's connection to an HTTP server.

Owns: the order of requests and responses on it. Must not know sockets: it is the `_owner` of a
`TcpConnection`; nor listening: that is the server's.

Theory of operation: bytes are pushed into the reader; `_pump` pulls out what has been parsed while
nothing holds it up, so that pausing, pipelining and closing inside a listener are one condition of
one loop. Requests are dealt with one at a time: the next head is parsed when the response to the
one before is complete and the client has taken enough of it; what a client pipelines meanwhile
waits in the reader, up to a bound, then reading pauses. When a response is complete before its
request, there is no exchange any more, and the rest of the request is dropped.

A connection has a reader while there is anything to read. One whose request is answered leaves it
to its server, empty, for the next that hears something: most are idle.

How long the connection waits for what is in `patience.py`, how it ends in `ending.py`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from thor.events import require_callback
from thor.http.error import (
    ConnectError,
    HttpError,
    MisdirectedRequestError,
    OutputStateError,
)
from thor.http.server.ending import Ending, log
from thor.http.server.exchange import HttpServerExchange
from thor.http.server.patience import BEGUN, DONE, HEAD, IDLE, NEW, QUIET, READ_BODY
from thor.http.wire.framing import CHUNKED
from thor.http.wire.limits import Limits
from thor.http.wire.reader import RequestReader
from thor.http.wire.state import ServerReading, ServerWriting
from thor.http.wire.writer import response_head, switching_head
from thor.tcp.state import ENDED, OPEN

if TYPE_CHECKING:
    from thor.http.server.server import HttpServer
    from thor.tcp import TcpConnection
    from thor.types import HeadersIn

READ_DONE = ServerReading.DONE
BODY, UPGRADED, FAILED = ServerWriting.BODY, ServerWriting.UPGRADED, ServerWriting.FAILED

#: Stands for the reader of a connection that has none: nothing has come. It is only looked at.
NO_READER = RequestReader(Limits())


class HttpServerConnection(Ending):
    """A connection of an `HttpServer`.

    tcp_conn: None once it is gone, or another protocol has it; address: the client's
    client: what a layer above knows of the client, the same for each of its requests
    """

    client: Any = None

    def __init__(self, tcp_conn: TcpConnection, server: HttpServer) -> None:
        self.tcp_conn = tcp_conn
        self.server = server
        self.address = tcp_conn.address
        self._loop = tcp_conn.loop
        self._reader = NO_READER
        # What changes in the life of most is set here: an attribute that comes later makes the
        # instance's dict a table of its own, at twice the size. The rest are the class's defaults.
        # So does what is looked at for every request: a class's default costs more to read.
        self._exchange = None
        self._closing = False
        self._needs_deadline_check = server._draining or server._crowded
        self._reading = HEAD
        self._head = NEW
        self._pumping = False
        self._since = self._loop.now
        self._body_bytes = self._window_bytes = 0
        self._window_start = 0.0
        self.deadline_at = self.deadline_entry = inf
        tcp_conn.owner = self
        tcp_conn.allow_half_open = True
        tcp_conn.pause(False)
        self._wait()

    def __repr__(self) -> str:
        return f"<HttpServerConnection {self.address!r} with {self._exchange!r}>"

    # -- called by the transport ---------------------------------------------------------------

    def data(self, data: bytes) -> None:
        """Bytes arrived."""
        if self._closing:
            if self._lingering:
                self._discard(len(data))
            return
        reader = self._reader
        if reader is NO_READER:
            spare = self.server._spare_readers
            reader = self._reader = spare.pop() if spare else RequestReader(self.server._limits)
            reader.buffer = data  # all that `feed` would do
        elif reader.buffer:
            reader.feed(data)
        else:
            reader.buffer = data
        self._pump()
        reader = self._reader
        if (
            reader.buffer
            and reader.buffered > self.server.read_ahead_bytes
            and self.tcp_conn is not None
        ):
            self.tcp_conn.pause(True)

    def end(self) -> None:
        """The client finished sending: what it asked for is still answered."""
        self._half_closed = self._needs_deadline_check = True
        if self._reader is NO_READER:
            self._reader = RequestReader(self.server._limits)
        tcp_conn = self.tcp_conn
        exchange = self._exchange
        if tcp_conn is None or self._closing:
            return
        if (
            exchange is not None
            and exchange._writing is not DONE
            and (self.server.abort_on_half_close or self.server._draining)
        ):
            self._gone(ConnectError("the client closed its side"))
        else:
            self._mark_progress(tcp_conn)
            self._pump()
            self._wait()

    def pause(self, paused: bool) -> None:
        """The response is more than the client takes (True), or no longer."""
        exchange = self._exchange
        if exchange is None:
            if not paused:
                self._loop.call_soon(self._pump)
        elif exchange._writing is BODY:
            exchange.emit("pause", paused)

    # -- the request ---------------------------------------------------------------------------

    def _pump(self) -> None:
        """Pull out what was parsed and emit it, until something holds it up."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        self._pumping = True
        try:
            while not self._closing:
                exchange = self._exchange
                if exchange is None:
                    if tcp_conn.write_paused or not self._next_request():
                        break
                elif exchange._writing is DONE:
                    if not self._finish(exchange):
                        break
                elif (
                    self._reading is READ_DONE or exchange._paused or not self._read_body(exchange)
                ):
                    break
        finally:
            self._pumping = False
        if tcp_conn.read_paused and self._reader.buffered <= self.server.read_ahead_bytes:
            self._read_on()

    def _read_on(self) -> None:
        """There is room for more."""
        if self.tcp_conn is not None:
            self.tcp_conn.pause(False)

    def _next_request(self) -> bool:
        """Begin with the next request. Returns: False if there is none yet"""
        reader = self._reader
        if self._reading is READ_BODY and not self._drop_body():
            return False
        try:
            head = reader.read_head()
        except HttpError as exc:
            self._refuse(exc.with_traceback(None))
            return False
        if head is None:
            self._await_head()
            return False
        self._head = QUIET
        objection = head[11]
        if objection and not (objection is MisdirectedRequestError and self._is_client_tls()):
            self._refuse(objection())
            return False
        server = self.server
        exchange = self._exchange = server.exchange_class(self, head)
        self._reading = READ_BODY
        if not server.emit("exchange", exchange):
            self._end_exchange(OutputStateError("nobody listens for exchanges"))
        if exchange._writing is not DONE and exchange is self._exchange:
            if exchange._owner is None:
                exchange.emit("request_start", exchange.method, exchange.uri, exchange.req_hdrs)
            if exchange._writing is not DONE and exchange is self._exchange:
                if not reader.complete:
                    self._begin_body(exchange)
                elif not exchange._paused:
                    self._request_done(exchange)
        if exchange._writing is DONE and exchange is self._exchange:
            return self._finish(exchange)
        return True

    def _is_client_tls(self) -> bool:
        """Return whether the client came by TLS, to here or to a proxy that is believed."""
        conn = self.tcp_conn
        if conn is None or self.server.tls is not None:
            return conn is not None
        if conn.proxy_header is not None and conn.proxy_header.is_tls:
            return True
        trusts = self.server.trusts_https
        if trusts is None:
            return False
        require_callback(trusts, "trusts_https")  # a coroutine would be taken for a yes
        return bool(trusts(conn))

    def _await_head(self) -> None:
        """No complete head is there."""
        if self._half_closed:
            try:
                self._reader.eof()
            except HttpError as exc:
                self._refuse(exc.with_traceback(None))
            else:
                self._close()
        elif self._head != BEGUN and self._reader.started:
            self._head = BEGUN  # its first bytes: the clock of the whole head starts
            self._begin_wait()

    def _begin_body(self, exchange: HttpServerExchange) -> None:
        """The head is through, the body is due."""
        if exchange.expects_continue and exchange._writing is IDLE:
            if exchange._hears("expect_continue"):
                exchange.emit("expect_continue")
            else:
                self._invite_body(exchange)
        self._begin_body_wait()

    def _invite_body(self, exchange: HttpServerExchange) -> None:
        """Answer `Expect: 100-continue`, if the program reads and has not answered."""
        if not exchange._paused and exchange._writing is IDLE:
            exchange.response_nonfinal(100, "Continue", [])

    def _continued(self, exchange: HttpServerExchange) -> None:
        """A 100 was sent."""
        if exchange.expects_continue:
            exchange.expects_continue = False
            if exchange is self._exchange:
                self._begin_body_wait()

    def _read_body(self, exchange: HttpServerExchange) -> bool:
        """Emit what there is of the body. Returns: whether to look again"""
        reader = self._reader
        try:
            chunk = reader.read_body()
            if chunk is None and self._half_closed and not reader.complete:
                reader.eof()
        except HttpError as exc:
            self._refuse(exc.with_traceback(None))
            return False
        if chunk is not None:
            self._since = self._loop.now
            self._body_bytes += len(chunk)
            if exchange.expects_continue:  # it did not wait: from now on its body is due
                exchange.expects_continue = False
                self._begin_body_wait()
            if exchange._owner is None:
                exchange.emit("request_body", chunk)
            else:
                exchange._owner.request_body(chunk)
            return True
        if reader.complete:
            self._request_done(exchange)
            return True
        return False

    def _request_done(self, exchange: HttpServerExchange) -> None:
        self._reading = READ_DONE
        if exchange._owner is None:
            exchange.emit("request_done", self._reader.trailers)
        else:
            exchange._owner.request_done(self._reader.trailers)
        if self.server.response_timeout:
            self._begin_wait()

    def _drop_body(self) -> bool:
        """Drop the rest of a request that was answered, up to a bound. Returns: it is through"""
        reader = self._reader
        try:
            while (chunk := reader.read_body()) is not None:
                self._since = self._loop.now
                self._body_bytes += len(chunk)
                self._discarded += len(chunk)
                if self._discarded > self.server.drain_bytes:
                    self._close_lingering()
                    return False
        except HttpError as exc:
            log.info("request from %r was answered, its rest is wrong: %s", self.address, exc)
            exc.__traceback__ = None  # the reader keeps the error, and this has the reader
            self._close_lingering()
            return False
        if not reader.complete:
            if self._half_closed:
                self._close()
            return False
        self._reading = HEAD
        self._begin_wait()
        return True

    def _resume(self, exchange: HttpServerExchange) -> None:
        """The program reads again."""
        tcp_conn = self.tcp_conn
        if exchange is not self._exchange or tcp_conn is None:
            return
        if self._reading is READ_BODY:
            self._mark_progress(tcp_conn)
            if exchange.expects_continue and not exchange._hears("expect_continue"):
                self._invite_body(exchange)
            self._begin_body_wait()
        self._pump()

    # -- the response --------------------------------------------------------------------------

    def _can_persist(self, exchange: HttpServerExchange) -> bool:
        """Whether what comes next is the next request, or can come."""
        reader = self._reader
        if self.server._draining or self.server._crowded:
            return False
        if exchange.method == b"CONNECT":
            return False  # it may be meant for a tunnel
        if exchange.expects_continue and not reader.complete and not reader.buffered:
            return False  # or the body that the client has announced, or not
        return not self._half_closed or reader.buffered > 0

    def _can_discard_body(self, exchange: HttpServerExchange, framing: int) -> bool:
        """Whether the rest of the request will be read, or can be dropped: a client that has sent
        all of it must know, for its next request would come too late.

        framing: of the response. Who passes messages on reads as long as its response lasts; one
            of known length is mostly an error that ends the upload
        """
        if self._reader.body_left <= self.server.drain_bytes:
            return True
        return (exchange._owner is None or framing == CHUNKED) and exchange._hears("request_body")

    def _response_broken(self, exchange: HttpServerExchange, error: OutputStateError) -> None:
        """The program wrote more or less than it declared: the client must see that it is wrong."""
        if exchange is self._exchange:
            self._gone(error)

    def _answered(self, exchange: HttpServerExchange) -> None:
        """The program has ended the response, later than in a listener of the request."""
        reader = self._reader
        if (
            reader.complete
            and not reader.buffer
            and exchange is self._exchange
            and exchange._keep_alive
            and not self._needs_deadline_check
            and self._loop.in_turn  # else the loop's time is old
        ):
            self._finish(exchange)  # nothing follows from it but the wait for the next request
        else:
            self._loop.call_soon(self._pump)

    def _finish(self, exchange: HttpServerExchange) -> bool:
        """The response is complete. Returns: whether to look for the next request now"""
        listeners = exchange._listeners
        if listeners is not None and "done" in listeners:
            self._settle(exchange)
        elif (sink := exchange._sink) is None:
            self._exchange = exchange._listeners = None
        elif sink is exchange._owner and not sink.hears_done:
            self._exchange = exchange._listeners = exchange._sink = exchange._owner = None
        else:
            self._settle(exchange)
        reader = self._reader
        if not reader.complete:
            return self._finish_early(exchange)
        self._reading = HEAD
        unread = bool(reader.buffer)
        if not exchange._keep_alive:
            # A client that has not asked for the close may be sending more.
            if unread or exchange._client_keep_alive:
                self._close_lingering()
            else:
                self._close()
            return False
        self._since = now = self._loop.now
        if self._needs_deadline_check:
            if not unread and self._half_closed:
                self._close()
                return False
            self._wait()
        elif idle_timeout := self.server.idle_timeout:
            # What `_wait` would set, without the way there.
            self.deadline_at = when = now + idle_timeout
            if when < self.deadline_entry:
                self._loop.deadlines.arm(self, when)
        if not (unread or self._needs_deadline_check):
            server = self.server
            self._reader = NO_READER
            if reader._limits is server._limits:
                server._spare_readers.append(reader)
        return unread

    def _finish_early(self, exchange: HttpServerExchange) -> bool:
        """The response is complete and the request is not: as `_finish`."""
        if exchange._keep_alive:
            self._discarded = 0
            self._begin_body_wait()
        else:
            self._close_lingering()
        return exchange._keep_alive

    # -- another protocol ----------------------------------------------------------------------

    def _upgrade(
        self, exchange: HttpServerExchange, protocol: bytes, headers: HeadersIn
    ) -> TcpConnection:
        tcp_conn = self.tcp_conn
        if exchange is not self._exchange or tcp_conn is None or tcp_conn.write_state is not OPEN:
            raise OutputStateError("upgrade of an exchange that is over")
        if exchange.method == b"CONNECT":
            data = self._tunnel_head(exchange, headers)
        elif protocol.lower() not in [name.lower() for name in exchange._upgrade_protocols]:
            raise OutputStateError("upgrade to a protocol that the client did not offer")
        elif not self._reader.complete:
            raise OutputStateError("upgrade before the request's body was read")
        else:
            data = switching_head(protocol, headers)
        tcp_conn.write(data)
        exchange._writing = UPGRADED
        self._exchange = None
        self._loop.call_soon(exchange._end, None)
        self._hand_over(tcp_conn)
        return tcp_conn

    def _tunnel_head(self, exchange: HttpServerExchange, headers: HeadersIn) -> bytes:
        date_line = self.server._date_line()
        phrase = "Connection established"
        data, *_ = response_head(
            200, phrase, headers, b"CONNECT", exchange._http11, True, date_line
        )
        return data

    def _hand_over(self, tcp_conn: TcpConnection) -> None:
        """The connection is the program's from now on, paused, as a new one is."""
        self._closing = True
        self.deadline_at = inf
        self.tcp_conn = None
        tcp_conn.owner = None
        for _, answered in self._unsent:
            self._loop.call_soon(answered._end, None)
        tcp_conn.pause(True)
        tcp_conn.allow_half_open = False
        rest = self._reader.take_rest()
        tcp_conn.unread(rest)
        if self._half_closed and not rest:
            self._loop.call_soon(_end_again, tcp_conn)
        self.server._disconnected()


def _end_again(tcp_conn: TcpConnection) -> None:
    """Tell who has the connection now what was told to its owner before."""
    if tcp_conn.read_state is ENDED:
        tcp_conn.eof_received()
