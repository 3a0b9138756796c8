"""Heads that two parsers may read in two ways, and responses that say more than one thing.

Owns: the second half of the tables of `smuggling_cases.py`, whose words they are in.
"""

from __future__ import annotations

from smuggling_cases import (
    BEHIND,
    CHUNKED,
    LAST,
    LAST_CHUNK,
    MARKED,
    REFUSED,
    SIZE,
    message,
    named,
)

# -- heads --------------------------------------------------------------------------------------

GET = b"GET /m0000 HTTP/1.1"


def get(*lines: bytes, start: bytes = GET, host: bytes = b"site") -> bytes:
    """A message without a body, and the marked one behind it."""
    return message(*lines, start=start, host=host) + MARKED


def raw(head: bytes) -> bytes:
    """A head as it stands, and the marked one behind it."""
    return head + MARKED


HEADS = [
    *named(
        "head",
        REFUSED,
        {
            "lf": raw(b"GET /m0000 HTTP/1.1\nHost: site\n\n"),
            "lf-behind-the-line": raw(b"GET /m0000 HTTP/1.1\nHost: site\r\n\r\n"),
            "lf-before-a-field": get(b"A: b\nC: d"),
            "lf-at-the-end": raw(b"GET /m0000 HTTP/1.1\r\nHost: site\r\n\n"),
            "lf-lf-in-a-field": get(b"A: b\n\nGET /x0000 HTTP/1.1\nHost: site"),
            "cr-in-a-field": get(b"A: b\rC: d"),
            "cr-cr-lf": get(b"A: b\r"),
            "lf-cr": raw(b"GET /m0000 HTTP/1.1\n\rHost: site\n\r\n\r"),
            "nul-in-a-field": get(b"A: b\x00c"),
            "nul-in-a-name": get(b"A\x00: b"),
            "vt-in-a-field": get(b"A: b\x0bc"),
            "del-in-a-field": get(b"A: b\x7fc"),
            "fold": get(b"A: b\r\n c"),
            "fold-with-htab": get(b"A: b\r\n\tc"),
            "fold-of-an-empty-line": get(b"A: b\r\n "),
            "fold-of-the-line": raw(b"GET /m0000\r\n HTTP/1.1\r\nHost: site\r\n\r\n"),
            "space-before-the-first-field": raw(b"GET /m0000 HTTP/1.1\r\n Host: site\r\n\r\n"),
            "space-before-a-colon": get(b"A : b"),
            "no-colon": get(b"A"),
            "no-name": get(b": b"),
            "quote-in-a-name": get(b'A"b: c'),
            "obs-text-in-a-name": get(b"A\xff: b"),
            "two-hosts": get(b"Host: other"),
            "two-hosts-alike": get(b"Host: site"),
            "no-host": raw(b"GET /m0000 HTTP/1.1\r\n\r\n"),
            "empty-host": get(host=b""),
            "list-of-hosts": get(host=b"site, other"),
            "host-with-user": get(host=b"me@site"),
            "host-with-path": get(host=b"site/x"),
            "host-with-space": get(host=b"si te"),
            "host-in-a-fold": raw(b"GET /m0000 HTTP/1.1\r\nHost:\r\n site\r\n\r\n"),
            "too-many-empty-lines": b"\r\n" * 5 + get(),
            "empty-line-with-lf": b"\n" + get(),
            "space-first": b" " + get(),
            "nul-first": b"\x00" + get(),
            "0.9": raw(b"GET /m0000\r\n"),
            "0.9-named": raw(b"GET /m0000 HTTP/0.9\r\n\r\n"),
            "version-in-lower-case": get(start=b"GET /m0000 http/1.1"),
            "version-of-two-digits": get(start=b"GET /m0000 HTTP/1.10"),
            "version-with-a-zero": get(start=b"GET /m0000 HTTP/01.1"),
            "version-2": get(start=b"GET /m0000 HTTP/2.0"),
            "preface-of-2": raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            "two-spaces": get(start=b"GET  /m0000 HTTP/1.1"),
            "htab-for-space": get(start=b"GET\t/m0000\tHTTP/1.1"),
            "space-in-the-target": get(start=b"GET /m0000 /x0000 HTTP/1.1"),
            "space-behind-the-line": get(start=b"GET /m0000 HTTP/1.1 "),
            "cr-in-the-line": raw(b"GET /m0000 HTTP/1.1\rHost: site\r\n\r\n"),
            "nul-in-the-target": get(start=b"GET /m0000\x00 HTTP/1.1"),
            "obs-text-in-the-target": get(start=b"GET /m0000\xff HTTP/1.1"),
            "fragment": get(start=b"GET /m0000#x HTTP/1.1"),
            "no-slash": get(start=b"GET m0000 HTTP/1.1"),
            "method-that-is-none": get(start=b"G(T /m0000 HTTP/1.1"),
            "absolute-with-user": get(start=b"GET http://me@site/m0000 HTTP/1.1"),
            "absolute-without-host": get(start=b"GET http:///m0000 HTTP/1.1"),
            "absolute-with-space": get(start=b"GET http://site /m0000 HTTP/1.1"),
            "asterisk-get": get(start=b"GET * HTTP/1.1"),
            "connect": get(start=b"CONNECT site:80 HTTP/1.1", host=b"site:80"),
            "connect-with-length": message(
                b"Content-Length: " + SIZE, start=b"CONNECT site:80 HTTP/1.1", host=b"site:80"
            )
            + MARKED,
            "expect-something-else": get(b"Expect: 101-switching"),
            "expect-in-a-list": get(b"Expect: 100-continue, 101-switching"),
            "expect-with-a-word-before": get(b"Expect: y 100-continue"),
            "expect-with-a-parameter": get(b"Expect: 100-continue;a=b"),
            "too-large": get(b"A: " + b"b" * 70000),
            "too-many-fields": get(*[b"A: b"] * 200),
        },
    ),
    *named(
        "head",
        BEHIND,
        {
            "plain": get(),
            "empty-line-first": b"\r\n" + get(),
            "empty-lines-first": b"\r\n" * 4 + get(),
            "htab-in-a-field": get(b"A: b\tc"),
            "obs-text-in-a-field": get(b"A: \xff\xfe"),
            "empty-field": get(b"A:"),
            "version-1.2": get(start=b"GET /m0000 HTTP/1.2"),
            "method-in-lower-case": get(start=b"get /m0000 HTTP/1.1"),
            "method-of-its-own": get(start=b"SMUGGLE /m0000 HTTP/1.1"),
            "absolute": get(start=b"GET http://site/m0000 HTTP/1.1"),
            "absolute-with-another-host": get(
                start=b"GET http://site/m0000 HTTP/1.1", host=b"other"
            ),
            "encoded-line-end-in-the-target": get(
                start=b"GET /m0000%0d%0aX:%20y%0d%0a%0d%0aGET%20/x HTTP/1.1"
            ),
            "encoded-nul-in-the-target": get(start=b"GET /m0000%00 HTTP/1.1"),
            "question-mark-in-the-target": get(start=b"GET /m0000?a=/x HTTP/1.1"),
            "keep-alive-in-1.0": get(b"Connection: keep-alive", start=b"GET /m0000 HTTP/1.0"),
            "connection-names-the-host": get(b"Connection: host, via"),
            "connection-names-close-in-quotes": get(b'Connection: "close"'),
            "upgrade-h2c": get(
                b"Connection: Upgrade, HTTP2-Settings",
                b"Upgrade: h2c",
                b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
            ),
            "upgrade-websocket": get(
                b"Connection: Upgrade",
                b"Upgrade: websocket",
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                b"Sec-WebSocket-Version: 13",
            ),
            "upgrade-without-connection": get(b"Upgrade: websocket"),
            "expect-without-a-body": get(b"Expect: 100-continue"),
            "keep-alive-of-nothing": get(b"Keep-Alive: timeout=0, max=0"),
            "proxy-connection": get(b"Proxy-Connection: close"),
            "trailer-announced": get(b"Trailer: Content-Length"),
        },
    ),
    *named(
        "head",
        LAST,
        {
            "close": get(b"Connection: close"),
            "close-among-others": get(b"Connection: keep-alive, close, x"),
            "close-of-two-fields": get(b"Connection: keep-alive", b"Connection: Close"),
            "1.0": get(start=b"GET /m0000 HTTP/1.0"),
            "1.0-without-host": raw(b"GET /m0000 HTTP/1.0\r\n\r\n"),
        },
    ),
]

# -- responses ----------------------------------------------------------------------------------

#: What is never to be taken for the answer to another request.
MARKED_RESPONSE = b"HTTP/1.1 200 OK\r\nX-Seen: /marked\r\nContent-Length: 7\r\n\r\nmarked\n"
MARKED_SIZE = b"%d" % len(MARKED_RESPONSE)
MARKED_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(MARKED_RESPONSE), MARKED_RESPONSE)


def reply(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    """A response of an origin's."""
    return b"\r\n".join([start, *lines, b"", b""]) + body


#: Of what an origin says, and the statuses that a client of the proxy's may get for it. Those whose
#: name ends in "-of-head" answer a HEAD.
RESPONSES: dict[str, tuple[bytes, set[int]]] = {
    "more-than-its-length": (reply(b"Content-Length: 0", body=MARKED_RESPONSE), {200}),
    "more-than-its-chunks": (reply(CHUNKED, body=LAST_CHUNK + MARKED_RESPONSE), {200}),
    "body-of-204": (reply(start=b"HTTP/1.1 204 No Content", body=MARKED_RESPONSE), {204}),
    "length-of-204": (
        reply(
            b"Content-Length: " + MARKED_SIZE,
            start=b"HTTP/1.1 204 No Content",
            body=MARKED_RESPONSE,
        ),
        {204},
    ),
    "body-of-304": (
        reply(
            b"Content-Length: " + MARKED_SIZE,
            start=b"HTTP/1.1 304 Not Modified",
            body=MARKED_RESPONSE,
        ),
        {304},
    ),
    "chunked-304": (
        reply(CHUNKED, start=b"HTTP/1.1 304 Not Modified", body=LAST_CHUNK + MARKED_RESPONSE),
        {304},
    ),
    "body-of-head": (
        reply(b"Content-Length: " + MARKED_SIZE, body=MARKED_RESPONSE),
        {200},
    ),
    "chunks-of-head": (reply(CHUNKED, body=MARKED_CHUNK), {200}),
    "no-length-of-head": (reply(body=MARKED_RESPONSE), {200}),
    "error-with-a-body-of-head": (
        reply(CHUNKED, start=b"HTTP/1.1 404 Not Found", body=LAST_CHUNK + MARKED_RESPONSE),
        {404},
    ),
    "two-answers": (MARKED_RESPONSE.replace(b"/marked", b"/first-") * 2, {200}),
    "both-framings": (
        reply(CHUNKED, b"Content-Length: 5", body=LAST_CHUNK + MARKED_RESPONSE),
        {502},
    ),
    "lengths-that-differ": (
        reply(b"Content-Length: 0", b"Content-Length: " + MARKED_SIZE, body=MARKED_RESPONSE),
        {502},
    ),
    "lengths-in-a-list": (
        reply(b"Content-Length: 0, " + MARKED_SIZE, body=MARKED_RESPONSE),
        {502},
    ),
    "length-with-a-sign": (
        reply(b"Content-Length: +" + MARKED_SIZE, body=MARKED_RESPONSE),
        {502},
    ),
    "length-with-a-space-in-its-name": (
        reply(b"Content-Length : " + MARKED_SIZE, body=MARKED_RESPONSE),
        {502},
    ),
    "length-with-a-fold": (
        reply(b"Content-Length: 0\r\n " + MARKED_SIZE, body=MARKED_RESPONSE),
        {502},
    ),
    "coding-that-is-none": (
        reply(b"Transfer-Encoding: xchunked", body=MARKED_CHUNK),
        {502},
    ),
    **{
        f"chunk-{name}": (reply(CHUNKED, body=b"2\r\nab\r\n" + body + MARKED_RESPONSE), {200})
        for name, body in {
            "minus": b"-0\r\n\r\n",
            "lf": b"0\n\n",
            "space-behind": b"0 \r\n\r\n",
            "wraps-at-64-bits": b"10000000000000000\r\n\r\n",
            "data-too-long": b"2\r\nabcd0\r\n\r\n",
            "extension-with-lf": b"0;a\n\r\n\r\n",
            "extension-with-crlf-in-quotes": b'0;a="\r\n\r\n"\r\n\r\n',
            "lf-in-a-trailer": b"0\r\nA: b\n\n",
            "folded-trailer": b"0\r\nA: b\r\n c\r\n\r\n",
        }.items()
    },
    "coding-in-1.0": (
        reply(CHUNKED, start=b"HTTP/1.0 200 OK", body=LAST_CHUNK + MARKED_RESPONSE),
        {502},
    ),
    "lf": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n" + MARKED_RESPONSE, {502}),
    "lf-in-a-field": (
        reply(b"A: b\n\n" + MARKED_RESPONSE, b"Content-Length: 0"),
        {502},
    ),
    "cr-in-a-field": (reply(b"A: b\rC: d", b"Content-Length: 0"), {502}),
    "nul-in-a-field": (reply(b"A: b\x00c", b"Content-Length: 0"), {502}),
    "fold": (reply(b"A: b\r\n c", b"Content-Length: 0"), {502}),
    "empty-line-first": (b"\r\n" + reply(b"Content-Length: 0"), {502}),
    "no-status-line": (b"X-Seen: /marked\r\n\r\n", {502}),
    "0.9": (b"<p>hello</p>\r\n\r\n", {502}),
    "version-2": (reply(b"Content-Length: 0", start=b"HTTP/2.0 200 OK"), {502}),
    "status-of-two-digits": (reply(b"Content-Length: 0", start=b"HTTP/1.1 20 OK"), {502}),
    "switch-that-nobody-asked-for": (
        reply(
            b"Connection: upgrade",
            b"Upgrade: websocket",
            start=b"HTTP/1.1 101 Switching Protocols",
            body=MARKED_RESPONSE,
        ),
        {502},
    ),
    "early-hints-with-a-length": (
        reply(b"Content-Length: " + MARKED_SIZE, start=b"HTTP/1.1 103 Early Hints", body=b"")
        + reply(b"Content-Length: 0"),
        {200},
    ),
    "too-many-early-hints": (
        reply(start=b"HTTP/1.1 103 Early Hints") * 100 + reply(b"Content-Length: 0"),
        {502},
    ),
    "forbidden-trailers": (
        reply(CHUNKED, body=b"0\r\nContent-Length: 100\r\nSet-Cookie: a=b\r\n\r\n"),
        {200},
    ),
}
