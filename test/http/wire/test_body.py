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
    FieldSectionTooLargeError,
    HeaderLineEndingError,
    HeaderNameError,
    HeaderNoColonError,
    HeaderSpaceError,
    HeaderValueError,
    HttpError,
    ObsoleteFoldError,
    TooManyFieldsError,
    TopLineSpaceError,
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

Trailers = list[tuple[bytes, bytes]]

GOOD: dict[str, tuple[bytes, bytes, Trailers]] = {
    "empty": (b"0\r\n\r\n", b"", []),
    "several zeros": (b"000\r\n\r\n", b"", []),
    "sixteen zeros": (b"0" * 16 + b"\r\n\r\n", b"", []),
    "one": (b"5\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "two": (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world", []),
    "one byte each": (b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", b"abc", []),
    "upper-case size": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", []),
    "lower-case size": (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", []),
    "leading zeros": (b"0005\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "sixteen digits": (b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "CRLF in data": (b"6\r\na\r\n0\r\n\r\n0\r\n\r\n", b"a\r\n0\r\n", []),
    "anything in data": (b"4\r\n\x00\n\r\xff\r\n0\r\n\r\n", b"\x00\n\r\xff", []),
    "extension": (b"5;a\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "extension with value": (b"5;a=b\r\nhello\r\n0;c\r\n\r\n", b"hello", []),
    "extensions": (b"5;a;b=c;d\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "quoted": (b'5;a="b c;\\"d\\\\"\r\nhello\r\n0\r\n\r\n', b"hello", []),
    "empty quoted": (b'5;a=""\r\nhello\r\n0\r\n\r\n', b"hello", []),
    "quoted obs-text and tab": (b'5;a="\t\xff"\r\nhello\r\n0\r\n\r\n', b"hello", []),
    "white space around": (b"5 \t; a = b ;c\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "longest extension": (b"5;" + b"a" * 29 + b"\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "trailer": (b"0\r\nA: b\r\n\r\n", b"", [(b"A", b"b")]),
    "trailers": (
        b"1\r\nx\r\n0\r\nA: b \r\na:c\r\nETag: d\r\n\r\n",
        b"x",
        [(b"A", b"b"), (b"a", b"c"), (b"ETag", b"d")],
    ),
    "forbidden trailers": (
        b"0\r\nContent-Length: 9\r\ntransfer-encoding: x\r\nHost: b\r\nA: b\r\n\r\n",
        b"",
        [(b"A", b"b")],
    ),
    "authentication in trailers": (b"0\r\nAuthorization: x\r\nCookie: y\r\n\r\n", b"", []),
    "most trailers": (b"0\r\n" + b"A: b\r\n" * 4 + b"\r\n", b"", [(b"A", b"b")] * 4),
}

BAD: dict[str, tuple[bytes, type[HttpError]]] = {
    "empty size": (b"\r\nhello\r\n", ChunkError),
    "empty size after a chunk": (b"1\r\na\r\n\r\n", ChunkError),
    "plus": (b"+5\r\nhello\r\n", ChunkError),
    "minus": (b"-5\r\nhello\r\n", ChunkError),
    "minus zero": (b"-0\r\n\r\n", ChunkError),
    "0x": (b"0x5\r\nhello\r\n", ChunkError),
    "underscore": (b"1_0\r\n0123456789abcdef\r\n", ChunkError),
    "leading space": (b" 5\r\nhello\r\n", ChunkError),
    "leading tab": (b"\t5\r\nhello\r\n", ChunkError),
    "trailing space": (b"5 \r\nhello\r\n", ChunkError),
    "trailing tab": (b"5\t\r\nhello\r\n", ChunkError),
    "space inside": (b"5 0\r\nhello\r\n", ChunkError),
    "words": (b"5 bytes\r\nhello\r\n", ChunkError),
    "not hexadecimal": (b"5g\r\nhello\r\n", ChunkError),
    "fraction": (b"5.0\r\nhello\r\n", ChunkError),
    "comma": (b"5,5\r\nhello\r\n", ChunkError),
    "NBSP": (b"5\xa0\r\nhello\r\n", ChunkError),
    "Arabic digit": ("\u0665\r\nhello\r\n".encode(), ChunkError),
    "17 digits": (b"00000000000000005\r\nhello\r\n", ChunkError),
    "17 digits and an extension": (b"00000000000000005;a\r\nhello\r\n", ChunkError),
    "17 digits, overflow": (b"10000000000000005\r\nhello\r\n", ChunkError),
    "endless digits": (b"0" * 100, ChunkExtensionError),
    "NUL": (b"5\x00\r\nhello\r\n", ChunkError),
    "VT": (b"5\x0b\r\nhello\r\n", ChunkError),
    "LF after size": (b"5\nhello\r\n", HeaderLineEndingError),
    "LF where a size is due": (b"1\r\na\r\n\n1\r\n", HeaderLineEndingError),
    "NUL where a size is due": (b"1\r\na\r\n\x001\r\n", ChunkError),
    "CR after size": (b"5\rhello\r\n", BareCRError),
    "CR CR LF after size": (b"5\r\r\nhello\r\n", BareCRError),
    "LF in extension": (b"5;a\nb\r\nhello\r\n", HeaderLineEndingError),
    "CR in extension": (b"5;a\rb\r\nhello\r\n", BareCRError),
    "NUL in extension": (b"5;a\x00\r\nhello\r\n", ChunkError),
    "extension without size": (b";a\r\nhello\r\n", ChunkError),
    "space and extension without size": (b" ;a\r\nhello\r\n", ChunkError),
    "empty extension": (b"5;\r\nhello\r\n", ChunkExtensionError),
    "two semicolons": (b"5;;a\r\nhello\r\n", ChunkExtensionError),
    "space after an extension": (b"5;a \r\nhello\r\n", ChunkExtensionError),
    "name not a token": (b"5;a b\r\nhello\r\n", ChunkExtensionError),
    "name missing": (b"5;=b\r\nhello\r\n", ChunkExtensionError),
    "value missing": (b"5;a=\r\nhello\r\n", ChunkExtensionError),
    "value twice": (b"5;a=b=c\r\nhello\r\n", ChunkExtensionError),
    "value not a token": (b"5;a=b,c\r\nhello\r\n", ChunkExtensionError),
    "quotes not closed": (b'5;a="b\r\nhello\r\n', ChunkExtensionError),
    "CRLF in quotes": (b'5;a="b\r\nc"\r\nhello\r\n', ChunkExtensionError),
    "quotes closed by an escape": (b'5;a="b\\"\r\nhello\r\n', ChunkExtensionError),
    "text behind quotes": (b'5;a="b"c\r\nhello\r\n', ChunkExtensionError),
    "quoted name": (b'5;"a"=b\r\nhello\r\n', ChunkExtensionError),
    "obs-text outside of quotes": (b"5;a\xff\r\nhello\r\n", ChunkExtensionError),
    "extension too long": (b"5;" + b"a" * 30 + b"\r\nhello\r\n", ChunkExtensionError),
    "extension endless": (b"5;" + b"a" * 200, ChunkExtensionError),
    "extensions too long together": (
        (b"1;" + b"a" * 20 + b"\r\nx\r\n") * 5,
        ChunkExtensionError,
    ),
    "data longer": (b"5\r\nhelloX\r\n", ChunkTerminatorError),
    "data without CRLF": (b"5\r\nhello0\r\n\r\n", ChunkTerminatorError),
    "data and LF": (b"5\r\nhello\n0\r\n\r\n", ChunkTerminatorError),
    "data and CR": (b"5\r\nhello\r0\r\n\r\n", ChunkTerminatorError),
    "data and CR CR LF": (b"5\r\nhello\r\r\n", ChunkTerminatorError),
    "trailer without colon": (b"0\r\nabc\r\n\r\n", HeaderNoColonError),
    "trailer with space before colon": (b"0\r\nA : b\r\n\r\n", HeaderSpaceError),
    "trailer without name": (b"0\r\n: b\r\n\r\n", HeaderNameError),
    "trailer with NUL": (b"0\r\nA: \x00\r\n\r\n", HeaderValueError),
    "trailer with LF": (b"0\r\nA: b\n\r\n", HeaderLineEndingError),
    "trailer with CR": (b"0\r\nA: b\rc\r\n\r\n", BareCRError),
    "LF after last chunk": (b"0\r\n\n", HeaderLineEndingError),
    "CR and letter after last chunk": (b"0\r\n\rX", BareCRError),
    "folded trailer": (b"0\r\nA: b\r\n c\r\n\r\n", ObsoleteFoldError),
    "fold on the first trailer line": (b"0\r\n A: b\r\n\r\n", TopLineSpaceError),
    "too many trailers": (b"0\r\n" + b"A: b\r\n" * 5 + b"\r\n", TooManyFieldsError),
    "trailer too long": (b"0\r\nA: " + b"b" * 60 + b"\r\n\r\n", FieldSectionTooLargeError),
    "trailer endless": (b"0\r\nA: " + b"b" * 60, FieldSectionTooLargeError),
    "trailers too long": (
        b"0\r\n" + (b"A: " + b"b" * 46 + b"\r\n") * 4 + b"\r\n",
        FieldSectionTooLargeError,
    ),
    "request where a size is due": (b"GET / HTTP/1.1\r\n", ChunkError),
}


@pytest.mark.parametrize(("data", "body", "trailers"), GOOD.values(), ids=GOOD.keys())
def test_chunked_body_is_decoded(data: bytes, body: bytes, trailers: Trailers) -> None:
    for way, pieces in deliveries(REQUEST + data):
        outcome = read_requests(pieces, LIMITS)
        assert outcome.error is None, pieces
        message = outcome.messages[0]
        assert message.complete
        assert message.body == body
        assert message.trailers == trailers
        assert len(outcome.messages) == (2 if way == "trailing data" else 1)
    for _, pieces in deliveries(RESPONSE + data):
        message = read_responses(pieces, limits=LIMITS).only
        assert (message.body, message.trailers, message.complete) == (body, trailers, True)


@pytest.mark.parametrize(("data", "error"), BAD.values(), ids=BAD.keys())
def test_chunked_body_is_refused(data: bytes, error: type[HttpError]) -> None:
    seen = set()
    for _, pieces in deliveries(REQUEST + data):
        outcome = read_requests(pieces, LIMITS)
        assert outcome.error is error, pieces
        assert not outcome.messages[0].complete
        seen.add(outcome.messages[0].body)
    assert len(seen) == 1, "what is delivered before the error depends on the pieces"
    for _, pieces in deliveries(RESPONSE + data):
        assert read_responses(pieces, limits=LIMITS).error is error


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
