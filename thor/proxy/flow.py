"""A request that somebody watches: what a program sees of it, and may change.

Owns: `Flow`, and the relay that makes the phases of it. Must not know how a request is relayed:
`WatchedRelay` adds to `Relay` what is seen, and takes nothing away. Requests that nobody watches
have none of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thor.http.error import OutputError, OutputStateError, OutputSyntaxError
from thor.http.headers import encode_text, field_list, field_pair
from thor.proxy.local_response import LocalResponse, failure_for
from thor.proxy.relay import DownstreamSink, Relay
from thor.types import to_bytes

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.http.server import HttpServerExchange
    from thor.proxy.reverse import ReverseProxy
    from thor.proxy.tunnel import Tunnel
    from thor.proxy.upstream import Endpoint, Upstream
    from thor.tcp import TcpConnection
    from thor.types import Data, HeadersIn, RawHeaders

#: The events of a proxy that a flow is made for.
PHASES = frozenset(("request", "response", "done"))


class Flow:
    """One exchange crossing the proxy.

    method, path: of the request; `path` is the target with its query, as it came but for the
        authority of an absolute one. May be set in the phase `request`, to `str` too; a path that
        does not begin with a slash, or the method CONNECT, ends the flow with a 500.
    request_headers: what goes upstream, hop-by-hop fields removed and the proxy's own added; may
        be changed in `request`.
    version: of the client's request, b"1.1"
    host: whom the request is for, as the client said
    client: the client's connection, with its `address`
    upstream, endpoint, attempts: where it went; the endpoint is None where none was tried
    status, phrase, response_headers: the response's, or None; may be changed in `response`.
    request_bytes, response_bytes: bytes of the bodies so far; in a tunnel, all that went through
    started: Unix time; response_s, duration_s: seconds from then to the response's head and to
        the end, or None
    error: what went wrong on either side, or None
    errors: what went wrong with each attempt that failed, in order; another may have succeeded
    """

    __slots__ = (
        "_answer",
        "_began",
        "_context",
        "_phase",
        "_relay",
        "attempts",
        "client",
        "duration_s",
        "endpoint",
        "error",
        "errors",
        "host",
        "method",
        "path",
        "phrase",
        "request_bytes",
        "request_headers",
        "response_bytes",
        "response_headers",
        "response_s",
        "started",
        "status",
        "upstream",
        "version",
    )

    def __init__(self, relay: Relay) -> None:
        inbound, loop = relay.inbound, relay.proxy.loop
        self._relay = relay
        self._context: dict[str, Any] | None = None
        self._answer: LocalResponse | None = None
        self._phase = ""
        self._began = loop.clock.monotonic()
        self.method: bytes = inbound.method
        self.path: bytes = inbound.uri
        self.version = inbound.req_version
        self.host = inbound.host
        self.request_headers: RawHeaders = inbound.req_hdrs
        self.client: TcpConnection | None = inbound.http_conn.tcp_conn
        self.upstream: Upstream = relay.proxy.upstream
        self.endpoint: Endpoint | None = None
        self.attempts = 0
        self.status: bytes | None = None
        self.phrase: bytes | None = None
        self.response_headers: RawHeaders | None = None
        self.request_bytes = self.response_bytes = 0
        self.started = loop.time()
        self.response_s: float | None = None
        self.duration_s: float | None = None
        self.error: HttpError | None = None
        self.errors: list[HttpError] = []

    def __repr__(self) -> str:
        return f"<Flow {self.method!r} {self.path!r} {self.status!r}>"

    @property
    def context(self) -> dict[str, Any]:
        """The program's own, from phase to phase."""
        if self._context is None:
            self._context = {}
        return self._context

    def respond(self, status: int, phrase: str, headers: HeadersIn = (), body: Data = b"") -> None:
        """Answer in the upstream's place. In `request`, nothing goes upstream; in `response`, the
        upstream's response is dropped.

        Raises: ValueError in any other phase, and the second time; TypeError; OutputSyntaxError
            for a field that is not Latin-1
        """
        if self._phase not in ("request", "response"):
            raise ValueError("respond() is for the phases request and response")
        if self._answer is not None:
            raise ValueError("respond() was called before for this request")
        self._answer = LocalResponse(status, phrase, fields=_fields(headers), body=to_bytes(body))

    def abort(self) -> None:
        """Reset the client's connection; nothing more is sent either way. Harmless at any time,
        but for a tunnel, which has a life of its own."""
        self._relay.cancel()
        self._relay.inbound.abort()

    def _seconds(self) -> float:
        return self._relay.proxy.loop.clock.monotonic() - self._began


def _checked_line(method: str | bytes, path: str | bytes) -> tuple[bytes, bytes]:
    """What a program has made of method and path, as bytes; their octets are looked at later.

    Raises: OutputSyntaxError for a path that is none (RFC 9112 section 3.2.1), which could name
        somebody else to who reads it, and for CONNECT, whose answer is no response
    """
    line = encode_text(method, "a method"), encode_text(path, "a path")
    if line[0] == b"CONNECT" or not (line[1].startswith(b"/") or line == (b"OPTIONS", b"*")):
        raise OutputSyntaxError(f"{method!r} of {path!r}")
    return line


def _fields(headers: HeadersIn) -> list[tuple[bytes, bytes]]:
    pairs = map(field_pair, field_list(headers))
    return [
        (encode_text(name, "a field name"), encode_text(value, "a field value"))
        for name, value in pairs
    ]


class _WatchedSink(DownstreamSink):
    """Hears the end, too."""

    __slots__ = ()

    hears_done = True

    def done(self, error: HttpError | None) -> None:
        """The last byte of the response has left, or the exchange is lost."""
        relay = self.relay
        assert isinstance(relay, WatchedRelay)
        relay.client_done(error)


class WatchedRelay(Relay):
    """A relay with a flow."""

    __slots__ = ("flow", "tunnelled")

    sink_class = _WatchedSink

    def __init__(self, proxy: ReverseProxy, inbound: HttpServerExchange) -> None:
        Relay.__init__(self, proxy, inbound)
        self.flow = Flow(self)
        self.tunnelled = False

    # -- the phases ----------------------------------------------------------------------------

    def _phase(self, event: str) -> bool:
        """Have the program look. Returns: False if it has response the request itself"""
        flow = self.flow
        flow._phase = event
        try:
            self.proxy.emit(event, flow)
        except Exception as exc:
            # In `response`, the upstream's exchange fails with that.
            if event == "request" and self.inbound.is_open:
                self._refuse(OutputStateError(f"the program failed: {type(exc).__name__}"))
            raise
        finally:
            flow._phase = ""
        response = flow._answer
        if response is None:
            return True
        self.cancel()
        self.answer(response)
        return False

    def send(self) -> None:
        """The phase `request`, and then upstream with what became of it."""
        flow = self.flow
        flow.path = self.target
        # With Host where a program looks for it, and no longer taken for what nobody changed.
        host = self.inbound.host
        flow.request_headers = [(b"Host", host), *self.fields] if host else list(self.fields)
        if not self._phase("request"):
            return
        if not self.inbound.is_open:
            self.cancel()
            return
        try:
            self.method, self.target = _checked_line(flow.method, flow.path)
        except OutputSyntaxError as exc:
            self._refuse(exc)
            return
        self.fields = flow.request_headers
        Relay.send(self)

    def _refuse(self, error: OutputError) -> None:
        """The program's mistake: nothing goes upstream."""
        self.flow.error = error
        self.answer(failure_for(error, connected=False))

    def attempt(self, endpoint: Endpoint) -> None:
        """One more attempt."""
        Relay.attempt(self, endpoint)
        if self.outbound is not None:
            self.flow.endpoint = endpoint
            self.flow.attempts += 1

    def response_start(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        """The phase `response`, and then down with what became of it."""
        flow = self.flow
        flow.response_s = flow._seconds()
        flow.error = None  # of an attempt before this one
        flow.status, flow.phrase = status, phrase
        flow.response_headers = list(self.response_fields(status, headers))
        if not self._phase("response"):
            return
        if not self.inbound.is_open:
            self.cancel()
            return
        self.pass_head(flow.status, flow.phrase, flow.response_headers)

    def answer(self, response: LocalResponse) -> None:
        """An answer of the proxy's own is seen, but not changed."""
        flow = self.flow
        flow.status, flow.phrase = b"%d" % response.status, response.phrase.encode("latin-1")
        flow.response_bytes = 0 if self.inbound.method == b"HEAD" else len(response.body)
        if flow.response_s is None:
            flow.response_s = flow._seconds()
        Relay.answer(self, response)

    # -- counting ------------------------------------------------------------------------------

    def request_body(self, chunk: bytes) -> None:
        """A piece of the request."""
        self.flow.request_bytes += len(chunk)
        Relay.request_body(self, chunk)

    def response_body(self, chunk: bytes) -> None:
        """A piece of the response."""
        self.flow.response_bytes += len(chunk)
        Relay.response_body(self, chunk)

    def request_passed(self, count: int) -> None:
        """So much of the request."""
        self.flow.request_bytes += count

    def response_passed(self, count: int) -> None:
        """So much of the response."""
        self.flow.response_bytes += count

    def error(self, error: HttpError) -> None:
        """The attempt failed."""
        self.flow.error = error
        self.flow.errors.append(error)
        Relay.error(self, error)

    # -- the end -------------------------------------------------------------------------------

    def join(self, near: TcpConnection, far: TcpConnection) -> None:
        """The flow goes on as a tunnel."""
        flow = self.flow
        flow.error = None
        flow.status, flow.phrase = b"101", b"Switching Protocols"
        flow.response_headers = self.switching
        flow.response_s = flow._seconds()
        self.tunnelled = True
        self.proxy.add_tunnel(near, far, self._tunnel_done)

    def _tunnel_done(self, tunnel: Tunnel) -> None:
        self.flow.request_bytes = tunnel.bytes_from_one
        self.flow.response_bytes = tunnel.bytes_from_other
        self._done()

    def client_done(self, error: HttpError | None) -> None:
        """The client's side is over: with a tunnel, that is when the tunnel is."""
        if error is not None and self.flow.error is None:
            self.flow.error = error
        if not self.tunnelled:
            self._done()

    def _done(self) -> None:
        self.flow.duration_s = self.flow._seconds()
        self.proxy.emit("done", self.flow)
