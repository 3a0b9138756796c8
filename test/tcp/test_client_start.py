"""What a client does with a new connection before the program has it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest
from tcp_support import PEER_LIMIT_S, REFUSED, Dialler, read_all

from thor.tcp import ProxyHeader, TcpClient, TcpConnection
from thor.tcp import client as client_module
from thor.tcp.proxy_tlvs import AUTHORITY, CRC32C
from thor.testing import MemoryNetwork, Recorder, settle
from thor_support import run_loop

HEADER = ProxyHeader(("192.0.2.1", 1024), ("198.51.100.2", 80), tlvs=[(AUTHORITY, b"a.example")])

# -- the PROXY header ----------------------------------------------------------------------------


def accept(listening: socket.socket) -> socket.socket:
    peer, _ = listening.accept()
    peer.settimeout(PEER_LIMIT_S)
    return peer


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(HEADER, id="version 2"),
        pytest.param(ProxyHeader(("::1", 1), ("::1", 2), version=1), id="version 1"),
        pytest.param(ProxyHeader(command="LOCAL", tlvs=[(CRC32C, bytes(4))]), id="LOCAL"),
    ],
)
@pytest.mark.parametrize("called", [False, True], ids=["fixed", "asked for"])
def test_each_connection_begins_with_the_header(
    dialler: Dialler, listening: socket.socket, port: int, header: ProxyHeader, called: bool
) -> None:
    dialler.client.proxy_header = (lambda: header) if called else header
    for _ in range(2):
        conn = dialler.connect("127.0.0.1", port)
        conn.write(b"hello")
        conn.close()
        with accept(listening) as peer:
            dialler.loop.run_once()
            assert read_all(peer) == header.to_bytes() + b"hello"


def test_header_is_asked_for_when_the_connection_is_there(
    dialler: Dialler, listening: socket.socket, port: int
) -> None:
    asked: list[int] = []

    def header() -> ProxyHeader:
        asked.append(1)
        return HEADER

    dialler.client.proxy_header = header
    dialler.client.connect("127.0.0.1", port)
    assert asked == []
    run_loop(dialler.loop, lambda: dialler.heard.events)
    assert asked == [1]
    accept(listening).close()


def test_header_can_be_a_class_variable(
    dialler: Dialler, listening: socket.socket, port: int
) -> None:
    class Relay(TcpClient):
        proxy_header = HEADER

    client = Relay(dialler.loop)
    heard = Recorder(client, "connect")
    client.connect("127.0.0.1", port)
    run_loop(dialler.loop, lambda: heard.events)
    with accept(listening) as peer:
        assert peer.recv(1000) == HEADER.to_bytes()


def test_header_leaves_before_what_a_subclass_does(
    dialler: Dialler, listening: socket.socket, port: int
) -> None:
    class Shaking(TcpClient):
        def _on_tcp_connected(self, sock: socket.socket, address: Any) -> None:
            sock.send(b"\x16\x03\x01")
            self._succeed(TcpConnection(sock, address, self.loop))

    client = Shaking(dialler.loop)
    client.proxy_header = HEADER
    heard = Recorder(client, "connect")
    client.connect("127.0.0.1", port)
    run_loop(dialler.loop, lambda: heard.events)
    with accept(listening) as peer:
        assert peer.recv(1000) == HEADER.to_bytes() + b"\x16\x03\x01"


def wrong() -> ProxyHeader:
    raise LookupError("oops")


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(wrong, id="it raises"),
        pytest.param(lambda: None, id="it gives none"),
        pytest.param(ProxyHeader(tlvs=[(0xE0, bytes(20_000))]), id="too long"),
    ],
)
def test_without_a_valid_header_there_is_no_connection(
    dialler: Dialler, listening: socket.socket, port: int, header: Any, expected_logs: Any
) -> None:
    dialler.loop.on_exception = "log"
    dialler.client.proxy_header = header
    assert dialler.connect("127.0.0.1", port) == (socket.error, errno.EINVAL)
    assert "PROXY header" in str(dialler.client.error)
    with accept(listening) as peer:
        assert peer.recv(1) == b""


@pytest.mark.parametrize(
    ("send", "code"),
    [
        pytest.param(lambda data: 3, errno.ENOBUFS, id="not at once"),
        pytest.param(lambda data: 1 / 0, errno.EPIPE, id="the peer is gone"),
    ],
)
def test_header_that_cannot_be_sent_is_an_attempt_that_failed(
    dialler: Dialler,
    listening: socket.socket,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    send: Callable[[bytes], int],
    code: int,
) -> None:
    def fake(sock: socket.socket, data: bytes) -> int:
        try:
            return send(data)
        except ZeroDivisionError:
            raise BrokenPipeError(errno.EPIPE, "gone") from None

    dialler.client.proxy_header = HEADER
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "send", fake)
        assert dialler.connect("127.0.0.1", port) == (socket.error, code)
    assert dialler.loop.fd_count() == 0
    accept(listening).close()


@pytest.mark.parametrize("raises", [False, True])
def test_cancel_inside_the_function_that_is_asked_for_the_header(
    dialler: Dialler, listening: socket.socket, port: int, caplog: Any, raises: bool
) -> None:
    def header() -> ProxyHeader:
        dialler.client.cancel()
        if raises:
            raise LookupError("oops")
        return HEADER

    dialler.loop.on_exception = "log"
    dialler.client.proxy_header = header
    dialler.client.connect("127.0.0.1", port)
    run_loop(dialler.loop, lambda: dialler.client._attempt is None)
    dialler.loop.run_once()
    assert dialler.heard.take() == []
    assert dialler.loop.fd_count() == 0
    accept(listening).close()


def test_header_crosses_a_network_in_memory() -> None:
    network = MemoryNetwork()
    server = network.tcp_server_class("server", 80, proxy_protocol=["127.0.0.1"])
    conns: list[TcpConnection] = []
    server.on("connect", conns.append)
    client = network.tcp_client_class()
    client.proxy_header = HEADER
    Recorder(client, "connect")
    client.connect("server", 80)
    settle(network.loop)
    assert conns[0].proxy_header == HEADER
    assert conns[0].address == HEADER.source


def test_in_memory_too_there_is_no_connection_without_a_valid_header(expected_logs: Any) -> None:
    network = MemoryNetwork()
    network.loop.on_exception = "log"
    server = network.tcp_server_class("server", 80)
    accepted = Recorder(server, "connect")
    client = network.tcp_client_class()
    client.proxy_header = wrong
    heard = Recorder(client, "connect", "connect_error")
    client.connect("server", 80)
    settle(network.loop)
    assert heard.take() == [("connect_error", socket.error, errno.EINVAL)]
    [(_, conn)] = accepted.take()
    conn.pause(False)
    settle(network.loop)
    assert not conn.tcp_connected


# -- connected to itself -------------------------------------------------------------------------


class Narcissus(socket.socket):
    """The kernel chooses the port to connect from: here, always the one that is connected to."""

    def connect_ex(self, address: Any) -> int:
        self.bind(address)
        return super().connect_ex(address)


def make_sockets_of(kind: type[socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a client's sockets be of this class."""
    sockets = type("sockets", (), dict(vars(socket), socket=kind))
    monkeypatch.setattr(client_module, "socket", sockets)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connection_to_itself_is_refused(
    dialler: Dialler, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    make_sockets_of(Narcissus, monkeypatch)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    dialler.client.proxy_header = pytest.fail  # nothing is sent to oneself
    assert dialler.connect(host, port) == REFUSED
    assert dialler.loop.fd_count() == 0
    with socket.socket(family) as server:  # nothing is left of it in the kernel
        server.bind((host, port))


@pytest.mark.skipif("sys.platform != 'linux'")  # where all of 127/8 is this machine
def test_connection_from_an_equal_port_of_another_address_is_none_to_itself(
    dialler: Dialler, listening: socket.socket, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Twin(socket.socket):
        def connect_ex(self, address: Any) -> int:
            self.bind(("127.0.0.2", address[1]))
            return super().connect_ex(address)

    make_sockets_of(Twin, monkeypatch)
    conn = dialler.connect("127.0.0.1", port)
    assert conn.local_address == ("127.0.0.2", port)
    accept(listening).close()
