"""What a program sees of a request that crosses the proxy, and may change.

Owns: `Flow`, and the rules for what a program makes of a request. Must not know how a request is
relayed, nor when a program may respond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from thor.http.error import OutputSyntaxError
from thor.http.headers import encode_text
from thor.proxy.interfaces import RequestHead

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.http.server import HttpServerExchange
    from thor.loop import LoopBase
    from thor.proxy.upstream import Endpoint, Upstream
    from thor.tcp import TcpConnection
    from thor.types import Data, HeadersIn, RawHeaders


class FlowControl(Protocol):
    """What a flow asks of the proxy."""

    def respond(self, status: int, phrase: str, headers: HeadersIn, body: Data) -> None:
        """Respond in the upstream's place. Raises: as `Flow.respond`"""

    def abort(self) -> None:
        """Reset the client's connection."""


class Flow:
    """One exchange crossing the proxy.

    method, path: of the request; `path` is the target with its query, as it came but for the
        authority of an absolute one. May be set in the phase `request`, to `str` too; a path that
        does not begin with a slash, or the method CONNECT, ends the flow with a 500.
    request_headers: what goes upstream, hop-by-hop fields removed and the proxy's own added; may
        be changed in `request`.
    version: of the client's request, b"1.1"
    host: the authority that the request is for, as the client sent it
    client: the client's connection, with its `address`
    upstream, endpoint, attempts: where it went; the endpoint is None where none was tried
    status, phrase, response_headers: the response's, or None; may be changed in `response`.
    request_bytes, response_bytes: bytes of the bodies so far; in a tunnel, all that it forwarded
    started: Unix time; response_s, duration_s: seconds from then to the response's head and to
        the end, or None
    error: the error on either side, or None
    errors: the error of each attempt that failed, in order; another attempt may have succeeded
    """

    __slots__ = (
        "_context",
        "_control",
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

    def __init__(
        self,
        exchange: HttpServerExchange,
        upstream: Upstream,
        loop: LoopBase,
        control: FlowControl,
    ) -> None:
        """Take over what the client's exchange knows about the request."""
        self._control = control
        self._context: dict[str, Any] | None = None
        self.method: bytes = exchange.method
        self.path: bytes = exchange.uri
        self.version = exchange.req_version
        self.host = exchange.host
        self.request_headers: RawHeaders = exchange.req_hdrs
        self.client: TcpConnection | None = exchange.http_conn.tcp_conn
        self.upstream = upstream
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
        """A dict for the program, which keeps it from phase to phase."""
        if self._context is None:
            self._context = {}
        return self._context

    def respond(self, status: int, phrase: str, headers: HeadersIn = (), body: Data = b"") -> None:
        """Respond in the upstream's place.

        In `request`, nothing goes upstream; in `response`, the upstream's response is dropped.
        Raises: ValueError in any other phase, and the second time; TypeError; OutputSyntaxError
            for a field that is not Latin-1
        """
        self._control.respond(status, phrase, headers, body)

    def abort(self) -> None:
        """Reset the client's connection; nothing more is sent in either direction.

        Harmless at any time. It does not end a tunnel.
        """
        self._control.abort()

    def request_head(self) -> RequestHead:
        """Return the request as the program has left it; its octets are checked when it is sent.

        Raises: OutputSyntaxError for a path that is not one (RFC 9112 section 3.2.1), which some
            recipients would read as another authority, and for CONNECT, whose response is a tunnel
        """
        method = encode_text(self.method, "a method")
        path = encode_text(self.path, "a path")
        is_path = path.startswith(b"/") or (method, path) == (b"OPTIONS", b"*")
        if method == b"CONNECT" or not is_path:
            raise OutputSyntaxError(f"{self.method!r} of {self.path!r}")
        return RequestHead(method, path, self.request_headers)
