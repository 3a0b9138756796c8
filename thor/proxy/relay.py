"""One request on its way through the proxy, and its response on the way back.

Owns: a server's exchange and the client's exchange that it is joined to, one attempt after the
other. Must not know which fields cross a hop, nor how an endpoint is chosen.

Theory of operation: one exchange emits what the other has as a method, so the relay is the sink of
the client's exchange and calls the server's; a `DownstreamSink` is the sink of the server's and
calls the client's. There are two, since both sides emit `pause` and `error`, and each means the
other side.
`pause` is wired across, both ways: what one side cannot send, the other does not read. When large
pieces of a body arrive, the rest is left to the connections, as far as they can do it alone.

    not a byte passed on --error, may be replayed--> next attempt, at another endpoint
                         --error------------------> an answer of the proxy's own
    a 1xx passed on      --error------------------> an answer of the proxy's own
    head passed on       --error------------------> the client's connection is reset, as soon as
                                                    it has what was passed on before
    any                  --client gone------------> the upstream's exchange is cancelled

A request may be replayed while all of its body is held, if none of it was sent or its method is
idempotent (RFC 9110 section 9.2.2).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from thor.http.body_splice import splice_body
from thor.http.client import HttpClientExchange
from thor.http.error import (
    AccessError,
    ConnectError,
    DnsError,
    HttpError,
    IncompleteMessageError,
    MessageError,
    OutputError,
    UpgradeError,
)
from thor.http.http1.client_timeouts import CONTINUE_S
from thor.http.semantics import idempotent_methods
from thor.proxy.forwarding import (
    decrement_max_forwards,
    forward_request,
    forward_response,
    forward_trailers,
    origin_form,
)
from thor.proxy.local_response import LocalResponse, failure_for, render
from thor.proxy.paths import leaves_prefix
from thor.tcp.splice import MIN_SPLICE_BYTES

if TYPE_CHECKING:
    from thor.http.server import HttpServerExchange
    from thor.loop import ScheduledEvent
    from thor.proxy.reverse import ReverseProxy
    from thor.proxy.upstream import Endpoint
    from thor.tcp import TcpConnection
    from thor.types import Address, RawHeaders

#: How a tunnel is refused, and what may be asked instead.
_NO_TUNNEL = LocalResponse(
    405,
    "Method Not Allowed",
    "http_request_error",
    [(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")],
)

#: The upstream has no endpoints, for the moment.
_NO_ENDPOINT = LocalResponse(
    503, "Service Unavailable", "destination_unavailable", [(b"Retry-After", b"5")]
)

#: The target leads out of the endpoint's prefix.
_OUTSIDE = LocalResponse(400, "Bad Request", "http_request_error")

_UNUSUAL_METHODS = frozenset((b"CONNECT", b"OPTIONS", b"TRACE"))

#: An endpoint that cannot be connected to; a connection that went away. After anything else the
#: next endpoint would fare no better, or the request may be what broke it.
UNREACHABLE = (ConnectError, DnsError, AccessError)
LOST = (ConnectError, IncompleteMessageError)

#: How far the response has got.
NOTHING, NONFINAL, FINAL, OVER = range(4)


class DownstreamSink:
    """The sink of the client's exchange: what a relay hears from that side."""

    __slots__ = ("relay",)

    hears_done = False

    def __init__(self, relay: Relay) -> None:
        self.relay = relay

    def request_body(self, chunk: bytes) -> None:
        """A piece of the request's body."""
        self.relay.request_body(chunk)

    def request_done(self, trailers: RawHeaders) -> None:
        """The request is complete."""
        relay = self.relay
        if trailers and not relay.proxy.upstream.request_trailers:
            trailers = []
        if trailers:
            trailers = forward_trailers(trailers, relay.inbound.req_hdrs, relay.proxy.policy)
        relay.trailers = trailers
        if relay.outbound is not None:
            relay.outbound.request_done(trailers)

    def pause(self, paused: bool) -> None:
        """The client takes no more of the response for now (True)."""
        if self.relay.outbound is not None:
            self.relay.outbound.pause(paused)

    def close(self) -> None:
        """The client is gone."""
        self.relay.cancel()


class Relay:
    """Joins the two exchanges of a request; the sink of the upstream's."""

    __slots__ = (
        "decision",
        "endpoint",
        "fields",
        "head",
        "held",
        "held_bytes",
        "inbound",
        "method",
        "outbound",
        "passed",
        "proxy",
        "switching",
        "target",
        "te_trailers",
        "trailers",
        "tried",
        "upgrade_to",
    )

    #: What hears the client's exchange.
    sink_class = DownstreamSink

    def __init__(self, proxy: ReverseProxy, inbound: HttpServerExchange) -> None:
        self.proxy = proxy
        self.inbound = inbound
        self.method = inbound.method
        self.target = b""
        #: What goes upstream besides method and target: the fields, the protocol to ask for, and
        #: whether the client takes trailers.
        self.fields: RawHeaders = []
        self.upgrade_to: bytes | None = None
        self.te_trailers = False
        #: The upstream's fields, for what they say about its trailers.
        self.head: RawHeaders = []
        self.outbound: HttpClientExchange | None = None
        self.endpoint: Endpoint | None = None
        self.passed = NOTHING
        #: What has arrived of the body, while it may be replayed; the trailers, when it ended.
        self.held: list[bytes] | None = [] if len(proxy.upstream.endpoints) > 1 else None
        self.held_bytes = 0
        self.trailers: RawHeaders | None = None
        self.tried: list[Endpoint] | None = None
        self.switching: RawHeaders | None = None
        self.decision: ScheduledEvent | None = None

    # -- the way up ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Decide on the request: send it on, or answer it here."""
        inbound = self.inbound
        inbound.attach_relay(self.sink_class(self))
        target, fields = inbound.uri, inbound.req_hdrs
        conn = inbound.http_conn
        if conn.client is None:
            conn.client = client_of(peer_of(conn.address), inbound.secure)
        peer, by_tls = conn.client
        try:
            if self.method in _UNUSUAL_METHODS:
                fields = self._look_at_method(fields)
            if target.startswith(b"/"):
                self.target = target
            else:
                self.target = origin_form(self.method, target)
                by_tls = by_tls or target[:8].lower() == b"https://"  # the server believed it
            self.fields, self.upgrade_to, self.te_trailers, expects = forward_request(
                fields,
                inbound.req_version != b"1.0",
                inbound.host,
                peer,
                self.proxy.policy,
                by_tls,
                inbound.expects_continue,
                self.proxy.upstream.request_trailers,
            )
        except LocalResponse as response:
            self.answer(response)
            return
        if expects:
            inbound.on("expect_continue", self.await_decision)
        self.send()

    def _look_at_method(self, fields: RawHeaders) -> RawHeaders:
        """What concerns the methods that are about the way itself. Raises: LocalResponse"""
        if self.method == b"CONNECT":
            raise _NO_TUNNEL
        return decrement_max_forwards(
            self.method, origin_form(self.method, self.inbound.uri), fields
        )

    def await_decision(self) -> None:
        """Whether the client is to go on is the origin's decision: its 100 is passed on. One that
        says nothing may know no 100; a client that still waits must not do so for ever."""
        self.decision = self.proxy.loop.call_later(CONTINUE_S, self.go_on)

    def end_wait(self) -> None:
        """What was waited for is no longer of concern."""
        if self.decision is not None:
            self.decision.delete()
            self.decision = None

    def go_on(self) -> None:
        """The origin has had its time to object."""
        if self.passed < FINAL and self.inbound.expects_continue:
            self.inbound.response_nonfinal(100, "Continue", [])

    def send(self) -> None:
        """Send the request to the endpoint whose turn it is."""
        endpoint = self.proxy.upstream.pick(self.proxy.loop.now)
        if endpoint is None:
            self.answer(_NO_ENDPOINT)
        else:
            self.attempt(endpoint)

    def attempt(self, endpoint: Endpoint) -> None:
        """Send to `endpoint` what there is of the request."""
        if endpoint.prefix and leaves_prefix(self.target):
            self.answer(_OUTSIDE)
            return
        self.endpoint = endpoint
        outbound = self.outbound = HttpClientExchange(self.proxy.client, self)
        outbound.forward(
            self.method,
            endpoint.origin,
            endpoint.target_for(self.target),
            self.fields,
            self.upgrade_to,
            self.te_trailers,
        )
        if self.tried is not None:
            self._replay(outbound)

    def _replay(self, outbound: HttpClientExchange) -> None:
        """Bring another attempt to where the one before it was."""
        self.inbound.pause(False)
        for chunk in self.held or ():
            outbound.request_body(chunk)
        if self.trailers is not None:
            outbound.request_done(self.trailers)

    def request_body(self, chunk: bytes) -> None:
        """A piece of the request's body arrived."""
        held = self.held
        if held is not None:
            held.append(chunk)
            self.held_bytes += len(chunk)
            if self.held_bytes > self.proxy.replay_limit:
                self.held = None
        if self.outbound is not None:
            self.outbound.request_body(chunk)
            if len(chunk) >= MIN_SPLICE_BYTES and self.held is None and self.outbound is not None:
                splice_body(
                    self.inbound.body_splice(), self.outbound.body_splice(), self.request_passed
                )

    def request_passed(self, count: int) -> None:
        """So many bytes of the request's body went on unseen."""

    def cancel(self) -> None:
        """Nobody wants the response any more."""
        outbound, self.outbound = self.outbound, None
        self.passed = OVER
        self.held = None
        self.end_wait()
        if outbound is not None:
            outbound.cancel()

    # -- the way down: called by the upstream's exchange ---------------------------------------

    def response_nonfinal(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        """An informational response: passed on (RFC 9110 section 15.2)."""
        fields = self.response_fields(status, headers)
        if status == b"101":
            self.switching = fields  # written with the switch itself
            return
        self.passed = NONFINAL
        self.inbound.response_nonfinal(status, phrase, fields)

    def response_start(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        """The head of the response."""
        self.pass_head(status, phrase, self.response_fields(status, headers))

    def response_fields(self, status: bytes, headers: RawHeaders) -> RawHeaders:
        """What goes down of the upstream's fields.

        Raises: TransferCodeError, with which the upstream's exchange fails like with its own
        """
        outbound = self.outbound
        assert outbound is not None
        self.head = headers
        return forward_response(
            status,
            headers,
            outbound.length,
            outbound.res_version != b"1.0",
            self.te_trailers,
            self.proxy.policy,
        )

    def pass_head(self, status: bytes, phrase: bytes, fields: RawHeaders) -> None:
        """Pass the response's head on."""
        try:
            self.inbound.response_start(status, phrase, fields)
        except OutputError:
            self.cancel()
            self.answer(failure_for(MessageError(), connected=True))  # it was the upstream's head
            return
        self.passed = FINAL
        self.held = None
        if self.decision is not None:
            self.end_wait()

    def response_body(self, chunk: bytes) -> None:
        """A piece of the response."""
        self.inbound.response_body(chunk)
        if len(chunk) >= MIN_SPLICE_BYTES and self.outbound is not None:
            splice_body(
                self.outbound.body_splice(), self.inbound.body_splice(), self.response_passed
            )

    def response_passed(self, count: int) -> None:
        """So many bytes of the response's body went on unseen."""

    def response_done(self, trailers: RawHeaders) -> None:
        """The response is complete."""
        self.outbound = None
        self.passed = OVER
        if trailers:
            policy = self.proxy.policy
            trailers = forward_trailers(trailers, self.head, policy) if self.te_trailers else []
        self.inbound.response_done(trailers)

    def pause(self, paused: bool) -> None:
        """The upstream takes no more of the request for now (True)."""
        self.inbound.pause(paused)

    def upgrade(self, conn: TcpConnection) -> None:
        """The upstream switched protocols: from now on it is bytes."""
        self.outbound = None
        self.passed = OVER
        try:
            near = self.inbound.upgrade(self.upgrade_to or b"", self.switching or ())
        except OutputError:
            conn.abort()
            self.answer(failure_for(UpgradeError(), connected=True))
            return
        self.join(near, conn)

    def join(self, near: TcpConnection, far: TcpConnection) -> None:
        """Make a tunnel of the client's connection and the upstream's."""
        self.proxy.add_tunnel(near, far)

    def error(self, error: HttpError) -> None:
        """The attempt failed: try another endpoint, or say so, or break off what was begun."""
        outbound, self.outbound = self.outbound, None
        # Nothing was handed to a connection, if there ever was one.
        unsent = outbound is None or outbound.is_unsent
        if self.passed == NOTHING:
            following = self._next_endpoint(error, unsent)
            if following is not None:
                self.attempt(following)
                return
        if self.passed == FINAL:
            self.passed = OVER
            self.inbound.abort(flush=True)
        else:
            self.answer(failure_for(error, connected=not unsent))

    def _next_endpoint(self, error: HttpError, unsent: bool) -> Endpoint | None:
        """Where to try again after `error`, if that is safe."""
        upstream, endpoint = self.proxy.upstream, self.endpoint
        assert endpoint is not None
        now = self.proxy.loop.now
        if unsent and isinstance(error, UNREACHABLE):
            upstream.failed(endpoint, now)
        elif self.method not in idempotent_methods or not isinstance(error, LOST):
            return None
        if self.held is None:
            return None
        self.tried = [*(self.tried or ()), endpoint]
        return upstream.pick(now, self.tried)

    def answer(self, response: LocalResponse) -> None:
        """Answer in the upstream's place."""
        self.passed = OVER
        self.held = None
        self.end_wait()
        inbound = self.inbound
        fields, body = render(response, self.proxy.policy.pseudonym)
        inbound.response_start(response.status, response.phrase, fields)
        if body:
            inbound.response_body(body)
        inbound.response_done([])


@lru_cache(maxsize=1024)
def client_of(peer: str, by_tls: bool) -> tuple[str, bool]:
    """What is said upstream of a client: one object for all of a host's connections."""
    return peer, by_tls


def peer_of(address: Address) -> str:
    """Return the client's IP address; empty on a Unix socket."""
    if not isinstance(address, tuple):
        return ""
    host: str = address[0]
    return host.partition("%")[0] if "%" in host else host
