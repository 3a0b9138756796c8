"""What the tests of the native codec share: messages, its functions, and what their twins say.

Owns: plain functions and tables. A twin here is the pure code of `thor.http.wire`, called so that
its answer can be compared with a native function's; where the twin raises, or has nothing
complete, the answer is None, which is all that the native function may say then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from wire_support import parts_of

from thor import native
from thor.http.error import HttpError
from thor.http.wire import body, reader, writer
from thor.http.wire.head import (
    parse_request_head,
    parse_response_head,
)
from thor.http.wire.limits import DEFAULT_LIMITS, Limits

#: Where the codec is called: (module, what holds the native function there, or None).
PLACES = (
    (reader, "_parse_request", native.parse_request),
    (reader, "_parse_response", native.parse_response),
    (writer, "_render_fields", native.render_fields),
    (writer, "_render_response", native.render_response),
    (body, "_decode_chunks", native.decode_chunks),
)

#: The implementations that are here, as the tests' ids call them.
IMPLEMENTATIONS = ("py", "c") if native.loaded else ("py",)


@contextmanager
def implementation(name: str) -> Iterator[None]:
    """Within the block, bytes are read and written by "py" alone, or with the help of "c"."""
    before = [(module, place, getattr(module, place)) for module, place, _ in PLACES]
    for module, place, function in PLACES:
        setattr(module, place, function if name == "c" else None)
    try:
        yield
    finally:
        for module, place, value in before:
            setattr(module, place, value)


# -- the functions, called as the library calls them


def native_request(buf: bytes, at: int = 0, limits: Limits = DEFAULT_LIMITS) -> Any:
    assert native.parse_request is not None
    return parts_of(native.parse_request(buf, at, limits.codec_limits))


def native_response(
    buf: bytes, at: int = 0, limits: Limits = DEFAULT_LIMITS, method: bytes = b"GET"
) -> Any:
    assert native.parse_response is not None
    return parts_of(native.parse_response(buf, at, limits.codec_limits, method))


def native_fields(
    fields: Any, start: bytes = b"0", keep_length: bool = True, request: bool = False
) -> Any:
    assert native.render_fields is not None
    return native.render_fields(start, fields, keep_length, request)


def native_response_head(
    fields: Any,
    line: bytes = b"HTTP/1.1 200 OK",
    method: bytes = b"GET",
    date_line: bytes = b"\r\nDate: now",
) -> Any:
    assert native.render_response is not None
    return parts_of(native.render_response(line, fields, method, date_line))


def native_chunks(buf: bytes | bytearray, at: int = 0, room: int | None = None) -> Any:
    assert native.decode_chunks is not None
    return native.decode_chunks(buf, at, room)


# -- their twins


def twin_request(buf: bytes, at: int = 0, limits: Limits = DEFAULT_LIMITS) -> Any:
    end = buf.find(b"\r\n\r\n", at)
    try:
        return parts_of(parse_request_head(buf[at:end], limits)) if end >= 0 else None
    except HttpError:
        return None


def twin_response(
    buf: bytes, at: int = 0, limits: Limits = DEFAULT_LIMITS, method: bytes = b"GET"
) -> Any:
    end = buf.find(b"\r\n\r\n", at)
    try:
        return parts_of(parse_response_head(buf[at:end], limits, method)) if end >= 0 else None
    except HttpError:
        return None


def twin_fields(
    fields: Any, start: bytes = b"0", keep_length: bool = True, request: bool = False
) -> Any:
    with implementation("py"):
        try:
            data, length, has_date, special = writer._render(
                start, fields, keep_length, request=request
            )
        except (HttpError, TypeError, ValueError):
            return None
    return data, length, has_date, tuple(special)


def twin_response_head(
    fields: Any,
    line: bytes = b"HTTP/1.1 200 OK",
    method: bytes = b"GET",
    date_line: bytes = b"\r\nDate: now",
) -> Any:
    _, status, phrase = line.split(b" ", 2)
    with implementation("py"):
        try:
            head = writer.response_head(status, phrase, fields, method, True, True, date_line)
        except (HttpError, TypeError, ValueError):
            return None
    return parts_of(head)


def twin_chunks(
    buf: bytes | bytearray, at: int, end: int, room: int | None = None
) -> tuple[bytes, int, bool]:
    """What the twin makes of buf[at:end]: its data, where it stopped, whether it has ended."""
    decoder = body.ChunkedDecoder(Limits(), room)
    parts: list[bytes] = []
    with implementation("py"):
        stop = decoder.decode(buf[:end], at, parts)
    return b"".join(parts), stop, decoder.done


def check_same(found: Any, twin: Callable[[], Any]) -> None:
    """A native answer is None, or in values and types what the twin says."""
    if found is not None:
        assert repr(found) == repr(twin())


# -- messages

OCTETS = [bytes([octet]) for octet in range(256)]


class OwnBytes(bytes):
    """Octets that might behave in any way."""


def ids_of(table: dict[str, Any]) -> dict[str, Any]:
    return {"argvalues": table.values(), "ids": table.keys()}


def request(*lines: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([line, *([host] if host else []), *lines, b"", b""])


def response(*lines: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([line, *lines, b"", b""])


BROWSER = request(
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    b"accept-language: en-GB,en;q=0.7",
    b"Accept-Encoding:gzip, deflate, br",
    b"Cookie:  session=3f1c9b7a5d2e4f60; theme=dark  ",
    b"X-Own-Field: caf\xe9",
    b"Connection: keep-alive",
    line=b"GET /articles/2024?page=2&sort={date}|%7e HTTP/1.1",
    host=b"Host: www.example.org:8080",
)
POST = request(b"content-length: 12", b"CONNECTION: Close", line=b"POST /x HTTP/1.1")
UPLOAD = request(b"Transfer-Encoding: Chunked", b"Upgrade: h2c", line=b"PUT //x HTTP/1.1")
REQUESTS = [request(), BROWSER, POST, UPLOAD]

PAGE = response(
    b"Server: nginx/1.22.1",
    b"Date: Sat, 21 Nov 2026 12:00:00 GMT",
    b"Content-Type: text/html",
    b"Content-Length: 13",
    b"Connection: keep-alive",
    b"Keep-Alive: timeout=5",
)
STREAM = response(b"transfer-encoding: chunked", b"Set-Cookie: a=b", b"Set-Cookie: c=d")
ENDLESS = response(b"TE: x", b"Expect: y", b"Host: z, z", line=b"HTTP/1.1 599 ")
RESPONSES = [PAGE, STREAM, ENDLESS, response(line=b"HTTP/1.1 404"), response(b"Connection: close")]

CHUNKS = b"5\r\nhello\r\n00A\r\n0123456789\r\n1\r\n\n\r\n0\r\n\r\n"

FIELDS: list[tuple[str | bytes, str | bytes]] = [
    ("Content-Type", "text/plain"),
    (b"content-length", b" 13 "),
    ("Date", b"Sat, 21 Nov 2026 12:00:00 GMT"),
    (b"X-Own-Field", "  a b  "),
    ("Empty", ""),
    ("Set-Cookie", b"caf\xe9"),
]

#: What a mutation puts in: octets and pieces at which parsers are known to disagree.
SPICES = [bytes([octet]) for octet in range(256)] + [
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b": ",
    b"  ",
    b"\t",
    b"Host: b\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 999999999999999999\r\n",
    b"Content-Length: 1000000000000000000\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Connection: upgrade\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"TE: trailers\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"0000000000000000",
    b"ffffffffffffffff",
]


def mutations(seeds: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` messages made of the seeds by a few small changes each, the same in every run."""
    random = Random(seed)
    for _ in range(count):
        data = bytearray(random.choice(seeds))
        for _ in range(random.randint(1, 3)):
            at = random.randrange(len(data) + 1)
            kind = random.randrange(5)
            if kind == 0:
                del data[at : at + random.randint(1, 4)]
            elif kind == 1:
                data[at:at] = random.choice(SPICES)
            elif kind == 2:
                data[at : at + 1] = random.choice(SPICES)
            elif kind == 3:  # a piece again, elsewhere
                start = random.randrange(len(data) + 1)
                data[at:at] = data[start : start + random.randint(1, 40)]
            else:  # a letter's other case, a digit's neighbour
                data[at : at + 1] = bytes(octet ^ 0x20 for octet in data[at : at + 1])
        yield bytes(data)
