"""The native codec. Each function answers for what is plain and returns None for all else.

Its heads are objects of its own types with the attributes of their twins, whose names stand here.
"""

from collections.abc import Sequence

from thor.http.wire.head import RequestHead, ResponseHead
from thor.http.wire.writer import OutgoingHead

#: `Limits.codec_limits`: fields; bytes in all, but for the empty line; Content-Length (None:
#: any); bytes of the start line, and of each field line.
_Limits = tuple[int, int, int | None, int, int]

def parse_request(buf: bytes | bytearray, at: int, limits: _Limits, /) -> RequestHead | None:
    """Return the request head that starts at `at` and is complete."""

def parse_response(
    buf: bytes | bytearray, at: int, limits: _Limits, method: bytes, /
) -> ResponseHead | None:
    """Return the response head that starts at `at` and is complete.

    method: of the request that it answers
    """

def render_fields(
    start: bytes,
    fields: object,
    keep_length: bool,
    request: bool,
    /,
) -> tuple[bytes, int, bool, Sequence[tuple[int, bytes]]] | None:
    """Return a message's start and its field lines, as `writer._render` makes them.

    fields: whatever a program passes; what is not a list or tuple of pairs is not plain
    """

def render_response(
    line: bytes,
    fields: object,
    method: bytes,
    date_line: bytes,
    /,
) -> OutgoingHead | None:
    """Return a response head for HTTP/1.1 on a connection that persists.

    line: the status line; the other arguments as in `writer.response_head`
    """

def decode_chunks(
    buf: bytes | bytearray, at: int, room: int | None, /
) -> tuple[bytes, int, bool] | None:
    """Return the chunks that are complete from the size line at `at` on.

    room: how many bytes of data are allowed, None for any number
    Returns: (their data joined, where the next size line begins, or what follows the body;
        whether the body has ended); None if there is no such chunk
    """
