"""Chunked bodies that a client may send, and what a server does about them (RFC 9112 section 7).

Owns: the table. It is data: what a row means says `shapes.ServerCase`.
"""

from __future__ import annotations

from server_rows import (
    BIG,
    CHUNK,
    CR,
    CUT,
    END,
    EXTENSION,
    GET,
    LF,
    MANY,
    NAME,
    TERMINATOR,
    VALUE,
    accepted,
    broken,
    chunked,
    get,
    posted,
)
from shapes import FIN, Seen

DATA = b"\r\nhello\r\n"
CHUNKS = [
    *broken(
        "chunk-size",
        400,
        *[
            (name, error, chunked(size + DATA))
            for name, error, size in [
                ("empty", CHUNK, b""),
                ("sign", CHUNK, b"+5"),
                ("negative", CHUNK, b"-5"),
                ("0x", CHUNK, b"0x5"),
                ("no-hex", CHUNK, b"g"),
                ("space-before", CHUNK, b" 5"),
                ("htab-before", CHUNK, b"\t5"),
                ("space-after", CHUNK, b"5 "),
                ("htab-after", CHUNK, b"5\t"),
                ("space-inside", CHUNK, b"0 5"),
                ("underscore", CHUNK, b"0_5"),
                ("comma", CHUNK, b"5,5"),
                ("superscript", CHUNK, b"\xb5"),
                ("17-digits", CHUNK, b"00000000000000005"),
                ("no-digits-before-an-extension", CHUNK, b";a=b"),
                ("nul", CHUNK, b"5\0"),
                ("cr", CR, b"5\r"),
            ]
        ],
        ("bare-lf", LF, chunked(b"5\nhello\r\n")),
        ("bare-cr", CR, chunked(b"5\rhello\r\n")),
        ("lf-after-the-last", LF, chunked(b"0\n\r\n")),
        ("endless", EXTENSION, chunked(b"0" * 4113)),
        ("64-bits-allocate-nothing", CUT, (chunked(b"ffffffffffffffff\r\nhello"), FIN), b"hello"),
    ),
    *accepted(
        "chunk-size",
        ("one", chunked(b"5" + DATA + END), posted(b"hello")),
        ("several", chunked(b"1\r\na\r\n2\r\nbc\r\n" + END), posted(b"abc")),
        ("upper-case", chunked(b"A\r\n0123456789\r\n" + END), posted(b"0123456789")),
        ("lower-case", chunked(b"a\r\n0123456789\r\n" + END), posted(b"0123456789")),
        ("16-digits", chunked(b"0000000000000005" + DATA + END), posted(b"hello")),
        ("last-of-several-zeros", chunked(b"000\r\n\r\n") + get(), (posted(), GET)),
        ("last-of-16-zeros", chunked(b"0" * 16 + b"\r\n\r\n") + get(), (posted(), GET)),
        (
            "data-that-looks-like-a-chunk",
            chunked(b"5\r\n0\r\n\r\n\r\n" + END),
            posted(b"0\r\n\r\n"),
        ),
    ),
    *broken(
        "chunk-end",
        400,
        ("letter", TERMINATOR, chunked(b"5\r\nhelloX\r\n"), b"hello"),
        ("too-long", TERMINATOR, chunked(b"5\r\nhello!\r\n" + END), b"hello"),
        ("too-short", TERMINATOR, chunked(b"5\r\nhell\r\n" + END), b"hell\r"),
        ("bare-lf", TERMINATOR, chunked(b"5\r\nhello\n" + END), b"hello"),
        ("bare-cr", TERMINATOR, chunked(b"5\r\nhello\r0\r\n\r\n"), b"hello"),
        ("nothing", TERMINATOR, chunked(b"5\r\nhello0\r\n\r\n"), b"hello"),
        ("after-the-last", "HeaderNoColonError", chunked(b"0\r\nX\r\n\r\n")),
    ),
]

EXTENSIONS = [
    *accepted(
        "chunk-extensions",
        *[
            (name, chunked(b"5" + ext + DATA + END), posted(b"hello"))
            for name, ext in [
                ("name", b";a"),
                ("name-and-value", b";a=b"),
                ("quoted", b';a="b;c\\"d"'),
                ("quoted-obs-text", b';a="\xe9\t"'),
                ("white-space", b" ; a = b\t;c"),
                ("several", b";a;b=c;d"),
                ("at-the-limit", b";" + b"a" * 4095),
            ]
        ],
        ("on-the-last", chunked(b"5" + DATA + b"0;a=b\r\n\r\n"), posted(b"hello")),
    ),
    *broken(
        "chunk-extensions",
        400,
        *[
            (name, error, chunked(b"5" + ext + DATA))
            for name, error, ext in [
                ("bare-lf", LF, b";a\nb"),
                ("bare-cr", CR, b";a\rb"),
                ("nul", CHUNK, b";a\0"),
                ("crlf-in-quotes", EXTENSION, b';a="\r\n"'),
                ("lf-in-quotes", LF, b';a="\n"'),
                ("no-name", EXTENSION, b";"),
                ("no-value", EXTENSION, b";a="),
                ("no-end-of-quotes", EXTENSION, b';a="b'),
                ("no-token", EXTENSION, b";a(b)"),
                ("trailing-space", EXTENSION, b";a "),
                ("over-the-limit", EXTENSION, b";" + b"a" * 4096),
            ]
        ],
        ("endless", EXTENSION, chunked(b"5;" + b"a" * 4112)),
        (
            "over-the-limit-of-a-message",
            EXTENSION,
            chunked((b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 17),
            b"x" * 16,
        ),
        (
            "smaller-limit",
            EXTENSION,
            chunked(b"5;ab" + DATA),
            b"",
            {"max_chunk_extension_bytes": 2},
        ),
        (
            "smaller-limit-of-a-message",
            EXTENSION,
            chunked(b"1;a\r\nx\r\n1;b\r\ny\r\n"),
            b"x",
            {"max_chunk_extensions_bytes": 3},
        ),
    ),
]


def trailers(*lines: bytes) -> bytes:
    """A POST whose chunked body has nothing but these lines of trailers."""
    return chunked(b"0\r\n" + b"".join([line + b"\r\n" for line in lines]) + b"\r\n")


#: Fields that act on a message as a whole, each with a value.
FORBIDDEN = (
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Host: b",
    b"Connection: close",
    b"Authorization: x",
    b"Cookie: a=b",
    b"Set-Cookie: a=b",
    b"Content-Encoding: gzip",
    b"Content-Range: bytes 0-1/2",
    b"Expect: 100-continue",
    b"Max-Forwards: 1",
    b"TE: trailers",
    b"Upgrade: x",
    b"X-Forwarded-For: 192.0.2.1",
    b"Cache-Control: no-store",
    b"Range: bytes=0-1",
    b"If-Match: *",
    b"WWW-Authenticate: x",
    b"Proxy-Authorization: x",
    b"Trailer: a",
)
TRAILERS = [
    *accepted(
        "trailers",
        ("one", trailers(b"X: y"), posted(trailers=((b"X", b"y"),))),
        ("several", trailers(b"X: y", b"x:z"), posted(trailers=((b"X", b"y"), (b"x", b"z")))),
        (
            "unfolded",
            trailers(b"X: y", b" z"),
            posted(trailers=((b"X", b"y z"),)),
            {"fold": "unfold"},
        ),
        ("128", trailers(*[b"X: y"] * 128), posted(trailers=((b"X", b"y"),) * 128)),
    ),
    *accepted(
        "forbidden-trailers",
        *[
            (
                field.partition(b":")[0].decode().lower(),
                trailers(field, b"X: y"),
                posted(trailers=((b"X", b"y"),)),
            )
            for field in FORBIDDEN
        ],
        (
            "not-merged-into-the-head",
            trailers(b"X: y") + get(),
            (
                Seen(
                    b"POST",
                    fields=((b"Host", b"a"), (b"Transfer-Encoding", b"chunked")),
                    trailers=((b"X", b"y"),),
                ),
                GET,
            ),
        ),
    ),
    *broken(
        "trailers",
        400,
        ("no-colon", "HeaderNoColonError", trailers(b"X")),
        ("space-before-the-colon", "HeaderSpaceError", trailers(b"X : y")),
        ("no-token", NAME, trailers(b"X(: y")),
        ("folded", "ObsoleteFoldError", trailers(b"X: y", b" z")),
        ("white-space-first", "TopLineSpaceError", trailers(b" X: y")),
        ("bare-lf", LF, trailers(b"X: y\nZ: z")),
        ("bare-cr", CR, trailers(b"X: y\rz")),
        ("nul", VALUE, trailers(b"X: y\0")),
        ("forbidden-and-bad", "HeaderSpaceError", trailers(b"Content-Length : 5")),
    ),
    *broken(
        "trailers",
        431,
        ("too-many", MANY, trailers(*[b"X: y"] * 129)),
        ("too-large", BIG, trailers(b"X: " + b"y" * 32766)),
        ("endless", BIG, chunked(b"0\r\n" + (b"X: " + b"y" * 1000 + b"\r\n") * 66)),
    ),
]

CASES = [*CHUNKS, *EXTENSIONS, *TRAILERS]
