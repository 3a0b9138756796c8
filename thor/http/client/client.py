"""The HTTP client: settings, and where a URI leads.

Owns: the settings, and the mapping from a URI to the pool of connections that serves it. Must not
know messages.

Theory of operation: what decides which connections a request may use is the URI's origin together
with some of the settings (`route.POOL_KEY_SETTINGS`). Those are read once, when the client is first
used,
and again after one of them was set on it; the pool then has the `Routes` of clients with such
settings, in which a request to a known origin costs one look-up. The other settings are read when
they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from thor.http.client.exchange import HttpClientExchange
from thor.http.client.fetch import MAX_BODY_BYTES, Fetch
from thor.http.client.pool import Location, Route, Routes, pool_of
from thor.http.client.route import (
    POOL_KEY_SETTINGS,
    WIRE_LIMITS,
    ConnectionSettings,
    Protocols,
    connect_target_for,
    goes_through_proxy,
    split_connect,
)
from thor.http.uri import parse_uri
from thor.http.wire.grammar import TARGET_OCTETS
from thor.loop.source import default_loop
from thor.tcp import TcpClient
from thor.tls import TlsClient

if TYPE_CHECKING:
    import ssl

    from thor.http.client.fetch import Response
    from thor.http.error import HttpError
    from thor.loop import LoopBase
    from thor.types import Data, HeadersIn, OriginType

_UNSET: Any = object()
_POOL_KEY_SETTINGS = frozenset((*POOL_KEY_SETTINGS, *WIRE_LIMITS, "loop"))


class HttpClient:
    """An HTTP/1.1 client.

    The class variables are settings: a subclass or an instance may set them. Those of the class
    have to be set before an instance is first used, those of an instance may be at any time. Times
    are in seconds; None or 0 is no limit. Clients of one loop share a pool of connections, as far
    as their settings allow it.
    """

    #: What is used as the TCP client; has the interface of `thor.TcpClient`.
    tcp_client_class: Callable[..., TcpClient] = TcpClient
    #: What is used for https; has the interface of `thor.tls.TlsClient`.
    tls_client_class: Callable[..., TlsClient] = TlsClient
    #: What makes the connections of other protocols than HTTP/1.1, by their ALPN names (RFC 7301),
    #: which are offered before it. For Thor's own packages.
    protocols: ClassVar[Protocols] = {}
    #: What https is spoken with; None is what verifies certificates by the system's roots.
    tls_context: ssl.SSLContext | None = None
    #: Whether a server has to show a certificate for its name; not asked where there is a
    #: `tls_context`. With False, anybody in between can read and change everything.
    verify = True
    #: The proxy that requests go through, `http://[USER:PASSWORD@]HOST[:PORT]`: https through a
    #: tunnel, http in absolute form. Not for Unix sockets.
    proxy: str | bytes | None = None
    #: How long connecting may take, resolving the name included.
    connect_timeout: float | None = None
    #: How long nothing may arrive of a response, nor leave of a request, while the server is due.
    read_timeout: float | None = None
    #: How long the head of a response may take, from when the request was sent.
    response_timeout: float | None = None
    #: How long an exchange may take in all, from `request_start` on.
    exchange_timeout: float | None = None
    #: How long idle connections are kept for later requests; None or 0: they are not.
    idle_timeout: float | None = 60
    #: How often a request that failed is tried again, if that is safe.
    retry_limit = 2
    #: How long to wait before each of these.
    retry_delay: float = 0.5
    #: Bytes of a request's body that are kept so that it can be sent again.
    retry_body_limit = 1024 * 1024
    #: Most connections to one server; None is no limit.
    max_server_conn: int | None = None
    #: Most requests that wait for one of these.
    max_waiting = 1000
    #: How long a request may wait for one of these; 0: not at all.
    pool_timeout: float | None = None
    #: Whether a body that ends with the connection must end cleanly. With False, one that TLS
    #: does not close properly is taken for complete, as an attacker could make it.
    careful = True
    #: Asked about each address (a `str`) before it is connected to; False refuses it. Behind a
    #: proxy that is the proxy's address. A URI of a Unix socket, which has none, is refused.
    check_ip: Callable[[str], bool] | None = None
    #: The path of a Unix socket to connect to, in place of the URI's host and port.
    unix_path: str | None = None
    #: Bytes of a response's head, or of its trailers (Go: 1 MiB; Node: 16 KiB).
    max_head_bytes = 64 * 1024
    #: Fields of a response's head.
    max_head_fields = 128
    #: Bytes of one field line.
    max_field_bytes = 32 * 1024
    #: Informational responses before the final one.
    max_informational = 16
    #: Bytes of extensions of one chunk, and of all chunks of a response (Node: 16 KiB).
    max_chunk_extension_bytes = 4 * 1024
    max_chunk_extensions_bytes = 64 * 1024
    #: What to do with a folded field line: "unfold" it, as a user agent must, or "refuse" the
    #: response, as a proxy may (RFC 9112 section 5.2).
    fold = "unfold"

    _routes: Routes | None = None

    def __init__(self, loop: LoopBase | None = None, idle_timeout: float | None = _UNSET) -> None:
        """loop: None is the default loop; it is not used before the first request."""
        self.loop = loop or default_loop()
        if idle_timeout is not _UNSET:
            self.idle_timeout = idle_timeout

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name in _POOL_KEY_SETTINGS:
            self._routes = None

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        if name in _POOL_KEY_SETTINGS:
            self._routes = None

    def exchange(self) -> HttpClientExchange:
        """Return a new exchange: one request, and its response."""
        return HttpClientExchange(self)

    def fetch(
        self,
        uri: str | bytes,
        method: str | bytes = "GET",
        headers: HeadersIn = (),
        body: Data | None = None,
        *,
        max_body_bytes: int | None = MAX_BODY_BYTES,
        redirects: int = 0,
        timeout: float | None = None,
        then: Callable[[Response | None, HttpError | None], object] | None = None,
    ) -> Fetch:
        """Make a request, and collect its response.

        headers: [(name, value)], or a mapping; body: sent with its Content-Length; `str` as UTF-8
        max_body_bytes: what a longer body of a response fails with is a ContentTooLargeError; None
        is
            no limit
        redirects: how many are followed (RFC 9110 section 15.4), without credentials and Host from
            one origin to another; with 0, a redirect is a response as any other
        timeout: seconds for all of it; then the error is an ExchangeTimeoutError
        then: called once, as `then(response, None)` or `then(None, error)`
        Returns: an emitter of `response(Response)` or `error(err)`, which `cancel()` ends silently
        Raises: TypeError; ValueError for CONNECT, which has no response that could be collected
        """
        return Fetch(
            self,
            uri,
            method,
            headers,
            body,
            max_body_bytes=max_body_bytes,
            redirects=redirects,
            timeout=timeout,
            then=then,
        )

    def locate(self, method: bytes, uri: bytes) -> Location:
        """Find where a request goes.

        uri: for CONNECT in authority form, `host:port`
        Raises: UrlError, AccessError
        """
        routes = self._routes
        if routes is None or routes.epoch != self.loop.epoch:
            routes = self._routes = pool_of(self.loop).routes_for(ConnectionSettings(self))
        # Behind the shortest possible scheme and host: what stands before the next slash is the
        # origin, if it is known.
        slash = uri.find(b"/", 8)
        route = routes.get(uri[:slash])
        target = uri[slash:]
        if (
            route is None
            or slash < 0
            or method == b"CONNECT"
            or target.translate(None, TARGET_OCTETS)
        ):
            return self._find_route(routes, method, uri)
        return Location(route, route.prefix + target)

    def route_to(self, origin: bytes) -> Route:
        """Find where requests to an origin go. Raises: UrlError, AccessError"""
        routes = self._routes
        if routes is not None and routes.epoch == self.loop.epoch:
            route = routes.get(origin)
            if route is not None:
                return route
        return self.locate(b"GET", origin + b"/").route

    def _find_route(self, routes: Routes, method: bytes, uri: bytes) -> Location:
        """Locate a URI whose origin is not known, or that is an unusual one."""
        if method == b"CONNECT":
            return Location(self._make_route(routes, ("http", *split_connect(uri)), uri, True), uri)
        beginning, path = _split_uri(uri)
        route = routes.get(beginning)
        if route is not None and not path.translate(None, TARGET_OCTETS):
            return Location(
                route, route.prefix + path
            )  # a Unix socket's, whose scheme is a long one
        scheme, host, port, authority, target = parse_uri(uri)
        if method == b"OPTIONS" and target == b"/" and uri.partition(b"#")[0][-1:] != b"/":
            target = b"*"  # no path at all: the server as a whole (RFC 9112 section 3.2.4)
        if route is None:
            route = self._make_route(routes, (scheme, host, port), authority, False)
            if beginning:
                pool_of(self.loop).keep_route(routes, beginning, route)
        if route.prefix:
            target = route.prefix + target.removeprefix(b"*")
        return Location(route, target)

    def _make_route(
        self, routes: Routes, origin: OriginType, authority: bytes, connect: bool
    ) -> Route:
        """Make the route to an origin."""
        settings = routes.settings
        pool = pool_of(self.loop).origin_pool_for(connect_target_for(settings, origin), settings)
        if settings.proxy is None or not goes_through_proxy(settings, origin):
            return Route(pool, origin, authority)
        prefix = b"" if connect else b"http://" + authority
        return Route(pool, origin, authority, prefix, settings.proxy.fields)


def _split_uri(uri: bytes) -> tuple[bytes, bytes]:
    """Return the part of a valid URI before its path, and the rest.

    Both are empty if the first slash after the scheme does not begin the path.
    """
    slash = uri.find(b"/", uri.find(b"://") + 3)
    beginning = uri[:slash]
    if slash < 0 or b"?" in beginning or b"#" in beginning:
        return b"", b""
    return beginning, uri[slash:]
