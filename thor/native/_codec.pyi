"""The native codec. Each function answers for what is plain and returns None for all else."""

from collections.abc import Sequence

_Fields = list[tuple[bytes, bytes]]

def parse_request(
    buf: bytes, at: int, max_fields: int, max_bytes: int, max_body: int | None, /
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
        bool,
        Sequence[bytes],
        bool,
    ]
    | None
):
    """The request head that starts at `at` and is complete: `head.RequestParts`.

    max_bytes: of the head, its empty line aside; max_body: the largest Content-Length, None for
        any
    """

def parse_response(
    buf: bytes, at: int, method: bytes, max_fields: int, max_bytes: int, /
) -> tuple[bytes, bool, bytes, int, bytes, _Fields, int, int, bool, int, Sequence[bytes]] | None:
    """The response head that starts at `at` and is complete: `head.ResponseParts`.

    method: of the request that it answers
    """

def render_fields(
    start: bytes,
    fields: Sequence[tuple[str | bytes, str | bytes]],
    keep_length: bool,
    request: bool,
    /,
) -> tuple[bytes, int, bool, Sequence[tuple[int, bytes]]] | None:
    """A message's start and its field lines, as `writer._render` makes them."""

def decode_chunks(
    buf: bytes | bytearray, at: int, room: int | None, /
) -> tuple[bytes, int, bool] | None:
    """The chunks that are complete from the size line at `at` on.

    room: how many bytes of data are allowed, None for any number
    Returns: (their data joined, where the next size line begins, or what follows the body;
        whether the body has ended); None if there is no such chunk
    """
