"""Bodies that an origin may send, and what a client does about them.

Owns: the table. It is data: what a row means says `shapes.ClientCase`.
"""

from __future__ import annotations

from client_rows import HEAD, LOST, bad, chunked, good, response, sized
from shapes import CLOSED, FIN, RST, TUNNEL, WAITS, Ask

CODING = "TransferEncodingCLError"
FRAMING = [
    good("response-framing", "length", sized()),
    good("response-framing", "length-0", sized(b""), b""),
    good(
        "response-framing",
        "length-repeated",
        sized(b"hello", b"Content-Length: 5"),
        fields=((b"Content-Length", b"5"),),
    ),
    good("response-framing", "chunked", chunked(b"5;a=b\r\nhello\r\n0\r\n\r\n")),
    good(
        "response-framing",
        "chunked-in-any-case",
        response(b"transfer-encoding: CHUNKED", body=b"5\r\nhello\r\n0\r\n\r\n"),
    ),
    good(
        "response-framing",
        "trailers",
        chunked(b"0\r\nA: b\r\nContent-Length: 9\r\n\r\n"),
        b"",
        trailers=((b"A", b"b"),),
    ),
    *[
        bad("response-framing", name, error, response(*fields, body=b"5\r\nhello\r\n0\r\n\r\n"))
        for name, error, fields in [
            ("coding-and-length", CODING, (b"Transfer-Encoding: chunked", b"Content-Length: 5")),
            ("length-and-coding", CODING, (b"Content-Length: 5", b"Transfer-Encoding: chunked")),
            ("other-coding-and-length", CODING, (b"Content-Length: 5", b"Transfer-Encoding: gzip")),
            ("chunked-twice", "MalformedTEError", (b"Transfer-Encoding: chunked, chunked",)),
            ("chunked-with-a-parameter", "MalformedTEError", (b"Transfer-Encoding: chunked;a=b",)),
            ("empty-element", "MalformedTEError", (b"Transfer-Encoding: chunked,",)),
            ("quoted", "MalformedTEError", (b'Transfer-Encoding: "chunked"',)),
            ("gzip-in-chunks", "TransferCodeError", (b"Transfer-Encoding: gzip, chunked",)),
            (
                "lengths-that-differ",
                "DuplicateCLError",
                (b"Content-Length: 5", b"Content-Length: 6"),
            ),
            ("list-of-lengths-that-differ", "DuplicateCLError", (b"Content-Length: 5, 6",)),
            (
                "second-length-is-none",
                "DuplicateCLError",
                (b"Content-Length: 5", b"Content-Length: x"),
            ),
        ]
    ],
    *[
        bad(
            "response-framing",
            f"length-{name}",
            "MalformedCLError",
            response(b"Content-Length: " + value, body=b"hello"),
        )
        for name, value in [
            ("empty", b""),
            ("sign", b"+5"),
            ("negative", b"-5"),
            ("space", b"5 5"),
            ("hex", b"0x5"),
            ("underscore", b"1_0"),
            ("superscript", b"\xb2"),
            ("over-63-bits", b"9223372036854775808"),
            ("5000-digits", b"1" * 5000),
        ]
    ],
    bad(
        "response-framing",
        "coding-in-1.0",
        "TransferEncodingVersionError",
        response(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", line=b"HTTP/1.0 200 OK"),
    ),
    *[
        bad("response-chunks", name, error, chunked(body), status=200, body=before)
        for name, error, body, before in [
            ("size-empty", "ChunkError", b"\r\nhello\r\n", b""),
            ("size-sign", "ChunkError", b"+5\r\nhello\r\n", b""),
            ("size-0x", "ChunkError", b"0x5\r\nhello\r\n", b""),
            ("size-space", "ChunkError", b"5 \r\nhello\r\n", b""),
            ("size-17-digits", "ChunkError", b"0" * 16 + b"5\r\nhello\r\n", b""),
            ("bare-lf", "HeaderLineEndingError", b"5\nhello\n", b""),
            ("lf-in-an-extension", "HeaderLineEndingError", b"5;a\nb\r\nhello\r\n", b""),
            ("no-end-of-data", "ChunkTerminatorError", b"5\r\nhelloX\r\n", b"hello"),
            ("bad-trailer", "HeaderNoColonError", b"0\r\nA\r\n\r\n", b""),
        ]
    ],
]

UNTIL_CLOSE = [
    good("until-close", "neither", (response(body=b"hello"), FIN), then=CLOSED),
    good("until-close", "nothing", (response(), FIN), b"", CLOSED),
    good(
        "until-close", "1.0", (response(body=b"hello", line=b"HTTP/1.0 200 OK"), FIN), then=CLOSED
    ),
    good(
        "until-close",
        "keep-alive-means-nothing",
        (response(b"Connection: keep-alive", body=b"hello"), FIN),
        then=CLOSED,
    ),
    *[
        good(
            "until-close",
            name,
            (response(b"Transfer-Encoding: " + coding, body=b"hello"), FIN),
            then=CLOSED,
        )
        for name, coding in [
            ("gzip", b"gzip"),
            ("chunked-is-not-last", b"chunked, gzip"),
            ("identity", b"identity"),
        ]
    ],
    good("until-close", "a-response-in-it-is-none", (response(body=sized()), FIN), sized(), CLOSED),
    bad("until-close", "reset", LOST, (response(body=b"hello"), RST), status=200, body=b"hello"),
    good("until-close", "not-yet", response(body=b"hello"), then=WAITS, engine=False),
]

NO_BODY = [
    good("response-no-body", "head-with-a-length", response(b"Content-Length: 5"), b"", ask=HEAD),
    good(
        "response-no-body",
        "head-with-a-coding",
        response(b"Transfer-Encoding: chunked"),
        b"",
        ask=HEAD,
    ),
    good("response-no-body", "head-with-neither", response(), b"", ask=HEAD),
    good(
        "response-no-body",
        "head-with-both",
        response(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
        b"",
        ask=HEAD,
    ),
    good(
        "response-no-body",
        "204-with-a-length",
        response(b"Content-Length: 5", line=b"HTTP/1.1 204 x"),
        b"",
        status=204,
    ),
    good(
        "response-no-body",
        "204-with-a-coding",
        response(b"Transfer-Encoding: chunked", line=b"HTTP/1.1 204 x"),
        b"",
        status=204,
    ),
    good(
        "response-no-body",
        "304-with-a-length",
        response(b"Content-Length: 5", line=b"HTTP/1.1 304 x"),
        b"",
        status=304,
    ),
    good("response-no-body", "head-and-a-body", sized(), b"", CLOSED, ask=HEAD),
    good("response-no-body", "204-and-a-body", sized(line=b"HTTP/1.1 204 x"), b"", CLOSED, 204),
    good("response-no-body", "304-and-a-body", sized(line=b"HTTP/1.1 304 x"), b"", CLOSED, 304),
]

TUNNELLED = Ask("CONNECT", "origin:80")
CONNECT = [
    good(
        "connect-response",
        name,
        response(*fields) + b"first",
        b"",
        TUNNEL,
        ask=TUNNELLED,
        tunnel=b"first",
    )
    for name, fields in [
        ("plain", ()),
        ("length", (b"Content-Length: 5",)),
        ("coding", (b"Transfer-Encoding: chunked",)),
        ("both", (b"Content-Length: 5", b"Transfer-Encoding: chunked")),
        ("bad-length", (b"Content-Length: x",)),
        ("close", (b"Connection: close",)),
    ]
] + [
    good("connect-response", "refused", sized(line=b"HTTP/1.1 403 x"), status=403, ask=TUNNELLED),
    bad(
        "connect-response",
        "refused-badly",
        CODING,
        response(b"Transfer-Encoding: chunked", b"Content-Length: 5", line=b"HTTP/1.1 403 x"),
        ask=TUNNELLED,
    ),
]


CASES = [*FRAMING, *UNTIL_CLOSE, *NO_BODY, *CONNECT]
