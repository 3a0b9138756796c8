"""Relay one request upstream, and its response downstream.

Owns: the exchange with the client and the exchange with the upstream, of which there is one for
each attempt. Must not know which fields cross a hop, nor how an endpoint is chosen.

Theory of operation: what one exchange emits is a method of the other. `Relay` is attached to the
upstream's exchange and calls the client's; `DownstreamSide` is attached to the client's exchange
and calls the upstream's. They are two objects because both exchanges emit `pause` and `error`.
`pause` is wired in both directions: what one side cannot send is not read from the other. When
large pieces of a body arrive, the connections move the rest on their own, as far as they can.

    no byte forwarded       --error, may be replayed--> next attempt, at another endpoint
                            --error-------------------> a response of the proxy's own
    a 1xx forwarded         --error-------------------> a response of the proxy's own
    final head forwarded    --error-------------------> the client's connection is reset after
                                                        everything forwarded before has left
    any                     --client gone-------------> the upstream's exchange is cancelled
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from thor.http.body_splice import splice_body
from thor.http.client import HttpClientExchange
from thor.http.error import MessageError, OutputError, OutputStateError, UpgradeError
from thor.http.http1.client_timeouts import CONTINUE_S
from thor.proxy.forwarding import forward_response, forward_trailers, origin_form
from thor.proxy.interfaces import RequestHead, ResponseHead
from thor.proxy.local_response import (
    NO_ENDPOINT,
    OUTSIDE_PREFIX,
    LocalResponse,
    failure_for,
    render,
)
from thor.proxy.paths import leaves_prefix
from thor.proxy.replay import ReplayBuffer, is_unreachable, may_replay
from thor.proxy.request import forward_from_client
from thor.tcp.splice import MIN_SPLICE_BYTES

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.http.server import HttpServerExchange
    from thor.loop import ScheduledEvent
    from thor.proxy.forwarding import ForwardedRequest
    from thor.proxy.interfaces import RelayObserver, RelayServices
    from thor.proxy.upstream import Endpoint
    from thor.tcp import TcpConnection
    from thor.types import RawHeaders


class ResponseProgress(IntEnum):
    """How far the response to the client is."""

    NOT_STARTED = 0
    NONFINAL_SENT = 1
    HEAD_SENT = 2
    ENDED = 3


NOT_STARTED, NONFINAL_SENT, HEAD_SENT, ENDED = ResponseProgress


class DownstreamSide:
    """What the client's exchange calls: a `RequestRelaySide`."""

    __slots__ = ("hears_done", "relay")

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.hears_done = relay.observer is not None

    def request_body(self, chunk: bytes) -> None:
        """Forward a piece of the request's body."""
        self.relay.request_body(chunk)

    def request_done(self, trailers: RawHeaders) -> None:
        """Forward the end of the request."""
        relay = self.relay
        if trailers:
            services = relay.services
            if services.upstream.request_trailers:
                fields = relay.downstream_exchange.req_hdrs
                trailers = forward_trailers(trailers, fields, services.policy)
            else:
                trailers = []
        relay.request_trailers = trailers
        if relay.upstream_exchange is not None:
            relay.upstream_exchange.request_done(trailers)

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) reading the response."""
        if self.relay.upstream_exchange is not None:
            self.relay.upstream_exchange.pause(paused)

    def close(self) -> None:
        """Cancel the request of a client that is gone."""
        self.relay.cancel()

    def done(self, error: HttpError | None) -> None:
        """Report that the last byte of the response has left, or that the exchange failed."""
        if self.relay.observer is not None:
            self.relay.observer.on_done(error)


class Relay:
    """Joins the two exchanges of a request. The upstream's exchange calls it: it is a
    `ResponseRelaySide`."""

    __slots__ = (
        "_continue_timer",
        "_endpoint",
        "_forwarded",
        "_method",
        "_progress",
        "_replay_buffer",
        "_switching_fields",
        "_target",
        "_tried",
        "_upstream_fields",
        "downstream_exchange",
        "observer",
        "request_trailers",
        "services",
        "upstream_exchange",
    )

    def __init__(
        self,
        services: RelayServices,
        downstream_exchange: HttpServerExchange,
    ) -> None:
        self.services = services
        self.downstream_exchange = downstream_exchange
        self.upstream_exchange: HttpClientExchange | None = None
        #: To be set before `start`.
        self.observer: RelayObserver | None = None
        self._method = downstream_exchange.method
        self._target: bytes
        self._forwarded: ForwardedRequest
        #: The fields of the upstream's head, which say how to treat its trailers.
        self._upstream_fields: RawHeaders
        self._endpoint: Endpoint | None = None
        self._progress = NOT_STARTED
        #: The request's body while it may be replayed; None while it may not.
        self._replay_buffer = (
            ReplayBuffer(services.replay_limit) if len(services.upstream.endpoints) > 1 else None
        )
        #: None until the request is complete.
        self.request_trailers: RawHeaders | None = None
        self._tried: list[Endpoint] | None = None
        #: The fields of the upstream's 101, which are sent with the switch itself.
        self._switching_fields: RawHeaders | None = None
        self._continue_timer: ScheduledEvent | None = None

    # -- the request ---------------------------------------------------------------------------

    def start(self) -> None:
        """Forward the request, or respond to it here."""
        downstream = self.downstream_exchange
        downstream.attach_relay(DownstreamSide(self))
        target = downstream.uri
        self._target = target if target.startswith(b"/") else origin_form(self._method, target)
        services = self.services
        try:
            forwarded = forward_from_client(
                downstream, services.policy, services.upstream.request_trailers
            )
        except LocalResponse as response:
            self.respond(response)
            return
        self._forwarded = forwarded
        if forwarded.expects_continue:
            downstream.on("expect_continue", self._await_continue)
        if self.observer is not None and not self._observe_request(self.observer):
            return
        endpoint = services.upstream.pick(services.loop.now)
        if endpoint is None:
            self.respond(NO_ENDPOINT)
        else:
            self._attempt(endpoint)

    def _observe_request(self, observer: RelayObserver) -> bool:
        """Let the observer change the request. Returns: whether it is to be sent"""
        try:
            head = RequestHead(self._method, self._target, self._forwarded.fields)
            outcome = observer.on_request(head)
        except Exception as exc:
            if self.downstream_exchange.is_open:
                error = OutputStateError(f"the program failed: {type(exc).__name__}")
                self.respond(observer.refuse(error))
            raise
        if isinstance(outcome, RequestHead):
            self._method, self._target, self._forwarded.fields = outcome
            return True
        self.cancel()
        if outcome is not None:
            self.respond(outcome)
        return False

    def _await_continue(self) -> None:
        """Leave the 100 to the origin, for a while. An origin that sends nothing may not know 100,
        and a client that still waits must not wait forever."""
        self._continue_timer = self.services.loop.call_later(CONTINUE_S, self._send_continue)

    def _stop_continue_timer(self) -> None:
        if self._continue_timer is not None:
            self._continue_timer.delete()
            self._continue_timer = None

    def _send_continue(self) -> None:
        """Send the 100 to which the origin has not objected in time."""
        if self._progress < HEAD_SENT and self.downstream_exchange.expects_continue:
            self.downstream_exchange.response_nonfinal(100, "Continue", [])

    def _attempt(self, endpoint: Endpoint) -> None:
        """Send to `endpoint` what has arrived of the request."""
        if endpoint.prefix and leaves_prefix(self._target):
            self.respond(OUTSIDE_PREFIX)
            return
        self._endpoint = endpoint
        exchange = self.upstream_exchange = HttpClientExchange(self.services.client, self)
        forwarded = self._forwarded
        exchange.forward(
            self._method,
            endpoint.origin,
            endpoint.target_for(self._target),
            forwarded.fields,
            forwarded.upgrade,
            forwarded.te_trailers,
        )
        if self._tried is not None:
            self._replay(exchange)
        if self.observer is not None and self.upstream_exchange is not None:
            self.observer.on_attempt(endpoint)

    def _replay(self, exchange: HttpClientExchange) -> None:
        """Send what the previous attempt was given."""
        self.downstream_exchange.pause(False)
        if self._replay_buffer is not None:
            for chunk in self._replay_buffer.chunks:
                exchange.request_body(chunk)
        if self.request_trailers is not None:
            exchange.request_done(self.request_trailers)

    def request_body(self, chunk: bytes) -> None:
        """Forward a piece of the request's body."""
        if self.observer is not None:
            self.observer.on_request_body(len(chunk))
        if self._replay_buffer is not None and not self._replay_buffer.append(chunk):
            self._replay_buffer = None
        if self.upstream_exchange is not None:
            self.upstream_exchange.request_body(chunk)
            if len(chunk) >= MIN_SPLICE_BYTES and self._replay_buffer is None:
                self._splice_request()

    def _splice_request(self) -> None:
        """Let the kernel move the rest of the request's body."""
        if self.upstream_exchange is not None:  # else sending the last piece has failed
            source, target = self.downstream_exchange, self.upstream_exchange
            splice_body(source.body_splice(), target.body_splice(), self._on_request_spliced)

    def _on_request_spliced(self, count: int) -> None:
        """Count bytes of the request's body that the kernel has moved."""
        if self.observer is not None:
            self.observer.on_request_body(count)

    def cancel(self) -> None:
        """End the request: its response is of no use any more."""
        exchange, self.upstream_exchange = self.upstream_exchange, None
        self._end_response()
        if exchange is not None:
            exchange.cancel()

    def abort(self) -> None:
        """Cancel the request, and reset the client's connection."""
        self.cancel()
        self.downstream_exchange.abort()

    # -- the response: called by the upstream's exchange ---------------------------------------

    def response_nonfinal(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        """Forward an informational response (RFC 9110 section 15.2)."""
        fields = self._forwarded_fields(status, headers)
        if status == b"101":
            self._switching_fields = fields
            return
        self._progress = NONFINAL_SENT
        self.downstream_exchange.response_nonfinal(status, phrase, fields)

    def response_start(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        """Forward the head of the response."""
        fields = self._forwarded_fields(status, headers)
        if self.observer is not None:
            outcome = self.observer.on_response(ResponseHead(status, phrase, fields))
            if not isinstance(outcome, ResponseHead):
                self.cancel()
                if outcome is not None:
                    self.respond(outcome)
                return
            status, phrase, fields = outcome
        try:
            self.downstream_exchange.response_start(status, phrase, fields)
        except OutputError:
            self.cancel()
            self.respond(failure_for(MessageError(), connected=True))  # the upstream's head is bad
            return
        self._progress = HEAD_SENT
        self._replay_buffer = None
        if self._continue_timer is not None:
            self._stop_continue_timer()

    def _forwarded_fields(self, status: bytes, headers: RawHeaders) -> RawHeaders:
        """Return the upstream's fields that go downstream.

        Raises: TransferCodeError, with which the upstream's exchange then fails
        """
        exchange = self.upstream_exchange
        assert exchange is not None
        self._upstream_fields = headers
        return forward_response(
            status,
            headers,
            exchange.length,
            exchange.res_version != b"1.0",
            self._forwarded.te_trailers,
            self.services.policy,
        )

    def response_body(self, chunk: bytes) -> None:
        """Forward a piece of the response's body."""
        if self.observer is not None:
            self.observer.on_response_body(len(chunk))
        self.downstream_exchange.response_body(chunk)
        if len(chunk) >= MIN_SPLICE_BYTES and self.upstream_exchange is not None:
            source, target = self.upstream_exchange, self.downstream_exchange
            splice_body(source.body_splice(), target.body_splice(), self._on_response_spliced)

    def _on_response_spliced(self, count: int) -> None:
        """Count bytes of the response's body that the kernel has moved."""
        if self.observer is not None:
            self.observer.on_response_body(count)

    def response_done(self, trailers: RawHeaders) -> None:
        """Forward the end of the response."""
        self.upstream_exchange = None
        self._progress = ENDED
        if trailers:
            if self._forwarded.te_trailers:
                policy = self.services.policy
                trailers = forward_trailers(trailers, self._upstream_fields, policy)
            else:
                trailers = []
        self.downstream_exchange.response_done(trailers)

    def pause(self, paused: bool) -> None:
        """Stop (True) or resume (False) reading the request."""
        self.downstream_exchange.pause(paused)

    def upgrade(self, conn: TcpConnection) -> None:
        """Switch protocols as the upstream did: make a tunnel."""
        self.upstream_exchange = None
        self._progress = ENDED
        fields = self._switching_fields or []
        try:
            downstream = self.downstream_exchange.upgrade(self._forwarded.upgrade or b"", fields)
        except OutputError:
            conn.abort()
            self.respond(failure_for(UpgradeError(), connected=True))
            return
        observer = self.observer
        if observer is None:
            self.services.add_tunnel(downstream, conn)
        else:
            observer.on_tunnel(fields)
            self.services.add_tunnel(downstream, conn, observer.on_tunnel_closed)

    def error(self, error: HttpError) -> None:
        """Try another endpoint after a failed attempt; respond; or reset the client's connection,
        if the response has begun."""
        if self.observer is not None:
            self.observer.on_attempt_failed(error)
        exchange, self.upstream_exchange = self.upstream_exchange, None
        # No byte was given to a connection, if there was one.
        unsent = exchange is None or exchange.is_unsent
        if self._progress == NOT_STARTED:
            endpoint = self._next_endpoint(error, unsent)
            if endpoint is not None:
                self._attempt(endpoint)
                return
        if self._progress == HEAD_SENT:
            self._progress = ENDED
            self.downstream_exchange.abort(flush=True)
        else:
            self.respond(failure_for(error, connected=not unsent))

    def _next_endpoint(self, error: HttpError, unsent: bool) -> Endpoint | None:
        """Return the endpoint to try after `error`; None if no other attempt is safe."""
        upstream, endpoint = self.services.upstream, self._endpoint
        assert endpoint is not None
        now = self.services.loop.now
        if is_unreachable(error, unsent):
            upstream.failed(endpoint, now)
        if self._replay_buffer is None or not may_replay(self._method, error, unsent):
            return None
        self._tried = [*(self._tried or ()), endpoint]
        return upstream.pick(now, self._tried)

    # -- responses of the proxy's own ----------------------------------------------------------

    def respond(self, response: LocalResponse) -> None:
        """Respond in the upstream's place."""
        if self.observer is not None:
            self.observer.on_local_response(response)
        self._end_response()
        downstream = self.downstream_exchange
        fields, body = render(response, self.services.policy.pseudonym)
        downstream.response_start(response.status, response.phrase, fields)
        if body:
            downstream.response_body(body)
        downstream.response_done([])

    def _end_response(self) -> None:
        self._progress = ENDED
        self._replay_buffer = None
        self._stop_continue_timer()
