"""How plain bytes are divided before they are encrypted.

Owns: the sizes. Must not know TLS or sockets.

Theory of operation: a record holds at most 16 KiB (RFC 8446 section 5.1), and each costs 22 bytes
and one call; so small chunks are joined into full records. A piece is what is encrypted before the
next call of `send`: large enough that few system calls are made, small enough that little has to be
kept when the kernel does not take it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

#: Most plain bytes of a record.
MAX_RECORD_BYTES = 16 * 1024
#: Most that is encrypted at once.
MAX_PIECE_BYTES = 4 * MAX_RECORD_BYTES


def iter_pieces(
    chunks: Iterable[bytes | memoryview], skip: int
) -> Iterator[bytes | bytearray | memoryview]:
    """Divide a stream for encryption: join small chunks, slice large ones, without a copy.

    chunks: the stream, in order
    skip: how many of its first bytes to leave out
    Yields: pieces of MAX_PIECE_BYTES at most, which together are the remainder of the stream
    """
    joined = bytearray()
    for chunk in chunks:
        if skip >= len(chunk):
            skip -= len(chunk)
            continue
        view = memoryview(chunk)[skip:]
        skip = 0
        if joined and len(joined) + len(view) > MAX_RECORD_BYTES:
            yield joined
            joined = bytearray()
        if len(view) < MAX_RECORD_BYTES:
            joined += view
        else:
            for start in range(0, len(view), MAX_PIECE_BYTES):
                yield view[start : start + MAX_PIECE_BYTES]
    if joined:
        yield joined
