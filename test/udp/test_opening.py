"""Opening the sockets of an endpoint: binding, families, sizes."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from thor.udp import opening
from thor.udp.opening import EVERYWHERE, Options, open_bound

PLAIN = Options(False, False, False, None, True, 0)
V4, V6 = socket.AF_INET, socket.AF_INET6
AWAY: opening.Place = (V4, ("192.0.2.1", 0))


@contextmanager
def opened(*args: Any) -> Iterator[list[socket.socket]]:
    sockets = open_bound(*args)
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def test_every_interface_is_two_sockets_on_one_port() -> None:
    with opened(EVERYWHERE, 0, PLAIN) as sockets:
        assert [sock.family for sock in sockets] == [V4, V6]
        ports = {sock.getsockname()[1] for sock in sockets}
        assert len(ports) == 1
        assert 0 not in ports
        assert sockets[1].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        assert not any(sock.getblocking() for sock in sockets)


@contextmanager
def taken_port() -> Iterator[int]:
    """A port that is free for IPv4 alone."""
    with socket.socket(V6, socket.SOCK_DGRAM) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("::", 0))
        yield taken.getsockname()[1]


def test_a_port_that_is_free_for_one_family_only_is_chosen_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = opening.open_socket
    with taken_port() as first:
        chosen = iter([first, 0])

        def choose(family: int, options: Options, address: Any) -> socket.socket:
            if family == V4:
                address = (address[0], next(chosen))
            return real(family, options, address)

        monkeypatch.setattr(opening, "open_socket", choose)
        with opened(EVERYWHERE, 0, PLAIN) as sockets:
            assert first not in {sock.getsockname()[1] for sock in sockets}
            assert len(sockets) == 2


def test_a_port_that_is_asked_for_is_not_chosen_anew_and_nothing_stays_open() -> None:
    with taken_port() as port:
        with pytest.raises(OSError, match="in use") as caught:
            open_bound(EVERYWHERE, port, PLAIN)
        with opened(EVERYWHERE[:1], port, PLAIN) as [sock]:
            assert sock.getsockname()[1] == port
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("missing", [V4, V6])
def test_a_family_that_the_machine_lacks_is_left_out(
    monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    real = opening.open_socket

    def lack(family: int, options: Options, address: Any) -> socket.socket:
        if family == missing:
            raise OSError(errno.EAFNOSUPPORT, "no such family")
        return real(family, options, address)

    monkeypatch.setattr(opening, "open_socket", lack)
    with opened(EVERYWHERE, 0, PLAIN) as [only]:
        assert only.family != missing
        assert only.getsockname()[1]


@pytest.mark.parametrize("places", [[AWAY], [AWAY, AWAY]], ids=["one", "two"])
def test_addresses_of_another_machine_alone_are_an_error(places: list[opening.Place]) -> None:
    with pytest.raises(OSError) as caught:
        open_bound(places, 0, PLAIN)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_options_that_the_kernel_does_not_know_are_done_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(opening._LINUX_OPTIONS, V4, [(socket.IPPROTO_IP, 9999, 1)])
    monkeypatch.setattr(opening, "LINUX", True)
    with opened([(V4, ("127.0.0.1", 0))], 0, PLAIN) as [sock]:
        assert sock.getsockname()[1]


def test_elsewhere_the_send_buffer_is_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(socket.socket):
        def getsockopt(self, *args: Any) -> Any:
            assert args == (socket.SOL_SOCKET, socket.SO_SNDBUF)
            return 9216

    monkeypatch.setattr(opening, "LINUX", False)
    monkeypatch.setattr(socket, "socket", Small)
    assert opening.most_data(V4) == 9216


@pytest.mark.parametrize(
    ("host", "family", "literal"),
    [
        pytest.param("127.0.0.1", V4, True, id="IPv4"),
        pytest.param(b"127.0.0.1", V4, True, id="bytes"),
        pytest.param("::1", V6, True, id="IPv6"),
        pytest.param(b"2001:DB8::1", V6, True, id="upper case"),
        pytest.param("fe80::1%eth0", None, True, id="with an interface"),
        pytest.param("127.1", None, False, id="short"),
        pytest.param("localhost", None, False, id="name"),
        pytest.param("", None, False, id="empty"),
        pytest.param("a\0b", None, False, id="NUL"),
        pytest.param("\udc80", None, False, id="surrogate"),
        pytest.param(b"\xff", None, False, id="no ASCII"),
    ],
)
def test_literal_addresses_are_told_from_names(
    host: Any, family: int | None, literal: bool
) -> None:
    assert (opening.literal_family(host), opening.is_literal(host)) == (family, literal)
