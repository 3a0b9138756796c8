"""Opening the sockets to listen on."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from thor.tcp.listening import open_listening


@contextmanager
def opened(*args: Any, **kwargs: Any) -> Iterator[list[socket.socket]]:
    sockets = open_listening(*args, **kwargs)
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def test_port_that_is_in_use_is_an_error_at_once() -> None:
    with opened("127.0.0.1", 0) as [sock]:
        port = sock.getsockname()[1]
        with pytest.raises(OSError, match=f"in use: '127.0.0.1 port {port}'") as caught:
            open_listening("127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("host", ["", b"", None])
def test_every_interface_is_two_sockets_on_one_port(host: Any) -> None:
    with opened(host, 0) as sockets:
        assert [sock.family for sock in sockets] == [socket.AF_INET, socket.AF_INET6]
        ports = {sock.getsockname()[1] for sock in sockets}
        assert len(ports) == 1
        assert 0 not in ports
        assert sockets[1].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_port_can_be_shared_by_those_who_ask_for_it() -> None:
    with opened("127.0.0.1", 0, reuse_port=True) as [first]:
        port = first.getsockname()[1]
        with opened("127.0.0.1", str(port), reuse_port=True) as [second]:
            assert second.getsockname()[1] == port


@pytest.mark.parametrize("port", ["http", -1, 65536, ""])
def test_what_is_no_port_is_refused(port: Any) -> None:
    with pytest.raises(ValueError, match="port"):
        open_listening("127.0.0.1", port)


def test_port_that_was_left_out_is_not_a_random_one() -> None:
    with pytest.raises(TypeError, match="a port is needed"):
        open_listening("127.0.0.1", None)


@pytest.mark.parametrize(
    ("host", "settings"),
    [("unix:s", {"reuse_port": True}), ("127.0.0.1", {"mode": 0o600}), ("", {"mode": 0o600})],
)
def test_what_means_nothing_there_is_refused(host: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is for"):
        open_listening(host, 0, **settings)
    assert not os.path.exists("s")


def test_unix_socket_is_opened(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with opened(f"unix:{path}", None, mode=0o600) as [sock]:
        assert sock.getsockname() == path
        assert os.stat(path).st_mode & 0o777 == 0o600
