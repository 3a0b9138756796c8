"""Heads that a client may send, and what a server does about them.

Owns: the table. It is data: what a row means says `shapes.ServerCase`.
"""

from __future__ import annotations

from server_rows import (
    BIG,
    CR,
    GET,
    LF,
    LINE,
    MANY,
    NAME,
    SLOW,
    VALUE,
    accepted,
    fields,
    get,
    host,
    line,
    refused,
)
from shapes import CLOSED, FIN, OPEN, WAITS, Seen, ServerCase, Wait, head

LINE_ENDS = [
    *refused(
        "line-ends",
        400,
        ("lf-everywhere", LF, b"GET / HTTP/1.1\nHost: a\n\n"),
        ("lf-after-the-request-line", LF, b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
        ("lf-after-a-field", LF, b"GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n"),
        ("lf-as-the-empty-line", LF, b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
        ("lf-before-the-empty-line", LF, b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
        ("lf-first", LF, b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("lf-in-the-target", LF, b"GET /\n/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("cr-as-line-end", CR, b"GET / HTTP/1.1\rHost: a\r\r"),
        ("cr-in-the-method", CR, line(b"G\rET / HTTP/1.1")),
        ("cr-in-the-target", CR, line(b"GET /\r/ HTTP/1.1")),
        ("cr-in-a-name", CR, get(b"B\rC: d")),
        ("cr-in-a-value", CR, get(b"B: c\rd")),
        ("cr-first", CR, b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("cr-cr-lf-after-the-request-line", CR, b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        ("cr-cr-lf-after-a-field", CR, get(b"B: c\r")),
        ("cr-cr-lf-as-the-empty-line", CR, b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n"),
        ("cr-x-as-the-empty-line", CR, b"GET / HTTP/1.1\r\nHost: a\r\n\rX"),
        ("nul-first", LINE, b"\0GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("nul-in-the-method", LINE, line(b"G\0T / HTTP/1.1")),
        ("nul-in-the-target", LINE, line(b"GET /\0 HTTP/1.1")),
        ("nul-in-the-version", LINE, line(b"GET / HTTP/1.1\0")),
        ("nul-in-a-name", NAME, get(b"B\0: c")),
        ("nul-in-a-value", VALUE, get(b"B: c\0d")),
        ("nul-in-host", VALUE, host(b"a\0b")),
        *[
            (f"octet-{octet:02x}-in-a-value", VALUE, get(b"B: c%cd" % octet))
            for octet in (0x01, 0x08, 0x0B, 0x0C, 0x0E, 0x1B, 0x1F, 0x7F)
        ],
        ("octet-01-in-a-name", NAME, get(b"B\x01: c")),
        ("octet-7f-in-the-target", LINE, line(b"GET /\x7f HTTP/1.1")),
    ),
    *accepted(
        "line-ends",
        ("htab-in-a-value", get(b"B: c\td"), Seen(fields=fields(b"B", b"c\td"))),
        ("white-space-around-a-value", get(b"B:\t c \t"), Seen(fields=fields(b"B", b"c"))),
        ("no-white-space-before-a-value", get(b"B:c"), Seen(fields=fields(b"B", b"c"))),
        ("an-empty-value", get(b"B:"), Seen(fields=fields(b"B", b""))),
    ),
]

EMPTY_LINES = [
    *accepted(
        "empty-lines",
        ("one", b"\r\n" + get(), GET),
        ("four", b"\r\n" * 4 + get(), GET),
        ("four-before-each", (b"\r\n" * 4 + get()) * 2, (GET, GET)),
        (
            "after-a-body",
            head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 1") + b"x\r\n" + get(),
            (Seen(b"POST", body=b"x"), GET),
        ),
        ("a-limit-of-none", get(), GET, {"max_empty_lines": 0}),
    ),
    *refused(
        "empty-lines",
        400,
        ("five", LINE, b"\r\n" * 5 + get()),
        ("over-a-limit-of-none", LINE, b"\r\n" + get(), {"max_empty_lines": 0}),
        ("with-a-space", LINE, b" \r\n" + get()),
    ),
]

FIRST_SPACE = refused(
    "first-space",
    400,
    ("space", "TopLineSpaceError", head(b"GET / HTTP/1.1", b" Host: a")),
    ("htab", "TopLineSpaceError", head(b"GET / HTTP/1.1", b"\tHost: a")),
    ("empty-line-with-a-space", "TopLineSpaceError", head(b"GET / HTTP/1.1", b" ", b"Host: a")),
    ("unfolding", "TopLineSpaceError", head(b"GET / HTTP/1.1", b" Host: a"), {"fold": "unfold"}),
)

NAMES = [
    *refused(
        "names",
        400,
        ("space-before-the-colon", "HeaderSpaceError", get(b"B : c")),
        ("htab-before-the-colon", "HeaderSpaceError", get(b"B\t: c")),
        ("space-in-content-length", "HeaderSpaceError", get(b"Content-Length : 0")),
        ("space-in-transfer-encoding", "HeaderSpaceError", get(b"Transfer-Encoding : chunked")),
        ("space-in-host", "HeaderSpaceError", head(b"GET / HTTP/1.1", b"Host : a")),
        ("no-colon", "HeaderNoColonError", get(b"B")),
        ("empty", NAME, get(b": c")),
        ("colon-alone", NAME, get(b":")),
        ("space-inside", NAME, get(b"B C: d")),
        ("obs-text", NAME, get(b"B\xe9: c")),
        ("byte-order-mark", NAME, get(b"\xef\xbb\xbfB: c")),
        *[(f"octet-{octet:02x}", NAME, get(b"B%c: c" % octet)) for octet in b'"(),/;<=>?@[\\]{}'],
        ("second-request-line", "HeaderNoColonError", get(b"GET / HTTP/1.1", b"Host: b: c")),
    ),
    *accepted(
        "names",
        (
            "every-token-octet",
            get(b"!#$%&'*+-.^_`|~9z: c"),
            Seen(fields=fields(b"!#$%&'*+-.^_`|~9z", b"c")),
        ),
        (
            "case-order-and-repetition",
            get(b"B: 1", b"b: 2", b"B: 3"),
            Seen(fields=fields(b"B", b"1", b"b", b"2", b"B", b"3")),
        ),
        ("colon-in-a-value", get(b"B: c: d"), Seen(fields=fields(b"B", b"c: d"))),
    ),
]

UNFOLD = {"fold": "unfold"}
FOLD = "ObsoleteFoldError"
FOLDS = [
    *refused(
        "folds",
        400,
        ("space", FOLD, get(b"B: c", b" d")),
        ("htab", FOLD, get(b"B: c", b"\td")),
        ("of-host", FOLD, head(b"GET / HTTP/1.1", b"Host: a", b" b")),
        ("white-space-only", FOLD, get(b"B: c", b" ")),
        ("before-an-empty-line", FOLD, get(b"B: c", b" ", b" ")),
        ("unfolding-content-length", FOLD, get(b"Content-Length: 1", b" 2"), UNFOLD),
        ("unfolding-transfer-encoding", FOLD, get(b"Transfer-Encoding:", b" chunked"), UNFOLD),
        ("unfolding-host", FOLD, head(b"GET / HTTP/1.1", b"Host: a", b" b"), UNFOLD),
        ("unfolding-a-control", VALUE, get(b"B: c", b" \0d"), UNFOLD),
    ),
    *accepted(
        "folds",
        ("unfolded", get(b"B: c", b" d"), Seen(fields=fields(b"B", b"c d")), UNFOLD),
        ("unfolded-htab", get(b"B: c \t", b"\t d"), Seen(fields=fields(b"B", b"c d")), UNFOLD),
        (
            "unfolded-twice",
            get(b"B: c", b" d", b"\te"),
            Seen(fields=fields(b"B", b"c d e")),
            UNFOLD,
        ),
        ("unfolded-colon", get(b"B: c", b" D: e"), Seen(fields=fields(b"B", b"c D: e")), UNFOLD),
    ),
]

OBS_TEXT = accepted(
    "obs-text",
    (
        "every-octet",
        get(b"B: " + bytes(range(0x80, 0x100))),
        Seen(fields=fields(b"B", bytes(range(0x80, 0x100)))),
    ),
    (
        "no-break-space-is-not-stripped",
        get(b"B: \xa0c\x85"),
        Seen(fields=fields(b"B", b"\xa0c\x85")),
    ),
)

#: A field, with its name and CRLF, of so many bytes.
FILL = b"F: " + b"f" * 1021


def filled(size: int) -> bytes:
    """A head of so many bytes."""
    rest = size - len(get(*[FILL] * 60, b"G: "))
    return get(*[FILL] * 60, b"G: " + b"g" * rest)


LIMITS = [
    *accepted(
        "limits",
        ("head-at-the-limit", filled(65536), GET),
        ("field-at-the-limit", get(b"B: " + b"c" * 32765), GET),
        ("128-fields", get(*[b"B: c"] * 127), GET),
        ("larger-limits", get(*[b"B: c"] * 128), GET, {"max_head_fields": 129}),
    ),
    *refused(
        "limits",
        431,
        ("head-over-the-limit", BIG, filled(65537)),
        ("field-over-the-limit", BIG, get(b"B: " + b"c" * 32766)),
        ("129-fields", MANY, get(*[b"B: c"] * 128)),
        ("100000-fields", MANY, get(*[b"B: c"] * 100_000), {"linger_bytes": 1 << 20}),
        ("endless-name", BIG, b"GET / HTTP/1.1\r\n" + b"n" * 32769),
        ("endless-value", BIG, b"GET / HTTP/1.1\r\nB: " + b"v" * 32769),
        ("endless-head", BIG, b"GET / HTTP/1.1\r\n" + (FILL + b"\r\n") * 65),
        ("smaller-head", BIG, get(b"B: c"), {"max_head_bytes": 32}),
        ("smaller-field", BIG, get(b"B: cd"), {"max_field_bytes": 7 - 2}),
        ("fewer-fields", MANY, get(b"B: c"), {"max_head_fields": 1}),
        ("folded-field-over-the-limit", BIG, get(b"B: c", *[b" " + b"d" * 1000] * 33), UNFOLD),
    ),
]

TIME = [
    *refused(
        "head-time",
        408,
        ("part-of-a-head", SLOW, (b"GET / HTTP/1.1\r\nHo", Wait(31))),
        ("one-byte", SLOW, (b"G", Wait(31))),
        (
            "a-byte-now-and-then",
            SLOW,
            tuple(step for octet in b"GET / H" for step in (bytes([octet]), Wait(5))),
        ),
        ("a-shorter-time", SLOW, (b"G", Wait(3)), {"head_timeout": 2}),
    ),
    ServerCase(id="nothing", rule="head-time", sends=(Wait(31),), then=CLOSED),
    ServerCase(id="empty-lines-only", rule="head-time", sends=(b"\r\n\r\n", Wait(31)), then=CLOSED),
    ServerCase(id="not-yet", rule="head-time", sends=(b"G", Wait(29)), then=WAITS),
    ServerCase(
        id="no-limit",
        rule="head-time",
        sends=(b"G", Wait(10_000)),
        then=WAITS,
        settings={"head_timeout": None},
    ),
    ServerCase(
        id="idle-between-requests",
        rule="head-time",
        sends=(get(), Wait(61)),
        gets=(200,),
        then=CLOSED,
        seen=(GET,),
    ),
    ServerCase(
        id="end-of-a-head",
        rule="head-time",
        sends=(b"GET / HTTP/1.1\r\nHost: a\r\n", FIN),
        gets=(400,),
        then=CLOSED,
        error="IncompleteMessageError",
    ),
    ServerCase(id="end-before-a-head", rule="head-time", sends=(FIN,), then=CLOSED),
    ServerCase(
        id="in-time",
        rule="head-time",
        sends=(get()[:20], Wait(29), get()[20:]),
        gets=(200,),
        then=OPEN,
        seen=(GET,),
    ),
]

EXPECT = [
    *refused(
        "expect",
        417,
        ("other", "ExpectationError", get(b"Expect: the-unexpected")),
        ("other-in-a-list", "ExpectationError", get(b"Expect: 100-continue, x")),
        ("with-a-parameter", "ExpectationError", get(b"Expect: 100-continue;a=b")),
        ("in-1.0", "ExpectationError", head(b"GET / HTTP/1.0", b"Expect: x")),
        ("in-a-second-field", "ExpectationError", get(b"Expect: 100-continue", b"Expect: x")),
    ),
    *accepted(
        "expect", ("empty", get(b"Expect:"), GET), ("empty-elements", get(b"Expect: ,"), GET)
    ),
]

CASES = [
    *LINE_ENDS,
    *EMPTY_LINES,
    *FIRST_SPACE,
    *NAMES,
    *FOLDS,
    *OBS_TEXT,
    *LIMITS,
    *TIME,
    *EXPECT,
]
