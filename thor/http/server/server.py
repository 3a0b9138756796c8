"""The HTTP server: settings, the listening socket, the connections.

Owns: what is listened on and which connections there are. Must not know messages.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, ClassVar, Unpack

from thor.events import EventEmitter
from thor.http.dates import format_date
from thor.http.http1.server_connection import READ_AHEAD_BYTES, HttpServerConnection
from thor.http.server.exchange import HttpServerExchange
from thor.http.streams import ServerConnection
from thor.http.wire.limits import Limits
from thor.loop.source import default_loop
from thor.tcp import TcpConnection, TcpServer
from thor.tls import TlsServer, reason_of
from thor.tls.server import TlsListenSettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from thor.http.http1.server_requests import ServerRequests
    from thor.loop import LoopBase
    from thor.types import Address

log = logging.getLogger("thor.http")

#: The settings that are the wire's.
WIRE_LIMITS = (
    "max_head_bytes",
    "max_head_fields",
    "max_field_bytes",
    "max_target_bytes",
    "max_method_bytes",
    "max_empty_lines",
    "max_chunk_extension_bytes",
    "max_chunk_extensions_bytes",
    "max_body_bytes",
    "fold",
    "refuse_host_mismatch",
    "strict_target",
)


class ServerSettings(TlsListenSettings, total=False):
    """The keyword arguments of an `HttpServer`."""

    tls: ssl.SSLContext | None


class HttpServer(EventEmitter):
    """An HTTP/1.1 server.

    The class variables are settings: a subclass or an instance may set them. Times are in
    seconds; None or 0 is no limit.

    Emits:
        start(): the server listens.
        exchange(exchange: HttpServerExchange): a request's head was accepted. Its events follow
            after the listener returns; answering in the listener works.
        refused(conn: TcpConnection, error: HttpError): a head was not accepted; it was answered
            and the connection closes. For logs.
        tls_error(address: Address, exc: Exception): a client's handshake failed; there was no
            request. Logged if nobody listens.
        accept_paused(errno: int), accept_resumed(): no fd was left to accept with; connections
            wait in the kernel's queue meanwhile.
        stop(): the server has stopped: at once after `shutdown()`, when the last connection has
            closed after `graceful_shutdown()`. Once.
    """

    emits = frozenset(
        ("start", "exchange", "refused", "tls_error", "accept_paused", "accept_resumed", "stop")
    )

    #: What is used as the TCP server; has the interface of `thor.TcpServer`.
    tcp_server_class: Callable[..., TcpServer] = TcpServer
    #: What is used with `tls`; has the interface of `thor.tls.TlsServer`.
    tls_server_class: Callable[..., TlsServer] = TlsServer
    #: What the exchanges are made of, such as `RecordedExchange`, for an access log.
    exchange_class: type[HttpServerExchange] = HttpServerExchange
    #: What speaks the protocols that TLS may have agreed on (ALPN, RFC 7301), but for HTTP/1.1,
    #: which is spoken where none is named. For Thor's own packages.
    protocols: ClassVar[Mapping[str, Callable[[TcpConnection, HttpServer], ServerConnection]]] = {}
    #: How long a connection may be idle between requests. nginx's keepalive_timeout is 75, ours
    #: is as documented.
    idle_timeout: float | None = 60
    #: How long a connection may be idle once the server shuts down gracefully: a request may be on
    #: its way, and a close would destroy it. It is answered with `Connection: close`. None or 0 is
    #: not at all.
    drain_idle_timeout: float | None = 5.0
    #: How long a whole head may take from its first byte. nginx's client_header_timeout is 60,
    #: Apache's 20 to 40.
    head_timeout: float | None = 30
    #: How long nothing may arrive of a body that the program reads (nginx: 60).
    body_timeout: float | None = 60
    #: Fewest bytes a second of a body, measured over 10 s in which some arrive; when none do it is
    #: `body_timeout` that counts (Kestrel and IIS: 240, Apache's RequestReadTimeout: 500).
    min_body_rate: float = 240
    #: How long a client may read nothing of its response (nginx's send_timeout: 60).
    send_timeout: float | None = 60
    #: How long the program may take to start its response.
    response_timeout: float | None = None
    #: How long a client that closed its side is still served when nothing can be sent.
    half_close_timeout: float | None = 60
    #: How long a client that was answered may take to close (nginx: 5, Apache: 2); None or 0 is
    #: not at all.
    linger_timeout: float | None = 2.0
    #: What is read and dropped meanwhile, in bytes; no more is read after that.
    linger_bytes = 64 * 1024
    #: The rest of a request that is read after its response, in bytes, for the sake of keeping the
    #: connection (Go: 256 KiB).
    drain_bytes = 256 * 1024
    #: Bytes of later requests that are read while one is dealt with; then the client has to wait
    #: (Node's streams: 64 KiB; nginx: 4 buffers of 8 KiB).
    read_ahead_bytes = READ_AHEAD_BYTES
    #: Bytes of a head in all; nginx has 4 buffers of 8 KiB, Node 16 KiB, Apache 100 lines of 8.
    max_head_bytes = 64 * 1024
    #: Fields of a head (HAProxy: 101, Apache: 100).
    max_head_fields = 128
    #: Bytes of one field line (Apache and nginx: 8 KiB, often raised).
    max_field_bytes = 32 * 1024
    #: Bytes of a request target (RFC 9112 section 3 asks for 8,000 at least).
    max_target_bytes = 8 * 1024
    #: Bytes of a method (the longest registered one has 17).
    max_method_bytes = 64
    #: Empty lines before a request line (RFC 9112 section 2.2 asks for one at least).
    max_empty_lines = 4
    #: Bytes of extensions of one chunk, and of all chunks of a message (Node: 16 KiB).
    max_chunk_extension_bytes = 4 * 1024
    max_chunk_extensions_bytes = 64 * 1024
    #: Bytes of a body; None is no limit.
    max_body_bytes: int | None = None
    #: What to do with a folded field line: "refuse", or "unfold" it (RFC 9112 section 5.2).
    fold = "refuse"
    #: Whether an absolute target with another authority than Host's is refused.
    refuse_host_mismatch = False
    #: Whether a target whose path or query does not keep to RFC 3986 is refused: `%` without two
    #: hex digits, quotes, `<>[]{}|^` and the like. Browsers send some of them.
    strict_target = False
    #: Asked about a connection without TLS on which a request for https came: whether its peer is
    #: trusted to have terminated TLS. Without that, it is a 421.
    trusts_https: Callable[[TcpConnection], bool] | None = None
    #: Whether a client that finished sending is taken to be gone.
    abort_on_half_close = False
    #: Whether a final response that has no Date gets one (RFC 9110 section 6.6.1).
    send_date = True

    def __init__(
        self,
        host: str | bytes | None,
        port: int | str | None,
        loop: LoopBase | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        **tcp_settings: Unpack[TlsListenSettings],
    ) -> None:
        """Listen on `host` and `port`, which may be all that `TcpServer` takes.

        tls: has https spoken; `thor.tls.server_context()` makes one
        tcp_settings: keyword arguments for the TCP server (`sock`, `backlog`, `reuse_port`,
            `mode`, `proxy_protocol`), with `tls` for the TLS server (`handshake_timeout`)
        Raises: OSError if that cannot be listened on, ValueError for a setting
        """
        self.loop = loop or default_loop()
        #: How many connections are open; the TCP server tracks which.
        self._open = 0
        # Read for every request, and cheaper to read here than through the class.
        self.exchange_class = self.exchange_class
        self.idle_timeout = self.idle_timeout
        self.send_date = self.send_date
        self.response_timeout = self.response_timeout
        self.date_valid_until = 0.0
        self.date_line = b""
        self.draining = False
        #: Clients wait to be accepted, and can only be when others have gone.
        self.crowded = False
        self._stopped = False
        self._listening = True
        self._limits_of: tuple[object, ...] = ()
        self.kept_requests: deque[ServerRequests] = deque()
        self._renew_limits()
        self.tls = tls
        if tls is None:
            server: TcpServer = self.tcp_server_class(host, port, self.loop, **tcp_settings)
        else:
            server = self.tls_server_class(host, port, self.loop, context=tls, **tcp_settings)
            server.on("tls_error", self._tls_failed)
        self.tcp_server = server
        server.on("start", self._started)
        server.on("connect", self._accepted)
        server.on("stop", self._on_listening_ended)
        server.on_listening_ended = self._stop_if_over
        server.on("proxy_refused", lambda *_: self._stop_if_over())
        server.on("accept_paused", self._accept_paused)
        server.on("accept_resumed", self._accept_resumed)

    def __repr__(self) -> str:
        return f"<HttpServer {self.address!r} with {self._open} connections>"

    @property
    def address(self) -> Address:
        """Where it listens; the real port when 0 was asked for."""
        return self.tcp_server.address

    @property
    def connection_count(self) -> int:
        """How many connections are open, those in a handshake among them."""
        return self._open + len(self.tcp_server.handshaking)

    @property
    def connections(self) -> list[ServerConnection]:
        """The connections that are open. Those that were upgraded are the program's."""
        conns = [*self.tcp_server.open_connections, *self.tcp_server.closed_by_stop]
        owners: list[object] = [conn.owner for conn in conns if isinstance(conn, TcpConnection)]
        return [owner for owner in owners if isinstance(owner, ServerConnection)]

    @property
    def has_tls(self) -> bool:
        """Whether clients come by TLS."""
        return self.tls is not None

    def _renew_limits(self) -> None:
        """Make the limits of messages anew, if a setting was changed since."""
        now = tuple(getattr(self, name) for name in WIRE_LIMITS)
        if now != self._limits_of:
            self._limits_of = now
            self.limits = Limits(**dict(zip(WIRE_LIMITS, now, strict=True)))
            kept = self.kept_requests
            self.kept_requests = deque(each for each in kept if not each.leave_if_idle())

    def shutdown(self) -> None:
        """Stop at once: what is queued is sent, exchanges in progress are lost; then `stop`."""
        self._listening = False
        self.tcp_server.close()
        self.tcp_server.abort_handshaking()  # those that a graceful end still waits for
        for connection in self.connections:
            connection.shutdown()
        self._stop_soon()

    def graceful_shutdown(self, idle_timeout: float | None = None) -> None:
        """Stop accepting, answer what is in flight with `Connection: close`, then `stop`.

        Who waits to be accepted is accepted before. A client that has no request in flight has
        `drain_idle_timeout` seconds for one; so has one whose handshake is under way, or whose
        PROXY header, when that is through. Called again, it changes nothing.

        idle_timeout: sets `drain_idle_timeout`; with 0, idle connections are closed at once, and
            so are those whose handshake or PROXY header is under way
        """
        if self.draining:
            return
        self.draining = True
        if idle_timeout is not None:
            self.drain_idle_timeout = idle_timeout
        if self._listening:
            self._listening = False
            self.tcp_server.graceful_shutdown()
        for connection in self.connections:
            connection.drain()
        if idle_timeout == 0:
            self.tcp_server.abort_handshaking()
        self._stop_if_over()

    def _stop_if_over(self) -> None:
        tcp_server = self.tcp_server
        on_the_way = tcp_server.listen_sockets or tcp_server.handshaking
        if self.draining and not self._open and not on_the_way:
            self._stop_soon()

    def _stop_soon(self) -> None:
        if not self._stopped:
            self._stopped = True
            self.loop.call_soon(self.emit, "stop")

    def _accept_paused(self, code: int) -> None:
        """Clients wait; if it is for room, those that are here must not keep it for ever."""
        if self.tcp_server.awaits_room:
            self.crowded = True
            for connection in self.connections:
                connection.make_room()
        self.emit("accept_paused", code)

    def _accept_resumed(self) -> None:
        self.crowded = False
        self.emit("accept_resumed")

    def _started(self) -> None:
        self.emit("start")

    def _on_listening_ended(self) -> None:
        if self._listening:  # it was not us
            self.graceful_shutdown()
        self._stop_if_over()

    def current_date_line(self) -> bytes:
        """CRLF and the Date field of a response; the clock is asked once a second. Empty if
        `send_date` is off."""
        now = self.loop.now
        if not self.send_date:
            return b""
        if now >= self.date_valid_until:
            wall = self.loop.time()
            self.date_valid_until = now + 1.0 - wall % 1.0
            self.date_line = b"\r\nDate: " + format_date(wall)
        return self.date_line

    def _tls_failed(self, address: Address, exc: Exception) -> None:
        if not self.emit("tls_error", address, exc):
            log.info("%r: no TLS with %r: %s", self, address, reason_of(exc))
        self._stop_if_over()

    def _accepted(self, tcp_conn: TcpConnection) -> None:
        self._renew_limits()
        self._open += 1
        agreed = getattr(tcp_conn, "alpn", None) or ""
        self.protocols.get(agreed, HttpServerConnection)(tcp_conn, self)

    def on_disconnected(self) -> None:
        self._open -= 1
        self._stop_if_over()
