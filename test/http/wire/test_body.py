"""The chunked coding, both ways."""

from __future__ import annotations

import pytest
from wire_support import deliveries, read_requests, read_responses

from thor.http.error import (
    BareCRError,
    ChunkError,
    ChunkExtensionError,
    ChunkTerminatorError,
    ContentTooLargeError,
    HeaderLineEndingError,
    HeaderNoColonError,
    HttpError,
)
from thor.http.wire.body import LAST_CHUNK, ChunkedDecoder, encode_chunk
from thor.http.wire.limits import Limits

LIMITS = Limits(
    max_chunk_extension_bytes=30,
    max_chunk_extensions_bytes=100,
    max_head_bytes=200,
    max_field_bytes=50,
    max_head_fields=4,
)

REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("seen", "error"),
    [
        (b"5\n", HeaderLineEndingError),
        (b"5\rx", BareCRError),
        (b"\x16", ChunkError),
        (b"0" * 47, ChunkExtensionError),
        (b"2\r\nabX", ChunkTerminatorError),
        (b"2\r\nab\rX", ChunkTerminatorError),
        (b"0\r\nA: b\n", HeaderLineEndingError),
        (b"0\r\nabc\r\n", HeaderNoColonError),
    ],
    ids=repr,
)
def test_chunk_is_refused_at_the_byte_that_shows_it(seen: bytes, error: type[HttpError]) -> None:
    assert read_requests([REQUEST, seen], LIMITS).error is error
    assert read_requests([REQUEST, seen[:-1]], LIMITS).error is None


def test_body_over_the_setting_is_refused_at_the_size_that_goes_over() -> None:
    limits = Limits(max_body_bytes=5)
    for _, pieces in deliveries(REQUEST + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"):
        assert read_requests(pieces, limits).messages[0].body == b"abcde"
    for _, pieces in deliveries(REQUEST + b"3\r\nabc\r\n3\r\nde"):
        outcome = read_requests(pieces, limits)
        assert outcome.error is ContentTooLargeError
        assert outcome.messages[0].body == b"abc"


def test_folded_trailer_is_unfolded_where_that_is_set() -> None:
    data = REQUEST + b"0\r\nA: b\r\n c\r\n\r\n"
    assert read_requests([data], Limits(fold="unfold")).only.trailers == [(b"A", b"b c")]


def test_size_of_a_chunk_allocates_nothing() -> None:
    outcome = read_requests([REQUEST + b"7fffffffffffffff\r\nab"])
    assert outcome.error is None
    assert outcome.messages[0].body == b"ab"
    assert not outcome.messages[0].complete


def test_decoder_says_how_far_it_got() -> None:
    decoder = ChunkedDecoder(LIMITS)
    out: list[bytes] = []
    assert decoder.decode(b"xx3\r\nabc\r\n2", 2, out) == 10
    assert out == [b"abc"]
    assert not decoder.done
    assert decoder.decode(b"2\r\nde\r\n0\r\n\r\nrest", 0, out) == 12
    assert out == [b"abc", b"de"]
    assert decoder.done


def test_chunks_are_encoded() -> None:
    assert encode_chunk(b"hello world, 17ch") == b"11\r\nhello world, 17ch\r\n"
    assert encode_chunk(b"") == b""
    assert LAST_CHUNK == b"0\r\n\r\n"
    data = RESPONSE + encode_chunk(b"a" * 300) + encode_chunk(b"b") + LAST_CHUNK
    assert read_responses([data]).only.body == b"a" * 300 + b"b"
