"""Where requests are forwarded to: a named group of endpoints.

Owns: the endpoints, whose turn it is, and which of them are avoided for a while. Must not know
requests, connections or the loop: the time is handed in.

Theory of operation: a balancing method is a pure function of the endpoints, the time and those
that the request has tried already. An endpoint that could not be connected to is avoided for
`avoid_s` seconds; when all are, they are tried all the same, for a proxy that answers 503 while
an endpoint may be back is of no use to anybody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple, TypeAlias
from urllib.parse import quote, unquote_to_bytes, urlsplit

from thor.http.uri import show_uri
from thor.http.wire.target import DEFAULT_PORTS
from thor.tcp.address import join_host_port

#: How long an endpoint is avoided that could not be connected to, in seconds (nginx's
#: fail_timeout is 10, HAProxy's default check finds it again within 2 to 6).
AVOID_S = 5.0


class Endpoint:
    """One server of a group.

    name: `host:port`, or `unix:PATH`
    scheme: "http" or "https", also of a Unix socket; host, port: where it is, for a Unix socket
        `unix:PATH` and 0; prefix: what goes before each request's path
    weight: its share of the requests, against the others' weights
    """

    __slots__ = (
        "_current",
        "avoid_until",
        "base",
        "host",
        "name",
        "origin",
        "port",
        "prefix",
        "scheme",
        "weight",
    )

    def __init__(self, url: str, weight: int = 1) -> None:
        """url: see `parse_endpoint`

        Raises: ValueError for a URL that is none, or a weight below 1; the message says what is
            wrong
        """
        place = parse_endpoint(url)
        if weight < 1:
            raise ValueError(f"the weight of {url!r} is {weight}; it must be 1 or more")
        self.scheme, self.host, self.port = place.scheme, place.host, place.port
        self.name = place.name.encode("ascii")
        self.prefix = place.prefix.encode("ascii")
        self.origin = place.origin.encode("ascii")
        self.base = self.origin + self.prefix
        self.weight = weight
        self.avoid_until = 0.0
        self._current = 0

    def __repr__(self) -> str:
        return f"<Endpoint {self.base.decode()}>"

    def target_for(self, target: bytes) -> bytes:
        """A request target as it is here; `*` is the server as a whole, without any path."""
        return self.prefix + target if self.prefix and target != b"*" else target


Balance: TypeAlias = "Callable[[Sequence[Endpoint], float, Collection[Endpoint]], Endpoint | None]"


class EndpointAddress(NamedTuple):
    """Where an endpoint is, as its URL says. prefix: without a slash at its end"""

    scheme: str
    host: str
    port: int
    name: str
    origin: str
    prefix: str


_SHAPE = "it must be http://HOST[:PORT][/PREFIX], https:// the same, or unix:/PATH"


def parse_endpoint(url: str) -> EndpointAddress:
    """Take an endpoint's URL apart.

    url: `http://HOST[:PORT][/PREFIX]` or `https://...`; for a Unix socket `unix:/PATH` (or
        `unix:@NAME`, an abstract one), or with the path encoded, so that there can be a prefix,
        `http+unix://%2FPATH[/PREFIX]`, and `https+unix://...`
    Raises: ValueError; the message says what is wrong
    """
    if url[:5].lower() == "unix:":
        return _unix_place("http", url[5:], "", url)
    shown = show_uri(url.encode("ascii", "backslashreplace"))  # there may be a password in it
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{shown} is no URL of an endpoint: {_SHAPE}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"{shown} is no URL of an endpoint: {_SHAPE}") from None
    prefix = parts.path.rstrip("/")
    scheme, _, kind = parts.scheme.partition("+")
    if scheme.encode() not in DEFAULT_PORTS or kind not in ("", "unix") or not parts.netloc:
        raise ValueError(f"{shown} is no URL of an endpoint: {_SHAPE}")
    if parts.query or parts.fragment or "@" in parts.netloc or url.endswith(("?", "#")):
        raise ValueError(f"{shown} must have neither user, query nor fragment: {_SHAPE}")
    if kind:
        path = os.fsdecode(unquote_to_bytes(parts.netloc))
        return _unix_place(scheme, path, prefix, url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{shown}: the port must be a number from 1 to 65535")
    host = parts.hostname
    if not host:
        raise ValueError(f"{shown} is no URL of an endpoint: {_SHAPE}")
    port = port or DEFAULT_PORTS[scheme.encode()]
    authority = join_host_port(host, port)
    return EndpointAddress(scheme, host, port, authority, f"{scheme}://{authority}", prefix)


def _unix_place(scheme: str, path: str, prefix: str, url: str) -> EndpointAddress:
    """The place of a Unix socket. path: as the system knows it, or `@` and an abstract name"""
    if path[:1] not in ("/", "@") or len(path) < 2 or "\0" in path:
        raise ValueError(f"{url!r} names no Unix socket: {_SHAPE}")
    name = f"unix:{quote(os.fsencode(path), safe='/@')}"
    origin = f"{scheme}+unix://{quote(os.fsencode(path), safe='')}"
    return EndpointAddress(scheme, f"unix:{path}", 0, name, origin, prefix)


def round_robin(
    endpoints: Sequence[Endpoint], now: float, tried: Collection[Endpoint]
) -> Endpoint | None:
    """The next endpoint in turn, in proportion to the weights and evenly mixed.

    Each one's credit grows by its weight; the richest is taken, and pays what all of them got:
    weights 5, 1, 1 give a a b a c a a, not five in a row.
    now: seconds on the loop's clock; tried: those that this request has been to
    Returns: None if it has been to all
    """
    best = None
    total = 0
    for endpoint in endpoints:
        if endpoint.avoid_until > now or endpoint in tried:
            continue
        total += endpoint.weight
        endpoint._current += endpoint.weight
        if best is None or endpoint._current > best._current:
            best = endpoint
    if best is not None:
        best._current -= total
    return best


#: The balancing methods by name.
BALANCERS: dict[str, Balance] = {"round_robin": round_robin}


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
        """urls: `http://host[:port][/prefix]` and the like (see `parse_endpoint`), or pairs of
            that and a weight

        balance: how the next endpoint is found; see `BALANCERS`
        name: what the group is called, for people
        request_trailers: whether the trailers of requests are forwarded to these servers; some
            take a trailer for a request
        Raises: ValueError for a URL or weight that is none, no URL at all, the same endpoint
            twice, or a method that there is not; the message says what is wrong
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
        self._pick = BALANCERS[balance]

    def __repr__(self) -> str:
        names = ", ".join(endpoint.name.decode() for endpoint in self.endpoints)
        return f"<Upstream {self.name or '-'} {self.balance} of {names}>"

    def pick(self, now: float, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        """The endpoint to try next.

        now: seconds on the loop's clock; tried: those that this request has been to
        Returns: None if it has been to all, or there are none
        """
        endpoints = self.endpoints
        if len(endpoints) == 1:
            return None if tried else endpoints[0]
        found = self._pick(endpoints, now, tried)
        if found is None and len(tried) < len(endpoints):
            found = self._pick(endpoints, float("inf"), tried)
        return found

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """Note that `endpoint` could not be connected to: it is avoided for `avoid_s` seconds."""
        endpoint.avoid_until = now + self.avoid_s
        endpoint._current = 0
