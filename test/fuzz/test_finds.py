"""What fuzzing has found, each once more, in as few bytes as show it."""

from __future__ import annotations

import pytest

from thor.http.wire.limits import Limits
from thor.http.wire.reader import RequestReader

pytestmark = pytest.mark.fuzz


def test_a_request_as_long_as_the_piece_that_came_first_survives_the_end_of_input() -> None:
    first, second = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"
    reader = RequestReader(Limits())
    reader.feed(first[: len(second)])
    assert reader.read_head() is None
    reader.feed(first[len(second) :] + second)
    assert reader.read_head() is not None
    reader.eof()
    assert reader.read_head() is not None
    assert reader.complete


def test_so_does_one_behind_a_chunked_body() -> None:
    second = b"GET / HTTP/1.0\r\n\r\n"
    extension = b"1;" + b"a" * (len(second) - 2)
    reader = RequestReader(Limits())
    reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + extension)
    assert reader.read_head() is not None
    assert reader.read_body() is None
    reader.feed(b"\r\nx\r\n0\r\n\r\n" + second)
    assert reader.read_body() == b"x"
    reader.eof()
    assert reader.read_head() is not None
