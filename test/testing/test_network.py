"""Networks in memory: servers and clients that reach each other by host and port."""

from __future__ import annotations

import errno
import socket
from inspect import signature
from typing import Any

import pytest
from tcp_support import port_of

from thor.tcp import AddressRefused, TcpClient, TcpServer
from thor.testing import (
    MemoryNetwork,
    Recorder,
    advance,
    settle,
)

CONNECTION_EVENTS = ("data", "end", "pause", "close", "disconnect")


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


def test_clients_and_servers_are_the_real_classes_in_memory(network: MemoryNetwork) -> None:
    assert issubclass(network.tcp_client_class, TcpClient)
    assert issubclass(network.tcp_server_class, TcpServer)


@pytest.mark.parametrize(
    ("host", "port"), [("example.com", 80), (b"example.com", "80"), ("example.com", "80")]
)
def test_client_reaches_the_server_of_its_host_and_port(
    network: MemoryNetwork, host: Any, port: Any
) -> None:
    server = network.tcp_server_class("example.com", 80)
    network.tcp_server_class("example.com", 81).on("connect", lambda conn: 1 / 0)
    client = network.tcp_client_class()
    at_server, at_client = Recorder(server, "start", "connect"), Recorder(client, "connect")
    client.connect(host, port, 5)
    settle(network.loop)
    (pair,) = network.pairs
    assert at_server.take() == [("start",), ("connect", pair.server)]
    assert at_client.take() == [("connect", pair.client)]
    assert server.address == ("example.com", 80)
    assert server.active_connections == 1
    advance(network.loop, 10)
    assert pair.client.tcp_connected
    pair.client.write(b"hello")
    heard = Recorder(pair.server, "data")
    pair.server.pause(False)
    settle(network.loop)
    assert heard.take() == [("data", b"hello")]


def test_nothing_is_emitted_inside_of_connect(network: MemoryNetwork) -> None:
    client = network.tcp_client_class()
    heard = Recorder(client, "connect", "connect_error")
    client.connect("example.com", 80)
    assert heard.take() == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param("unset", (socket.error, errno.ECONNREFUSED), id="nothing-listens"),
        pytest.param(
            (socket.gaierror, socket.EAI_NONAME), (socket.gaierror, socket.EAI_NONAME), id="name"
        ),
        pytest.param(
            (socket.error, errno.EHOSTUNREACH), (socket.error, errno.EHOSTUNREACH), id="errno"
        ),
        pytest.param(None, (socket.error, errno.ETIMEDOUT), id="never"),
    ],
)
def test_connects_fail_as_they_are_told(
    network: MemoryNetwork, error: Any, expected: tuple[Any, int]
) -> None:
    if error != "unset":
        network.tcp_server_class("example.com", 80)
        network.errors["example.com", 80] = error
    client = network.tcp_client_class()
    heard = Recorder(client, "connect", "connect_error")
    client.connect("example.com", 80, 5)
    advance(network.loop, 10)
    assert heard.take() == [("connect_error", *expected)]


def test_connect_can_be_cancelled(network: MemoryNetwork) -> None:
    server = network.tcp_server_class("example.com", 80)
    heard = Recorder(server, "connect")
    client = network.tcp_client_class()
    client.connect("example.com", 80, 5)
    client.cancel()
    advance(network.loop, 10)
    assert heard.take() == []
    assert network.loop.scheduled_events() == []


def test_check_ip_is_asked(network: MemoryNetwork) -> None:
    network.tcp_server_class("10.0.0.1", 80)
    client = network.tcp_client_class()
    client.check_ip = lambda ip: not ip.startswith("10.")
    heard = Recorder(client, "connect", "connect_error")
    client.connect("10.0.0.1", 80)
    settle(network.loop)
    assert heard.take() == [("connect_error", socket.error, errno.EACCES)]
    assert isinstance(client.error, AddressRefused)


def test_check_ip_leaves_no_way_to_a_unix_socket(network: MemoryNetwork) -> None:
    network.tcp_server_class("unix:/run/app", 0)
    client = network.tcp_client_class()
    client.check_ip = lambda ip: True
    heard = Recorder(client, "connect", "connect_error")
    client.connect("unix:/run/app", None)
    settle(network.loop)
    assert heard.take() == [("connect_error", socket.error, errno.EACCES)]


def test_server_that_was_closed_is_not_reached(network: MemoryNetwork) -> None:
    server = network.tcp_server_class("example.com", 80)
    heard = Recorder(server, "stop")
    settle(network.loop)
    server.close()
    settle(network.loop)
    assert heard.take() == [("stop",)]
    with pytest.raises(KeyError):
        network.connect("example.com", 80)
    network.tcp_server_class("example.com", 80)
    assert network.connect("example.com", 80)


def test_connections_that_wait_when_the_server_closes_are_reset(network: MemoryNetwork) -> None:
    server = network.tcp_server_class("example.com", 80)
    conn = network.connect("example.com", 80)
    heard = Recorder(conn, *CONNECTION_EVENTS)
    conn.pause(False)
    server.close()
    settle(network.loop)
    assert heard.take() == [("close",), ("disconnect",)]


def test_servers_shutdown_resets_its_connections(network: MemoryNetwork) -> None:
    server = network.tcp_server_class("example.com", 80)
    server.on("connect", lambda conn: None)
    conn = network.connect("example.com", 80)
    heard = Recorder(conn, *CONNECTION_EVENTS)
    conn.pause(False)
    settle(network.loop)
    server.shutdown()
    settle(network.loop)
    assert heard.take() == [("close",), ("disconnect",)]
    assert server.active_connections == 0


def test_port_is_taken_once_and_zero_is_any(network: MemoryNetwork) -> None:
    network.tcp_server_class("example.com", 80)
    with pytest.raises(OSError, match="in use"):
        network.tcp_server_class("example.com", 80)
    ports = {port_of(network.tcp_server_class("example.com", 0)) for _ in range(3)}
    assert len(ports) == 3
    assert 0 not in ports


def test_server_takes_the_settings_of_a_real_one_and_no_others(network: MemoryNetwork) -> None:
    settings: dict[str, Any] = {"backlog": 5, "reuse_port": True, "mode": 0o660, "sock": None}
    network.tcp_server_class("example.com", 80, **settings)
    with pytest.raises(TypeError, match="proxy_protocl"):
        network.tcp_server_class("example.com", 81, proxy_protocl=["127.0.0.1"])  # type: ignore[call-arg]
    for name, parameter in signature(TcpServer).parameters.items():
        assert parameter.kind == signature(network.tcp_server_class).parameters[name].kind
