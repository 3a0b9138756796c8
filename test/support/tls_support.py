"""What the tests of TLS share: certificates, contexts, and connections that have shaken hands.

Owns: authorities made once for a run, pairs of connections in memory, servers and clients on the
loopback interface, and a peer in plain Python (`ssl` on a blocking socket, or on bytes) that the
test itself plays. Must not know any test.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, NamedTuple

from tcp_support import PEER_LIMIT_S
from tcp_support import Heard as Heard

from thor.loop import LoopBase
from thor.testing import Recorder, connection_pair, memory_loop, settle
from thor.tls import (
    Certified,
    DevelopmentCA,
    ServerContext,
    TlsClient,
    TlsConnection,
    TlsServer,
    accept_tls,
    client_context,
    server_context,
)
from thor_support import run_loop

#: The name that the tests' servers have.
NAME = "localhost"
#: The one address that their certificates are for too.
ADDRESS = "127.0.0.1"

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = {"TLSv1.2": TLS12, "TLSv1.3": TLS13}

CLIENT_EVENTS = ("connect", "connect_error")
SERVER_EVENTS = ("connect", "tls_error", "stop")


@cache
def authority() -> DevelopmentCA:
    """The authority that the tests' clients trust."""
    return DevelopmentCA("the tests' authority")


@cache
def stranger() -> DevelopmentCA:
    """One that nobody trusts."""
    return DevelopmentCA("a stranger")


@cache
def issued(*names: str, client: bool = False) -> Certified:
    """A certificate of the authority."""
    return authority().issue(names, client=client)


def serving(*names: str, **settings: Any) -> ServerContext:
    """A server's context; for `localhost` and its address unless others are named."""
    return server_context(*issued(*(names or (NAME, ADDRESS))), **settings)


def trusting(**settings: Any) -> ssl.SSLContext:
    """A client's context that trusts the authority."""
    return client_context(ca_file=authority().certificate, **settings)


def only(version: str) -> dict[str, Any]:
    """Settings of a context that speaks this version alone."""
    return {"minimum_version": VERSIONS[version], "maximum_version": VERSIONS[version]}


# -- in memory -----------------------------------------------------------------------------------


class SecurePair(NamedTuple):
    """Two connections that have shaken hands, each the other's peer, in memory."""

    client: TlsConnection
    server: TlsConnection

    @property
    def loop(self) -> LoopBase:
        return self.client.loop

    def settle(self) -> None:
        settle(self.loop)

    def end(self) -> None:
        """Leave nothing behind."""
        self.client.abort()
        self.server.abort()
        settle(self.loop)


def secure_pair(
    loop: LoopBase | None = None,
    *,
    client: ssl.SSLContext | None = None,
    server: ssl.SSLContext | None = None,
    name: str = NAME,
    over: SecurePair | None = None,
    **pair: Any,
) -> SecurePair:
    """Make a pair. over: the pair that it goes through; pair: what `connection_pair` takes"""
    loop = loop or (over.loop if over is not None else memory_loop())
    below: Any = over or connection_pair(loop, **pair)
    acceptance = accept_tls(below.server, server or serving())
    maker = TlsClient(loop)
    maker.context = client or trusting()
    heard = Recorder(maker, *CLIENT_EVENTS)
    accepted = Recorder(acceptance, *CLIENT_EVENTS)
    maker.start_tls(below.client, name)
    settle(loop)
    events = heard.events + accepted.events
    assert [event for event, *_ in events] == ["connect", "connect"], events
    return SecurePair(events[0][1], events[1][1])


class Bytes:
    """A TLS peer that the test plays with bytes alone: OpenSSL on two buffers."""

    def __init__(self, context: ssl.SSLContext, name: str | None = None) -> None:
        """name: the server's, as a client; None: it is the server"""
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.secure = context.wrap_bio(
            self.incoming, self.outgoing, server_side=name is None, server_hostname=name
        )

    def shake(self, data: bytes = b"") -> bytes:
        """Go on with the handshake. Returns: what is to be sent"""
        self.incoming.write(data)
        try:
            self.secure.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def say(self, data: bytes) -> bytes:
        """Encrypt. Returns: what is to be sent"""
        self.secure.write(data)
        return self.outgoing.read()

    def finish(self) -> bytes:
        """Returns: close_notify"""
        try:
            self.secure.unwrap()
        except ssl.SSLError:
            pass
        return self.outgoing.read()

    def hear(self, data: bytes) -> bytes:
        """Decrypt what is there; b"" is also close_notify, so ask `over`. Raises: ssl.SSLError"""
        self.incoming.write(data)
        found = []
        try:
            while piece := self.secure.read(1 << 16):
                found.append(piece)
            self.over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.over = True
        return b"".join(found)

    over = False


# -- on the loopback interface -------------------------------------------------------------------


class Meeting:
    """A TLS server on the loopback interface, clients of it, and what both emit."""

    def __init__(self, loop: LoopBase, stack: ExitStack, **server: Any) -> None:
        """server: what `TlsServer` takes"""
        self.loop = loop
        server.setdefault("context", serving())
        self.server = TlsServer(ADDRESS, 0, loop, **server)
        stack.callback(self.server.shutdown)
        self.heard = Recorder(self.server, *SERVER_EVENTS)
        self.port = self.server.address[1]

    def client(self, context: ssl.SSLContext | None = None, **settings: Any) -> TlsClient:
        """A client that is set so."""
        client = TlsClient(self.loop)
        client.context = context or trusting()
        for name, value in settings.items():
            setattr(client, name, value)
        return client

    def connect(
        self, context: ssl.SSLContext | None = None, host: str = NAME, **settings: Any
    ) -> Any:
        """Connect, and run the loop until it is known what comes of it.

        Returns: the connection, or the arguments of `connect_error`
        """
        client = self.client(context, **settings)
        return outcome(client, lambda: client.connect(host, self.port))

    def meet(self, context: ssl.SSLContext | None = None, **settings: Any) -> Any:
        """Connect. Returns: the client's connection and the server's"""
        conn = self.connect(context, **settings)
        assert isinstance(conn, TlsConnection), conn
        return conn, self.accepted()

    def accepted(self) -> TlsConnection:
        """The next connection that the server has accepted."""
        event, conn = self.next_event()
        assert event == "connect", conn
        assert isinstance(conn, TlsConnection)
        return conn

    def next_event(self) -> tuple[Any, ...]:
        """What the server emits next."""
        run_loop(self.loop, lambda: self.heard.events)
        return self.heard.events.pop(0)

    def refusal(self) -> BaseException:
        """Why the handshake failed that the server tells of next."""
        event, _, exc = self.next_event()
        assert event == "tls_error"
        assert isinstance(exc, BaseException)
        return exc

    def dial(self) -> socket.socket:
        """Return a connected socket that the test plays."""
        return socket.create_connection((ADDRESS, self.port), PEER_LIMIT_S)

    def until(self, happened: Callable[..., object]) -> None:
        run_loop(self.loop, happened)


def outcome(client: Any, begin: Callable[..., object]) -> Any:
    """Have a client begin, and run its loop until it is known what comes of it.

    Returns: the connection, or the arguments of `connect_error`
    """
    heard = Recorder(client, *CLIENT_EVENTS)
    begin()
    assert heard.events == []  # a method never emits
    run_loop(client.loop, lambda: heard.events)
    [(event, *rest)] = heard.take()
    return rest[0] if event == "connect" else tuple(rest)


@contextmanager
def meeting(loop: LoopBase, **server: Any) -> Iterator[Meeting]:
    """A server until the block ends; then all of its connections have to be gone."""
    with ExitStack() as stack:
        yield Meeting(loop, stack, **server)
    run_loop(loop, lambda: loop.fd_count() == 0)


def blocking(sock: Any, context: ssl.SSLContext, name: str | None = None) -> ssl.SSLSocket:
    """Wrap a socket that the test plays; the handshake is still to be made."""
    sock.settimeout(PEER_LIMIT_S)
    return context.wrap_socket(
        sock,
        server_side=name is None,
        server_hostname=name,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=False,
    )
