"""The PROXY protocol, versions 1 and 2: what a proxy sends before the first byte of a connection.

Owns: the header as bytes, read and written. Must not know connections or events. Sections are those
of the specification, "The PROXY protocol", versions 1 and 2.

Theory of operation: a reader that must not take a byte too many first asks `header_length` for the
length of the header, with what it has peeked at; that fails as soon as the bytes cannot become a
header. `parse_header` then parses the whole. Both versions are accepted wherever one is expected:
their first byte distinguishes them. A header has one interpretation or none: what the specification
leaves to the receiver (a transport without addresses, a bare LF in the ignored part) is refused,
except for LOCAL and unspecified connections, whose addresses the receiver has to ignore.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from thor.tcp.proxy_tlvs import (
    AUTHORITY,
    CLIENT_SSL,
    CRC32C,
    NETNS,
    NOOP,
    PP2_TYPE_ALPN,
    SSL,
    UNIQUE_ID,
    ProxyHeaderError,
    ProxySsl,
    Tlv,
    check_tlvs,
    crc32c,
    join_tlvs,
    read_ssl,
    split_tlvs,
)
from thor.types import Address

#: What version 2 begins with (section 2.2).
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
#: What version 1 begins with (2.1).
LINE_START = b"PROXY "
#: The longest line of version 1, CRLF included (2.1).
MAX_LINE_BYTES = 107
#: The longest header of version 2 that is read or written: HAProxy's buffer; nginx takes 4 KiB, but
#: a client's certificate may be in it.
MAX_HEADER_BYTES = 16 * 1024
#: Version 2 before its addresses: signature, version and command, family, length.
_FIXED_BYTES = 16
#: A Unix address in version 2.
_PATH_BYTES = 108

_COMMANDS = ("LOCAL", "PROXY")
#: The 14th byte: family, socket type, and how long both addresses are together.
_KINDS: dict[int, tuple[int, int, int]] = {
    0x00: (socket.AF_UNSPEC, 0, 0),
    0x11: (socket.AF_INET, socket.SOCK_STREAM, 12),
    0x12: (socket.AF_INET, socket.SOCK_DGRAM, 12),
    0x21: (socket.AF_INET6, socket.SOCK_STREAM, 36),
    0x22: (socket.AF_INET6, socket.SOCK_DGRAM, 36),
    0x31: (socket.AF_UNIX, socket.SOCK_STREAM, 216),
    0x32: (socket.AF_UNIX, socket.SOCK_DGRAM, 216),
}
_KIND_BYTES = {(family, socktype): byte for byte, (family, socktype, _) in _KINDS.items()}
_LINE_FAMILIES = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}
_IP_CHARACTERS = b"0123456789abcdefABCDEF:."


@dataclass(frozen=True)
class ProxyHeader:
    """A PROXY header.

    source, destination: the client's address and the one that it connected to, as sockets give
        them; both None where the header has none, and the real connection's hold
    version: 1, the line of text, or 2
    command: "PROXY", or "LOCAL" for a connection of the sender's own, such as a health check
    socktype: of the connection that is relayed: `socket.SOCK_STREAM` or `socket.SOCK_DGRAM`
    tlvs: [(type, value)] of version 2, in order, without padding (NOOP). Where `CRC32C` is among
        them, its value is a checksum that was verified; `to_bytes` computes it anew.
    """

    source: Address | None = None
    destination: Address | None = None
    version: int = 2
    command: str = "PROXY"
    socktype: int = socket.SOCK_STREAM
    tlvs: Sequence[Tlv] = ()

    def __post_init__(self) -> None:
        """Raise ValueError for what a header of this version cannot contain."""
        object.__setattr__(self, "tlvs", tuple(self.tlvs))
        if self.version not in (1, 2) or self.command not in _COMMANDS:
            raise ValueError(f"version {self.version!r} has no command {self.command!r}")
        if self.version == 1 and (self.command == "LOCAL" or self.tlvs):
            raise ValueError("version 1 has neither LOCAL nor TLVs")
        if self.command == "LOCAL" and self.source is not None:
            raise ValueError("LOCAL has no addresses: those of the connection hold")
        family = _family(self.source)
        if family != _family(self.destination):
            raise ValueError(f"{self.source!r} and {self.destination!r} are of two families")
        if self.source is not None and self.destination is not None:
            _pack(self.source)
            _pack(self.destination)
            if (family, self.socktype) not in _KIND_BYTES:
                raise ValueError(f"{self.socktype!r} is not a socket type of the PROXY protocol")
        if self.tlvs:
            check_tlvs(self.tlvs)

    @property
    def family(self) -> int:
        """`socket.AF_INET`, `AF_INET6`, `AF_UNIX`; `AF_UNSPEC` without addresses."""
        return _family(self.source)

    def tlv(self, kind: int) -> bytes | None:
        """Return the value of the first TLV of this type; None without one."""
        return next((value for found, value in self.tlvs if found == kind), None)

    @property
    def alpn(self) -> bytes | None:
        """The protocol that is spoken on the connection, as in TLS's PP2_TYPE_ALPN."""
        return self.tlv(PP2_TYPE_ALPN)

    @property
    def authority(self) -> str | None:
        """The host name that the client asked for; with TLS, its SNI."""
        value = self.tlv(AUTHORITY)
        return None if value is None else value.decode("utf-8")

    @property
    def unique_id(self) -> bytes | None:
        """The sender's name for the connection, of at most 128 bytes."""
        return self.tlv(UNIQUE_ID)

    @property
    def netns(self) -> str | None:
        """The name of the network namespace that the connection came to."""
        value = self.tlv(NETNS)
        return None if value is None else value.decode("ascii")

    @property
    def ssl(self) -> ProxySsl | None:
        """The facts about the client's TLS."""
        value = self.tlv(SSL)
        return None if value is None else read_ssl(value)

    @property
    def is_tls(self) -> bool:
        """Whether the client that is relayed uses TLS."""
        value = self.tlv(SSL) if self.command == "PROXY" else None
        return value is not None and bool(value[0] & CLIENT_SSL)

    def to_bytes(self) -> bytes:
        """Return the header as it is sent. Raises: ValueError if it is too long"""
        return _write_line(self) if self.version == 1 else _write_block(self)


def header_length(start: bytes) -> int | None:
    """Return the length in bytes of the header that begins with `start`.

    start: not empty; a part of the header, or the header and what follows it
    Returns: None if more has to arrive first
    Raises: ProxyHeaderError as soon as `start` cannot become a header
    """
    if start[:12] == SIGNATURE[: len(start)]:
        return _block_length(start)
    if start[:6] == LINE_START[: len(start)]:
        return _line_length(start[:MAX_LINE_BYTES])
    raise ProxyHeaderError("it does not begin with a PROXY header")


def parse_header(data: bytes) -> ProxyHeader:
    """Read a header of either version.

    data: exactly the header
    Raises: ProxyHeaderError
    """
    if not data or header_length(data) != len(data):
        raise ProxyHeaderError("this is not exactly one PROXY header")
    return _read_line(data) if data[:6] == LINE_START else _read_block(data)


# -- version 1 -----------------------------------------------------------------------------------


def _line_length(start: bytes) -> int | None:
    line, end, _ = start.partition(b"\r\n")
    # A CR at the end of what is there may be the beginning of the line's end.
    if b"\n" in line or b"\r" in (line if end else line[:-1]):
        raise ProxyHeaderError("a bare CR or LF is in the line")
    if end:
        return len(line) + 2
    if len(start) >= MAX_LINE_BYTES:
        raise ProxyHeaderError(f"the line is longer than {MAX_LINE_BYTES} bytes")
    return None


def _read_line(data: bytes) -> ProxyHeader:
    _, protocol, *words = data[:-2].split(b" ")
    if protocol == b"UNKNOWN":
        return ProxyHeader(version=1)
    family = _LINE_FAMILIES.get(protocol)
    if family is None or len(words) != 4:
        raise ProxyHeaderError("the line is not PROXY TCP4|TCP6|UNKNOWN, two addresses, two ports")
    source, destination, *ports = words
    return ProxyHeader(
        _address(family, _read_ip(family, source), _read_port(ports[0])),
        _address(family, _read_ip(family, destination), _read_port(ports[1])),
        version=1,
    )


def _read_ip(family: int, text: bytes) -> bytes:
    if not text.translate(None, _IP_CHARACTERS):
        try:
            return socket.inet_pton(family, text.decode("ascii"))
        except OSError:
            pass
    raise ProxyHeaderError("an address of the line is none of its protocol's")


def _read_port(text: bytes) -> int:
    # int() would take signs, spaces and underscores; and a zero in front may mean octal.
    if not text.isdigit() or len(text) > 5 or (text[0] == ord("0") and text != b"0"):
        raise ProxyHeaderError("a port of the line is not a decimal number")
    port = int(text)
    if port > 0xFFFF:
        raise ProxyHeaderError("a port of the line is above 65535")
    return port


def _write_line(header: ProxyHeader) -> bytes:
    addresses: list[Any] = [header.source, header.destination]
    if header.family not in _LINE_FAMILIES.values() or header.socktype != socket.SOCK_STREAM:
        return b"PROXY UNKNOWN\r\n"
    protocol = "TCP4" if header.family == socket.AF_INET else "TCP6"
    source, destination = [_write_ip(header.family, _pack(address)[0]) for address in addresses]
    ports = f"{addresses[0][1]} {addresses[1][1]}"
    return f"PROXY {protocol} {source} {destination} {ports}\r\n".encode("ascii")


def _write_ip(family: int, packed: bytes) -> str:
    text = socket.inet_ntop(family, packed)
    if family == socket.AF_INET6 and "." in text:  # the line's grammar has hexadecimal digits only
        text = packed.hex(":", 2)
    return text


# -- version 2 -----------------------------------------------------------------------------------


def _block_length(start: bytes) -> int | None:
    if len(start) > 12 and start[12] not in (0x20, 0x21):
        raise ProxyHeaderError(f"version and command are 0x{start[12]:02x}")
    if len(start) < _FIXED_BYTES:
        return None
    length = _FIXED_BYTES + int.from_bytes(start[14:16], "big")
    if length > MAX_HEADER_BYTES:
        raise ProxyHeaderError(f"the header is longer than {MAX_HEADER_BYTES} bytes")
    if start[12] == 0x21:
        if start[13] not in _KINDS:
            raise ProxyHeaderError(f"family and transport are 0x{start[13]:02x}")
        if length < _FIXED_BYTES + _KINDS[start[13]][2]:
            raise ProxyHeaderError("the header is too short for its addresses")
    return length


def _read_block(data: bytes) -> ProxyHeader:
    command = _COMMANDS[data[12] & 0x0F]
    family, socktype, size = _KINDS.get(data[13], (socket.AF_UNSPEC, 0, len(data)))
    end = _FIXED_BYTES + size
    if command == "LOCAL" or family == socket.AF_UNSPEC:
        # What is there instead of addresses has no form that holds: TLVs if it reads as such.
        return ProxyHeader(command=command, tlvs=_read_tlvs(data, end, strict=False))
    addresses = data[_FIXED_BYTES:end]
    if family == socket.AF_UNIX:
        source = _unix_address(addresses[:_PATH_BYTES])
        destination = _unix_address(addresses[_PATH_BYTES:])
    else:
        half = (size - 4) // 2
        ports = [int.from_bytes(addresses[at : at + 2], "big") for at in (size - 4, size - 2)]
        source = _address(family, addresses[:half], ports[0])
        destination = _address(family, addresses[half : size - 4], ports[1])
    tlvs = _read_tlvs(data, end, strict=True)
    return ProxyHeader(source, destination, socktype=socktype, tlvs=tlvs)


def _read_tlvs(data: bytes, at: int, *, strict: bool) -> list[Tlv]:
    """Return the TLVs that begin at `at`, without padding; verify their checksum."""
    try:
        tlvs = split_tlvs(data[at:])
        check_tlvs(tlvs)
    except ProxyHeaderError:
        if strict:
            raise
        return []
    where = _checksum_at(at, tlvs)
    if where is not None:
        stated = int.from_bytes(data[where : where + 4], "big")
        if crc32c(data[:where] + bytes(4) + data[where + 4 :]) != stated:
            raise ProxyHeaderError("the checksum is wrong")
    return [tlv for tlv in tlvs if tlv[0] != NOOP]


def _checksum_at(at: int, tlvs: Sequence[Tlv]) -> int | None:
    """Return the offset of the checksum's value, if the TLVs begin at `at`."""
    for kind, value in tlvs:
        at += 3
        if kind == CRC32C:
            return at
        at += len(value)
    return None


def _write_block(header: ProxyHeader) -> bytes:
    addresses = b""
    kind = 0
    if header.source is not None and header.destination is not None:
        kind = _KIND_BYTES[header.family, header.socktype]
        (source, port), (destination, to) = _pack(header.source), _pack(header.destination)
        addresses = source + destination + port + to
    tlvs = [(kind, bytes(4) if kind == CRC32C else value) for kind, value in header.tlvs]
    body = addresses + join_tlvs(tlvs)
    length = _FIXED_BYTES + len(body)
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a PROXY header of {length} bytes; {MAX_HEADER_BYTES} is the limit")
    what = bytes([0x20 | _COMMANDS.index(header.command), kind])
    block = SIGNATURE + what + len(body).to_bytes(2, "big") + body
    where = _checksum_at(_FIXED_BYTES + len(addresses), tlvs)
    if where is None:
        return block
    return block[:where] + crc32c(block).to_bytes(4, "big") + block[where + 4 :]


# -- addresses -----------------------------------------------------------------------------------


def _family(address: Address | None) -> int:
    if address is None:
        return socket.AF_UNSPEC
    if not isinstance(address, tuple):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def _pack(address: Address) -> tuple[bytes, bytes]:
    """Return an address and its port, if any, as version 2 encodes them.

    Raises: ValueError if it cannot be in a header
    """
    if not isinstance(address, tuple):
        path = os.fsencode(address)
        if len(path) > _PATH_BYTES:
            raise ValueError(f"{address!r} is too long")
        return path.ljust(_PATH_BYTES, b"\0"), b""
    host, port = address[:2]
    ip = host.partition("%")[0]  # the interface says nothing on another machine
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)
        return packed, int.to_bytes(port, 2, "big")
    except (OSError, OverflowError):
        raise ValueError(f"{address!r} is not an address with a port") from None


def _address(family: int, packed: bytes, port: int) -> Address:
    """Return an address as a socket reports it."""
    ip = socket.inet_ntop(family, packed)
    return (ip, port) if family == socket.AF_INET else (ip, port, 0, 0)


def _unix_address(padded: bytes) -> Address:
    """Return an address as a socket reports it: a path, or the bytes of an abstract name."""
    if padded[0] == 0 and padded.strip(b"\0"):
        return padded.rstrip(b"\0")
    return os.fsdecode(padded.partition(b"\0")[0])
