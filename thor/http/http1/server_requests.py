"""The requests of one HTTP/1.1 connection of a server, one after the other.

Owns: the reader, the present exchange, and what is emitted on it. Must not know how the connection
ends, nor how responses are framed.

Theory of operation: bytes are pushed into the reader; `run` pulls out what was parsed while nothing
blocks it, so that pausing, pipelining and closing inside a listener are one condition of one loop.
Requests are handled one at a time: the next head is parsed when the response to the one before is
complete and the client has read enough of it; what a client pipelines meanwhile waits in the
reader, up to a bound, then reading pauses. When a response is complete before its request, its
exchange is over, and the rest of the request is dropped.

There is a reader while there is anything to read. When a request is answered it is given back to
the server, empty, for the next connection that receives something: most are idle.
"""

from __future__ import annotations

import logging
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from thor.http.error import HttpError, MisdirectedRequestError, OutputStateError
from thor.http.http1.server_stream import Http1ServerStream, StreamConnection, StreamServer
from thor.http.http1.server_timeouts import Phase, TimeoutSettings
from thor.http.wire.framing import CHUNKED, UNTIL_CLOSE
from thor.http.wire.limits import Limits
from thor.http.wire.reader import RequestReader
from thor.http.wire.state import ServerReading, ServerWriting

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from thor.http.http1.server_timeouts import ServerTimeouts
    from thor.http.streams import RequestFacts, ServerStream, ServerStreamHandler
    from thor.tcp import TcpConnection

log = logging.getLogger("thor.http")

HEAD, BODY, READ_DONE = ServerReading.HEAD, ServerReading.BODY, ServerReading.DONE
IDLE, DONE = ServerWriting.IDLE, ServerWriting.DONE

#: How many connections that wait for a request keep what they read and answered the last one with,
#: so that the next costs less: those that had one last. The others are a third smaller.
MAX_KEPT = 64
#: Stands for the reader of a connection that has none: nothing has arrived. It is never fed.
_NO_READER = RequestReader(Limits())


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
    #: The limits of messages.
    limits: Limits
    #: Those that a connection keeps while it waits for a request, the oldest first.
    kept_requests: deque[ServerRequests]
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


class RequestsConnection(StreamConnection, Protocol):
    """What the requests of a connection know of it."""

    #: Whether nothing more is read but to be dropped; whether the client closed its side.
    closing: bool
    half_closed: bool
    requests: ServerRequests | IdleRequests

    def is_trusted_tls(self) -> bool:
        """Return whether the client came by TLS, to here or to a proxy that is believed."""

    def refuse(self, error: HttpError) -> None:
        """Answer with an error, if that can still be done, and close."""

    def fail_exchange(self, error: HttpError) -> None:
        """Answer the present request with an error, or reset the connection."""

    def await_sent(self, exchange: ServerStreamHandler) -> None:
        """End an exchange when the last byte of its response has left."""

    def failed(self, exc: BaseException) -> None:
        """Respond with a 500, if nothing was sent yet: a listener raised."""

    def close_when_sent(self) -> None:
        """Close when everything was sent."""

    def close_lingering(self) -> None:
        """Close when everything was sent and the client has had time to read it."""


class IdleRequests:
    """Stands for the requests of a connection that waits for one and has kept nothing."""

    __slots__ = ("head",)

    reader = _NO_READER
    is_discarding = False
    has_begun_head = False

    def __init__(self, head: HeadProgress) -> None:
        self.head = head

    @property
    def exchange(self) -> ServerStreamHandler | None:
        """None: there is no request."""
        return None

    def run(self) -> None:
        """Do nothing: nothing has arrived."""

    def release(self) -> None:
        """Do nothing: it has no connection."""

    def request_phase(self) -> Phase:
        """Return what is waited for."""
        return Phase.NEW if self.head is NEW else Phase.IDLE


#: Those of connections that have had no request yet, and that have had one.
NO_REQUEST_YET, NO_REQUEST = IdleRequests(NEW), IdleRequests(NOTHING)


class ServerRequests:
    """The requests of a connection; `exchange` is the present one."""

    __slots__ = (
        "_connection",
        "_discarded",
        "_head",
        "_is_kept",
        "_server",
        "_state",
        "_stream",
        "_timeouts",
        "exchange",
        "reader",
        "running",
    )

    def __init__(
        self,
        connection: RequestsConnection,
        server: Http1Server,
        timeouts: ServerTimeouts,
        head: HeadProgress,
    ) -> None:
        self._connection = connection
        self._server = server
        self._timeouts = timeouts
        self._is_kept = False
        self.reader = RequestReader(server.limits)
        self.exchange: ServerStreamHandler | None = None
        self._stream: Http1ServerStream | None = None
        self._state = HEAD
        self._head = head
        #: Bytes of a request that was answered which were read and dropped.
        self._discarded = 0
        #: Whether `run` is being called, which looks for responses that have ended.
        self.running = False

    def run(self) -> None:
        """Pull out what was parsed and emit it, until something blocks it."""
        tcp_conn = self._connection.tcp_conn
        if tcp_conn is None:
            return
        self.running = True
        try:
            while not self._connection.closing:
                exchange = self.exchange
                if exchange is None:
                    if tcp_conn.write_paused or not self._next_request():
                        break
                elif exchange.response_state is DONE:
                    if not self._finish(exchange):
                        break
                elif (
                    self._state is READ_DONE
                    or exchange.request_paused
                    or not self._read_body(exchange)
                ):
                    break
        finally:
            self.running = False
        if (
            tcp_conn.read_paused
            and self.reader.buffered <= self._server.read_ahead_bytes
            and self._connection.tcp_conn is not None
        ):
            self._connection.tcp_conn.pause(False)

    def _next_request(self) -> bool:
        """Begin with the next request. Returns: False if there is none yet"""
        reader = self.reader
        if self._state is BODY and not self._discard_body():
            return False
        try:
            head = reader.read_head()
        except HttpError as exc:
            self._connection.refuse(exc.with_traceback(None))
            return False
        if head is None:
            self._await_head()
            return False
        self._head = NOTHING
        objection = head.objection
        if objection and not (
            objection is MisdirectedRequestError and self._connection.is_trusted_tls()
        ):
            self._connection.refuse(objection())
            return False
        stream = self._stream
        if stream is None:
            stream = self._stream = Http1ServerStream(self._connection, self)
        stream.http11, stream.keep_alive = head.http11, head.keep_alive
        server = self._server
        exchange = self.exchange = server.exchange_class(stream, head)
        self._state = BODY
        if not server.emit("exchange", exchange):
            self._connection.fail_exchange(OutputStateError("nobody listens for exchanges"))
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

    def _await_head(self) -> None:
        """Wait for the rest of a head."""
        if self._connection.half_closed:
            try:
                self.reader.eof()
            except HttpError as exc:
                self._connection.refuse(exc.with_traceback(None))
            else:
                self._connection.close_when_sent()
        elif self._head is not STARTED and self.reader.started:
            self._head = STARTED  # the time of the whole head begins with its first byte
            self._timeouts.begin()

    def _begin_body(self, exchange: ServerStreamHandler) -> None:
        """Begin to wait for the body of a request."""
        if exchange.expects_continue and exchange.response_state is IDLE:
            if exchange.has_listener("expect_continue"):
                exchange.emit("expect_continue")
            else:
                self._send_continue(exchange)
        self._timeouts.begin_body()

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
            self._timeouts.begin_body()

    def _read_body(self, exchange: ServerStreamHandler) -> bool:
        """Emit what has arrived of the body. Returns: whether to look again"""
        reader = self.reader
        try:
            chunk = reader.read_body()
            if chunk is None and self._connection.half_closed and not reader.complete:
                reader.eof()
        except HttpError as exc:
            self._connection.refuse(exc.with_traceback(None))
            return False
        if chunk is not None:
            self._timeouts.note_received(len(chunk))
            if exchange.expects_continue:  # the client did not wait: its body is due from now on
                exchange.expects_continue = False
                self._timeouts.begin_body()
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
        self._state = READ_DONE
        relay = exchange.relay_side
        if relay is None:
            exchange.emit("request_done", self.reader.trailers)
        else:
            relay.request_done(self.reader.trailers)
        if self._server.response_timeout:
            self._timeouts.begin()

    def _discard_body(self) -> bool:
        """Drop the rest of a request that was answered, up to a bound. Returns: whether that is
        complete"""
        reader = self.reader
        try:
            while (chunk := reader.read_body()) is not None:
                self._timeouts.note_received(len(chunk))
                self._discarded += len(chunk)
                if self._discarded > self._server.drain_bytes:
                    self._connection.close_lingering()
                    return False
        except HttpError as exc:
            log.info(
                "request from %r was answered, its rest is wrong: %s", self._connection.address, exc
            )
            exc.__traceback__ = None  # the reader keeps the error, and this frame has the reader
            self._connection.close_lingering()
            return False
        if not reader.complete:
            if self._connection.half_closed:
                self._connection.close_when_sent()
            return False
        self._state = HEAD
        self._timeouts.begin()
        return True

    def resume(self) -> None:
        """Deliver the present request again, after the present callback."""
        if self.exchange is not None:
            self._connection.loop.call_soon(self._resume, self.exchange)

    def _resume(self, exchange: ServerStreamHandler) -> None:
        tcp_conn = self._connection.tcp_conn
        if exchange is not self.exchange or tcp_conn is None:
            return
        if self._state is BODY:
            self._timeouts.note_sent(tcp_conn)
            if exchange.expects_continue and not exchange.has_listener("expect_continue"):
                self._send_continue(exchange)
            self._timeouts.begin_body()
        self.run()

    # -- the response --------------------------------------------------------------------------

    def can_persist(self) -> bool:
        """Return whether what arrives next is a request, or can be one."""
        exchange, reader = self.exchange, self.reader
        assert exchange is not None
        if self._server.draining or self._server.crowded:
            return False
        if exchange.method == b"CONNECT":
            return False  # it may be meant for a tunnel
        if exchange.expects_continue and not reader.complete and not reader.buffered:
            return False  # or the body that the client has announced, or not
        return not self._connection.half_closed or reader.buffered > 0

    def can_discard_body(self, framing: int) -> bool:
        """Return whether the rest of the request will be read, or is little enough to be dropped: a
        client that has sent all of it must know, for its next request would come too late.

        framing: of the response. A relay reads as long as its response lasts; one of known length
            is mostly an error that ends the upload
        """
        exchange = self.exchange
        if exchange is None or self.reader.body_left <= self._server.drain_bytes:
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
            and stream.persists
            and not self._connection.needs_check
            and self._connection.loop.in_turn  # else the loop's time is old
        ):
            self._finish(exchange)  # nothing follows from it but the wait for the next request
        else:
            self._connection.loop.call_soon(self.run)

    def _finish(self, exchange: ServerStreamHandler) -> bool:
        """End an exchange whose response is complete.

        Returns: whether to look for the next request now
        """
        self.exchange = None
        if not exchange.release():
            self._connection.await_sent(exchange)
        stream = self._stream
        assert stream is not None
        reader = self.reader
        if not reader.complete:
            # The rest of the request is dropped.
            if stream.persists:
                self._discarded = 0
                self._timeouts.begin_body()
            else:
                self._connection.close_lingering()
            return stream.persists
        self._state = HEAD
        unread = reader.buffer != b""
        if not stream.persists:
            # A client that has not asked for the close may be sending more.
            if unread or stream.keep_alive:
                self._connection.close_lingering()
            else:
                self._connection.close_when_sent()
            return False
        timeouts = self._timeouts
        timeouts.since = now = self._connection.loop.now
        server = self._server
        if self._connection.needs_check:
            if not unread and self._connection.half_closed:
                self._connection.close_when_sent()
                return False
            self._timeouts.arm()
        else:
            if idle_timeout := server.idle_timeout:
                # What `arm` would set, at less cost.
                timeouts.deadline_at = at = now + idle_timeout
                if at < timeouts.deadline_entry:
                    self._connection.loop.deadlines.arm(timeouts, at)
            if not unread:
                if reader.limits is not server.limits:
                    self._leave()
                elif not self._is_kept:
                    self._keep()
        return unread

    # -- while the connection waits for a request ----------------------------------------------

    def _keep(self) -> None:
        """Stay with the connection until others have had a request since."""
        self._is_kept = True
        kept = self._server.kept_requests
        kept.append(self)
        if len(kept) > MAX_KEPT:
            oldest = kept.popleft()
            if not oldest.leave_if_idle():
                kept.append(oldest)

    def leave_if_idle(self) -> bool:
        """Let the connection go on without, if nothing of a request has arrived. Returns: whether
        that is so; it must not be among `kept_requests` any more then."""
        if (
            self.exchange is not None
            or self.running
            or self._state is not HEAD
            or self._head is STARTED
            or self.reader.buffer
        ):
            return False
        self._is_kept = False
        self._leave()
        return True

    def _leave(self) -> None:
        self._connection.requests = NO_REQUEST
        self.release()

    def failed(self, exc: BaseException) -> None:
        """Have the connection react to a listener that raised; called by the loop."""
        self._connection.failed(exc)

    # -- for the connection --------------------------------------------------------------------

    def release(self) -> None:
        """Let go of the stream, which refers back to this object: the connection is over, or goes
        on without."""
        self._stream = None
        if self._is_kept:
            self._is_kept = False
            self._server.kept_requests.remove(self)

    def ends_with_connection(self) -> bool:
        """Return whether the end of the present response is told by the end of the connection."""
        return self._stream is not None and self._stream.framing == UNTIL_CLOSE

    @property
    def is_discarding(self) -> bool:
        """Whether the rest of a request that was answered is dropped."""
        return self.exchange is None and self._state is BODY

    @property
    def has_begun_head(self) -> bool:
        """Whether the first bytes of a head have arrived, and not the whole."""
        return self._head is STARTED

    def request_phase(self) -> Phase:
        if self._state is BODY:
            return Phase.DISCARD
        if self._head is STARTED:
            return Phase.HEAD
        return Phase.NEW if self._head is NEW else Phase.IDLE

    def exchange_phase(self, exchange: ServerStreamHandler) -> Phase:
        if self._state is BODY:
            if exchange.request_paused:
                return Phase.PAUSED
            return Phase.RESPONSE if exchange.expects_continue else Phase.BODY
        return Phase.AWAIT_RESPONSE if exchange.response_state is IDLE else Phase.RESPONSE
