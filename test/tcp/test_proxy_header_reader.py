"""A server whose connections begin with a PROXY header."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from proxy_headers import DESTINATION, INVALID, SOURCE, V4, VALID, block
from tcp_support import SERVER_EVENTS, Party, memory_socket, reset

from thor.loop import LoopBase
from thor.tcp import ProxyHeader, TcpConnection, TcpServer
from thor.testing import MemoryNetwork, Recorder, advance, settle
from thor_support import run_loop

LINE = b"PROXY TCP4 192.0.2.1 198.51.100.2 1024 80\r\n"
LOOPBACK = ["127.0.0.0/8", "::1", "unix:"]


class Gate:
    """A server in memory, what it emits, and peers that the test plays."""

    def __init__(self, trusted: list[str] | None = None, **settings: Any) -> None:
        self.network = MemoryNetwork()
        self.loop = self.network.loop
        self.server: TcpServer = self.network.tcp_server_class(
            "server", 80, proxy_protocol=LOOPBACK if trusted is None else trusted, **settings
        )
        self.heard = Recorder(self.server, *SERVER_EVENTS, "proxy_refused")
        self.conns: list[TcpConnection] = []
        self.server.on("connect", self.conns.append)
        settle(self.loop)
        self.heard.take()

    def dial(self, *pieces: bytes) -> TcpConnection:
        """A peer that sends these, one at a time."""
        peer = self.network.connect("server", 80)
        self.last = Recorder(peer, "data", "end", "close")
        peer.pause(False)
        settle(self.loop)
        for piece in pieces:
            if not peer.tcp_connected:
                break
            peer.write(piece)
            settle(self.loop)
        return peer

    def names(self) -> list[str]:
        return [event[0] for event in self.heard.take()]


#: One of each version: what makes a header is test_proxy_protocol's.
valid = pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(LINE, ProxyHeader(SOURCE, DESTINATION, version=1), id="line"),
        pytest.param(block(V4), ProxyHeader(SOURCE, DESTINATION), id="block"),
    ],
)
invalid = pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(data, message, id=name)
        for name, data, message in INVALID
        if name in ("HTTP", "v1 port 65536", "v2 checksum wrong")
    ],
)


def one_byte_each(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


# -- headers that are there ----------------------------------------------------------------------


@valid
def test_connection_has_its_header_and_the_program_every_byte_after_it(
    data: bytes, says: ProxyHeader
) -> None:
    gate = Gate()
    gate.dial(data + b"more")
    [conn] = gate.conns
    assert conn.proxy_header == says
    assert memory_socket(conn).received == b"more"
    heard = Recorder(conn, "data")
    conn.pause(False)
    settle(gate.loop)
    assert heard.take() == [("data", b"more")]
    assert gate.loop.fd_count() == 3


@valid
def test_header_may_be_split_anywhere(data: bytes, says: ProxyHeader) -> None:
    gate = Gate()
    gate.dial(*one_byte_each(data), b"more")
    for at in range(1, len(data)):
        gate.dial(data[:at], data[at:] + b"more")
    assert [conn.proxy_header for conn in gate.conns] == [says] * len(data)
    assert {bytes(memory_socket(conn).received) for conn in gate.conns} == {b"more"}


def test_addresses_are_the_headers() -> None:
    gate = Gate()
    gate.dial(LINE)
    assert (gate.conns[0].address, gate.conns[0].local_address) == (SOURCE, DESTINATION)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(ProxyHeader(command="LOCAL"), id="LOCAL"),
        pytest.param(ProxyHeader(), id="unspecified"),
        pytest.param(ProxyHeader(version=1), id="UNKNOWN"),
    ],
)
def test_without_addresses_in_the_header_the_real_ones_hold(header: ProxyHeader) -> None:
    gate = Gate()
    peer = gate.dial(header.to_bytes())
    [conn] = gate.conns
    assert (conn.address, conn.local_address) == (peer.local_address, ("server", 80))
    assert conn.proxy_header == header


def test_mapped_addresses_are_told_as_what_they_are() -> None:
    gate = Gate()
    header = ProxyHeader(("::ffff:192.0.2.1", 1, 0, 0), ("::ffff:192.0.2.2", 2, 0, 0))
    gate.dial(header.to_bytes())
    [conn] = gate.conns
    assert (conn.address, conn.local_address) == (("192.0.2.1", 1), ("192.0.2.2", 2))
    assert conn.proxy_header == header


def test_without_proxy_protocol_a_header_is_data() -> None:
    network = MemoryNetwork()
    server = network.tcp_server_class("server", 80)
    conns: list[TcpConnection] = []
    server.on("connect", conns.append)
    network.connect("server", 80).write(LINE)
    settle(network.loop)
    assert conns[0].proxy_header is None
    assert conns[0].socket.received == LINE  # type: ignore[attr-defined]


def test_those_that_wait_do_not_hold_up_others() -> None:
    gate = Gate()
    slow = gate.dial(LINE[:10])
    gate.dial(LINE)
    assert len(gate.conns) == 1
    slow.write(LINE[10:])
    settle(gate.loop)
    assert [conn.address for conn in gate.conns] == [SOURCE, SOURCE]


# -- headers that are not ------------------------------------------------------------------------


@invalid
@pytest.mark.parametrize("cut", [list, one_byte_each], ids=["whole", "byte by byte"])
def test_what_is_no_header_closes_the_connection_before_the_program_sees_it(
    data: bytes, message: str, cut: Callable[[bytes], Any], expected_logs: Any
) -> None:
    gate = Gate()
    peer = gate.dial(*([data] if cut is list else cut(data)), b"more")
    [(event, address, reason)] = gate.heard.take()
    assert (event, address) == ("proxy_refused", peer.local_address)
    assert message in reason
    assert gate.last.take() == [("close",)]
    assert gate.loop.fd_count() == 1
    [record] = expected_logs.records
    assert record.levelno == logging.INFO
    assert reason in record.getMessage()
    assert str(address) in record.getMessage()


def test_peer_that_is_not_trusted_is_not_even_heard() -> None:
    gate = Gate(trusted=["192.0.2.0/24", "unix:"])
    gate.dial(LINE)
    [(event, address, reason)] = gate.heard.take()
    assert (event, address[0]) == ("proxy_refused", "127.0.0.1")
    assert "not one of the trusted proxies" in reason
    assert gate.last.take() == [("close",)]


@pytest.mark.parametrize("start", [b"", LINE[:1], LINE[:-1], block(V4)[:12], block(V4)[:-1]])
def test_header_that_does_not_come_in_time_is_none(start: bytes) -> None:
    gate = Gate()
    gate.dial(start)
    assert TcpServer.proxy_header_timeout == 5
    advance(gate.loop, 4.999)
    assert gate.heard.take() == []
    advance(gate.loop, 0.001)
    [(event, _, reason)] = gate.heard.take()
    assert event == "proxy_refused"
    assert "within 5 s" in reason
    assert gate.last.take() == [("close",)]


def test_byte_now_and_then_does_not_extend_the_time() -> None:
    gate = Gate()
    gate.server.proxy_header_timeout = 3
    peer = gate.dial()
    for byte in one_byte_each(LINE)[:3]:
        peer.write(byte)
        advance(gate.loop, 1)
    assert gate.names() == ["proxy_refused"]


@pytest.mark.parametrize("limit", [None, 0])
def test_without_a_limit_a_header_may_take_any_time(limit: float | None) -> None:
    gate = Gate()
    gate.server.proxy_header_timeout = limit
    peer = gate.dial(LINE[:10])
    advance(gate.loop, 1e6)
    peer.write(LINE[10:])
    settle(gate.loop)
    assert gate.names() == ["connect"]


def test_time_does_not_count_any_more_when_the_header_is_there() -> None:
    gate = Gate()
    gate.dial(LINE[:10], LINE[10:])
    advance(gate.loop, 100)
    assert gate.names() == ["connect"]
    assert gate.conns[0].tcp_connected


@pytest.mark.parametrize("start", [b"", LINE[:1], LINE[:-1], block(V4)[:-1]])
def test_connection_that_ends_before_its_header_does_is_refused(start: bytes) -> None:
    gate = Gate()
    gate.dial(start).close()
    settle(gate.loop)
    [(event, _, reason)] = gate.heard.take()
    assert event == "proxy_refused"
    assert "ended before" in reason


def test_connection_that_is_reset_before_its_header_is_there_is_refused() -> None:
    gate = Gate()
    gate.dial(LINE[:10]).abort()
    settle(gate.loop)
    [(event, _, reason)] = gate.heard.take()
    assert (event, "reset" in reason) == ("proxy_refused", True)


@pytest.mark.parametrize(
    ("trusted", "error"),
    [("127.0.0.1", TypeError), (["no network"], ValueError), (["10.0.0.0/33"], ValueError)],
)
def test_networks_that_are_none_are_an_error(trusted: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        TcpServer("127.0.0.1", 0, proxy_protocol=trusted)


# -- stopping ------------------------------------------------------------------------------------


def test_connection_that_waits_for_its_header_is_active() -> None:
    gate = Gate()
    gate.dial(LINE[:10])
    assert gate.server.active_connections == 1


def test_shutdown_ends_those_that_wait() -> None:
    gate = Gate()
    gate.dial(LINE[:10])
    gate.server.shutdown()
    settle(gate.loop)
    assert gate.heard.take() == [("stop",)]
    assert gate.last.take() == [("close",)]
    assert gate.server.active_connections == 0
    advance(gate.loop, 100)
    assert gate.heard.take() == []


def test_graceful_shutdown_waits_for_those_that_wait() -> None:
    gate = Gate()
    peer = gate.dial(LINE[:10])
    gate.server.graceful_shutdown()
    settle(gate.loop)
    peer.write(LINE[10:])
    settle(gate.loop)
    assert gate.names() == ["connect"]
    gate.conns[0].close()
    settle(gate.loop)
    assert gate.names() == ["stop"]


def test_graceful_shutdown_ends_when_the_last_one_is_refused() -> None:
    gate = Gate()
    gate.dial(LINE[:10])
    gate.server.graceful_shutdown()
    advance(gate.loop, 5)
    assert gate.names() == ["proxy_refused", "stop"]


def test_shutdown_ends_a_graceful_one_that_waits_for_a_header() -> None:
    gate = Gate()
    gate.dial(LINE[:10])
    gate.server.graceful_shutdown()
    settle(gate.loop)
    gate.server.shutdown()
    settle(gate.loop)
    assert gate.names() == ["stop"]


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EINTR])
@pytest.mark.parametrize("nth", [1, 2])
def test_read_that_has_to_be_made_again_refuses_nobody(nth: int, code: int) -> None:
    """The first only looks, the second takes."""
    gate = Gate()
    peer = gate.dial()
    [waiting] = gate.server.open_connections
    sock: Any = waiting._socket  # type: ignore[attr-defined]
    sock.fail("recv", OSError(code, "again"), nth)
    peer.write(LINE)
    settle(gate.loop)
    assert gate.names() == ["connect"]


def test_close_resets_one_whose_header_is_not_there_yet() -> None:
    gate = Gate()
    gate.dial(LINE[:10])
    gate.server.close()
    settle(gate.loop)
    assert gate.names() == ["stop"]
    assert gate.last.take() == [("close",)]


def test_stopping_the_loop_closes_those_that_wait() -> None:
    gate = Gate()
    peer = gate.dial(LINE[:10])
    there = peer.socket.peer  # type: ignore[attr-defined]
    gate.loop.stop()
    assert there.fileno() == -1
    assert gate.server.active_connections == 0
    assert gate.heard.take() == []


@pytest.mark.parametrize("method", ["close", "shutdown", "graceful_shutdown"])
@pytest.mark.parametrize(
    "start", [[b"GET / HTTP/1.1\r\n"], [b"PROXY", b"GET"]], ids=["at once", "later"]
)
def test_server_can_be_stopped_inside_proxy_refused(method: str, start: list[bytes]) -> None:
    gate = Gate()
    gate.server.on("proxy_refused", lambda *args: getattr(gate.server, method)())
    gate.dial(*start)
    assert gate.names() == ["proxy_refused", "stop"]
    assert gate.server.active_connections == 0


@pytest.mark.parametrize("pieces", [[LINE], [LINE[:10], LINE[10:]]], ids=["at once", "later"])
def test_listener_that_raises_loses_its_connection_only(
    pieces: list[bytes], expected_logs: Any
) -> None:
    gate = Gate()
    gate.loop.on_exception = "log"

    def fail(conn: TcpConnection) -> None:
        raise RuntimeError("oops")

    gate.server.once("connect", fail)
    gate.dial(*pieces)
    assert gate.last.take() == [("close",)]
    assert gate.server.active_connections == 0
    gate.dial(LINE)
    assert gate.server.active_connections == 1


@pytest.mark.parametrize("pieces", [[LINE], [LINE[:10], LINE[10:]]], ids=["at once", "later"])
def test_connection_that_cannot_be_made_is_closed_and_accepting_pauses(
    pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    gate.names()

    def fail(*args: Any) -> Any:
        raise OSError(errno.ENOSPC, "no room in the poller")

    with monkeypatch.context() as patch:
        patch.setattr("thor.tcp.server.TcpConnection", fail)
        gate.dial(*pieces)
    assert gate.last.take()[-1] == ("close",)
    assert gate.server.active_connections == 0
    assert gate.heard.take() == [("accept_paused", errno.ENOSPC)]
    gate.dial(LINE)
    advance(gate.loop, 1)
    assert gate.names() == ["accept_resumed", "connect"]


def test_socket_that_cannot_be_watched_is_closed_and_accepting_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate()
    gate.names()

    def fail(*args: Any) -> Any:
        raise OSError(errno.ENOSPC, "no room in the poller")

    with monkeypatch.context() as patch:
        patch.setattr("thor.tcp.proxy_header_reader.ProxyHeaderReader.watch_fd", fail)
        gate.dial()
    assert gate.last.take()[-1] == ("close",)
    assert gate.server.active_connections == 0
    assert gate.heard.take() == [("accept_paused", errno.ENOSPC)]
    gate.dial(LINE)
    advance(gate.loop, 1)
    assert gate.names() == ["accept_resumed", "connect"]


# -- on real sockets -----------------------------------------------------------------------------


@pytest.fixture
def gated(loop: LoopBase) -> Any:
    with ExitStack() as stack:
        party = Party(loop, stack)
        party.server.shutdown()
        party.server = party.serve("127.0.0.1", 0, proxy_protocol=["127.0.0.1"])
        party.heard = Recorder(party.server, *SERVER_EVENTS, "proxy_refused")
        yield party
    loop.run_once()


@pytest.mark.parametrize("name", ["v1 TCP6", "v2, longest"])
@pytest.mark.parametrize("cut", ["nowhere", "early", "late"])
def test_not_a_byte_after_the_header_is_taken(gated: Party, name: str, cut: str) -> None:
    [(data, says)] = [(data, says) for known, data, says in VALID if known == name]
    client = gated.dial()
    at = {"nowhere": 0, "early": 13, "late": len(data) - 1}[cut]
    client.sendall(data[:at])
    gated.turns(30)
    client.sendall(data[at:] + b"\x16\x03\x01")
    run_loop(gated.loop, lambda: gated.conns)
    [conn] = gated.conns
    assert conn.proxy_header == says
    assert conn.socket.recv(100, socket.MSG_PEEK) == b"\x16\x03\x01"


def test_header_that_is_not_complete_does_not_spin_the_loop(gated: Party) -> None:
    client = gated.dial()
    client.sendall(LINE[:30])
    run_loop(gated.loop, lambda: gated.server.active_connections)
    gated.turns(3)
    waiting = [
        s for s in gated.loop.registered_fd_handlers() if type(s).__name__ == "ProxyHeaderReader"
    ]
    calls: list[int] = []
    waiting[0].on_ready = calls.append  # type: ignore[method-assign, assignment]
    for _ in range(5):
        gated.loop.run_once(0)
    assert calls == []
    gated.server.shutdown()


def test_client_is_told_of_the_refusal_by_a_reset(gated: Party) -> None:
    client = gated.dial()
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    run_loop(gated.loop, lambda: "proxy_refused" in gated.names())
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_peer_that_resets_at_once(gated: Party) -> None:
    gated.turns()
    client = gated.dial()
    gated.turns()
    reset(client)
    run_loop(gated.loop, lambda: "proxy_refused" in gated.names())


def test_peers_of_a_unix_socket_can_be_trusted(party: Party, tmp_path: Path) -> None:
    for number, trusted in enumerate((["unix:"], ["0.0.0.0/0", "::/0"])):
        server = party.serve(f"unix:{tmp_path}/{number}", None, proxy_protocol=trusted)
        heard = Recorder(server, "connect", "proxy_refused")
        party.dial(server).sendall(LINE)
        run_loop(party.loop, lambda heard=heard: heard.events)
        [event] = heard.take()
        if trusted == ["unix:"]:
            assert event[1].address == SOURCE
        else:
            assert event[:2] == ("proxy_refused", "")


def test_ipv6_proxies_can_be_trusted(party: Party) -> None:
    server = party.serve("::1", 0, proxy_protocol=["::1"])
    party.dial(server).sendall(block(V4))
    run_loop(party.loop, lambda: party.conns)
    assert party.conns[0].address == SOURCE
