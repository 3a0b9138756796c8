"""Opening the sockets of an endpoint: options, families, sizes."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from thor.udp import sockets as udp_sockets
from thor.udp.sockets import Options, open_socket

PLAIN = Options(False, False, False, None, True, 0)
V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(("family", "host"), [(V4, "0.0.0.0"), (V6, "::")])
def test_socket_takes_its_family_alone(family: int, host: str) -> None:
    with open_socket(family, PLAIN, (host, 0)) as sock:
        assert sock.getsockname()[1]
        assert not sock.getblocking()
        assert family == V4 or sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_port_in_use_leaves_no_socket_open() -> None:
    with open_socket(V4, PLAIN, ("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        open_socket(V4, PLAIN, taken.getsockname())


def test_options_that_the_kernel_does_not_know_are_done_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(udp_sockets._LINUX_OPTIONS, V4, [(socket.IPPROTO_IP, 9999, 1)])
    monkeypatch.setattr(udp_sockets, "LINUX", True)
    with open_socket(V4, PLAIN, ("127.0.0.1", 0)) as sock:
        assert sock.getsockname()[1]


def test_elsewhere_the_send_buffer_is_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(socket.socket):
        def getsockopt(self, *args: Any) -> Any:
            assert args == (socket.SOL_SOCKET, socket.SO_SNDBUF)
            return 9216

    monkeypatch.setattr(udp_sockets, "LINUX", False)
    monkeypatch.setattr(socket, "socket", Small)
    assert udp_sockets.max_datagram_bytes(V4) == 9216


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
    assert (udp_sockets.literal_family(host), udp_sockets.is_literal(host)) == (family, literal)
