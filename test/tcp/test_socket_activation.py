"""Sockets that a service manager has opened."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tcp_support import PEER_LIMIT_S

from thor.loop import LoopBase
from thor.tcp import TcpConnection, TcpServer, listen_fds, socket_activation
from thor.tcp.socket_activation import ListenSocket
from thor_support import ROOT, run_loop

VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Two sockets, passed to this process as a service manager does; but not from fd 3 on."""
    sockets = [socket.socket(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)]
    sockets[0].bind(("127.0.0.1", 0))
    first = 500
    for number, sock in enumerate(sockets):
        os.dup2(sock.fileno(), first + number)
    monkeypatch.setattr(socket_activation, "LISTEN_FDS_START", first)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", "web:log")
    yield sockets
    for number, sock in enumerate(sockets):
        sock.close()
        try:
            os.close(first + number)
        except OSError:
            pass  # the test has closed it


def close(sockets: list[ListenSocket]) -> None:
    for sock in sockets:
        sock.close()


def test_sockets_that_are_passed(passed: list[socket.socket]) -> None:
    found = listen_fds()
    assert [sock.name for sock in found] == ["web", "log"]
    assert [(sock.family, sock.type) for sock in found] == [
        (socket.AF_INET, socket.SOCK_STREAM),
        (socket.AF_UNIX, socket.SOCK_DGRAM),
    ]
    assert found[0].getsockname() == passed[0].getsockname()
    assert not any(sock.get_inheritable() for sock in found)
    close(found)


def test_they_are_passed_once(passed: list[socket.socket]) -> None:
    close(listen_fds())
    assert listen_fds() == []
    assert not any(name in os.environ for name in VARIABLES)


@pytest.mark.parametrize("names", [None, ""])
def test_sockets_without_a_name(
    passed: list[socket.socket], monkeypatch: pytest.MonkeyPatch, names: str | None
) -> None:
    if names is None:
        monkeypatch.delenv("LISTEN_FDNAMES")
    else:
        monkeypatch.setenv("LISTEN_FDNAMES", names)
    found = listen_fds()
    assert [sock.name for sock in found] == ["unknown", "unknown"]
    close(found)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LISTEN_PID", None),
        ("LISTEN_PID", "1"),
        ("LISTEN_FDS", None),
        ("LISTEN_FDS", "0"),
    ],
)
def test_no_sockets_are_passed(
    passed: list[socket.socket], monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None
) -> None:
    monkeypatch.delenv("LISTEN_FDNAMES")
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    assert listen_fds() == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LISTEN_PID", "self"),
        ("LISTEN_FDS", "-1"),
        ("LISTEN_FDS", ""),
        ("LISTEN_FDS", "\u0662"),
        ("LISTEN_FDS", "9" * 30),
        ("LISTEN_FDNAMES", "web"),
        ("LISTEN_FDNAMES", "a:b:c"),
    ],
)
def test_variables_that_make_no_sense_are_an_error(
    passed: list[socket.socket], monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=variable):
        listen_fds()


def test_what_is_no_socket_is_an_error(passed: list[socket.socket]) -> None:
    with open(os.devnull) as file:
        os.dup2(file.fileno(), 501)
    with pytest.raises(OSError, match="fd 501 of LISTEN_FDS") as caught:
        listen_fds()
    assert caught.value.errno == errno.ENOTSOCK
    assert os.fstat(500)  # nothing was closed


def test_fd_that_is_not_there_is_an_error(
    passed: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.delenv("LISTEN_FDNAMES")
    with pytest.raises(OSError, match="fd 502 of LISTEN_FDS"):
        listen_fds()


#: Stands for a service manager: it passes its stdin as fd 3, then becomes the program.
MANAGER = """
import os, sys
os.dup2(0, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
PROGRAM = """
import thor
[sock] = thor.tcp.listen_fds()
server = thor.TcpServer(None, None, sock=sock)
@thor.on(server)
def connect(conn):
    conn.write(f"{sock.name} {server.address[1]}")
    conn.on("disconnect", thor.stop)
    conn.close()
thor.run()
"""


def test_program_that_is_started_by_a_service_manager() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with (
            socket.create_connection(("127.0.0.1", port), PEER_LIMIT_S) as client,
            subprocess.Popen(
                [sys.executable, "-c", MANAGER, "-W", "error", "-c", PROGRAM],
                cwd=ROOT,
                stdin=listening.fileno(),
            ) as process,
        ):
            try:
                assert client.recv(100) == f"web {port}".encode()
                assert process.wait(PEER_LIMIT_S) == 0
            finally:
                process.kill()


# -- what a server makes of a socket that it is given --------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_socket_of_both_families_reports_no_mapped_address(loop: LoopBase, host: str) -> None:
    sock = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    server = TcpServer(None, None, loop, sock=sock)
    conns: list[TcpConnection] = []
    server.on("connect", conns.append)
    with socket.create_connection((host, sock.getsockname()[1]), PEER_LIMIT_S) as client:
        run_loop(loop, lambda: conns)
        assert conns[0].address == client.getsockname()
        assert conns[0].local_address == client.getpeername()
        server.shutdown()
        loop.run_once()


def test_file_of_an_inherited_socket_is_not_the_servers_to_remove(
    loop: LoopBase, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    server = TcpServer(None, None, loop, sock=sock)
    assert server.address == str(path)
    server.close()
    loop.run_once()
    assert path.exists()


@pytest.mark.parametrize("settings", [{"reuse_port": True}, {"mode": 0o600}])
def test_settings_of_a_socket_that_the_server_does_not_open_are_refused(
    make_loop: Callable[..., LoopBase], settings: dict[str, Any]
) -> None:
    with socket.socket() as sock, pytest.raises(ValueError, match="that the server opens"):
        TcpServer(None, None, make_loop(), sock=sock, **settings)
