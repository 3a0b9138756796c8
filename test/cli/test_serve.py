"""`thor serve`."""

from __future__ import annotations

import signal
import socket
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
        assert socket.create_connection(("::1", server.port), 10).close() is None


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    complains(here("serve", missing), 1, f"cannot serve '{missing}': No such file or directory")
    (tmp_path / "file").write_text("x")
    complains(here("serve", str(tmp_path / "file")), 1, "Not a directory")


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        result = here("serve", str(tmp_path), "--listen", where)
    complains(result, 1, f"cannot listen on {where}: Address already in use")


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    result = here("serve", str(tmp_path), "--listen", "192.0.2.1:0")
    complains(result, 1, "cannot listen on 192.0.2.1:0")
