"""A WebSocket through `thor proxy` (RFC 6455)."""

from __future__ import annotations

import base64
import hashlib
import os
import struct

import pytest
from cli_support import Running
from interop_data import Wire, item
from interop_support import interop

pytestmark = interop

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def handshake(client: Wire, key: bytes) -> bytes:
    """Open a WebSocket. Returns: what the origin made of the key"""
    client.send(
        b"GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % key
    )
    head = client.head()
    assert head.start == b"HTTP/1.1 101 Switching Protocols"
    assert head.fields[b"upgrade"].lower() == b"websocket"
    assert head.fields[b"connection"].lower() == b"upgrade"
    return head.fields[b"sec-websocket-accept"]


def frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame, which is masked."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    mask = b"\x12\x34\x56\x78"
    stream = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + mask + masked.to_bytes(size, "big")


def read_frame(client: Wire) -> tuple[int, bytes]:
    """A server's frame: its opcode, and its payload."""
    first, size = client.read(2)
    if size == 126:
        (size,) = struct.unpack("!H", client.read(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", client.read(8))
    return first & 0x0F, client.read(size)


@pytest.fixture
def key() -> bytes:
    return base64.b64encode(os.urandom(16))


def test_websocket_echoes(proxy: Running, key: bytes) -> None:
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    with Wire.to(proxy.port) as client:
        assert handshake(client, key) == base64.b64encode(digest)
        # It came right behind the 101.
        assert read_frame(client) == (TEXT, b"hello from node")
        for size in (0, 1, 125, 126, 65_535, 65_536, 1_000_000):
            payload = item(size, size)
            client.send(frame(BINARY, payload))
            assert read_frame(client) == (BINARY, payload)
        client.send(frame(PING, b"?"))
        assert read_frame(client) == (PONG, b"?")
        client.send(frame(CLOSE, struct.pack("!H", 1000)))
        assert read_frame(client) == (CLOSE, struct.pack("!H", 1000))
        assert client.at_end()


def test_frames_byte_by_byte_and_many_at_once(proxy: Running, key: bytes) -> None:
    with Wire.to(proxy.port) as client:
        handshake(client, key)
        read_frame(client)
        for byte in frame(TEXT, b"slowly"):
            client.send(bytes([byte]))
        assert read_frame(client) == (TEXT, b"slowly")
        client.send(b"".join(frame(TEXT, b"%d" % number) for number in range(1000)))
        assert [read_frame(client)[1] for _ in range(1000)] == [b"%d" % n for n in range(1000)]


def test_frame_right_behind_the_request(proxy: Running, key: bytes) -> None:
    with Wire.to(proxy.port) as client:
        client.send(
            b"GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
            % key
            + frame(TEXT, b"early")
        )
        assert client.head().start == b"HTTP/1.1 101 Switching Protocols"
        assert [read_frame(client)[1] for _ in range(2)] == [b"hello from node", b"early"]


def test_many_websockets_at_once(proxy: Running, key: bytes) -> None:
    clients = [Wire.to(proxy.port) for _ in range(50)]
    try:
        for client in clients:
            handshake(client, key)
            client.send(frame(TEXT, b"to all"))
        for client in clients:
            assert [read_frame(client)[1] for _ in range(2)] == [b"hello from node", b"to all"]
    finally:
        for client in clients:
            client.close()
