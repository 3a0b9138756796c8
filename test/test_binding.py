"""Sockets bound to a host and port: which addresses, and one port for all of them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Any

import pytest

from thor import binding
from thor.binding import WILDCARD, BindAddress, Opener, open_all, resolve_bind_addresses
from thor.types import Address

V4, V6 = socket.AF_INET, socket.AF_INET6
AWAY = BindAddress(V4, ("192.0.2.1", 0))


def bind_tcp(family: int, address: Address) -> socket.socket:
    return _bind(socket.SOCK_STREAM, family, address)


def bind_udp(family: int, address: Address) -> socket.socket:
    return _bind(socket.SOCK_DGRAM, family, address)


def _bind(kind: int, family: int, address: Address) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        if family == V6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


@pytest.fixture(params=[bind_tcp, bind_udp], ids=["tcp", "udp"])
def opener(request: pytest.FixtureRequest) -> Opener:
    found: Opener = request.param
    return found


@contextmanager
def opened(places: list[BindAddress], port: int, opener: Opener) -> Iterator[list[socket.socket]]:
    sockets = open_all(places, port, opener)
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


@contextmanager
def taken_port(opener: Opener) -> Iterator[int]:
    """A port that is free for IPv4 alone."""
    with opened(WILDCARD, 0, opener) as [free, taken]:
        free.close()
        yield taken.getsockname()[1]


# -- one port ------------------------------------------------------------------------------------


def test_every_interface_is_two_sockets_on_one_port(opener: Opener) -> None:
    with opened(WILDCARD, 0, opener) as sockets:
        assert [sock.family for sock in sockets] == [V4, V6]
        assert len({sock.getsockname()[1] for sock in sockets} - {0}) == 1


def test_port_that_is_free_for_one_family_only_is_chosen_anew(opener: Opener) -> None:
    with taken_port(opener) as first:
        chosen = chain([first], repeat(0))

        def choose(family: int, address: Any) -> socket.socket:
            return opener(family, (address[0], next(chosen)) if family == V4 else address)

        with opened(WILDCARD, 0, choose) as sockets:
            assert len({sock.getsockname()[1] for sock in sockets} - {0, first}) == 1


def test_port_that_is_never_free_is_given_up(opener: Opener) -> None:
    with taken_port(opener) as first, pytest.raises(OSError, match="in use"):
        open_all(WILDCARD, 0, lambda family, address: opener(family, (address[0], first)))


def test_port_that_is_asked_for_is_not_chosen_anew_and_nothing_stays_open(
    opener: Opener,
) -> None:
    with taken_port(opener) as port:
        with pytest.raises(OSError, match=f"in use: ':: port {port}'") as caught:
            open_all(WILDCARD, port, opener)
        assert caught.value.errno == errno.EADDRINUSE
        with opened(WILDCARD[:1], port, opener) as [sock]:
            assert sock.getsockname()[1] == port


# -- which addresses -----------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [V4, V6])
def test_family_that_the_machine_lacks_is_left_out(opener: Opener, missing: int) -> None:
    def lack(family: int, address: Address) -> socket.socket:
        if family == missing:
            raise OSError(errno.EAFNOSUPPORT, "no such family")
        return opener(family, address)

    with opened(WILDCARD, 0, lack) as [only]:
        assert only.family != missing
        assert only.getsockname()[1]


@pytest.mark.parametrize("places", [[AWAY], [AWAY, AWAY]], ids=["one", "two"])
def test_addresses_of_another_machine_alone_are_an_error(
    opener: Opener, places: list[BindAddress]
) -> None:
    with pytest.raises(OSError, match=r"'192\.0\.2\.1 port 9'") as caught:
        open_all(places, 9, opener)
    assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("host", ["", b"", None])
def test_no_host_is_every_interface(host: Any) -> None:
    assert resolve_bind_addresses(host, socket.SOCK_STREAM) is WILDCARD


def answer_with(rows: Any) -> Callable[..., Any]:
    def getaddrinfo(*args: Any) -> Any:
        if isinstance(rows, OSError):
            raise rows
        return rows

    return getaddrinfo


def test_name_stands_for_all_its_addresses_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        (V6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (V4, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (V4, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", answer_with(rows))
    places = resolve_bind_addresses("both.test", socket.SOCK_STREAM)
    assert places == [(V6, ("::1", 0, 0, 0)), (V4, ("127.0.0.1", 0))]


def test_unknown_name_is_an_error_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = socket.gaierror(socket.EAI_NONAME, "unknown")
    monkeypatch.setattr(socket, "getaddrinfo", answer_with(failure))
    with pytest.raises(socket.gaierror, match=r"unknown: 'no\.test'"):
        resolve_bind_addresses("no.test", socket.SOCK_STREAM)


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [("a", None, "'a'"), (b"a", 80, "'a port 80'"), ("::1", 0, "'::1 port 0'")],
)
def test_error_keeps_its_kind_and_says_what_it_is_about(
    host: Any, port: int | None, name: str
) -> None:
    exc = binding.with_address(PermissionError(errno.EACCES, "no"), host, port)
    assert isinstance(exc, PermissionError)
    assert str(exc) == f"[Errno {errno.EACCES}] no: {name}"
