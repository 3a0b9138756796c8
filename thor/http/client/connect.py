"""The step from an origin to a connection.

Owns: one attempt to connect, and what its failure means. Must not know messages, nor who else
wants to connect.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from thor.http.client.connection import HttpClientConnection
from thor.http.error import (
    AccessError,
    ConnectError,
    ConnectTimeoutError,
    DnsError,
    HttpError,
)

if TYPE_CHECKING:
    from thor.http.client.exchange import HttpClientExchange
    from thor.http.client.pool import Group
    from thor.tcp import TcpConnection


class Connecting:
    """An attempt to connect, on behalf of one exchange."""

    def __init__(self, group: Group, exchange: HttpClientExchange) -> None:
        """Begin; what comes of it is told to the group and to the exchange, later."""
        self._group = group
        self._exchange = exchange
        self._refused = self._allowed = 0
        client = exchange.client
        self._check_ip = client.check_ip
        self._tcp_client = tcp_client = client.tcp_client_class(client.loop)
        if client.check_ip is not None:
            tcp_client.check_ip = self._is_allowed
        tcp_client.on("connect", self._connected)
        tcp_client.on("connect_error", self._failed)
        tcp_client.connect(*group.address, client.connect_timeout or None)

    def cancel(self) -> None:
        """Give up; nothing is told."""
        tcp_client = self._tcp_client
        self._end()
        tcp_client.cancel()

    def _is_allowed(self, address: str) -> bool:
        assert self._check_ip is not None
        allowed = False
        try:
            allowed = self._check_ip(address)
        finally:
            if allowed:
                self._allowed += 1
            else:
                self._refused += 1
        return allowed

    def _end(self) -> None:
        # Its listeners hold us, and we hold it.
        self._tcp_client.remove_listeners("connect", "connect_error")
        self._tcp_client = None

    def _connected(self, tcp_conn: TcpConnection) -> None:
        self._end()
        connection = HttpClientConnection(tcp_conn, self._group)
        self._group.connected(self._exchange, connection)

    def _failed(self, errtype: type[Exception], code: int, *_: Any) -> None:
        # A TCP client of the program's own need not keep the exception.
        why = getattr(getattr(self._tcp_client, "error", None), "strerror", None)
        self._end()
        exchange = self._exchange
        self._group.unconnected(exchange)
        exchange._unconnected(self._error(errtype, code, why))

    def _error(self, errtype: type[Exception], code: int, why: str | None) -> HttpError:
        host, port = self._group.address
        if self._refused and not self._allowed:
            return AccessError(host)
        # The class is told by its name: sockets are not this room's.
        if errtype.__name__ == "gaierror":
            return DnsError(f"{host}: {why or code}")
        if code == errno.ETIMEDOUT:
            return ConnectTimeoutError(f"{host} port {port}")
        if errtype is OSError:
            why = os.strerror(code)
        return ConnectError(f"{host} port {port}: {why or code}")
