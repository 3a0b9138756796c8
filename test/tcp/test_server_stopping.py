"""A server: what becomes of its connections, and how it stops."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tcp_support import PEER_LIMIT_S, Party, fail_accepts, reset

from thor.tcp import TcpConnection
from thor_support import run_loop

# -- connections that nobody takes ---------------------------------------------------------------


def test_listener_that_raises_loses_its_connection_only(party: Party, expected_logs: Any) -> None:
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


def test_connection_is_reset_where_nobody_listens(party: Party) -> None:
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


@pytest.mark.parametrize(
    ("method", "accepted"), [("close", 1), ("shutdown", 1), ("graceful_shutdown", 3)]
)
def test_server_can_be_stopped_inside_any_event(party: Party, method: str, accepted: int) -> None:
    clients = [party.dial() for _ in range(3)]
    party.server.on("connect", lambda conn: getattr(party.server, method)())
    party.turns()
    assert party.names() == ["start", *["connect"] * accepted, *["stop"] * (accepted == 1)]
    assert len(party.conns) == accepted
    for conn in party.conns:
        conn.abort()
    party.turns()
    assert party.names() == ["start", *["connect"] * accepted, "stop"]
    for client in clients:
        with pytest.raises(ConnectionResetError):
            client.recv(1)


# -- who waits to be accepted --------------------------------------------------------------------


def all_are_served(party: Party, clients: list[socket.socket]) -> bool:
    """Whether each of the clients has a connection that works."""
    for conn in party.conns:
        conn.write(b"welcome")
        conn.close()
    party.turns()
    return [client.recv(100) for client in clients] == [b"welcome"] * len(clients)


@pytest.mark.parametrize("count", [1, 150])
def test_graceful_shutdown_accepts_who_waits(party: Party, count: int) -> None:
    party.turns()
    clients = [party.dial() for _ in range(count)]
    party.server.graceful_shutdown()
    run_loop(party.loop, lambda: len(party.conns) == count)
    party.turns()
    with pytest.raises(ConnectionRefusedError):
        party.dial()
    assert "stop" not in party.names()
    assert all_are_served(party, clients)
    run_loop(party.loop, lambda: "stop" in party.names())
    assert party.names().count("stop") == 1


def test_graceful_shutdown_before_the_start_accepts_who_waits(party: Party) -> None:
    clients = [party.dial()]
    party.server.graceful_shutdown()
    party.turns()
    assert party.names() == ["start", "connect"]
    assert all_are_served(party, clients)
    assert party.names() == ["start", "connect", "stop"]


def test_graceful_shutdown_accepts_on_every_interface_and_on_unix_sockets(
    party: Party, tmp_path: Path
) -> None:
    path = f"{tmp_path}/s"
    inside, unix = party.serve("", 0), party.serve(f"unix:{path}", None)
    party.turns()
    clients = [party.dial(unix)]
    for host in ("127.0.0.1", "::1") if socket.has_ipv6 else ("127.0.0.1",):
        address = (host, inside.address[1])
        clients.append(party.stack.enter_context(socket.create_connection(address, PEER_LIMIT_S)))
    unix.graceful_shutdown()
    assert not os.path.exists(path)
    inside.graceful_shutdown()
    party.turns()
    assert all_are_served(party, clients)


def test_those_that_go_on_coming_do_not_put_off_the_end(party: Party) -> None:
    """There is always one that waits."""
    server = party.serve("127.0.0.1", 0, backlog=1)
    refused: list[ConnectionError] = []

    def bring_another(conn: TcpConnection) -> None:
        try:
            party.dial(server)
        except ConnectionRefusedError as exc:
            refused.append(exc)

    server.on("connect", bring_another)
    party.turns()
    party.dial(server)
    server.graceful_shutdown()
    for _ in range(5):
        party.turns(1)
    with pytest.raises(ConnectionRefusedError):
        party.dial(server)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM])
def test_accepting_that_fails_once_at_the_end_is_tried_again(
    party: Party, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    party.meet()
    clients = [party.dial() for _ in range(3)]
    fail_accepts(monkeypatch, code, after=1)
    party.server.graceful_shutdown()
    party.turns()
    assert party.names() == ["start", "connect", "connect", "accept_paused"]
    party.conns[0].abort()  # its descriptor is free
    party.turns()
    assert party.names()[4:] == ["accept_resumed", "connect", "connect"]
    party.conns[:1] = []
    assert all_are_served(party, clients)
    assert party.names()[7:] == ["stop"]


def test_accepting_that_goes_on_failing_does_not_put_off_the_end(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    party.meet()
    first, second = party.dial(), party.dial()
    fail_accepts(monkeypatch, errno.EMFILE, after=1, for_ever=True)
    party.server.graceful_shutdown()
    party.turns()
    party.conns[0].abort()
    party.turns()
    with pytest.raises(ConnectionResetError):
        second.recv(1)
    del party.conns[0]
    assert all_are_served(party, [first])
    assert party.names() == ["start", "connect", "connect", "accept_paused", "stop"]
    assert party.loop.scheduled_events() == []


def test_accepting_that_goes_on_and_off_does_not_put_off_the_end(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One descriptor is left, and for each that is accepted another one comes."""
    server = party.serve("127.0.0.1", 0, backlog=1)

    def end_and_bring_another(conn: TcpConnection) -> None:
        conn.abort()
        with suppress(ConnectionRefusedError):
            party.dial(server)

    server.on("accept_paused", lambda code: None)
    server.on("connect", end_and_bring_another)
    party.turns()
    party.dial(server)
    fail_accepts(monkeypatch, *[0, errno.EMFILE] * 20)
    server.graceful_shutdown()
    party.turns(10)
    with pytest.raises(ConnectionRefusedError):
        party.dial(server)


def test_interrupt_while_those_who_wait_are_accepted_does_not_put_off_the_end(
    party: Party,
) -> None:
    server = party.serve("127.0.0.1", 0)
    stopped: list[bool] = []

    def interrupt(conn: TcpConnection) -> None:
        raise KeyboardInterrupt

    server.on("connect", interrupt)
    server.on("stop", lambda: stopped.append(True))
    party.turns()
    party.loop.schedule(0, party.dial, server)
    party.loop.schedule(0, server.graceful_shutdown)
    with pytest.raises(KeyboardInterrupt):
        party.turns()
    party.turns()
    assert stopped == [True]


def test_what_another_process_listens_on_is_accepted_empty_too(party: Party) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        theirs.settimeout(PEER_LIMIT_S)
        server = party.serve(None, None, sock=theirs.dup())
        party.turns()
        clients = [party.dial(server)]
        server.graceful_shutdown()
        party.turns()
        assert all_are_served(party, clients)
        later = party.dial(server)
        theirs.accept()[0].close()
        assert later.recv(1) == b""


@pytest.mark.parametrize("method", ["close", "shutdown"])
def test_who_waits_is_reset_by_other_ends_even_of_a_graceful_one(party: Party, method: str) -> None:
    party.turns()
    client = party.dial()
    party.server.graceful_shutdown()
    getattr(party.server, method)()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    party.turns()
    assert party.names() == ["start", "stop"]
