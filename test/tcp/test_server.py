"""A server: where it listens, and what it accepts."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tcp_support import SERVER_EVENTS, Party, fail_accepts, port_of

from thor.loop import LoopBase
from thor.tcp import TcpClient, TcpServer, acceptor
from thor.tcp import server as server_module
from thor.testing import ManualClock, Recorder
from thor_support import run_loop

# -- as documented -------------------------------------------------------------------------------


def test_start_is_emitted_when_the_loop_runs(party: Party) -> None:
    assert party.heard.events == []
    party.turns()
    assert party.heard.take() == [("start",)]


def test_connect_is_emitted_with_a_paused_connection(party: Party) -> None:
    client, conn = party.meet()
    heard = Recorder(conn, "data")
    client.sendall(b"hello")
    party.turns()
    assert heard.take() == []
    conn.pause(False)
    run_loop(party.loop, lambda: heard.events)
    assert heard.take() == [("data", b"hello")]
    assert conn.address == client.getsockname()
    assert conn.local_address == client.getpeername() == party.server.address


def test_close_accepts_no_more_and_stop_is_emitted(party: Party) -> None:
    client, conn = party.meet()
    party.heard.take()
    party.server.close()
    assert party.heard.events == []
    party.turns()
    assert party.heard.take() == [("stop",)]
    with pytest.raises(ConnectionRefusedError):
        party.dial()
    conn.write(b"still here")
    party.turns()
    assert client.recv(100) == b"still here"


def test_default_loop_is_used_if_none_is_given(default_loop: LoopBase) -> None:
    server = TcpServer("127.0.0.1", 0)
    server.on("start", default_loop.stop)
    default_loop.run()
    assert default_loop.fd_count() == 0


def test_host_can_be_a_name(party: Party) -> None:
    server = party.serve("localhost", "0")
    party.dial(server)
    run_loop(party.loop, lambda: party.conns)


# -- where it listens ----------------------------------------------------------------------------


def test_port_in_use_is_an_error_of_the_constructor(party: Party) -> None:
    with pytest.raises(OSError, match="in use"):
        party.serve(*party.server.address)


@pytest.mark.parametrize("host", ["", b""])
def test_every_interface_reports_no_mapped_address(party: Party, host: Any) -> None:
    server = party.serve(host, 0)
    port = port_of(server)
    for peer in ("127.0.0.1", "::1"):
        with socket.create_connection((peer, port)) as client:
            count = len(party.conns)
            run_loop(party.loop, lambda count=count: len(party.conns) > count)
            assert party.conns[-1].address[:2] == client.getsockname()[:2]
            assert party.conns[-1].address[0] == peer


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_connections_from_a_host_share_its_text_and_few_hosts_are_remembered(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_HOSTS", 2)
    server = party.serve("127.0.0.1", 0)
    for peer in ("127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.4"):
        with socket.create_connection(
            ("127.0.0.1", port_of(server)), source_address=(peer, 0)
        ) as client:
            count = len(party.conns)
            run_loop(party.loop, lambda count=count: len(party.conns) > count)
            assert party.conns[-1].address == client.getsockname()
    assert party.conns[0].address[0] is party.conns[1].address[0]
    assert len(server._hosts) == 1


def test_ipv6(party: Party) -> None:
    server = party.serve("::1", 0)
    assert server.address[0] == "::1"
    party.dial(server)
    run_loop(party.loop, lambda: party.conns)


def test_unix_socket(party: Party, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    server = party.serve(f"unix:{path}", None)
    assert server.address == path
    client = party.dial(server)
    run_loop(party.loop, lambda: party.conns)
    party.conns[0].write(b"hello")
    party.turns()
    assert client.recv(100) == b"hello"
    server.close()
    assert not os.path.exists(path)


def test_peer_of_a_unix_socket_is_told_as_the_socket_does(party: Party, tmp_path: Path) -> None:
    server = party.serve(f"unix:{tmp_path / 's'}", None)
    names: list[Any] = ["", str(tmp_path / "client")]
    if sys.platform == "linux":
        names.append(os.fsencode(f"\0{tmp_path}"))
    for name in names:
        client = party.stack.enter_context(socket.socket(socket.AF_UNIX))
        if name:
            client.bind(name)
        client.connect(server.address)
    run_loop(party.loop, lambda: len(party.conns) == len(names))
    assert [conn.address for conn in party.conns] == names
    assert {conn.local_address for conn in party.conns} == {str(tmp_path / "s")}


@pytest.mark.skipif("sys.platform != 'linux'")
def test_abstract_name(party: Party, tmp_path: Path) -> None:
    server = party.serve(f"unix:@{tmp_path}", None)
    assert server.address == os.fsencode(f"\0{tmp_path}")
    client = TcpClient(party.loop)
    heard = Recorder(client, "connect")
    client.connect(f"unix:@{tmp_path}", None)
    run_loop(party.loop, lambda: heard.events and party.conns)
    [(_, conn)] = heard.take()
    assert conn.address == conn.socket.getpeername() == server.address
    assert party.conns[0].local_address == server.address
    conn.abort()
    server.close()


def test_permissions_of_a_unix_socket(party: Party, tmp_path: Path) -> None:
    party.serve(f"unix:{tmp_path / 's'}", None, mode=0o620)
    assert os.stat(tmp_path / "s").st_mode & 0o777 == 0o620


@pytest.mark.parametrize("listens", [False, True])
def test_inherited_socket(party: Party, listens: bool) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    if listens:
        sock.listen()
    server = party.serve(None, None, sock=sock)
    assert server.address == sock.getsockname()
    party.dial(server)
    run_loop(party.loop, lambda: party.conns)
    server.close()
    party.turns()
    assert sock.fileno() == -1


def test_inherited_socket_of_another_kind_is_refused(party: Party) -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="stream"),
    ):
        party.serve(None, None, sock=sock)


def test_port_can_be_shared(party: Party) -> None:
    first = party.serve("127.0.0.1", 0, reuse_port=True)
    second = party.serve(*first.address, reuse_port=True)
    assert second.address == first.address


def test_server_can_listen_where_the_last_one_did(party: Party) -> None:
    """Connections that the last one closed are still in TIME_WAIT."""
    client, conn = party.meet()
    conn.close()
    party.turns()
    assert client.recv(1) == b""
    client.close()
    party.server.close()
    party.turns()
    again = party.serve(*party.server.address)
    party.dial(again)
    run_loop(party.loop, lambda: len(party.conns) == 2)


def test_backlog_is_the_kernels_to_keep(party: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(socket.socket, "listen", lambda sock, backlog: asked.append(backlog))
    party.serve("127.0.0.1", 0, backlog=7)
    party.serve("127.0.0.1", 0)
    assert asked == [7, 4096]


def test_accepted_connections_do_not_wait_to_fill_packets(party: Party) -> None:
    _, conn = party.meet()
    assert conn.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert conn.socket.gettimeout() == 0


# -- loops ---------------------------------------------------------------------------------------


def test_loop_opens_nothing_before_a_server_is_made_on_it(
    make_loop: Callable[..., LoopBase],
) -> None:
    loop = make_loop()
    assert loop.fds.poller is None
    server = TcpServer("127.0.0.1", 0, loop)
    with socket.create_connection(("127.0.0.1", port_of(server))):
        server.on("connect", lambda conn: loop.stop())
        run_loop(loop)
    assert loop.fds.poller is None


def test_connections_that_came_before_the_loop_ran_are_accepted(party: Party) -> None:
    party.dial()
    run_loop(party.loop, lambda: party.conns)
    assert party.names() == ["start", "connect"]


def test_stopping_the_loop_closes_the_server_and_its_connections(party: Party) -> None:
    client, _ = party.meet()
    party.heard.take()
    party.loop.stop()
    assert party.heard.take() == []
    assert client.recv(1) == b""
    assert party.server.active_connections == 0
    assert "closed" in repr(party.server)
    with pytest.raises(ConnectionRefusedError):
        party.dial()
    again = party.serve(*party.server.address)
    party.dial(again)
    run_loop(party.loop, lambda: len(party.conns) == 2)


def test_stopping_the_loop_forgets_connections_of_a_server_that_was_closed(party: Party) -> None:
    party.meet()
    party.server.close()
    party.turns()
    assert party.server.active_connections == 1
    party.loop.stop()
    assert party.server.active_connections == 0


def test_stopping_the_loop_inside_connect(party: Party) -> None:
    for _ in range(3):
        party.dial()
    party.server.on("connect", lambda conn: party.loop.stop())
    run_loop(party.loop)
    assert party.loop.fd_count() == 0
    assert all(conn.socket.fileno() == -1 for conn in party.conns)


def test_server_closed_before_the_loop_ran_never_starts(party: Party) -> None:
    party.server.close()
    party.turns()
    assert party.heard.take() == [("stop",)]


# -- accepting -----------------------------------------------------------------------------------


def test_storm_of_connections_is_accepted_in_batches(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "ACCEPT_BATCH", 4)
    for _ in range(10):
        party.dial()
    party.turns(1)  # it starts
    counts = []
    for _ in range(4):
        party.loop.run_once()
        counts.append(len(party.conns))
    assert counts == [4, 8, 10, 10]


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.ENETUNREACH])
def test_connection_gone_before_it_was_accepted_is_passed_over(
    party: Party, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fail_accepts(monkeypatch, code, code)
    party.meet()
    assert party.names() == ["start", "connect"]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_out_of_descriptors_accepting_pauses_and_loses_nobody(
    poller: str,
    make_loop: Callable[..., LoopBase],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    clock = ManualClock()
    loop = make_loop(backend=poller, clock=clock)
    with ExitStack() as stack:
        party = Party(loop, stack)
        calls = fail_accepts(monkeypatch, code, code)
        party.dial()
        party.turns(5)
        assert party.heard.take() == [("start",), ("accept_paused", code)]
        assert len(calls) == 1  # it does not spin
        clock.advance(acceptor.RETRY_S)
        party.turns(5)
        assert party.heard.take() == []  # it failed again, which is no news
        assert len(calls) == 2
        clock.advance(acceptor.RETRY_S)
        party.turns(5)
        assert party.names() == ["accept_resumed", "connect"]
        party.heard.take()
        party.dial()
        party.turns()
        assert party.names() == ["connect"]
    loop.run_once()


def test_accepting_resumes_when_a_connection_has_closed(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, conn = party.meet()
    fail_accepts(monkeypatch, errno.EMFILE)
    party.dial()
    party.turns()
    assert party.names()[2:] == ["accept_paused"]
    conn.close()
    party.turns()
    assert party.names()[2:] == ["accept_paused", "accept_resumed", "connect"]


def test_accepting_resumes_even_if_nobody_waits_any_more(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, conn = party.meet()
    fail_accepts(monkeypatch, errno.EMFILE, errno.EAGAIN)
    party.dial()
    party.turns()
    conn.close()
    party.turns(2)
    assert party.names()[2:] == ["accept_paused", "accept_resumed"]
    party.turns(1)
    assert party.names()[4:] == ["connect"]


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        pytest.param([errno.EMFILE], ["accept_paused", "accept_resumed", "connect"], id="one"),
        pytest.param([errno.EMFILE] * 2, ["accept_paused"], id="both"),
    ],
)
def test_two_listening_sockets_that_fail_in_one_turn_are_one_pause(
    party: Party, monkeypatch: pytest.MonkeyPatch, codes: list[int], told: list[str]
) -> None:
    server = party.serve("", 0)
    party.turns(1)
    heard = Recorder(server, *SERVER_EVENTS)
    for host in ("127.0.0.1", "::1"):
        party.stack.enter_context(socket.create_connection((host, server.address[1])))
    fail_accepts(monkeypatch, *codes)
    party.turns(1)
    assert [event[0] for event in heard.events] == told


def test_connection_that_cannot_be_made_is_closed_and_accepting_pauses(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> Any:
        raise OSError(errno.ENOSPC, "no room in the poller")

    client = party.dial()
    with monkeypatch.context() as patch:
        patch.setattr(server_module, "TcpConnection", fail)
        party.turns()
    assert client.recv(1) == b""
    assert party.heard.take() == [("start",), ("accept_paused", errno.ENOSPC)]
    party.meet()
    assert party.names() == ["accept_resumed", "connect"]


def test_pause_of_accepting_that_nobody_hears_of_is_logged(
    party: Party, monkeypatch: pytest.MonkeyPatch, expected_logs: Any
) -> None:
    fail_accepts(monkeypatch, errno.EMFILE, for_ever=True)
    party.server.remove_listeners("accept_paused")
    party.dial()
    party.turns()
    [message] = expected_logs.messages
    assert os.strerror(errno.EMFILE) in message
    assert "listening" in message


@pytest.mark.parametrize("method", ["close", "shutdown", "graceful_shutdown"])
def test_server_can_be_closed_while_accepting_is_paused(
    party: Party, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    fail_accepts(monkeypatch, errno.EMFILE, for_ever=True)
    party.dial()
    party.turns()
    getattr(party.server, method)()
    party.turns()
    assert party.heard.take() == [("start",), ("accept_paused", errno.EMFILE), ("stop",)]
    assert party.loop.scheduled_events() == []


def test_listening_socket_that_somebody_shuts_down_ends_the_server(
    party: Party, expected_logs: Any
) -> None:
    """Another process that inherited it can do so; it would be reported for ever."""
    party.turns()
    shared = party.server.listen_sockets[0].socket
    shared.shutdown(socket.SHUT_RDWR)
    run_loop(party.loop, lambda: "stop" in party.names())
    assert "has failed" in expected_logs.messages[0]
