"""The reverse proxy: a server, a client, and an upstream between them.

Owns: the listening side and the tunnels that are open. Must not know messages: a `Relay` takes
each exchange from here on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from thor.events import EventEmitter
from thor.http.client import HttpClient
from thor.http.server import HttpServer
from thor.loop.source import default_loop
from thor.proxy.flow import PHASES, WatchedRelay
from thor.proxy.forwarding import Policy
from thor.proxy.relay import Relay, peer_of
from thor.proxy.tunnel import Tunnel
from thor.proxy.upstream import Upstream

if TYPE_CHECKING:
    from thor.http.server import HttpServerExchange
    from thor.loop import LoopBase
    from thor.tcp import TcpConnection
    from thor.types import Address


class ProxyClient(HttpClient):
    """The client towards the upstream, with a proxy's settings."""

    #: nginx's proxy_connect_timeout is 60, HAProxy's examples have 5.
    connect_timeout = 5
    #: nginx's proxy_read_timeout and proxy_send_timeout.
    read_timeout = 60
    #: What is tried again is the relay's decision, at another endpoint. A pooled connection that
    #: turns out to be closed is replaced all the same.
    retry_limit = 0
    retry_body_limit = 64 * 1024
    fold = "refuse"


class ProxyServer(HttpServer):
    """The server towards clients, with a proxy's settings."""

    #: Fewer than the 128 of other servers, which may stand behind it: the proxy adds some fields.
    max_head_fields = 120


class ReverseProxy(EventEmitter):
    """Forwards requests to an upstream, and its responses back.

    The phases of a request are events with a `Flow`, which is only made when one of them has a
    listener. `server` and `client` are the two sides; their settings are theirs.

    Emits:
        request(flow: Flow): before anything goes upstream; `flow.respond()` answers instead.
        response(flow: Flow): the head of the upstream's response is there, and not yet passed on.
        done(flow: Flow): exactly once a request, last: the response has left, or the exchange or
            its tunnel is over.
        start(): it listens.
        stop(): it does not any more, and its last connection and tunnel are closed. Once.
    """

    emits = frozenset(("request", "response", "done", "start", "stop"))

    server_class: type[HttpServer] = ProxyServer
    client_class: type[HttpClient] = ProxyClient
    #: Bytes of a request's body that are held, so that it can be sent to another endpoint.
    replay_limit = 64 * 1024
    #: Seconds without a byte after which a tunnel is reset (HAProxy's examples: an hour).
    tunnel_timeout: float | None = 3600

    def __init__(
        self,
        host: str | bytes,
        port: int | str,
        upstream: Upstream,
        loop: LoopBase | None = None,
        *,
        pseudonym: str | None = None,
        trusted: Iterable[str] = (),
        drop_underscore_twins: bool = True,
        **tcp_settings: Any,
    ) -> None:
        """Listen on `host` and `port`.

        pseudonym, trusted, drop_underscore_twins: see `Policy`
        tcp_settings: keyword arguments for the server (`tls`, `proxy_protocol`, `sock`, ...)
        Raises: OSError if that cannot be listened on; ValueError for settings that are none
        """
        if not isinstance(upstream, Upstream):
            raise TypeError(f"upstream must be an Upstream, not {type(upstream).__name__}")
        self.loop = loop or default_loop()
        self.upstream = upstream
        secure = tcp_settings.get("tls") is not None
        self.policy = Policy(pseudonym, trusted, drop_underscore_twins, secure)
        self.client = self.client_class(self.loop)
        self.server = self.server_class(host, port, self.loop, **tcp_settings)
        if self.server.trusts_https is None:
            self.server.trusts_https = self._trusts_https
        self.server.tcp_server.fds_per_connection = 2  # one is the upstream's
        self.server.on("exchange", self._exchange)
        self.server.on("start", self._started)
        self.server.on("stop", self._server_stopped)
        self._tunnels: set[Tunnel] = set()
        self._stopping = False

    def __repr__(self) -> str:
        return f"<ReverseProxy {self.address!r} to {self.upstream!r}>"

    @property
    def address(self) -> Address:
        """Where it listens; the real port when 0 was asked for."""
        return self.server.address

    @property
    def connection_count(self) -> int:
        """How many connections of clients are open, tunnels among them."""
        return self.server.connection_count + len(self._tunnels)

    @property
    def tunnels(self) -> list[Tunnel]:
        """The tunnels that are open."""
        return list(self._tunnels)

    def shutdown(self) -> None:
        """Stop at once: exchanges and tunnels in progress are lost; then `stop`."""
        for tunnel in self.tunnels:
            tunnel.abort()
        self.server.shutdown()

    def graceful_shutdown(self, idle_timeout: float | None = None) -> None:
        """Stop accepting, finish what is in flight, tunnels included; then `stop`.

        idle_timeout: see `HttpServer.graceful_shutdown`
        """
        self.server.graceful_shutdown(idle_timeout)

    def _trusts_https(self, conn: TcpConnection) -> bool:
        return self.policy.trusts(peer_of(conn.address))

    def _exchange(self, inbound: HttpServerExchange) -> None:
        listeners = self._listeners
        if listeners is None or PHASES.isdisjoint(listeners):
            Relay(self, inbound).begin()
        else:
            WatchedRelay(self, inbound).begin()

    def add_tunnel(
        self, near: TcpConnection, far: TcpConnection, done: Callable[[Tunnel], Any] | None = None
    ) -> None:
        """Join a client's connection and an upstream's; `done(tunnel)` is called when both are
        closed."""

        def closed(tunnel: Tunnel) -> None:
            self._tunnels.discard(tunnel)
            if done is not None:
                done(tunnel)
            if self._stopping:
                self._stop_if_over()

        timeout = self.tunnel_timeout
        self._tunnels.add(Tunnel(near, far, self.loop, idle_timeout=timeout, done=closed))

    def _started(self) -> None:
        self.emit("start")

    def _server_stopped(self) -> None:
        self._stopping = True
        self._stop_if_over()

    def _stop_if_over(self) -> None:
        if not self._tunnels:
            self.emit("stop")
