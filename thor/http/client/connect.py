"""The steps from a target to a connection.

Owns: one attempt to connect, and what its failure means. Must not know messages, nor who else
wants to connect.

Theory of operation: an attempt takes one to three steps, each with its own object: TCP, or TCP and
TLS in one; or one of these to a proxy, a CONNECT there, and TLS through the tunnel. `_step` is the
one in progress; it is what `cancel` has to end. The timeout is one for all of them.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from thor.http.client.tunnel import ProxyTunnel
from thor.http.error import AccessError, ConnectTimeoutError, HttpError, TlsError
from thor.http.http1.client_connection import Http1Pool, HttpClientConnection
from thor.http.transport_errors import connect_failure
from thor.tcp.client import describe_attempts

if TYPE_CHECKING:
    from thor.http.client.route import ConnectionSettings, ConnectTarget
    from thor.http.streams import ClientConnection, PoolWaiter
    from thor.loop import ScheduledEvent
    from thor.tcp import TcpClient, TcpConnection
    from thor.tls import TlsClient

#: What is spoken here, of what can be agreed on (RFC 7301 section 6).
ALPN_PROTOCOLS = ("http/1.1",)
HTTP1_PROTOCOLS = (None, "http/1.1", "http/1.0")


class AttemptPool(Http1Pool, Protocol):
    """What an attempt to connect knows of its pool."""

    target: ConnectTarget
    settings: ConnectionSettings

    def connected(self, exchange: PoolWaiter, connection: ClientConnection) -> None:
        """Let `exchange` have the connection that was made for it."""

    def connect_failed(self, exchange: PoolWaiter) -> None:
        """Take note that no connection could be made for `exchange`."""


class ConnectAttempt:
    """An attempt to connect, on behalf of one exchange."""

    def __init__(self, pool: AttemptPool, exchange: PoolWaiter) -> None:
        """Begin; what comes of it is told to the group and to the exchange, later."""
        self._pool = pool
        self._exchange = exchange
        self._refused = self._allowed = 0
        self._timer: ScheduledEvent | None = None
        client = exchange.client
        self._loop = loop = client.loop
        timeout = client.connect_timeout or None
        self._until = inf if timeout is None else loop.clock.monotonic() + timeout
        target, settings = pool.target, pool.settings
        name = target.proxy_name if target.tunnel else target.server_name
        if name is None:
            tcp_client: TcpClient = settings.tcp_client_class(loop)
        else:
            tcp_client = self._make_tls_client(name)
        if settings.check_ip is not None and not target.host.startswith("unix:"):
            tcp_client.check_ip = self._is_allowed
        self._step: TcpClient | ProxyTunnel | None = tcp_client
        tcp_client.on("connect", self._tunnel if target.tunnel else self._connected)
        tcp_client.on("connect_error", self._failed)
        tcp_client.connect(target.host, target.port, timeout)

    def cancel(self) -> None:
        """Give up; nothing is told."""
        self._cancel_step()

    def _cancel_step(self) -> None:
        step = self._step
        self._end_step()
        if step is not None:
            step.cancel()

    def _make_tls_client(self, server_name: str) -> TlsClient:
        settings = self._pool.settings
        tls_client = settings.tls_client_class(self._loop)
        tls_client.server_hostname = server_name
        tls_client.context = settings.tls_context
        tls_client.verify = settings.verify
        tls_client.alpn = (*settings.protocols, *ALPN_PROTOCOLS)
        return tls_client

    def _is_allowed(self, address: str) -> bool:
        check_ip = self._pool.settings.check_ip
        assert check_ip is not None
        allowed = False
        try:
            allowed = bool(check_ip(address))
        finally:
            if allowed:
                self._allowed += 1
            else:
                self._refused += 1
        return allowed

    def _end_step(self) -> None:
        # Its listeners hold us, and we hold it.
        step, self._step = self._step, None
        if step is not None and not isinstance(step, ProxyTunnel):
            step.remove_listeners("connect", "connect_error")
        if self._timer is not None:
            self._timer.delete()
            self._timer = None

    def _left_s(self) -> float | None:
        """Return the seconds until the deadline; None without a deadline."""
        return None if self._until == inf else max(0.0, self._until - self._loop.clock.monotonic())

    # -- the steps -----------------------------------------------------------------------------

    def _tunnel(self, tcp_conn: TcpConnection) -> None:
        """Ask the proxy for a tunnel to the server."""
        self._end_step()
        target, settings = self._pool.target, self._pool.settings
        assert settings.proxy is not None
        self._step = ProxyTunnel(
            tcp_conn,
            target.tunnel,
            settings.proxy.fields,
            settings.limits,
            self._on_tunnel,
            self._tunnel_failed,
        )
        left_s = self._left_s()
        if left_s is not None:
            self._timer = self._loop.call_later(left_s, self._time_out_tunnel)

    def _on_tunnel(self, tcp_conn: TcpConnection) -> None:
        """Start the TLS handshake with the server at the other end of the tunnel."""
        self._end_step()
        target = self._pool.target
        assert target.server_name is not None
        self._step = tls_client = self._make_tls_client(target.server_name)
        tls_client.on("connect", self._connected)
        tls_client.on("connect_error", self._failed_in_tunnel)
        tls_client.start_tls(tcp_conn, target.server_name, self._left_s())

    def _connected(self, tcp_conn: TcpConnection) -> None:
        """Hand the connection to the pool, for the protocol that ALPN selected."""
        self._end_step()
        agreed = getattr(tcp_conn, "alpn", None)
        make_connection = self._pool.settings.protocols.get(agreed or "")
        if make_connection is not None:
            connection = make_connection(tcp_conn, self._pool)
        elif agreed in HTTP1_PROTOCOLS:
            connection = HttpClientConnection(tcp_conn, self._pool)
        else:  # a context of the program's own may offer anything
            tcp_conn.abort()
            target = self._pool.target
            where = self._end_of_tunnel() if target.tunnel else str(target)
            self._give_up(TlsError(f"{where}: {agreed!r} was agreed on, not http/1.1"))
            return
        self._pool.connected(self._exchange, connection)

    # -- failing -------------------------------------------------------------------------------

    def _failed(self, errtype: type[Exception], code: int | str | None, *_: object) -> None:
        target = self._pool.target
        self._fail(f"proxy {target}" if target.tunnel else str(target), errtype, code)

    def _failed_in_tunnel(
        self, errtype: type[Exception], code: int | str | None, *_: object
    ) -> None:
        self._fail(self._end_of_tunnel(), errtype, code)

    def _fail(self, where: str, errtype: type[Exception], code: int | str | None) -> None:
        # A TCP client of the program's own need not keep the exception.
        exc = getattr(self._step, "error", None)
        attempts = describe_attempts(getattr(self._step, "errors", []))
        self._end_step()
        if self._refused and not self._allowed:
            self._give_up(AccessError(self._pool.target.host))
        else:
            self._give_up(connect_failure(where, errtype, code, exc, attempts))

    def _tunnel_failed(self, error: HttpError) -> None:
        self._end_step()
        self._give_up(type(error)(f"proxy {self._pool.target}: {error.detail}"))

    def _time_out_tunnel(self) -> None:
        self._cancel_step()
        self._give_up(ConnectTimeoutError(f"proxy {self._pool.target}, opening a tunnel"))

    def _give_up(self, error: HttpError) -> None:
        exchange = self._exchange
        self._pool.connect_failed(exchange)
        exchange.connect_failed(error)

    def _end_of_tunnel(self) -> str:
        target = self._pool.target
        return f"{target.tunnel.decode('ascii')} through proxy {target}"
