"""A network in memory: servers and clients that reach each other by host and port.

Owns: which server listens where, and the client and server classes of the network. Must not know
what is sent on its connections.
"""

from __future__ import annotations

import errno
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from thor.loop import EventLoop
from thor.tcp import AddressRefused, TcpClient, TcpConnection, TcpServer
from thor.testing.memory import MemorySocket, Pair, as_socket, memory_loop, os_error, poller_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network


class MemoryNetwork:
    """Servers and clients that reach each other in memory, by host and port.

    tcp_client_class, tcp_server_class: a `TcpClient` and a `TcpServer` of this network, for
        `HttpClient.tcp_client_class` and the like; they use its loop unless another is given
    pairs: each connection that was accepted, oldest first
    errors: set `errors[host, port] = (errtype, code)` to have connects fail so, or None to have
        them never end; where nothing listens they fail with (socket.error, errno.ECONNREFUSED)
    """

    def __init__(self, loop: EventLoop | None = None) -> None:
        self.loop = loop or memory_loop()
        self.pairs: list[Pair] = []
        self.errors: dict[tuple[str, int], tuple[type[OSError], int] | None] = {}
        self.listening: dict[tuple[str, int], MemorySocket] = {}
        self._clients: dict[MemorySocket, TcpConnection] = {}
        self._ports = count(50000)
        self.tcp_client_class: type[TcpClient] = type(
            "MemoryTcpClient", (_Client,), {"network": self}
        )
        self.tcp_server_class: type[TcpServer] = type(
            "MemoryTcpServer", (_Server,), {"network": self}
        )

    def connect(self, host: str, port: int) -> TcpConnection:
        """Return a bare connection to a server of this network, for a peer that the test plays.

        The server accepts it when the loop runs next. Raises: KeyError if nothing listens
        """
        listener, poller = self.find_listener((host, port)), poller_of(self.loop)
        if listener is None or listener.backlog is None:
            raise KeyError((host, port))
        client = MemorySocket(poller, ("127.0.0.1", next(self._ports)), None)
        listener.backlog.append(MemorySocket(poller, listener.address, client))
        self._clients[client] = TcpConnection(as_socket(client), listener.address, self.loop)
        return self._clients[client]

    def find_listener(self, where: tuple[str, int]) -> MemorySocket | None:
        listener = self.listening.get(where)
        return None if listener is None or listener.is_closed else listener


def _where(host: str | bytes, port: int | str | None) -> tuple[str, int]:
    return (host if isinstance(host, str) else host.decode("ascii"), int(port or 0))


class _Client(TcpClient):
    """A `TcpClient` that connects in memory. `check_ip` is asked about the host as it is, but for
    a Unix socket's, which is refused."""

    network: MemoryNetwork

    def __init__(self, loop: EventLoop | None = None) -> None:
        TcpClient.__init__(self, loop or self.network.loop)

    def connect(
        self, host: str | bytes, port: int | str | None, timeout: float | None = None
    ) -> None:
        self.error = None
        attempt = self.loop.call_later(0, self._try, _where(host, port))
        self._lookup: Any = SimpleNamespace(cancel=attempt.delete)
        if timeout is not None:
            self._timer = self.loop.call_later(timeout, self._on_timeout)

    def _try(self, where: tuple[str, int]) -> None:
        errors = self.network.errors
        error = errors.get(where, (OSError, errno.ECONNREFUSED))
        check, in_files = self.check_ip, where[0].startswith("unix:")
        if check is not None and (in_files or not check(where[0])):
            self._fail(AddressRefused(errno.EACCES, "refused by check_ip", where[0]))
        elif where not in errors and self.network.find_listener(where) is not None:
            conn = self.network.connect(*where)
            try:
                self._send_header(conn.socket)
            except OSError as exc:
                conn.abort()
                self._fail(exc)
            else:
                self._succeed(conn)
        elif error is not None:
            self._fail(error[0](error[1], f"no connection to {where}"))


class _Server(TcpServer):
    """A `TcpServer` in memory. Options of real sockets mean nothing here."""

    network: MemoryNetwork

    def __init__(
        self,
        host: str | bytes | None,
        port: int | str | None,
        loop: EventLoop | None = None,
        *,
        sock: socket.socket | None = None,
        backlog: int | None = None,
        reuse_port: bool = False,
        mode: int | None = None,
        proxy_protocol: Iterable[str | IPv4Network | IPv6Network] | None = None,
    ) -> None:
        network = self.network
        where = _where(host or "", int(port or 0) or next(network._ports))
        if network.find_listener(where) is not None:
            raise os_error(errno.EADDRINUSE)
        listener = MemorySocket(poller_of(network.loop), where, None)
        network.listening[where] = listener
        TcpServer.__init__(
            self,
            None,
            None,
            loop or network.loop,
            sock=as_socket(listener),
            proxy_protocol=proxy_protocol,
        )

    def _track(self, conn: TcpConnection) -> None:
        end: Any = conn.socket
        self.network.pairs.append(Pair(self.network._clients.pop(end.peer), conn))
        TcpServer._track(self, conn)
