"""How a body ends: the pure decision, and what readers make of it."""

from __future__ import annotations

import pytest
from wire_support import deliveries, read_requests, read_responses

from thor.http.wire.framing import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE, message_framing

BODY = b"5\r\nhello\r\n0\r\n\r\n"


def post(fields: bytes, body: bytes = b"", *, method: bytes = b"POST") -> bytes:
    return method + b" / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body


def test_largest_length_is_accepted() -> None:
    outcome = read_requests([post(b"Content-Length: 9223372036854775807\r\n", b"ab")])
    assert outcome.messages[0].head.length == 2**63 - 1
    assert not outcome.messages[0].complete


def test_repeated_same_content_length_of_a_response_becomes_one() -> None:
    repeated = b"Content-Length: 3\r\nX: y\r\ncontent-length: 3\r\nContent-Length: 3\r\n"
    for fields in (repeated, b"Content-Length: 3, 3,3\r\nX: y\r\n"):
        for _, pieces in deliveries(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nabc", trailing=False):
            message = read_responses(pieces).only
            assert message.body == b"abc"
            assert message.head.headers == [(b"Content-Length", b"3"), (b"X", b"y")]


def test_control_character_beside_chunked_is_no_chunked() -> None:
    for value in (b"chunked\x0b", b"\x0cchunked", b"chunked\x00"):
        assert read_requests([post(b"Transfer-Encoding: %b\r\n" % value, BODY)]).error is not None


STEPS = {
    "1: HEAD": ((b"HEAD", 200, True, [b"5"], []), (NO_BODY, 0)),
    "1: 1xx": ((b"GET", 103, True, [b"5"], []), (NO_BODY, 0)),
    "2": ((b"CONNECT", 200, True, [], [b"chunked"]), (NO_BODY, 0)),
    "4: request": ((b"GET", 0, True, [], [b"chunked"]), (CHUNKED, 0)),
    "4: response": ((b"GET", 200, True, [], [b"chunked"]), (CHUNKED, 0)),
    "4: other coding": ((b"GET", 200, True, [], [b"gzip"]), (UNTIL_CLOSE, 0)),
    "6": ((b"GET", 200, True, [b"5"], []), (LENGTH, 5)),
    "7": ((b"GET", 0, True, [], []), (NO_BODY, 0)),
    "8": ((b"GET", 200, True, [], []), (UNTIL_CLOSE, 0)),
}


@pytest.mark.parametrize(("asked", "answer"), STEPS.values(), ids=STEPS.keys())
def test_steps_of_the_rfc(
    asked: tuple[bytes, int, bool, list[bytes], list[bytes]], answer: tuple[int, int]
) -> None:
    assert message_framing(*asked) == answer
