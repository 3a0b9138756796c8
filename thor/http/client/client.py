"""The HTTP client: settings, and where a URI leads.

Owns: the settings, and the way from a URI to the group of connections that serves it. Must not
know messages.

Theory of operation: what decides which connections a request may use is the URI's origin together
with some of the settings. Both make one key; the pool remembers what came of it (a `Route`), so
that a request to a known origin costs one look-up. Settings are read when they are needed, so that
they may be set at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from thor.http.client.exchange import HttpClientExchange
from thor.http.client.pool import Group, Pool, Route, pool_of
from thor.http.error import InvalidHostError, UrlError
from thor.http.uri import parse_uri
from thor.http.wire.grammar import TARGET, excerpt
from thor.http.wire.limits import Limits
from thor.http.wire.target import split_authority
from thor.loop.source import default_loop
from thor.tcp import TcpClient

if TYPE_CHECKING:
    from thor.loop import LoopBase

_UNSET: Any = object()


class HttpClient:
    """An HTTP/1.1 client.

    The class variables are settings: a subclass or an instance may set them. Times are in
    seconds; None or 0 is no limit. Clients of one loop share a pool of connections, as far as
    their settings allow it.
    """

    #: What is used as the TCP client; has the interface of `thor.TcpClient`.
    tcp_client_class: Any = TcpClient
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
    #: Asked about each address (a `str`) before it is connected to; False refuses it.
    check_ip: Callable[[str], bool] | None = None
    #: The path of a Unix socket to connect to, in place of the URI's host and port.
    unix_path: str | None = None
    #: Bytes of a response's head, or of its trailers (Go: 1 MiB; Node: 16 KiB).
    max_head_bytes = 64 * 1024
    #: Fields of a response's head.
    max_head_fields = 128
    #: What to do with a folded field line: "unfold" it, as a user agent must, or "refuse" the
    #: response, as a proxy may (RFC 9112 section 5.2).
    fold = "unfold"

    _pool: Pool | None = None

    def __init__(self, loop: LoopBase | None = None, idle_timeout: float | None = _UNSET) -> None:
        """loop: None is the default loop; it is not used before the first request."""
        self.loop = loop or default_loop()
        if idle_timeout is not _UNSET:
            self.idle_timeout = idle_timeout

    def exchange(self) -> HttpClientExchange:
        """A new exchange: one request, and its response."""
        return HttpClientExchange(self)

    def _locate(self, method: bytes, uri: bytes) -> tuple[Route, bytes]:
        """Find where a request goes.

        uri: for CONNECT in authority form, `host:port`
        Returns: (the way there, the request target)
        Raises: UrlError
        """
        pool = self._pool
        if pool is None or pool.epoch != self.loop._epoch:
            pool = self._pool = pool_of(self.loop)
        # Behind the shortest possible scheme and host: what stands before the next slash is the
        # origin, if it is known.
        slash = uri.find(b"/", 8)
        key = (
            uri[:slash] if slash > 0 else uri,
            self.tcp_client_class,
            self.check_ip,
            self.unix_path,
            self.max_head_bytes,
            self.max_head_fields,
            self.fold,
        )
        target = uri[slash:]
        route = pool.routes.get(key)
        if route is None or slash < 0 or method == b"CONNECT" or target.translate(None, TARGET):
            return self._find_route(pool, method, uri, key)
        return route, target

    def _find_route(
        self, pool: Pool, method: bytes, uri: bytes, key: tuple[Any, ...]
    ) -> tuple[Route, bytes]:
        """`_locate` for a URI whose origin is not known, or that is an unusual one."""
        if method == b"CONNECT":
            scheme, (host, port) = "http", _split_connect(uri)
            authority = target = uri
        else:
            scheme, host, port, authority, target = parse_uri(uri)
            if method == b"OPTIONS" and target == b"/" and uri.partition(b"#")[0][-1:] != b"/":
                target = b"*"  # no path at all: the server as a whole (RFC 9112 section 3.2.4)
        if scheme != "http":
            raise UrlError("https needs TLS, which this version does not have")
        origin = (scheme, host, port)
        group = pool.groups.get((origin, key[1:]))
        if group is None:
            limits = Limits(
                max_head_bytes=self.max_head_bytes,
                max_head_fields=self.max_head_fields,
                fold=self.fold,
            )
            address = (host, port) if self.unix_path is None else (f"unix:{self.unix_path}", 0)
            group = pool.add((origin, key[1:]), Group(origin, address, limits))
        route = Route(group, authority)
        if method != b"CONNECT" and b"?" not in key[0] and b"#" not in key[0]:
            pool.remember(key, route)
        return route, target


def _split_connect(uri: bytes) -> tuple[str, int]:
    """Host and port that a CONNECT is for (RFC 9110 section 9.3.6). Raises: UrlError"""
    try:
        host, port = split_authority(uri)
    except InvalidHostError:
        port = None
    if port is None:
        raise UrlError(f"CONNECT needs host:port, not {excerpt(uri)}")
    return host.decode("ascii").lower().removeprefix("[").removesuffix("]"), port
