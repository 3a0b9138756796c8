"""The connections that the clients of one loop share.

Owns: which connections to a server there are, which of them are idle, and who waits for one. Must
not know messages, nor how a connection is made.

Theory of operation: a `Group` has the connections that may stand in for each other: same origin,
and settings that would have made the same connection. An exchange that needs one gets the idle
connection that was used last (the others may time out), else a new one, else, at the limit of
`max_server_conn`, a place in a bounded queue. A connection that becomes free goes to who waits
longest.

The pool hangs on its loop and holds it only through connections, so that both go together. A loop
that was stopped, or that finds itself in a forked child, has forgotten its fds; `epoch` tells, and
the pool is made anew: nothing of the old one may be used again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thor.http.client.connect import Connecting
from thor.http.error import ConnectError
from thor.tcp.state import OPEN

if TYPE_CHECKING:
    from thor.http.client.connection import HttpClientConnection
    from thor.http.client.exchange import HttpClientExchange
    from thor.http.wire.limits import Limits
    from thor.loop import LoopBase
    from thor.types import OriginType

#: Most groups that are kept when nothing is in them, and most spellings of origins.
MAX_GROUPS = 1024
MAX_ROUTES = 4096


class Route:
    """Where requests with a certain beginning of their URI go.

    authority: what the URI says, for Host
    """

    __slots__ = ("authority", "group")

    def __init__(self, group: Group, authority: bytes) -> None:
        self.group = group
        self.authority = authority


class Pool:
    """All groups of one loop."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.groups: dict[Any, Group] = {}
        self.routes: dict[Any, Route] = {}

    def add(self, key: Any, group: Group) -> Group:
        """Keep a new group; the empty ones go when there are many."""
        groups = self.groups
        if len(groups) >= MAX_GROUPS:
            for old in [key for key, group in groups.items() if group.is_empty()]:
                del groups[old]
            self.routes.clear()
        groups[key] = group
        return group

    def remember(self, key: Any, route: Route) -> None:
        """Keep what a spelling of an origin, with settings, came to."""
        if len(self.routes) >= MAX_ROUTES:
            self.routes.clear()
        self.routes[key] = route


def pool_of(loop: LoopBase) -> Pool:
    """The pool of a loop, made when it is first asked for and after the loop was stopped."""
    pool: Pool | None = vars(loop).get("_http_pool")
    if pool is None or pool.epoch != loop._epoch:
        pool = vars(loop)["_http_pool"] = Pool(loop._epoch)
    return pool


class Group:
    """The connections that may stand in for each other.

    address: what is connected to, (host, port)
    """

    def __init__(self, origin: OriginType, address: tuple[str, int], limits: Limits) -> None:
        self.origin = origin
        self.address = address
        self.limits = limits
        #: All connections that are open; `idle` has the order in which they became idle.
        self.open: set[HttpClientConnection] = set()
        self.idle: dict[HttpClientConnection, None] = {}
        self.connecting: dict[HttpClientExchange, Connecting] = {}
        self.waiting: dict[HttpClientExchange, None] = {}

    def __repr__(self) -> str:
        return (
            f"<Group {self.origin!r}: {len(self.open)} open, {len(self.idle)} idle, "
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

        fresh: a new one, since the pooled ones may all have gone the same way
        Raises: ConnectError if too many wait already
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
                if tcp_conn is not None and tcp_conn._writing is OPEN:
                    connection.begin(exchange)
                    return
        if self._has_room(exchange):
            self._connect(exchange)
        elif len(self.waiting) >= exchange.client.max_waiting:
            raise ConnectError(f"{len(self.waiting)} requests wait for a connection already")
        else:
            self.waiting[exchange] = None
            exchange._queued(self)

    def _connect(self, exchange: HttpClientExchange) -> None:
        self.connecting[exchange] = Connecting(self, exchange)
        exchange._connecting(self)

    def connected(self, exchange: HttpClientExchange, connection: HttpClientConnection) -> None:
        """The connection that was made for `exchange` is there."""
        del self.connecting[exchange]
        self.open.add(connection)
        connection.begin(exchange)

    def unconnected(self, exchange: HttpClientExchange) -> None:
        """No connection could be made for `exchange`."""
        del self.connecting[exchange]
        self._serve()

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
            self._serve()

    def withdraw(self, exchange: HttpClientExchange) -> None:
        """`exchange` needs no connection any more."""
        self.waiting.pop(exchange, None)
        attempt = self.connecting.pop(exchange, None)
        if attempt is not None:
            attempt.cancel()
            self._serve()

    def _serve(self) -> None:
        """There may be room for who waits longest."""
        while self.waiting:
            exchange = next(iter(self.waiting))
            if not self._has_room(exchange):
                break
            del self.waiting[exchange]
            self._connect(exchange)
