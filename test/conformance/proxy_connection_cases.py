"""Two connections in a row: what comes unasked, who goes away, who waits, who switches.

Owns: the table. It is data: what a row means says `shapes.ProxyCase`.
"""

from __future__ import annotations

from proxy_rows import (
    ADDED,
    CHUNKED,
    HINT,
    LENGTH,
    PASSED_HINT,
    SWITCHED,
    TERMINATED,
    VIA,
    answered,
    answers,
    asks,
    ends,
    gets,
    got,
    passed,
    refusal,
    response,
    sends,
    talk,
)
from shapes import CLOSED, FIN, OPEN, RESET, RST, Wait, head

UNASKED = [
    talk(
        "crossing-unasked",
        name,
        sends("client", asks()),
        gets("a", got()),
        sends("a", *come),
        gets("client", passed()),
        ends("a"),
        sends("client", asks(target=b"/next")),
        gets("a2", got(target=b"/next")),
        sends("a2", answers(body=b"world")),
        gets("client", passed(body=b"world")),
        ends("client", OPEN),
    )
    for name, come in [
        ("second-response", (answers() + answers(body=b"eviiil"),)),
        ("second-response-later", (answers(), answers(body=b"eviil"))),
        ("after-chunks", (answers(length=b"Content-Length: 5") + b"x",)),
        ("close", (answers(b"Connection: close"),)),
        ("1.0", (answers(), FIN)),
    ]
] + [
    talk(
        "crossing-unasked",
        "body-of-a-head",
        sends("client", asks(method=b"HEAD")),
        gets("a", got(method=b"HEAD")),
        sends("a", answers()),
        gets("client", passed(body=b"")),
        ends("a"),
        sends("client", asks()),
        gets("a2", got()),
        sends("a2", answers()),
        gets("client", passed()),
        ends("client", OPEN),
    ),
    talk(
        "crossing-unasked",
        "pipelined-by-the-client",
        sends("client", asks(target=b"/1") + asks(target=b"/2")),
        gets("a", got(target=b"/1")),
        sends("a", answers() + answers(body=b"eviil")),
        gets("client", passed()),
        gets("a2", got(target=b"/2")),
        sends("a2", answers(body=b"world")),
        gets("client", passed(body=b"world")),
        ends("client", OPEN),
        cut=False,  # what comes after the next request was sent would be its answer
    ),
]

GONE_CLIENT = [
    talk(
        "client-goes",
        "an-early-answer-ends-the-upload",
        sends("client", asks(LENGTH, method=b"POST", body=b"hel")),
        gets("a", got(LENGTH, method=b"POST", body=b"hel")),
        sends("a", answers()),
        gets("client", passed()),
        ends("a"),
        sends("client", b"lo"),
        ends("client", OPEN),
    ),
    talk(
        "client-goes",
        "an-early-answer-that-closes",
        sends("client", asks(CHUNKED, method=b"POST", body=b"5\r\nhello\r\n")),
        gets("a", got(method=b"POST", last=(CHUNKED,), body=b"5\r\nhello\r\n")),
        sends("a", answers(b"Connection: close"), FIN),
        gets("client", passed(last=(b"Connection: close",))),
        ends("a"),
        sends("client", b"0\r\n\r\n"),
        ends("client"),
    ),
    talk(
        "client-goes",
        "reset",
        sends("client", asks()),
        gets("a", got()),
        sends("client", RST),
        ends("a"),
    ),
    talk(
        "client-goes",
        "reset-in-the-response",
        sends("client", asks()),
        gets("a", got()),
        sends("a", answers(body=b"hel")),
        gets("client", passed(body=b"hel")),
        sends("client", RST),
        ends("a"),
    ),
    talk(
        "client-goes",
        "reset-in-the-request",
        sends("client", asks(LENGTH, method=b"POST", body=b"hel")),
        gets("a", got(LENGTH, method=b"POST", body=b"hel")),
        sends("client", RST),
        ends("a"),
    ),
    talk(
        "client-goes",
        "fin",
        sends("client", asks(), FIN),
        gets("a", got()),
        sends("a", answers()),
        gets("client", passed(last=(b"Connection: close",))),
        ends("client", CLOSED),
    ),
    talk(
        "client-goes",
        "fin-in-the-request",
        sends("client", asks(LENGTH, method=b"POST", body=b"hel")),
        gets("a", got(LENGTH, method=b"POST", body=b"hel")),
        sends("client", FIN),
        gets("client", refusal(400, "Bad Request")),
        ends("client", CLOSED),
        ends("a"),
    ),
    talk(
        "client-goes",
        "bad-chunk-in-the-request",
        sends("client", asks(CHUNKED, method=b"POST", body=b"5\r\nhello\r\n")),
        gets("a", got(method=b"POST", last=(CHUNKED,), body=b"5\r\nhello\r\n")),
        sends("client", b"zz\r\n"),
        gets("client", refusal(400, "Bad Request")),
        ends("client", CLOSED),
        ends("a"),
    ),
    talk(
        "client-goes",
        "a-bad-request-behind-good-ones",
        sends("client", asks() + b"GET / HTTP/1.1\nHost: site\n\n" + asks(target=b"/evil")),
        gets("a", got()),
        sends("a", answers()),
        gets("client", passed() + refusal(400, "Bad Request")),
        ends("client", CLOSED),
    ),
]

EXPECT = b"Expect: 100-continue"
EXPECTS = (EXPECT, LENGTH)
GO_ON = head(b"HTTP/1.1 100 Continue")
NONFINAL = [
    response("crossing-nonfinal", "in-order", HINT + HINT + answers(), PASSED_HINT * 2 + passed()),
    response(
        "crossing-nonfinal",
        "to-1.0",
        HINT + answers(),
        passed(last=(b"Connection: close",)),
        asked=asks(version=b"1.0"),
        goes_up=got(added=(*ADDED[:3], b"Via: 1.0 fred")),
        then=CLOSED,
    ),
    response("crossing-nonfinal", "then-nothing", (HINT, RST), PASSED_HINT + TERMINATED),
    talk(
        "crossing-expect",
        "the-origin-wants-it",
        sends("client", asks(*EXPECTS, method=b"PUT")),
        gets("a", got(LENGTH, EXPECT, method=b"PUT")),
        sends("a", GO_ON),
        gets("client", head(b"HTTP/1.1 100 Continue", VIA)),
        sends("client", b"hello"),
        gets("a", b"hello"),
        sends("a", answers()),
        gets("client", passed()),
        ends("client", OPEN),
    ),
    talk(
        "crossing-expect",
        "the-origin-does-not-want-it",
        sends("client", asks(*EXPECTS, method=b"PUT")),
        gets("a", got(LENGTH, EXPECT, method=b"PUT")),
        sends("a", answers(line=b"HTTP/1.1 403 x")),
        gets("client", passed(line=b"HTTP/1.1 403 x", last=(b"Connection: close",))),
        ends("client", CLOSED),
        ends("a"),
    ),
    talk(
        "crossing-expect",
        "the-origin-says-nothing",
        sends("client", asks(*EXPECTS, method=b"PUT")),
        gets("a", got(LENGTH, EXPECT, method=b"PUT")),
        sends("client", Wait(2)),
        gets("client", GO_ON),
        sends("client", b"hello"),
        gets("a", b"hello"),
        sends("a", answers()),
        gets("client", passed()),
        ends("client", OPEN),
    ),
    *[
        talk(
            "crossing-expect",
            name,
            sends("client", asks(*fields, LENGTH, method=b"PUT")),
            gets("a", got(LENGTH, EXPECT, method=b"PUT")),
            sends("a", answers(line=b"HTTP/1.1 403 x")),
            gets("client", passed(line=b"HTTP/1.1 403 x", last=(b"Connection: close",))),
            ends("client", CLOSED),
            ends("a"),
        )
        for name, fields in (
            ("in-another-letter-case", (b"EXPECT: 100-Continue",)),
            ("behind-an-empty-one", (b"Expect:", EXPECT)),
            ("twice", (EXPECT, EXPECT)),
        )
    ],
    answered(
        "crossing-expect",
        "another-expectation",
        asks(b"Expect: x"),
        refusal(417, "Expectation Failed"),
    ),
]

WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: k")
GOES = (b"Upgrade: websocket", b"Connection: upgrade")
SWITCH = head(
    b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade", b"A: b"
)
PASSED_SWITCH = head(
    b"HTTP/1.1 101 Switching Protocols", b"A: b", VIA, b"Connection: upgrade", b"Upgrade: websocket"
)
SWITCHES = (
    sends("client", asks(*WEBSOCKET)),
    gets("a", got(b"Sec-WebSocket-Key: k", last=GOES)),
)
UPGRADES = [
    talk(
        "crossing-upgrade",
        "tunnel",
        *SWITCHES,
        sends("a", SWITCH),
        gets("client", PASSED_SWITCH),
        sends("client", b"ping\0\r\n"),
        gets("a", b"ping\0\r\n"),
        sends("a", b"pong\0\r\n"),
        gets("client", b"pong\0\r\n"),
        sends("client", FIN),
        sends("a", b"bye"),
        gets("client", b"bye"),
        sends("a", FIN),
        ends("client", CLOSED),
        ends("a"),
    ),
    talk(
        "crossing-upgrade",
        "bytes-behind-the-switch",
        *SWITCHES,
        sends("a", SWITCH + b"first"),
        gets("client", PASSED_SWITCH + b"first"),
        sends("a", FIN),
        sends("client", FIN),
        ends("client", CLOSED),
    ),
    talk(
        "crossing-upgrade",
        "bytes-behind-the-request",
        sends("client", asks(*WEBSOCKET) + asks(target=b"/tunnelled")),
        gets("a", got(b"Sec-WebSocket-Key: k", last=GOES)),
        sends("a", SWITCH),
        gets("a", asks(target=b"/tunnelled")),
        gets("client", PASSED_SWITCH),
        sends("a", FIN),
        sends("client", FIN),
        ends("client", CLOSED),
    ),
    talk(
        "crossing-upgrade",
        "refused-by-the-origin",
        *SWITCHES,
        sends("a", answers()),
        gets("client", passed()),
        ends("client", OPEN),
    ),
    talk(
        "crossing-upgrade",
        "to-another-protocol",
        *SWITCHES,
        sends("a", SWITCH.replace(b"websocket", b"chat")),
        gets("client", SWITCHED),
        ends("client", OPEN),
        ends("a"),
    ),
    talk(
        "crossing-upgrade",
        "upstream-is-reset",
        *SWITCHES,
        sends("a", SWITCH),
        gets("client", PASSED_SWITCH),
        sends("a", RST),
        ends("client", RESET),
    ),
    talk(
        "crossing-upgrade",
        "client-is-reset",
        *SWITCHES,
        sends("a", SWITCH),
        gets("client", PASSED_SWITCH),
        sends("client", RST),
        ends("a", RESET),
    ),
    talk(
        "crossing-upgrade",
        "h2c-is-not-relayed",
        sends(
            "client",
            asks(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"),
        ),
        gets("a", got()),
        sends("a", answers()),
        gets("client", passed()),
        ends("client", OPEN),
    ),
    talk(
        "crossing-upgrade",
        "with-a-body",
        sends("client", asks(*WEBSOCKET[:2], LENGTH, method=b"POST", body=b"hello")),
        gets("a", got(LENGTH, method=b"POST", body=b"hello")),
        sends("a", answers()),
        gets("client", passed()),
        ends("client", OPEN),
    ),
    talk(
        "crossing-upgrade",
        "connection-does-not-say-so",
        sends("client", asks(b"Upgrade: websocket")),
        gets("a", got()),
        sends("a", answers()),
        gets("client", passed()),
        ends("client", OPEN),
    ),
]


CASES = [*UNASKED, *GONE_CLIENT, *NONFINAL, *UPGRADES]
