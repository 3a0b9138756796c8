"""What a program may ask a client for, and what leaves.

Owns: the table. It is data: what a row means says `shapes.ClientCase`.
"""

from __future__ import annotations

from typing import Any

from client_rows import response, sized
from shapes import CLOSED, GONE, OPEN, WAITS, Ask, ClientCase, Step, Wait, head, steps

URL, SYNTAX, STATE = "UrlError", "OutputSyntaxError", "OutputStateError"

TWO = ("Content-Length", "2")

#: None of these leaves; nobody is connected to.
REFUSED = [
    ClientCase(id=name, rule="bad-request", ask=ask, sent=b"", error=error, then=GONE, attempts=0)
    for name, error, ask in [
        ("no-scheme", URL, Ask(uri="origin/")),
        ("other-scheme", URL, Ask(uri="ftp://origin/")),
        ("no-host", URL, Ask(uri="http:///")),
        ("empty-uri", URL, Ask(uri="")),
        ("user-information", URL, Ask(uri="http://me@origin/")),
        ("space-in-the-uri", URL, Ask(uri="http://origin/a b")),
        ("crlf-in-the-uri", URL, Ask(uri="http://origin/ HTTP/1.1\r\nA: b")),
        ("nul-in-the-uri", URL, Ask(uri="http://origin/\0")),
        ("non-ascii-uri", URL, Ask(uri="http://origin/\xe9")),
        ("port-0", URL, Ask(uri="http://origin:0/")),
        ("port-65536", URL, Ask(uri="http://origin:65536/")),
        ("port-of-letters", URL, Ask(uri="http://origin:x/")),
        ("crlf-in-the-host", URL, Ask(uri="http://origin\r\n/")),
        ("connect-without-port", URL, Ask("CONNECT", "origin")),
        ("space-in-the-method", SYNTAX, Ask("GET /")),
        ("crlf-in-the-method", SYNTAX, Ask("GET\r\n")),
        ("empty-method", SYNTAX, Ask("")),
        ("non-ascii-method", SYNTAX, Ask("G\xc9T")),
        ("crlf-in-a-value", SYNTAX, Ask(fields=(("A", "b\r\nC: d"),))),
        ("second-request-in-a-value", SYNTAX, Ask(fields=(("A", "b\r\n\r\nGET / HTTP/1.1"),))),
        ("lf-in-a-value", SYNTAX, Ask(fields=(("A", "b\nc"),))),
        ("nul-in-a-value", SYNTAX, Ask(fields=(("A", "b\0"),))),
        ("value-beyond-latin-1", SYNTAX, Ask(fields=(("A", "\u010a"),))),
        ("space-in-a-name", SYNTAX, Ask(fields=(("A b", "c"),))),
        ("colon-in-a-name", SYNTAX, Ask(fields=(("A:", "b"),))),
        ("empty-name", SYNTAX, Ask(fields=(("", "b"),))),
        ("crlf-in-a-field-that-is-dropped", SYNTAX, Ask(fields=(("Connection", "a\r\nB: c"),))),
        ("two-hosts", SYNTAX, Ask(fields=(("Host", "a"), ("Host", "a")))),
        ("bad-host", SYNTAX, Ask(fields=(("Host", "a/b"),))),
        ("empty-host", SYNTAX, Ask(fields=(("Host", ""),))),
        ("length-that-is-no-number", SYNTAX, Ask(fields=(("Content-Length", "0x1"),))),
        (
            "lengths-that-differ",
            SYNTAX,
            Ask(fields=(("Content-Length", "1"), ("Content-Length", "2"))),
        ),
        ("crlf-in-the-protocol", SYNTAX, Ask(options=(("upgrade", "a\r\nB: c"),))),
        ("crlf-in-a-trailer", SYNTAX, Ask("POST", body=(b"x",), trailers=(("A", "b\r\nC: d"),))),
        ("bad-trailer-that-is-not-sent", SYNTAX, Ask(trailers=(("A b", "c"),))),
        ("body-of-connect", SYNTAX, Ask("CONNECT", "origin:80", body=(b"x",))),
        ("more-than-declared", STATE, Ask("PUT", fields=(TWO,), body=(b"abc",))),
        ("less-than-declared", STATE, Ask("PUT", fields=(TWO,), body=(b"a",))),
        ("nothing-of-what-was-declared", STATE, Ask(fields=(TWO,))),
    ]
]


def sent(name: str, ask: Ask, data: bytes, then: str = OPEN, **more: Any) -> ClientCase:
    """A request that leaves as these bytes, and is answered."""
    more.setdefault("sends", (sized(),))
    more.setdefault("body", b"hello")
    more.setdefault("rule", "request")
    more["sends"] = steps(more["sends"])
    return ClientCase(id=name, ask=ask, sent=data, status=200, then=then, engine=False, **more)


def get(
    target: bytes = b"/", *fields: bytes, host: bytes = b"origin", method: bytes = b"GET"
) -> bytes:
    """A request as it leaves."""
    return head(method + b" " + target + b" HTTP/1.1", b"Host: " + host, *fields)


CHUNKED = b"Transfer-Encoding: chunked"
SENT = [
    sent("get", Ask(), get()),
    sent("path-and-query", Ask(uri="http://origin/a/../b?c=/d?"), get(b"/a/../b?c=/d?")),
    sent("path-as-it-is", Ask(uri="http://origin//%2e%2F%00[]|"), get(b"//%2e%2F%00[]|")),
    sent("no-path", Ask(uri="http://origin"), get()),
    sent("query-without-a-path", Ask(uri="http://origin?a"), get(b"/?a")),
    sent("fragment-is-dropped", Ask(uri="http://origin/a#b"), get(b"/a")),
    sent("a-port", Ask(uri="http://origin:81/"), get(host=b"origin:81")),
    sent("case-of-a-host", Ask(uri="HTTP://ORIGIN/"), get(host=b"ORIGIN")),
    sent("a-host-of-the-programs", Ask(fields=(("host", "site:8080"),)), get(host=b"site:8080")),
    sent(
        "fields-in-order",
        Ask(fields=(("b", "1"), ("B", " 2 "), ("C", ""))),
        get(b"/", b"b: 1", b"B: 2", b"C: "),
    ),
    sent(
        "hop-by-hop-fields-are-dropped",
        Ask(
            fields=(
                ("Connection", "x"),
                ("X", "1"),
                ("TE", "gzip"),
                ("Keep-Alive", "1"),
                ("Transfer-Encoding", "gzip"),
                ("Upgrade", "y"),
                ("Z", "2"),
            )
        ),
        get(b"/", b"Z: 2"),
    ),
    sent("post-without-a-body", Ask("POST"), get(b"/", b"Content-Length: 0", method=b"POST")),
    sent("delete-without-a-body", Ask("DELETE"), get(method=b"DELETE")),
    sent(
        "a-length",
        Ask("PUT", fields=(TWO,), body=(b"a", b"b")),
        get(b"/", b"Content-Length: 2", method=b"PUT") + b"ab",
    ),
    sent(
        "a-length-repeated",
        Ask("PUT", fields=(TWO, TWO), body=(b"ab",)),
        get(b"/", b"Content-Length: 2", method=b"PUT") + b"ab",
    ),
    sent(
        "no-length",
        Ask("PUT", body=(b"a", b"", b"b")),
        get(b"/", CHUNKED, method=b"PUT") + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
    ),
    sent(
        "trailers",
        Ask("PUT", body=(b"a",), trailers=(("A", "b"), ("Host", "c"))),
        get(b"/", CHUNKED, method=b"PUT") + b"1\r\na\r\n0\r\nA: b\r\n\r\n",
    ),
    sent("body-of-a-get", Ask(body=(b"a",)), get(b"/", CHUNKED) + b"1\r\na\r\n0\r\n\r\n"),
    sent(
        "a-coding-of-the-programs",
        Ask("PUT", fields=(("Transfer-Encoding", "gzip, chunked"),), body=(b"a",)),
        get(b"/", CHUNKED, method=b"PUT") + b"1\r\na\r\n0\r\n\r\n",
    ),
    sent("options-of-the-server", Ask("OPTIONS", "http://origin"), get(b"*", method=b"OPTIONS")),
    sent("options-of-a-path", Ask("OPTIONS", "http://origin/"), get(method=b"OPTIONS")),
    sent(
        "trailers-are-welcome",
        Ask(options=(("te_trailers", True),)),
        get(b"/", b"TE: trailers", b"Connection: TE"),
    ),
    sent(
        "a-protocol",
        Ask(options=(("upgrade", "echo"),)),
        get(b"/", b"Upgrade: echo", b"Connection: upgrade"),
    ),
    sent(
        "no-idle-connections",
        Ask(),
        get(b"/", b"Connection: close"),
        CLOSED,
        settings={"idle_timeout": 0},
    ),
]

EXPECTS = Ask("PUT", fields=(("Expect", "100-continue"), TWO), body=(b"ab",))
EXPECTED = get(b"/", b"Expect: 100-continue", b"Content-Length: 2", method=b"PUT")
GO_ON = response(line=b"HTTP/1.1 100 Continue")
WAIT_STEP: tuple[Step, ...] = (Wait(2), sized())
CONTINUE = [
    sent(
        "held-back-until-100",
        EXPECTS,
        EXPECTED + b"ab",
        rule="hold-back",
        sends=(GO_ON, sized()),
        nonfinal=(100,),
    ),
    sent("sent-after-a-second", EXPECTS, EXPECTED + b"ab", rule="hold-back", sends=WAIT_STEP),
    sent("not-sent-after-a-final-answer", EXPECTS, EXPECTED, CLOSED, rule="hold-back"),
    ClientCase(
        id="not-yet", rule="hold-back", ask=EXPECTS, sent=EXPECTED, sends=(Wait(0.5),), then=WAITS
    ),
]

CASES = [*REFUSED, *SENT, *CONTINUE]
