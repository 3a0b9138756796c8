"""`thor serve`."""

from __future__ import annotations

import os
import re
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from cli_support import ask_together, complains, few_descriptors, here, running


def get(url: str) -> bytes:
    with urlopen(url, timeout=10) as response:
        data: bytes = response.read()
    return data


def test_files_are_served_until_a_signal(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with running("serve", str(tmp_path), "--listen", "127.0.0.1:0") as server:
        assert server.said == f"thor: serving {tmp_path} on {server.url}/\n"
        assert get(f"{server.url}/a.txt") == b"hello"
        with pytest.raises(HTTPError, match="404"):
            get(f"{server.url}/")
        server.signal(signal.SIGTERM)
        assert server.end() == (0, b"", "")


def test_serve_with_few_descriptors_answers_every_client(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(8 << 20)  # more than the buffers take: it stays open
    listen = ("--listen", "127.0.0.1:0")
    with running("serve", str(tmp_path), *listen, preexec_fn=few_descriptors) as server:
        assert set(ask_together(server.port, "/large", 60)) == {b"HTTP/1.1 200 OK"}


def test_directories_are_listed_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with running("serve", str(tmp_path), "--list", "--listen", "127.0.0.1:0") as server:
        assert b"a.txt" in get(f"{server.url}/")
        server.signal(signal.SIGINT)
        assert server.end().code == 0


def test_ipv6_is_shown_in_brackets(tmp_path: Path) -> None:
    with running("serve", str(tmp_path), "--listen", "[::1]:0") as server:
        assert server.host == "[::1]"
        socket.create_connection(("::1", server.port), 10).close()


def test_directory_that_is_not_there(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    complains(here("serve", missing), 1, f"cannot serve '{missing}': No such file or directory")
    (tmp_path / "file").write_text("x")
    complains(here("serve", str(tmp_path / "file")), 1, "Not a directory")


@pytest.fixture
def unreadable() -> Iterator[str]:
    """A directory in which this process may do nothing, whoever it runs as."""
    with tempfile.TemporaryDirectory() as above:
        os.chmod(above, 0o755)
        path = Path(above, "directory")
        path.mkdir(mode=0)
        user = os.geteuid()
        if not user:
            os.seteuid(65534)
        yield str(path)
        os.seteuid(user)


@pytest.mark.parametrize("more", [[], ["--list"]])
def test_serve_fails_at_start_if_it_may_not_read_the_directory(
    unreadable: str, more: list[str]
) -> None:
    result = here("serve", unreadable, *more)
    complains(result, 1, f"cannot serve '{unreadable}': Permission denied")


def test_serve_lists_only_a_directory_that_it_may_read(unreadable: str) -> None:
    user = os.geteuid()
    os.seteuid(0 if os.getuid() == 0 else user)
    os.chmod(unreadable, 0o711 if os.getuid() == 0 else 0o311)
    os.seteuid(user)
    complains(here("serve", unreadable, "--list"), 1, "Permission denied")


# -- the access log -------------------------------------------------------------------------------


def test_serve_writes_an_access_log(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    requests = b"".join(
        b"%b HTTP/1.1\r\nHost: x\r\nReferer: http://u:p@r/?q\r\n\r\n" % line
        for line in (b"GET /a.txt?x", b"HEAD /a.txt", b"GET /b", b"PUT /a.txt")
    )
    where = ("--listen", "127.0.0.1:0")
    with running("serve", str(tmp_path), *where, "--access-log") as server:
        with socket.create_connection((server.host, server.port), 10) as client:
            client.sendall(requests)
            client.shutdown(socket.SHUT_WR)
            received = client.makefile("rb").read()
        with socket.create_connection((server.host, server.port), 10) as client:
            client.sendall(b"GET /\x1b HTTP/1.1\r\nHost: x\r\n\r\n")
            received += client.makefile("rb").read()
        server.signal(signal.SIGTERM)
        code, out, err = server.end()
    assert (code, err) == (0, "")
    bodies = re.findall(rb"HTTP/1.1 (\d+) .*?\r\ncontent-length: (\d+)", received, re.S | re.I)
    start = r"127\.0\.0\.1 - - \[[^]]+\] "
    ends = [
        r'"GET /a\.txt\?x HTTP/1\.1" 200 5 "http://r/\?q" "-" \d+\.\d{6} - -',
        r'"HEAD /a\.txt HTTP/1\.1" 200 0 "http://r/\?q" "-" \d+\.\d{6} - -',
        rf'"GET /b HTTP/1\.1" 404 {int(bodies[2][1])} "http://r/\?q" "-" \d+\.\d{{6}} - -',
        rf'"PUT /a\.txt HTTP/1\.1" 405 {int(bodies[3][1])} "http://r/\?q" "-" \d+\.\d{{6}} - -',
        rf'"-" 400 {int(bodies[4][1])} "-" "-" - - \w+Error',
    ]
    lines = out.decode().splitlines()
    assert len(lines) == len(ends)
    for line, end in zip(lines, ends, strict=True):
        assert re.fullmatch(start + end, line), line


def test_serve_writes_an_access_log_of_all_workers_without_queries(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    options = ("--access-log", "--access-log-query", "off", "--workers", "2")
    with running("serve", str(tmp_path), "--listen", "127.0.0.1:0", *options) as server:
        for _ in range(20):
            assert get(f"{server.url}/a.txt?secret") == b"hello"
        server.signal(signal.SIGTERM)
        lines = server.end().out.decode().splitlines()
    assert len(lines) == 20
    assert all('"GET /a.txt HTTP/1.1" 200 5 ' in line for line in lines)


def test_access_log_query_needs_an_access_log(tmp_path: Path) -> None:
    result = here("serve", str(tmp_path), "--access-log-query", "off")
    complains(result, 2, "--access-log-query goes with --access-log")


# -- Ctrl-C ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_closes_idle_connections_and_says_what_is_waited_for(
    tmp_path: Path, workers: str
) -> None:
    where = ("--listen", "127.0.0.1:0", "--workers", workers)
    with running("serve", str(tmp_path), *where) as server, ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((server.host, server.port), 10))
            for _ in range(6)
        ]
        for client in clients:
            client.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 404 ")
        busy, *idle = clients
        busy.sendall(b"GET / HT")
        os.killpg(server.process.pid, signal.SIGINT)  # as a terminal does
        for client in idle:
            assert client.recv(1) == b""
        assert server.process.stderr is not None
        lines = map(bytes.decode, iter(server.process.stderr.readline, b""))
        said = next((line for line in lines if " worker " not in line), "")
        assert said == "thor: waiting for 1 connection, Ctrl-C again to stop at once\n"
        server.signal(signal.SIGINT)
        code, _, err = server.end()
        assert (code, err.count("waiting")) == (0, 0)


def test_ctrl_c_of_a_server_with_idle_connections_says_nothing(tmp_path: Path) -> None:
    with (
        running("serve", str(tmp_path), "--listen", "127.0.0.1:0") as server,
        socket.create_connection((server.host, server.port), 10) as client,
    ):
        client.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 404 ")
        server.signal(signal.SIGINT)
        assert server.end() == (0, b"", "")


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        result = here("serve", str(tmp_path), "--listen", where)
    complains(result, 1, f"cannot listen on {where}: Address already in use")


def test_address_of_another_machine(tmp_path: Path) -> None:
    result = here("serve", str(tmp_path), "--listen", "192.0.2.1:0")
    complains(result, 1, "cannot listen on 192.0.2.1:0")
