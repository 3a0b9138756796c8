"""The reverse proxy: a server and a client, with a relay between them for each request.

Owns: the server, the client, and the open tunnels. Must not know messages: a `Relay` handles each
exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Unpack

from thor.events import EventEmitter
from thor.http.client import HttpClient
from thor.http.server import HttpServer
from thor.loop.source import default_loop
from thor.proxy.phases import PHASES, FlowPhases
from thor.proxy.policy import Policy, peer_ip
from thor.proxy.relay import Relay
from thor.proxy.upstream import Upstream
from thor.tcp.tunnel import join

if TYPE_CHECKING:
    from thor.http.server import HttpServerExchange
    from thor.http.server.server import ServerSettings
    from thor.loop import LoopBase
    from thor.tcp import TcpConnection
    from thor.tcp.tunnel import Tunnel
    from thor.types import Address


class ProxyClient(HttpClient):
    """The client that connects to the upstream, with settings for a proxy."""

    #: nginx's proxy_connect_timeout is 60, HAProxy's examples have 5.
    connect_timeout = 5
    #: nginx's proxy_read_timeout and proxy_send_timeout.
    read_timeout = 60
    #: The relay decides whether to try another endpoint. A pooled connection that turns out to be
    #: closed is still replaced.
    retry_limit = 0
    retry_body_limit = 64 * 1024
    fold = "refuse"


class ProxyServer(HttpServer):
    """The server for the clients, with settings for a proxy."""

    #: The proxy adds some fields, and other servers accept 128.
    max_head_fields = 120


class ReverseProxy(EventEmitter):
    """Forwards requests to an upstream, and its responses to the clients.

    The phases of a request are events with a `Flow`, which is only made if one of them has a
    listener. `server` and `client` are the two sides, with settings of their own.

    Emits:
        request(flow: Flow): before anything goes upstream; `flow.respond()` responds instead.
        response(flow: Flow): the head of the upstream's response has arrived, and nothing of it was
            forwarded yet.
        done(flow: Flow): exactly once for each request, last: the response has left, or the
            exchange failed, or its tunnel is closed.
        start(): it listens.
        stop(): it has stopped listening, and its last connection and tunnel are closed. Once.
    """

    emits = frozenset(("request", "response", "done", "start", "stop"))

    server_class: type[HttpServer] = ProxyServer
    client_class: type[HttpClient] = ProxyClient
    #: Bytes of a request's body that are kept, so that it can be sent to another endpoint.
    replay_limit = 64 * 1024
    #: Seconds without a byte after which a tunnel is reset (HAProxy's examples: an hour).
    tunnel_timeout: float | None = 3600

    def __init__(
        self,
        host: str | bytes | None,
        port: int | str | None,
        upstream: Upstream,
        loop: LoopBase | None = None,
        *,
        pseudonym: str | None = None,
        trusted: Iterable[str] = (),
        drop_underscore_headers: bool = True,
        drop_underscore_twins: bool | None = None,
        **tcp_settings: Unpack[ServerSettings],
    ) -> None:
        """Listen on `host` and `port`.

        pseudonym, trusted, drop_underscore_headers: see `Policy`
        drop_underscore_twins: an alias of `drop_underscore_headers`, its earlier name
        tcp_settings: keyword arguments for the server (`tls`, `proxy_protocol`, `sock`, ...)
        Raises: OSError if the address cannot be listened on; ValueError for invalid settings
        """
        if not isinstance(upstream, Upstream):
            raise TypeError(f"upstream must be an Upstream, not {type(upstream).__name__}")
        self.loop = loop or default_loop()
        self.upstream = upstream
        secure = tcp_settings.get("tls") is not None
        if drop_underscore_twins is not None:
            drop_underscore_headers = drop_underscore_twins
        self.policy = Policy(pseudonym, trusted, drop_underscore_headers, secure)
        self.client = self.client_class(self.loop)
        self.server = self.server_class(host, port, self.loop, **tcp_settings)
        if self.server.trusts_https is None:
            self.server.trusts_https = self._trusts_https
        self.server.tcp_server.fds_per_connection = 2  # each has a connection to the upstream
        self.server.on("exchange", self._relay)
        self.server.on("start", self._on_server_start)
        self.server.on("stop", self._on_server_stop)
        self._tunnels: set[Tunnel] = set()
        self._stopping = False

    def __repr__(self) -> str:
        return f"<ReverseProxy {self.address!r} to {self.upstream!r}>"

    @property
    def address(self) -> Address:
        """The address that it listens on, with the port that was assigned for 0."""
        return self.server.address

    @property
    def connection_count(self) -> int:
        """The number of open connections of clients, including tunnels."""
        return self.server.connection_count + len(self._tunnels)

    @property
    def tunnels(self) -> list[Tunnel]:
        """The open tunnels."""
        return list(self._tunnels)

    def shutdown(self) -> None:
        """Abort exchanges and tunnels in progress, and stop; then `stop` is emitted."""
        for tunnel in self.tunnels:
            tunnel.abort()
        self.server.shutdown()

    def graceful_shutdown(self, idle_timeout: float | None = None) -> None:
        """Stop accepting, and finish exchanges and tunnels in progress. Then `stop` is emitted.

        idle_timeout: see `HttpServer.graceful_shutdown`
        """
        self.server.graceful_shutdown(idle_timeout)

    def _trusts_https(self, conn: TcpConnection) -> bool:
        return self.policy.trusts(peer_ip(conn.address))

    def _relay(self, exchange: HttpServerExchange) -> None:
        relay = Relay(self, exchange)
        listeners = self._listeners
        if listeners is not None and not PHASES.isdisjoint(listeners):
            relay.observer = FlowPhases(self, relay, self.upstream, self.loop)
        relay.start()

    def add_tunnel(
        self,
        downstream: TcpConnection,
        upstream: TcpConnection,
        done: Callable[[Tunnel], object] | None = None,
    ) -> None:
        """Join a client's connection and an upstream's, and call `done(tunnel)` when both are
        closed."""

        def on_closed(tunnel: Tunnel) -> None:
            self._tunnels.discard(tunnel)
            if done is not None:
                done(tunnel)
            if self._stopping:
                self._emit_stop_if_drained()

        self._tunnels.add(join(downstream, upstream, on_closed, idle_timeout=self.tunnel_timeout))

    def _on_server_start(self) -> None:
        self.emit("start")

    def _on_server_stop(self) -> None:
        self._stopping = True
        self._emit_stop_if_drained()

    def _emit_stop_if_drained(self) -> None:
        if not self._tunnels:
            self.emit("stop")
