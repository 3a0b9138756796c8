"""How the tables of the client's cases are written: constructors of rows, names of errors.

Owns: what several of these tables use. It is data, and what makes data.
"""

from __future__ import annotations

from typing import Any

from shapes import CLOSED, OPEN, Ask, ClientCase, Mark, Step, Wait, head, steps

START, CUT, LOST = "StartLineError", "IncompleteMessageError", "ConnectionLostError"
#: Nothing of the request was sent.
UNSENT = "ConnectError"
GET, POST, HEAD = Ask(), Ask("POST"), Ask("HEAD")


def response(*fields: bytes, body: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A response."""
    return head(line, *fields) + body


def sized(body: bytes = b"hello", *fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A response with a length."""
    return response(b"Content-Length: %d" % len(body), *fields, body=body, line=line)


def chunked(body: bytes, *fields: bytes) -> bytes:
    """A response with this as its chunked body."""
    return response(b"Transfer-Encoding: chunked", *fields, body=body)


def good(
    rule: str,
    name: str,
    sends: bytes | Mark | Wait | tuple[Step, ...],
    body: bytes = b"hello",
    then: str = OPEN,
    status: int = 200,
    **more: Any,
) -> ClientCase:
    """A response that is delivered."""
    return ClientCase(
        id=name, rule=rule, sends=steps(sends), body=body, then=then, status=status, **more
    )


def bad(
    rule: str,
    name: str,
    error: str,
    sends: bytes | Mark | Wait | tuple[Step, ...],
    **more: Any,
) -> ClientCase:
    """What ends the exchange with an error; there is no status unless `more` has one."""
    return ClientCase(id=name, rule=rule, sends=steps(sends), error=error, then=CLOSED, **more)
