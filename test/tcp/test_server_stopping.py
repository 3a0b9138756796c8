"""A server: what becomes of its connections, and how it stops."""

from __future__ import annotations

from typing import Any

import pytest
from tcp_support import Party, reset

from thor.tcp import TcpConnection
from thor_support import run_loop

# -- connections that nobody takes ---------------------------------------------------------------


def test_a_listener_that_raises_loses_its_connection_only(party: Party, expected_logs: Any) -> None:
    party.loop.on_exception = "log"

    def fail(conn: TcpConnection) -> None:
        raise RuntimeError("oops")

    party.server.once("connect", fail)
    first, second = party.dial(), party.dial()
    run_loop(party.loop, lambda: len(party.conns) == 2)
    party.turns()
    with pytest.raises(ConnectionResetError):
        first.recv(1)
    party.conns[1].write(b"welcome")
    party.turns()
    assert second.recv(100) == b"welcome"
    assert party.server.active_connections == 1


def test_a_connection_is_reset_where_nobody_listens(party: Party) -> None:
    party.server.remove_listeners("connect")
    client = party.dial()
    party.turns()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert party.server.active_connections == 0


# -- stopping ------------------------------------------------------------------------------------


def test_active_connections_counts_those_that_are_open(party: Party) -> None:
    counts = [party.server.active_connections]
    for _ in range(2):
        party.meet()
        counts.append(party.server.active_connections)
    party.conns[0].abort()
    party.turns()
    counts.append(party.server.active_connections)
    assert counts == [0, 1, 2, 1]


def test_shutdown_resets_connections_and_stop_comes_last(party: Party) -> None:
    client, conn = party.meet()
    conn.on("disconnect", lambda: party.heard.events.append(("disconnect",)))
    party.heard.take()
    party.server.shutdown()
    party.turns()
    assert party.heard.take() == [("disconnect",), ("stop",)]
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_shutdown_after_close_resets_what_is_left(party: Party) -> None:
    client, _ = party.meet()
    party.server.close()
    party.turns()
    party.heard.take()
    party.server.shutdown()
    party.turns()
    assert party.heard.take() == []
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_graceful_shutdown_stops_when_the_last_connection_has_closed(party: Party) -> None:
    clients = [party.meet()[0] for _ in range(2)]
    party.heard.take()
    party.server.graceful_shutdown()
    assert "draining" in repr(party.server)
    party.turns()
    with pytest.raises(ConnectionRefusedError):
        party.dial()
    party.conns[0].close()
    party.turns()
    assert party.heard.take() == []
    party.conns[1].pause(False)
    reset(clients[1])
    run_loop(party.loop, lambda: party.heard.events)
    assert party.heard.take() == [("stop",)]


def test_graceful_shutdown_without_connections_stops_soon(party: Party) -> None:
    party.turns()
    party.server.graceful_shutdown()
    party.turns()
    assert party.heard.take() == [("start",), ("stop",)]


def test_shutdown_ends_a_graceful_one(party: Party) -> None:
    party.meet()
    party.heard.take()
    party.server.graceful_shutdown()
    party.turns()
    party.server.close()
    party.turns()
    assert party.heard.take() == []
    party.server.shutdown()
    party.turns()
    assert party.heard.take() == [("stop",)]


@pytest.mark.parametrize("first", ["close", "shutdown", "graceful_shutdown"])
@pytest.mark.parametrize("second", ["close", "shutdown", "graceful_shutdown"])
def test_stop_is_emitted_once_whatever_is_called(party: Party, first: str, second: str) -> None:
    party.meet()
    party.heard.take()
    getattr(party.server, first)()
    getattr(party.server, second)()
    party.turns()
    party.conns[0].abort()
    party.turns()
    assert party.heard.take() == [("stop",)]


@pytest.mark.parametrize("method", ["close", "shutdown", "graceful_shutdown"])
def test_a_server_can_be_stopped_inside_any_event(party: Party, method: str) -> None:
    clients = [party.dial() for _ in range(3)]
    party.server.on("connect", lambda conn: getattr(party.server, method)())
    party.turns()
    assert party.names()[:2] == ["start", "connect"]
    assert len(party.conns) == 1
    for conn in party.conns:
        conn.abort()
    party.turns()
    assert party.names() == ["start", "connect", "stop"]
    for client in clients:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
