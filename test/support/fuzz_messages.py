"""Messages for the fuzz tests: well-formed ones, ones with a hostile part, and damaged ones.

Owns: the generators, the words that they are made of, and hypothesis strategies over them. Must
not know any parser.

Theory of operation: a generator takes its choices from a `Tape` of bytes, so that hypothesis and a
coverage-guided fuzzer drive the same ones. To both a tape is a plain byte string, cheap to draw and
to shrink: 0 chooses what stands first in a list, which is what is usual. A hostile message has
parts from lists of spellings that one parser or another is known to misread. Damage is done
afterwards: words put in, bytes left out, pieces repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
Fields = list[tuple[bytes, bytes]]

#: Bytes of a tape that hypothesis draws; most messages need less.
TAPE_BYTES = 96


class Tape:
    """Choices, read from bytes; behind their end all are 0."""

    def __init__(self, choices: bytes) -> None:
        self._choices = choices
        self._at = 0

    def number(self, below: int) -> int:
        """A number from 0 to `below` - 1, which is at most 65535."""
        wide = below > 256
        taken = self._choices[self._at : self._at + 1 + wide]
        self._at += 1 + wide
        return int.from_bytes(taken, "big") % below

    def pick(self, options: Sequence[T]) -> T:
        """One of the options; the first is the simplest."""
        return options[self.number(len(options))]

    def seldom(self, one_in: int) -> bool:
        """True once in so many times."""
        return self.number(one_in) == one_in - 1

    def octets(self, most: int) -> bytes:
        """Up to so many bytes, straight from the tape."""
        size = self.number(most + 1)
        taken = self._choices[self._at : self._at + size]
        self._at += size
        return taken


def examples(count: int) -> settings:
    """So many inputs to a test; more, where the profile looks for more."""
    assert settings.default is not None
    return settings(max_examples=max(count, settings.default.max_examples))


def drawn(generator: Callable[[Tape], T]) -> SearchStrategy[T]:
    """A strategy that draws what a generator makes."""
    return st.binary(min_size=TAPE_BYTES, max_size=TAPE_BYTES).map(lambda t: generator(Tape(t)))


# -- well-formed messages -----------------------------------------------------------------------

METHODS = [b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"]
TARGETS = [b"/", b"/a/b?c=d&e", b"//x/../%2e%00", b"/a?http://b/", b"http://a/b", b"http://h:80?q"]
HOSTS = [b"a", b"a.example:8080", b"[::1]", b"[::1]:80", b"127.0.0.1", b"a%20b"]
NAMES = [b"X-A", b"x-b", b"Accept", b"Cookie", b"User-Agent", b"Via", b"x_c", b"X!#$%&'*+.^`|~9"]
VALUES = [
    b"v",
    b"",
    b"a, b",
    b'"quoted, \\" one"',
    b"tab\there",
    b"caf\xe9 \x85\xa0\xff",
    b"a:b;c=d",
]
TRAILER_NAMES = [b"X-T", b"x-u", b"Digest"]
BODIES = [
    b"",
    b"hello",
    b"0\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: s\r\n\r\n",
    b"\r\n\r\n\r\n",
]
EXTENSIONS = [b"", b"", b"", b";a", b";a=b;c", b';a="q;\\" "', b" ; a = b"]


class Made(NamedTuple):
    """A well-formed message: its bytes, and what they say."""

    data: bytes
    start: tuple[bytes, ...]
    fields: Fields
    body: bytes
    trailers: Fields


def _fields(tape: Tape, names: list[bytes], most: int) -> Fields:
    return [(tape.pick(names), tape.pick(VALUES)) for _ in range(tape.number(most + 1))]


def _lines(fields: Fields, spaces: bytes = b" ") -> bytes:
    return b"".join(b"%b:%b%b\r\n" % (name, spaces, value) for name, value in fields)


def _body(tape: Tape) -> bytes:
    return tape.octets(30) if tape.seldom(3) else tape.pick(BODIES)


def chunked(tape: Tape, body: bytes) -> bytes:
    """The chunks of a body, without what ends it: cut, spelled and extended in any way."""
    data = b""
    while body:
        size = len(body) - tape.number(len(body))
        digits = tape.pick([b"%x", b"%X", b"0%x", b"00%X"]) % size
        data += digits + tape.pick(EXTENSIONS) + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    return data


def _framed(tape: Tape, fields: Fields) -> Made:
    """A body in some framing, behind these fields; `data` starts with the first field."""
    body = _body(tape)
    spaces = tape.pick([b" ", b"", b" \t"])
    if not tape.number(2):
        fields = [*fields, (b"Content-Length", b"%d" % len(body))]
        return Made(_lines(fields, spaces) + b"\r\n" + body, (), fields, body, [])
    fields = [*fields, (tape.pick([b"Transfer-Encoding", b"transfer-encoding"]), b"chunked")]
    last = tape.pick([b"0", b"000", b"0;last"])
    trailers = _fields(tape, TRAILER_NAMES, 2)
    sent = chunked(tape, body) + last + b"\r\n" + _lines(trailers) + b"\r\n"
    return Made(_lines(fields, spaces) + b"\r\n" + sent, (), fields, body, trailers)


def good_request(tape: Tape) -> Made:
    """A request that has to be accepted, and read as it says."""
    start = (tape.pick(METHODS), tape.pick(TARGETS), b"1.1")
    fields = [(b"Host", tape.pick(HOSTS)), *_fields(tape, NAMES, 3)]
    made = Made(_lines(fields) + b"\r\n", (), fields, b"", [])
    if tape.number(3):
        made = _framed(tape, fields)
    return made._replace(data=b"%b %b HTTP/%b\r\n" % start + made.data, start=start)


def good_response(tape: Tape) -> Made:
    """A response to GET that has to be accepted; its end is told by itself, or is that of input."""
    status = tape.pick([b"200", b"404", b"500", b"299", b"999"])
    start = (b"1.1", status, tape.pick([b"OK", b"", b"Not \xe9"]))
    fields = _fields(tape, NAMES, 3)
    if tape.seldom(4):
        body = _body(tape)
        made = Made(_lines(fields) + b"\r\n" + body, (), fields, body, [])
    else:
        made = _framed(tape, fields)
    return made._replace(data=b"HTTP/%b %b %b\r\n" % start + made.data, start=start)


# -- hostile messages ---------------------------------------------------------------------------

LENGTHS = [b"5", b"0", b"05", b"+5", b"-5", b"5,5", b"5, 6", b"0x5", b"5_0", b"5 5", b"", b"\xb2"]
CODINGS = [b"chunked", b"Chunked", b"chunked ", b"xchunked", b"gzip, chunked", b"chunked, gzip"]
CODINGS += [b"chunked,chunked", b"identity", b"chunked;q=1", b'"chunked"', b",chunked", b""]
CONNECTIONS = [
    b"close",
    b"keep-alive",
    b"x-a, cookie",
    b"Close, x",
    b"upgrade",
    b"content-length",
    b"host",
]
SIZES = [b"5", b"0", b"05", b"+5", b"-5", b"0x5", b" 5", b"5 ", b"5_0", b"", b"ffffffffffffffff"]
SIZES += [
    b"100000005",
    b"8000000000000005",
    b"5;",
    b"5;a=",
    b'5;a="',
    b"5\t;a",
    b"5;a\n",
    b"10000000000000005",
    b"00000000000000005",
]
BAD_TARGETS = [
    b"*",
    b"a:80",
    b"http://",
    b"http://u@a/",
    b"/#f",
    b"/\xe9",
    b"a",
    b"http:/x",
    b"/\t",
]
BAD_HOSTS = [b"", b"a,b", b"a b", b"u@a", b"a/b", b"a:b", b"a:", b"[::1", b"a:99999"]
VERSIONS = [
    b"HTTP/1.0",
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"HTTP/1.10",
    b"http/1.1",
    b"HTTP/0.9",
    b"HTTP/1",
]
STATUSES = [b"100", b"101", b"103", b"204", b"304", b"099", b"1000", b"2x0", b"20", b"+20", b"200 "]
ENDS = [
    b"\n",
    b"\r",
    b"\r\r\n",
    b"\r\n ",
    b"\r\n\t",
    b" \r\n",
    b"\x0b\r\n",
    b"\x00\r\n",
    b"\r\n\r\n",
]

BAD_NAMES = [b" ", b"\x0b", b"\x00", b"(", b"\xe9", b"\t"]
BAD_COLONS = [b" : ", b"", b"\t:", b":\x0b", b" "]
BAD_TRAILER_NAMES = [b"Host", b"Content-Length", b"Transfer-Encoding", b"Authorization", b"X T"]
ODD_METHODS = [b"FOO", b"get", b"CONNECT", b"TRACE", b"G\xc9T", b"", b"GET\t", b"M" * 70]
OF_THE_HOP = [
    (b"Connection", b"x-a, cookie, via"),
    (b"X-A", b"v"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Proxy-Connection", b"keep-alive"),
    (b"X-Forwarded-For", b"192.0.2.1"),
    (b"Forwarded", b"for=192.0.2.1"),
    (b"TE", b"trailers, gzip"),
]
HOP_VALUES = [b"trailers", b"timeout=5", b"100-continue", b"x", b"x-t"]

#: What damage puts in, and what a coverage-guided fuzzer has for a dictionary.
WORDS = [
    *sorted({*LENGTHS, *CODINGS, *CONNECTIONS, *SIZES, *VERSIONS, *STATUSES, *ENDS} - {b""}),
    b"\r\n", b" ", b"\t", b":", b" :", b",", b";", b"=", b'"', b"\\", b"\x0c", b"\x7f", b"\x85",
    b"HTTP/1.1", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"CONNECT a:80 HTTP/1.1\r\n", b"Host: a\r\n",
    b"Content-Length: ", b"Content-Length: 5\r\n", b"Transfer-Encoding: ", b"Connection: ",
    b"Transfer-Encoding: chunked\r\n", b"Transfer_Encoding: x\r\n", b"Upgrade: x\r\n", b"X: y\r\n",
    b"Expect: 100-continue\r\n", b"TE: trailers\r\n", b"Trailer: x\r\n", b"0\r\n\r\n",
    b"5\r\nhello",
]  # fmt: skip

#: Names and values of fields that say how a message goes on, rather than what it is.
_FRAMING: list[tuple[list[bytes], list[bytes]]] = [
    ([b"Content-Length", b"content-length"], LENGTHS),
    ([b"Transfer-Encoding", b"transfer-encoding"], CODINGS),
    ([b"Connection"], CONNECTIONS),
    ([b"Upgrade"], [b"x", b"h2c", b"websocket"]),
    ([b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Expect"], HOP_VALUES),
    ([b"X-Forwarded-For", b"Forwarded", b"X_Forwarded_For", b"Max-Forwards"], [b"1", b"0", b"x"]),
]
#: What may be wrong with a message; mostly one thing, since two hide each other.
_PARTS = ["length", "coding", "size", "several", "hop", "name", "colon", "end", "trailer", "data"]
_REQUEST_PARTS = ["method", "target", "version", "host", *_PARTS]
_RESPONSE_PARTS = ["version", "status", "phrase", *_PARTS]


def _hostile_lines(tape: Tape, fields: Fields, part: str) -> bytes:
    """Field lines, one of which may be ill-formed."""
    wrong = tape.number(len(fields)) if fields and part in ("name", "colon", "end") else -1
    data = b""
    for index, (name, value) in enumerate(fields):
        name += tape.pick(BAD_NAMES) if (index, part) == (wrong, "name") else b""
        colon = tape.pick(BAD_COLONS) if (index, part) == (wrong, "colon") else b": "
        end = tape.pick(ENDS) if (index, part) == (wrong, "end") else b"\r\n"
        data += name + colon + value + end
    return data


def _hostile_rest(tape: Tape, fields: Fields, part: str) -> bytes:
    """Fields and a body, with this part wrong."""
    fields = [*fields, *_fields(tape, NAMES, 2)]
    framing = tape.pick(["length", "coding", "none"])
    if part in ("length", "coding"):
        framing = part
    elif part in ("size", "trailer", "data"):
        framing = "coding"
    elif part == "several":
        for _ in range(1 + tape.number(3)):
            names, values = tape.pick(_FRAMING)
            fields.append((tape.pick(names), tape.pick(values)))
    elif part == "hop":
        fields += [field for field in OF_THE_HOP if tape.number(4)]
    if framing == "none":
        return _hostile_lines(tape, fields, part) + b"\r\n"
    if framing == "length":
        value = tape.pick(LENGTHS) if part == "length" else b"5"
        fields.insert(tape.number(len(fields) + 1), (b"Content-Length", value))
        return _hostile_lines(tape, fields, part) + b"\r\nhello"
    value = tape.pick(CODINGS) if part == "coding" else b"chunked"
    fields.insert(tape.number(len(fields) + 1), (b"Transfer-Encoding", value))
    size = tape.pick(SIZES) if part == "size" else b"5"
    end = tape.pick(ENDS) if part == "data" else b"\r\n"
    trailers = [(tape.pick(BAD_TRAILER_NAMES), b"x")] if part == "trailer" else []
    body = size + b"\r\nhello" + end + b"0\r\n" + _lines(trailers) + b"\r\n"
    return _hostile_lines(tape, fields, part) + b"\r\n" + body


def hostile_request(tape: Tape) -> bytes:
    """A request with a part that may be wrong."""
    part = tape.pick(_REQUEST_PARTS)
    method = tape.pick(ODD_METHODS if part == "method" else METHODS)
    target = tape.pick(BAD_TARGETS if part == "target" else TARGETS)
    version = tape.pick(VERSIONS) if part == "version" else b"HTTP/1.1"
    if part == "host" and tape.seldom(3):
        hosts = [tape.pick(HOSTS) for _ in range(tape.pick([0, 2]))]
    else:
        hosts = [tape.pick(BAD_HOSTS if part == "host" else HOSTS)]
    rest = _hostile_rest(tape, [(b"Host", host) for host in hosts], part)
    return b"%b %b %b\r\n" % (method, target, version) + rest


def hostile_response(tape: Tape) -> bytes:
    """A response with a part that may be wrong."""
    part = tape.pick(_RESPONSE_PARTS)
    version = tape.pick(VERSIONS) if part == "version" else b"HTTP/1.1"
    status = tape.pick(STATUSES) if part == "status" else b"200"
    phrase = tape.pick([b"", b" ", b"  OK ", b" \xe9", b" \x00"]) if part == "phrase" else b" OK"
    return b"%b %b%b\r\n" % (version, status, phrase) + _hostile_rest(tape, [], part)


# -- damage -------------------------------------------------------------------------------------


def damaged(tape: Tape, data: bytes) -> bytes:
    """These bytes, perhaps with a few things done to them."""
    for _ in range(tape.pick([0, 1, 2])):
        at = tape.number(min(len(data), 65535) + 1)
        kind = tape.pick(["put in", "put in", "replace", "leave out", "repeat", "end"])
        if kind == "put in":
            data = data[:at] + tape.pick(WORDS) + data[at:]
        elif kind == "replace":
            data = data[:at] + bytes([tape.number(256)]) + data[at + 1 :]
        elif kind == "leave out":
            data = data[:at] + data[at + 1 + tape.number(4) :]
        elif kind == "repeat":
            end = at + 1 + tape.number(40)
            data = data[:end] + data[at:end] + data[end:]
        else:
            data = data[:at]
    return data


def client_bytes(tape: Tape) -> bytes:
    """Bytes that a client may send: a request or two, good, hostile or damaged."""
    data = b""
    for _ in range(tape.pick([1, 2])):
        data += hostile_request(tape) if tape.number(2) else good_request(tape).data
    return damaged(tape, data)


def server_bytes(tape: Tape) -> bytes:
    """Bytes that a server may send in answer to one request."""
    data = b""
    for _ in range(tape.pick([1, 2])):
        data += hostile_response(tape) if tape.number(2) else good_response(tape).data
    return damaged(tape, data)


#: Methods of the request that a response answers.
ASKED = [b"GET", b"GET", b"HEAD", b"POST", b"CONNECT"]


def pieces(tape: Tape, data: bytes) -> list[bytes]:
    """These bytes as the network may cut them."""
    size = min(len(data), 65535)
    ends = sorted({0, *(tape.number(size + 1) for _ in range(tape.number(6))), len(data)})
    return [data[start:end] for start, end in pairwise(ends)]
