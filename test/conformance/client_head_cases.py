"""Heads that an origin may send, informational ones and switches too, and what a client does.

Owns: the table. It is data: what a row means says `shapes.ClientCase`.
"""

from __future__ import annotations

from client_rows import CUT, START, bad, chunked, good, response, sized
from shapes import FIN, TUNNEL, Ask

STATUS_LINE = [
    *[
        bad("status-line", name, START, response(b"Content-Length: 0", line=line))
        for name, line in [
            ("two-digits", b"HTTP/1.1 20 OK"),
            ("four-digits", b"HTTP/1.1 2000 OK"),
            ("000", b"HTTP/1.1 000 OK"),
            ("099", b"HTTP/1.1 099 OK"),
            ("letters", b"HTTP/1.1 2x0 OK"),
            ("sign", b"HTTP/1.1 +20 OK"),
            ("superscript", b"HTTP/1.1 20\xb2 OK"),
            ("no-status", b"HTTP/1.1"),
            ("empty-status", b"HTTP/1.1 "),
            ("two-spaces", b"HTTP/1.1  200 OK"),
            ("htab-as-separator", b"HTTP/1.1\t200 OK"),
            ("htab-before-the-reason", b"HTTP/1.1 200\tOK"),
            ("leading-space", b" HTTP/1.1 200 OK"),
            ("lower-case", b"http/1.1 200 OK"),
            ("no-minor", b"HTTP/1 200 OK"),
            ("two-digit-minor", b"HTTP/1.10 200 OK"),
            ("2.0", b"HTTP/2.0 200 OK"),
            ("0.9", b"HTTP/0.9 200 OK"),
            ("other-protocol", b"ICY 200 OK"),
            ("html", b"<html>"),
            ("nul-in-the-reason", b"HTTP/1.1 200 O\0K"),
            ("control-in-the-reason", b"HTTP/1.1 200 O\x01K"),
            ("del-in-the-reason", b"HTTP/1.1 200 O\x7fK"),
        ]
    ],
    bad("status-line", "empty-line-first", START, b"\r\n" + sized()),
    bad("status-line", "cr-in-the-reason", "BareCRError", sized(line=b"HTTP/1.1 200 O\rK")),
    bad("status-line", "bare-lf", "HeaderLineEndingError", b"HTTP/1.1 200 OK\nA: b\n\n"),
    *[
        good("status-line", name, sized(line=line), phrase=phrase)
        for name, line, phrase in [
            ("reason", b"HTTP/1.1 200 Very good", b"Very good"),
            ("no-reason", b"HTTP/1.1 200 ", b""),
            ("no-reason-no-space", b"HTTP/1.1 200", b""),
            ("obs-text", b"HTTP/1.1 200 \xe9", b"\xe9"),
            ("htab-in-the-reason", b"HTTP/1.1 200 a\tb", b"a\tb"),
            ("1.2", b"HTTP/1.2 200 OK", b"OK"),
        ]
    ],
    *[
        good("statuses", str(status), sized(line=b"HTTP/1.1 %d x" % status), status=status)
        for status in (299, 418, 599, 600, 999)
    ],
]

A_FIELD = [
    ("bare-lf", "HeaderLineEndingError", b"A: b\nC: d"),
    ("bare-cr", "BareCRError", b"A: b\rc"),
    ("cr-cr-lf", "BareCRError", b"A: b\r"),
    ("nul", "HeaderValueError", b"A: b\0"),
    ("control", "HeaderValueError", b"A: b\x0b"),
    ("control-in-a-name", "HeaderNameError", b"A\x01: b"),
    ("no-colon", "HeaderNoColonError", b"A"),
    ("space-before-the-colon", "HeaderSpaceError", b"A : b"),
    ("htab-before-the-colon", "HeaderSpaceError", b"Content-Length\t: 5"),
    ("empty-name", "HeaderNameError", b": b"),
    ("no-token", "HeaderNameError", b"A(: b"),
    ("obs-text-in-a-name", "HeaderNameError", b"\xe9: b"),
]
FIELDS = [
    *[bad("response-head", name, error, sized(b"hello", field)) for name, error, field in A_FIELD],
    bad("response-head", "white-space-first", "TopLineSpaceError", response(b" A: b")),
    good(
        "response-head",
        "as-they-were-sent",
        sized(b"", b"b: 1", b"B:\t2 ", b"C:", b"D: \xe9"),
        b"",
        fields=(
            (b"Content-Length", b"0"),
            (b"b", b"1"),
            (b"B", b"2"),
            (b"C", b""),
            (b"D", b"\xe9"),
        ),
    ),
    *[
        good(
            "response-folds",
            name,
            sized(b"", *lines),
            b"",
            fields=((b"Content-Length", b"0"), (b"A", value)),
        )
        for name, lines, value in [
            ("space", (b"A: b", b" c"), b"b c"),
            ("htab", (b"A: b\t", b"\t c"), b"b c"),
            ("twice", (b"A: b", b" c", b"\td"), b"b c d"),
            ("at-once", (b"A:", b" b"), b"b"),
        ]
    ],
    *[
        bad("response-folds", name, "ObsoleteFoldError", response(*lines, body=b"hello"))
        for name, lines in [
            ("content-length", (b"Content-Length: 5", b" 5")),
            ("transfer-encoding", (b"Transfer-Encoding:", b" chunked")),
        ]
    ],
    bad(
        "response-folds",
        "refused",
        "ObsoleteFoldError",
        sized(b"", b"A: b", b" c"),
        settings={"fold": "refuse"},
    ),
]

LINES = [b"A: " + b"b" * 1000] * 70
LIMITS = [
    good("response-limits", "128-fields", sized(b"hello", *[b"A: b"] * 127)),
    bad("response-limits", "129-fields", "TooManyFieldsError", sized(b"", *[b"A: b"] * 128)),
    bad("response-limits", "endless-head", "FieldSectionTooLargeError", response(*LINES)[:-2]),
    bad(
        "response-limits",
        "endless-field",
        "FieldSectionTooLargeError",
        response(b"A" * 40_000)[:-4],
    ),
    bad(
        "response-limits",
        "endless-status-line",
        "FieldSectionTooLargeError",
        b"HTTP/1.1 200 " + b"x" * 40_000,
    ),
    bad(
        "response-limits",
        "endless-trailers",
        "FieldSectionTooLargeError",
        chunked(b"0\r\n" + b"".join(line + b"\r\n" for line in LINES)),
        status=200,
    ),
    bad(
        "response-limits",
        "too-many-trailers",
        "TooManyFieldsError",
        chunked(b"0\r\n" + b"A: b\r\n" * 129),
        status=200,
    ),
    bad(
        "response-limits",
        "endless-chunk-extension",
        "ChunkExtensionError",
        chunked(b"5;" + b"a" * 5000),
        status=200,
    ),
    bad(
        "response-limits",
        "fewer-fields",
        "TooManyFieldsError",
        sized(b"", b"A: b"),
        settings={"max_head_fields": 1},
    ),
    bad(
        "response-limits",
        "smaller-head",
        "FieldSectionTooLargeError",
        sized(),
        settings={"max_head_bytes": 20},
    ),
]

HINT = response(line=b"HTTP/1.1 103 Early Hints")
GO_ON = response(line=b"HTTP/1.1 100 Continue")
SWITCH = response(
    b"Connection: upgrade", b"Upgrade: echo", line=b"HTTP/1.1 101 Switching Protocols"
)
ECHO = Ask(options=(("upgrade", "echo"),))
NONFINAL = [
    good("nonfinal", "in-order", GO_ON + HINT + HINT + sized(), nonfinal=(100, 103, 103)),
    good("nonfinal", "sixteen", HINT * 16 + sized(), nonfinal=(103,) * 16),
    good("nonfinal", "unknown", response(line=b"HTTP/1.1 199 x") + sized(), nonfinal=(199,)),
    good(
        "nonfinal",
        "a-length-means-nothing",
        response(b"Content-Length: 5", line=b"HTTP/1.1 103 x") + sized(),
        nonfinal=(103,),
    ),
    good(
        "nonfinal",
        "close-means-nothing",
        response(b"Transfer-Encoding: chunked", line=b"HTTP/1.1 103 x") + sized(),
        nonfinal=(103,),
    ),
    bad("nonfinal", "seventeen", "TooManyMsgsError", HINT * 17, nonfinal=(103,) * 16, engine=False),
    bad(
        "nonfinal",
        "without-end",
        "TooManyMsgsError",
        HINT * 999,
        nonfinal=(103,) * 16,
        engine=False,
    ),
    bad("nonfinal", "then-nothing", CUT, (HINT, FIN), nonfinal=(103,)),
    bad("switch", "not-asked-for", "UpgradeError", SWITCH),
    bad(
        "switch",
        "to-another-protocol",
        "UpgradeError",
        SWITCH.replace(b"echo", b"chat"),
        ask=ECHO,
        engine=False,
    ),
    bad(
        "switch",
        "to-no-protocol",
        "UpgradeError",
        response(line=b"HTTP/1.1 101 Switching Protocols"),
        ask=ECHO,
        engine=False,
    ),
    bad(
        "switch",
        "before-the-request-is-complete",
        "UpgradeError",
        SWITCH,
        ask=Ask("POST", body=(b"x",), options=(("upgrade", "echo"),), done=False),
        engine=False,
    ),
    good("switch", "asked-for", SWITCH + b"first", b"", TUNNEL, 101, ask=ECHO, tunnel=b"first"),
    good(
        "switch",
        "asked-for-in-another-case",
        SWITCH.replace(b"echo", b"ECHO"),
        b"",
        TUNNEL,
        101,
        ask=ECHO,
        tunnel=b"",
    ),
    good("switch", "refused", sized(), ask=ECHO),
]


CASES = [*STATUS_LINE, *FIELDS, *LIMITS, *NONFINAL]
