"""Accepting with TLS.

Owns: how many handshakes a server has under way, and what becomes of those that fail. Must not
know how a connection encrypts, nor how it is accepted.

Theory of operation: a connection belongs to the server from the moment it is accepted, so that it
is counted, and ends with the server; the program gets it after the handshake. A handshake is the
most work that an unauthenticated client can cause: half a millisecond, and some ten kilobytes. So
only a limited number is under way at a time. Further clients that have sent their first bytes wait,
in order, while their timeout runs. A silent connection does not count.
"""

from __future__ import annotations

import logging
import socket as socket_module
import ssl
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Unpack

from thor.events import EventEmitter
from thor.tcp.connect_event import emit_connect
from thor.tcp.connection import TcpConnection
from thor.tcp.server import ListenSettings, TcpServer
from thor.tls.connection import TlsConnection
from thor.tls.context import check_context
from thor.tls.errors import reason_of
from thor.tls.handshake import HANDSHAKE_TIMEOUT_S, Handshake
from thor.tls.reload import NamedObject, ServerContext
from thor.tls.start_tls import StartTls
from thor.types import Address

if TYPE_CHECKING:
    from thor.loop import EventLoop
    from thor.tcp.proxy_protocol import ProxyHeader
    from thor.tcp.transport import TrackedConnection

log = logging.getLogger("thor.tls")

#: Most handshakes at a time by default: half a second of work.
MAX_HANDSHAKES = 1024


class TlsListenSettings(ListenSettings, total=False):
    """The keyword arguments of a `TlsServer`, but for its context."""

    handshake_timeout: float | None
    max_handshakes: int


class TlsServer(TcpServer):
    """A TLS server. It listens from the moment it is made, and accepts when its loop runs.

    All that holds for a TcpServer holds for it too; connections count from when they are accepted.

    Emits, beside what a TcpServer emits:
        connect(conn: TlsConnection): after the handshake; the connection is paused.
        tls_error(address: Address, exc: OSError): a handshake failed: `ssl.SSLError`, or an error
            of the network, or TimeoutError; its text says what happened. The connection is closed.
            If nobody listens it is logged.
    """

    emits = frozenset(("connect", "tls_error"))

    def __init__(
        self,
        host: str | bytes | None,
        port: int | str | None,
        loop: EventLoop | None = None,
        *,
        context: ssl.SSLContext,
        handshake_timeout: float | None = HANDSHAKE_TIMEOUT_S,
        max_handshakes: int = MAX_HANDSHAKES,
        **more: Unpack[ListenSettings],
    ) -> None:
        """Listen on `port` of `host`.

        context: `server_context()` makes one
        handshake_timeout: how long a client may take, in seconds; None or 0 is no limit
        max_handshakes: how many handshakes are under way at a time; the others wait
        more: what a TcpServer takes
        Raises: OSError, if the port is in use for example; ValueError, TypeError
        """
        check_context(context, server_side=True)
        if max_handshakes < 1:
            raise ValueError("max_handshakes must be 1 or more")
        self.context = context
        self.handshake_timeout = handshake_timeout
        self.max_handshakes = max_handshakes
        self._handshakes: set[TrackedConnection] = set()
        self._waiting: deque[Handshake] = deque()
        TcpServer.__init__(self, host, port, loop, **more)

    def open_connection(
        self, sock: socket_module.socket, address: Address, header: ProxyHeader | None
    ) -> None:
        conn = self._make_connection(TlsConnection, sock, address, header)
        if conn is None:
            return
        self.handshaking.add(conn)
        make = partial(_make, self.context)
        Handshake(
            conn, make, self.handshake_timeout, self._handshake_done, self._on_first_byte
        ).begin()
        reload_if_due(self.context, self.loop)

    def _on_first_byte(self, handshake: Handshake) -> None:
        """Start a handshake, or hold it: its client has sent the first bytes."""
        if len(self._handshakes) < self.max_handshakes:
            self._handshakes.add(handshake.conn)
            handshake.start()
        else:
            handshake.hold()
            self._waiting.append(handshake)

    def _handshake_done(self, conn: TlsConnection, exc: OSError | None) -> None:
        self.handshaking.discard(conn)
        self._end_handshake(conn)
        if exc is None:
            _set_server_name(conn)
            self._emit_connect(conn)
        elif not self.emit("tls_error", conn.address, exc):
            log.info("no TLS with %r: %s", conn.address, reason_of(exc))

    def _end_handshake(self, conn: TrackedConnection) -> None:
        if conn in self._handshakes:
            self._handshakes.discard(conn)
            self.loop.call_soon(self._start_waiting)

    def _start_waiting(self) -> None:
        """Start the handshakes that wait, as many as there is room for."""
        while self._waiting and len(self._handshakes) < self.max_handshakes:
            handshake = self._waiting.popleft()
            if handshake.is_pending():
                self._on_first_byte(handshake)

    def on_connection_closed(self, conn: TrackedConnection) -> None:
        """Count `conn` no longer, nor its handshake: it has closed."""
        self._end_handshake(conn)
        TcpServer.on_connection_closed(self, conn)

    def on_loop_stopped(self) -> None:
        """Forget the handshakes: the loop was stopped, and has closed the connections."""
        self._handshakes.clear()
        self._waiting.clear()
        TcpServer.on_loop_stopped(self)


class TlsAcceptance(EventEmitter):
    """TLS that is beginning on an accepted connection. Made by `accept_tls`.

    error: the exception behind `connect_error`

    Emits one of these, unless `cancel()` is called or the loop stopped:
        connect(conn: TlsConnection): the handshake is done; the connection is paused. If nobody
            listens, or a listener raises, it is aborted.
        connect_error(errtype: type, error): it failed: `ssl.SSLError` and the reason, a `str`, or
            `socket.error` and an errno. The connection is closed.
    """

    emits = frozenset(("connect", "connect_error"))

    error: OSError | None = None

    def __init__(self, conn: TcpConnection, context: ssl.SSLContext, timeout: float | None) -> None:
        self._context = context
        self._timeout = timeout
        self._handshake: Handshake | None = None
        self._start_tls: StartTls | None = StartTls(conn, self._start_handshake, self._fail)

    def cancel(self) -> None:
        """Cancel: reset the connection, and emit nothing."""
        start_tls, self._start_tls = self._start_tls, None
        if start_tls is not None:
            start_tls.cancel()
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            handshake.cancel()
            handshake.conn.abort()

    def _start_handshake(self, conn: TlsConnection) -> None:
        self._start_tls = None
        make = partial(_make, self._context)
        self._handshake = Handshake(
            conn, make, self._timeout, self._handshake_done, on_aborted=self._on_aborted
        )
        self._handshake.begin()
        reload_if_due(self._context, conn.loop)

    def _handshake_done(self, conn: TlsConnection, exc: OSError | None) -> None:
        self._handshake = None
        if exc is None:
            _set_server_name(conn)
            emit_connect(self, conn)
        else:
            self._fail(exc)

    def _on_aborted(self, exc: OSError) -> None:
        if self._handshake is not None:
            self._handshake = None
            self._fail(exc)

    def _fail(self, exc: OSError) -> None:
        self._start_tls = None
        self.error = exc
        if isinstance(exc, ssl.SSLError):
            has_listener = self.emit("connect_error", ssl.SSLError, reason_of(exc))
        else:
            has_listener = self.emit("connect_error", socket_module.error, exc.errno)
        if not has_listener:
            log.info("TLS could not be started: %s", reason_of(exc))


def accept_tls(
    conn: TcpConnection,
    context: ssl.SSLContext,
    timeout: float | None = HANDSHAKE_TIMEOUT_S,
) -> TlsAcceptance:
    """Begin TLS, as the server, on an existing connection (STARTTLS).

    What was written on `conn` is sent before, unencrypted. After this call nothing is emitted on it
    any more: the connection of the `connect` event replaces it, at its server too.
    conn: may be a TlsConnection
    context: `server_context()` makes one
    timeout: how long the client may take, in seconds; None or 0 is no limit
    Returns: the emitter of the result
    Raises: ValueError if the program has closed `conn`, or for a client's context; TypeError
    """
    check_context(context, server_side=True)
    return TlsAcceptance(conn, context, timeout)


def _make(
    context: ssl.SSLContext, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> ssl.SSLObject:
    return context.wrap_bio(incoming, outgoing, server_side=True)


def _set_server_name(conn: TlsConnection) -> None:
    ssl_object = conn.tls.ssl_object
    if isinstance(ssl_object, NamedObject):
        conn.server_name = ssl_object.requested_name


def reload_if_due(context: ssl.SSLContext, loop: EventLoop) -> None:
    """Have a thread check the files of a context, if that is due."""
    if isinstance(context, ServerContext) and context.reload_due(loop.now):
        loop.run_in_thread(context.refresh, loop.now)
