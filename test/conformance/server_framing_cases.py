"""Bodies that a client may send, and what a server does about them (RFC 9112 sections 6 to 8).

Owns: the table. It is data: what a row means says `shapes.ServerCase`.
"""

from __future__ import annotations

from server_rows import (
    BOTH,
    CODING,
    CUT,
    DOUBLE,
    END,
    GET,
    LARGE,
    LF,
    LOST,
    MALFORMED,
    NOT_CHUNKED,
    OLD,
    SLOW,
    UNKNOWN,
    VALUE,
    accepted,
    broken,
    chunked,
    get,
    post,
    posted,
    refused,
)
from shapes import CLOSED, FIN, GONE, RST, Mark, Seen, ServerCase, Wait, head


def te(value: bytes) -> bytes:
    """A POST with this Transfer-Encoding, and an empty chunked body."""
    return post(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n")


TRANSFER_ENCODING = [
    *refused(
        "coding-and-length",
        400,
        ("coding-first", BOTH, post(b"Transfer-Encoding: chunked", b"Content-Length: 5")),
        ("length-first", BOTH, post(b"Content-Length: 5", b"Transfer-Encoding: chunked")),
        ("length-0", BOTH, post(b"Content-Length: 0", b"Transfer-Encoding: chunked")),
        ("bad-length", BOTH, post(b"Content-Length: x", b"Transfer-Encoding: chunked")),
        ("bad-coding", BOTH, post(b"Content-Length: 5", b"Transfer-Encoding: x")),
        ("empty-coding", BOTH, post(b"Content-Length: 5", b"Transfer-Encoding:")),
        ("in-1.0", OLD, head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked")),
        (
            "in-1.0-that-persists",
            OLD,
            head(b"POST / HTTP/1.0", b"Connection: keep-alive", b"Transfer-Encoding: chunked"),
        ),
        (
            "both-in-1.0",
            BOTH,
            head(b"POST / HTTP/1.0", b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        ),
    ),
    *refused(
        "coding",
        400,
        ("not-last", NOT_CHUNKED, te(b"chunked, gzip")),
        ("identity", NOT_CHUNKED, te(b"identity")),
        ("gzip", NOT_CHUNKED, te(b"gzip")),
        ("xchunked", NOT_CHUNKED, te(b"xchunked")),
        ("chunkedx", NOT_CHUNKED, te(b"chunkedx")),
        ("repeated", CODING, te(b"chunked, chunked")),
        (
            "repeated-in-two-fields",
            CODING,
            post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        ),
        ("repeated-around-another", CODING, te(b"chunked, gzip, chunked")),
        (
            "not-last-in-two-fields",
            NOT_CHUNKED,
            post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        ),
        ("parameter", CODING, te(b"chunked;a=b")),
        ("parameter-after-a-space", CODING, te(b"chunked ;a=b")),
        ("empty-parameter", CODING, te(b"chunked;")),
        ("trailing-comma", CODING, te(b"chunked,")),
        ("leading-comma", CODING, te(b",chunked")),
        ("comma-alone", CODING, te(b",")),
        ("quoted", CODING, te(b'"chunked"')),
        ("empty", CODING, te(b"")),
        ("space-inside", CODING, te(b"chun ked")),
        ("two-words", CODING, te(b"chunked chunked")),
        ("no-break-space", CODING, te(b"\xa0chunked")),
        ("null-octet", VALUE, te(b"chunked\0")),
        ("vt", VALUE, te(b"chunked\x0b")),
        ("vt-first", VALUE, te(b"\x0bchunked")),
        ("folded", "ObsoleteFoldError", post(b"Transfer-Encoding:", b" chunked")),
        ("lf-in-it", LF, te(b"chunked\nX: y")),
        ("name-with-a-colon", CODING, post(b"Transfer-Encoding:: chunked")),
    ),
    *refused(
        "coding",
        501,
        ("gzip-and-chunked", UNKNOWN, te(b"gzip, chunked")),
        ("identity-and-chunked", UNKNOWN, te(b"identity, chunked")),
        ("in-two-fields", UNKNOWN, post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked")),
    ),
    *accepted(
        "coding",
        ("chunked", te(b"chunked"), posted()),
        ("capitalised", te(b"Chunked"), posted()),
        ("upper-case", te(b"CHUNKED"), posted()),
        ("white-space-around", te(b" \tchunked \t"), posted()),
        (
            "an-underscore-is-another-field",
            post(b"Transfer_Encoding: chunked") + get(),
            (posted(), GET),
        ),
        ("name-in-upper-case", post(b"TRANSFER-ENCODING: chunked", body=b"0\r\n\r\n"), posted()),
    ),
]


def length(value: bytes, body: bytes = b"") -> bytes:
    """A POST with this Content-Length."""
    return post(b"Content-Length: " + value, body=body)


CONTENT_LENGTH = [
    *refused(
        "length",
        400,
        *[
            (name, MALFORMED, length(value, b"hello"))
            for name, value in [
                ("empty", b""),
                ("sign", b"+5"),
                ("negative", b"-5"),
                ("minus-0", b"-0"),
                ("space-inside", b"5 5"),
                ("hex", b"0x5"),
                ("hex-digits", b"a"),
                ("underscore", b"1_0"),
                ("list-that-differs", b"5, 6"),
                ("list-of-the-same", b"5, 5"),
                ("trailing-comma", b"5,"),
                ("semicolon", b"5;"),
                ("fraction", b"5.0"),
                ("exponent", b"5e0"),
                ("quotes", b'"5"'),
                ("superscript", b"\xb2"),
                ("digits-of-another-script", b"\xd9\xa5"),
                ("no-break-space", b"\xa05"),
                ("over-63-bits", b"9223372036854775808"),
                ("over-64-bits", b"18446744073709551621"),
                ("twenty-digits", b"00000000000000000005"),
                ("5000-digits", b"1" * 5000),
            ]
        ],
        ("nul", VALUE, length(b"5\0", b"hello")),
        ("vt", VALUE, length(b"\x0b5", b"hello")),
        ("line-feed", LF, length(b"5\n", b"hello")),
        ("repeated", DOUBLE, post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
        ("repeated-and-differing", DOUBLE, post(b"Content-Length: 5", b"Content-Length: 6")),
        ("repeated-0", DOUBLE, post(b"Content-Length: 0", b"content-length: 0")),
        ("repeated-and-bad", DOUBLE, post(b"Content-Length: 5", b"Content-Length: x")),
        ("folded", "ObsoleteFoldError", post(b"Content-Length: 5", b" 5")),
        (
            "of-connect",
            "ConnectContentError",
            head(b"CONNECT a:80 HTTP/1.1", b"Host: a", b"Content-Length: 5"),
        ),
        (
            "coding-of-connect",
            "ConnectContentError",
            head(b"CONNECT a:80 HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked"),
        ),
    ),
    *accepted(
        "length",
        ("plain", length(b"5", b"hello"), posted(b"hello")),
        ("zero", length(b"0"), posted()),
        ("leading-zeros", length(b"005", b"hello"), posted(b"hello")),
        ("white-space-around", length(b"\t 5 ", b"hello"), posted(b"hello")),
        ("none", post(), posted()),
        ("an-underscore-is-another-field", post(b"Content_Length: 5") + get(), (posted(), GET)),
        (
            "a-request-in-a-body-is-none",
            length(b"%d" % len(get()), get()) + get(),
            (posted(get()), GET),
        ),
    ),
    *broken(
        "length",
        400,
        (
            "63-bits-allocate-nothing",
            CUT,
            (length(b"9223372036854775807", b"hello"), FIN),
            b"hello",
        ),
    ),
]

BODIES = accepted(
    "any-method",
    *[
        (
            method.decode().lower(),
            head(method + b" / HTTP/1.1", b"Host: a", b"Content-Length: 5") + b"hello" + get(),
            (Seen(method, body=b"hello"), GET),
        )
        for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"BREW")
    ],
    (
        "get-in-chunks",
        head(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n",
        Seen(body=b"x"),
    ),
)

TRACED = refused(
    "trace",
    400,
    *[
        (name, "TraceContentError", head(b"TRACE / HTTP/1.1", b"Host: a", field) + body)
        for name, field, body in [
            ("with-a-length", b"Content-Length: 5", b"hello"),
            ("in-chunks", b"Transfer-Encoding: chunked", b"0\r\n\r\n"),
        ]
    ],
)

FIVE = {"max_body_bytes": 5}
SIZES = [
    *accepted(
        "body-size",
        ("at-the-limit", length(b"5", b"hello"), posted(b"hello"), FIVE),
        (
            "at-the-limit-in-chunks",
            chunked(b"4\r\nhell\r\n1\r\no\r\n" + END),
            posted(b"hello"),
            FIVE,
        ),
    ),
    *refused("body-size", 413, ("declared", LARGE, length(b"6", b"hello!"), FIVE)),
    *broken(
        "body-size",
        413,
        ("one-chunk", LARGE, chunked(b"6\r\nhello!\r\n"), b"", FIVE),
        ("several-chunks", LARGE, chunked(b"3\r\nhel\r\n3\r\nlo!\r\n"), b"hel", FIVE),
    ),
]

ENDINGS: list[tuple[str, bytes, bytes]] = [
    ("before-a-byte", length(b"5"), b""),
    ("in-a-length", length(b"5", b"hell"), b"hell"),
    ("before-a-chunk", chunked(b""), b""),
    ("in-a-size", chunked(b"5"), b""),
    ("in-a-chunk", chunked(b"5\r\nhel"), b"hel"),
    ("before-the-end-of-a-chunk", chunked(b"5\r\nhello"), b"hello"),
    ("before-the-last-chunk", chunked(b"5\r\nhello\r\n"), b"hello"),
    ("in-the-trailers", chunked(b"0\r\nX: y\r\n"), b""),
    ("before-the-last-crlf", chunked(b"0\r\n"), b""),
]


def cut(how: Mark, status: int, error: str, then: str) -> list[ServerCase]:
    """A connection that ends in the middle of a body."""
    rows = [
        (f"{name}-{how.value.lower()}", error, (data, how), body) for name, data, body in ENDINGS
    ]
    return broken("cut-off", status, *rows, then=then)


TIME = [
    *broken(
        "body-time",
        408,
        ("stops", SLOW, (length(b"5", b"hel"), Wait(61)), b"hel"),
        ("stops-in-a-chunk", SLOW, (chunked(b"5\r\nhel"), Wait(61)), b"hel"),
        ("never-begins", SLOW, (length(b"5"), Wait(61))),
        (
            "slower-than-the-rate",
            SLOW,
            (length(b"500", b"a" * 50), Wait(8), b"a", Wait(3)),
            b"a" * 51,
            {"min_body_rate": 100},
        ),
        ("a-shorter-time", SLOW, (length(b"5", b"h"), Wait(3)), b"h", {"body_timeout": 2}),
    ),
    *accepted(
        "body-time",
        (
            "slow-without-a-rate",
            (length(b"3", b"a"), Wait(50), b"b", Wait(50), b"c"),
            posted(b"abc"),
            {"min_body_rate": 0},
        ),
        (
            "fast-enough",
            (length(b"4000", b"a" * 2000), Wait(11), b"a" * 2000),
            posted(b"a" * 4000),
            {"min_body_rate": 100},
        ),
    ),
]

CASES = [
    *TRANSFER_ENCODING,
    *CONTENT_LENGTH,
    *BODIES,
    *TRACED,
    *SIZES,
    *cut(FIN, 400, CUT, CLOSED),
    *cut(RST, 0, LOST, GONE),
    *TIME,
]
