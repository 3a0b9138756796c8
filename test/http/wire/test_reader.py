"""Readers: the buffer, the order of messages, the end of input."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from wire_support import (
    TRAILING_REQUEST,
    Message,
    cuts,
    deliveries,
    parts_of,
    pull_body,
    read_requests,
    read_responses,
)

from thor.http.error import (
    ChunkError,
    ExtraDataError,
    FieldSectionTooLargeError,
    HttpError,
    IncompleteMessageError,
    RequestLineError,
    TargetTooLongError,
    TooManyFieldsError,
)
from thor.http.wire.framing import LENGTH
from thor.http.wire.limits import Limits
from thor.http.wire.reader import RequestReader, ResponseReader

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def reader_with(data: bytes = b"") -> RequestReader:
    reader = RequestReader(Limits())
    if data:
        reader.feed(data)
    return reader


# -- a body that somebody else reads


def test_what_is_due_of_a_body_is_known_when_all_that_came_was_pulled() -> None:
    reader = reader_with(POST)
    assert reader.body_due == 0
    reader.read_head()
    assert reader.body_due == 5
    reader.feed(b"ab")
    assert reader.body_due == 0
    assert reader.read_body() == b"ab"
    assert reader.body_due == 3
    reader.skip_body(2)
    assert reader.body_due == 1
    reader.feed(b"e" + GET)
    assert reader.read_body() == b"e"
    assert (reader.complete, reader.body_due) == (True, 0)
    head = reader.read_head()
    assert head is not None
    assert head.method == b"GET"


def test_nothing_is_due_of_a_body_whose_length_is_not_known() -> None:
    reader = reader_with(CHUNKED + b"2\r\nab\r\n")
    reader.read_head()
    assert reader.read_body() == b"ab"
    assert reader.body_due == 0


# -- one message, and the next


def is_complete(reader: RequestReader | ResponseReader) -> bool:
    return reader.complete


def is_started(reader: RequestReader) -> bool:
    return reader.started


def test_head_without_body_is_complete_at_once() -> None:
    reader = reader_with(GET)
    assert not is_complete(reader)
    head = reader.read_head()
    assert head is not None
    assert parts_of(head)[:3] == (b"GET", b"/", b"1.1")
    assert reader.complete
    assert reader.trailers == []
    assert reader.read_body() is None
    assert reader.buffered == 0
    assert reader.read_head() is None


def test_nothing_is_read_before_it_is_asked_for() -> None:
    reader = reader_with(GET + POST + b"hello" + GET)
    assert reader.buffered == 2 * len(GET) + len(POST) + 5
    assert reader.read_head() is not None
    assert reader.buffered == len(GET) + len(POST) + 5
    assert reader.read_head() is not None
    assert not is_complete(reader)
    assert reader.read_body() == b"hello"
    assert reader.complete
    assert reader.buffered == len(GET)


def test_body_may_be_read_as_it_comes() -> None:
    reader = reader_with(POST + b"he")
    reader.read_head()
    assert reader.read_body() == b"he"
    assert reader.read_body() is None
    assert not is_complete(reader)
    reader.feed(b"l")
    reader.feed(b"lo" + GET)
    assert reader.read_body() == b"llo"
    assert reader.complete
    assert reader.read_head() is not None


def test_body_that_is_the_whole_buffer_is_not_copied() -> None:
    reader = reader_with(POST)
    reader.read_head()
    data = b"hello"
    reader.feed(data)
    assert reader.read_body() is data


def test_chunks_that_came_together_are_given_together() -> None:
    reader = reader_with(CHUNKED + b"1\r\na\r\n2\r\nbc\r\n3\r\nde")
    reader.read_head()
    assert reader.read_body() == b"abcde"
    assert reader.read_body() is None
    reader.feed(b"f\r\n0\r\nA: b\r\n\r\n" + GET)
    assert reader.read_body() == b"f"
    assert reader.complete
    assert reader.trailers == [(b"A", b"b")]
    assert reader.buffered == len(GET)


def test_trailers_are_those_of_the_last_message() -> None:
    reader = reader_with(CHUNKED + b"0\r\nA: b\r\n\r\n" + GET)
    reader.read_head()
    assert reader.read_body() is None
    assert reader.trailers == [(b"A", b"b")]
    reader.read_head()
    assert reader.trailers == []


def test_bad_request_behind_good_ones_leaves_them_alone() -> None:
    for _, pieces in deliveries(GET + POST + b"hello" + b"BAD\r\n\r\n"):
        outcome = read_requests(pieces)
        assert [message.body for message in outcome.messages] == [b"", b"hello"]
        assert outcome.error is RequestLineError


def test_next_head_before_the_body_was_read_is_misuse() -> None:
    reader = reader_with(POST + b"hello")
    reader.read_head()
    with pytest.raises(RuntimeError):
        reader.read_head()


def test_next_response_head_before_the_body_was_read_is_misuse() -> None:
    reader = response_reader()
    reader.feed(OK)
    reader.read_head()
    with pytest.raises(RuntimeError):
        reader.read_head()


def test_many_pipelined_requests_are_read_from_one_buffer() -> None:
    reader = reader_with(GET * 2000)
    for _ in range(2000):
        assert reader.read_head() is not None
    assert reader.buffered == 0


# -- before the request line


def test_empty_lines_are_no_beginning_of_a_request() -> None:
    reader = reader_with()
    assert not is_started(reader)
    for piece in (b"\r", b"\n", b"\r\n", b"\r"):
        reader.feed(piece)
        assert reader.read_head() is None
        assert not is_started(reader)
    reader.feed(b"\nG")
    assert reader.started
    assert reader.read_head() is None
    assert reader.started
    reader.feed(GET[1:])
    assert reader.read_head() is not None
    assert not is_started(reader)


def test_body_that_is_not_complete_is_no_beginning_of_a_request() -> None:
    reader = reader_with(POST + b"he")
    assert reader.started
    reader.read_head()
    assert not is_started(reader)


# -- limits


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"A" * 100_000, RequestLineError),
        (b"GET /" + b"a" * 100_000, TargetTooLongError),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 100_000, FieldSectionTooLargeError),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000, TooManyFieldsError),
        (b"GET / HTTP/1.1\r\n" + (b"A: " + b"b" * 5000 + b"\r\n") * 20, FieldSectionTooLargeError),
        (b"\r\n" * 100_000, RequestLineError),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 100_000, TooManyFieldsError),
        (CHUNKED + b"1;" + b"a" * 100_000, ChunkError),
        (CHUNKED + b"1;aaaaaaaaa\r\nx\r\n" * 100_000, ChunkError),
    ],
    ids=["method", "target", "field", "fields", "head", "empty", "trailers", "ext", "exts"],
)
def test_endless_input_is_refused_and_memory_stays_bounded(
    data: bytes, error: type[HttpError]
) -> None:
    reader = reader_with()
    sizes: list[int] = []
    with pytest.raises(error):
        read_endlessly(reader, data, sizes)
    assert max(sizes) < 160_000
    for _ in range(1000):
        reader.feed(b"x" * 1000)
    assert reader.buffered == 0


def read_endlessly(reader: RequestReader, data: bytes, sizes: list[int]) -> None:
    message = None
    for at in range(0, len(data), 1000):
        reader.feed(data[at : at + 1000])
        sizes.append(sys.getsizeof(reader.buffer))
        if message is None and (head := reader.read_head()) is not None:
            message = Message(head)
        if message is not None:
            pull_body(reader, message)
            message.body = b""


def test_body_leaves_the_buffer_as_it_is_read() -> None:
    reader = reader_with(CHUNKED)
    reader.read_head()
    for _ in range(500):
        reader.feed(b"400\r\n" + b"a" * 1024)
        assert reader.read_body() == b"a" * 1024
        reader.feed(b"\r\n")
        assert reader.read_body() is None
        assert reader.buffered < 10
    assert sys.getsizeof(reader.buffer) < 10_000


# -- errors are final


def test_error_is_raised_by_every_later_read() -> None:
    reader = reader_with(b"BAD\r\n")
    with pytest.raises(RequestLineError) as first:
        reader.read_head()
    reader.feed(GET)
    for read in (reader.read_head, reader.read_body, reader.read_head):
        with pytest.raises(RequestLineError) as again:
            read()
        assert again.value is first.value
    assert not is_started(reader)
    reader.eof()


def test_good_part_of_a_body_comes_before_the_error() -> None:
    reader = reader_with(CHUNKED + b"3\r\nabc\r\nx\r\n")
    reader.read_head()
    assert reader.read_body() == b"abc"
    assert not is_complete(reader)
    with pytest.raises(ChunkError):
        reader.read_body()


# -- the end of input


@pytest.mark.parametrize("data", [b"", GET, b"\r\n", b"\r", GET + b"\r\n\r"], ids=repr)
def test_end_between_requests_is_no_error(data: bytes) -> None:
    for way in ("whole", "byte by byte"):
        for pieces in cuts(data, way):
            assert read_requests(pieces, eof=True).error is None


def test_end_is_known_only_when_what_came_before_was_read() -> None:
    reader = reader_with(POST + b"hello" + GET)
    reader.eof()
    assert reader.read_head() is not None
    assert reader.read_body() == b"hello"
    assert reader.complete
    assert reader.read_head() is not None
    assert reader.read_head() is None


def test_missing_rest_is_found_by_the_read_that_needs_it() -> None:
    reader = reader_with(POST + b"he")
    reader.eof()
    reader.read_head()
    assert reader.read_body() == b"he"
    with pytest.raises(IncompleteMessageError):
        reader.read_body()


@pytest.mark.parametrize("data", [b"GE", POST + b"he", CHUNKED + b"5\r\nhello\r\n0"], ids=repr)
def test_end_after_all_was_read_raises_at_once(data: bytes) -> None:
    reader = reader_with(data)
    if reader.read_head() is not None:
        while reader.read_body() is not None:
            pass
    with pytest.raises(IncompleteMessageError):
        reader.eof()


# -- another protocol


def test_rest_is_taken_as_it_came() -> None:
    reader = reader_with(GET + b"\x00raw\r\n")
    reader.read_head()
    assert reader.take_rest() == b"\x00raw\r\n"
    assert reader.buffered == 0
    assert reader.take_rest() == b""
    reader.feed(b"ab")
    reader.feed(b"cd")
    assert reader.take_rest() == b"abcd"


# -- responses

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def response_reader(method: bytes = b"GET", limits: Limits | None = None) -> ResponseReader:
    reader = ResponseReader(limits or Limits())
    reader.expect(method)
    return reader


def test_response_is_read() -> None:
    for _, pieces in deliveries(OK, trailing=False):
        message = read_responses(pieces).only
        assert (message.body, message.complete) == (b"hello", True)
        assert message.head.framing == LENGTH


def test_connection_is_used_for_one_response_after_the_other() -> None:
    reader = response_reader()
    for _ in range(3):
        reader.feed(OK)
        assert reader.read_head() is not None
        assert reader.read_body() == b"hello"
        assert reader.complete
        reader.expect(b"GET")
        assert not is_complete(reader)


def test_second_expectation_before_the_response_is_misuse() -> None:
    reader = response_reader()
    with pytest.raises(RuntimeError):
        reader.expect(b"GET")


@pytest.mark.parametrize("data", [b"H", OK, b"\r\n", b"\x00"], ids=repr)
def test_bytes_before_any_request_are_refused(data: bytes) -> None:
    reader = ResponseReader(Limits())
    reader.feed(data)
    assert reader.buffered == len(data)
    with pytest.raises(ExtraDataError):
        reader.read_head()


@pytest.mark.parametrize("extra", [b"H", OK, b"\r\n"], ids=repr)
def test_bytes_after_a_complete_response_are_refused(extra: bytes) -> None:
    reader = response_reader()
    reader.feed(OK + extra)
    assert reader.read_head() is not None
    assert reader.read_body() == b"hello"
    assert reader.buffered == len(extra)
    with pytest.raises(ExtraDataError):
        reader.read_head()


def test_bytes_that_were_there_before_the_request_are_never_its_response() -> None:
    reader = ResponseReader(Limits())
    reader.feed(OK)
    reader.expect(b"GET")
    reader.feed(OK)
    with pytest.raises(ExtraDataError):
        reader.read_head()


def test_nothing_expected_and_nothing_there_is_no_error() -> None:
    reader = ResponseReader(Limits())
    assert reader.read_head() is None
    reader.eof()


def test_informational_response_completes_nothing() -> None:
    reader = response_reader()
    reader.feed(b"HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n\r\n")
    assert reader.read_head() is not None
    assert not is_complete(reader)
    assert reader.read_body() is None
    assert reader.read_head() is None


def test_bound_holds_for_each_request() -> None:
    data = b"HTTP/1.1 103 Early\r\n\r\n" * 16 + OK
    assert read_responses([data, data], [b"GET", b"GET"]).error is None


def test_switch_of_protocols_is_complete_and_leaves_the_rest() -> None:
    reader = response_reader()
    reader.feed(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw")
    head = reader.read_head()
    assert head is not None
    assert head.upgrade == [b"x"]
    assert reader.complete
    assert reader.take_rest() == b"raw"


def test_tunnel_is_complete_and_leaves_the_rest() -> None:
    reader = response_reader(b"CONNECT")
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nraw")
    assert reader.read_head() is not None
    assert reader.complete
    assert reader.take_rest() == b"raw"


def test_end_completes_a_response_only_after_what_is_left_was_read() -> None:
    reader = response_reader()
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    reader.read_head()
    reader.feed(b"abc")
    reader.eof()
    assert not is_complete(reader)
    assert reader.read_body() == b"abc"
    assert reader.read_body() is None
    assert reader.complete


def test_support_itself_tells_trailing_data_apart() -> None:
    assert read_requests([TRAILING_REQUEST]).only.head.target == b"/trailing"  # type: ignore[union-attr]


class CountingBuffer(bytearray):
    """A buffer that counts the bytes that are copied out of it."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(key, slice):
            self.copied += len(found)
        return found


def test_a_head_that_dribbles_in_is_not_copied_for_each_byte() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 345678\r\n" * 100 + b"\r\n"
    reader = reader_with(head[:1])
    buffer = reader.buffer = CountingBuffer(head[:1])
    for octet in head[1:-1]:
        assert reader.read_head() is None
        assert reader.started
        reader.feed(bytes((octet,)))
    assert reader.buffer is buffer
    assert buffer.copied < 4 * len(head)
