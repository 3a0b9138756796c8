"""What a host and an address say."""

from __future__ import annotations

import pytest

from thor.tcp.address import plain_ip, unix_path


@pytest.mark.parametrize(
    ("host", "path"),
    [
        pytest.param("unix:/run/x.sock", "/run/x.sock", id="str"),
        pytest.param(b"unix:/run/x.sock", "/run/x.sock", id="bytes"),
        pytest.param("unix:relative", "relative", id="relative"),
        pytest.param("unix", None, id="a name"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="none"),
        pytest.param("::1", None, id="an address"),
    ],
)
def test_unix_path(host: str | bytes | None, path: str | None) -> None:
    assert unix_path(host) == path


def test_a_unix_path_must_not_be_empty() -> None:
    with pytest.raises(ValueError, match="path"):
        unix_path("unix:")


@pytest.mark.parametrize(
    ("ip", "plain"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", id="IPv4"),
        pytest.param("2001:db8::1", "2001:db8::1", id="IPv6"),
        pytest.param("::ffff:127.0.0.1", "127.0.0.1", id="mapped"),
        pytest.param("::FFFF:7f00:1", "127.0.0.1", id="mapped, in hex"),
        pytest.param("64:ff9b::7f00:1", "127.0.0.1", id="NAT64"),
        pytest.param("64:ff9b::10.0.0.1", "10.0.0.1", id="NAT64, dotted"),
        pytest.param("64:ff9b:1::a00:1", "64:ff9b:1::a00:1", id="not the well-known prefix"),
        pytest.param("fe80::1%lo", "fe80::1", id="with an interface"),
        pytest.param("2001:0DB8:0::0:1", "2001:db8::1", id="not canonical"),
    ],
)
def test_plain_ip(ip: str, plain: str) -> None:
    assert plain_ip(ip) == plain
