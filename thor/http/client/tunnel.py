"""Asking a proxy for a tunnel to a server.

Owns: the CONNECT request on a fresh connection to a proxy, and the proxy's answer (RFC 9110 section
9.3.6). Must not know what goes through the tunnel, nor how long it may take to get it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from thor.http.error import ConnectError, HttpError, ProxyError
from thor.http.wire.grammar import excerpt
from thor.http.wire.head import ResponseHead
from thor.http.wire.reader import ResponseReader
from thor.http.wire.writer import request_head

if TYPE_CHECKING:
    from thor.http.wire.limits import Limits
    from thor.tcp import TcpConnection
    from thor.types import HeadersIn


class ProxyTunnel:
    """A CONNECT on its way; the owner of the connection until it was answered."""

    def __init__(
        self,
        tcp_conn: TcpConnection,
        to: bytes,
        fields: HeadersIn,
        limits: Limits,
        done: Callable[[TcpConnection], object],
        failed: Callable[[HttpError], object],
    ) -> None:
        """Ask for a tunnel.

        to: `host:port`; fields: for the proxy
        done: called with the connection, paused, once it leads to `to`
        failed: called with the reason why it does not; the connection is gone then
        """
        self._tcp_conn: TcpConnection | None = tcp_conn
        self._to = to
        self._tell_done = done
        self._tell_failed = failed
        self._reader = ResponseReader(limits)
        self._reader.expect(b"CONNECT", False)
        head = request_head(
            b"CONNECT", to, fields, host=to, has_body=False, upgrade=None, te_trailers=False
        )
        tcp_conn.owner = self
        tcp_conn.write(head.data)
        tcp_conn.pause(False)

    def cancel(self) -> None:
        """Give up; nothing is told."""
        tcp_conn, self._tcp_conn = self._tcp_conn, None
        if tcp_conn is not None:
            tcp_conn.abort()

    def _fail(self, error: HttpError) -> None:
        if self._tcp_conn is not None:
            self.cancel()
            self._tell_failed(error)

    def _answered(self, head: ResponseHead) -> None:
        """Check the final response."""
        if not 200 <= head.status_code < 300:
            phrase = f" {excerpt(head.phrase)}" if head.phrase else ""
            self._fail(ProxyError(f"it answered {head.status_code}{phrase}"))
            return
        if self._reader.buffered:
            # A TLS server does not send first, so these bytes are not of the tunnel.
            self._fail(ProxyError("it sent more than its answer"))
            return
        tcp_conn, self._tcp_conn = self._tcp_conn, None
        assert tcp_conn is not None
        tcp_conn.owner = None
        tcp_conn.pause(True)
        self._tell_done(tcp_conn)

    # -- called by the transport ---------------------------------------------------------------

    def data(self, data: bytes) -> None:
        """Read the response to CONNECT."""
        self._reader.feed(data)
        try:
            while self._tcp_conn is not None:
                head = self._reader.read_head()
                if head is None:
                    break
                if head.status_code >= 200:
                    self._answered(head)
        except HttpError as exc:
            self._fail(ProxyError(str(exc)))

    def end(self) -> None:
        """Fail: the proxy has finished sending."""
        self._fail(ConnectError("it closed the connection"))

    def close(self, exc: OSError | None) -> None:
        """Fail: the connection is lost."""
        self._fail(ConnectError(str(exc) if exc is not None else "it closed the connection"))

    def pause(self, paused: bool) -> None:
        """Do nothing: only one head is written."""

    def write_blocked(self) -> None:
        """Do nothing, as for `pause`."""

    def hangup(self) -> None:
        """Do nothing: reading is never paused here."""

    def disconnect(self) -> None:
        """Do nothing: the end was handled before."""

    def failed(self, exc: BaseException) -> None:
        """Do nothing: the exception was logged."""
        self._fail(ConnectError(f"the program failed: {type(exc).__name__}"))
