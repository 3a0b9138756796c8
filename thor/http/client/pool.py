"""The connections that the clients of one loop share.

Owns: which connections to a server there are, which of them are idle, and who waits for one. Must
not know messages, nor how a connection is made.

Theory of operation: an `OriginPool` has the connections that may stand in for each other: the same
target,
and settings that would have made the same connection. What the beginning of a URI comes to, with
certain settings, is remembered in `Routes`, so that a request to a known origin costs one look-up.
All of it is bounded; what is dropped from here is marked, for clients keep their routes.

An exchange that needs one gets the idle
connection that was used last (the others may time out), else a new one, else, at the limit of
`max_server_conn`, a place in a bounded queue. A connection that becomes free goes to who waits
longest.

The pool hangs on its loop and holds it only through connections, so that both go together. A loop
that was stopped, or that finds itself in a forked child, has forgotten its fds; `epoch` tells, and
the pool is made anew: nothing of the old one may be used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from thor.http.client.connect import ConnectAttempt
from thor.http.error import PoolFullError
from thor.http.headers import FieldsIn, field_pair
from thor.tcp.state import OPEN

if TYPE_CHECKING:
    from thor.http.client.connection import HttpClientConnection
    from thor.http.client.exchange import HttpClientExchange
    from thor.http.client.route import ConnectionSettings, ConnectTarget
    from thor.loop import LoopBase
    from thor.types import OriginType

#: Most groups that are kept when nothing is in them, most spellings of origins, and most different
#: settings: with each may go a TLS context of its own, which is large.
MAX_GROUPS = 1024
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

    __slots__ = ("authority", "fields", "group", "origin", "prefix")

    def __init__(
        self,
        group: OriginPool,
        origin: OriginType,
        authority: bytes,
        prefix: bytes = b"",
        fields: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.group = group
        self.origin = origin
        self.authority = authority
        self.prefix = prefix
        self.fields = fields

    def with_fields(self, headers: FieldsIn) -> FieldsIn:
        """A request's fields, and those for the proxy unless the program has its own.

        Raises: TypeError
        """
        own = (b"proxy-authorization", "proxy-authorization")
        if any(name.lower() in own for name, _ in map(field_pair, headers)):
            return headers
        return [*headers, *self.fields]


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
    """All groups of one loop, and the routes to them."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.groups: dict[Any, OriginPool] = {}
        self.routes: dict[Any, Routes] = {}
        self._remembered = 0

    def routes_for(self, settings: ConnectionSettings) -> Routes:
        """The routes of clients with these settings."""
        routes = self.routes.get(settings.key)
        if routes is None:
            if len(self.routes) >= MAX_SETTINGS:
                self._tidy()
            routes = self.routes[settings.key] = Routes(self.epoch, settings)
        return routes

    def origin_pool_for(self, target: ConnectTarget, settings: ConnectionSettings) -> OriginPool:
        """Return the pool for this target and these settings; make it if there is none."""
        key = (target, settings.key)
        group = self.groups.get(key)
        if group is None:
            if len(self.groups) >= MAX_GROUPS:
                self._tidy()
            group = self.groups[key] = OriginPool(target, settings)
        return group

    def remember(self, routes: Routes, beginning: bytes, route: Route) -> None:
        """Keep what the beginning of a URI came to."""
        if self._remembered >= MAX_ROUTES:
            self._drop_routes()
        self._remembered += 1
        routes[beginning] = route

    def _drop_routes(self) -> None:
        for routes in self.routes.values():
            routes.epoch = _DROPPED
            routes.clear()
        self.routes.clear()
        self._remembered = 0

    def _tidy(self) -> None:
        """Drop the routes, and the groups with nothing in them: nobody must come to one of those
        by an old route while another one takes its place."""
        self._drop_routes()
        for key in [key for key, group in self.groups.items() if group.is_empty()]:
            del self.groups[key]


def pool_of(loop: LoopBase) -> Pool:
    """The pool of a loop, made when it is first asked for and after the loop was stopped."""
    pool: Pool | None = vars(loop).get("_http_pool")
    if pool is None or pool.epoch != loop.epoch:
        pool = vars(loop)["_http_pool"] = Pool(loop.epoch)
    return pool


class OriginPool:
    """The connections that may stand in for each other."""

    def __init__(self, target: ConnectTarget, settings: ConnectionSettings) -> None:
        self.target = target
        self.settings = settings
        self.limits = settings.limits
        #: All connections that are open; `idle` has the order in which they became idle.
        self.open: set[HttpClientConnection] = set()
        self.idle: dict[HttpClientConnection, None] = {}
        self.connecting: dict[HttpClientExchange, ConnectAttempt] = {}
        self.waiting: dict[HttpClientExchange, None] = {}

    def __repr__(self) -> str:
        return (
            f"<OriginPool {self.target}: {len(self.open)} open, {len(self.idle)} idle, "
            f"{len(self.connecting)} connecting, {len(self.waiting)} waiting>"
        )

    def is_empty(self) -> bool:
        """Whether nothing would be lost with it."""
        return not (self.open or self.connecting or self.waiting)

    def _has_room(self, exchange: HttpClientExchange) -> bool:
        limit = exchange.client.max_server_conn
        return limit is None or len(self.open) + len(self.connecting) < limit

    def acquire(self, exchange: HttpClientExchange, fresh: bool = False) -> None:
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
                tcp_conn = connection.tcp_conn
                # A program may have kept the connection of its exchange, and closed it since.
                if tcp_conn is not None and tcp_conn.write_state is OPEN:
                    connection.begin(exchange)
                    return
        if self._has_room(exchange):
            self._connect(exchange)
        elif len(self.waiting) >= exchange.client.max_waiting:
            raise PoolFullError(f"{len(self.waiting)} for {self.target}")
        else:
            self.waiting[exchange] = None
            exchange._queued(self)

    def _connect(self, exchange: HttpClientExchange) -> None:
        self.connecting[exchange] = ConnectAttempt(self, exchange)
        exchange._connecting(self)

    def connected(self, exchange: HttpClientExchange, connection: HttpClientConnection) -> None:
        """The connection that was made for `exchange` is there."""
        del self.connecting[exchange]
        self.open.add(connection)
        connection.begin(exchange)

    def replace(self, connection: HttpClientConnection, exchange: HttpClientExchange) -> None:
        """Close a connection that has ended; `exchange`, which had it, gets a new one instead."""
        self._connect(exchange)  # before a request that waits gets the place that becomes free
        connection.close_idle()

    def connect_failed(self, exchange: HttpClientExchange) -> None:
        """No connection could be made for `exchange`."""
        del self.connecting[exchange]
        self._dequeue()

    def release(self, connection: HttpClientConnection) -> None:
        """A connection may be used again."""
        if self.waiting:
            exchange = next(iter(self.waiting))
            del self.waiting[exchange]
            connection.begin(exchange)
        else:
            self.idle[connection] = None

    def remove(self, connection: HttpClientConnection) -> None:
        """A connection is gone, or handed on. Harmless when done twice."""
        if connection in self.open:
            self.open.discard(connection)
            self.idle.pop(connection, None)
            self._dequeue()

    def cancel(self, exchange: HttpClientExchange) -> None:
        """`exchange` needs no connection any more."""
        self.waiting.pop(exchange, None)
        attempt = self.connecting.pop(exchange, None)
        if attempt is not None:
            attempt.cancel()
            self._dequeue()

    def _dequeue(self) -> None:
        """There may be room for who waits longest."""
        while self.waiting:
            exchange = next(iter(self.waiting))
            if not self._has_room(exchange):
                break
            del self.waiting[exchange]
            self._connect(exchange)
