"""Connections to an origin: what comes unasked, too late, too early, or not at all.

Owns: the table. It is data: what a row means says `shapes.ClientCase`.
"""

from __future__ import annotations

from typing import Any

from client_rows import CUT, LOST, POST, UNSENT, bad, chunked, good, response, sized
from shapes import CLOSED, FIN, GO, GONE, RST, Ask, ClientCase, Wait

ONCE = {"retry_limit": 0}
UNASKED = [
    good("unasked", "second-response", sized() + sized(b"evil"), then=CLOSED),
    good("unasked", "after-chunks", chunked(b"5\r\nhello\r\n0\r\n\r\n") + b"x", then=CLOSED),
    good("unasked", "crlf", sized() + b"\r\n", then=CLOSED),
    good("unasked", "later", (sized(), sized(b"evil")), then=CLOSED, engine=False),
    good("unasked", "one-byte-later", (sized(), b"H"), then=CLOSED, engine=False),
    good(
        "unasked",
        "408-of-an-idle-connection",
        (sized(), sized(b"", line=b"HTTP/1.1 408 x")),
        then=CLOSED,
        engine=False,
    ),
    good(
        "unasked",
        "before-the-request",
        (),
        early=sized(b"evil"),
        again=(sized(),),
        attempts=2,
        settings={"retry_delay": 0},
    ),
    bad(
        "unasked",
        "before-a-request-that-is-not-repeated",
        UNSENT,
        (),
        early=sized(b"evil"),
        settings=ONCE,
    ),
]

PERSISTENCE = [
    good("response-persistence", "close", sized(b"hello", b"Connection: close"), then=CLOSED),
    good(
        "response-persistence",
        "close-in-a-list",
        sized(b"hello", b"Connection: x, Close"),
        then=CLOSED,
    ),
    good("response-persistence", "1.0", sized(line=b"HTTP/1.0 200 OK"), then=CLOSED),
    good(
        "response-persistence",
        "1.0-keep-alive",
        sized(b"hello", b"Connection: Keep-Alive", line=b"HTTP/1.0 200 OK"),
    ),
    good("response-persistence", "finished-when-idle", (sized(), FIN), then=CLOSED, engine=False),
    good(
        "response-persistence",
        "finished-while-the-program-pauses",
        (sized(), FIN, GO),
        then=CLOSED,
        pauses=True,
    ),
    good("response-persistence", "reset-when-idle", (sized(), RST), then=GONE),
    good("response-persistence", "idle-for-too-long", (sized(), Wait(61)), then=CLOSED),
    good(
        "response-persistence",
        "no-idle-connections",
        sized(),
        then=CLOSED,
        settings={"idle_timeout": None},
    ),
]

PARTS: list[tuple[str, bytes, dict[str, Any]]] = [
    ("first-byte", b"H", {}),
    ("in-the-head", response(b"A: b")[:-3], {}),
    ("before-the-body", response(b"Content-Length: 5"), {"status": 200}),
    ("in-a-length", response(b"Content-Length: 5", body=b"hell"), {"status": 200, "body": b"hell"}),
    ("in-a-chunk", chunked(b"5\r\nhel"), {"status": 200, "body": b"hel"}),
    ("before-the-last-chunk", chunked(b"5\r\nhello\r\n"), {"status": 200, "body": b"hello"}),
    ("in-the-trailers", chunked(b"0\r\nA: b\r\n"), {"status": 200}),
    ("after-the-last-chunk", chunked(b"0\r\n"), {"status": 200}),
]
TRUNCATED = [
    *[bad("truncated", f"{name}-fin", CUT, (data, FIN), **more) for name, data, more in PARTS],
    *[bad("truncated", f"{name}-rst", LOST, (data, RST), **more) for name, data, more in PARTS],
]

UPLOAD = Ask("POST", fields=(("Content-Length", "9"),), body=(b"part",), done=False)
EARLY = [
    good("early-response", "close", sized(b"hello", b"Connection: close"), then=CLOSED, ask=UPLOAD),
    good("early-response", "no-close", sized(), then=CLOSED, ask=UPLOAD),
    good(
        "early-response",
        "and-reset",
        (sized(b"hello", b"Connection: close"), RST),
        then=GONE,
        ask=UPLOAD,
    ),
    good(
        "early-response",
        "sending-fails",
        (sized(b"hello", b"Connection: close"), RST),
        then=GONE,
        ask=Ask(
            "PUT", fields=(("Content-Length", "9000000"),), body=(b"x" * 8_000_000,), done=False
        ),
    ),
]

RETRIES = [
    ClientCase(
        id="nobody-listens",
        rule="retries",
        down=True,
        attempts=0,
        error=UNSENT,
        then=GONE,
        settings=ONCE,
    ),
    good("retries", "get-without-an-answer", (FIN, Wait(1)), again=(sized(),), attempts=2),
    good("retries", "get-that-was-reset", (RST, Wait(1)), again=(sized(),), attempts=2),
    bad("retries", "post-without-an-answer", LOST, FIN, ask=POST, engine=False),
    bad("retries", "post-that-was-reset", LOST, RST, ask=POST),
    bad("retries", "not-after-a-byte", CUT, (b"H", FIN)),
    bad(
        "retries",
        "not-with-a-body-that-is-not-kept",
        LOST,
        FIN,
        ask=Ask("PUT", body=(b"hello",)),
        settings={"retry_body_limit": 4},
        engine=False,
    ),
]

TIME = [
    good(
        "response-time",
        "a-pause-counts-against-nobody",
        (sized()[:-2], Wait(1000), GO, b"lo"),
        settings={"read_timeout": 5},
        pauses=True,
    ),
    bad("response-time", "no-head", "ReadTimeoutError", Wait(6), settings={"response_timeout": 5}),
    bad(
        "response-time",
        "half-a-head",
        "ReadTimeoutError",
        (b"HTTP/1.1 2", Wait(4), b"0", Wait(2)),
        settings={"response_timeout": 5},
    ),
    bad("response-time", "no-byte", "ReadTimeoutError", Wait(6), settings={"read_timeout": 5}),
    bad(
        "response-time",
        "between-bytes",
        "ReadTimeoutError",
        (sized()[:-1], Wait(6)),
        status=200,
        body=b"hell",
        settings={"read_timeout": 5},
    ),
    bad(
        "response-time",
        "in-all",
        "ExchangeTimeoutError",
        (sized()[:-2], Wait(4), b"l", Wait(4)),
        status=200,
        body=b"hell",
        settings={"exchange_timeout": 7},
    ),
    good(
        "response-time",
        "slow-and-in-time",
        (sized()[:-2], Wait(4), b"l", Wait(4), b"o"),
        settings={"read_timeout": 5},
    ),
    good("response-time", "no-limit", (Wait(10_000), sized())),
]


CASES = [*UNASKED, *PERSISTENCE, *TRUNCATED, *EARLY, *RETRIES, *TIME]
