"""The scanner of heads that come in pieces: linear, bounded, and of one mind with the parser."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_support import cuts, read_requests, read_responses

from thor.http.error import FieldSectionTooLargeError, HttpError, MessageError
from thor.http.wire import scan as scan_module
from thor.http.wire.head import parse_request_head
from thor.http.wire.limits import Limits
from thor.http.wire.scan import HeadScanner

SMALL = Limits(max_head_bytes=120, max_field_bytes=40, max_head_fields=4, max_target_bytes=20)

#: Pieces that heads are made of, and what spoils them.
_WORDS = [
    b"GET ", b"POST ", b"CONNECT ", b"/", b"*", b"http://a/", b"a:80", b" HTTP/1.1", b" HTTP/1.0",
    b"HTTP/1.1 ", b"200 ", b"OK", b"\r\n", b"\r\n", b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b": ",
    b"Host: a\r\n", b"A: b\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"\x00", b"\x7f", b"\xff", b"\x0b", b"x" * 30, b"5\r\nhello\r\n",
    b"0\r\n\r\n", b"3;a=b\r\nabc\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
]  # fmt: skip

soup = st.lists(st.sampled_from(_WORDS), max_size=14).map(b"".join)
prefixed = st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"])


@given(start=prefixed, rest=soup, seed=st.integers(0, 2**16))
def test_requests_come_out_the_same_however_they_are_cut(
    start: bytes, rest: bytes, seed: int
) -> None:
    data = start + rest
    for limits in (Limits(), SMALL, Limits(fold="unfold")):
        whole = read_requests([data], limits, eof=True)
        for pieces in (next(cuts(data, "byte by byte")), random_cut(data, seed)):
            again = read_requests(pieces, limits, eof=True)
            assert again == whole


@given(start=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n"]), rest=soup, seed=st.integers(0, 2**16))
def test_responses_come_out_the_same_however_they_are_cut(
    start: bytes, rest: bytes, seed: int
) -> None:
    data = start + rest
    for limits in (Limits(), SMALL, Limits(fold="unfold")):
        whole = read_responses([data], [b"GET"] * 3, limits, eof=True)
        for pieces in (next(cuts(data, "byte by byte")), random_cut(data, seed)):
            assert read_responses(pieces, [b"GET"] * 3, limits, eof=True) == whole


def random_cut(data: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    pieces = []
    while data:
        size = chance.randint(1, 12)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@given(block=soup)
def test_scanner_and_parser_refuse_the_same_heads(block: bytes) -> None:
    if b"\r\n\r\n" in block or block.startswith(b"\r\n"):
        return
    scanned = verdict(lambda: HeadScanner("request", SMALL).scan(block + b"\r\n\r\n"))
    parsed = verdict(lambda: parse_request_head(block, SMALL))
    if scanned is not None:
        assert parsed is scanned


def verdict(call: object) -> type[HttpError] | None:
    try:
        call()  # type: ignore[operator]
    except MessageError as error:
        return type(error)
    return None


@pytest.mark.parametrize("section", ["request", "response", "trailers"])
def test_end_is_found_with_what_follows_left_alone(section: str) -> None:
    start = {"request": b"GET / HTTP/1.1\r\n", "response": b"HTTP/1.1 200 OK\r\n", "trailers": b""}
    data = start[section] + b"A: b\r\n\r\n"
    scanner = HeadScanner(section, SMALL)  # type: ignore[arg-type]
    assert scanner.scan(b"xx" + data + b"\x00rest", 2) == len(data) + 2


def test_offsets_survive_a_buffer_that_moves() -> None:
    scanner = HeadScanner("request", SMALL)
    assert scanner.scan(b"junkGET / HTTP/1.1\r\nA", 4) == -1
    assert scanner.scan(b"GET / HTTP/1.1\r\nA: b\r", 0) == -1
    data = b"GET / HTTP/1.1\r\nA: b\r\n\r\n"
    assert scanner.scan(b"x" + data, 1) == len(data) + 1


def test_each_byte_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0

    class Counting:
        def search(self, buf: bytes, at: int) -> object:
            nonlocal looked_at
            event = pattern.search(buf, at)
            looked_at += (event.end() if event else len(buf)) - at
            return event

    pattern = vars(scan_module)["LINE_END_OR_CTL_RE"]
    monkeypatch.setattr(scan_module, "LINE_END_OR_CTL_RE", Counting())
    data = b"GET / HTTP/1.1\r\n" + b"A: %b\r\n" % (b"b" * 1000) * 20 + b"\r\n"
    scanner = HeadScanner("request", Limits())
    buf = bytearray()
    for i in range(len(data)):
        buf += data[i : i + 1]
        end = scanner.scan(buf)
    assert end == len(data)
    assert looked_at < 1.2 * len(data)


@pytest.mark.parametrize("max_field_bytes", [100, 1000])
@pytest.mark.parametrize("extra", [0, 1])
def test_head_limit_is_exact(extra: int, max_field_bytes: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n"
    fill = 120 - len(head) - len(b"A: \r\nB: \r\n\r\n") + extra
    data = head + b"A: " + b"a" * 36 + b"\r\nB: " + b"b" * (fill - 36) + b"\r\n\r\n"
    assert len(data) == 120 + extra
    limits = Limits(max_head_bytes=120, max_field_bytes=max_field_bytes)
    expected = FieldSectionTooLargeError if extra else None
    response = b"HTTP/1.1 204 O" + data[len(b"GET / HTTP/1.1") :]
    for way in ("whole", "byte by byte", "split"):
        for pieces in cuts(data, way):
            assert read_requests(pieces, limits).error is expected
        for pieces in cuts(response, way):
            assert read_responses(pieces, limits=limits).error is expected
