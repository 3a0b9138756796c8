"""A client's side of HTTP over asyncio, strict enough to notice what is wrong.

Owns: one connection, and reading a response from it. Must not know what is asked for.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from typing import NamedTuple, Self


class LostError(Exception):
    """The connection ended before the response was complete."""


class WrongError(Exception):
    """The response is not one."""


class Reply(NamedTuple):
    """A response. fields: names in lower case; hints: the informational ones that came before"""

    status: int
    fields: dict[bytes, bytes]
    body: bytes
    trailers: dict[bytes, bytes]
    hints: list[int]

    @property
    def keeps(self) -> bool:
        """Whether the connection can be used again."""
        return self.fields.get(b"connection", b"").lower() != b"close"


def any_certificate() -> ssl.SSLContext:
    """Whoever it is."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


CONTEXT = any_certificate()


def fields_of(lines: list[bytes]) -> dict[bytes, bytes]:
    """Field lines taken apart. Raises: WrongError"""
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b": ")
        if not colon or name.lower() in fields:
            raise WrongError(f"a field {line[:60]!r}")
        fields[name.lower()] = value
    return fields


class Wire:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int, tls: bool = False, receive_bytes: int = 0) -> Self:
        """Connect. receive_bytes: what the kernel holds for a slow reader"""
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            streams = await asyncio.open_connection(sock=sock, ssl=CONTEXT, server_hostname="")
        else:
            streams = await asyncio.open_connection(sock=sock)
        return cls(*streams)

    async def send(self, *pieces: bytes) -> None:
        """Send each piece as a segment. Whether the peer takes it shows in its answer."""
        try:
            for piece in pieces:
                self.writer.write(piece)
                await self.writer.drain()
        except ConnectionError:
            pass

    def finish(self) -> None:
        """Send no more."""
        if self.writer.can_write_eof():
            self.writer.write_eof()

    def reset(self) -> None:
        """End the connection by a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close it; returns when it is closed."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:  # the peer was quicker
            pass

    async def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        try:
            return await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError) as exc:
            raise LostError(type(exc).__name__) from None

    async def at_end(self) -> bool:
        """Whether the peer has finished, and nothing is left; waits for either."""
        try:
            return await self.reader.read(1) == b""
        except OSError:
            return True

    async def response(self, method: bytes = b"GET") -> Reply:
        """Read a response. Raises: LostError, WrongError"""
        hints: list[int] = []
        while (head := await self._head())[0] < 200 and head[0] != 101:
            hints.append(head[0])
        status, fields = head
        trailers: dict[bytes, bytes] = {}
        if method == b"HEAD" or status in (101, 204, 304):
            body = b""
        elif fields.get(b"transfer-encoding") == b"chunked":
            body = await self._chunks()
            while line := await self._until(b"\r\n"):
                trailers |= fields_of([line])
        elif b"content-length" in fields:
            body = await self.read(int(fields[b"content-length"]))
        else:
            try:
                body = await self.reader.read(-1)
            except OSError as exc:
                raise LostError(type(exc).__name__) from None
        return Reply(status, fields, body, trailers, hints)

    async def _until(self, end: bytes) -> bytes:
        try:
            data = await self.reader.readuntil(end)
        except (asyncio.IncompleteReadError, OSError) as exc:
            raise LostError(type(exc).__name__) from None
        return data.removesuffix(end)

    async def _head(self) -> tuple[int, dict[bytes, bytes]]:
        start, *lines = (await self._until(b"\r\n\r\n")).split(b"\r\n")
        if start[:9] != b"HTTP/1.1 " or not start[9:12].isdigit():
            raise WrongError(f"a response that begins {start[:60]!r}")
        return int(start[9:12]), fields_of(lines)

    async def _chunks(self) -> bytes:
        pieces = []
        while size := int(await self._until(b"\r\n"), 16):
            pieces.append(await self.read(size))
            if await self.read(2) != b"\r\n":
                raise WrongError("a chunk without its end")
        return b"".join(pieces)
