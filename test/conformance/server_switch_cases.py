"""Expectations, early answers, upgrades and tunnels: who goes on when, and as what.

Owns: the table. It is data: what a row means says `shapes.ServerCase`.
"""

from __future__ import annotations

from server_rows import GET, LARGE, SENDS, case, chunked, get, line, ok, post
from shapes import CLOSED, GO, RESET, TUNNEL, Seen, Wait, head

WANTS = b"Expect: 100-continue"
CONTINUE = [
    case(
        "continue",
        "asked-for",
        (post(WANTS, b"Content-Length: 5"), b"hello"),
        (100, 200),
        seen=(SENDS,),
    ),
    case(
        "continue",
        "any-case",
        (post(b"expect: 100-Continue", b"Content-Length: 5"), b"hello"),
        (100, 200),
        seen=(SENDS,),
    ),
    case(
        "continue",
        "in-chunks",
        (post(WANTS, b"Transfer-Encoding: chunked"), b"5\r\nhello\r\n0\r\n\r\n"),
        (100, 200),
        seen=(SENDS,),
    ),
    case(
        "continue",
        "the-body-is-there-already",
        post(WANTS, b"Content-Length: 5", body=b"hello"),
        (100, 200),
        seen=(SENDS,),
    ),
    case("continue", "without-a-body", get(WANTS), (200,)),
    case(
        "continue",
        "from-1.0",
        head(b"POST / HTTP/1.0", WANTS, b"Content-Length: 5") + b"hello",
        (200,),
        CLOSED,
        (SENDS,),
    ),
    case(
        "continue",
        "not-before-the-program-reads",
        (post(WANTS, b"Content-Length: 5"), Wait(1000), GO, b"hello"),
        (100, 200),
        seen=(SENDS,),
        program="pause",
    ),
    case(
        "continue",
        "a-final-answer-instead",
        (post(WANTS, b"Content-Length: 5"),),
        (200,),
        CLOSED,
        (Seen(b"POST", whole=False),),
        program="early",
    ),
    case(
        "continue",
        "a-body-after-a-final-answer-is-no-request",
        (post(WANTS, b"Content-Length: 5"), get()),
        (200,),
        CLOSED,
        (Seen(b"POST", whole=False),),
        program="early",
    ),
    case(
        "continue",
        "a-final-answer-and-the-body-was-sent",
        post(WANTS, b"Content-Length: 5", body=b"hello"),
        (200,),
        seen=(Seen(b"POST", whole=False),),
        program="early",
        cut=False,
    ),
    case(
        "continue",
        "a-body-too-large-is-not-invited",
        post(WANTS, b"Content-Length: 6"),
        (413,),
        CLOSED,
        (),
        error=LARGE,
        settings={"max_body_bytes": 5},
    ),
]

EARLY = [
    case(
        "early-answer",
        "the-rest-is-drained",
        (post(b"Content-Length: 5"), b"hello", get()),
        (200, 200),
        seen=(Seen(b"POST", whole=False), Seen(whole=False)),
        program="early",
    ),
    case(
        "early-answer",
        "too-much-to-drain",
        (post(b"Content-Length: 5000"), b"x" * 4000),
        (200,),
        CLOSED,
        (Seen(b"POST", whole=False),),
        program="early",
        settings={"drain_bytes": 2000},
    ),
    case(
        "early-answer",
        "the-rest-is-bad",
        (chunked(b""), b"x\r\n" + get()),
        (200,),
        CLOSED,
        (Seen(b"POST", whole=False),),
        program="early",
    ),
    case(
        "early-answer",
        "the-rest-does-not-come",
        (post(b"Content-Length: 5"), Wait(61)),
        (200,),
        CLOSED,
        (Seen(b"POST", whole=False),),
        program="early",
    ),
    case(
        "early-answer",
        "begun-and-the-rest-is-bad",
        (chunked(b""), b"x\r\n"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        RESET,
        (Seen(b"POST", whole=False),),
        error="ChunkError",
        program="half",
    ),
]

ASKS = (b"Connection: Upgrade", b"Upgrade: echo")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
UPGRADE = [
    case("upgrade", "nobody-takes-it", get(*ASKS), (200,)),
    case(
        "upgrade",
        "h2c",
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
        (200,),
    ),
    case("upgrade", "taken", get(*ASKS), SWITCH, TUNNEL, program="upgrade"),
    case(
        "upgrade",
        "compared-without-case",
        get(b"connection: upgrade", b"upgrade: ECHO"),
        SWITCH,
        TUNNEL,
        program="upgrade",
    ),
    case(
        "upgrade",
        "one-of-several",
        get(ASKS[0], b"Upgrade: x, echo"),
        SWITCH,
        TUNNEL,
        program="upgrade",
    ),
    case(
        "upgrade",
        "bytes-that-came-with-it",
        get(*ASKS) + b"first",
        SWITCH,
        TUNNEL,
        rest=b"first",
        program="upgrade",
    ),
    case(
        "upgrade",
        "bytes-that-look-like-a-request",
        get(*ASKS) + get(),
        SWITCH,
        TUNNEL,
        rest=get(),
        program="upgrade",
    ),
    case(
        "upgrade",
        "behind-another",
        get() + get(*ASKS) + b"x",
        ok(b"") + SWITCH,
        TUNNEL,
        (GET, GET),
        raises="OutputStateError",
        rest=b"x",
        program="upgrade",
    ),
    case(
        "upgrade",
        "after-a-body",
        post(*ASKS, b"Content-Length: 5", body=b"hellofirst"),
        SWITCH,
        TUNNEL,
        (SENDS,),
        rest=b"first",
        program="upgrade",
    ),
    case(
        "upgrade",
        "before-the-body-is-read",
        (post(*ASKS, b"Content-Length: 5"), b"hello"),
        (200,),
        seen=(SENDS,),
        program="upgrade at once",
        raises="OutputStateError",
    ),
    case(
        "upgrade",
        "from-1.0",
        head(b"GET / HTTP/1.0", b"Connection: upgrade, keep-alive", ASKS[1]),
        (200,),
        program="upgrade",
        raises="OutputStateError",
    ),
    case(
        "upgrade",
        "connection-does-not-say-so",
        get(ASKS[1]),
        (200,),
        program="upgrade",
        raises="OutputStateError",
    ),
    case(
        "upgrade",
        "nothing-is-offered",
        get(ASKS[0]),
        (200,),
        program="upgrade",
        raises="OutputStateError",
    ),
    case(
        "upgrade",
        "another-is-offered",
        get(ASKS[0], b"Upgrade: x"),
        (200,),
        program="upgrade",
        raises="OutputStateError",
    ),
    case(
        "upgrade",
        "of-a-websocket-in-lower-case",
        get(b"connection: keep-alive, upgrade", b"upgrade: websocket"),
        (200,),
    ),
]

CONNECTS = (Seen(b"CONNECT", b"b:80"),)
ASK_FOR_B = line(b"CONNECT b:80 HTTP/1.1")
TUNNELS = b"HTTP/1.1 200 Connection established\r\n\r\n"
CONNECT = [
    case("connect", "nobody-takes-it", ASK_FOR_B, (405,), CLOSED, CONNECTS),
    case("connect", "what-follows-is-no-request", ASK_FOR_B + get(), (405,), CLOSED, CONNECTS),
    case(
        "connect",
        "the-program-says-200",
        ASK_FOR_B,
        (405,),
        CLOSED,
        (Seen(b"CONNECT", b"b:80", whole=False),),
        program="early",
    ),
    case(
        "connect",
        "refused-by-the-program",
        ASK_FOR_B + get(),
        (501,),
        CLOSED,
        CONNECTS,
        program="not implemented",
    ),
    case("connect", "taken", ASK_FOR_B, TUNNELS, TUNNEL, CONNECTS, program="upgrade"),
    case(
        "connect",
        "bytes-that-came-with-it",
        ASK_FOR_B + get(),
        TUNNELS,
        TUNNEL,
        CONNECTS,
        rest=get(),
        program="upgrade",
    ),
    case(
        "connect",
        "length-0",
        line(b"CONNECT b:80 HTTP/1.1")[:-2] + b"Content-Length: 0\r\n\r\n",
        (405,),
        CLOSED,
        CONNECTS,
    ),
]


CASES = [*CONTINUE, *EARLY, *UPGRADE, *CONNECT]
