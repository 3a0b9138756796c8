"""Networks in memory, records of what was emitted, and playbooks."""

from __future__ import annotations

import errno
import socket
from typing import Any
from unittest.mock import ANY

import pytest

from thor.events import EventEmitter
from thor.tcp import AddressRefused, TcpClient, TcpConnection, TcpServer
from thor.testing import (
    MemoryNetwork,
    Playbook,
    Recorder,
    advance,
    settle,
)

CONNECTION_EVENTS = ("data", "end", "pause", "close", "disconnect")


# -- a network ----------------------------------------------------------------------------------


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


def test_clients_and_servers_are_the_real_classes_in_memory(network: MemoryNetwork) -> None:
    assert issubclass(network.tcp_client_class, TcpClient)
    assert issubclass(network.tcp_server_class, TcpServer)


@pytest.mark.parametrize(
    ("host", "port"), [("example.com", 80), (b"example.com", "80"), ("example.com", "80")]
)
def test_a_client_reaches_the_server_of_its_host_and_port(
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


def test_a_connect_can_be_cancelled(network: MemoryNetwork) -> None:
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


def test_a_server_that_was_closed_is_not_reached(network: MemoryNetwork) -> None:
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


def test_a_servers_shutdown_resets_its_connections(network: MemoryNetwork) -> None:
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


def test_a_port_is_taken_once_and_zero_is_any(network: MemoryNetwork) -> None:
    network.tcp_server_class("example.com", 80)
    with pytest.raises(OSError, match="in use"):
        network.tcp_server_class("example.com", 80)
    ports = {network.tcp_server_class("example.com", 0).address[1] for _ in range(3)}
    assert len(ports) == 3
    assert 0 not in ports


# -- records ------------------------------------------------------------------------------------


def test_a_recorder_keeps_events_in_order() -> None:
    emitter = EventEmitter()
    heard = Recorder(emitter, "x", "y")
    emitter.emit("y", 1, None)
    emitter.emit("x")
    emitter.emit("z")
    assert heard.events == [("y", 1, None), ("x",)]
    assert heard.take() == [("y", 1, None), ("x",)]
    assert heard.take() == []


def test_bytes_that_follow_each_other_are_joined() -> None:
    emitter = EventEmitter()
    heard = Recorder(emitter, "data", "other")
    for data in (b"ab", b"c"):
        emitter.emit("data", data)
    emitter.emit("other", b"d")
    emitter.emit("data", b"e")
    emitter.emit("data", "not bytes")
    emitter.emit("data", "not bytes")
    assert heard.take() == [
        ("data", b"abc"),
        ("other", b"d"),
        ("data", b"e"),
        ("data", "not bytes"),
        ("data", "not bytes"),
    ]


def test_events_that_were_taken_are_not_joined_with_later_ones() -> None:
    emitter = EventEmitter()
    heard = Recorder(emitter, "data")
    emitter.emit("data", b"a")
    taken = heard.take()
    emitter.emit("data", b"b")
    assert (taken, heard.take()) == ([("data", b"a")], [("data", b"b")])


# -- playbooks ----------------------------------------------------------------------------------


@pytest.fixture
def play(network: MemoryNetwork) -> Playbook:
    """A client `near` at an echo server that says goodbye after an hour."""
    server = network.tcp_server_class("echo", 7)

    def serve(conn: TcpConnection) -> None:
        conn.on("data", conn.write)
        conn.pause(False)
        network.loop.schedule(3600, conn.write, b"goodbye")
        network.loop.schedule(3600, conn.close)

    server.on("connect", serve)
    play = Playbook(network.loop)
    play.watch("server", server, "start", "connect", "stop")
    play.peer("near", network.connect("echo", 7))
    return play.expect(("server", "start"), ("server", "connect", ANY))


def test_a_conversation_reads_like_one(play: Playbook, network: MemoryNetwork) -> None:
    play.send("near", b"hello ").send("near", b"world")
    play.expect(("near", "data", b"hello world"))
    play.advance(3600)
    play.expect(("near", "data", b"goodbye"), ("near", "end"))
    play.finish("near").expect(("near", "close"))
    (pair,) = network.pairs
    play.call(pair.client.abort).expect()


def test_an_expectation_that_fails_shows_the_story_and_a_diff(play: Playbook) -> None:
    play.send("near", b"hello").expect(("near", "data", b"hello"))
    play.send("near", b"again")
    with pytest.raises(AssertionError) as failure:
        play.expect(("near", "data", b"something else"), ("near", "end"))
    shown = str(failure.value).splitlines()
    assert "near sends b'hello'" in shown
    assert "    ('near', 'data', b'hello')" in shown
    assert "near sends b'again'" in shown
    assert "- ('near', 'data', b'something else')" in shown
    assert "+ ('near', 'data', b'again')" in shown
    assert "- ('near', 'end')" in shown


def test_any_is_no_difference(play: Playbook) -> None:
    play.send("near", b"hello")
    with pytest.raises(AssertionError) as failure:
        play.expect(("near", "data", ANY), ("near", "end"))
    shown = str(failure.value)
    assert "- ('near', 'end')" in shown
    assert "- ('near', 'data'" not in shown


def test_what_was_not_expected_fails_too(play: Playbook) -> None:
    play.send("near", b"hello")
    with pytest.raises(AssertionError, match=r"\+ \('near', 'data', b'hello'\)"):
        play.expect()


def test_the_order_counts(play: Playbook) -> None:
    play.advance(3600)
    with pytest.raises(AssertionError):
        play.expect(("near", "end"), ("near", "data", b"goodbye"))


def test_steps_that_raise_are_told(play: Playbook) -> None:
    with pytest.raises(KeyError):
        play.send("nobody", b"x")
