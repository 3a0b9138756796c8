"""How the tables of the proxy's cases are written: messages as they come and as they cross.

Owns: what several of these tables use. It is data, and what makes data. The proxy's name is fred.
"""

from __future__ import annotations

from typing import Any

from shapes import CLOSED, OPEN, ProxyCase, Turn, head, steps

#: What the proxy adds to a request.
ADDED = (
    b"X-Forwarded-For: 127.0.0.1",
    b"X-Forwarded-Proto: http",
    b"X-Forwarded-Host: site",
    b"Via: 1.1 fred",
)
VIA = b"Via: 1.1 fred"
LENGTH = b"Content-Length: 5"
CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"


def asks(
    *fields: bytes,
    target: bytes = b"/",
    method: bytes = b"GET",
    version: bytes = b"1.1",
    host: bytes = b"site",
    body: bytes = b"",
) -> bytes:
    """A request of the client."""
    line = method + b" " + target + b" HTTP/" + version
    return head(line, b"Host: " + host, *fields) + body


def got(
    *fields: bytes,
    target: bytes = b"/",
    method: bytes = b"GET",
    host: bytes = b"site",
    added: tuple[bytes, ...] = ADDED,
    last: tuple[bytes, ...] = (),
    body: bytes = b"",
) -> bytes:
    """The request as the origin gets it: the client's fields, what the proxy adds, and last what
    concerns the connection."""
    line = method + b" " + target + b" HTTP/1.1"
    return head(line, b"Host: " + host, *fields, *added, *last) + body


def answers(
    *fields: bytes, line: bytes = b"HTTP/1.1 200 OK", length: bytes = LENGTH, body: bytes = b"hello"
) -> bytes:
    """A response of the origin."""
    return head(line, *[field for field in (length, *fields) if field]) + body


def passed(
    *fields: bytes,
    line: bytes = b"HTTP/1.1 200 OK",
    length: bytes = LENGTH,
    via: bytes = VIA,
    last: tuple[bytes, ...] = (),
    body: bytes = b"hello",
) -> bytes:
    """The response as the client gets it."""
    return head(line, *[field for field in (length, *fields, via, *last) if field]) + body


def own(status: int, phrase: str, error: str, *fields: bytes, close: bool = False) -> bytes:
    """An answer of the proxy's own."""
    body = phrase.encode() + b"\n"
    return (
        head(
            b"HTTP/1.1 %d %b" % (status, phrase.encode()),
            *fields,
            b"Content-Type: text/plain; charset=utf-8",
            b"Proxy-Status: fred; error=" + error.encode(),
            b"Content-Length: %d" % len(body),
            *[b"Connection: close"] * close,
        )
        + body
    )


def refusal(status: int, phrase: str) -> bytes:
    """An answer of its server's, to a request that is none."""
    body = phrase.encode() + b"\n"
    return (
        head(
            b"HTTP/1.1 %d %b" % (status, phrase.encode()),
            b"Content-Type: text/plain",
            b"Content-Length: %d" % len(body),
            b"Connection: close",
        )
        + body
    )


def sends(who: str, *what: Any) -> Turn:
    """`who` sends: bytes, or what else a peer can do."""
    return Turn(who, "sends", what)


def gets(who: str, what: bytes) -> Turn:
    """`who` gets exactly this."""
    return Turn(who, "gets", what)


def ends(who: str, how: str = CLOSED) -> Turn:
    """How the connection of `who` is found."""
    return Turn(who, "ends", how)


def request(rule: str, name: str, comes: Any, goes: bytes, **more: Any) -> ProxyCase:
    """A request that crosses, and is answered."""
    turns = (
        sends("client", *steps(comes)),
        gets("a", goes),
        sends("a", answers()),
        gets("client", more.pop("back", passed())),
        ends("client", more.pop("then", OPEN)),
    )
    return ProxyCase(id=name, rule=rule, turns=turns, **more)


def response(rule: str, name: str, comes: Any, goes: bytes, **more: Any) -> ProxyCase:
    """A response that crosses, to a plain request unless `asked` and `goes_up` say another."""
    turns = (
        sends("client", more.pop("asked", asks())),
        gets("a", more.pop("goes_up", got())),
        sends("a", *steps(comes)),
        gets("client", goes),
        ends("client", more.pop("then", OPEN)),
        *more.pop("after", ()),
    )
    return ProxyCase(id=name, rule=rule, turns=turns, **more)


def answered(rule: str, name: str, comes: Any, goes: bytes, **more: Any) -> ProxyCase:
    """A request that goes no further."""
    turns = (
        sends("client", *steps(comes)),
        gets("client", goes),
        ends("client", more.pop("then", CLOSED)),
    )
    return ProxyCase(id=name, rule=rule, turns=turns, **more)


def talk(rule: str, name: str, *turns: Turn, **more: Any) -> ProxyCase:
    """A conversation."""
    return ProxyCase(id=name, rule=rule, turns=turns, **more)


BAD_GATEWAY = "Bad Gateway"
PROTOCOL = own(502, BAD_GATEWAY, "http_protocol_error")
CODING = own(502, BAD_GATEWAY, "http_response_transfer_coding")
#: A response in chunks that has not come to its end.
PARTLY = answers(length=CHUNKED, body=b"5\r\nhello\r\n")
PASSED_PARTLY = passed(length=b"", last=(CHUNKED,), body=b"5\r\nhello\r\n")
TERMINATED = own(502, BAD_GATEWAY, "connection_terminated")
REFUSED = own(502, BAD_GATEWAY, "connection_refused")
LARGE = own(502, BAD_GATEWAY, "http_response_header_section_size")
SWITCHED = own(502, BAD_GATEWAY, "http_upgrade_failed")
SLOW = own(504, "Gateway Timeout", "connection_read_timeout")

#: An informational response, and as it crosses.
HINT = head(b"HTTP/1.1 103 Early Hints", b"Link: </a>", b"Connection: b", b"B: c")
PASSED_HINT = head(b"HTTP/1.1 103 Early Hints", b"Link: </a>", VIA)
