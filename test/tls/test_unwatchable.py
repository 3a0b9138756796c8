"""Connections that the loop cannot watch, or that somebody else aborts, while TLS begins."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from tls_support import CLIENT_EVENTS, NAME, serving, trusting

from thor.loop import LoopBase
from thor.loop.fd_registry import FdRegistry
from thor.tcp import TcpConnection
from thor.testing import MemoryNetwork, Recorder, connection_pair, settle
from thor.tls import TlsClient, TlsConnection, TlsServer, accept_tls
from thor.tls.lingering_close import LingeringClose


def refuse(*_: Any) -> Any:
    raise OSError(errno.ENOSPC, "no more watches")


@pytest.mark.parametrize("side", ["client", "server"])
def test_connection_that_cannot_be_watched_any_more_is_an_error(
    memory: LoopBase, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    pair = connection_pair(memory)
    if side == "server":
        maker: Any = accept_tls(pair.server, serving())
    else:
        maker = TlsClient(memory)
        maker.context = trusting()
        maker.start_tls(pair.client, NAME)
    heard = Recorder(maker, *CLIENT_EVENTS)
    monkeypatch.setattr(TlsConnection, "__init__", refuse)
    settle(memory)
    assert heard.take() == [("connect_error", socket.error, errno.ENOSPC)]
    ours = getattr(pair, side).socket
    assert ours.fileno() == -1
    getattr(pair, "client" if side == "server" else "server").abort()
    settle(memory)


def test_connection_that_cannot_be_watched_any_more_is_not_its_servers(
    memory: LoopBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = MemoryNetwork(memory)
    server = network.tcp_server_class("server", 80)
    errors: list[Any] = []

    def secure(conn: TcpConnection) -> None:
        accept_tls(conn, serving()).on("connect_error", lambda *error: errors.append(error))

    server.on("connect", secure)
    monkeypatch.setattr(TlsConnection, "__init__", refuse)
    settle(memory)
    client = network.connect("server", 80)
    settle(memory)
    assert errors == [(socket.error, errno.ENOSPC)]
    assert server.active_connections == 0
    client.abort()
    server.shutdown()
    settle(memory)


def test_farewell_that_cannot_be_watched_closes_the_socket(
    memory: LoopBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = connection_pair(memory)
    pair.server.detach_socket()
    with monkeypatch.context() as patch:
        patch.setattr(FdRegistry, "register", refuse)
        LingeringClose(memory, pair.server.socket, b"alert")
    assert pair.server.socket.fileno() == -1
    assert memory.scheduled_events() == []
    pair.client.abort()
    settle(memory)


@pytest.mark.parametrize("side", ["client", "server"])
def test_connection_that_somebody_aborts_during_the_handshake_is_an_error(
    memory: LoopBase, side: str
) -> None:
    pair = connection_pair(memory)
    maker, conn = _begin(memory, pair, side)
    heard = Recorder(maker, *CLIENT_EVENTS)
    conn.abort()
    assert heard.take() == []  # a method never emits
    settle(memory)
    assert heard.take() == [("connect_error", socket.error, errno.ECONNABORTED)]
    getattr(pair, "client" if side == "server" else "server").abort()
    settle(memory)
    assert memory.scheduled_events() == []


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("first", ["cancel", "abort"])
def test_handshake_that_is_cancelled_tells_nothing(memory: LoopBase, side: str, first: str) -> None:
    pair = connection_pair(memory)
    maker, conn = _begin(memory, pair, side)
    heard = Recorder(maker, *CLIENT_EVENTS)
    calls = [maker.cancel, conn.abort]
    for call in calls if first == "cancel" else reversed(calls):
        call()
    settle(memory)
    assert heard.take() == []
    getattr(pair, "client" if side == "server" else "server").abort()
    settle(memory)


def _begin(loop: LoopBase, pair: Any, side: str) -> tuple[Any, Any]:
    """Begin a handshake on one side alone. Returns: who makes it, and its connection"""
    if side == "server":
        acceptance = accept_tls(pair.server, serving())
        settle(loop)
        assert acceptance._handshake is not None
        return acceptance, acceptance._handshake.conn
    client = TlsClient(loop)
    client.context = trusting()
    client.start_tls(pair.client, NAME)
    settle(loop)
    assert client._plan is not None
    assert client._plan.handshake is not None
    return client, client._plan.handshake.conn


def test_server_that_is_shut_down_tells_of_no_handshakes(memory: LoopBase) -> None:
    """Its program has asked for it."""
    network = MemoryNetwork(memory)
    door = network.tcp_server_class("server", 80)
    listening = door.listen_sockets[0].socket
    door.listen_sockets[0].unregister_fd()
    server = TlsServer(None, None, memory, context=serving(), sock=listening)
    heard = Recorder(server, "connect", "tls_error", "stop")
    settle(memory)
    client = network.connect("server", 80)
    settle(memory)
    assert server.active_connections == 1
    server.shutdown()
    settle(memory)
    assert heard.take() == [("stop",)]
    client.abort()
    settle(memory)
