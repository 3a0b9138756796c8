"""What a program may answer, and what leaves.

Owns: the table. It is data: what a row means says `shapes.ServerCase`.
"""

from __future__ import annotations

from typing import Any

from server_rows import get
from shapes import CLOSED, OPEN, RESET, Answer, Seen, ServerCase, head

SYNTAX, STATE = "OutputSyntaxError", "OutputStateError"
TWO = ("Content-Length", "2")


def case(
    rule: str,
    name: str,
    answer: Answer,
    gets: tuple[int, ...] | bytes,
    then: str = OPEN,
    asks: bytes = get(),
    method: bytes = b"GET",
    **more: Any,
) -> ServerCase:
    """One row."""
    return ServerCase(
        id=name,
        rule=rule,
        sends=(asks,),
        gets=gets,
        then=then,
        seen=(Seen(method),),
        program=answer,
        **more,
    )


def plain(*fields: tuple[str, str], **more: Any) -> Answer:
    """An answer with a body of known length and these fields."""
    return Answer(fields=(TWO, *fields), body=(b"ok",), **more)


def sent(fields: bytes = b"", body: bytes = b"ok", line: bytes = b"200 OK") -> bytes:
    """What leaves of `plain`."""
    return b"HTTP/1.1 " + line + b"\r\nContent-Length: 2\r\n" + fields + b"\r\n" + body


def chunked(body: bytes, fields: bytes = b"") -> bytes:
    """What leaves of an answer without a length, to HTTP/1.1."""
    return b"HTTP/1.1 200 OK\r\n" + fields + b"Transfer-Encoding: chunked\r\n\r\n" + body


OLD = head(b"GET / HTTP/1.0", b"Host: a")
HEAD = head(b"HEAD / HTTP/1.1", b"Host: a")

#: None of these leaves: the program is told, and still can answer otherwise (500).
BAD = [
    case("bad-output", name, answer, (500,), raises=SYNTAX)
    for name, answer in [
        ("crlf-in-a-value", plain(("A", "b\r\nSet-Cookie: c=d"))),
        ("second-response-in-a-value", plain(("A", "b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))),
        ("lf-in-a-value", plain(("A", "b\nc: d"))),
        ("cr-in-a-value", plain(("A", "b\rc"))),
        ("crlf-at-the-end-of-a-value", plain(("A", "b\r\n"))),
        ("fold-in-a-value", plain(("A", "b\r\n c"))),
        ("nul-in-a-value", plain(("A", "b\0c"))),
        ("control-in-a-value", plain(("A", "b\x01c"))),
        ("del-in-a-value", plain(("A", "b\x7fc"))),
        ("value-beyond-latin-1", plain(("A", "\u2028"))),
        ("crlf-in-a-name", plain(("A: b\r\nC", "d"))),
        ("lf-in-a-name", plain(("A\n", "b"))),
        ("space-in-a-name", plain(("A b", "c"))),
        ("colon-in-a-name", plain(("A:", "b"))),
        ("empty-name", plain(("", "b"))),
        ("obs-text-in-a-name", plain(("\xe9", "b"))),
        ("crlf-in-the-phrase", plain(phrase="OK\r\nA: b")),
        ("nul-in-the-phrase", plain(phrase="O\0K")),
        ("crlf-in-a-field-that-is-dropped", plain(("Connection", "x\r\nA: b"))),
        ("status-99", plain(status=99)),
        ("status-1000", plain(status=1000)),
        ("status-of-letters", plain(status="2x0")),
        ("status-with-a-line", plain(status="200 OK\r\nA: b")),
        ("status-100-as-the-final-one", plain(status=100)),
        ("status-101-as-the-final-one", plain(status=101)),
        ("lengths-that-differ", plain(("Content-Length", "3"))),
        ("length-that-is-no-number", Answer(fields=(("Content-Length", "+2"),))),
        ("length-over-63-bits", Answer(fields=(("Content-Length", str(2**63)),))),
        ("nonfinal-101", plain(nonfinal=(101,))),
        ("nonfinal-200", plain(nonfinal=(200,))),
    ]
] + [
    case(
        "bad-output",
        "crlf-in-a-trailer",
        Answer(trailers=(("A", "b\r\nC: d"),)),
        (200,),
        raises=SYNTAX,
    ),
    case(
        "bad-output",
        "bad-name-of-a-trailer",
        Answer(trailers=(("A b", "c"),)),
        (200,),
        raises=SYNTAX,
    ),
]

NO_BODY = [
    case("no-body", "head", plain(), sent(body=b""), asks=HEAD, method=b"HEAD"),
    case(
        "no-body",
        "head-in-chunks",
        Answer(body=(b"ok",)),
        b"HTTP/1.1 200 OK\r\n\r\n",
        asks=HEAD,
        method=b"HEAD",
    ),
    case("no-body", "204", plain(status=204, phrase=""), b"HTTP/1.1 204 \r\n\r\n"),
    case(
        "no-body",
        "304",
        plain(status=304, phrase="Not Modified"),
        sent(body=b"", line=b"304 Not Modified"),
    ),
    case(
        "no-body", "304-without-a-length", Answer(304, "", body=(b"ok",)), b"HTTP/1.1 304 \r\n\r\n"
    ),
]

FRAMING = [
    case("out-framing", "length", plain(), sent()),
    case("out-framing", "length-repeated", plain(TWO), sent()),
    case(
        "out-framing",
        "length-0",
        Answer(fields=(("Content-Length", "0"),)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    case(
        "out-framing", "none", Answer(body=(b"o", b"k")), chunked(b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n")
    ),
    case(
        "out-framing",
        "an-empty-piece-is-not-the-end",
        Answer(body=(b"o", b"", b"k")),
        chunked(b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"),
    ),
    case("out-framing", "nothing-at-all", Answer(), chunked(b"0\r\n\r\n")),
    case(
        "out-framing",
        "none-to-1.0",
        Answer(body=(b"o", b"k")),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
        CLOSED,
        OLD,
    ),
    case("out-framing", "a-programs-own-coding", plain(("Transfer-Encoding", "chunked")), sent()),
    case(
        "out-framing",
        "a-programs-own-coding-alone",
        Answer(fields=(("Transfer-Encoding", "gzip"),), body=(b"ok",)),
        chunked(b"2\r\nok\r\n0\r\n\r\n"),
    ),
    case(
        "out-framing",
        "length-cannot-be-named-away",
        plain(("Connection", "content-length")),
        sent(),
    ),
    case(
        "out-framing",
        "more-than-declared",
        Answer(fields=(TWO,), body=(b"oka",)),
        b"",
        RESET,
        error=STATE,
        raises=STATE,
    ),
    case(
        "out-framing",
        "more-than-declared-later",
        Answer(fields=(TWO,), body=(b"ok", b"a")),
        b"",
        RESET,
        error=STATE,
        raises=STATE,
    ),
    case(
        "out-framing",
        "less-than-declared",
        Answer(fields=(TWO,), body=(b"o",)),
        b"",
        RESET,
        error=STATE,
        raises=STATE,
    ),
    case(
        "out-framing",
        "less-than-declared-at-all",
        Answer(fields=(TWO,)),
        b"",
        RESET,
        error=STATE,
        raises=STATE,
    ),
    case("out-framing", "trailers", Answer(trailers=(("A", "b"),)), chunked(b"0\r\nA: b\r\n\r\n")),
    case(
        "out-framing",
        "forbidden-trailers-are-dropped",
        Answer(trailers=(("Content-Length", "1"), ("A", "b"))),
        chunked(b"0\r\nA: b\r\n\r\n"),
    ),
    case("out-framing", "trailers-without-chunks", plain(trailers=(("A", "b"),)), sent()),
    case(
        "out-framing",
        "trailers-to-1.0",
        Answer(body=(b"ok",), trailers=(("A", "b"),)),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
        CLOSED,
        OLD,
    ),
]

FIELDS = [
    case(
        "out-fields",
        "hop-by-hop-fields-are-dropped",
        plain(
            ("Keep-Alive", "5"),
            ("TE", "x"),
            ("Proxy-Connection", "x"),
            ("Upgrade", "x"),
            ("A", "b"),
        ),
        sent(b"A: b\r\n"),
    ),
    case(
        "out-fields",
        "nominated-fields-are-dropped",
        plain(("Connection", "A, c"), ("A", "b"), ("C", "d"), ("E", "f")),
        sent(b"E: f\r\n"),
    ),
    case("out-fields", "close-is-the-servers-to-say", plain(("Connection", "close")), sent()),
    case(
        "out-fields",
        "426-says-what-to-upgrade-to",
        plain(("Upgrade", "x"), status=426, phrase=""),
        sent(b"Upgrade: x\r\nConnection: upgrade\r\n", line=b"426 "),
    ),
    case("out-fields", "space-around-a-value-is-stripped", plain(("A", " b\t")), sent(b"A: b\r\n")),
    case("out-fields", "htab-in-a-value", plain(("A", "b\tc")), sent(b"A: b\tc\r\n")),
    case("out-fields", "obs-text", plain(("A", "\xe9")), sent(b"A: \xe9\r\n")),
    case(
        "out-fields",
        "case-order-and-repetition",
        plain(("b", "1"), ("B", "2"), ("a", "3")),
        sent(b"b: 1\r\nB: 2\r\na: 3\r\n"),
    ),
    case(
        "out-fields",
        "date-is-added",
        plain(),
        sent(b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"),
        settings={"send_date": True},
    ),
    case(
        "out-fields",
        "date-is-added-once",
        plain(("date", "x")),
        sent(b"date: x\r\n"),
        settings={"send_date": True},
    ),
]

HINTS = b"HTTP/1.1 103 \r\n\r\n"
NONFINAL = [
    case("out-nonfinal", "to-1.1", plain(nonfinal=(103, 103)), HINTS + HINTS + sent()),
    case(
        "out-nonfinal",
        "to-1.0",
        plain(nonfinal=(103,)),
        sent(b"Connection: close\r\n"),
        CLOSED,
        OLD,
    ),
]

CASES = [*BAD, *NO_BODY, *FRAMING, *FIELDS, *NONFINAL]
