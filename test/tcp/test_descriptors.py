"""Accepting pauses before the descriptors run out."""

from __future__ import annotations

import errno
import resource
from typing import Any

import pytest
from tcp_support import Party, fail_accepts

from thor.tcp import acceptor
from thor.tcp import server as server_module
from thor.tcp.descriptors import has_room, reserved_fds
from thor_support import run_loop


class Limit:
    """The limit of descriptors, as the process is told it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fds = resource.RLIM_INFINITY
        monkeypatch.setattr(resource, "getrlimit", lambda which: (self.fds, self.fds))

    def allow(self, fds: int) -> None:
        """Set it so that what is not kept back is this many."""
        self.fds = next(limit for limit in range(1 << 20) if limit - reserved_fds(limit) == fds)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    return Limit(monkeypatch)


class Watched:
    """A loop that watches so many fds."""

    def __init__(self, fds: int) -> None:
        self.fds = fds

    def fd_count(self) -> int:
        return self.fds


@pytest.mark.parametrize(
    ("watched", "connections", "each", "needed"),
    [
        pytest.param(11, 10, 1, 12, id="one each, and the listening socket"),
        pytest.param(11, 10, 2, 22, id="two each, which are not there yet"),
        pytest.param(20, 10, 2, 22, id="two each, which are there"),
        pytest.param(35, 10, 2, 37, id="others are more than the connections may need"),
        pytest.param(11, 10, 3, 33, id="three each"),
    ],
)
def test_descriptors_are_enough_for_what_connections_may_need(
    limit: Limit, watched: int, connections: int, each: int, needed: int
) -> None:
    loop: Any = Watched(watched)
    limit.allow(needed)
    assert has_room(loop, connections, each)
    limit.allow(needed - 1)
    assert not has_room(loop, connections, each)


def test_descriptors_are_enough_for_the_first_connection(limit: Limit) -> None:
    loop: Any = Watched(1000)
    limit.fds = 16
    assert has_room(loop, 0, 2)


def test_descriptors_without_a_limit_are_enough(limit: Limit) -> None:
    loop: Any = Watched(1 << 30)
    assert has_room(loop, 1 << 30, 2)


@pytest.mark.parametrize(("fds", "kept"), [(64, 20), (1024, 80), (65536, 144)])
def test_descriptors_are_kept_back(fds: int, kept: int) -> None:
    assert reserved_fds(fds) == kept


def test_server_pauses_before_descriptors_run_out(party: Party, limit: Limit) -> None:
    limit.allow(3)  # the listening socket, and two connections
    clients = [party.dial() for _ in range(5)]
    party.turns()
    assert party.names() == ["start", "connect", "connect", "accept_paused"]
    assert party.heard.take()[-1] == ("accept_paused", errno.EMFILE)
    for number, conn in enumerate(party.conns[:2], 1):
        conn.close()
        party.turns()
        assert party.names() == ["connect"] * number  # which is no news
    party.conns[2].close()
    party.turns()
    assert party.names() == ["connect"] * 3
    party.conns[3].close()
    party.turns()
    assert party.names() == ["connect"] * 3 + ["accept_resumed"]
    assert [conn.address for conn in party.conns] == [sock.getsockname() for sock in clients]


def test_server_that_waits_for_room_does_not_spin(
    party: Party, limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit.allow(2)
    party.meet()
    party.dial()
    party.turns(1)
    asked: list[Any] = []
    monkeypatch.setattr(server_module, "has_room", lambda *args: asked.append(args))
    party.turns(20)
    assert asked == []


def test_server_has_room_for_what_the_program_opens(party: Party, limit: Limit) -> None:
    party.server.fds_per_connection = 2
    limit.allow(6)
    for _ in range(4):
        party.dial()
    party.turns()
    assert len(party.conns) == 3


def test_graceful_shutdown_waits_for_room(party: Party, limit: Limit) -> None:
    limit.allow(2)
    for _ in range(3):
        party.dial()
    party.turns()
    party.server.graceful_shutdown()
    party.turns()
    for number in range(3):
        assert len(party.conns) == number + 1
        party.conns[number].close()
        party.turns()
    assert party.names() == ["start", "connect", "accept_paused", "connect", "connect", "stop"]


def test_graceful_shutdown_tries_again_after_it_waited_for_room(
    party: Party, limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit.allow(2)
    party.meet()
    party.dial()
    party.turns()
    party.server.graceful_shutdown()
    monkeypatch.setattr(acceptor, "RETRY_S", 0.0)
    fail_accepts(monkeypatch, errno.EMFILE)
    party.conns[0].close()
    run_loop(party.loop, lambda: len(party.conns) == 2)
    assert party.conns[1].tcp_connected
