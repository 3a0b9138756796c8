"""What both sides do with their transport: the framing of a body, a date."""

from __future__ import annotations

from typing import Any

import pytest

from thor.http.connection import (
    MIN_SPLIT_CHUNK_BYTES,
    BodyWriter,
    body_bytes,
    date_value,
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


# -- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["é", "é".encode(), bytearray("é".encode())])
def test_a_body_is_bytes_in_the_end(data: Any) -> None:
    assert body_bytes(data) == b"\xc3\xa9"
    assert type(body_bytes(data)) is bytes


@pytest.mark.parametrize("data", [1, None, ["a"]])
def test_what_is_no_data_is_a_type_error(data: Any) -> None:
    with pytest.raises(TypeError):
        body_bytes(data)


def test_a_date_has_whole_seconds_in_its_one_form() -> None:
    assert date_value(784111777.0) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert date_value(784111777.999) is date_value(784111777.0)
    assert date_value(784111778.0) == b"Sun, 06 Nov 1994 08:49:38 GMT"
    assert date_value(784111777.0) == b"Sun, 06 Nov 1994 08:49:37 GMT"
