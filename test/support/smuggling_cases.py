"""Messages that two parsers may read in two ways, each with a marked one inside or behind it.

Owns: the tables of framings; those of heads and responses are in `smuggling_heads.py`. They are
data, and know no program: `smuggling_chains.py` sends them.

In every message `/m0000` is what is asked for, and `/x0000` is the marked request. It is for an
origin only where it is BEHIND a message that has one reading, and ends there.
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
            "rest-of-a-line": message(b"Content-Length: %d" % (5 + len(OPEN_MARKED)), CHUNKED)
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
            "x-name": message(b"Content-Length: " + SIZE, b"X-Transfer-Encoding: chunked") + MARKED,
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
            "expect-nothing": message(b"Content-Length: " + SIZE, b"Expect:") + MARKED,
        },
    ),
    *named(
        "length",
        BEHIND,
        {
            "zero": message(b"Content-Length: 0") + MARKED,
            "zero-of-a-get": message(b"Content-Length: 0", start=b"GET /m0000 HTTP/1.1") + MARKED,
            "underscore-in-the-name": message(b"Content_Length: " + SIZE) + MARKED,
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
