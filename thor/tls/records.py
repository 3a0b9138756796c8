"""How plain bytes are cut before they are encrypted.

Owns: the sizes. Must not know TLS or sockets.

Theory of operation: a record holds at most 16 KiB (RFC 8446 section 5.1), and each costs 22 bytes
and one call; so small chunks are joined into full records. A piece is what is encrypted before the
next call of `send`: large enough that few system calls are made, small enough that what the kernel
does not take, and has to be held, is little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

#: The most plain bytes that a record holds.
RECORD_BYTES = 16 * 1024
#: The most that is encrypted at once.
ENCRYPT_PIECE_BYTES = 4 * RECORD_BYTES


def pieces(
    chunks: Iterable[bytes | memoryview], skip: int
) -> Iterator[bytes | bytearray | memoryview]:
    """Cut a stream for encryption: small chunks are joined, large ones sliced, without a copy.

    chunks: the stream, in order
    skip: how many of its first bytes are left out
    Yields: pieces of ENCRYPT_PIECE_BYTES at most, which together are the rest of the stream
    """
    joined = bytearray()
    for chunk in chunks:
        if skip >= len(chunk):
            skip -= len(chunk)
            continue
        view = memoryview(chunk)[skip:]
        skip = 0
        if joined and len(joined) + len(view) > RECORD_BYTES:
            yield joined
            joined = bytearray()
        if len(view) < RECORD_BYTES:
            joined += view
        else:
            for start in range(0, len(view), ENCRYPT_PIECE_BYTES):
                yield view[start : start + ENCRYPT_PIECE_BYTES]
    if joined:
        yield joined
