"""Messages as a peer reads them that knows nothing of Thor.

Owns: a small reader of what Thor has sent, which is well-formed or fails the test, and the ways to
cut what Thor is sent. Must not use Thor's own reader: it would take its faults for right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: Messages over this size, in bytes, are not cut at every point: they are long because of the
#: same, over and over again. Both their ends are taken byte by byte.
_MANY = 1000
_ENDS = 200


def cut_everywhere(data: bytes) -> Iterator[list[bytes]]:
    """The same bytes whole, byte by byte, and cut in two at every point."""
    size = len(data)
    yield [data]
    cuts: Sequence[int] = range(1, size)
    points: Sequence[int] = cuts
    if size > _MANY:
        middle = range(_ENDS, size - _ENDS, size // _MANY + 1)
        cuts = [*range(1, _ENDS), *middle, *range(size - _ENDS, size)]
        points = range(1, size, size // 50)
    yield [data[at:end] for at, end in zip((0, *cuts), (*cuts, size), strict=True)]
    for at in points:
        yield [data[:at], data[at:]]


class Response(NamedTuple):
    """One response. `complete` is whether the bytes say that it is over."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes
    complete: bool

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field."""
        return [value for found, value in self.fields if found.lower() == name]


def responses(data: bytes, methods: list[bytes]) -> tuple[list[Response], bytes]:
    """Take what a client has received apart.

    methods: of the requests, in order; for those that were refused there may be none
    Returns: the responses, informational ones too, and the bytes behind the last; after a switch
        of protocols nothing is a response
    """
    found: list[Response] = []
    waiting = list(methods)
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            break
        start, *lines = head.split(b"\r\n")
        assert start[:9] == b"HTTP/1.1 ", data
        status = int(start[9:12])
        assert start[12:13] == b" ", start
        fields = [_field(line) for line in lines]
        if status < 200:
            found.append(Response(status, fields, b"", True))
            data = rest
            if status == 101:
                break
            continue
        method = waiting.pop(0) if waiting else b"GET"
        body, complete, data = _body(fields, method, status, rest)
        found.append(Response(status, fields, body, complete))
        if not complete or (method == b"CONNECT" and status < 300):
            break
    return found, data


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, separator, value = line.partition(b": ")
    assert separator, line
    assert not set(name) & set(b' \t:"(),/'), line
    assert not set(value) & {0, 10, 13}, line
    return name, value


def _body(
    fields: list[tuple[bytes, bytes]], method: bytes, status: int, data: bytes
) -> tuple[bytes, bool, bytes]:
    """Returns: the body, whether it is complete, what follows"""
    named = {name.lower(): value for name, value in fields}
    if method == b"HEAD" or status in (204, 304) or (method == b"CONNECT" and status < 300):
        return b"", True, data
    if b"transfer-encoding" in named:
        assert named[b"transfer-encoding"] == b"chunked", named
        assert b"content-length" not in named, named
        return _chunks(data)
    if b"content-length" in named:
        size = int(named[b"content-length"])
        return data[:size], len(data) >= size, data[size:]
    assert named.get(b"connection") == b"close", named
    return data, False, b""


def _chunks(data: bytes) -> tuple[bytes, bool, bytes]:
    body = b""
    while True:
        line, separator, rest = data.partition(b"\r\n")
        if not separator:
            return body, False, data
        size = int(line, 16)
        if not size:
            break
        if len(rest) < size + 2:
            return body, False, data
        assert rest[size : size + 2] == b"\r\n", rest
        body, data = body + rest[:size], rest[size + 2 :]
    trailers, separator, rest = (b"\r\n" + rest).partition(b"\r\n\r\n")
    for line in trailers.split(b"\r\n")[1:]:
        _field(line)
    return body, bool(separator), rest


def rechunked(data: bytes) -> bytes:
    """The same messages, where each chunked body is one chunk: how many there are is chance."""
    done = b""
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            break
        done += head + separator
        lower = head.lower() + b"\r\n"
        if b"\r\ntransfer-encoding: chunked\r\n" in lower:
            body, complete, behind = _chunks(rest)
            done += b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not complete:
                return done + b"..."
            size = len(rest) - len(behind)
            end = rest[:size]
            done += end[end.rindex(b"0\r\n", 0, _last(end)) :]
            data = behind
        elif b"\r\ncontent-length: " in lower:
            size = int(lower.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
            done, data = done + rest[:size], rest[size:]
        else:
            data = rest
    return done + data


def _last(data: bytes) -> int:
    """Where in chunks, the last of which is there, that one ends, before the trailers."""
    at = 0
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end], 16)
        if not size:
            return end + 2
        at = end + 2 + size + 2
