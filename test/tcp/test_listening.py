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

from thor.tcp import listening
from thor.tcp.listening import open_listening

HAS_V6 = socket.has_ipv6


@contextmanager
def opened(*args: Any, **kwargs: Any) -> Iterator[list[socket.socket]]:
    sockets = open_listening(*args, **kwargs)
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def test_a_port_that_is_in_use_is_an_error_at_once() -> None:
    with opened("127.0.0.1", 0) as [sock]:
        with pytest.raises(OSError, match="in use") as caught:
            open_listening("127.0.0.1", sock.getsockname()[1])
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("host", ["", b"", None])
def test_every_interface_is_two_sockets_on_one_port(host: Any) -> None:
    with opened(host, 0) as sockets:
        assert [sock.family for sock in sockets] == [socket.AF_INET, socket.AF_INET6]
        ports = {sock.getsockname()[1] for sock in sockets}
        assert len(ports) == 1
        assert 0 not in ports
        assert sockets[1].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_a_port_that_is_free_for_one_family_only_is_chosen_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6) as taken:
        first = taken.getsockname()[1]
        chosen = iter([first, 0])
        real = listening._open

        def choose(family: int, address: Any, reuse_port: bool) -> socket.socket:
            if family == socket.AF_INET:
                address = (address[0], next(chosen))
            return real(family, address, reuse_port)

        monkeypatch.setattr(listening, "_open", choose)
        with opened("", 0) as sockets:
            assert first not in {sock.getsockname()[1] for sock in sockets}
            assert len(sockets) == 2


def test_a_port_that_is_asked_for_is_not_chosen_anew() -> None:
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6) as taken,
        pytest.raises(OSError, match="in use"),
    ):
        open_listening("", taken.getsockname()[1])


@pytest.mark.parametrize("missing", [socket.AF_INET, socket.AF_INET6])
def test_a_family_that_the_machine_lacks_is_left_out(
    monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    real = listening._open

    def lack(family: int, address: Any, reuse_port: bool) -> socket.socket:
        if family == missing:
            raise OSError(errno.EAFNOSUPPORT, "no such family")
        return real(family, address, reuse_port)

    monkeypatch.setattr(listening, "_open", lack)
    with opened("", 0) as [only]:
        assert only.family != missing
        assert only.getsockname()[1]


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError) as caught:
        open_listening("192.0.2.1", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_name_stands_for_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: rows)
    with opened("both.test", 0) as sockets:
        hosts, ports = zip(*[sock.getsockname()[:2] for sock in sockets], strict=True)
    assert hosts == ("::1", "127.0.0.1")
    assert ports[0] == ports[1]


def test_an_unknown_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror):
        open_listening("unknown.test", 0)


def test_a_port_can_be_shared_by_those_who_ask_for_it() -> None:
    with opened("127.0.0.1", 0, reuse_port=True) as [first]:
        port = first.getsockname()[1]
        with opened("127.0.0.1", str(port), reuse_port=True) as [second]:
            assert second.getsockname()[1] == port


@pytest.mark.parametrize("port", ["http", -1, 65536, ""])
def test_what_is_no_port_is_refused(port: Any) -> None:
    with pytest.raises(ValueError, match="port"):
        open_listening("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "settings"),
    [("unix:s", {"reuse_port": True}), ("127.0.0.1", {"mode": 0o600}), ("", {"mode": 0o600})],
)
def test_what_means_nothing_there_is_refused(host: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is for"):
        open_listening(host, 0, **settings)
    assert not os.path.exists("s")


def test_a_unix_socket_is_opened(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with opened(f"unix:{path}", None, mode=0o600) as [sock]:
        assert sock.getsockname() == path
        assert os.stat(path).st_mode & 0o777 == 0o600
