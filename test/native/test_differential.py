"""The native codec against its twins: whatever comes in, it says the same or nothing.

Owns: generated inputs. A native answer that is not None has to be the twin's, value for value and
type for type; and through the readers both implementations have to give the same messages, the
same error with the same text, and leave the same bytes, however these were cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from native_support import (
    CHUNKS,
    FIELDS,
    POST,
    REQUESTS,
    RESPONSES,
    SPICES,
    STREAM,
    UPLOAD,
    check_same,
    implementation,
    mutations,
    native_chunks,
    native_fields,
    native_request,
    native_response,
    native_response_head,
    twin_chunks,
    twin_fields,
    twin_request,
    twin_response,
    twin_response_head,
)
from wire_support import cuts, parts_of

from thor import native
from thor.http.error import HttpError
from thor.http.wire import reader as reader_module
from thor.http.wire.limits import Limits
from thor.http.wire.reader import MessageReader, RequestReader, ResponseReader
from thor.http.wire.writer import request_head, response_head

if not native.loaded:
    pytest.skip("the native codec is not loaded", allow_module_level=True)

MUTATIONS = 3000
TIGHT = Limits(
    max_head_bytes=150,
    max_target_bytes=60,
    max_head_fields=4,
    max_body_bytes=12,
    fold="unfold",
    refuse_host_mismatch=True,
)

BODIES = [POST + b"Hello, world", UPLOAD + CHUNKS, *REQUESTS[:2]]
ANSWERS = [RESPONSES[0] + b"Hello, world!", STREAM + CHUNKS, *RESPONSES[2:]]


def check_request(data: bytes, at: int = 0, limits: Limits | None = None) -> None:
    limits = limits or Limits()
    check_same(native_request(data, at, limits), lambda: twin_request(data, at, limits))


def check_response(data: bytes, at: int = 0, limits: Limits | None = None) -> None:
    limits = limits or Limits()
    for method in (b"GET", b"HEAD"):
        check_same(
            native_response(data, at, limits, method),
            lambda method=method: twin_response(data, at, limits, method),  # type: ignore[misc]
        )


def check_chunks(data: bytes, at: int = 0, room: int | None = None) -> None:
    found = native_chunks(data, at, room)
    if found is not None:
        assert found == twin_chunks(data, at, found[1], room)
        assert found == native_chunks(bytearray(data), at, room)


# -- one call


@pytest.mark.parametrize("limits", [Limits(), TIGHT], ids=["default", "tight"])
def test_mutated_requests(limits: Limits) -> None:
    for data in mutations(REQUESTS, MUTATIONS, seed=1):
        check_request(data, 0, limits)


@pytest.mark.parametrize("limits", [Limits(), TIGHT], ids=["default", "tight"])
def test_mutated_responses(limits: Limits) -> None:
    for data in mutations(RESPONSES, MUTATIONS, seed=2):
        check_response(data, 0, limits)


def test_mutated_chunks() -> None:
    for data in mutations([CHUNKS, b"1\r\na\r\n" * 3 + CHUNKS], MUTATIONS, seed=3):
        check_chunks(data)
        check_chunks(data, 10, 12)


@pytest.mark.parametrize("asking", [True, False])
def test_mutated_fields(asking: bool) -> None:
    seeds = [part if isinstance(part, bytes) else part.encode() for pair in FIELDS for part in pair]
    seeds += [b"Host", b"Connection", b"Content-Length", b"12", b"close"]
    parts = list(mutations(seeds, MUTATIONS, seed=4))
    for n in range(0, len(parts) - 3, 2):
        fields = [("Host", "a"), (parts[n], parts[n + 1]), *FIELDS[: n % 4]]
        check_same(
            native_fields(fields, b"0", True, asking),
            lambda fields=fields: twin_fields(fields, b"0", True, asking),  # type: ignore[misc]
        )


PIECES = st.sampled_from(
    [
        *SPICES,
        *[line + b"\r\n" for data in REQUESTS + RESPONSES for line in data.split(b"\r\n")],
        b"GET /",
        b" HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: ",
        b"Connection: ",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=12), max_size=12), st.integers(0, 6))
def test_heads_of_pieces(pieces: list[bytes], at: int) -> None:
    data = b"".join(pieces) + b"\r\n\r\n"
    check_request(data, at)
    check_response(data, at)
    check_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + data)
    check_response(b"HTTP/1.1 200 OK\r\n" + data)


@given(st.lists(st.sampled_from([b"0", b"1", b"a", b"F", b"\r\n", b";", b"x" * 10]) | PIECES))
def test_chunks_of_pieces(pieces: list[bytes]) -> None:
    check_chunks(b"".join(pieces))


TEXTS = st.text(max_size=6) | st.binary(max_size=6) | st.sampled_from(["A", b"Host", "Date"])
NAMES = st.from_regex(rb"\A[!#$%&'*+.^_`|~0-9A-Za-z-]{1,9}\Z") | TEXTS


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=4), st.booleans(), st.booleans())
def test_fields_of_any_text(fields: list[tuple[Any, Any]], keep: bool, asking: bool) -> None:
    check_same(
        native_fields(fields, b"0", keep, asking), lambda: twin_fields(fields, b"0", keep, asking)
    )


STATUSES = st.sampled_from([b"199", b"200", b"204", b"206", b"304", b"404", b"426", b"999"])
METHODS = st.sampled_from([b"GET", b"HEAD", b"CONNECT", b"POST", b"head"])
LENGTHS = st.sampled_from([[], [("Content-Length", "12")], [("content-length", b" 07")]])


@given(LENGTHS, st.lists(st.tuples(NAMES, TEXTS), max_size=3), STATUSES, METHODS)
def test_response_heads_of_any_text(
    lengths: list[tuple[Any, Any]], fields: list[tuple[Any, Any]], status: bytes, method: bytes
) -> None:
    line = b"HTTP/1.1 %b caf\xe9" % status
    check_same(
        native_response_head([*lengths, *fields], line, method),
        lambda: twin_response_head([*lengths, *fields], line, method),
    )


# -- through the readers and writers


def story(reader: MessageReader, pieces: Iterable[bytes]) -> list[object]:
    """All that a connection learns from its reader: heads, bodies, the error, what is left."""
    told: list[object] = []
    body = b""
    try:
        for piece in pieces:
            reader.feed(piece)
            while True:
                if reader.complete or not told:
                    head = reader.read_head()  # type: ignore[attr-defined]
                    if head is None:
                        break
                    told.append(parts_of(head))
                    body = b""
                while (data := reader.read_body()) is not None:
                    body += data
                if not reader.complete:
                    break
                told += [body, reader.trailers]
                if isinstance(reader, ResponseReader):
                    break
    except HttpError as error:
        told += [body, type(error), str(error)]
    told += [reader.buffered, reader.started, reader.complete, reader.take_rest()]
    return told


def check_stories(make: Callable[[], MessageReader], data: bytes, ways: Iterable[str]) -> None:
    for way in ways:
        for pieces in cuts(data, way):
            stories = []
            for name in ("py", "c"):
                with implementation(name):
                    stories.append(repr(story(make(), pieces)))
            assert stories[0] == stories[1], pieces


def asked(limits: Limits | None = None) -> ResponseReader:
    reader = ResponseReader(limits or Limits())
    reader.expect(b"GET")
    return reader


WAYS = ("whole", "byte by byte", "split", "trailing data")


@pytest.mark.parametrize("limits", [Limits(), TIGHT], ids=["default", "tight"])
def test_requests_cut_anywhere(limits: Limits) -> None:
    for data in [b"".join(BODIES), *REQUESTS]:
        check_stories(lambda: RequestReader(limits), data, WAYS)


@pytest.mark.parametrize("limits", [Limits(), TIGHT], ids=["default", "tight"])
def test_responses_cut_anywhere(limits: Limits) -> None:
    for data in ANSWERS:
        check_stories(lambda: asked(limits), data, WAYS)


@pytest.mark.parametrize("limits", [Limits(), TIGHT], ids=["default", "tight"])
def test_mutated_messages_are_read_the_same(limits: Limits) -> None:
    for n, data in enumerate(mutations(BODIES, MUTATIONS // 3, seed=5)):
        way = WAYS[1:3] if n % 100 == 0 else ("whole",)
        check_stories(lambda: RequestReader(limits), data, way)
    for n, data in enumerate(mutations(ANSWERS, MUTATIONS // 3, seed=6)):
        way = WAYS[1:3] if n % 100 == 0 else ("whole",)
        check_stories(lambda: asked(limits), data, way)


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=4), st.sampled_from([200, 204, 304, 426]))
def test_any_fields_are_sent_or_refused_the_same(
    fields: list[tuple[Any, Any]], status: int
) -> None:
    def respond() -> object:
        return parts_of(response_head(status, "OK", fields, b"GET", True, True, b"\r\nDate: x"))

    def ask() -> object:
        head = request_head(
            b"GET", b"/", fields, host=b"a", has_body=None, upgrade=None, te_trailers=False
        )
        return parts_of(head)

    for make in (respond, ask):
        outcomes = []
        for name in ("py", "c"):
            with implementation(name):
                try:
                    outcomes.append(repr(make()))
                except HttpError as error:
                    outcomes.append(f"{type(error)}: {error}")
        assert outcomes[0] == outcomes[1]


def test_requests_behind_one_in_pieces_are_read_by_the_codec(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = []

    def parse(*args: Any) -> Any:
        assert native.parse_request is not None
        answers.append(native.parse_request(*args))
        return answers[-1]

    monkeypatch.setattr(reader_module, "_parse_request", parse)
    reader = RequestReader(Limits())
    data = REQUESTS[1]
    reader.feed(data[:9])
    assert reader.read_head() is None
    reader.feed(data[9:] + data * 3)
    assert [parts_of(reader.read_head()) == twin_request(data) for _ in range(4)] == [True] * 4
    assert [answer is not None for answer in answers] == [False, False, True, True, True]
