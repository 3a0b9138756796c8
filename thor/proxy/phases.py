"""The phases of a request: events of the proxy, with a flow.

Owns: when a program may respond, and what each phase records in the flow. Must not know how a
request is relayed: `FlowPhases` is a `RelayObserver`. A proxy without listeners for the phases
makes no flows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thor.http.error import OutputSyntaxError
from thor.http.headers import encode_text, field_list, field_pair
from thor.proxy.flow import Flow
from thor.proxy.interfaces import RequestHead, ResponseHead
from thor.proxy.local_response import LocalResponse, failure_for
from thor.types import to_bytes

if TYPE_CHECKING:
    from thor.events import EventEmitter
    from thor.http.error import HttpError, OutputError
    from thor.http.server import HttpServerExchange
    from thor.loop import LoopBase
    from thor.proxy.relay import Relay
    from thor.proxy.upstream import Endpoint, Upstream
    from thor.tcp.tunnel import Tunnel
    from thor.types import Data, HeadersIn, RawHeaders

#: The events that need a flow.
PHASES = frozenset(("request", "response", "done"))


class FlowPhases:
    """Emits the phases of one request: a `RelayObserver`, and the `FlowControl` of its flow."""

    __slots__ = (
        "_emitter",
        "_exchange",
        "_is_tunnel",
        "_local_response",
        "_loop",
        "_may_respond",
        "_relay",
        "_started_s",
        "flow",
    )

    def __init__(
        self, emitter: EventEmitter, relay: Relay, upstream: Upstream, loop: LoopBase
    ) -> None:
        """Observe a request. emitter: the proxy, which emits the phases"""
        self._emitter = emitter
        self._relay = relay
        self._exchange: HttpServerExchange = relay.downstream_exchange
        self._loop = loop
        self._started_s = loop.clock.monotonic()
        self._is_tunnel = self._may_respond = False
        self._local_response: LocalResponse | None = None
        self.flow = Flow(self._exchange, upstream, loop, self)

    def _emit(self, phase: str) -> LocalResponse | None:
        """Call the listeners for a phase. Returns: the response that one of them gave"""
        self._may_respond = True
        try:
            self._emitter.emit(phase, self.flow)
        finally:
            self._may_respond = False
        return self._local_response

    def _elapsed_s(self) -> float:
        return self._loop.clock.monotonic() - self._started_s

    # -- what the flow asks for ----------------------------------------------------------------

    def respond(self, status: int, phrase: str, headers: HeadersIn, body: Data) -> None:
        """Respond in the upstream's place when the listeners have returned."""
        if not self._may_respond:
            raise ValueError("respond() is for the phases request and response")
        if self._local_response is not None:
            raise ValueError("respond() was called before for this request")
        fields = _encode_fields(headers)
        self._local_response = LocalResponse(status, phrase, fields=fields, body=to_bytes(body))

    def abort(self) -> None:
        """Reset the client's connection."""
        self._relay.abort()

    # -- the phases ----------------------------------------------------------------------------

    def on_request(self, head: RequestHead) -> RequestHead | LocalResponse | None:
        """Emit `request`. Returns: what the program has made of the request"""
        flow = self.flow
        flow.path = head.target
        # A plain list: a program finds Host in it, and its lengths are read from the fields.
        host = self._exchange.host
        flow.request_headers = [(b"Host", host), *head.fields] if host else list(head.fields)
        response = self._emit("request")
        if response is not None or not self._exchange.is_open:
            return response
        try:
            return flow.request_head()
        except OutputSyntaxError as exc:
            return self.refuse(exc)

    def refuse(self, error: OutputError) -> LocalResponse:
        """Record a mistake of the program. Returns: the response to it"""
        self.flow.error = error
        return failure_for(error, connected=False)

    def on_attempt(self, endpoint: Endpoint) -> None:
        """Record where the request goes."""
        self.flow.endpoint = endpoint
        self.flow.attempts += 1

    def on_response(self, head: ResponseHead) -> ResponseHead | LocalResponse | None:
        """Emit `response`. Returns: what the program has made of the response"""
        flow = self.flow
        flow.response_s = self._elapsed_s()
        flow.error = None  # of an earlier attempt
        flow.status, flow.phrase = head.status, head.phrase
        flow.response_headers = list(head.fields)
        response = self._emit("response")
        if response is not None or not self._exchange.is_open:
            return response
        return ResponseHead(flow.status, flow.phrase, flow.response_headers)

    def on_local_response(self, response: LocalResponse) -> None:
        """Record a response of the proxy's own, which the program cannot change."""
        flow = self.flow
        flow.status, flow.phrase = b"%d" % response.status, response.phrase.encode("latin-1")
        flow.response_bytes = 0 if self._exchange.method == b"HEAD" else len(response.body)
        if flow.response_s is None:
            flow.response_s = self._elapsed_s()

    # -- counters and errors -------------------------------------------------------------------

    def on_request_body(self, count: int) -> None:
        """Count bytes of the request's body."""
        self.flow.request_bytes += count

    def on_response_body(self, count: int) -> None:
        """Count bytes of the response's body."""
        self.flow.response_bytes += count

    def on_attempt_failed(self, error: HttpError) -> None:
        """Record the error of an attempt."""
        self.flow.error = error
        self.flow.errors.append(error)

    # -- the end -------------------------------------------------------------------------------

    def on_tunnel(self, fields: RawHeaders) -> None:
        """Record that the exchange continues as a tunnel."""
        flow = self.flow
        flow.error = None
        flow.status, flow.phrase = b"101", b"Switching Protocols"
        flow.response_headers = fields
        flow.response_s = self._elapsed_s()
        self._is_tunnel = True

    def on_tunnel_closed(self, tunnel: Tunnel) -> None:
        """Emit `done` for a tunnel."""
        self.flow.request_bytes = tunnel.bytes_from_downstream
        self.flow.response_bytes = tunnel.bytes_from_upstream
        self._emit_done()

    def on_done(self, error: HttpError | None) -> None:
        """Emit `done`, unless a tunnel is open: `on_tunnel_closed` emits it then."""
        if error is not None and self.flow.error is None:
            self.flow.error = error
        if not self._is_tunnel:
            self._emit_done()

    def _emit_done(self) -> None:
        self.flow.duration_s = self._elapsed_s()
        self._emitter.emit("done", self.flow)


def _encode_fields(headers: HeadersIn) -> list[tuple[bytes, bytes]]:
    pairs = map(field_pair, field_list(headers))
    return [
        (encode_text(name, "a field name"), encode_text(value, "a field value"))
        for name, value in pairs
    ]
