"""What both sides do with their transport: the framing of a body, a date."""

from __future__ import annotations

from typing import Any

import pytest

from thor.http.connection import (
    MIN_SPLIT_CHUNK_BYTES,
    BodyWriter,
    write_together,
)
from thor.http.error import OutputStateError, OutputSyntaxError
from thor.http.wire.framing import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE
from thor.testing import Recorder, connection_pair, memory_loop, settle


class Writer(BodyWriter):
    """Keeps what is written."""

    def __init__(self, framing: int, length: int = 0, room: bool = True) -> None:
        self._framing = framing
        self._left = length
        self.room = room
        self.written: list[bytes] = []

    def _write(self, data: bytes) -> bool:
        self.written.append(data)
        return self.room


@pytest.mark.parametrize(
    ("framing", "length", "written"),
    [
        (CHUNKED, 0, b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"),
        (LENGTH, 5, b"abcde"),
        (UNTIL_CLOSE, 0, b"abcde"),
        (NO_BODY, 0, b""),
    ],
    ids=["chunked", "length", "until close", "none"],
)
def test_each_framing_writes_the_same_body_its_way(
    framing: int, length: int, written: bytes
) -> None:
    writer = Writer(framing, length)
    for piece in (b"ab", b"", b"cde"):
        assert writer._write_body(piece) is True
    writer._end_body([])
    assert b"".join(writer.written) == written


@pytest.mark.parametrize("framing", [CHUNKED, LENGTH, UNTIL_CLOSE])
@pytest.mark.parametrize("size", [1, MIN_SPLIT_CHUNK_BYTES])
def test_a_full_queue_is_passed_on(framing: int, size: int) -> None:
    assert Writer(framing, size, room=False)._write_body(b"x" * size) is False


@pytest.mark.parametrize(
    "size", [MIN_SPLIT_CHUNK_BYTES - 1, MIN_SPLIT_CHUNK_BYTES, MIN_SPLIT_CHUNK_BYTES + 1]
)
def test_a_chunk_is_the_same_in_one_piece_or_in_several(size: int) -> None:
    writer = Writer(CHUNKED)
    writer._write_body(b"x" * size)
    assert b"".join(writer.written) == b"%x\r\n%b\r\n" % (size, b"x" * size)


def test_too_much_is_not_written_and_too_little_is_not_ended() -> None:
    writer = Writer(LENGTH, 5)
    writer._write_body(b"abcd")
    with pytest.raises(OutputStateError, match="2 bytes more"):
        writer._write_body(b"efg")
    with pytest.raises(OutputStateError, match="1 bytes less"):
        writer._end_body([])
    assert writer.written == [b"abcd"]


def test_trailers_end_a_chunked_body_only() -> None:
    chunked, length = Writer(CHUNKED), Writer(LENGTH)
    for writer in (chunked, length):
        writer._end_body([("X", "y"), ("Content-Length", "5")])
    assert chunked.written == [b"0\r\nX: y\r\n\r\n"]
    assert length.written == []


def test_a_bad_trailer_is_not_written() -> None:
    writer = Writer(CHUNKED)
    with pytest.raises(OutputSyntaxError):
        writer._end_body([("X", "y\r\n")])
    assert writer.written == []


# -- write_together -----------------------------------------------------------------------------


def test_pieces_are_written_in_one_go() -> None:
    loop = memory_loop()
    client, server = connection_pair(loop)
    got = Recorder(client, "data")
    client.pause(False)
    assert write_together(server, b"a", b"bc", b"d") is True
    settle(loop)
    assert got.take() == [("data", b"abcd")]
    assert server.bytes_written == 4
    assert server.socket.calls["send"] == 1  # type: ignore[attr-defined]


def test_a_pause_comes_after_all_of_the_pieces() -> None:
    loop = memory_loop()
    client, server = connection_pair(loop, buffer_bytes=0)
    queued: list[Any] = []
    server.on("pause", lambda paused: queued.append((paused, server.write_buffer.size)))
    assert write_together(server, b"a" * server.high_water, b"b", b"c") is False
    assert queued == [(True, server.high_water + 2)]
    server.abort()
    client.abort()
    settle(loop)


def test_pieces_for_a_connection_that_is_closed_raise_and_are_not_kept() -> None:
    loop = memory_loop()
    client, server = connection_pair(loop)
    server.close()
    with pytest.raises(ValueError, match="write on a connection"):
        write_together(server, b"a", b"b")
    assert server.write_buffer.size == 0
    settle(loop)
    client.abort()
    settle(loop)
