"""The native codec. Each function answers for what is plain and returns None for all else."""

from collections.abc import Sequence
from typing import Literal

_Fields = list[tuple[bytes, bytes]]
#: `Limits.codec_limits`: fields; bytes in all, but for the empty line; Content-Length (None:
#: any); bytes of the start line, and of each field line.
_Limits = tuple[int, int, int | None, int, int]

def parse_request(
    buf: bytes | bytearray, at: int, limits: _Limits, /
) -> (
    tuple[
        bytes,
        bytes,
        bytes,
        bool,
        _Fields,
        int,
        int,
        bool,
        bytes,
        int,
        bool,
        Literal[False],
        Sequence[bytes],
        bool,
    ]
    | None
):
    """The request head that starts at `at` and is complete: `head.RequestParts`."""

def parse_response(
    buf: bytes | bytearray, at: int, limits: _Limits, method: bytes, /
) -> tuple[bytes, bool, bytes, int, bytes, _Fields, int, int, bool, int, Sequence[bytes]] | None:
    """The response head that starts at `at` and is complete: `head.ResponseParts`.

    method: of the request that it answers
    """

def render_fields(
    start: bytes,
    fields: object,
    keep_length: bool,
    request: bool,
    /,
) -> tuple[bytes, int, bool, Sequence[tuple[int, bytes]]] | None:
    """A message's start and its field lines, as `writer._render` makes them.

    fields: whatever a program passes; what is not a list or tuple of pairs is not plain
    """

def render_response(
    line: bytes,
    fields: object,
    method: bytes,
    date_line: bytes,
    /,
) -> tuple[bytes, int, int, bool] | None:
    """A response head for HTTP/1.1 on a connection that persists: `writer.OutHead`.

    line: the status line; the other arguments as in `writer.response_head`
    """

def decode_chunks(
    buf: bytes | bytearray, at: int, room: int | None, /
) -> tuple[bytes, int, bool] | None:
    """The chunks that are complete from the size line at `at` on.

    room: how many bytes of data are allowed, None for any number
    Returns: (their data joined, where the next size line begins, or what follows the body;
        whether the body has ended); None if there is no such chunk
    """
