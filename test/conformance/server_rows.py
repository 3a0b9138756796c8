"""How the tables of the server's cases are written: constructors of rows, names of errors.

Owns: what several of these tables use. It is data, and what makes data.
"""

from __future__ import annotations

from typing import Any

from shapes import CLOSED, OPEN, Fields, Mark, Seen, ServerCase, Step, head, steps

GET = Seen()


def refused(rule: str, status: int, *rows: tuple[Any, ...]) -> list[ServerCase]:
    """Rows (id, error, bytes, settings): one answer with `status`, then the end."""
    return [
        ServerCase(
            id=row[0],
            rule=rule,
            sends=steps(row[2]),
            gets=(status,),
            then=CLOSED,
            error=row[1],
            settings=row[3] if len(row) > 3 else {},
        )
        for row in rows
    ]


def accepted(rule: str, *rows: tuple[Any, ...]) -> list[ServerCase]:
    """Rows (id, bytes, what the program gets, settings): answered, and the connection is kept."""
    found = []
    for name, data, seen, *settings in rows:
        all_seen = (seen,) if isinstance(seen, Seen) else tuple(seen)
        found.append(
            ServerCase(
                id=name,
                rule=rule,
                sends=steps(data),
                gets=(200,) * len(all_seen),
                seen=all_seen,
                settings=settings[0] if settings else {},
            )
        )
    return found


def get(*fields: bytes) -> bytes:
    """A request with a Host and these fields."""
    return head(b"GET / HTTP/1.1", b"Host: a", *fields)


def line(text: bytes) -> bytes:
    """A request with this request line."""
    return head(text, b"Host: a")


def host(*values: bytes, version: bytes = b"1.1") -> bytes:
    """A request with these Host fields."""
    return head(b"GET / HTTP/" + version, *[b"Host: " + value for value in values])


def fields(*more: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The fields of `get`, with one more for each pair of name and value."""
    pairs = tuple(zip(more[::2], more[1::2], strict=True))
    return ((b"Host", b"a"), *pairs)


LF, CR, VALUE, NAME, LINE = (
    "HeaderLineEndingError",
    "BareCRError",
    "HeaderValueError",
    "HeaderNameError",
    "RequestLineError",
)
TARGET, HOST, VERSION = "RequestTargetError", "InvalidHostError", "HttpVersionError"
BIG, MANY = "FieldSectionTooLargeError", "TooManyFieldsError"
DOUBLE, MALFORMED = "DuplicateCLError", "MalformedCLError"
CODING, NOT_CHUNKED = "MalformedTEError", "RequestTransferEncodingError"
BOTH, OLD, UNKNOWN = (
    "TransferEncodingCLError",
    "TransferEncodingVersionError",
    "TransferCodeError",
)
CHUNK, EXTENSION, TERMINATOR = "ChunkError", "ChunkExtensionError", "ChunkTerminatorError"
CUT, LOST, SLOW, LARGE = (
    "IncompleteMessageError",
    "ConnectError",
    "RequestTimeoutError",
    "ContentTooLargeError",
)


def post(*fields: bytes, body: bytes = b"") -> bytes:
    """A POST with a Host and these fields."""
    return head(b"POST / HTTP/1.1", b"Host: a", *fields) + body


def posted(body: bytes = b"", trailers: Fields = ()) -> Seen:
    """What the program gets of a POST."""
    return Seen(b"POST", body=body, trailers=trailers)


def chunked(body: bytes) -> bytes:
    """A POST with this as its chunked body."""
    return post(b"Transfer-Encoding: chunked", body=body)


def part(body: bytes = b"") -> tuple[Seen, ...]:
    """What the program gets of a POST that does not come to its end."""
    return (Seen(b"POST", body=body, whole=False),)


def broken(rule: str, status: int, *rows: tuple[Any, ...], then: str = CLOSED) -> list[ServerCase]:
    """Rows (id, error, bytes or steps, the body until then, settings): an exchange that fails."""
    return [
        ServerCase(
            id=row[0],
            rule=rule,
            sends=steps(row[2]),
            gets=(status,) if status else (),
            then=then,
            error=row[1],
            seen=part(row[3] if len(row) > 3 else b""),
            settings=row[4] if len(row) > 4 else {},
        )
        for row in rows
    ]


#: What ends a chunked body.
END = b"0\r\n\r\n"


def case(
    rule: str,
    name: str,
    sends: bytes | Mark | tuple[Step, ...],
    gets: tuple[int, ...] | bytes,
    then: str = OPEN,
    seen: tuple[Seen, ...] = (GET,),
    **more: Any,
) -> ServerCase:
    """One row."""
    return ServerCase(
        id=name, rule=rule, sends=steps(sends), gets=gets, then=then, seen=seen, **more
    )


def ok(connection: bytes) -> bytes:
    """The whole of the answer, with this Connection field, or none."""
    field = b"Connection: " + connection + b"\r\n" if connection else b""
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + field + b"\r\nok"


#: What the program gets of a POST with a body of five bytes.
SENDS = Seen(b"POST", body=b"hello")
