"""Requests that end at a proxy, and origins that fail: what the client gets instead.

Owns: the table. It is data: what a row means says `shapes.ProxyCase`.
"""

from __future__ import annotations

from proxy_rows import (
    ADDED,
    CHUNKED,
    CODING,
    HELLO,
    HINT,
    LARGE,
    LENGTH,
    PARTLY,
    PASSED_HINT,
    PASSED_PARTLY,
    PROTOCOL,
    REFUSED,
    SLOW,
    SWITCHED,
    TERMINATED,
    VIA,
    answered,
    answers,
    asks,
    ends,
    gets,
    got,
    own,
    passed,
    refusal,
    request,
    response,
    sends,
    talk,
)
from shapes import FIN, OPEN, RESET, RST, Wait, head

LF, BOTH = b"GET / HTTP/1.1\nHost: site\n\n", asks(LENGTH, CHUNKED, method=b"POST", body=HELLO)
BAD = refusal(400, "Bad Request")
AMBIGUOUS = [
    answered("ambiguous", name, comes, goes)
    for name, comes, goes in [
        ("bare-lf", LF, BAD),
        ("length-and-coding", BOTH, BAD),
        ("coding-and-length", asks(CHUNKED, LENGTH, method=b"POST", body=HELLO), BAD),
        (
            "lengths-that-differ",
            asks(LENGTH, b"Content-Length: 6", method=b"POST", body=b"hello"),
            BAD,
        ),
        ("lengths-that-agree", asks(LENGTH, LENGTH, method=b"POST", body=b"hello"), BAD),
        (
            "coding-with-a-control",
            asks(b"Transfer-Encoding: \x0bchunked", method=b"POST", body=HELLO),
            BAD,
        ),
        (
            "coding-with-a-comma",
            asks(b"Transfer-Encoding: chunked,", method=b"POST", body=HELLO),
            BAD,
        ),
        ("coding-unknown", asks(b"Transfer-Encoding: xchunked", method=b"POST", body=HELLO), BAD),
        (
            "coding-over-gzip",
            asks(b"Transfer-Encoding: gzip, chunked", method=b"POST", body=HELLO),
            refusal(501, "Not Implemented"),
        ),
        (
            "coding-with-a-space",
            asks(b"Transfer-Encoding : chunked", method=b"POST", body=HELLO),
            BAD,
        ),
        (
            "coding-folded",
            asks(b"Transfer-Encoding:", b" chunked", method=b"POST", body=HELLO),
            BAD,
        ),
        ("coding-in-1.0", asks(CHUNKED, method=b"POST", version=b"1.0", body=HELLO), BAD),
        ("two-hosts", asks(b"Host: other"), BAD),
        ("host-with-user-information", asks(host=b"me@site"), BAD),
        ("space-before-a-colon", asks(b"A : b"), BAD),
        ("fold", asks(b"A: b", b" c"), BAD),
        ("too-large", asks(b"A: " + b"b" * 32768), refusal(431, "Request Header Fields Too Large")),
        ("fragment", asks(target=b"/a#b"), BAD),
        (
            "http2-preface",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            refusal(505, "HTTP Version Not Supported"),
        ),
        ("what-follows-an-error-is-not-answered", LF + asks(), BAD),
        ("what-follows-an-error-in-a-length", BOTH + asks(), BAD),
    ]
]

WAY = head(b"TRACE /x HTTP/1.1", b"Max-Forwards: 0", b"Via: 1.0 ricky")
TRACED = (
    head(
        b"HTTP/1.1 200 OK",
        b"Content-Type: message/http",
        b"Content-Length: %d" % len(WAY),
    )
    + WAY
)
OWN_400 = own(400, "Bad Request", "http_request_error")
HOPS = [
    answered(
        "max-forwards",
        "options-at-0",
        asks(b"Max-Forwards: 0", method=b"OPTIONS"),
        head(b"HTTP/1.1 204 No Content"),
        then="open",
    ),
    answered(
        "max-forwards",
        "trace-at-0",
        asks(b"Max-Forwards: 0", b"Cookie: a=b", b"Via: 1.0 ricky", target=b"/x", method=b"TRACE"),
        TRACED,
        then="open",
    ),
    answered(
        "max-forwards",
        "no-number",
        asks(b"Max-Forwards: x", method=b"OPTIONS"),
        OWN_400,
        then="open",
    ),
    answered(
        "max-forwards", "a-sign", asks(b"Max-Forwards: -1", method=b"TRACE"), OWN_400, then="open"
    ),
    answered(
        "max-forwards",
        "two",
        asks(b"Max-Forwards: 1", b"Max-Forwards: 2", method=b"OPTIONS"),
        OWN_400,
        then="open",
    ),
    request(
        "max-forwards",
        "options",
        asks(b"max-forwards: 010", method=b"OPTIONS"),
        got(b"max-forwards: 9", method=b"OPTIONS"),
    ),
    request(
        "max-forwards",
        "trace",
        asks(b"Max-Forwards: 1", method=b"TRACE"),
        got(b"Max-Forwards: 0", method=b"TRACE"),
    ),
    request("max-forwards", "none", asks(method=b"OPTIONS"), got(method=b"OPTIONS")),
    request(
        "max-forwards",
        "huge",
        asks(b"Max-Forwards: " + b"9" * 5000, method=b"OPTIONS"),
        got(b"Max-Forwards: 999999999", method=b"OPTIONS"),
    ),
    answered(
        "loops",
        "own-name",
        asks(b"Via: 1.1 fred"),
        own(508, "Loop Detected", "proxy_loop_detected"),
        then="open",
    ),
    answered(
        "loops",
        "own-name-among-others",
        asks(b"Via: 1.0 a, HTTP/1.1 FRED (x), 1.1 b"),
        own(508, "Loop Detected", "proxy_loop_detected"),
        then="open",
    ),
    answered(
        "loops",
        "own-name-with-a-port",
        asks(b"Via: 1.0 a", b"Via: 1.1 fred:80"),
        own(508, "Loop Detected", "proxy_loop_detected"),
        then="open",
    ),
    answered(
        "loops",
        "nominated",
        asks(b"Connection: via", b"Via: 1.1 fred"),
        own(508, "Loop Detected", "proxy_loop_detected"),
        then="open",
    ),
    request(
        "loops",
        "a-name-like-it",
        asks(b"Via: 1.1 freda, 1.1 x (fred)"),
        got(added=(*ADDED[:3], b"Via: 1.1 freda, 1.1 x (fred), 1.1 fred")),
    ),
    answered(
        "loops",
        "connect",
        head(b"CONNECT other:443 HTTP/1.1", b"Host: other:443") + asks(),
        own(
            405,
            "Method Not Allowed",
            "http_request_error",
            b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            close=True,
        ),
    ),
]


BROKEN = [
    response("bad-gateway", name, comes, goes, after=(ends("a"),))
    for name, comes, goes in [
        ("garbage", b"garbage\r\n\r\n", PROTOCOL),
        ("bare-lf", b"HTTP/1.1 200 OK\nA: b\n\n", PROTOCOL),
        ("bare-cr", answers(b"A: b\rc"), PROTOCOL),
        ("nul", answers(b"A: b\0"), PROTOCOL),
        ("fold", answers(b"A: b", b" c"), PROTOCOL),
        ("space-before-a-colon", answers(b"A : b"), PROTOCOL),
        ("no-colon", answers(b"A"), PROTOCOL),
        ("status-099", answers(line=b"HTTP/1.1 099 x"), PROTOCOL),
        ("version-2", answers(line=b"HTTP/2.0 200 OK"), PROTOCOL),
        ("lengths-that-differ", answers(b"Content-Length: 6"), PROTOCOL),
        ("length-that-is-no-number", answers(length=b"Content-Length: +5"), PROTOCOL),
        ("length-and-coding", answers(CHUNKED, body=HELLO), CODING),
        ("coding-in-1.0", answers(length=CHUNKED, line=b"HTTP/1.0 200 OK", body=HELLO), CODING),
        ("coding-that-nobody-takes-off", answers(length=b"Transfer-Encoding: gzip"), CODING),
        (
            "coding-over-gzip",
            answers(length=b"Transfer-Encoding: gzip, chunked", body=HELLO),
            CODING,
        ),
        (
            "chunked-twice",
            answers(length=b"Transfer-Encoding: chunked, chunked", body=HELLO),
            CODING,
        ),
        ("endless-head", head(b"HTTP/1.1 200 OK", *[b"A: " + b"b" * 1000] * 70)[:-2], LARGE),
        ("too-many-fields", answers(*[b"A: b"] * 128), LARGE),
        (
            "switch-that-nobody-asked-for",
            answers(length=b"", line=b"HTTP/1.1 101 x", body=b""),
            SWITCHED,
        ),
        ("no-byte", FIN, TERMINATED),
        ("no-byte-reset", RST, TERMINATED),
        ("half-a-head", (b"HTTP/1.1 200 OK\r\nA", FIN), TERMINATED),
        ("half-a-head-reset", (b"HTTP/1.1 200 OK\r\nA", RST), TERMINATED),
        ("too-late", Wait(61), SLOW),
        ("half-a-head-too-late", (b"HTTP/1.1 2", Wait(61)), SLOW),
    ]
] + [
    response(
        "bad-gateway",
        "without-end",
        head(b"HTTP/1.1 103 x") * 17,
        head(b"HTTP/1.1 103 x", VIA) * 16 + PROTOCOL,
        after=(ends("a"),),
    ),
    response(
        "bad-gateway",
        "unfolded",
        answers(b"A: b", b"\tc"),
        passed(b"A: b c"),
        client={"fold": "unfold"},
    ),
    response(
        "bad-gateway",
        "to-head",
        answers(length=b"Content-Length: x", body=b""),
        PROTOCOL.removesuffix(b"Bad Gateway\n"),
        asked=asks(method=b"HEAD"),
        goes_up=got(method=b"HEAD"),
        after=(ends("a"),),
    ),
    talk(
        "bad-gateway",
        "refused",
        sends("client", asks()),
        gets("client", REFUSED),
        ends("client", OPEN),
        down=("a",),
    ),
    talk(
        "bad-gateway",
        "all-refuse",
        sends("client", asks()),
        gets("client", REFUSED),
        ends("client", OPEN),
        origins=("a", "b"),
        down=("a", "b"),
    ),
]

DIES = [
    response("upstream-dies", name, comes, goes, then=RESET)
    for name, comes, goes in [
        ("in-a-length-fin", (answers(body=b"hel"), FIN), passed(body=b"hel")),
        ("in-a-length-rst", (answers(body=b"hel"), RST), passed(body=b"hel")),
        ("before-a-body", (answers(body=b""), FIN), passed(body=b"")),
        ("in-chunks-fin", (PARTLY, FIN), PASSED_PARTLY),
        ("in-chunks-rst", (PARTLY, RST), PASSED_PARTLY),
        ("until-close-rst", (answers(length=b""), RST), PASSED_PARTLY),
        ("bad-chunk", (PARTLY, b"x\r\n"), PASSED_PARTLY),
        ("bad-trailer", (PARTLY, b"0\r\nA b\r\n\r\n"), PASSED_PARTLY),
        ("too-late", (answers(body=b"hel"), Wait(61)), passed(body=b"hel")),
    ]
] + [
    talk(
        "upstream-dies",
        "and-the-client-speaks-1.0",
        sends("client", asks(version=b"1.0")),
        gets("a", got(added=(*ADDED[:3], b"Via: 1.0 fred"))),
        sends("a", PARTLY),
        gets("client", passed(length=b"", last=(b"Connection: close",))),
        sends("a", RST),
        ends("client", RESET),
    ),
]

TWO = {"origins": ("a", "b")}
RETRIES = [
    talk(
        "crossing-retries",
        "an-endpoint-that-refuses",
        sends("client", asks()),
        gets("b", got()),
        sends("b", answers()),
        gets("client", passed()),
        ends("client", OPEN),
        **TWO,
        down=("a",),
    ),
    talk(
        "crossing-retries",
        "a-post-that-was-not-sent",
        sends("client", asks(LENGTH, method=b"POST", body=b"hello")),
        gets("b", got(LENGTH, method=b"POST", body=b"hello")),
        sends("b", answers()),
        gets("client", passed()),
        ends("client", OPEN),
        **TWO,
        down=("a",),
    ),
    talk(
        "crossing-retries",
        "a-get-that-was-lost",
        sends("client", asks()),
        gets("a", got()),
        sends("a", RST),
        gets("b", got()),
        sends("b", answers()),
        gets("client", passed()),
        ends("client", OPEN),
        **TWO,
    ),
    talk(
        "crossing-retries",
        "a-put-that-was-lost",
        sends("client", asks(LENGTH, method=b"PUT", body=b"hello")),
        gets("a", got(LENGTH, method=b"PUT", body=b"hello")),
        sends("a", FIN),
        gets("b", got(LENGTH, method=b"PUT", body=b"hello")),
        sends("b", answers()),
        gets("client", passed()),
        ends("client", OPEN),
        **TWO,
    ),
    talk(
        "crossing-retries",
        "not-a-post-that-was-sent",
        sends("client", asks(LENGTH, method=b"POST", body=b"hello")),
        gets("a", got(LENGTH, method=b"POST", body=b"hello")),
        sends("a", RST),
        gets("client", TERMINATED),
        ends("client", OPEN),
        **TWO,
    ),
    talk(
        "crossing-retries",
        "not-after-a-byte-was-passed-on",
        sends("client", asks()),
        gets("a", got()),
        sends("a", HINT, RST),
        gets("client", PASSED_HINT + TERMINATED),
        ends("client", OPEN),
        **TWO,
    ),
    talk(
        "crossing-retries",
        "not-after-a-bad-response",
        sends("client", asks()),
        gets("a", got()),
        sends("a", b"garbage\r\n\r\n"),
        gets("client", PROTOCOL),
        ends("client", OPEN),
        **TWO,
    ),
    talk(
        "crossing-retries",
        "not-after-a-timeout",
        sends("client", asks()),
        gets("a", got()),
        sends("client", Wait(61)),
        gets("client", SLOW),
        ends("client", OPEN),
        **TWO,
    ),
    talk(
        "crossing-retries",
        "a-kept-connection-that-was-closed",
        sends("client", asks()),
        gets("a", got()),
        sends("a", answers()),
        gets("client", passed()),
        sends("a", FIN),
        sends("client", asks()),
        gets("a2", got()),
        sends("a2", answers()),
        gets("client", passed()),
        ends("client", OPEN),
    ),
]


CASES = [*AMBIGUOUS, *HOPS, *BROKEN, *DIES, *RETRIES]
