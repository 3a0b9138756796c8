"""`thor fetch -v`: the heads that are sent and received, on stderr.

Owns: the lines, which begin like those of curl: `*` information, `>` sent, `<` received. Bodies are
not shown. The server's bytes are escaped, so that they cannot control a terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from thor.cli.common import log_stderr
from thor.tcp import TcpClient
from thor.tls import TlsClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from thor.http.client import HttpClient
    from thor.loop import LoopBase
    from thor.tcp import TcpConnection

C = TypeVar("C", bound=TcpClient)


class Trace:
    """Shows the connections and the heads of one client."""

    def __init__(self, client: HttpClient) -> None:
        """Trace the connections of `client`, through the classes that connect it."""
        #: Whether the head of a request is still to be sent.
        self.head_due = False
        client.tcp_client_class = self._tracing(TcpClient)
        client.tls_client_class = self._tracing(TlsClient)

    def _tracing(self, cls: type[C]) -> Callable[[LoopBase], C]:
        def make(loop: LoopBase) -> C:
            return cls(loop).on("connect", self._on_connect)

        return make

    def _on_connect(self, conn: TcpConnection) -> None:
        address = conn.address
        where = f"{address[0]} port {address[1]}" if isinstance(address, tuple) else str(address)
        version = getattr(conn, "tls_version", None)
        if version is None:
            log_stderr(f"* connected to {where}")
        else:
            alpn = getattr(conn, "alpn", None) or "none"
            log_stderr(f"* {version} with {where}, {getattr(conn, 'cipher', None)}, ALPN {alpn}")
        write = conn.write

        def traced_write(data: bytes) -> bool:
            self._sent(data)
            return write(data)

        conn.write = traced_write  # type: ignore[method-assign,assignment]

    def _sent(self, data: bytes) -> None:
        if self.head_due:
            # A CONNECT to a proxy comes first; the head of the request follows in the tunnel.
            self.head_due = data.startswith(b"CONNECT ")
            _show(">", data.partition(b"\r\n\r\n")[0].split(b"\r\n"))

    def received(self, lines: list[bytes]) -> None:
        """Show the head of a response. lines: without their line ends"""
        _show("<", lines)


def _show(mark: str, lines: list[bytes]) -> None:
    for line in [*lines, b""]:
        log_stderr(f"{mark} {line.decode('ascii', 'backslashreplace')}")
