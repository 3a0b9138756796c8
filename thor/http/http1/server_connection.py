"""One client's HTTP/1.1 connection to a server.

Owns: the order of requests and responses on it, and how it ends. Must not know sockets: it is the
`owner` of a `TcpConnection`; nor listening: that is the server's.

Theory of operation: bytes are pushed into the reader; `_pump` pulls out what was parsed while
nothing blocks it, so that pausing, pipelining and closing inside a listener are one condition of
one loop. Requests are handled one at a time: the next head is parsed when the response to the one
before is complete and the client has read enough of it; what a client pipelines meanwhile waits in
the reader, up to a bound, then reading pauses. When a response is complete before its request, its
exchange is over, and the rest of the request is dropped.

A connection has a reader while there is anything to read. One whose request is answered gives it
back to its server, empty, for the next connection that receives something: most are idle.

An exchange ends in one of three ways. It is answered: then it only waits for its last byte to
leave, which is `done(None)`. It is lost: `error`, `close`, `done(error)`. Or it hands its
connection to another protocol. Whoever ends it takes it from the connection at once, so that
nothing more can happen to it; its events are emitted after the present callback, since a method may
be the cause.

A connection ends in three ways as well. `abort`: reset it. `close_when_sent`: send what is queued,
then close. `close_lingering`: the same, but what the client is still sending is read and dropped
for a while.
"""

from __future__ import annotations

import logging
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from thor.events import require_callback
from thor.http.error import (
    ConnectError,
    HttpError,
    MisdirectedRequestError,
    OutputStateError,
)
from thor.http.http1.server_stream import Http1ServerStream, StreamServer
from thor.http.http1.server_timeouts import Phase, ServerTimeouts, TimeoutSettings, Wait
from thor.http.http1.teardown import LingeringClose, UnsentResponses, response_to
from thor.http.wire.framing import CHUNKED, UNTIL_CLOSE
from thor.http.wire.grammar import END_OF_HEAD
from thor.http.wire.limits import Limits
from thor.http.wire.reader import RequestReader
from thor.http.wire.state import ServerReading, ServerWriting
from thor.tcp.state import OPEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from thor.http.streams import RequestFacts, ServerStream, ServerStreamHandler
    from thor.tcp import TcpConnection

log = logging.getLogger("thor.http")

#: How much of later requests is read ahead while one is handled, in bytes; then reading pauses.
READ_AHEAD_BYTES = 64 * 1024

HEAD, READ_BODY, READ_DONE = ServerReading.HEAD, ServerReading.BODY, ServerReading.DONE
IDLE, BODY, DONE, UPGRADED, FAILED = (
    ServerWriting.IDLE,
    ServerWriting.BODY,
    ServerWriting.DONE,
    ServerWriting.UPGRADED,
    ServerWriting.FAILED,
)

#: Stands for the reader of a connection that has none: nothing has arrived. It is never fed.
NO_READER = RequestReader(Limits())


class HeadProgress(Enum):
    """What has arrived of the next head."""

    #: Nothing, and nothing of any request before.
    NEW = auto()
    #: Nothing.
    NOTHING = auto()
    #: Its beginning.
    STARTED = auto()


NEW, NOTHING, STARTED = HeadProgress.NEW, HeadProgress.NOTHING, HeadProgress.STARTED


class Http1Server(StreamServer, TimeoutSettings, Protocol):
    """What an HTTP/1.1 connection knows of its server."""

    send_timeout: float | None
    abort_on_half_close: bool
    drain_bytes: int
    linger_bytes: int
    read_ahead_bytes: int
    trusts_https: Callable[[TcpConnection], bool] | None
    #: The limits of messages; readers with these limits that no connection has at present.
    limits: Limits
    spare_readers: list[RequestReader]
    #: Whether the server stops when its connections have closed; whether clients wait for room.
    draining: bool
    crowded: bool

    @property
    def has_tls(self) -> bool:
        """Whether clients come by TLS."""

    @property
    def exchange_class(self) -> Callable[[ServerStream, RequestFacts], ServerStreamHandler]:
        """What makes the exchange of a request."""

    def emit(self, event: str, *args: object) -> bool:
        """Emit an event of the server. Returns: whether anybody listens"""

    def on_disconnected(self) -> None:
        """Take note that a connection is none of the server's any more."""


class HttpServerConnection:
    """A connection of an `HttpServer`.

    tcp_conn: None once it is gone, or another protocol has it; address: the client's
    client: what a layer above knows of the client, the same for each of its requests
    """

    client: tuple[str, bool] | None = None
    _half_closed = False
    _lingering: LingeringClose | None = None
    _unsent: UnsentResponses | None = None
    #: Bytes of a request that was answered which were read and dropped.
    _discarded = 0

    def __init__(self, tcp_conn: TcpConnection, server: Http1Server) -> None:
        self.tcp_conn: TcpConnection | None = tcp_conn
        self.server = server
        self.address = tcp_conn.address
        self.loop = tcp_conn.loop
        self.reader = NO_READER
        # What changes in the life of most connections is set here: an attribute that comes later
        # gives the instance a dict of its own, at twice the size. So is what is read for every
        # request: a default of the class costs more to read.
        self.exchange: ServerStreamHandler | None = None
        self._stream: Http1ServerStream | None = None
        self._closing = False
        #: One of the things has happened that are rarely looked for: the client closed its side,
        #: the server drains, a send was short.
        self.needs_check = server.draining or server.crowded
        self._request_state = HEAD
        self._head = NEW
        #: Whether `_pump` runs, which looks for responses that have ended.
        self.pumping = False
        self.timeouts = ServerTimeouts(self, server, self.loop)
        tcp_conn.owner = self
        tcp_conn.allow_half_open = True
        tcp_conn.pause(False)
        self.timeouts.arm()

    def __repr__(self) -> str:
        return f"<HttpServerConnection {self.address!r} with {self.exchange!r}>"

    # -- called by the transport ---------------------------------------------------------------

    def data(self, data: bytes) -> None:
        """Read what has arrived."""
        if self._closing:
            if self._lingering is not None:
                self._lingering.discard(len(data))
            return
        reader = self.reader
        if reader is NO_READER:
            spare = self.server.spare_readers
            reader = self.reader = spare.pop() if spare else RequestReader(self.server.limits)
            reader.buffer = data  # all that `feed` would do
        elif reader.buffer:
            reader.feed(data)
        else:
            reader.buffer = data
        self._pump()
        reader = self.reader
        if (
            reader.buffer
            and reader.buffered > self.server.read_ahead_bytes
            and self.tcp_conn is not None
        ):
            self.tcp_conn.pause(True)

    def end(self) -> None:
        """Take note that the client finished sending; its requests are still answered."""
        self._half_closed = self.needs_check = True
        if self.reader is NO_READER:
            self.reader = RequestReader(self.server.limits)
        tcp_conn = self.tcp_conn
        exchange = self.exchange
        if tcp_conn is None or self._closing:
            return
        if (
            exchange is not None
            and exchange.response_state is not DONE
            and (self.server.abort_on_half_close or self.server.draining)
        ):
            self.abort(ConnectError("the client closed its side"))
        else:
            self.timeouts.note_sent(tcp_conn)
            self._pump()
            self.timeouts.arm()

    def pause(self, paused: bool) -> None:
        """Pause (True) or resume (False) the writing of the response."""
        exchange = self.exchange
        if exchange is None:
            if not paused:
                self.loop.call_soon(self._pump)
        elif exchange.response_state is BODY:
            exchange.emit("pause", paused)

    def write_blocked(self) -> None:
        """Take note of a short send: the client does not read as fast as the server writes."""
        if self.tcp_conn is not None:
            self.needs_check = True
            self.timeouts.begin_write_blocked(self.tcp_conn)

    def hangup(self) -> None:
        """Take note that the client is gone, seen while reading was paused."""
        self.abort(ConnectError("the client reset the connection"))

    def close(self, exc: OSError | None) -> None:
        """Take note that the client or the network ended the connection."""
        self.abort(ConnectError(str(exc) if exc is not None else "the client closed"))

    def disconnect(self) -> None:
        """Take note that the socket is closed."""
        self.abort(ConnectError("the connection was closed"))
        self.server.on_disconnected()

    def failed(self, exc: BaseException) -> None:
        """Respond with a 500, if nothing was sent yet: a listener raised."""
        exchange = self.exchange
        if self._closing:
            return
        if exchange is None:
            self.close_when_sent()
        elif exchange.response_state is DONE:
            self.loop.call_soon(self._pump)
        else:
            self._end_exchange(OutputStateError(f"the program failed: {type(exc).__name__}"))

    # -- reading requests ----------------------------------------------------------------------

    def _pump(self) -> None:
        """Pull out what was parsed and emit it, until something blocks it."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        self.pumping = True
        try:
            while not self._closing:
                exchange = self.exchange
                if exchange is None:
                    if tcp_conn.write_paused or not self._next_request():
                        break
                elif exchange.response_state is DONE:
                    if not self._finish(exchange):
                        break
                elif (
                    self._request_state is READ_DONE
                    or exchange.request_paused
                    or not self._read_body(exchange)
                ):
                    break
        finally:
            self.pumping = False
        if (
            tcp_conn.read_paused
            and self.reader.buffered <= self.server.read_ahead_bytes
            and self.tcp_conn is not None
        ):
            self.tcp_conn.pause(False)

    def _next_request(self) -> bool:
        """Begin with the next request. Returns: False if there is none yet"""
        reader = self.reader
        if self._request_state is READ_BODY and not self._discard_body():
            return False
        try:
            head = reader.read_head()
        except HttpError as exc:
            self.refuse(exc.with_traceback(None))
            return False
        if head is None:
            self._await_head()
            return False
        self._head = NOTHING
        objection = head.objection
        if objection and not (objection is MisdirectedRequestError and self._is_trusted_tls()):
            self.refuse(objection())
            return False
        stream = self._stream
        if stream is None:
            stream = self._stream = Http1ServerStream(self)
        stream.method, stream.http11 = head.method, head.http11
        stream.keep_alive = stream.client_keep_alive = head.keep_alive
        server = self.server
        exchange = self.exchange = server.exchange_class(stream, head)
        self._request_state = READ_BODY
        if not server.emit("exchange", exchange):
            self._end_exchange(OutputStateError("nobody listens for exchanges"))
        if exchange.response_state is not DONE and exchange is self.exchange:
            if exchange.relay_side is None:
                exchange.emit("request_start", exchange.method, exchange.uri, exchange.req_hdrs)
            if exchange.response_state is not DONE and exchange is self.exchange:
                if not reader.complete:
                    self._begin_body(exchange)
                elif not exchange.request_paused:
                    self._request_done(exchange)
        if exchange.response_state is DONE and exchange is self.exchange:
            return self._finish(exchange)
        return True

    @property
    def is_client_tls(self) -> bool:
        """Whether the client came by TLS: to here, or to a proxy that says so in its PROXY
        header."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None or self.server.has_tls:
            return tcp_conn is not None
        return tcp_conn.proxy_header is not None and tcp_conn.proxy_header.is_tls

    def _is_trusted_tls(self) -> bool:
        """Return whether the client came by TLS, to here or to a proxy that is believed."""
        if self.is_client_tls:
            return True
        tcp_conn, trusts = self.tcp_conn, self.server.trusts_https
        if tcp_conn is None or trusts is None:
            return False
        require_callback(trusts, "trusts_https")  # a coroutine would be taken for a yes
        return bool(trusts(tcp_conn))

    def _await_head(self) -> None:
        """Wait for the rest of a head."""
        if self._half_closed:
            try:
                self.reader.eof()
            except HttpError as exc:
                self.refuse(exc.with_traceback(None))
            else:
                self.close_when_sent()
        elif self._head is not STARTED and self.reader.started:
            self._head = STARTED  # the time of the whole head begins with its first byte
            self.timeouts.begin()

    def _begin_body(self, exchange: ServerStreamHandler) -> None:
        """Begin to wait for the body of a request."""
        if exchange.expects_continue and exchange.response_state is IDLE:
            if exchange.has_listener("expect_continue"):
                exchange.emit("expect_continue")
            else:
                self._send_continue(exchange)
        self.timeouts.begin_body()

    def _send_continue(self, exchange: ServerStreamHandler) -> None:
        """Answer `Expect: 100-continue`, if the program reads and has not answered."""
        if not exchange.request_paused and exchange.response_state is IDLE:
            assert self._stream is not None
            self._stream.send_nonfinal(100, "Continue", [])

    def on_continue_sent(self) -> None:
        """Begin to wait for the body: a 100 was sent."""
        exchange = self.exchange
        if exchange is not None and exchange.expects_continue:
            exchange.expects_continue = False
            self.timeouts.begin_body()

    def _read_body(self, exchange: ServerStreamHandler) -> bool:
        """Emit what has arrived of the body. Returns: whether to look again"""
        reader = self.reader
        try:
            chunk = reader.read_body()
            if chunk is None and self._half_closed and not reader.complete:
                reader.eof()
        except HttpError as exc:
            self.refuse(exc.with_traceback(None))
            return False
        if chunk is not None:
            self.timeouts.note_received(len(chunk))
            if exchange.expects_continue:  # the client did not wait: its body is due from now on
                exchange.expects_continue = False
                self.timeouts.begin_body()
            relay = exchange.relay_side
            if relay is None:
                exchange.emit("request_body", chunk)
            else:
                relay.request_body(chunk)
            return True
        if reader.complete:
            self._request_done(exchange)
            return True
        return False

    def _request_done(self, exchange: ServerStreamHandler) -> None:
        self._request_state = READ_DONE
        relay = exchange.relay_side
        if relay is None:
            exchange.emit("request_done", self.reader.trailers)
        else:
            relay.request_done(self.reader.trailers)
        if self.server.response_timeout:
            self.timeouts.begin()

    def _discard_body(self) -> bool:
        """Drop the rest of a request that was answered, up to a bound. Returns: whether that is
        complete"""
        reader = self.reader
        try:
            while (chunk := reader.read_body()) is not None:
                self.timeouts.note_received(len(chunk))
                self._discarded += len(chunk)
                if self._discarded > self.server.drain_bytes:
                    self.close_lingering()
                    return False
        except HttpError as exc:
            log.info("request from %r was answered, its rest is wrong: %s", self.address, exc)
            exc.__traceback__ = None  # the reader keeps the error, and this frame has the reader
            self.close_lingering()
            return False
        if not reader.complete:
            if self._half_closed:
                self.close_when_sent()
            return False
        self._request_state = HEAD
        self.timeouts.begin()
        return True

    def resume_reading(self) -> None:
        """Deliver the present request again, after the present callback."""
        if self.exchange is not None:
            self.loop.call_soon(self._resume, self.exchange)

    def _resume(self, exchange: ServerStreamHandler) -> None:
        tcp_conn = self.tcp_conn
        if exchange is not self.exchange or tcp_conn is None:
            return
        if self._request_state is READ_BODY:
            self.timeouts.note_sent(tcp_conn)
            if exchange.expects_continue and not exchange.has_listener("expect_continue"):
                self._send_continue(exchange)
            self.timeouts.begin_body()
        self._pump()

    # -- the response --------------------------------------------------------------------------

    def can_persist(self) -> bool:
        """Return whether what arrives next is a request, or can be one."""
        exchange, reader = self.exchange, self.reader
        assert exchange is not None
        if self.server.draining or self.server.crowded:
            return False
        if exchange.method == b"CONNECT":
            return False  # it may be meant for a tunnel
        if exchange.expects_continue and not reader.complete and not reader.buffered:
            return False  # or the body that the client has announced, or not
        return not self._half_closed or reader.buffered > 0

    def can_discard_body(self, framing: int) -> bool:
        """Return whether the rest of the request will be read, or is little enough to be dropped: a
        client that has sent all of it must know, for its next request would come too late.

        framing: of the response. A relay reads as long as its response lasts; one of known length
            is mostly an error that ends the upload
        """
        exchange = self.exchange
        if exchange is None or self.reader.body_left <= self.server.drain_bytes:
            return True
        return (exchange.relay_side is None or framing == CHUNKED) and exchange.has_listener(
            "request_body"
        )

    def on_response_end(self) -> None:
        """Begin with the next request: the response was written whole."""
        exchange, reader, stream = self.exchange, self.reader, self._stream
        if (
            reader.complete
            and not reader.buffer
            and exchange is not None
            and stream is not None
            and stream.keep_alive
            and not self.needs_check
            and self.loop.in_turn  # else the loop's time is old
        ):
            self._finish(exchange)  # nothing follows from it but the wait for the next request
        else:
            self.loop.call_soon(self._pump)

    def _finish(self, exchange: ServerStreamHandler) -> bool:
        """End an exchange whose response is complete.

        Returns: whether to look for the next request now
        """
        self.exchange = None
        if not exchange.release():
            self._await_sent(exchange)
        stream = self._stream
        assert stream is not None
        reader = self.reader
        if not reader.complete:
            # The rest of the request is dropped.
            if stream.keep_alive:
                self._discarded = 0
                self.timeouts.begin_body()
            else:
                self.close_lingering()
            return stream.keep_alive
        self._request_state = HEAD
        unread = bool(reader.buffer)
        if not stream.keep_alive:
            # A client that has not asked for the close may be sending more.
            if unread or stream.client_keep_alive:
                self.close_lingering()
            else:
                self.close_when_sent()
            return False
        timeouts = self.timeouts
        timeouts.since = now = self.loop.now
        server = self.server
        if self.needs_check:
            if not unread and self._half_closed:
                self.close_when_sent()
                return False
            self.timeouts.arm()
        else:
            if idle_timeout := server.idle_timeout:
                # What `arm` would set, at less cost.
                timeouts.deadline_at = at = now + idle_timeout
                if at < timeouts.deadline_entry:
                    self.loop.deadlines.arm(timeouts, at)
            if not unread:
                self.reader = NO_READER
                if reader.limits is server.limits:
                    server.spare_readers.append(reader)
        return unread

    def _await_sent(self, exchange: ServerStreamHandler) -> None:
        """End an exchange when the last byte of its response has left."""
        tcp_conn = self.tcp_conn
        assert tcp_conn is not None
        if self._unsent is None:
            self._unsent = UnsentResponses(tcp_conn)
        self._unsent.add(exchange)

    def upgrade(self, head: bytes) -> TcpConnection:
        """Send the head of a switch of protocols, and hand the connection over, paused."""
        tcp_conn, exchange = self.tcp_conn, self.exchange
        assert tcp_conn is not None
        assert exchange is not None
        tcp_conn.write(head)
        exchange.response_state = UPGRADED
        self.exchange = None
        self.loop.call_soon(exchange.end, None)
        self._closing = True
        self.timeouts.disarm()
        self.tcp_conn = None
        tcp_conn.owner = None
        if self._unsent is not None:
            self._unsent.end_all(None)
        tcp_conn.pause(True)
        tcp_conn.allow_half_open = False
        rest = self.reader.take_rest()
        tcp_conn.unread(rest)
        if self._half_closed and not rest:
            self.loop.call_soon(tcp_conn.repeat_end)
        self.server.on_disconnected()
        return tcp_conn

    # -- errors --------------------------------------------------------------------------------

    def refuse(self, error: HttpError) -> None:
        """Answer with an error, if that can still be done, and close."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        if self.exchange is not None:
            self._end_exchange(error)
        elif self._request_state is READ_BODY:
            # It is in the rest of a request that was answered.
            self.close_lingering()
        else:
            self._respond(error)
            if not self.server.emit("refused", tcp_conn, error):
                log.info("request from %r refused: %s", self.address, error)

    def _end_exchange(self, error: HttpError) -> None:
        """Answer with an error where nothing was answered yet, else reset: a client must not take
        what it has for the whole."""
        if self.exchange is not None and self.exchange.response_state is IDLE:
            self._respond(error)
            self._lose_exchange(error)
        else:
            self.abort(error)

    def _respond(self, error: HttpError) -> None:
        """Answer in the program's place, and close."""
        tcp_conn = self.tcp_conn
        assert tcp_conn is not None
        line, _, rest = response_to(error).partition(b"\r\n")
        data = b"%b%b\r\n%b" % (line, self.server.current_date_line(), rest)
        if self.exchange is not None and self.exchange.method == b"HEAD":
            data = data.partition(END_OF_HEAD)[0] + END_OF_HEAD
        if tcp_conn.write_state is OPEN:
            tcp_conn.write(data)
        self.close_lingering()

    def abort(self, error: HttpError) -> None:
        """Reset the connection; an exchange in progress is lost with `error`."""
        tcp_conn, self.tcp_conn = self.tcp_conn, None
        if tcp_conn is None:
            return
        self._closing = True
        self.timeouts.disarm()
        tcp_conn.abort()
        if self._unsent is not None:
            self._unsent.end_all(error)
        self._lose_exchange(error)

    def _lose_exchange(self, error: HttpError) -> None:
        """End the exchange, which cannot be completed any more."""
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        if exchange.response_state is DONE:
            self.loop.call_soon(exchange.end, error)
            return
        exchange.response_state = FAILED
        self.loop.call_soon(exchange.lose, error)

    # -- closing -------------------------------------------------------------------------------

    def close_when_sent(self) -> None:
        """Close when everything was sent; nothing more is read."""
        self._closing = True
        self._lingering = None
        if self.tcp_conn is not None:
            self.tcp_conn.close()
            self.timeouts.arm()

    def close_lingering(self) -> None:
        """Finish sending, and drop for a while what still arrives."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None or self._closing:
            return
        if not self.server.linger_timeout:
            self.close_when_sent()
            return
        self._closing = True
        self.reader.take_rest()
        self._lingering = LingeringClose(tcp_conn, self.server.linger_bytes)
        self.timeouts.begin()

    def shutdown(self) -> None:
        """Close now: what is queued is sent, an exchange in progress is lost."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        exchange = self.exchange
        if exchange is not None and exchange.response_state is DONE:
            self.exchange = None
            if not exchange.release():
                self._await_sent(exchange)
        elif exchange is not None and exchange.response_state is BODY:
            assert self._stream is not None
            if self._stream.framing == UNTIL_CLOSE:
                tcp_conn.abort()  # a clean close would make it look complete
        self.close_when_sent()
        self._lose_exchange(ConnectError("the server was shut down"))

    def make_room(self) -> None:
        """Close after the next response, or when no request comes for a while: clients wait to be
        accepted."""
        self.needs_check = True
        if not self._closing:
            self.timeouts.arm()

    def drain(self) -> None:
        """Close after the response in progress, if it can say so, else when no request comes for a
        while: one that is on its way would be lost."""
        self.needs_check = True
        if self._closing:
            return
        if self.exchange is not None:
            if self._half_closed and self.exchange.response_state is not DONE:
                self.abort(ConnectError("the client closed its side"))
            else:
                self.loop.call_soon(self._pump)  # an interrupt may have left it half-way
        elif self._head is not STARTED:
            self.timeouts.begin()

    # -- for the timeouts ----------------------------------------------------------------------

    def current_wait(self) -> Wait:
        """Return what the connection waits for."""
        if self._lingering is not None:
            return Wait(Phase.LINGERING)
        if self._closing:
            return Wait(Phase.CLOSING)
        exchange = self.exchange
        if exchange is None:
            server = self.server
            draining = (server.draining or server.crowded) and not self.reader.started
            return Wait(self._request_phase(), draining)
        if exchange.response_state is DONE:
            return Wait(Phase.CLOSING)
        return Wait(self._exchange_phase(exchange), half_closed=self._half_closed)

    def _request_phase(self) -> Phase:
        if self._request_state is READ_BODY:
            return Phase.DISCARD
        if self._head is STARTED:
            return Phase.HEAD
        return Phase.NEW if self._head is NEW else Phase.IDLE

    def _exchange_phase(self, exchange: ServerStreamHandler) -> Phase:
        if self._request_state is READ_BODY:
            if exchange.request_paused:
                return Phase.PAUSED
            return Phase.RESPONSE if exchange.expects_continue else Phase.BODY
        return Phase.AWAIT_RESPONSE if exchange.response_state is IDLE else Phase.RESPONSE
