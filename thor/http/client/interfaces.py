"""What the client's modules know of each other where importing would be a cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from thor.http.client.pool import Location, Route
    from thor.loop import LoopBase


class ExchangeClient(Protocol):
    """What an exchange knows of its client: settings, see `HttpClient`, and where requests go."""

    loop: LoopBase
    idle_timeout: float | None
    connect_timeout: float | None
    read_timeout: float | None
    response_timeout: float | None
    exchange_timeout: float | None
    retry_limit: int
    retry_delay: float
    retry_body_limit: int
    max_server_conn: int | None
    max_waiting: int
    pool_timeout: float | None
    careful: bool

    def locate(self, method: bytes, uri: bytes) -> Location:
        """Find where a request goes. Raises: UrlError, AccessError"""

    def route_to(self, origin: bytes) -> Route:
        """Find where requests to an origin go. Raises: UrlError, AccessError"""
