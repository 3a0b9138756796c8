"""Messages that two parsers may read in two ways, each with a marked one inside or behind it.

Owns: the tables. They are data, and know no program: `smuggling_chains.py` sends them.

In every message `/m0000` is what is asked for, and `/x0000` is the marked request: it is for an
origin only where `reaches` says so, because the message before it has one reading, and ends there.
"""

from __future__ import annotations

from typing import NamedTuple

#: What a proxy of Thor's makes of a message and the marked one.
#: It is refused, and so is all that follows; nothing goes on.
REFUSED = "refused"
#: Its head goes on before it is found to be wrong; what follows is dropped.
BROKEN = "broken"
#: It goes on, and the marked one is a part of its body.
INSIDE = "inside"
#: It goes on, and so does the marked one, as the request that follows.
BEHIND = "behind"
#: It goes on, and what follows is dropped: it was said to be the last one.
LAST = "last"
#: It goes on, and what follows is a part of its body, the rest of which never comes.
UNFINISHED = "unfinished"

MARKED = b"GET /x0000 HTTP/1.1\r\nHost: site\r\n\r\n"
SIZE = b"%d" % len(MARKED)
#: The marked request as a chunk, and as the rest of a line that the next request would complete.
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(MARKED), MARKED)
LAST_CHUNK = b"0\r\n\r\n"
OPEN_MARKED = b"GET /x0000 HTTP/1.1\r\nHost: site\r\nX-Rest: "


class Smuggled(NamedTuple):
    """One message, with what follows. becomes: one of the above"""

    id: str
    data: bytes
    becomes: str

    def numbered(self, number: int) -> bytes:
        """The message with its own targets."""
        digits = b"%04d" % number
        return self.data.replace(b"/m0000", b"/m" + digits).replace(b"/x0000", b"/x" + digits)


def message(*lines: bytes, start: bytes = b"POST /m0000 HTTP/1.1", host: bytes = b"site") -> bytes:
    """A head with a Host."""
    return b"\r\n".join([start, b"Host: " + host, *lines, b"", b""])


def named(prefix: str, becomes: str, rows: dict[str, bytes]) -> list[Smuggled]:
    """Rows that come to the same."""
    return [Smuggled(f"{prefix}-{name}", data, becomes) for name, data in rows.items()]


# -- two framings -------------------------------------------------------------------------------

#: The body is empty for who reads the coding; the marked request is in it for who reads the length.
BOTH = LAST_CHUNK + MARKED
LENGTH_OF_BOTH = b"Content-Length: %d" % len(BOTH)
CHUNKED = b"Transfer-Encoding: chunked"

#: Spellings of a coding that some take for chunked and some do not.
CODINGS: dict[str, bytes] = {
    "x": b"Transfer-Encoding: xchunked",
    "suffix": b"Transfer-Encoding: chunkedx",
    "vt-before": b"Transfer-Encoding: \x0bchunked",
    "vt-behind": b"Transfer-Encoding: chunked\x0b",
    "ff-before": b"Transfer-Encoding: \x0cchunked",
    "nul-behind": b"Transfer-Encoding: chunked\x00",
    "nbsp-before": b"Transfer-Encoding: \xa0chunked",
    "nel-behind": b"Transfer-Encoding: chunked\x85",
    "parameter": b"Transfer-Encoding: chunked;q=1",
    "double-quotes": b'Transfer-Encoding: "chunked"',
    "single-quotes": b"Transfer-Encoding: 'chunked'",
    "comma-behind": b"Transfer-Encoding: chunked,",
    "comma-before": b"Transfer-Encoding: ,chunked",
    "identity-behind": b"Transfer-Encoding: chunked, identity",
    "identity-before": b"Transfer-Encoding: identity, chunked",
    "identity": b"Transfer-Encoding: identity",
    "twice": b"Transfer-Encoding: chunked, chunked",
    "two-fields": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "another-field": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "gzip": b"Transfer-Encoding: gzip, chunked",
    "gzip-last": b"Transfer-Encoding: chunked, gzip",
    "empty": b"Transfer-Encoding:",
    "case": b"Transfer-Encoding: cHuNkEd",
    "no-space": b"Transfer-Encoding:chunked",
    "htab": b"Transfer-Encoding:\tchunked",
    "space-in-the-name": b"Transfer-Encoding : chunked",
    "htab-in-the-name": b"Transfer-Encoding\t: chunked",
    "nul-in-the-name": b"Transfer-Encoding\x00: chunked",
    "space-before-the-name": b" Transfer-Encoding: chunked",
    "bare-cr": b"X: y\rTransfer-Encoding: chunked",
    "bare-lf": b"X: y\nTransfer-Encoding: chunked",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "folded-behind": b"Transfer-Encoding: chunked\r\n , identity",
    "two-colons": b"Transfer-Encoding:: chunked",
    "no-colon": b"Transfer-Encoding chunked",
    "connection": b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
}

FRAMINGS = [
    *named(
        "both",
        REFUSED,
        {
            "length-first": message(LENGTH_OF_BOTH, CHUNKED) + BOTH,
            "coding-first": message(CHUNKED, b"Content-Length: 4") + CHUNK,
            "no-length": message(b"Content-Length: 0", CHUNKED) + BOTH,
            "rest-of-a-line": message(
                b"Content-Length: %d" % (5 + len(OPEN_MARKED)), CHUNKED
            )
            + LAST_CHUNK
            + OPEN_MARKED,
            "in-1.0": message(CHUNKED, LENGTH_OF_BOTH, start=b"POST /m0000 HTTP/1.0") + BOTH,
            "connection-names-the-length": message(
                b"Connection: content-length", LENGTH_OF_BOTH, CHUNKED
            )
            + BOTH,
        },
    ),
    *named(
        "coding",
        REFUSED,
        {name: message(LENGTH_OF_BOTH, line) + BOTH for name, line in CODINGS.items()},
    ),
    # The same without a length: who does not see the coding takes the body for a request.
    *named(
        "coding-alone",
        REFUSED,
        {
            name: message(line) + CHUNK
            for name, line in CODINGS.items()
            if name not in ("case", "no-space", "htab", "connection")
        },
    ),
    *named(
        "coding-alone",
        INSIDE,
        {
            name: message(CODINGS[name]) + CHUNK
            for name in ("case", "no-space", "htab", "connection")
        },
    ),
    *named(
        "coding",
        REFUSED,
        {"in-1.0": message(CHUNKED, start=b"POST /m0000 HTTP/1.0") + CHUNK},
    ),
    *named(
        "coding",
        INSIDE,
        {
            "underscore": message(b"Content-Length: " + SIZE, b"Transfer_Encoding: chunked")
            + MARKED,
            "te": message(b"Content-Length: " + SIZE, b"TE: chunked", b"Connection: TE") + MARKED,
            "x-name": message(b"Content-Length: " + SIZE, b"X-Transfer-Encoding: chunked")
            + MARKED,
        },
    ),
]

# -- lengths ------------------------------------------------------------------------------------

LENGTHS = [
    *named(
        "length",
        REFUSED,
        {
            name: message(line) + MARKED
            for name, line in {
                "plus": b"Content-Length: +" + SIZE,
                "minus": b"Content-Length: -" + SIZE,
                "hexadecimal": b"Content-Length: 0x%x" % len(MARKED),
                "underscore": b"Content-Length: 3_5",
                "space-inside": b"Content-Length: 3 5",
                "vt-before": b"Content-Length: \x0b" + SIZE,
                "vt-behind": b"Content-Length: " + SIZE + b"\x0b",
                "nul-behind": b"Content-Length: " + SIZE + b"\x00",
                "nbsp-before": b"Content-Length: \xa0" + SIZE,
                "semicolon": b"Content-Length: " + SIZE + b";",
                "point": b"Content-Length: " + SIZE + b".0",
                "exponent": b"Content-Length: 1e1",
                "quoted": b'Content-Length: "' + SIZE + b'"',
                "superscript": b"Content-Length: \xb3\xb2",
                "empty": b"Content-Length:",
                "comma-behind": b"Content-Length: " + SIZE + b",",
                "list-that-differs": b"Content-Length: 0, " + SIZE,
                "list-that-agrees": b"Content-Length: " + SIZE + b", " + SIZE,
                "fields-that-differ": b"Content-Length: 0\r\nContent-Length: " + SIZE,
                "fields-that-agree": (b"Content-Length: " + SIZE + b"\r\n") * 2 + b"X: y",
                "folded": b"Content-Length:\r\n " + SIZE,
                "folded-behind": b"Content-Length: 0\r\n " + SIZE,
                "space-in-the-name": b"Content-Length : " + SIZE,
                "htab-in-the-name": b"Content-Length\t: " + SIZE,
                "nul-in-the-name": b"Content-Length\x00: " + SIZE,
                "obs-text-in-the-name": b"Content-Length\xa0: " + SIZE,
                "cr-in-the-name": b"Content\rLength: " + SIZE,
                "space-before-the-name": b" Content-Length: " + SIZE,
                "bare-lf": b"X: y\nContent-Length: " + SIZE,
                "bare-cr": b"X: y\rContent-Length: " + SIZE,
                "wraps-at-32-bits": b"Content-Length: 99999999999999999999",
                "wraps-at-64-bits": b"Content-Length: %d" % (2**64 + len(MARKED)),
                "negative-at-64-bits": b"Content-Length: %d" % 2**63,
            }.items()
        },
    ),
    *named(
        "length",
        INSIDE,
        {
            "leading-zeros": message(b"Content-Length: 00" + SIZE) + MARKED,
            "space-behind": message(b"Content-Length: " + SIZE + b" \t") + MARKED,
            "upper-case": message(b"CONTENT-LENGTH: " + SIZE) + MARKED,
            "connection-names-it": message(
                b"Connection: content-length, host", b"Content-Length: " + SIZE
            )
            + MARKED,
            "twin": message(b"Content_Length: 0", b"Content-Length: " + SIZE) + MARKED,
            "get": message(b"Content-Length: " + SIZE, start=b"GET /m0000 HTTP/1.1") + MARKED,
            "delete": message(b"Content-Length: " + SIZE, start=b"DELETE /m0000 HTTP/1.1") + MARKED,
            "head": message(b"Content-Length: " + SIZE, start=b"HEAD /m0000 HTTP/1.1") + MARKED,
            "expect": message(b"Content-Length: " + SIZE, b"Expect: 100-continue") + MARKED,
            "expect-in-1.0": message(
                b"Content-Length: " + SIZE,
                b"Expect: 100-continue",
                b"Connection: keep-alive",
                start=b"POST /m0000 HTTP/1.0",
            )
            + MARKED,
            "upgrade": message(
                b"Content-Length: " + SIZE, b"Connection: upgrade", b"Upgrade: websocket"
            )
            + MARKED,
            "rest-of-a-line": message(b"Content-Length: %d" % len(OPEN_MARKED)) + OPEN_MARKED,
        },
    ),
    *named(
        "length",
        BEHIND,
        {
            "zero": message(b"Content-Length: 0") + MARKED,
            "zero-of-a-get": message(b"Content-Length: 0", start=b"GET /m0000 HTTP/1.1") + MARKED,
            "underscore": message(b"Content_Length: " + SIZE) + MARKED,
            "x-name": message(b"X-Content-Length: " + SIZE) + MARKED,
        },
    ),
    Smuggled(
        "length-more-than-there-is", message(b"Content-Length: %d" % 2**32) + MARKED, UNFINISHED
    ),
]

# -- chunks -------------------------------------------------------------------------------------


def chunked(body: bytes) -> bytes:
    """A message with this body."""
    return message(CHUNKED) + body


CHUNKS = [
    *named(
        "chunk",
        BROKEN,
        {
            name: chunked(body + LAST_CHUNK + MARKED)
            for name, body in {
                "plus": b"+5\r\nhello\r\n",
                "minus": b"-5\r\nhello\r\n",
                "0x": b"0x5\r\nhello\r\n",
                "space-before": b" 5\r\nhello\r\n",
                "space-behind": b"5 \r\nhello\r\n",
                "htab-behind": b"5\t\r\nhello\r\n",
                "vt-before": b"\x0b5\r\nhello\r\n",
                "nul-behind": b"5\x00\r\nhello\r\n",
                "underscore": b"0_5\r\nhello\r\n",
                "comma": b"5,5\r\nhello\r\n",
                "quoted": b'"5"\r\nhello\r\n',
                "no-digit": b"g\r\nhello\r\n",
                "empty": b"\r\nhello\r\n",
                "wraps-at-64-bits": b"10000000000000005\r\nhello\r\n",
                "17-digits": b"00000000000000005\r\nhello\r\n",
                "bare-lf": b"5\nhello\r\n",
                "bare-cr": b"5\rhello\r\n",
                "no-line-end": b"5\r\nhello",
                "lf-behind-the-data": b"5\r\nhello\n",
                "data-too-long": b"5\r\nhelloworld\r\n",
                "data-too-long-by-two": b"5\r\nhelloXX0\r\n\r\n",
                "data-too-short": b"6\r\nhello\r\n",
                "extension-with-lf": b"5;\nhello\r\n",
                "extension-with-cr": b"5;a\rb\r\nhello\r\n",
                "extension-with-nul": b"5;a\x00\r\nhello\r\n",
                "extension-with-crlf-in-quotes": b'5;a="\r\n\r\n"\r\nhello\r\n',
                "extension-with-a-quote-left-open": b'5;a="\r\nhello\r\n',
                "extension-too-long": b"5;" + b"a" * 5000 + b"\r\nhello\r\n",
                "extension-without-semicolon": b"5 a=b\r\nhello\r\n",
            }.items()
        },
    ),
    *named(
        "last-chunk",
        BROKEN,
        {
            name: chunked(b"5\r\nhello\r\n" + body + MARKED)
            for name, body in {
                "minus": b"-0\r\n\r\n",
                "0x": b"0x0\r\n\r\n",
                "space-behind": b"0 \r\n\r\n",
                "bare-lf": b"0\n\n",
                "lf-at-the-end": b"0\r\n\n",
                "cr-at-the-end": b"0\r\n\r",
                "no-empty-line": b"0\r\n",
                "extension-with-lf": b"0;a\n\r\n\r\n",
                "folded-trailer": b"0\r\nX: y\r\n Z: z\r\n\r\n",
                "trailer-without-colon": b"0\r\nX\r\n\r\n",
                "space-in-a-trailer's-name": b"0\r\nX : y\r\n\r\n",
                "lf-in-a-trailer": b"0\r\nX: y\n\n",
                "nul-in-a-trailer": b"0\r\nX: \x00\r\n\r\n",
            }.items()
        },
    ),
    *named(
        "chunked",
        BEHIND,
        {
            name: chunked(body + MARKED)
            for name, body in {
                "empty": LAST_CHUNK,
                "many-zeros": b"5\r\nhello\r\n0000000\r\n\r\n",
                "leading-zeros": b"0000000000000005\r\nhello\r\n0\r\n\r\n",
                "upper-case": b"A\r\nhelloworld\r\n0\r\n\r\n",
                "extension": b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
                "extension-with-space": b"5 ;a=b\r\nhello\r\n0 ;c\r\n\r\n",
                "extension-in-quotes": b'5;a="0;\\"x"\r\nhello\r\n0\r\n\r\n',
                "trailer": b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
                "length-as-a-trailer": b"0\r\nContent-Length: " + SIZE + b"\r\n\r\n",
                "coding-as-a-trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
                "host-as-a-trailer": b"0\r\nHost: other\r\n\r\n",
                "front-as-a-trailer": b"0\r\nVia: 1.1 other\r\n\r\n",
            }.items()
        },
    ),
    *named(
        "chunked",
        INSIDE,
        {
            "get": message(CHUNKED, start=b"GET /m0000 HTTP/1.1") + CHUNK,
            "head": message(CHUNKED, start=b"HEAD /m0000 HTTP/1.1") + CHUNK,
            "last-chunk-in-the-data": chunked(
                b"%x\r\n0\r\n\r\n%b\r\n0\r\n\r\n" % (5 + len(MARKED), MARKED)
            ),
            "expect": message(CHUNKED, b"Expect: 100-continue") + CHUNK,
        },
    ),
]

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
            "connection-names-the-host": get(b"Connection: host, via, x-front"),
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

REQUESTS = [*FRAMINGS, *LENGTHS, *CHUNKS, *HEADS]

# -- responses ----------------------------------------------------------------------------------

#: What is never to be taken for the answer to another request.
MARKED_RESPONSE = b"HTTP/1.1 200 OK\r\nX-Seen: /marked\r\nContent-Length: 7\r\n\r\nmarked\n"
MARKED_SIZE = b"%d" % len(MARKED_RESPONSE)
MARKED_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(MARKED_RESPONSE), MARKED_RESPONSE)


def reply(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    """A response of an origin's."""
    return b"\r\n".join([start, *lines, b"", b""]) + body


#: The statuses that a client of the proxy's may get for what an origin says.
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
    "0.9": (b"<p>hello" * 100, {502}),
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
        reply(
            b"Content-Length: " + MARKED_SIZE, start=b"HTTP/1.1 103 Early Hints", body=b""
        )
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
