"""What a host and an address say."""

from __future__ import annotations

import sys
from ipaddress import ip_network
from typing import Any

import pytest

from thor.tcp.address import Networks, plain_ip, unix_path, unmapped


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


@pytest.mark.skipif("sys.platform != 'linux'")
@pytest.mark.parametrize(
    ("host", "name"),
    [
        pytest.param("unix:@name", b"\0name", id="str"),
        pytest.param(b"unix:@n\xff", b"\0n\xff", id="bytes"),
        pytest.param("unix:@/a path", b"\0/a path", id="with a slash"),
        pytest.param("unix:./@name", "./@name", id="a path all the same"),
    ],
)
def test_abstract_name(host: str | bytes, name: str | bytes) -> None:
    assert unix_path(host) == name


@pytest.mark.parametrize(("host", "message"), [("unix:", "without a path"), ("unix:@", "a name")])
def test_unix_path_must_not_be_empty(host: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unix_path(host)


@pytest.mark.parametrize("host", ["unix:/a\0b", b"unix:/a\0b", "unix:/\ud800"])
def test_unix_path_must_be_one_that_a_file_can_have(host: str | bytes) -> None:
    """Of `/a\0b` the kernel would see `/a`."""
    with pytest.raises(ValueError, match=r"NUL|encode"):
        unix_path(host)


def test_abstract_names_are_linuxs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ValueError, match="Linux"):
        unix_path("unix:@name")


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


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        (("::ffff:192.0.2.1", 80, 0, 0), ("192.0.2.1", 80)),
        (("::1", 80, 0, 0), ("::1", 80, 0, 0)),
        (("::ffff:0:1", 80, 0, 0), ("::ffff:0:1", 80, 0, 0)),
        (("64:ff9b::192.0.2.1", 80, 0, 0), ("64:ff9b::192.0.2.1", 80, 0, 0)),
        (("192.0.2.1", 80), ("192.0.2.1", 80)),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        (b"\0name", b"\0name"),
        ("", ""),
    ],
)
def test_unmapped(address: Any, plain: Any) -> None:
    assert unmapped(address) == plain


@pytest.mark.parametrize(
    ("networks", "address", "trusted"),
    [
        (["10.0.0.0/8"], ("10.1.2.3", 1), True),
        (["10.0.0.0/8"], ("11.1.2.3", 1), False),
        (["10.1.2.3/8"], ("10.9.9.9", 1), True),
        (["10.0.0.1"], ("10.0.0.1", 1), True),
        (["10.0.0.1"], ("10.0.0.2", 1), False),
        (["192.0.2.1", "10.0.0.1"], ("10.0.0.1", 1), True),
        ([ip_network("10.0.0.0/8")], ("10.0.0.1", 1), True),
        (["10.0.0.0/8"], ("::ffff:10.0.0.1", 1, 0, 0), True),
        (["10.0.0.0/8"], ("64:ff9b::a00:1", 1, 0, 0), False),
        (["::/0"], ("10.0.0.1", 1), False),
        (["::/0"], ("::ffff:10.0.0.1", 1, 0, 0), False),
        (["fe80::/10"], ("fe80::1%eth0", 1, 0, 2), True),
        (["2001:db8::/32"], ("2001:db8::1", 1, 0, 0), True),
        (["unix:"], "", True),
        (["unix:"], b"\0name", True),
        (["unix:"], "/run/peer", True),
        (["unix:"], ("127.0.0.1", 1), False),
        (["0.0.0.0/0", "::/0"], "", False),
        (["0.0.0.0/0", "::/0"], ("no address", 1), False),
        ([], ("127.0.0.1", 1), False),
    ],
)
def test_networks(networks: Any, address: Any, trusted: bool) -> None:
    assert (address in Networks(iter(networks))) is trusted
