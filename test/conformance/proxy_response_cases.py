"""Responses that cross a proxy, and in which form: byte for byte.

Owns: the table. It is data: what a row means says `shapes.ProxyCase`.
"""

from __future__ import annotations

from proxy_rows import ADDED, CHUNKED, HELLO, LENGTH, answers, asks, got, passed, response
from shapes import CLOSED, FIN

RESPONSE_FIELDS = [
    response("response-fields", name, answers(*come), passed(*go))
    for name, come, go in [
        ("connection", (b"Connection: keep-alive", b"Keep-Alive: 5"), ()),
        ("nominated", (b"Connection: X-A, b", b"X-A: 1", b"B: 2", b"C: 3"), (b"C: 3",)),
        ("proxy-connection", (b"Proxy-Connection: keep-alive",), ()),
        ("te", (b"TE: trailers",), ()),
        ("upgrade", (b"Upgrade: h2c", b"Connection: upgrade"), ()),
        ("trailer-that-does-not-come", (b"Trailer: A",), ()),
        ("content-length-cannot-be-nominated", (b"Connection: content-length",), ()),
        ("server-and-date", (b"Server: s", b"Date: d"), (b"Server: s", b"Date: d")),
        ("repetition", (b"Set-Cookie: a", b"Set-Cookie: b"), (b"Set-Cookie: a", b"Set-Cookie: b")),
        ("obs-text", (b"A: \xe9",), (b"A: \xe9",)),
        ("close", (b"Connection: close",), ()),
    ]
] + [
    response(
        "response-fields",
        "via-is-appended",
        answers(b"Via: 1.0 ricky"),
        passed(b"Via: 1.0 ricky"),
    ),
    response(
        "response-fields",
        "426",
        answers(b"Upgrade: x", b"Connection: upgrade", line=b"HTTP/1.1 426 x"),
        passed(line=b"HTTP/1.1 426 x", last=(b"Upgrade: x", b"Connection: upgrade")),
    ),
    response(
        "response-fields",
        "from-1.0",
        answers(line=b"HTTP/1.0 200 OK"),
        passed(via=b"Via: 1.0 fred"),
    ),
    response(
        "response-fields",
        "reason",
        answers(line=b"HTTP/1.1 299 \xe9 x"),
        passed(line=b"HTTP/1.1 299 \xe9 x"),
    ),
    response(
        "response-fields", "no-reason", answers(line=b"HTTP/1.1 200"), passed(line=b"HTTP/1.1 200 ")
    ),
]

OLD = {
    "asked": asks(version=b"1.0"),
    "goes_up": got(added=(*ADDED[:3], b"Via: 1.0 fred")),
    "then": CLOSED,
}
CLOSE = (b"Connection: close",)
WANTED = {
    "asked": asks(b"TE: trailers", b"Connection: TE"),
    "goes_up": got(last=(b"TE: trailers", b"Connection: TE")),
}
TRAILED = b"5\r\nhello\r\n0\r\nA: b\r\nSet-Cookie: c\r\n\r\n"
HEAD = {"asked": asks(method=b"HEAD"), "goes_up": got(method=b"HEAD")}
IN_CHUNKS = passed(length=b"", last=(CHUNKED,), body=HELLO)

RESPONSE_FRAMING = [
    response("crossing-framing", "length", answers(), passed()),
    response("crossing-framing", "length-repeated", answers(LENGTH), passed()),
    response("crossing-framing", "chunked", answers(length=CHUNKED, body=HELLO), IN_CHUNKS),
    response(
        "crossing-framing",
        "extensions-are-dropped",
        answers(length=CHUNKED, body=b"05;a=b\r\nhello\r\n00\r\n\r\n"),
        IN_CHUNKS,
    ),
    response("crossing-framing", "until-close", (answers(length=b""), FIN), IN_CHUNKS),
    response(
        "crossing-framing",
        "until-close-1.0",
        (answers(length=b"", line=b"HTTP/1.0 200 OK"), FIN),
        IN_CHUNKS.replace(b"1.1 fred", b"1.0 fred"),
    ),
    response("crossing-framing", "length-to-1.0", answers(), passed(last=CLOSE), **OLD),
    response(
        "crossing-framing",
        "chunked-to-1.0",
        answers(length=CHUNKED, body=HELLO),
        passed(length=b"", last=CLOSE),
        **OLD,
    ),
    response(
        "crossing-framing",
        "trailers-to-1.0",
        answers(length=CHUNKED, body=TRAILED),
        passed(length=b"", last=CLOSE),
        **OLD,
    ),
    response(
        "crossing-framing",
        "until-close-to-1.0",
        (answers(length=b""), FIN),
        passed(length=b"", last=CLOSE),
        **OLD,
    ),
    response(
        "crossing-framing",
        "trailers-that-are-wanted",
        answers(length=CHUNKED, body=TRAILED),
        passed(length=b"", last=(CHUNKED,), body=b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"),
        **WANTED,
    ),
    response(
        "crossing-framing",
        "nominated-trailers",
        answers(b"Connection: A", length=CHUNKED, body=TRAILED),
        passed(length=b"", last=(CHUNKED,), body=HELLO),
        **WANTED,
    ),
    response(
        "crossing-framing",
        "announced-trailers",
        answers(b"Trailer: A", length=CHUNKED, body=TRAILED),
        passed(b"Trailer: A", length=b"", last=(CHUNKED,), body=b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"),
        **WANTED,
    ),
    response(
        "crossing-framing",
        "trailers-that-are-not-wanted",
        answers(length=CHUNKED, body=TRAILED),
        IN_CHUNKS,
    ),
    response("crossing-framing", "head", answers(body=b""), passed(body=b""), **HEAD),
    response(
        "crossing-framing",
        "head-in-chunks",
        answers(length=CHUNKED, body=b""),
        passed(length=b"", body=b""),
        **HEAD,
    ),
    response(
        "crossing-framing",
        "304",
        answers(line=b"HTTP/1.1 304 x", body=b""),
        passed(line=b"HTTP/1.1 304 x", body=b""),
    ),
    response(
        "crossing-framing",
        "204",
        answers(line=b"HTTP/1.1 204 x", length=b"", body=b""),
        passed(line=b"HTTP/1.1 204 x", length=b"", body=b""),
    ),
    response(
        "crossing-framing",
        "204-with-a-length",
        answers(line=b"HTTP/1.1 204 x", body=b""),
        passed(line=b"HTTP/1.1 204 x", length=b"", body=b""),
    ),
    response(
        "crossing-framing", "length-with-zeros", answers(length=b"Content-Length: 005"), passed()
    ),
    response(
        "crossing-framing",
        "response-in-a-body",
        answers(length=b"Content-Length: %d" % len(answers()), body=answers()),
        passed(length=b"Content-Length: %d" % len(answers()), body=answers()),
    ),
]


CASES = [*RESPONSE_FIELDS, *RESPONSE_FRAMING]
