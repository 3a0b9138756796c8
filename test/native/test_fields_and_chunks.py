"""Which fields and chunks the native codec takes, and which it leaves to its twins."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from native_support import (
    CHUNKS,
    FIELDS,
    OCTETS,
    OwnBytes,
    check_same,
    ids_of,
    native_chunks,
    native_fields,
    native_response_head,
    twin_chunks,
    twin_fields,
    twin_response_head,
)

from thor import native
from thor.http.wire.fields import WireFields

if not native.loaded:
    pytest.skip("the native codec is not loaded", allow_module_level=True)


class OwnStr(str):
    """Text that might behave in any way."""

    __slots__ = ()


class OwnList(list[Any]):
    """A list that is iterated in another way."""

    def __iter__(self) -> Any:
        return iter([("X", "y")])


# -- fields that are sent


def forwarded_fields(*fields: tuple[bytes, bytes]) -> WireFields:
    """Return fields as the proxy forwards them."""
    made = WireFields(fields)
    made.host, made.length, made.dated = b"", -1, False
    return made


PLAIN_FIELDS: dict[str, Any] = {
    "none": [],
    "a tuple": (("A", "b"),),
    "those of a message that is passed on": forwarded_fields((b"A", b"b"), (b"Via", b"c")),
    "str and bytes": [("A", b"b"), (b"C", "d")],
    "white space around": [("A", "  b c  ")],
    "empty": [("A", ""), ("B", b""), ("C", " ")],
    "obs-text": [(b"A", b"\x80\xff")],
    "every octet of a token": [("!#$%&'*+-.^_`|~09azAZ", "b")],
    "length": [("Content-Length", "13")],
    "length with zeros": [("content-LENGTH", b" 007 ")],
    "largest plain length": [("Content-Length", "999999999999999999")],
    "date": [("date", "x"), ("Date", "y")],
    "Expect": [("Expect", "100-continue")],
    "Host": [("Host", "a")],
    "several": FIELDS,
    "many": [("A", "b"), (b"Date", b"c")] * 64,
    "a large value": [("A", "x" * 60000)],
}

OTHER_FIELDS: dict[str, Any] = {
    "generator": (field for field in FIELDS),
    "dictionary": {"A": "b"},
    "a list with a way of its own": OwnList([("A", "b")]),
    "nothing": None,
    "list in the list": [["A", "b"]],
    "three": [("A", "b", "c")],
    "one": [("A",)],
    "number": [("A", 1)],
    "name that is a number": [(1, "a")],
    "own bytes": [("A", OwnBytes(b"b"))],
    "own str": [(OwnStr("A"), "b")],
    "Latin-1": [("A", "caf\xe9")],
    "not Latin-1": [("A", "\u20ac")],
    "lone surrogate": [("A", "\ud800")],
    "empty name": [("", "b")],
    "space in a name": [("A b", "c")],
    "colon in a name": [("A:", "c")],
    "obs-text in a name": [(b"\xe9", "c")],
    "HTAB": [("A", "b\tc")],
    "HTAB around": [("A", "\tb")],
    "CR": [("A", "b\rc")],
    "LF": [("A", b"b\n")],
    "CRLF": [("A", b"b\r\nC: d")],
    "NUL": [("A", "b\x00c")],
    "DEL": [("A", b"b\x7f")],
    "bad length": [("Content-Length", "x")],
    "length of 19 digits": [("Content-Length", "1" * 19)],
    "two lengths": [("Content-Length", "1"), ("Content-Length", "1")],
    "Connection": [("Connection", "keep-alive")],
    "Transfer-Encoding": [("transfer-encoding", "chunked")],
    "Keep-Alive": [("Keep-Alive", "x")],
    "Proxy-Connection": [("Proxy-Connection", "x")],
    "TE": [("TE", "trailers")],
    "Upgrade": [("Upgrade", "x")],
    "over a mebibyte": [("A", "x" * 2**20)],
    "over a mebibyte together": [("A", "x" * 2**19), ("A", "x" * 2**19)],
    "name over a mebibyte": [("A" * 2**20, "")],
}


@pytest.mark.parametrize("fields", **ids_of(PLAIN_FIELDS))
def test_plain_fields_are_rendered_as_by_the_twin(fields: Any) -> None:
    for args in product((b"", b"HTTP/1.1 200 OK"), (True, False), (True, False)):
        expected = twin_fields(fields, *args)
        assert expected is not None
        assert repr(native_fields(fields, *args)) == repr(expected)


@pytest.mark.parametrize("fields", **ids_of(OTHER_FIELDS))
def test_fields_that_are_not_plain_are_left_to_the_twin(fields: Any) -> None:
    assert native_fields(fields, request=True) is None
    assert native_fields(fields, request=False) is None


def test_host_of_a_request_is_for_the_caller_to_place() -> None:
    fields = [("A", "b"), ("Host", " c "), ("D", "e")]
    assert native_fields(fields, request=True) == (b"0\r\nA: b\r\nD: e", -1, False, ((5, b"c"),))
    assert native_fields([*fields, ("host", "c")], request=True) is None


def test_more_than_128_fields_are_left_to_the_twin() -> None:
    assert native_fields([("A", "b")] * 128) is not None
    assert native_fields([("A", "b")] * 129) is None


def test_length_that_is_not_sent_may_say_anything() -> None:
    assert native_fields([("Content-Length", "x")], keep_length=False) == (b"0", -1, False, ())


def test_start_is_taken_as_it_is() -> None:
    assert native_fields([], start=b"\r\n\x00") == (b"\r\n\x00", -1, False, ())
    assert native_fields([], start=bytearray(b"0")) is None  # type: ignore[arg-type]
    assert native_fields([], start=b"x" * (2**20 + 1)) is None


@pytest.mark.parametrize("name", ["A\x00", "A"])
@pytest.mark.parametrize("value", ["\x00", "1234567\x009"])
@pytest.mark.parametrize("kind", [str, bytes])
def test_each_octet_that_is_sent_is_judged_as_by_the_twin(name: str, value: str, kind: Any) -> None:
    plain = 0
    for it in OCTETS:
        parts = [part.replace("\x00", it.decode("latin-1")) for part in (name, value)]
        field = tuple(part if kind is str else part.encode("latin-1") for part in parts)
        found = native_fields([field])
        plain += found is not None
        check_same(found, lambda field=field: twin_fields([field]))  # type: ignore[misc]
    assert plain >= 60


# -- whole heads of responses

LENGTH_12 = ("Content-Length", "12")
PLAIN_HEADS: dict[str, tuple[Any, ...]] = {
    "usual": (FIELDS,),
    "length alone": ([LENGTH_12],),
    "status with a meaning of its own": ([LENGTH_12], b"HTTP/1.1 426 Upgrade Required"),
    "no phrase": ([LENGTH_12], b"HTTP/1.1 999 "),
    "own Date": ([("date", "then"), LENGTH_12],),
    "no Date": ([LENGTH_12], b"HTTP/1.1 200 OK", b"GET", b""),
    "tunnel that is refused": ([LENGTH_12], b"HTTP/1.1 407 X", b"CONNECT"),
    "method that only looks like HEAD": ([LENGTH_12], b"HTTP/1.1 200 OK", b"head"),
}
OTHER_HEADS: dict[str, tuple[Any, ...]] = {
    "no length": ([("A", "b")],),
    "informational": ([LENGTH_12], b"HTTP/1.1 103 Early Hints"),
    "no content": ([LENGTH_12], b"HTTP/1.1 204 No Content"),
    "not modified": ([LENGTH_12], b"HTTP/1.1 304 Not Modified"),
    "answer to HEAD": ([LENGTH_12], b"HTTP/1.1 200 OK", b"HEAD"),
    "tunnel": ([LENGTH_12], b"HTTP/1.1 200 OK", b"CONNECT"),
    "Date line that is none": ([LENGTH_12], b"HTTP/1.1 200 OK", b"GET", b"x" * 61),
    "line that is too short": ([LENGTH_12], b"HTTP/1.1 20"),
    "line over a mebibyte": ([LENGTH_12], b"HTTP/1.1 200 " + b"x" * 2**20),
    "line that is no bytes": ([LENGTH_12], bytearray(b"HTTP/1.1 200 OK")),
    "fields that are no list": (iter([LENGTH_12]),),
    **{
        name: ([LENGTH_12, *fields],)
        for name, fields in OTHER_FIELDS.items()
        if type(fields) is list
    },
}


@pytest.mark.parametrize("args", **ids_of(PLAIN_HEADS))
def test_plain_heads_are_made_as_by_the_twin(args: tuple[Any, ...]) -> None:
    expected = twin_response_head(*args)
    assert expected is not None
    assert repr(native_response_head(*args)) == repr(expected)


@pytest.mark.parametrize("args", **ids_of(OTHER_HEADS))
def test_heads_that_are_not_plain_are_left_to_the_twin(args: tuple[Any, ...]) -> None:
    assert native_response_head(*args) is None


# -- chunks


def test_nothing_is_decoded_from_the_end_on() -> None:
    assert native_chunks(CHUNKS, len(CHUNKS)) is None


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (CHUNKS, (b"hello0123456789\n", len(CHUNKS), True)),
        (CHUNKS + b"GET", (b"hello0123456789\n", len(CHUNKS), True)),
        (CHUNKS[:-1], (b"hello0123456789\n", len(CHUNKS) - 5, False)),
        (b"0\r\n\r\n", (b"", 5, True)),
        (b"0000000000000000\r\n\r\n", (b"", 20, True)),
        (b"0000000000000001\r\na\r\n", (b"a", 21, False)),
        (b"1\r\na\r\n2\r\nb", (b"a", 6, False)),
        (b"1\r\na\r\n1;x\r\nb\r\n", (b"a", 6, False)),
        (b"1\r\na\r\n1\r\nbc\r\n", (b"a", 6, False)),
        (b"1\r\na\r\n0\r\nA: b\r\n\r\n", (b"a", 6, False)),
        (b"1\r\na\r\n-1\r\n", (b"a", 6, False)),
        (b"1\r\na\r\nffffffffffffffff\r\nb\r\n", (b"a", 6, False)),
        (b"1\r\na\r\n7ffffffffffffffe\r\nb\r\n", (b"a", 6, False)),
    ],
)
def test_chunks_that_are_complete_are_taken(
    data: bytes, expected: tuple[bytes, int, bool], kind: Callable[[bytes], Any]
) -> None:
    assert native_chunks(kind(data)) == expected
    assert twin_chunks(kind(data), 0, expected[1]) == expected
    moved = native_chunks(kind(b"xyz" + data), 3)
    assert moved == (expected[0], expected[1] + 3, expected[2])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"5",
        b"5\r",
        b"5\r\nhell",
        b"5\r\nhello",
        b"5\r\nhello\r",
        b"5\r\nhello\n",
        b"5\r\nhelloo\r\n",
        b"5 \r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5;a\r\nhello\r\n",
        b"5\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"g\r\nhello\r\n",
        b"00000000000000005\r\nhello\r\n",
        b"0\r\n",
        b"0\r\n\r",
        b"0\r\nA: b\r\n\r\n",
    ],
)
def test_chunks_that_are_not_plain_or_complete_are_left_to_the_twin(data: bytes) -> None:
    assert native_chunks(data) is None
    assert native_chunks(b"1\r\na\r\n" + data) == (b"a", 6, False)


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (16, (b"hello0123456789\n", len(CHUNKS), True)),
        (15, (b"hello0123456789", 27, False)),
        (14, (b"hello", 10, False)),
        (5, (b"hello", 10, False)),
        (4, None),
        (0, None),
    ],
)
def test_data_keeps_to_its_room(room: int, expected: Any) -> None:
    assert native_chunks(CHUNKS, 0, room) == expected


@pytest.mark.parametrize(
    "args", [(memoryview(CHUNKS), 0, None), (CHUNKS, -1, None), (CHUNKS, 0, 2**80), (CHUNKS, 0, -1)]
)
def test_unusual_arguments_of_chunks_are_left_to_the_twin(args: Any) -> None:
    assert native_chunks(*args) is None
