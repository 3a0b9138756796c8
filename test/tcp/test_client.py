"""A client, on real sockets."""

from __future__ import annotations

import errno
import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tcp_support import REFUSED, Dialler

import thor.dns
from thor.loop import LoopBase
from thor.tcp import AddressRefused, TcpClient, TcpConnection
from thor.testing import Recorder
from thor_support import run_loop


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue is full: the kernel answers nothing, and a connect hangs."""
    with socket.socket() as sock, socket.socket() as first, socket.socket() as second:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(sock.getsockname())
        yield sock.getsockname()[1]


# -- as documented -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", b"127.0.0.1", "localhost"])
@pytest.mark.parametrize("as_text", [False, True])
def test_connect_is_emitted_with_a_paused_connection(
    dialler: Dialler, listening: socket.socket, port: int, host: Any, as_text: bool
) -> None:
    conn = dialler.connect(host, str(port) if as_text else port)
    assert isinstance(conn, TcpConnection)
    peer, _ = listening.accept()
    with peer:
        heard = Recorder(conn, "data")
        peer.sendall(b"hello")
        dialler.loop.run_once()
        assert heard.take() == []
        conn.pause(False)
        run_loop(dialler.loop, lambda: heard.events)
        assert heard.take() == [("data", b"hello")]
        assert conn.address == peer.getsockname()
        assert conn.local_address == peer.getpeername()


def test_refused_connection_is_a_socket_error(dialler: Dialler, closed_port: int) -> None:
    assert dialler.connect("127.0.0.1", closed_port) == REFUSED
    assert dialler.connect("127.0.0.1", closed_port, 10) == REFUSED
    assert dialler.loop.scheduled_events() == []


def test_name_that_is_unknown_is_a_gaierror(
    dialler: Dialler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*args: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert dialler.connect("unknown.test", 80) == (socket.gaierror, socket.EAI_NONAME)
    assert isinstance(dialler.client.error, socket.gaierror)


def test_timeout_is_a_socket_error_with_etimedout(dialler: Dialler, full_port: int) -> None:
    assert dialler.connect("127.0.0.1", full_port, 0.01) == (socket.error, errno.ETIMEDOUT)
    assert isinstance(dialler.client.error, TimeoutError)
    assert dialler.loop.fd_count() == 0


def test_timeout_counts_the_lookup(dialler: Dialler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thor.dns, "lookup", lambda *args: types.SimpleNamespace(cancel=int))
    assert dialler.connect("hangs.test", 80, 0) == (socket.error, errno.ETIMEDOUT)


def test_without_a_timeout_no_timer_is_left(
    dialler: Dialler, listening: socket.socket, port: int
) -> None:
    for timeout in (None, 60):
        dialler.connect("127.0.0.1", port, timeout)
        assert dialler.loop.scheduled_events() == []


def test_default_loop_is_used_if_none_is_given(default_loop: LoopBase, closed_port: int) -> None:
    client = TcpClient()
    client.on("connect_error", lambda errtype, error: default_loop.stop())
    client.connect("127.0.0.1", closed_port)
    default_loop.run()


# -- what else it connects to --------------------------------------------------------------------


def test_ipv6(dialler: Dialler) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as sock:
        conn = dialler.connect("::1", sock.getsockname()[1])
        assert conn.address == sock.getsockname()


@pytest.mark.parametrize("as_bytes", [False, True])
def test_unix_socket(dialler: Dialler, tmp_path: Path, as_bytes: bool) -> None:
    path = str(tmp_path / "s")
    assert dialler.connect(f"unix:{path}", None) == (socket.error, errno.ENOENT)
    with socket.create_server(path, family=socket.AF_UNIX) as sock:
        host: Any = f"unix:{path}".encode() if as_bytes else f"unix:{path}"
        conn = dialler.connect(host, None)
        peer, _ = sock.accept()
        with peer:
            conn.write(b"hello")
            dialler.loop.run_once()
            assert peer.recv(100) == b"hello"
        assert conn.address == path
    assert dialler.connect(f"unix:{path}", 0) == REFUSED
    assert dialler.connect("unix:/" + "x" * 200, None) == (socket.error, errno.ENAMETOOLONG)


@pytest.mark.parametrize("kind", ["path", "bytes", "abstract"])
def test_unix_socket_is_refused_where_addresses_are_checked(
    dialler: Dialler, tmp_path: Path, kind: str
) -> None:
    """Or a host that somebody else typed would lead around the check."""
    if kind == "abstract" and sys.platform != "linux":
        pytest.skip("only Linux has abstract names")
    name = f"@{tmp_path}" if kind == "abstract" else str(tmp_path / "s")
    host: Any = f"unix:{name}".encode() if kind == "bytes" else f"unix:{name}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.listen()
        dialler.client.check_ip = lambda ip: True
        assert dialler.connect(host, None) == (socket.error, errno.EACCES)
        assert isinstance(dialler.client.error, AddressRefused)
        assert "a Unix socket has no address that could be checked" in str(dialler.client.error)
        dialler.client.check_ip = None
        dialler.connect(host, None).abort()


# -- misuse --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("127.0.0.1", "http"), ValueError),
        (("127.0.0.1", 65536), ValueError),
        (("127.0.0.1", None), TypeError),
        ((None, 80), TypeError),
        ((7, 80), TypeError),
        (("127.0.0.1", 80, -1), ValueError),
        (("127.0.0.1", 80, "5"), TypeError),
        (("unix:", None), ValueError),
        (("unix:/a\0b", None), ValueError),
    ],
    ids=repr,
)
def test_wrong_arguments_raise_and_nothing_is_begun(
    dialler: Dialler, closed_port: int, args: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        dialler.client.connect(*args)
    assert dialler.connect("127.0.0.1", closed_port) == REFUSED


def test_client_can_be_used_again_in_its_own_listeners(
    dialler: Dialler, listening: socket.socket, port: int, closed_port: int
) -> None:
    client = dialler.client
    conns: list[TcpConnection] = []
    client.once("connect_error", lambda errtype, error: client.connect("127.0.0.1", port))
    client.once("connect", lambda conn: client.connect("127.0.0.1", port))
    client.on("connect", conns.append)
    client.connect("127.0.0.1", closed_port)
    run_loop(dialler.loop, lambda: len(conns) == 2)
    assert [event[0] for event in dialler.heard.take()] == ["connect_error", "connect", "connect"]


def test_error_that_nobody_listens_for_is_logged(
    loop: LoopBase, closed_port: int, expected_logs: Any
) -> None:
    client = TcpClient(loop)
    client.connect("127.0.0.1", closed_port)
    run_loop(loop, lambda: expected_logs.messages)
    [message] = expected_logs.messages
    assert "127.0.0.1" in message
    assert "refused" in message


# -- giving up -----------------------------------------------------------------------------------


def test_lookup_that_fails_after_cancel_is_not_told(
    dialler: Dialler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: 1 / 0)
    dialler.client.connect("", 80)  # is answered soon
    dialler.client.cancel()
    dialler.loop.run_once()
    assert dialler.heard.take() == []


@pytest.mark.parametrize("event", ["connect", "connect_error"])
def test_stopping_the_loop_inside_a_listener(
    dialler: Dialler, listening: socket.socket, port: int, closed_port: int, event: str
) -> None:
    dialler.client.on(event, lambda *args: dialler.loop.stop())
    dialler.client.connect("127.0.0.1", port if event == "connect" else closed_port)
    run_loop(dialler.loop)
    assert [entry[0] for entry in dialler.heard.take()] == [event]


def test_listener_that_raises_resets_the_new_connection(
    dialler: Dialler, listening: socket.socket, port: int, expected_logs: Any
) -> None:
    dialler.loop.on_exception = "log"

    def fail(conn: TcpConnection) -> None:
        raise RuntimeError("oops")

    dialler.client.on("connect", fail)
    dialler.connect("127.0.0.1", port)
    peer, _ = listening.accept()
    with peer, pytest.raises(ConnectionResetError):
        peer.recv(1)


# -- room for TLS ----------------------------------------------------------------------------------


class Shaking(TcpClient):
    """A client with a step between the TCP connection and `connect`, as TLS has."""

    shaking: tuple[socket.socket, Any] | None = None

    def _on_tcp_connected(self, sock: socket.socket, address: Any) -> None:
        self.shaking = (sock, address)

    def _end(self) -> None:
        super()._end()
        if self.shaking is not None:
            self.shaking[0].close()
            self.shaking = None

    def finish(self) -> None:
        assert self.shaking is not None
        (sock, address), self.shaking = self.shaking, None
        self._succeed(TcpConnection(sock, address, self.loop))


@pytest.fixture
def shaking(loop: LoopBase, port: int) -> Iterator[Shaking]:
    client = Shaking(loop)
    client.connect("127.0.0.1", port, 0.05)
    run_loop(loop, lambda: client.shaking)
    yield client
    loop.stop()


def test_subclass_can_put_a_step_before_connect(loop: LoopBase, shaking: Shaking) -> None:
    heard = Recorder(shaking, "connect", "connect_error")
    with pytest.raises(RuntimeError):
        shaking.connect("127.0.0.1", 80)
    shaking.finish()
    assert heard.take()[0][0] == "connect"
    assert loop.scheduled_events() == []


def test_timeout_includes_the_step(loop: LoopBase, shaking: Shaking) -> None:
    heard = Recorder(shaking, "connect", "connect_error")
    run_loop(loop, lambda: heard.events)
    assert heard.take() == [("connect_error", socket.error, errno.ETIMEDOUT)]
    assert shaking.shaking is None


def test_cancel_ends_the_step(loop: LoopBase, shaking: Shaking) -> None:
    shaking.cancel()
    assert shaking.shaking is None
    assert loop.scheduled_events() == []
