"""The types that the packages of Thor share, and how data becomes bytes. No state."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias


class ErrorNumber(int):
    """An errno or `EAI_*` code: an `int` whose `str()` says what happened."""

    text: str

    def __new__(cls, code: int, text: str = "") -> ErrorNumber:
        number = super().__new__(cls, code)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text or int.__repr__(self)


#: A socket address: `(host, port)`, IPv6's four-tuple, or a Unix path.
Address: TypeAlias = tuple[Any, ...] | str | bytes
#: Any callable that listens for an event.
EventListener: TypeAlias = Callable[..., object]
Listener: TypeAlias = EventListener
#: Fields as they were sent or received: `[(name, value)]`, in order, repetitions kept.
RawHeaderListType: TypeAlias = list[tuple[bytes, bytes]]
RawHeaders: TypeAlias = RawHeaderListType
#: What a program may pass as fields: pairs of a name and a value, or a mapping.
FieldIn: TypeAlias = tuple[str | bytes, str | bytes]
HeadersIn: TypeAlias = Mapping[str, str | bytes] | Mapping[bytes, str | bytes] | Iterable[FieldIn]
#: What a connection is made to: `(scheme, host, port)`.
OriginType: TypeAlias = tuple[str, str, int]
Origin: TypeAlias = OriginType
#: One row of `socket.getaddrinfo`.
DnsResult: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
DnsResultList: TypeAlias = list[DnsResult]
#: What data may be passed as.
Data: TypeAlias = str | bytes | bytearray | memoryview


def to_bytes(data: Data) -> bytes:
    """Return what a program sends as bytes: `str` in UTF-8, a copy of what can still change.

    Raises: TypeError
    """
    if isinstance(data, str):
        return data.encode("utf-8")
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"data must be str or bytes-like, not {type(data).__name__}")
