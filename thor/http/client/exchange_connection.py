"""The connection of a client's exchange, as programs that exist use it: `exchange.conn`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from thor.http.streams import ClientStream
    from thor.tcp import TcpConnection


class ConnectedExchange(Protocol):
    """What the connection knows of its exchange."""

    stream: ClientStream | None
    res_version: bytes

    def cancel(self) -> None:
        """End the exchange silently."""


class ExchangeConnection:
    """The connection of one exchange, as long as it has it: what its program may do with it."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: ConnectedExchange) -> None:
        self._exchange = exchange

    @property
    def tcp_conn(self) -> TcpConnection | None:
        """The TCP connection; None once it is gone, or no longer this exchange's."""
        stream = self._exchange.stream
        return stream.tcp_conn if stream is not None else None

    @property
    def res_version(self) -> bytes:
        """The exchange's `res_version`."""
        return self._exchange.res_version

    def close(self) -> None:
        """End the exchange silently, like `cancel()`."""
        self._exchange.cancel()
