"""The TLVs of a version 2 PROXY header: facts about a connection beyond its addresses.

Owns: their types, what each may hold, how they are read and written. Must not know headers, sockets
or events. Sections are those of the specification, "The PROXY protocol", versions 1 and 2.

Theory of operation: a TLV is a type, a length of two bytes and so many bytes. What cannot be read,
or what a second reader could read otherwise (a registered type that is there twice), is refused as
a whole; types that are not known are kept as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

#: A TLV: its type and its value.
Tlv = tuple[int, bytes]

#: Types (section 2.2).
PP2_TYPE_ALPN = 0x01
ALPN = PP2_TYPE_ALPN  # the earlier name
AUTHORITY = 0x02
CRC32C = 0x03
NOOP = 0x04
UNIQUE_ID = 0x05
SSL = 0x20
NETNS = 0x30
#: Flags of the SSL TLV (2.2.6): the client came by TLS; it gave a certificate on this connection;
#: it gave one at some time in this TLS session.
CLIENT_SSL = 0x01
CLIENT_CERT_CONN = 0x02
CLIENT_CERT_SESS = 0x04
#: Bytes of a unique id (2.2.5).
MAX_UNIQUE_ID_BYTES = 128
#: Bytes of a host name in TLS (RFC 6066 by way of RFC 1035); HAProxy has the same limit.
MAX_AUTHORITY_BYTES = 255
#: Bytes of a value: its length is two bytes.
MAX_VALUE_BYTES = 0xFFFF

#: What a header says once, if at all.
_SINGLE = {PP2_TYPE_ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL, NETNS}
#: Types inside the SSL TLV, with the fields of `ProxySsl` that they are, and their encodings.
_SSL_FIELDS = {
    0x21: ("version", "ascii"),
    0x22: ("common_name", "utf-8"),
    0x23: ("cipher", "ascii"),
    0x24: ("signature_algorithm", "ascii"),
    0x25: ("key_algorithm", "ascii"),
    0x26: ("group", "ascii"),
    0x27: ("signature_scheme", "ascii"),
    0x28: ("client_certificate", None),
}


class ProxyHeaderError(ValueError):
    """The exception of bytes that are not a valid PROXY header: nothing in them can be trusted."""


class ProxySsl(NamedTuple):
    """The sender's facts about the client's TLS (2.2.6)."""

    #: `CLIENT_SSL`, `CLIENT_CERT_CONN` and `CLIENT_CERT_SESS`, or-ed.
    client: int = CLIENT_SSL
    #: 0 if the client gave a certificate that was verified; a code of the sender's otherwise.
    verify: int = 1
    #: As in "TLSv1.3".
    version: str | None = None
    #: The name in the client's certificate.
    common_name: str | None = None
    cipher: str | None = None
    #: Of the certificate that the sender presented to the client.
    signature_algorithm: str | None = None
    key_algorithm: str | None = None
    #: Of the key exchange, and of the handshake's signature.
    group: str | None = None
    signature_scheme: str | None = None
    #: DER.
    client_certificate: bytes | None = None

    @property
    def verified(self) -> bool:
        """Whether the client gave a certificate, and the sender has verified it."""
        return self.verify == 0 and bool(self.client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS))

    def to_bytes(self) -> bytes:
        """Return the value of an `SSL` TLV. Raises: ValueError if it is too long"""
        inner: list[Tlv] = []
        for kind, (name, encoding) in _SSL_FIELDS.items():
            value = getattr(self, name)
            if value is not None:
                inner.append((kind, value if encoding is None else value.encode(encoding)))
        return bytes([self.client]) + self.verify.to_bytes(4, "big") + join_tlvs(inner)


def read_ssl(value: bytes) -> ProxySsl:
    """Read the value of an `SSL` TLV. Raises: ProxyHeaderError"""
    if len(value) < 5:
        raise ProxyHeaderError("the SSL TLV is too short")
    found: dict[str, str | bytes] = {}
    for kind, inner in split_tlvs(value[5:]):
        if kind not in _SSL_FIELDS:
            continue
        name, encoding = _SSL_FIELDS[kind]
        if name in found:
            raise ProxyHeaderError(f"the SSL TLV has its {name} twice")
        found[name] = inner if encoding is None else _text(inner, encoding, f"{name} of the SSL")
    return ProxySsl(value[0], int.from_bytes(value[1:5], "big"), **found)  # type: ignore[arg-type]


def split_tlvs(block: bytes) -> list[Tlv]:
    """Split a block into TLVs. Raises: ProxyHeaderError unless it ends with one"""
    tlvs = []
    at = 0
    while at < len(block):
        start = at + 3
        at = start + int.from_bytes(block[at + 1 : start], "big")
        if start > len(block) or at > len(block):
            raise ProxyHeaderError("a TLV goes beyond the end of the header")
        tlvs.append((block[start - 3], block[start:at]))
    return tlvs


def join_tlvs(tlvs: Iterable[Tlv]) -> bytes:
    """Write TLVs one after the other. Raises: ValueError for an invalid type or length"""
    pieces = []
    for kind, value in tlvs:
        if not 0 <= kind <= 0xFF or len(value) > MAX_VALUE_BYTES:
            raise ValueError(f"no TLV can be of type {kind!r} with {len(value)} bytes")
        pieces.append(bytes([kind]) + len(value).to_bytes(2, "big") + value)
    return b"".join(pieces)


def check_tlvs(tlvs: Sequence[Tlv]) -> None:
    """Raise ProxyHeaderError for a registered TLV that violates the specification."""
    seen = set()
    for kind, value in tlvs:
        if kind in seen and kind in _SINGLE:
            raise ProxyHeaderError(f"TLV 0x{kind:02x} is there twice")
        seen.add(kind)
        if kind == AUTHORITY:
            _text(value, "utf-8", "AUTHORITY")
            _limit(value, MAX_AUTHORITY_BYTES, "AUTHORITY")
        elif kind == UNIQUE_ID:
            _limit(value, MAX_UNIQUE_ID_BYTES, "UNIQUE_ID")
        elif kind == NETNS:
            _text(value, "ascii", "NETNS")
        elif kind == SSL:
            read_ssl(value)
        elif kind == CRC32C and len(value) != 4:
            raise ProxyHeaderError("the CRC32C TLV is not of 4 bytes")


def _limit(value: bytes, limit: int, name: str) -> None:
    if len(value) > limit:
        raise ProxyHeaderError(f"the {name} TLV is longer than {limit} bytes")


def _text(value: bytes, encoding: str, name: str) -> str:
    try:
        return value.decode(encoding)
    except UnicodeDecodeError:
        raise ProxyHeaderError(f"the {name} TLV is not {encoding.upper()}") from None


# -- the checksum --------------------------------------------------------------------------------


def crc32c(data: bytes) -> int:
    """Return the checksum of RFC 4960 Appendix B (Castagnoli's polynomial), as 2.2.3 requires."""
    table = _crc_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@cache
def _crc_table() -> list[int]:
    """Return the table of the remainders of all bytes."""
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table
