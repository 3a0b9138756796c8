"""Sockets that the loop cannot watch: the kernel's limit of watches, or of memory, is reached."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from typing import Any

import pytest
from tcp_support import SERVER_EVENTS, Dialler, Party

from thor.loop import LoopBase
from thor.loop.fd_registry import FdRegistry
from thor.loop.poller import READABLE
from thor.tcp import TcpServer
from thor.tcp.acceptor import Listener
from thor.testing import MemoryNetwork, MemoryPoller, Recorder, advance, settle

NO_ROOM = OSError(errno.ENOSPC, "no more watches")


def fail_watches(monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    """Have the loop refuse the `nth` registration from now on."""
    real = FdRegistry.register
    left = [nth]

    def watch(self: FdRegistry, *args: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise NO_ROOM
        real(self, *args)

    monkeypatch.setattr(FdRegistry, "register", watch)


@pytest.mark.parametrize("nth", [1, 2])
def test_server_that_cannot_be_made_leaves_no_socket_open(
    loop: LoopBase, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    loop.run_once()
    with monkeypatch.context() as patch:
        fail_watches(patch, nth)
        with pytest.raises(OSError, match="watches"):
            TcpServer("", 0, loop)
    assert loop.fd_count() == 0


def test_server_that_cannot_be_made_leaves_the_callers_socket_alone(
    loop: LoopBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.run_once()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with monkeypatch.context() as patch:
            fail_watches(patch, 1)
            with pytest.raises(OSError, match="watches"):
                TcpServer(None, None, loop, sock=sock)
        assert sock.fileno() >= 0


def test_connection_that_was_made_and_cannot_be_watched_is_an_error(
    loop: LoopBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        party = Party(loop, stack)
        dialler = Dialler(loop)
        monkeypatch.setattr("thor.tcp.client.TcpConnection", _refuse)
        assert dialler.connect(*party.server.address[:2]) == (socket.error, errno.ENOSPC)
        assert dialler.client.error is NO_ROOM
        party.turns()


def _refuse(*_: Any) -> Any:
    raise NO_ROOM


def test_who_waits_is_not_accepted_and_closed_one_after_the_other() -> None:
    """A connection whose PROXY header was read has closed nothing when it cannot be watched."""
    network = MemoryNetwork()
    server = network.tcp_server_class("server", 80, proxy_protocol=["127.0.0.1"])
    heard = Recorder(server, *SERVER_EVENTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thor.tcp.server.TcpConnection", _refuse)
        for _ in range(3):
            network.connect("server", 80).write(b"PROXY UNKNOWN\r\n")
        settle(network.loop)
        assert heard.take() == [("start",), ("accept_paused", errno.ENOSPC)]
    advance(network.loop, 1)
    assert [event[0] for event in heard.take()] == ["accept_resumed", "connect", "connect"]


def test_listener_for_the_end_of_a_pause_that_raises_costs_no_connection(
    monkeypatch: pytest.MonkeyPatch, expected_logs: Any
) -> None:
    network = MemoryNetwork()
    network.loop.on_exception = "log"
    server = network.tcp_server_class("server", 80)
    heard = Recorder(server, *SERVER_EVENTS)

    def fail() -> None:
        raise RuntimeError("oops")

    def out_of_descriptors() -> Any:
        raise OSError(errno.EMFILE, "too many open files")

    server.on("accept_resumed", fail)
    with monkeypatch.context() as patch:
        patch.setattr(server.listen_sockets[0].socket, "accept", out_of_descriptors)
        network.connect("server", 80)
        settle(network.loop)
    advance(network.loop, 1)
    names = [event[0] for event in heard.take()]
    assert names == ["start", "accept_paused", "accept_resumed", "connect"]
    assert server.active_connections == 1


def test_listening_socket_that_cannot_be_watched_is_watched_later(
    monkeypatch: pytest.MonkeyPatch, expected_logs: Any
) -> None:
    """kqueue is out of memory just then."""
    network = MemoryNetwork()
    network.loop.on_exception = "log"

    def out_of_memory(*_: Any) -> None:
        raise OSError(errno.ENOMEM, "cannot allocate memory")

    server = network.tcp_server_class("server", 80)
    heard = Recorder(server, *SERVER_EVENTS)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryPoller, "modify", out_of_memory)
        settle(network.loop)
    network.connect("server", 80)
    advance(network.loop, 1)
    names = [event[0] for event in heard.take()]
    assert names == ["start", "accept_paused", "accept_resumed", "connect"]


def test_listener_that_raises_does_not_pause_accepting(expected_logs: Any) -> None:
    network = MemoryNetwork()
    network.loop.on_exception = "log"
    server = network.tcp_server_class("server", 80)
    heard = Recorder(server, "accept_paused")
    settle(network.loop)
    [door] = server.listen_sockets
    assert isinstance(door, Listener)
    network.loop.report_exception(door.on_ready, RuntimeError("oops"))
    assert heard.take() == []
    assert door._interest == READABLE
