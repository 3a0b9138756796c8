"""Connecting with TLS.

Owns: a client's settings, what they mean for a handshake, and which session it resumes. Must not
know how a connection encrypts, nor how the TCP connection is made.

Theory of operation: a `TlsClient` is a `TcpClient` with a handshake between the connection and the
event. Each `connect` is a `_Plan`, so that what is left of an earlier one cannot affect a later
one. The context is the program's own, or one of those that the clients of a loop share
(`context_cache.py`), which may not be ready when the TCP connection is.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from thor.tcp.client import ConnectAttempt, TcpClient
from thor.tls.connection import TlsConnection
from thor.tls.context import check_context
from thor.tls.context_cache import ContextKey, shared_context
from thor.tls.errors import reason_of
from thor.tls.handshake import HANDSHAKE_TIMEOUT_S, Handshake
from thor.tls.sessions import SessionEntry, sessions_of
from thor.tls.start_tls import StartTls
from thor.types import Address

if TYPE_CHECKING:
    import socket as socket_module

    from thor.loop import EventLoop
    from thor.tcp.connection import TcpConnection


class _Plan:
    """The settings of one `connect` or `start_tls`.

    name: which the server has to prove; where: the address, as the key of its sessions
    """

    def __init__(self, name: str | None, where: Hashable) -> None:
        self.name = name
        self.where = where
        self.context: ssl.SSLContext | None = None
        self.handshake: Handshake | None = None

    def make(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """Make OpenSSL's object, with a session to resume if there is one."""
        context = self.context
        assert context is not None
        assert self.handshake is not None
        sessions = sessions_of(context)
        # All that a handshake without the session would have verified.
        key = (self.name, self.where, context.verify_mode, context.check_hostname)
        self.handshake.conn.tls.session_entry = SessionEntry(sessions, key)
        return context.wrap_bio(
            incoming, outgoing, server_hostname=self.name, session=sessions.take(key)
        )


class TlsClient(TcpClient):
    """Makes TLS connections, one at a time; it can be used again and again.

    All that holds for a TcpClient holds for it too. These may be set on the class, a subclass or
    an instance, before `connect`:

    context: an `ssl.SSLContext`; `client_context()` makes one. None: one is made from the next
        three, and shared by all clients of the loop with the same settings. With a context they
        are ignored.
    verify: whether the server must present a certificate for its name, by an authority that the
        system trusts. With False, an attacker in between can read and change everything.
    alpn: the protocols to offer, the best first
    minimum_version: an `ssl.TLSVersion`; None is TLS 1.2
    server_hostname: the name to ask for and to verify; None is the host that is connected to
    handshake_timeout: how long the handshake may take, in seconds, within the time of `connect`;
        None or 0 is no limit of its own

    Emits, for each `connect()` or `start_tls()` one of these, unless `cancel()` is called or the
    loop stopped:
        connect(conn: TlsConnection): the handshake is done; the connection is paused.
        connect_error(errtype: type, error): as of a TcpClient; or `ssl.SSLError`, and the reason,
            a `str`, if the handshake failed. `error` of the client has the exception.
    """

    context: ssl.SSLContext | None = None
    verify: bool = True
    alpn: Sequence[str] = ()
    minimum_version: ssl.TLSVersion | None = None
    server_hostname: str | None = None
    handshake_timeout: float | None = HANDSHAKE_TIMEOUT_S

    def __init__(self, loop: EventLoop | None = None) -> None:
        TcpClient.__init__(self, loop)
        self._plan: _Plan | None = None
        self._start_tls: StartTls | None = None

    def connect(
        self, host: str | bytes, port: int | str | None, timeout: float | None = None
    ) -> None:
        """Connect to `port` on `host` with TLS; emit the result.

        host, port, timeout: as of a TcpClient; the timeout is for the handshake too
        Raises: RuntimeError if this client is connecting already; ValueError, TypeError
        """
        self._check_context()
        name = self._name_of(host)
        TcpClient.connect(self, host, port, timeout)
        self._prepare(_Plan(name, (host, port)))

    def start_tls(
        self, conn: TcpConnection, server_hostname: str, timeout: float | None = None
    ) -> None:
        """Begin TLS on an existing connection; emit the result.

        What was written on `conn` is sent before, unencrypted. After this call nothing is emitted
        on it any more: the connection of the `connect` event replaces it. A failure closes it.
        conn: of the same loop; may be a TlsConnection
        server_hostname: the name to ask for and to verify
        timeout: how long it may take, in seconds; None is no limit but `handshake_timeout`
        Raises: RuntimeError if this client is connecting already; ValueError, TypeError
        """
        self._check_context()
        name = _check_name(server_hostname)
        if conn.loop is not self.loop:
            raise ValueError("the connection is on another loop")
        self._check_free(timeout)
        self._start_tls = StartTls(conn, self._start_handshake, self._fail)
        self._begin(ConnectAttempt(self, f"{name} by TLS"), timeout)
        self._prepare(_Plan(name, conn.address))

    # -- the steps -----------------------------------------------------------------------------

    def _check_context(self) -> None:
        if self.context is not None:
            check_context(self.context, server_side=False)

    def _name_of(self, host: str | bytes) -> str | None:
        if self.server_hostname is not None:
            return _check_name(self.server_hostname)
        text = os.fsdecode(host)
        if not text.startswith("unix:"):
            # Not in a certificate: an interface, the final dot of an absolute name (RFC 6066
            # section 3). The resolver refuses an invalid name.
            return text.partition("%")[0] if ":" in text else text.removesuffix(".")
        context = self.context
        if self.verify if context is None else context.check_hostname:
            raise ValueError(f"{text} has no name to verify: server_hostname is needed")
        return None

    def _prepare(self, plan: _Plan) -> None:
        self._plan = plan
        if self.context is not None:
            plan.context = self.context
        else:
            key = ContextKey(self.verify, tuple(self.alpn), self.minimum_version)
            shared_context(self.loop, key, partial(self._on_context, plan))

    def _on_context(self, plan: _Plan, made: ssl.SSLContext | Exception) -> None:
        if plan is not self._plan:
            return
        if isinstance(made, Exception):
            text = f"no context could be made: {reason_of(made)}"
            self._fail(ssl.SSLError(ssl.SSL_ERROR_SSL, text))
            return
        plan.context = made
        if plan.handshake is not None:
            plan.handshake.start()

    def _on_tcp_connected(self, sock: socket_module.socket, address: Address) -> None:
        conn = self._make_connection(TlsConnection, sock, address)
        if conn is not None:
            self._start_handshake(conn)

    def _start_handshake(self, conn: TlsConnection) -> None:
        plan = self._plan
        assert plan is not None
        conn.server_name = plan.name
        limit = self.handshake_timeout
        on_aborted = partial(self._on_aborted, plan)
        plan.handshake = Handshake(
            conn, plan.make, limit, self._handshake_done, on_aborted=on_aborted
        )
        plan.handshake.begin(at_once=plan.context is not None)

    def _handshake_done(self, conn: TlsConnection, exc: OSError | None) -> None:
        plan, self._plan = self._plan, None
        if plan is not None:
            plan.handshake = None  # which holds it
        if exc is None:
            self._succeed(conn)
        else:
            self._fail(exc)

    def _on_aborted(self, plan: _Plan, exc: OSError) -> None:
        if plan is self._plan:
            self._fail(exc)

    def _error_args(self, exc: OSError) -> tuple[type[Exception], int | str | None]:
        if isinstance(exc, ssl.SSLError):
            return ssl.SSLError, reason_of(exc)
        return TcpClient._error_args(self, exc)

    def _end(self) -> None:
        plan, self._plan = self._plan, None
        if plan is not None and plan.handshake is not None:
            plan.handshake.cancel()
            plan.handshake.conn.abort()
            plan.handshake = None
        start_tls, self._start_tls = self._start_tls, None
        if start_tls is not None:
            start_tls.cancel()
        TcpClient._end(self)


def _check_name(name: str) -> str:
    """Return a host name without its final dot. Raises: ValueError if it is invalid"""
    host = name.removesuffix(".")
    try:
        if host.startswith(".") or "\0" in host:
            raise ValueError("it is no name of a host")
        if not host.encode("idna"):
            raise ValueError("it is empty")
    except ValueError as exc:
        raise ValueError(f"a server cannot be called {name!r}: {exc}") from None
    return host
