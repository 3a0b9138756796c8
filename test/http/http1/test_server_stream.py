"""How a response's body is framed on an HTTP/1.1 connection."""

from __future__ import annotations

import pytest
from server_support import ServerHarness, request

from thor.http.http1.server_stream import MIN_SPLIT_CHUNK_BYTES


@pytest.mark.parametrize(
    "size", [MIN_SPLIT_CHUNK_BYTES - 1, MIN_SPLIT_CHUNK_BYTES, MIN_SPLIT_CHUNK_BYTES + 1]
)
def test_chunk_is_the_same_in_one_piece_or_in_several(size: int) -> None:
    stage = ServerHarness()
    client = stage.client().send(request())
    stage.exchange.response_start(200, "OK", [])
    assert stage.exchange.response_body(b"x" * size) is True
    stage.settle()
    assert client.take().endswith(b"\r\n\r\n%x\r\n%b\r\n" % (size, b"x" * size))


def test_pause_comes_after_all_pieces_of_a_chunk() -> None:
    """A listener for `pause` that writes comes behind the chunk, not between its pieces."""
    stage = ServerHarness()
    client = stage.client().send(request())
    exchange = stage.exchange
    exchange.response_start(200, "OK", [])
    stage.settle()
    client.take()
    client.pause(True)
    exchange.on("pause", lambda paused: exchange.response_body("yy") if paused else None)
    assert exchange.response_body(b"x" * 300_000) is False
    client.pause(False)
    stage.settle()
    assert client.take() == b"%x\r\n%b\r\n2\r\nyy\r\n" % (300_000, b"x" * 300_000)
