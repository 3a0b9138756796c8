"""Where requests are forwarded to: a group of endpoints.

Owns: the endpoints, the balancing methods, and which endpoints are avoided for a while. Must not
know requests, connections or the loop: the time is a parameter.

Theory of operation: a balancing method is a pure function of the endpoints, the time and the
endpoints that the request has tried already. An endpoint that could not be connected to is avoided
for `avoid_s` seconds. If all endpoints are avoided, they are tried nonetheless: one of them may be
available again, and a 503 would help nobody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf
from typing import NamedTuple, TypeAlias
from urllib.parse import quote, unquote_to_bytes, urlsplit

from thor.http.uri import show_uri
from thor.http.wire.target import DEFAULT_PORTS
from thor.tcp.address import join_host_port

#: How long an endpoint is avoided that could not be connected to, in seconds (fail_timeout of nginx
#: is 10; the default health check of HAProxy finds the server again within 2 to 6).
AVOID_S = 5.0


class Endpoint:
    """One server of a group.

    name: `host:port`, or `unix:PATH`
    scheme: "http" or "https", also of a Unix socket; host, port: its address, for a Unix socket
        `unix:PATH` and 0; prefix: prepended to the path of each request
    weight: its share of the requests, relative to the weights of the others
    """

    __slots__ = (
        "avoid_until",
        "base",
        "current_weight",
        "host",
        "name",
        "origin",
        "port",
        "prefix",
        "scheme",
        "weight",
    )

    def __init__(self, url: str, weight: int = 1) -> None:
        """Parse `url`; see `parse_endpoint`.

        Raises: ValueError for an invalid URL, or a weight below 1; the message describes the error
        """
        address = parse_endpoint(url)
        if weight < 1:
            raise ValueError(f"the weight of {url!r} is {weight}; it must be 1 or more")
        self.scheme, self.host, self.port = address.scheme, address.host, address.port
        self.name = address.name.encode("ascii")
        self.prefix = address.prefix.encode("ascii")
        self.origin = address.origin.encode("ascii")
        self.base = self.origin + self.prefix
        self.weight = weight
        self.avoid_until = 0.0
        self.current_weight = 0

    def __repr__(self) -> str:
        return f"<Endpoint {self.base.decode()}>"

    def target_for(self, target: bytes) -> bytes:
        """Return a request target with the prefix; `*` has no path, and stays."""
        return self.prefix + target if self.prefix and target != b"*" else target


#: Return the next endpoint for (endpoints, now, tried), or None.
Balancer: TypeAlias = "Callable[[Sequence[Endpoint], float, Collection[Endpoint]], Endpoint | None]"


class EndpointAddress(NamedTuple):
    """The parts of an endpoint's URL. prefix: without a trailing slash"""

    scheme: str
    host: str
    port: int
    name: str
    origin: str
    prefix: str


_EXPECTED = "it must be http://HOST[:PORT][/PREFIX], https:// the same, or unix:/PATH"


def parse_endpoint(url: str) -> EndpointAddress:
    """Parse an endpoint's URL.

    url: `http://HOST[:PORT][/PREFIX]` or `https://...`; for a Unix socket `unix:/PATH` (or
        `unix:@NAME`, an abstract one), or `http+unix://%2FPATH[/PREFIX]` and `https+unix://...`,
        with an encoded path, which allow a prefix
    Raises: ValueError; the message describes the error
    """
    if url[:5].lower() == "unix:":
        return _unix_address("http", url[5:], "", url)
    shown = show_uri(url.encode("ascii", "backslashreplace"))  # hides a password
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{shown} is no URL of an endpoint: {_EXPECTED}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"{shown} is no URL of an endpoint: {_EXPECTED}") from None
    prefix = parts.path.rstrip("/")
    scheme, _, kind = parts.scheme.partition("+")
    if scheme.encode() not in DEFAULT_PORTS or kind not in ("", "unix") or not parts.netloc:
        raise ValueError(f"{shown} is no URL of an endpoint: {_EXPECTED}")
    if parts.query or parts.fragment or "@" in parts.netloc or url.endswith(("?", "#")):
        raise ValueError(f"{shown} must have neither user, query nor fragment: {_EXPECTED}")
    if kind:
        path = os.fsdecode(unquote_to_bytes(parts.netloc))
        return _unix_address(scheme, path, prefix, url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{shown}: the port must be a number from 1 to 65535")
    host = parts.hostname
    if not host:
        raise ValueError(f"{shown} is no URL of an endpoint: {_EXPECTED}")
    port = port or DEFAULT_PORTS[scheme.encode()]
    authority = join_host_port(host, port)
    return EndpointAddress(scheme, host, port, authority, f"{scheme}://{authority}", prefix)


def _unix_address(scheme: str, path: str, prefix: str, url: str) -> EndpointAddress:
    """Return the address of a Unix socket. path: in the file system, or `@` and an abstract name"""
    if path[:1] not in ("/", "@") or len(path) < 2 or "\0" in path:
        raise ValueError(f"{url!r} names no Unix socket: {_EXPECTED}")
    name = f"unix:{quote(os.fsencode(path), safe='/@')}"
    origin = f"{scheme}+unix://{quote(os.fsencode(path), safe='')}"
    return EndpointAddress(scheme, f"unix:{path}", 0, name, origin, prefix)


def round_robin(
    endpoints: Sequence[Endpoint], now: float, tried: Collection[Endpoint]
) -> Endpoint | None:
    """Return the next endpoint in turn, in proportion to the weights and evenly mixed.

    The current weight of each endpoint grows by its weight; the highest one is chosen, and is
    reduced by the total (as in nginx): weights 5, 1, 1 give a a b a c a a, not five in a row.
    now: seconds on the loop's clock; tried: the endpoints that this request has tried
    Returns: None if it has tried all
    """
    best = None
    total = 0
    for endpoint in endpoints:
        if endpoint.avoid_until > now or endpoint in tried:
            continue
        total += endpoint.weight
        endpoint.current_weight += endpoint.weight
        if best is None or endpoint.current_weight > best.current_weight:
            best = endpoint
    if best is not None:
        best.current_weight -= total
    return best


#: The balancing methods by name.
BALANCERS: dict[str, Balancer] = {"round_robin": round_robin}


class Upstream:
    """A group of endpoints that can answer the same requests."""

    #: How long an endpoint is avoided that could not be connected to, in seconds.
    avoid_s = AVOID_S

    def __init__(
        self,
        urls: Iterable[str | tuple[str, int]],
        balance: str = "round_robin",
        name: str = "",
        *,
        request_trailers: bool = False,
    ) -> None:
        """Make the endpoints.

        urls: URLs as for `parse_endpoint`, or pairs of a URL and a weight
        balance: the balancing method, one of `BALANCERS`
        name: of the group, for messages
        request_trailers: whether the trailers of requests are forwarded to these servers; some
            servers take a trailer for a request
        Raises: ValueError for an invalid URL or weight, no URL, the same endpoint twice, or an
            unknown method; the message describes the error. TypeError for a single string
        """
        if isinstance(urls, str):
            raise TypeError("urls is a list of URLs, not one")
        if balance not in BALANCERS:
            raise ValueError(f"no balancing method {balance!r}; there are {', '.join(BALANCERS)}")
        self.endpoints = [
            Endpoint(entry) if isinstance(entry, str) else Endpoint(*entry) for entry in urls
        ]
        if not self.endpoints:
            raise ValueError("an upstream needs at least one endpoint")
        if len({endpoint.base for endpoint in self.endpoints}) < len(self.endpoints):
            raise ValueError("the same endpoint is given twice; give it a weight instead")
        self.balance = balance
        self.name = name
        self.request_trailers = request_trailers
        self._balancer = BALANCERS[balance]

    def __repr__(self) -> str:
        names = ", ".join(endpoint.name.decode() for endpoint in self.endpoints)
        return f"<Upstream {self.name or '-'} {self.balance} of {names}>"

    def pick(self, now: float, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        """Return the endpoint to try next.

        now: seconds on the loop's clock; tried: the endpoints that this request has tried
        Returns: None if it has tried all, or there are none
        """
        endpoints = self.endpoints
        if len(endpoints) == 1:
            return None if tried else endpoints[0]
        found = self._balancer(endpoints, now, tried)
        if found is None and len(tried) < len(endpoints):
            found = self._balancer(endpoints, inf, tried)
        return found

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """Avoid an endpoint that could not be connected to, for `avoid_s` seconds."""
        endpoint.avoid_until = now + self.avoid_s
        endpoint.current_weight = 0
