"""What a client does, be it TCP or TLS: connecting, being cancelled, being used again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tcp_support import port_of
from tls_support import ADDRESS, CLIENT_EVENTS, outcome, serving, trusting

from thor.loop import LoopBase
from thor.tcp import TcpClient, TcpConnection, TcpServer
from thor.testing import Recorder
from thor.tls import TlsClient, TlsServer
from thor_support import run_loop


class Listening:
    """A server, the connections that it has accepted, and clients of it."""

    def __init__(self, loop: LoopBase, stack: ExitStack, secure: bool) -> None:
        self.loop, self.secure = loop, secure
        self.server = (
            TlsServer(ADDRESS, 0, loop, context=serving())
            if secure
            else TcpServer(ADDRESS, 0, loop)
        )
        stack.callback(self.server.shutdown)
        self.accepted: list[TcpConnection] = []
        self.server.on("connect", self.accepted.append)
        self.failed: list[object] = []
        if secure:
            self.server.on("tls_error", lambda *error: self.failed.append(error))

    def client(self) -> TcpClient:
        """Return a client that trusts the server."""
        if not self.secure:
            return TcpClient(self.loop)
        client = TlsClient(self.loop)
        client.context = trusting()
        return client

    def begin(self, client: TcpClient) -> None:
        """Have a client connect to the server."""
        client.connect(ADDRESS, port_of(self.server), 60)

    def connect(self, client: TcpClient) -> TcpConnection:
        """Return a client's connection."""
        conn = outcome(client, lambda: self.begin(client))
        assert isinstance(conn, TcpConnection), conn
        return conn

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.loop.run_once(0.01)


@pytest.fixture(params=["tcp", "tls"])
def listening(request: pytest.FixtureRequest, loop: LoopBase) -> Iterator[Listening]:
    """A server of either kind."""
    with ExitStack() as stack:
        yield Listening(loop, stack, request.param == "tls")
    loop.stop()


def test_connect_is_emitted_with_a_paused_connection(listening: Listening) -> None:
    conn = listening.connect(listening.client())
    run_loop(listening.loop, lambda: listening.accepted)
    [peer] = listening.accepted
    heard = Recorder(conn, "data")
    peer.write(b"hello")
    listening.turns(3)
    assert heard.events == []
    conn.pause(False)
    run_loop(listening.loop, lambda: heard.events)
    assert heard.take() == [("data", b"hello")]
    assert (conn.address, conn.local_address) == (peer.local_address, peer.address)
    assert listening.loop.scheduled_events() == []


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5])
def test_cancel_ends_connecting_silently_at_any_time(listening: Listening, turns: int) -> None:
    client = listening.client()
    heard = Recorder(client, *CLIENT_EVENTS)
    listening.begin(client)
    for _ in range(turns):
        listening.turns(1)
    done = list(heard.events)
    client.cancel()
    client.cancel()
    listening.turns(3)
    assert heard.events == done
    assert not [when for when, _ in listening.loop.scheduled_events() if when > 30]
    assert all(conn.tcp_connected for _, conn in done)  # it was there first


def test_client_connects_again_after_cancel(listening: Listening) -> None:
    client = listening.client()
    listening.begin(client)
    listening.turns(2)
    client.cancel()
    assert listening.connect(client).tcp_connected


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
def test_client_connects_again_after_the_loop_was_stopped(listening: Listening, turns: int) -> None:
    client = listening.client()
    heard = Recorder(client, *CLIENT_EVENTS)
    listening.begin(client)
    listening.turns(turns)
    done = len(heard.events)
    listening.loop.stop()
    assert len(heard.events) == done
    assert listening.loop.fd_count() == 0
    with ExitStack() as stack:
        again = Listening(listening.loop, stack, listening.secure)
        assert again.connect(client).tcp_connected


def test_client_connects_once_at_a_time(listening: Listening) -> None:
    client = listening.client()
    listening.begin(client)
    with pytest.raises(RuntimeError, match="connecting already"):
        listening.begin(client)
    client.cancel()


def test_client_is_used_again_in_its_own_listener(listening: Listening) -> None:
    client = listening.client()
    conns: list[TcpConnection] = []

    def again(conn: TcpConnection) -> None:
        conns.append(conn)
        if len(conns) < 3:
            listening.begin(client)

    client.on("connect", again)
    listening.begin(client)
    run_loop(listening.loop, lambda: len(conns) == len(listening.accepted) == 3)


def test_connection_that_nobody_listens_for_is_reset(listening: Listening) -> None:
    listening.begin(listening.client())
    run_loop(listening.loop, lambda: listening.accepted or listening.failed)
    for peer in listening.accepted:  # the reset comes after the server's part of the handshake
        heard = Recorder(peer, "close")
        peer.pause(False)
        run_loop(listening.loop, lambda heard=heard: heard.events)
