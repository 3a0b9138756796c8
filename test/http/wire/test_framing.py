"""How a body ends: the pure decision, and what readers make of it."""

from __future__ import annotations

import pytest
from wire_support import deliveries, read_requests, read_responses

from thor.http.error import (
    ConnectContentError,
    ContentTooLargeError,
    DuplicateCLError,
    HttpError,
    MalformedCLError,
    MalformedTEError,
    RequestTransferEncodingError,
    TransferCodeError,
    TransferEncodingCLError,
    TransferEncodingVersionError,
)
from thor.http.wire.framing import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE, message_framing
from thor.http.wire.limits import Limits

BODY = b"5\r\nhello\r\n0\r\n\r\n"

REQUESTS: dict[str, tuple[bytes, int, bytes]] = {
    "neither": (b"", NO_BODY, b""),
    "length 0": (b"Content-Length: 0\r\n", LENGTH, b""),
    "length": (b"Content-Length: 3\r\n", LENGTH, b"abc"),
    "length with zeros": (b"Content-Length: 003\r\n", LENGTH, b"abc"),
    "length with blanks": (b"Content-Length: \t3 \t\r\n", LENGTH, b"abc"),
    "length in odd case": (b"conTENT-lengTH: 3\r\n", LENGTH, b"abc"),
    "chunked": (b"Transfer-Encoding: chunked\r\n", CHUNKED, BODY),
    "chunked in odd case": (b"transfer-encoding: CHUNKED\r\n", CHUNKED, BODY),
    "chunked with blanks": (b"Transfer-Encoding: \tchunked \r\n", CHUNKED, BODY),
}

LENGTHS: dict[str, bytes] = {
    "empty": b"",
    "blank": b" ",
    "plus": b"+5",
    "minus": b"-5",
    "minus zero": b"-0",
    "space inside": b"1 2",
    "tab inside": b"1\t2",
    "underscore": b"1_0",
    "hexadecimal": b"0x5",
    "hexadecimal digits": b"a",
    "fraction": b"5.0",
    "exponent": b"5e1",
    "letters": b"5 bytes",
    "quotes": b'"5"',
    "superscript two": b"\xb2",
    "Arabic digit": "\u0665".encode(),
    "full-width digit": "\uff15".encode(),
    "NBSP": b"\xa05",
    "over 2^63-1": b"9223372036854775808",
    "over 2^64": b"18446744073709551621",
    "twenty zeros": b"0" * 20,
    "thousands of digits": b"1" * 5000,
    "list with nothing": b"5,",
}

CODINGS: dict[str, tuple[list[bytes], type[HttpError], type[HttpError] | None]] = {
    # values, error in a request, error in a response (None: read until close)
    "xchunked": ([b"xchunked"], RequestTransferEncodingError, None),
    "chunkedchunked": ([b"chunkedchunked"], RequestTransferEncodingError, None),
    "gzip": ([b"gzip"], RequestTransferEncodingError, None),
    "identity": ([b"identity"], RequestTransferEncodingError, None),
    "chunked not last": ([b"chunked, gzip"], RequestTransferEncodingError, None),
    "chunked not last, in two fields": (
        [b"chunked", b"gzip"],
        RequestTransferEncodingError,
        None,
    ),
    "chunked, identity": ([b"chunked, identity"], RequestTransferEncodingError, None),
    "gzip with parameter": ([b"gzip;q=1"], RequestTransferEncodingError, None),
    "empty": ([b""], MalformedTEError, MalformedTEError),
    "comma": ([b","], MalformedTEError, MalformedTEError),
    "chunked and comma": ([b"chunked,"], MalformedTEError, MalformedTEError),
    "comma and chunked": ([b", chunked"], MalformedTEError, MalformedTEError),
    "chunked and an empty field": ([b"chunked", b""], MalformedTEError, MalformedTEError),
    "empty element": ([b"gzip,,chunked"], MalformedTEError, MalformedTEError),
    "quoted": ([b'"chunked"'], MalformedTEError, MalformedTEError),
    "two words": ([b"chunked foo"], MalformedTEError, MalformedTEError),
    "blank inside": ([b"chun ked"], MalformedTEError, MalformedTEError),
    "parameter": ([b"chunked;a=b"], MalformedTEError, MalformedTEError),
    "semicolon": ([b"chunked;"], MalformedTEError, MalformedTEError),
    "blank and parameter": ([b"chunked ; a"], MalformedTEError, MalformedTEError),
    "twice": ([b"chunked, chunked"], MalformedTEError, MalformedTEError),
    "twice in two fields": ([b"chunked", b"chunked"], MalformedTEError, MalformedTEError),
    "twice and more": ([b"chunked, gzip, chunked"], MalformedTEError, MalformedTEError),
    "NBSP": ([b"chunked\xa0"], MalformedTEError, MalformedTEError),
    "colon": ([b": chunked"], MalformedTEError, MalformedTEError),
    "gzip under chunked": ([b"gzip, chunked"], TransferCodeError, TransferCodeError),
    "gzip under chunked, two fields": ([b"gzip", b"chunked"], TransferCodeError, TransferCodeError),
    "identity under chunked": ([b"identity, chunked"], TransferCodeError, TransferCodeError),
    "unknown under chunked": ([b"x;y=z, Chunked"], TransferCodeError, TransferCodeError),
}


def post(fields: bytes, body: bytes = b"", *, method: bytes = b"POST") -> bytes:
    return method + b" / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body


@pytest.mark.parametrize(("fields", "framing", "body"), REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("method", [b"POST", b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"M"])
def test_request_is_framed(fields: bytes, framing: int, body: bytes, method: bytes) -> None:
    for way, pieces in deliveries(post(fields, body, method=method)):
        outcome = read_requests(pieces)
        assert outcome.error is None
        message = outcome.messages[0]
        assert message.head.framing == framing
        assert message.complete
        assert message.body == (b"hello" if framing == CHUNKED else body)
        assert message.head.length == (len(body) if framing == LENGTH else 0)
        if way == "trailing data":
            assert outcome.messages[1].head.target == b"/trailing"  # type: ignore[union-attr]


@pytest.mark.parametrize("value", LENGTHS.values(), ids=LENGTHS.keys())
def test_content_length_that_is_no_number_is_refused(value: bytes) -> None:
    for _, pieces in deliveries(post(b"Content-Length: %b\r\n" % value)):
        assert read_requests(pieces).error is MalformedCLError
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % value
    for _, pieces in deliveries(response):
        assert read_responses(pieces).error is MalformedCLError


def test_largest_length_is_accepted() -> None:
    outcome = read_requests([post(b"Content-Length: 9223372036854775807\r\n", b"ab")])
    assert outcome.messages[0].head.length == 2**63 - 1
    assert not outcome.messages[0].complete


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3\r\nContent-Length: 3\r\n",
        b"Content-Length: 3\r\ncontent-length: 03\r\n",
        b"Content-Length: 0\r\nContent-Length: 0\r\n",
    ],
    ids=["different", "same", "same number", "zero"],
)
def test_repeated_content_length_of_a_request_is_refused(fields: bytes) -> None:
    for _, pieces in deliveries(post(fields, b"abc")):
        assert read_requests(pieces).error is DuplicateCLError


def test_list_of_the_same_length_in_a_request_is_refused() -> None:
    assert read_requests([post(b"Content-Length: 3, 3\r\n", b"abc")]).error is MalformedCLError


def test_repeated_same_content_length_of_a_response_becomes_one() -> None:
    repeated = b"Content-Length: 3\r\nX: y\r\ncontent-length: 3\r\nContent-Length: 3\r\n"
    for fields in (repeated, b"Content-Length: 3, 3,3\r\nX: y\r\n"):
        for _, pieces in deliveries(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nabc", trailing=False):
            message = read_responses(pieces).only
            assert message.body == b"abc"
            assert message.head.headers == [(b"Content-Length", b"3"), (b"X", b"y")]


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3\r\nContent-Length: 03\r\n",
        b"Content-Length: 3, 4\r\n",
        b"Content-Length: 3, 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3, \r\n",
        b"Content-Length: 3\r\nContent-Length: x\r\n",
    ],
)
def test_lengths_of_a_response_that_differ_are_refused(fields: bytes) -> None:
    outcome = read_responses([b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nabc"])
    assert outcome.error in (DuplicateCLError, MalformedCLError)


@pytest.mark.parametrize(("values", "error", "in_response"), CODINGS.values(), ids=CODINGS.keys())
def test_transfer_coding_that_is_not_chunked_alone(
    values: list[bytes], error: type[HttpError], in_response: type[HttpError] | None
) -> None:
    fields = b"".join(b"Transfer-Encoding: %b\r\n" % value for value in values)
    for _, pieces in deliveries(post(fields, BODY)):
        assert read_requests(pieces).error is error
    for _, pieces in deliveries(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + BODY):
        outcome = read_responses(pieces, eof=True)
        assert outcome.error is in_response
        if in_response is None:
            assert outcome.only.head.framing == UNTIL_CLOSE
            assert not outcome.only.head.keep_alive
            assert outcome.only.body.startswith(BODY)


@pytest.mark.parametrize("coding", [b"chunked", b"gzip", b"identity", b""])
@pytest.mark.parametrize("first", ["length", "coding"])
def test_coding_and_length_together_are_refused(coding: bytes, first: str) -> None:
    lines = [b"Content-Length: 3\r\n", b"Transfer-Encoding: %b\r\n" % coding]
    fields = b"".join(lines if first == "length" else reversed(lines))
    for _, pieces in deliveries(post(fields, b"abc")):
        assert read_requests(pieces).error is TransferEncodingCLError
    for _, pieces in deliveries(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nabc"):
        assert read_responses(pieces).error is TransferEncodingCLError


def test_coding_in_http_1_0_is_refused() -> None:
    fields = b"Transfer-Encoding: chunked\r\n\r\n" + BODY
    for _, pieces in deliveries(b"POST / HTTP/1.0\r\n" + fields):
        assert read_requests(pieces).error is TransferEncodingVersionError
    for _, pieces in deliveries(b"HTTP/1.0 200 OK\r\n" + fields):
        assert read_responses(pieces).error is TransferEncodingVersionError


def test_control_character_beside_chunked_is_no_chunked() -> None:
    for value in (b"chunked\x0b", b"\x0cchunked", b"chunked\x00"):
        assert read_requests([post(b"Transfer-Encoding: %b\r\n" % value, BODY)]).error is not None


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"], ids=repr
)
def test_connect_with_content_is_refused(fields: bytes) -> None:
    for _, pieces in deliveries(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"):
        assert read_requests(pieces).error is ConnectContentError


def test_connect_with_length_zero_is_a_tunnel_request() -> None:
    outcome = read_requests([b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nxyz"])
    assert outcome.only.complete
    assert outcome.rest == b"xyz"


def test_declared_length_over_the_setting_is_refused_with_the_head() -> None:
    limits = Limits(max_body_bytes=3)
    for _, pieces in deliveries(post(b"Content-Length: 4\r\n", b"abcd")):
        outcome = read_requests(pieces, limits)
        assert outcome.error is ContentTooLargeError
        assert not outcome.messages
    for _, pieces in deliveries(post(b"Content-Length: 3\r\n", b"abc")):
        assert read_requests(pieces, limits).messages[0].complete


NO_BODY_RESPONSES = {
    "HEAD": (b"HEAD", b"200"),
    "204": (b"GET", b"204"),
    "304": (b"GET", b"304"),
    "HEAD and 304": (b"HEAD", b"304"),
    "CONNECT": (b"CONNECT", b"200"),
    "CONNECT, 299": (b"CONNECT", b"299"),
}


@pytest.mark.parametrize(
    "fields",
    [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: x\r\n"],
    ids=repr,
)
@pytest.mark.parametrize(
    ("method", "status"), NO_BODY_RESPONSES.values(), ids=NO_BODY_RESPONSES.keys()
)
def test_response_without_body_whatever_its_fields_say(
    method: bytes, status: bytes, fields: bytes
) -> None:
    for _, pieces in deliveries(
        b"HTTP/1.1 " + status + b" x\r\n" + fields + b"\r\nrest", trailing=False
    ):
        outcome = read_responses(pieces, [method])
        assert outcome.only.complete
        assert outcome.only.head.framing == NO_BODY
        assert outcome.only.body == b""
        assert outcome.rest == b"rest"


def test_refused_connect_has_a_body() -> None:
    outcome = read_responses([b"HTTP/1.1 407 x\r\nContent-Length: 2\r\n\r\nhi"], [b"CONNECT"])
    assert outcome.only.body == b"hi"


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
