"""The connections that the clients of one loop share.

Owns: which connections to a server there are, which of them are idle, and which exchanges wait for
one. Must not know messages, nor how a connection is made.

Theory of operation: an `OriginPool` has connections that are interchangeable: to the same target,
and with settings that would have made the same connection. Which one the beginning of a URI leads
to, with certain settings, is kept in `Routes`, so that a request to a known origin costs one
look-up. All of it is bounded; routes that are dropped from here are marked, for clients keep
theirs.

An exchange that needs a connection gets the idle one that was used last (the others may time out),
else a new one, else, at the limit of `max_server_conn`, a place in a bounded queue. A connection
that becomes free goes to the exchange that has waited longest. With HTTP/1.1 a connection serves
one exchange at a time; one of another protocol stays available as long as it has capacity.

The pool is an attribute of its loop and holds it only through connections, so that both go
together. A loop that was stopped, or that is in a forked child, has dropped its fds; `epoch` tells,
and the pool is made anew: nothing of the old one may be used again.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from thor.http.client.connect import ConnectAttempt
from thor.http.error import ConnectError, PoolFullError
from thor.http.headers import FieldsIn, field_pair

if TYPE_CHECKING:
    from thor.http.client.route import ConnectionSettings, ConnectTarget
    from thor.http.streams import ClientConnection, PoolWaiter
    from thor.loop import LoopBase
    from thor.types import OriginType

#: Most pools that are kept when nothing is in them, most spellings of origins, and most different
#: settings: with each may go a TLS context of its own, which is large.
MAX_ORIGIN_POOLS = 1024
MAX_ROUTES = 4096
MAX_SETTINGS = 64
#: The epoch of routes that are no longer the pool's.
_DROPPED = -1


class Route:
    """Where requests with a certain beginning of their URI go.

    origin: what the URI says; authority: the same, for Host
    prefix: what goes before path and query in the target: empty, or a proxy's absolute form
    fields: what a proxy is sent with each request
    """

    __slots__ = ("authority", "fields", "origin", "pool", "prefix")

    def __init__(
        self,
        pool: OriginPool,
        origin: OriginType,
        authority: bytes,
        prefix: bytes = b"",
        fields: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.pool = pool
        self.origin = origin
        self.authority = authority
        self.prefix = prefix
        self.fields = fields

    def with_fields(self, headers: FieldsIn) -> FieldsIn:
        """Return a request's fields, and those for the proxy unless the program has its own.

        Raises: TypeError
        """
        own = (b"proxy-authorization", "proxy-authorization")
        if any(name.lower() in own for name, _ in map(field_pair, headers)):
            return headers
        return [*headers, *self.fields]


class Location(NamedTuple):
    """Where a request goes: the route, and the request target."""

    route: Route
    target: bytes


class Routes(dict[bytes, Route]):
    """What the beginnings of URIs, up to the path, come to with certain settings.

    epoch: that of the loop for which it holds
    """

    __slots__ = ("epoch", "settings")

    def __init__(self, epoch: int, settings: ConnectionSettings) -> None:
        dict.__init__(self)
        self.epoch = epoch
        self.settings = settings


class Pool:
    """All pools of one loop, and the routes to them."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.origin_pools: dict[tuple[ConnectTarget, Hashable], OriginPool] = {}
        self.routes: dict[Hashable, Routes] = {}
        self._route_count = 0

    def routes_for(self, settings: ConnectionSettings) -> Routes:
        """Return the routes of clients with these settings."""
        routes = self.routes.get(settings.key)
        if routes is None:
            if len(self.routes) >= MAX_SETTINGS:
                self._tidy()
            routes = self.routes[settings.key] = Routes(self.epoch, settings)
        return routes

    def origin_pool_for(self, target: ConnectTarget, settings: ConnectionSettings) -> OriginPool:
        """Return the pool for this target and these settings; make it if there is none."""
        key = (target, settings.key)
        origin_pool = self.origin_pools.get(key)
        if origin_pool is None:
            if len(self.origin_pools) >= MAX_ORIGIN_POOLS:
                self._tidy()
            origin_pool = self.origin_pools[key] = OriginPool(target, settings)
        return origin_pool

    def keep_route(self, routes: Routes, beginning: bytes, route: Route) -> None:
        """Keep the route for the beginning of a URI."""
        if self._route_count >= MAX_ROUTES:
            self._drop_routes()
        self._route_count += 1
        routes[beginning] = route

    def close(self) -> None:
        """Drop the routes: the loop was stopped, and has closed the connections."""
        self._drop_routes()

    def _drop_routes(self) -> None:
        for routes in self.routes.values():
            routes.epoch = _DROPPED
            routes.clear()
        self.routes.clear()
        self._route_count = 0

    def _tidy(self) -> None:
        """Drop the routes, and the pools with nothing in them: no old route may lead to one of
        those while another one takes its place."""
        self._drop_routes()
        for key in [key for key, each in self.origin_pools.items() if each.is_empty()]:
            del self.origin_pools[key]


def pool_of(loop: LoopBase) -> Pool:
    """Return the pool of a loop; it is made at first, and after the loop was stopped."""
    return loop.local.get(Pool, lambda: Pool(loop.epoch))


class OriginPool:
    """The connections to one target that are interchangeable."""

    def __init__(self, target: ConnectTarget, settings: ConnectionSettings) -> None:
        self.target = target
        self.settings = settings
        self.limits = settings.limits
        #: All connections that are open; of those, the ones that can serve another exchange, in
        #: the order in which they became so.
        self.open: set[ClientConnection] = set()
        self.idle: dict[ClientConnection, None] = {}
        self.connecting: dict[PoolWaiter, ConnectAttempt] = {}
        self.waiting: dict[PoolWaiter, None] = {}

    def __repr__(self) -> str:
        return (
            f"<OriginPool {self.target}: {len(self.open)} open, {len(self.idle)} idle, "
            f"{len(self.connecting)} connecting, {len(self.waiting)} waiting>"
        )

    def is_empty(self) -> bool:
        """Return whether nothing would be lost with it."""
        return not (self.open or self.connecting or self.waiting)

    def _has_room(self, exchange: PoolWaiter) -> bool:
        limit = exchange.client.max_server_conn
        return limit is None or len(self.open) + len(self.connecting) < limit

    def acquire(self, exchange: PoolWaiter, fresh: bool = False) -> None:
        """Get `exchange` a connection: now, or when there is one.

        fresh: a new one, since the pooled ones may all have failed alike
        Raises: PoolFullError if too many wait already
        """
        idle = self.idle
        if fresh:
            if idle and not self._has_room(exchange):
                next(iter(idle)).close_idle()
        else:
            while idle:
                connection, _ = idle.popitem()
                if connection.begin(exchange):
                    if connection.capacity > 1:
                        self._offer(connection)
                    return
        if self._has_room(exchange):
            self._connect(exchange)
        elif len(self.waiting) >= exchange.client.max_waiting:
            raise PoolFullError(f"{len(self.waiting)} for {self.target}")
        else:
            self.waiting[exchange] = None
            exchange.on_queued(self)

    def _offer(self, connection: ClientConnection) -> None:
        """Keep a connection available that has capacity for more exchanges."""
        if connection.capacity > 1 and connection in self.open and connection.is_usable:
            self.idle[connection] = None

    def _connect(self, exchange: PoolWaiter) -> None:
        self.connecting[exchange] = ConnectAttempt(self, exchange)
        exchange.on_connecting(self)

    def connected(self, exchange: PoolWaiter, connection: ClientConnection) -> None:
        """Let `exchange` have the connection that was made for it."""
        del self.connecting[exchange]
        self.open.add(connection)
        if not connection.begin(exchange):
            connection.close_idle()
            exchange.connect_failed(ConnectError("the connection was closed at once"))
            return
        self._offer(connection)
        if connection in self.idle:
            self._serve_waiting(connection)

    def connect_failed(self, exchange: PoolWaiter) -> None:
        """Take note that no connection could be made for `exchange`."""
        del self.connecting[exchange]
        self._dequeue()

    def replace(self, connection: ClientConnection, exchange: PoolWaiter) -> None:
        """Close a connection that has ended; `exchange`, which had it, gets a new one instead."""
        self._connect(exchange)  # before a request that waits gets the place that becomes free
        connection.close_idle()

    def release(self, connection: ClientConnection) -> None:
        """Take note that a connection can serve another exchange; not once it is retired."""
        if connection in self.open:
            self.idle[connection] = None
            if self.waiting:
                self._serve_waiting(connection)

    def _serve_waiting(self, connection: ClientConnection) -> None:
        """Give a connection to the exchanges that have waited longest."""
        while self.waiting and connection in self.idle and connection.is_usable:
            exchange = next(iter(self.waiting))
            del self.waiting[exchange]
            del self.idle[connection]
            connection.begin(exchange)
            self._offer(connection)

    def retire(self, connection: ClientConnection) -> None:
        """Give a connection to no exchange any more. Harmless when done twice."""
        if connection in self.open:
            self.open.discard(connection)
            self.idle.pop(connection, None)
            self._dequeue()

    def cancel(self, exchange: PoolWaiter) -> None:
        """Forget an exchange that needs no connection any more."""
        self.waiting.pop(exchange, None)
        attempt = self.connecting.pop(exchange, None)
        if attempt is not None:
            attempt.cancel()
            self._dequeue()

    def _dequeue(self) -> None:
        """Connect for the exchanges that have waited longest, as far as there is room."""
        while self.waiting:
            exchange = next(iter(self.waiting))
            if not self._has_room(exchange):
                break
            del self.waiting[exchange]
            self._connect(exchange)
