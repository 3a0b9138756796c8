"""Connections: how long they persist, in which order and how they end, and what becomes of them.

Owns: the table. It is data: what a row means says `shapes.ServerCase`.
"""

from __future__ import annotations

from server_rows import (
    GET,
    LF,
    LINE,
    LOST,
    SENDS,
    TARGET,
    UNKNOWN,
    VERSION,
    case,
    get,
    line,
    ok,
    post,
)
from shapes import (
    CLOSED,
    DEAF,
    DRAIN,
    FIN,
    GO,
    GONE,
    RESET,
    RST,
    WAITS,
    Mark,
    Seen,
    Step,
    Wait,
    head,
)


def old(*fields: bytes) -> bytes:
    """A request of HTTP/1.0."""
    return head(b"GET / HTTP/1.0", b"Host: a", *fields)


PERSISTENCE = [
    case("persistence", "1.1", get(), ok(b"")),
    case("persistence", "1.2", line(b"GET / HTTP/1.2"), ok(b"")),
    case("persistence", "close", get(b"Connection: close"), ok(b"close"), CLOSED),
    case("persistence", "close-in-any-case", get(b"connection: Close"), ok(b"close"), CLOSED),
    case("persistence", "close-in-a-list", get(b"Connection: x, close"), ok(b"close"), CLOSED),
    case(
        "persistence",
        "close-in-a-second-field",
        get(b"Connection: x", b"Connection: close"),
        ok(b"close"),
        CLOSED,
    ),
    case(
        "persistence",
        "close-wins-over-keep-alive",
        get(b"Connection: keep-alive, close"),
        ok(b"close"),
        CLOSED,
    ),
    case("persistence", "closed-is-not-close", get(b"Connection: closed"), ok(b"")),
    case("persistence", "1.0", old(), ok(b"close"), CLOSED),
    case("persistence", "1.0-keep-alive", old(b"Connection: Keep-Alive"), ok(b"keep-alive")),
    case(
        "persistence",
        "1.0-keep-alive-and-close",
        old(b"Connection: keep-alive, close"),
        ok(b"close"),
        CLOSED,
    ),
    case(
        "persistence",
        "1.0-keep-alive-for-a-proxy",
        old(b"Proxy-Connection: keep-alive"),
        ok(b"close"),
        CLOSED,
    ),
    case(
        "persistence",
        "1.0-keep-alive-without-a-length",
        old(b"Connection: keep-alive"),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
        CLOSED,
        program="no length",
    ),
    case("persistence", "the-program-closes", get(), (200,), CLOSED, program="close"),
    case("close", "a-request-after-close", get(b"Connection: close") + get(), (200,), CLOSED),
    case("close", "a-request-after-1.0", old() + get(), (200,), CLOSED),
    case("close", "garbage-after-close", get(b"Connection: close") + b"\0\n", (200,), CLOSED),
]

NEXT = Seen(target=b"/next")
BAD = b"GET / HTTP/1.1\nHost: a\n\n"
PIPELINING = [
    case(
        "pipelining",
        "in-order",
        b"".join(line(b"GET /%d HTTP/1.1" % n) for n in range(9)),
        (200,) * 9,
        seen=tuple(Seen(target=b"/%d" % n) for n in range(9)),
    ),
    case(
        "pipelining",
        "held-up",
        (get() + line(b"GET /next HTTP/1.1"), Wait(100), GO, GO),
        (200, 200),
        seen=(GET, NEXT),
        program="hold",
    ),
    case(
        "pipelining",
        "beyond-the-bound",
        (get(b"A: " + b"a" * 1000) * 300, Wait(1), *[GO] * 300),
        (200,) * 300,
        seen=(GET,) * 300,
        program="hold",
    ),
    *[
        case(
            "bad-behind-good",
            name,
            get() + line(b"GET /next HTTP/1.1") + data,
            (200, 200, status),
            CLOSED,
            (GET, NEXT),
            error=error,
        )
        for name, data, status, error in [
            ("bare-lf", BAD, 400, LF),
            ("request-line", line(b"GET  / HTTP/1.1"), 400, LINE),
            ("target", line(b"GET x HTTP/1.1"), 400, TARGET),
            ("version", line(b"GET / HTTP/2.0"), 505, VERSION),
            ("coding", post(b"Transfer-Encoding: gzip, chunked"), 501, UNKNOWN),
            ("expectation", get(b"Expect: x"), 417, "ExpectationError"),
        ]
    ],
    case(
        "bad-behind-good",
        "waits-for-the-answers-before",
        (get() + BAD, Wait(100), GO),
        (200, 400),
        CLOSED,
        error=LF,
        program="hold",
    ),
    case(
        "bad-behind-good",
        "half-a-head-and-its-time",
        (get() + b"GET", Wait(31)),
        (200, 408),
        CLOSED,
        error="RequestTimeoutError",
    ),
    case(
        "bad-behind-good",
        "what-follows-is-never-read",
        BAD + get(),
        (400,),
        CLOSED,
        (),
        error=LF,
    ),
    case(
        "bad-behind-good",
        "a-client-that-goes-on-sending",
        (BAD, b"x" * 10_000, b"y" * 10_000),
        (400,),
        CLOSED,
        (),
        error=LF,
    ),
]

THREE = get() + line(b"GET /next HTTP/1.1") + get()
HALF_CLOSE = [
    case("half-close", "one", (get(), FIN), (200,), CLOSED),
    case(
        "half-close",
        "one-that-takes-its-time",
        (get(), FIN, Wait(50), GO),
        (200,),
        CLOSED,
        program="hold",
    ),
    case(
        "half-close",
        "one-whose-answer-has-begun",
        (get(), FIN, Wait(50), GO),
        ok(b""),
        CLOSED,
        program="half",
    ),
    case("half-close", "several", (THREE, FIN), (200, 200, 200), CLOSED, (GET, NEXT, GET)),
    case(
        "half-close",
        "several-that-take-their-time",
        (THREE, FIN, GO, GO, GO),
        (200, 200, 200),
        CLOSED,
        (GET, NEXT, GET),
        program="hold",
    ),
    case(
        "half-close",
        "and-half-of-another",
        (get() + b"GET", FIN),
        (200, 400),
        CLOSED,
        error="IncompleteMessageError",
    ),
    case("half-close", "and-empty-lines", (get() + b"\r\n", FIN), (200,), CLOSED),
    case(
        "half-close",
        "nothing-can-be-sent",
        (get(), FIN, Wait(61)),
        (),
        RESET,
        error=LOST,
        program="hold",
    ),
    case(
        "half-close",
        "a-shorter-time",
        (get(), FIN, Wait(6)),
        (),
        RESET,
        error=LOST,
        program="hold",
        settings={"half_close_timeout": 5},
    ),
    case(
        "half-close",
        "no-limit",
        (get(), FIN, Wait(10_000), GO),
        (200,),
        CLOSED,
        program="hold",
        settings={"half_close_timeout": None},
    ),
    case(
        "half-close",
        "in-a-graceful-shutdown",
        (get(), FIN, DRAIN),
        (),
        RESET,
        error=LOST,
        program="hold",
    ),
    case(
        "half-close",
        "behind-the-beginning-of-a-graceful-shutdown",
        (get(), DRAIN, FIN),
        (),
        RESET,
        error=LOST,
        program="hold",
    ),
    case(
        "half-close",
        "taken-for-the-end",
        (get(), FIN),
        (),
        RESET,
        error=LOST,
        program="hold",
        settings={"abort_on_half_close": True},
    ),
    case("half-close", "reset-is-told-at-once", (get(), RST), (), GONE, error=LOST, program="hold"),
    case("half-close", "reset-of-an-idle-connection", (get(), RST), (200,), GONE, program="answer"),
]

TIME = [
    case("program-time", "no-limit", (get(), Wait(10_000), GO), (200,), program="hold"),
    case(
        "program-time",
        "too-long",
        (get(), Wait(6)),
        (504,),
        CLOSED,
        error="ExchangeTimeoutError",
        program="hold",
        settings={"response_timeout": 5},
    ),
    case(
        "program-time",
        "an-answer-that-has-begun",
        (get(), Wait(1000), GO),
        ok(b""),
        program="half",
        settings={"response_timeout": 5},
    ),
    case(
        "program-time",
        "too-long-for-a-head",
        (head(b"HEAD / HTTP/1.1", b"Host: a"), Wait(6)),
        (504,),
        CLOSED,
        (Seen(b"HEAD"),),
        error="ExchangeTimeoutError",
        program="hold",
        settings={"response_timeout": 5},
    ),
    case(
        "program-time",
        "a-pause-counts-against-nobody",
        (post(b"Content-Length: 5", body=b"he"), Wait(10_000), GO, b"llo"),
        (200,),
        seen=(SENDS,),
        program="pause",
    ),
    case(
        "program-time",
        "after-a-pause-the-time-is-anew",
        (post(b"Content-Length: 5", body=b"he"), Wait(1000), GO, Wait(50), b"llo"),
        (200,),
        seen=(SENDS,),
        program="pause",
        settings={"min_body_rate": 0},
    ),
    case(
        "program-time",
        "no-rate-in-a-pause",
        (post(b"Content-Length: 5"), Wait(1000), GO, Wait(1), b"hello"),
        (200,),
        seen=(SENDS,),
        program="pause",
        settings={"min_body_rate": 500},
    ),
    case(
        "send-time",
        "a-client-that-reads-nothing",
        (DEAF, get(), Wait(150)),
        (),
        GONE,
        error="SendTimeoutError",
        program="large",
    ),
    case(
        "send-time",
        "a-shorter-time",
        (DEAF, get(), Wait(25)),
        (),
        GONE,
        error="SendTimeoutError",
        program="large",
        settings={"send_timeout": 10},
    ),
    case("send-time", "not-yet", (DEAF, get(), Wait(50)), b"", WAITS, program="large"),
]

LINGERING = [
    case("lingering", "of-a-refusal", (BAD, b"more"), (400,), CLOSED, (), error=LF),
    case("lingering", "of-an-answer", (get(), b"more"), (200,), CLOSED, program="close"),
    case("lingering", "for-a-while", (BAD, Wait(3)), (400,), GONE, (), error=LF),
    case(
        "lingering", "for-some-bytes", (BAD, b"x" * 70_000), (400,), CLOSED, (), error=LF, cut=False
    ),
    case("lingering", "until-the-client-closes", (BAD, FIN), (400,), GONE, (), error=LF),
    case(
        "lingering",
        "not-at-all",
        BAD,
        (400,),
        GONE,
        (),
        error=LF,
        settings={"linger_timeout": None},
    ),
]

#: The fatal alert "unexpected message", in a record of its own.
ALERT = b"\x15\x03\x03\x00\x02\x02\x0a"
HELLO = b"\x16\x03\x01\x00\x50\x01\x00"
TLS_ROWS: list[tuple[str, bytes | Mark | tuple[Step, ...], bytes, str]] = [
    ("record-out-of-order", b"\x17\x03\x03\x00\x05hello", ALERT, "SSLError"),
    ("no-client-hello", b"\x16\x03\x01\x00\x05hello", ALERT, "SSLError"),
    ("plain-http", get(), b"", "SSLError"),
    ("garbage", b"\0" * 50, b"", "SSLError"),
    ("half-a-client-hello", (HELLO, FIN), b"", "SSLEOFError"),
    ("nothing", FIN, b"", "SSLEOFError"),
    ("too-late", (HELLO, Wait(61)), b"", "TimeoutError"),
]
TLS = [
    case("tls", name, sends, gets, CLOSED, (), error=error, settings={"tls": True}, cut=False)
    for name, sends, gets, error in TLS_ROWS
]

DRAINING = [
    case("graceful", "in-flight", (get(), DRAIN, GO), ok(b"close"), CLOSED, program="hold"),
    case(
        "graceful",
        "whose-answer-has-begun",
        (get(), DRAIN, GO, get(), GO),
        (200, 200),
        CLOSED,
        (GET, GET),
        program="half",
    ),
    case(
        "graceful",
        "whose-answer-has-begun-and-who-is-silent",
        (get(), DRAIN, GO, Wait(5)),
        ok(b""),
        CLOSED,
        program="half",
    ),
    case("graceful", "idle", (get(), DRAIN, get()), ok(b"") + ok(b"close"), CLOSED, (GET,) * 2),
    case("graceful", "idle-and-silent", (get(), DRAIN, Wait(5)), (200,), CLOSED),
    case("graceful", "half-a-head", (get()[:9], DRAIN, get()[9:]), ok(b"close"), CLOSED),
    case("graceful", "new", (DRAIN, get()), ok(b"close"), CLOSED),
    case("graceful", "new-and-silent", (DRAIN, Wait(5)), (), CLOSED, ()),
    case(
        "graceful",
        "no-time-for-idle-ones",
        (get(), DRAIN),
        (200,),
        CLOSED,
        settings={"drain_idle_timeout": None},
    ),
    case(
        "graceful",
        "a-body-that-is-coming",
        (post(b"Content-Length: 5"), DRAIN, b"hello"),
        ok(b"close"),
        CLOSED,
        (SENDS,),
    ),
]

CASES = [
    *PERSISTENCE,
    *PIPELINING,
    *HALF_CLOSE,
    *TIME,
    *LINGERING,
    *TLS,
    *DRAINING,
]
