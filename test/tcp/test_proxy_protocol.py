"""The PROXY protocol's header as bytes, read and written."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxy_headers import (
    DESTINATION,
    DESTINATION6,
    INVALID,
    SOURCE,
    SOURCE6,
    UNIX,
    V4,
    V6,
    VALID,
    block,
    summed,
    tlv,
)

from thor.tcp.proxy_protocol import (
    MAX_HEADER_BYTES,
    MAX_LINE_BYTES,
    SIGNATURE,
    ProxyHeader,
    header_length,
    parse_header,
)
from thor.tcp.proxy_tlvs import (
    CRC32C,
    NOOP,
    PP2_TYPE_ALPN,
    UNIQUE_ID,
    ProxyHeaderError,
)

valid = pytest.mark.parametrize(
    ("data", "says"), [pytest.param(data, says, id=name) for name, data, says in VALID]
)
invalid = pytest.mark.parametrize(
    ("data", "message"), [pytest.param(data, message, id=name) for name, data, message in INVALID]
)


def read(pieces: list[bytes]) -> tuple[ProxyHeader | None, int]:
    """Read a header from a stream that arrives in pieces. Returns: it, and the bytes it took

    No header is None, if the pieces do not make one yet.
    """
    got = b""
    for piece in pieces:
        got += piece
        length = header_length(got)
        if length is not None and length <= len(got):
            return parse_header(got[:length]), length
    return None, 0


# -- what is valid -------------------------------------------------------------------------------


@valid
def test_header_is_read_however_it_is_split(data: bytes, says: ProxyHeader) -> None:
    assert parse_header(data) == says
    for at in range(1, min(len(data), 500)):
        assert read([data[:at], data[at:] + b"more"]) == (says, len(data))
    if len(data) < 1000:
        assert read([bytes([byte]) for byte in data + b"x"]) == (says, len(data))
    for more in (b"", b"\r\n", b"G", b"PROXY UNKNOWN\r\n", SIGNATURE):
        assert header_length(data + more) == len(data)
    for end in range(1, min(len(data), 500)):
        length = header_length(data[:end])
        assert length is None or length == len(data)
        with pytest.raises(ProxyHeaderError, match="exactly one"):
            parse_header(data[:end])


@valid
def test_what_is_read_can_be_written_and_read_again(data: bytes, says: ProxyHeader) -> None:
    again = parse_header(says.to_bytes())
    # The checksum is of the header, padding included, which is not kept.
    tlvs = [[one for one in header.tlvs if one[0] != CRC32C] for header in (again, says)]
    assert tlvs[0] == tlvs[1]
    assert replace(again, tlvs=says.tlvs) == says


def test_it_needs_all_of_the_bytes_and_no_more() -> None:
    for data in (b"", block(V4) + b"x", b"PROXY UNKNOWN\r\n\r\n"):
        with pytest.raises(ProxyHeaderError, match="exactly one"):
            parse_header(data)


# -- what is not ---------------------------------------------------------------------------------


@invalid
def test_invalid_header_is_refused_however_it_is_split(data: bytes, message: str) -> None:
    splits = [[data[:at], data[at:]] for at in range(1, len(data))]
    for pieces in ([data], [bytes([byte]) for byte in data], *splits):
        with pytest.raises(ProxyHeaderError, match=message):
            read(pieces)


@pytest.mark.parametrize(
    ("data", "at"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n", 1, id="another protocol"),
        pytest.param(b"PROXYv2", 6, id="the end of the word"),
        pytest.param(b"\r\nGET /", 3, id="the signature"),
        pytest.param(block(V4, what=0x31), 13, id="the version"),
        pytest.param(block(V4, 0x41), 16, id="the family"),
        pytest.param(block(V4, length=11), 16, id="the length"),
        pytest.param(b"PROXY TCP4 1\n.2.3.4", 13, id="a bare LF"),
        pytest.param(b"PROXY TCP4 1\r.2.3.4", 14, id="a bare CR"),
        pytest.param(b"PROXY TCP4 " + b"1" * 200, MAX_LINE_BYTES, id="the line's limit"),
    ],
)
def test_it_is_refused_as_soon_as_it_can_be_seen(data: bytes, at: int) -> None:
    assert header_length(data[: at - 1] or b"P") is None
    with pytest.raises(ProxyHeaderError):
        header_length(data[:at])


# -- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "data"),
    [
        pytest.param(
            ProxyHeader(SOURCE, DESTINATION, version=1),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 1024 80\r\n",
            id="TCP4",
        ),
        pytest.param(
            ProxyHeader(("2001:DB8:0::1", 1), ("::1", 2), version=1),
            b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
            id="TCP6",
        ),
        pytest.param(
            ProxyHeader(("fe80::1%lo", 1, 0, 3), ("::1", 2, 0, 0), version=1),
            b"PROXY TCP6 fe80::1 ::1 1 2\r\n",
            id="an interface",
        ),
        pytest.param(
            ProxyHeader(("::ffff:192.0.2.1", 1), ("::1", 2), version=1),
            b"PROXY TCP6 0000:0000:0000:0000:0000:ffff:c000:0201 ::1 1 2\r\n",
            id="mapped",
        ),
        pytest.param(ProxyHeader(version=1), b"PROXY UNKNOWN\r\n", id="no addresses"),
        pytest.param(ProxyHeader("/a", "/b", version=1), b"PROXY UNKNOWN\r\n", id="Unix"),
        pytest.param(
            ProxyHeader(SOURCE, DESTINATION, version=1, socktype=socket.SOCK_DGRAM),
            b"PROXY UNKNOWN\r\n",
            id="UDP",
        ),
    ],
)
def test_line_is_written(header: ProxyHeader, data: bytes) -> None:
    assert header.to_bytes() == data
    assert len(data) <= MAX_LINE_BYTES


@pytest.mark.parametrize(
    ("header", "data"),
    [
        pytest.param(ProxyHeader(SOURCE, DESTINATION), block(V4), id="TCP4"),
        pytest.param(ProxyHeader(SOURCE6[:2], DESTINATION6), block(V6, 0x21), id="TCP6"),
        pytest.param(ProxyHeader("/run/client", "/run/server"), block(UNIX, 0x31), id="Unix"),
        pytest.param(ProxyHeader(command="LOCAL"), block(b"", 0, what=0x20), id="LOCAL"),
        pytest.param(ProxyHeader(), block(b"", 0), id="unspecified"),
        pytest.param(
            ProxyHeader(SOURCE, DESTINATION, tlvs=[(NOOP, b"x"), (0xE0, b"")]),
            block(V4 + tlv(NOOP, b"x") + tlv(0xE0, b"")),
            id="TLVs",
        ),
        pytest.param(
            ProxyHeader(SOURCE, DESTINATION, tlvs=[(PP2_TYPE_ALPN, b"h2"), (CRC32C, b"junk")]),
            summed(V4, 0x11, tlv(PP2_TYPE_ALPN, b"h2")),
            id="the checksum is computed",
        ),
    ],
)
def test_block_is_written(header: ProxyHeader, data: bytes) -> None:
    assert header.to_bytes() == data


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"version": 3}, "version 3", id="version"),
        pytest.param({"command": "local"}, "command 'local'", id="command"),
        pytest.param({"version": 1, "command": "LOCAL"}, "version 1 has", id="LOCAL in 1"),
        pytest.param(
            {"version": 1, "tlvs": [(PP2_TYPE_ALPN, b"")]}, "version 1 has", id="TLVs in 1"
        ),
        pytest.param(
            {"command": "LOCAL", "source": SOURCE, "destination": SOURCE},
            "LOCAL has no addresses",
            id="LOCAL with addresses",
        ),
        pytest.param({"source": SOURCE}, "two families", id="one address"),
        pytest.param({"source": SOURCE, "destination": SOURCE6}, "two families", id="both"),
        pytest.param({"source": SOURCE, "destination": "/x"}, "two families", id="Unix, IPv4"),
        pytest.param({"source": ("name", 1), "destination": SOURCE}, "not an address", id="name"),
        pytest.param({"source": ("::1", -1), "destination": SOURCE6}, "not an address", id="port"),
        pytest.param({"source": ("::1", 65536), "destination": SOURCE6}, "not an", id="65536"),
        pytest.param({"source": "x" * 109, "destination": ""}, "too long", id="path"),
        pytest.param(
            {"source": SOURCE, "destination": SOURCE, "socktype": 99}, "socket type", id="socktype"
        ),
        pytest.param({"tlvs": [(UNIQUE_ID, bytes(129))]}, "longer than 128", id="TLV"),
        pytest.param({"tlvs": [(CRC32C, b"")]}, "4 bytes", id="checksum"),
    ],
)
def test_what_cannot_be_said_is_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProxyHeader(**settings)


@pytest.mark.parametrize(
    "tlvs",
    [
        pytest.param([(0xE0, bytes(MAX_HEADER_BYTES - 16 - 2))], id="above the limit"),
        pytest.param([(0xE0, bytes(65536))], id="no TLV"),
        pytest.param([(256, b"")], id="no type"),
    ],
)
def test_what_does_not_fit_is_an_error(tlvs: list[tuple[int, bytes]]) -> None:
    with pytest.raises(ValueError, match=r"header of 16385 bytes|no TLV can be"):
        ProxyHeader(tlvs=tlvs).to_bytes()


# -- what it says --------------------------------------------------------------------------------


def test_family_is_that_of_the_addresses() -> None:
    families = {name: header.family for name, _, header in VALID}
    assert families["v1 TCP4"] == socket.AF_INET
    assert families["v2 UDP6"] == socket.AF_INET6
    assert families["v2 Unix, unnamed"] == socket.AF_UNIX
    assert families["v2 LOCAL with addresses"] == socket.AF_UNSPEC


# -- anything at all -----------------------------------------------------------------------------

IPS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)
PORTS = st.integers(0, 65535)
OWN_TLVS = st.lists(st.tuples(st.integers(0xE0, 0xFF), st.binary(max_size=50)), max_size=5)


@given(IPS, PORTS, PORTS, st.sampled_from([1, 2]), OWN_TLVS)
def test_what_is_written_is_what_is_read(
    ips: Any, port: int, to: int, version: int, tlvs: Any
) -> None:
    rest = () if ips[0].version == 4 else (0, 0)
    family = socket.AF_INET if ips[0].version == 4 else socket.AF_INET6
    hosts = [socket.inet_ntop(family, ip.packed) for ip in ips]
    header = ProxyHeader(
        (hosts[0], port, *rest),
        (hosts[1], to, *rest),
        version=version,
        tlvs=tlvs if version == 2 else (),
    )
    assert parse_header(header.to_bytes()) == header


@given(st.sampled_from(VALID), st.data())
def test_broken_header_is_read_or_refused_and_nothing_else(case: Any, data: Any) -> None:
    header = bytearray(case[1][:400])
    for _ in range(data.draw(st.integers(1, 3))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    try:
        found, length = read([bytes(header)])
    except ProxyHeaderError:
        return
    assert length <= len(header)
    assert found is None or parse_header(found.to_bytes()) == found
