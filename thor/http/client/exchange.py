"""A request and its response, as the client's program sees them.

Owns: the life of an exchange: when it has a stream, when it is tried again, how it ends. Must not
know the bytes of a response: its stream reads them and emits on it.

Theory of operation: an exchange that was started has a stream, or waits for one (`attempts.py`). It
ends exactly once, through `end`: with `response_done`, `upgrade` or `error`, after which its
listeners are dropped, or silently, by `cancel()`.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING

from thor.events import EventEmitter
from thor.http.client.attempts import Attempts
from thor.http.client.exchange_connection import ExchangeConnection
from thor.http.client.request import OutgoingRequest
from thor.http.error import (
    HttpError,
    OutputStateError,
)
from thor.http.headers import FieldsIn, encode_text, field_list
from thor.http.uri import show_uri, uri_octets
from thor.http.wire.framing import NO_BODY
from thor.http.wire.state import ClientReading, ClientWriting
from thor.types import to_bytes

if TYPE_CHECKING:
    from thor.http.client.interfaces import ExchangeClient
    from thor.http.client.pool import Route
    from thor.http.streams import ClientStream, ConnectionPool, ResponseRelaySide, Spliceable
    from thor.loop import LoopBase
    from thor.types import Address, Data, HeadersIn, OriginType, RawHeaders

log = logging.getLogger("thor.http")

IDLE, BODY, DONE, FAILED = (
    ClientWriting.IDLE,
    ClientWriting.BODY,
    ClientWriting.DONE,
    ClientWriting.FAILED,
)
READ_HEAD, READ_BODY, READ_FAILED = (
    ClientReading.HEAD,
    ClientReading.BODY,
    ClientReading.FAILED,
)
RESPONSE_DUE = (READ_HEAD, READ_BODY)


class HttpClientExchange(EventEmitter):
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

    _error_due: HttpError | None = None

    def __init__(self, client: ExchangeClient, relay_side: ResponseRelaySide | None = None) -> None:
        """relay_side: called directly for the response, and the sink for all other events"""
        # In one place: a default of the class is slower to get at, and what is set for the first
        # time later, or beyond the 29th, gives the instance a dict of its own.
        self._listeners = None
        self._sink = self.relay_side = relay_side
        self.client = client
        #: As passed.
        self.method = b""
        self.uri = b""
        #: Where it goes, also when it is tried again; None before `request_start`.
        self._route: Route | None = None
        self._request: OutgoingRequest | None = None
        #: Of a request that is over, whether nothing of it was handed to a stream.
        self._was_unsent = True
        #: The version of the response, informational ones too, b"1.1"; empty before it.
        self.res_version = b""
        #: Bytes of the final response's head.
        self.input_header_length = 0
        self.request_state = IDLE
        self.response_state = READ_HEAD
        self.response_paused = False
        #: What carries it, while anything does.
        self.stream: ClientStream | None = None
        #: The protocol that was asked for, in lower case.
        self.protocol: bytes | None = None
        self._attempts: Attempts | None = None
        #: When it has to be over, in monotonic seconds.
        self.expires_at = inf
        #: Bytes of the response's body as they were transferred, once it has no stream any more.
        self.transfer_bytes = 0
        #: What the Content-Length says that frames the response's body; -1 if none does.
        self.length = -1

    def __repr__(self) -> str:
        method, uri = self.method.decode("latin-1"), show_uri(self.uri)
        return (
            f"<HttpClientExchange {method} {uri} "
            f"request {self.request_state.name}, response {self.response_state.name}>"
        )

    # -- the server ----------------------------------------------------------------------------

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
        return ExchangeConnection(self) if self.stream is not None else None

    @property
    def peer(self) -> Address | None:
        """The address that is connected to, a proxy's where there is one; None without a
        connection."""
        tcp_conn = self.stream.tcp_conn if self.stream is not None else None
        return tcp_conn.address if tcp_conn is not None else None

    @property
    def secure(self) -> bool:
        """Whether the server is reached by TLS; False before the exchange was started."""
        return self._route is not None and self._route.origin[0].startswith("https")

    @property
    def is_open(self) -> bool:
        """Whether the exchange was started and is not over."""
        return self.request_state is not IDLE and self.response_state in RESPONSE_DUE

    @property
    def input_transfer_length(self) -> int:
        """Bytes of the response's body as they were transferred, chunks and trailers included."""
        stream = self.stream
        return stream.bytes_received() if stream is not None else self.transfer_bytes

    # -- the request ---------------------------------------------------------------------------

    def request_start(
        self,
        method: str | bytes,
        uri: str | bytes,
        headers: HeadersIn,
        *,
        upgrade: str | bytes | None = None,
        te_trailers: bool = False,
    ) -> None:
        """Start the request.

        uri: absolute, http or https; for CONNECT in authority form, "host:port", which is where the
            connection goes as well. OPTIONS of a URI without any path asks about the server
        headers: [(name, value)] in wire order. Fields that concern one connection are dropped;
            one Host replaces the URI's authority. A Content-Length is the body's promise, else
            a body is sent chunked
        upgrade: a protocol to ask for; `upgrade` is emitted if the server switches to it
        te_trailers: say that trailers are welcome (RFC 9110 section 10.1.4)
        Raises: TypeError only; what else is wrong is emitted as `error`
        """
        if self.request_state is not IDLE:
            self._out_of_order("request_start")
            return
        try:
            if method.__class__ is not bytes:
                method = encode_text(method, "a method", "ASCII")
            if uri.__class__ is not bytes:
                uri = uri_octets(uri)
            self.method = method
            self.uri = uri
            route, target = self.client.locate(method, uri)
            self._start(route, target, list(field_list(headers)), upgrade, te_trailers)
        except HttpError as exc:
            self._fail_soon(exc)

    def forward(
        self,
        method: bytes,
        origin: bytes,
        target: bytes,
        headers: RawHeaders,
        upgrade: bytes | None,
        te_trailers: bool,
    ) -> None:
        """Start the request, as `request_start` does, for a relay that knows its parts.

        origin: `scheme://authority`; target: the path with its query, or `*`
        headers: kept, not copied; if they are WireFields, the target is one that was parsed
        """
        self.method = method
        self.uri = origin if target == b"*" else origin + target
        try:
            route = self.client.route_to(origin)
            if route.prefix:
                target = route.prefix + target.removeprefix(b"*")
            self._start(route, target, headers, upgrade, te_trailers)
        except HttpError as exc:
            self._fail_soon(exc)

    def _start(
        self,
        route: Route,
        target: bytes,
        headers: FieldsIn,
        upgrade: str | bytes | None,
        te_trailers: bool,
    ) -> None:
        """Make the request, and get a stream for it. Raises: HttpError, TypeError"""
        if route.fields:
            headers = route.with_fields(headers)
        client = self.client
        request = self._request = OutgoingRequest(
            self,
            self.method,
            target,
            route.authority,
            headers,
            upgrade,
            te_trailers,
            bool(client.idle_timeout),
        )
        self._route = route
        self.request_state = BODY
        if upgrade is not None:
            self.protocol = encode_text(upgrade, "a protocol", "ASCII").strip().lower()
        timeout = client.exchange_timeout
        if timeout:
            self.expires_at = self.loop.clock.monotonic() + timeout
        route.pool.acquire(self)
        head = request.head
        if b"100-" in head.data and request.has_expectation():
            self._expect_continue(request)
        elif head.framing != NO_BODY:
            client.loop.call_soon(self._start_body)

    def _start_body(self) -> None:
        """Send the head of a request with content: the callback in which it started is over."""
        if self._request is not None and self.request_state is BODY:
            self._request.start_body()

    def _expect_continue(self, request: OutgoingRequest) -> None:
        try:
            request.expect_continue()
        except HttpError as exc:
            self._fail_soon(exc)

    def request_body(self, chunk: Data) -> bool:
        """Send a piece of the request's body.

        chunk: `str` is sent as UTF-8
        Returns: False when enough is held up already: wait for `pause(False)`
        Raises: TypeError only; what else is wrong is emitted as `error`
        """
        if chunk.__class__ is not bytes:
            chunk = to_bytes(chunk)
        request = self._request
        if self.request_state is not BODY or request is None:
            self._out_of_order("request_body")
            return True
        if not chunk:
            return not request.pause_emitted
        try:
            return request.write(chunk)
        except HttpError as exc:
            self._fail_soon(exc)
            return True

    def request_done(self, trailers: HeadersIn) -> None:
        """End the request. Every request needs it.

        trailers: [(name, value)], sent if the body is chunked; fields that a trailer must not
            have (RFC 9110 section 6.5.1) are dropped
        Raises: TypeError only; what else is wrong is emitted as `error`
        """
        request = self._request
        if self.request_state is not BODY or request is None:
            self._out_of_order("request_done")
            return
        try:
            request.end(trailers)
        except HttpError as exc:
            self._fail_soon(exc)
            return
        self.request_state = DONE

    def _out_of_order(self, call: str) -> None:
        """Fail for a call at the wrong time; an exchange that is over ignores it."""
        if self.request_state is not FAILED and self.response_state in RESPONSE_DUE:
            self._fail_soon(
                OutputStateError(f"{call} when the request is {self.request_state.name}")
            )

    @property
    def is_unsent(self) -> bool:
        """Whether nothing of the request was handed to a connection."""
        return self._was_unsent if self._request is None else not self._request.sent

    # -- what the program calls besides --------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) `response_body` and `response_done`. It holds at once."""
        if paused != self.response_paused:
            self.response_paused = paused
            if not paused and self.stream is not None:
                self.loop.call_soon(self.stream.resume)

    def cancel(self) -> None:
        """End the exchange, silently: nothing more is emitted. Harmless at any time."""
        self._error_due = None
        if self.response_state in RESPONSE_DUE:
            self._stop()
        self.release()

    def abort(self) -> None:
        """End the exchange, silently, as `cancel()` does."""
        self.cancel()

    # -- for the request -----------------------------------------------------------------------

    @property
    def retry_body_limit(self) -> int:
        """The client's setting."""
        return self.client.retry_body_limit

    def replace_ended_stream(self) -> bool:
        """Get a new stream if the connection of the present one, which was used before, has ended.

        A request that must not be repeated would be lost; for others the check is not worth a
        system call.
        Returns: whether it had
        """
        stream = self.stream
        if stream is None or not stream.has_ended():
            return False
        self.stream = None
        stream.replace(self)
        return True

    def emit_pause(self, paused: bool) -> None:
        """Emit `pause` for the request's body, if that was not the last one that was emitted."""
        request = self._request
        if (
            request is not None
            and paused != request.pause_emitted
            and (self.request_state is BODY or not paused)
        ):
            request.pause_emitted = paused
            self.emit("pause", paused)

    def _emit_resume(self) -> None:
        stream = self.stream
        if stream is not None and not stream.is_write_paused:
            self.emit_pause(False)

    # -- bodies that are moved by the kernel ---------------------------------------------------

    def body_splice(self) -> Spliceable | None:
        """Return what can move this exchange's bodies in the kernel; None where nothing can."""
        return self.stream.body_splice() if self.stream is not None else None

    # -- for the stream ------------------------------------------------------------------------

    def attach(self, stream: ClientStream) -> None:
        """Have `stream` carry the exchange; what there is of the request is sent."""
        self.stream = stream
        if self._attempts is not None:
            self._attempts.stop_waiting()
        request = self._request
        assert request is not None
        if request.has_started:
            self._send_replay(request)

    def _send_replay(self, request: OutgoingRequest) -> None:
        request.send_replay()
        if (
            request.pause_emitted
            and request.sent
            and not request.awaits_continue
            and self.request_state is not DONE
        ):
            self.loop.call_soon(self._emit_resume)

    @property
    def awaits_continue(self) -> bool:
        """Whether the body is held until the server says 100."""
        return self._request is not None and self._request.awaits_continue

    def send_held_body(self) -> None:
        """Send the body: the server said 100, or takes its time."""
        request = self._request
        if request is not None and request.awaits_continue:
            request.awaits_continue = False
            self._send_replay(request)

    def on_response(self, keep_alive: bool) -> bool:
        """Keep no request any more: the head of the final response has arrived.

        keep_alive: whether the connection may persist
        Returns: whether the rest of the request was abandoned, since the response makes it
        pointless
        """
        self.response_state = READ_BODY
        request = self._request
        assert request is not None
        if request.awaits_continue or (self.request_state is not DONE and not keep_alive):
            request.abandon()
            if self.request_state is BODY:
                self.request_state = FAILED
            return True
        request.chunks = None
        return False

    def bytes_promised(self) -> int:
        """Return how many bytes of the request's body are still to be sent; see `Spliceable`."""
        request = self._request
        return request.bytes_promised() if request is not None and self.request_state is BODY else 0

    def on_spliced_out(self, count: int) -> None:
        """Count bytes of the request's body that were moved by the kernel."""
        if self._request is not None:
            self._request.on_spliced_out(count)

    # -- waiting for a stream, and trying again ----------------------------------------------

    def _own_attempts(self) -> Attempts:
        if self._attempts is None:
            self._attempts = Attempts(self)
        return self._attempts

    def on_queued(self, pool: ConnectionPool) -> None:
        """Wait for a connection: all that are allowed are in use."""
        self._own_attempts().on_queued(pool)

    def on_connecting(self, pool: ConnectionPool) -> None:
        """Wait for a connection that is being made."""
        self._own_attempts().on_connecting(pool)

    def connect_failed(self, error: HttpError) -> None:
        """Try again, or fail: no connection could be made."""
        self._own_attempts().connect_failed(error)

    def fail_without_response(self, error: HttpError, sent: bool, reused: bool) -> None:
        """Try again, or fail: the connection ended before any byte of a response.

        sent: whether any byte of the request has left
        reused: whether an earlier exchange had the connection, which may just have timed out
        """
        request = self._request
        assert request is not None
        self.stream = None
        if request.is_replayable and (request.is_idempotent or not sent):
            self._own_attempts().retry(error, at_once=reused)
        else:
            self.fail(error)

    def try_again(self) -> None:
        """Send the request once more, on a new connection."""
        request = self._request
        assert request is not None
        assert self._route is not None
        request.restart()
        try:
            self._route.pool.acquire(self, fresh=True)
        except HttpError as exc:
            self.fail(exc)

    # -- ending --------------------------------------------------------------------------------

    def end(self, response_state: ClientReading) -> None:
        """End the exchange; it has no stream any more."""
        self.response_state = response_state
        if self.request_state is not DONE:
            self.request_state = FAILED
        self.stream = self._attempts = None
        request, self._request = self._request, None  # they hold each other
        if request is not None:
            self._was_unsent = not request.sent

    def _stop(self) -> None:
        """End it from this side: its pool and its stream are told."""
        stream = self.stream
        pool = self._attempts.stop_waiting() if self._attempts is not None else None
        self.end(READ_FAILED)
        if pool is not None:
            pool.cancel(self)
        if stream is not None:
            stream.abort()

    def fail(self, error: HttpError) -> None:
        """End it with `error`. Not to be called from a method of the program's."""
        if self.response_state in RESPONSE_DUE:
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
            self.release()

    def failed(self, exc: BaseException) -> None:
        """End it: a listener raised `exc`, which was logged, and what it left undone is unknown."""
        self.fail(OutputStateError(f"the program failed: {type(exc).__name__}"))

    def release(self) -> None:
        """Let go of the listeners: nothing is emitted any more."""
        self._listeners = self._sink = self.relay_side = None
