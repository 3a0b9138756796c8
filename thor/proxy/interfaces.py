"""The seams of a relay: to its proxy, and to what observes it.

Owns: the types on both sides, and nothing else. Must not know the relay, nor its observers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from thor.http.client import HttpClient
    from thor.http.error import HttpError, OutputError
    from thor.loop import LoopBase
    from thor.proxy.local_response import LocalResponse
    from thor.proxy.policy import Policy
    from thor.proxy.upstream import Endpoint, Upstream
    from thor.tcp import TcpConnection
    from thor.tcp.tunnel import Tunnel
    from thor.types import RawHeaders


class RelayServices(Protocol):
    """What a relay needs of its proxy."""

    loop: LoopBase
    upstream: Upstream
    client: HttpClient
    policy: Policy
    replay_limit: int

    def add_tunnel(
        self,
        downstream: TcpConnection,
        upstream: TcpConnection,
        done: Callable[[Tunnel], object] | None = None,
    ) -> None:
        """Join two connections, and call `done(tunnel)` when both are closed."""


class RequestHead(NamedTuple):
    """The head of a request as it goes upstream."""

    method: bytes
    target: bytes
    fields: RawHeaders


class ResponseHead(NamedTuple):
    """The head of a response as it goes downstream."""

    status: bytes
    phrase: bytes
    fields: RawHeaders


class RelayObserver(Protocol):
    """What a relay calls at each step of a request, if something observes it."""

    def on_request(self, head: RequestHead) -> RequestHead | LocalResponse | None:
        """Take the request before it goes upstream.

        Returns: what goes upstream; or a response in its place; or None if the client is gone
        """

    def on_attempt(self, endpoint: Endpoint) -> None:
        """Take note that the request goes to `endpoint`."""

    def on_request_body(self, count: int) -> None:
        """Count bytes of the request's body."""

    def on_response(self, head: ResponseHead) -> ResponseHead | LocalResponse | None:
        """Take the final response's head before it goes downstream.

        Returns: what goes downstream; or a response in its place; or None if the client is gone
        """

    def on_response_body(self, count: int) -> None:
        """Count bytes of the response's body."""

    def on_local_response(self, response: LocalResponse) -> None:
        """Take note of a response that the proxy makes itself."""

    def on_attempt_failed(self, error: HttpError) -> None:
        """Take note that an attempt failed; another may follow."""

    def refuse(self, error: OutputError) -> LocalResponse:
        """Take note of a mistake of the program. Returns: the response to it"""

    def on_tunnel(self, fields: RawHeaders) -> None:
        """Take note that the upstream switched protocols. fields: of its 101"""

    def on_tunnel_closed(self, tunnel: Tunnel) -> None:
        """Take note that both connections of the tunnel are closed."""

    def on_done(self, error: HttpError | None) -> None:
        """Take note that the last byte of the response has left, or that the exchange with the
        client failed."""
