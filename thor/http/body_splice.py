"""A body that is moved from one exchange to another in the kernel.

Owns: how much of it may be moved so, and that both sides count it. Must not know which side is the
client's, nor how bytes are moved from connection to connection: `TcpConnection.splice_to` does.

Theory of operation: of two exchanges that a relay joined, one receives a body of known length, and
the other sends one of the same length. Nothing has to read the middle of it. Only the beginning and
the end are read and written: with the beginning it is known that all before it was read, and has
left the replay buffers; with the end what follows it is seen. Both sides are asked before each
piece, since either can end between two, and are called after it, so that lengths, limits and
timeouts are what they would be otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from thor.tcp.sockets import RECV_BYTES

if TYPE_CHECKING:
    from thor.http.streams import Spliceable

#: So much of the end of a body is always read, in bytes: less than what one `recv` takes, so that
#: the last one sees what follows the body.
TAIL_BYTES = RECV_BYTES - 1
#: Less than this, in bytes, is not worth the beginning.
MIN_SPLICE_BYTES = 64 * 1024


def splice_body(
    source: Spliceable | None, target: Spliceable | None, on_spliced: Callable[[int], object]
) -> None:
    """Move the rest of the body that `source` receives to `target`, as far as the kernel can.

    To be called when a piece was received and was passed on. What cannot be moved is received as
    ever; then this may be called again.
    on_spliced: called with a number of bytes, each time that so many were moved
    """
    if source is None or target is None:
        return
    splice = BodySplice(source, target, on_spliced)
    src, dst = source.transport, target.transport
    if src is not None and dst is not None and splice.allowance() >= MIN_SPLICE_BYTES:
        src.splice_to(dst, splice)


class BodySplice:
    """The `SpliceTarget` of one body."""

    __slots__ = ("_on_spliced", "_source", "_target")

    def __init__(
        self, source: Spliceable, target: Spliceable, on_spliced: Callable[[int], object]
    ) -> None:
        self._source = source
        self._target = target
        self._on_spliced = on_spliced

    def allowance(self) -> int:
        """Return how many bytes may be moved."""
        return min(self._source.bytes_expected(), self._target.bytes_promised()) - TAIL_BYTES

    def on_spliced(self, count: int) -> None:
        """Count bytes that were moved."""
        self._source.on_spliced_in(count)
        self._target.on_spliced_out(count)
        self._on_spliced(count)
