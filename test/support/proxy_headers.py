"""PROXY headers, right and wrong: for the tests of what reads them, and of what waits for them.

Owns: the tables, and what makes such headers without the code under test. Must not know any test.
"""

from __future__ import annotations

import socket
import struct

from thor.tcp.proxy_protocol import MAX_HEADER_BYTES, MAX_LINE_BYTES, SIGNATURE, ProxyHeader
from thor.tcp.proxy_tlvs import (
    AUTHORITY,
    CLIENT_CERT_CONN,
    CLIENT_SSL,
    CRC32C,
    NETNS,
    NOOP,
    PP2_TYPE_ALPN,
    SSL,
    UNIQUE_ID,
    crc32c,
)

V4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack("!HH", 1024, 80)
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + struct.pack("!HH", 1024, 443)
)
UNIX = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")
SOURCE, DESTINATION = ("192.0.2.1", 1024), ("198.51.100.2", 80)
LONGEST6 = (":".join(["ffff"] * 8), 65535, 0, 0)
SOURCE6, DESTINATION6 = ("2001:db8::1", 1024, 0, 0), ("2001:db8::2", 443, 0, 0)


def block(
    rest: bytes = b"", kind: int = 0x11, *, what: int = 0x21, length: int | None = None
) -> bytes:
    """A header of version 2, right or wrong."""
    size = len(rest) if length is None else length
    return SIGNATURE + bytes([what, kind]) + struct.pack("!H", size) + rest


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + struct.pack("!H", len(value)) + value


def summed(addresses: bytes, kind: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """A header with its checksum, between other TLVs."""
    empty = block(addresses + before + tlv(CRC32C, bytes(4)) + after, kind)
    at = 16 + len(addresses + before) + 3
    return empty[:at] + struct.pack("!I", crc32c(empty)) + empty[at + 4 :]


SSL_VALUE = (
    bytes([CLIENT_SSL | CLIENT_CERT_CONN])
    + struct.pack("!I", 0)
    + tlv(0x21, b"TLSv1.3")
    + tlv(0x22, "Jos\u00e9".encode())
    + tlv(0x23, b"TLS_AES_128_GCM_SHA256")
    + tlv(0x24, b"RSA-SHA256")
    + tlv(0x25, b"RSA2048")
    + tlv(0x26, b"X25519")
    + tlv(0x27, b"rsa_pss_rsae_sha256")
    + tlv(0x28, b"\x30\x82")
)

#: (id, the header, what it says)
VALID: list[tuple[str, bytes, ProxyHeader]] = [
    (
        "v1 TCP4",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1024 80\r\n",
        ProxyHeader(SOURCE, DESTINATION, version=1),
    ),
    (
        "v1 TCP4, longest",
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        ProxyHeader(("255.255.255.255", 65535), ("255.255.255.255", 65535), version=1),
    ),
    (
        "v1 port 0",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 0 0\r\n",
        ProxyHeader(("192.0.2.1", 0), ("198.51.100.2", 0), version=1),
    ),
    (
        "v1 TCP6",
        b"PROXY TCP6 2001:DB8::1 2001:db8:0:0:0:0:0:2 1024 443\r\n",
        ProxyHeader(SOURCE6, DESTINATION6, version=1),
    ),
    (
        "v1 TCP6, longest",
        b"PROXY TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n",
        ProxyHeader(LONGEST6, LONGEST6, version=1),
    ),
    (
        "v1 TCP6 mapped",
        b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
        ProxyHeader(("::ffff:192.0.2.1", 1, 0, 0), ("::1", 2, 0, 0), version=1),
    ),
    ("v1 UNKNOWN", b"PROXY UNKNOWN\r\n", ProxyHeader(version=1)),
    ("v1 UNKNOWN and more", b"PROXY UNKNOWN what\xff \0ever\r\n", ProxyHeader(version=1)),
    (
        "v1 UNKNOWN, longest",
        b"PROXY UNKNOWN ".ljust(MAX_LINE_BYTES - 2, b"f") + b"\r\n",
        ProxyHeader(version=1),
    ),
    ("v2 TCP4", block(V4), ProxyHeader(SOURCE, DESTINATION)),
    ("v2 TCP6", block(V6, 0x21), ProxyHeader(SOURCE6, DESTINATION6)),
    (
        "v2 UDP4",
        block(V4, 0x12),
        ProxyHeader(SOURCE, DESTINATION, socktype=socket.SOCK_DGRAM),
    ),
    (
        "v2 UDP6",
        block(V6, 0x22),
        ProxyHeader(SOURCE6, DESTINATION6, socktype=socket.SOCK_DGRAM),
    ),
    ("v2 Unix", block(UNIX, 0x31), ProxyHeader("/run/client", "/run/server")),
    (
        "v2 Unix datagrams",
        block(UNIX, 0x32),
        ProxyHeader("/run/client", "/run/server", socktype=socket.SOCK_DGRAM),
    ),
    ("v2 Unix, unnamed", block(bytes(216), 0x31), ProxyHeader("", "")),
    (
        "v2 Unix, abstract and full",
        block(b"\0name".ljust(108, b"\0") + b"x" * 108, 0x31),
        ProxyHeader(b"\0name", "x" * 108),
    ),
    (
        "v2 Unix, not UTF-8, and more after the NUL",
        block(b"/\xff\0rest".ljust(108, b"\0") + bytes(108), 0x31),
        ProxyHeader("/\udcff", ""),
    ),
    ("v2 LOCAL", block(b"", 0, what=0x20), ProxyHeader(command="LOCAL")),
    ("v2 LOCAL with addresses", block(V4, 0x11, what=0x20), ProxyHeader(command="LOCAL")),
    ("v2 LOCAL of no known family", block(b"xyz", 0x7F, what=0x20), ProxyHeader(command="LOCAL")),
    ("v2 LOCAL with half an address", block(V4[:5], 0x21, what=0x20), ProxyHeader(command="LOCAL")),
    (
        "v2 LOCAL with TLVs",
        block(tlv(UNIQUE_ID, b"7"), 0, what=0x20),
        ProxyHeader(command="LOCAL", tlvs=[(UNIQUE_ID, b"7")]),
    ),
    (
        "v2 LOCAL with addresses and TLVs",
        block(V4 + tlv(UNIQUE_ID, b"7"), 0x11, what=0x20),
        ProxyHeader(command="LOCAL", tlvs=[(UNIQUE_ID, b"7")]),
    ),
    ("v2 unspecified", block(b"", 0), ProxyHeader()),
    ("v2 unspecified, and something", block(b"some", 0), ProxyHeader()),
    (
        "v2 unspecified with TLVs",
        block(tlv(PP2_TYPE_ALPN, b"h2"), 0),
        ProxyHeader(tlvs=[(PP2_TYPE_ALPN, b"h2")]),
    ),
    (
        "v2 with the TLVs of the specification",
        block(
            V4
            + tlv(PP2_TYPE_ALPN, b"h2")
            + tlv(NOOP, b"padding")
            + tlv(AUTHORITY, "b\u00fccher.example".encode())
            + tlv(UNIQUE_ID, bytes(range(128)))
            + tlv(NOOP, b"")
            + tlv(SSL, SSL_VALUE)
            + tlv(NETNS, b"blue")
        ),
        ProxyHeader(
            SOURCE,
            DESTINATION,
            tlvs=[
                (PP2_TYPE_ALPN, b"h2"),
                (AUTHORITY, "b\u00fccher.example".encode()),
                (UNIQUE_ID, bytes(range(128))),
                (SSL, SSL_VALUE),
                (NETNS, b"blue"),
            ],
        ),
    ),
    (
        "v2 with TLVs that nobody knows, some twice",
        block(V4 + tlv(0xE0, b"a") + tlv(0xF0, b"") + tlv(0xE0, b"b") + tlv(0, b"")),
        ProxyHeader(SOURCE, DESTINATION, tlvs=[(0xE0, b"a"), (0xF0, b""), (0xE0, b"b"), (0, b"")]),
    ),
    (
        "v2 with a checksum",
        summed(V6, 0x21, tlv(PP2_TYPE_ALPN, b"h2"), tlv(NOOP, b"..") + tlv(0xE1, b"")),
        ProxyHeader(
            SOURCE6,
            DESTINATION6,
            tlvs=[
                (PP2_TYPE_ALPN, b"h2"),
                (CRC32C, bytes.fromhex("8a00c952")),
                (0xE1, b""),
            ],
        ),
    ),
    (
        "v2, longest",
        block(V4 + tlv(0xE0, bytes(MAX_HEADER_BYTES - 16 - 12 - 3))),
        ProxyHeader(SOURCE, DESTINATION, tlvs=[(0xE0, bytes(MAX_HEADER_BYTES - 31))]),
    ),
]

#: (id, what comes, a part of the message)
INVALID: list[tuple[str, bytes, str]] = [
    ("HTTP", b"GET / HTTP/1.1\r\n\r\n", "does not begin"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00", "does not begin"),
    ("an empty line", b"\r\nGET / HTTP/1.1\r\n", "does not begin"),
    ("lower case", b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "does not begin"),
    ("v1 a tab", b"PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n", "does not begin"),
    ("v1 LF", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "bare"),
    ("v1 CR", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rG", "bare"),
    ("v1 CR CRLF", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n", "bare"),
    ("v1 LF in what is ignored", b"PROXY UNKNOWN \nGET / HTTP/1.1\r\n", "bare"),
    ("v1 CR in what is ignored", b"PROXY UNKNOWN \rGET / HTTP/1.1\r\n", "bare"),
    ("v1 too long", b"PROXY UNKNOWN ".ljust(MAX_LINE_BYTES, b"x"), "longer than 107"),
    ("v1 CR where the limit is", b"PROXY UNKNOWN ".ljust(106, b"x") + b"\r", "longer than 107"),
    ("v1 no protocol", b"PROXY \r\n", "the line is not"),
    ("v1 lower case protocol", b"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", "the line is not"),
    ("v1 UDP", b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "the line is not"),
    ("v1 UNKNOWN without a space", b"PROXY UNKNOWNX\r\n", "the line is not"),
    ("v1 two spaces", b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "the line is not"),
    ("v1 a space at the end", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "the line is not"),
    ("v1 no port", b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "the line is not"),
    ("v1 nothing", b"PROXY TCP4\r\n", "the line is not"),
    ("v1 leading zero", b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", "an address"),
    ("v1 three numbers", b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", "an address"),
    ("v1 256", b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", "an address"),
    ("v1 hexadecimal", b"PROXY TCP4 0xc0.0.2.1 192.0.2.2 1 2\r\n", "an address"),
    ("v1 a name", b"PROXY TCP4 localhost 192.0.2.2 1 2\r\n", "an address"),
    ("v1 NUL", b"PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n", "an address"),
    ("v1 not ASCII", b"PROXY TCP4 192.0.2.\xb9 192.0.2.2 1 2\r\n", "an address"),
    ("v1 empty address", b"PROXY TCP4  192.0.2.2 1 2\r\n", "an address"),
    ("v1 IPv6 as TCP4", b"PROXY TCP4 ::1 ::1 1 2\r\n", "an address"),
    ("v1 IPv4 as TCP6", b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "an address"),
    ("v1 the second is IPv6", b"PROXY TCP4 192.0.2.1 ::1 1 2\r\n", "an address"),
    ("v1 two gaps", b"PROXY TCP6 1::2::3 ::1 1 2\r\n", "an address"),
    ("v1 too few groups", b"PROXY TCP6 1:2:3 ::1 1 2\r\n", "an address"),
    ("v1 too many groups", b"PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n", "an address"),
    ("v1 five digits", b"PROXY TCP6 12345::1 ::1 1 2\r\n", "an address"),
    ("v1 an interface", b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n", "an address"),
    ("v1 port 01", b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "a port"),
    ("v1 port 00", b"PROXY TCP4 192.0.2.1 192.0.2.2 00 2\r\n", "a port"),
    ("v1 port +1", b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "a port"),
    ("v1 port -1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 -1\r\n", "a port"),
    ("v1 port 1_0", b"PROXY TCP4 192.0.2.1 192.0.2.2 1_0 1\r\n", "a port"),
    ("v1 port 65536", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "above 65535"),
    ("v1 port of many digits", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 999999\r\n", "a port"),
    ("v1 port \u0661", "PROXY TCP4 192.0.2.1 192.0.2.2 1 \u0661\r\n".encode(), "a port"),
    ("v1 empty port", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", "a port"),
    ("v2 signature", SIGNATURE[:-1] + b"\r" + block(V4)[12:], "does not begin"),
    ("v2 version 1", block(V4, what=0x11), "0x11"),
    ("v2 version 3", block(V4, what=0x31), "0x31"),
    ("v2 version 0", block(V4, what=0x01), "0x01"),
    ("v2 command 2", block(V4, what=0x22), "0x22"),
    ("v2 command 15", block(V4, what=0x2F), "0x2f"),
    *[(f"v2 family {k:02x}", block(V4, k), f"0x{k:02x}") for k in (0x41, 0xF1, 0x51, 0x61)],
    *[(f"v2 transport {k:02x}", block(V6, k), f"0x{k:02x}") for k in (0x13, 0x23, 0x3F, 0x03)],
    *[(f"v2 half known {k:02x}", block(V6, k), f"0x{k:02x}") for k in (0x10, 0x20, 0x30, 0x01)],
    ("v2 addresses cut short", block(V4[:-1]), "too short"),
    ("v2 no addresses", block(b""), "too short"),
    ("v2 IPv4 as IPv6", block(V4, 0x21), "too short"),
    ("v2 IPv6 as Unix", block(V6, 0x31), "too short"),
    ("v2 too long", block(V4, length=MAX_HEADER_BYTES - 15), "longer than 16384"),
    ("v2 far too long", block(V4, length=0xFFFF), "longer than 16384"),
    ("v2 LOCAL, too long", block(b"", 0, what=0x20, length=0xFFFF), "longer than 16384"),
    ("v2 one byte is no TLV", block(V4 + b"\x01"), "beyond the end"),
    ("v2 two bytes are no TLV", block(V4 + b"\x01\x00"), "beyond the end"),
    ("v2 TLV cut short", block(V4 + b"\x01\x00\x03h2"), "beyond the end"),
    ("v2 TLV of 65535", block(V4 + b"\x04\xff\xff"), "beyond the end"),
    ("v2 a byte after the TLVs", block(V4 + tlv(PP2_TYPE_ALPN, b"h2") + b"\0"), "beyond the end"),
    ("v2 checksum wrong", block(V4 + tlv(CRC32C, b"\1\2\3\4")), "checksum is wrong"),
    ("v2 checksum of 3 bytes", block(V4 + tlv(CRC32C, bytes(3))), "not of 4 bytes"),
    ("v2 checksum of 5 bytes", block(V4 + tlv(CRC32C, bytes(5))), "not of 4 bytes"),
    ("v2 LOCAL, checksum wrong", block(tlv(CRC32C, bytes(4)), 0, what=0x20), "checksum is wrong"),
    ("v2 unspecified, checksum wrong", block(tlv(CRC32C, bytes(4)), 0), "checksum is wrong"),
    ("v2 unique id of 129", block(V4 + tlv(UNIQUE_ID, bytes(129))), "longer than 128"),
    ("v2 authority of 256", block(V4 + tlv(AUTHORITY, b"a" * 256)), "longer than 255"),
    ("v2 authority not UTF-8", block(V4 + tlv(AUTHORITY, b"\xff")), "not UTF-8"),
    ("v2 netns not ASCII", block(V4 + tlv(NETNS, b"\xc3\xa9")), "not ASCII"),
    ("v2 SSL of 4 bytes", block(V4 + tlv(SSL, bytes(4))), "too short"),
    ("v2 SSL, TLV cut short", block(V4 + tlv(SSL, bytes(5) + b"\x21\0\2T")), "beyond the end"),
    ("v2 SSL, version not ASCII", block(V4 + tlv(SSL, bytes(5) + tlv(0x21, b"\xff"))), "not ASCII"),
    ("v2 SSL, name not UTF-8", block(V4 + tlv(SSL, bytes(5) + tlv(0x22, b"\xff"))), "not UTF-8"),
    ("v2 SSL, version twice", block(V4 + tlv(SSL, bytes(5) + tlv(0x21, b"") * 2)), "twice"),
    *[
        (f"v2 TLV {kind:02x} twice", block(V4 + tlv(kind, value) * 2), "twice")
        for kind, value in [
            (PP2_TYPE_ALPN, b"h2"),
            (AUTHORITY, b"a"),
            (UNIQUE_ID, b"1"),
            (NETNS, b"n"),
        ]
    ],
    ("v2 SSL twice", block(V4 + tlv(SSL, bytes(5)) * 2), "twice"),
    ("v2 checksum twice", block(V4 + tlv(CRC32C, bytes(4)) * 2), "twice"),
]
