"""A body that goes from one exchange to another without being looked at.

Owns: how much of it may go so, and that both sides count it. Must not know which side is the
client's, nor how bytes go from one connection to another: `TcpConnection.splice_to` does.

Theory of operation: of two exchanges that a relay joined, one receives a body of known length, and
the other sends one of the same length. What lies in its middle is of concern to nobody. Only the
beginning and the end come the usual way: with the beginning it is known that all before it was
read, and has left those who hold a body to send it again; with the end it is seen what comes behind
it. Both sides are asked before each piece, since either can end between two, and are told after
it, so that lengths, limits and timeouts are what they would be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from thor.tcp.sockets import RECV_BYTES

if TYPE_CHECKING:
    from thor.tcp import TcpConnection

#: So much of the end of a body is always read, in bytes: less than what one `recv` takes, so that
#: the last one sees what follows the body.
TAIL_BYTES = RECV_BYTES - 1
#: Less than this, in bytes, is not worth the beginning.
MIN_SPLICE_BYTES = 64 * 1024


class SpliceableBody:
    """What an exchange has for it; mixed into both kinds."""

    def relay_body(self, other: SpliceableBody, passed: Callable[[int], Any]) -> None:
        """Let what is still to come of the body received here go to `other`, as far as it can.

        To be called when a piece was received and was passed on. What cannot go so is received as
        ever; then this may be called again.
        passed: called with a number of bytes, each time that so many went
        """
        passage = BodySplice(self, other, passed)
        if passage.allowance() >= MIN_SPLICE_BYTES:
            src, dst = self._transport(), other._transport()
            if src is not None and dst is not None:
                src.splice_to(dst, passage)

    def _transport(self) -> TcpConnection | None:
        """The connection, while the exchange has it."""
        raise AssertionError

    def _bytes_expected(self) -> int:
        """Bytes that are still to arrive of the body received here, if that is known, all that
        arrived was taken, and more is wanted; else 0."""
        raise AssertionError

    def _on_body_spliced_in(self, count: int) -> None:
        """So many of them arrived."""
        raise AssertionError

    def _bytes_promised(self) -> int:
        """Bytes that are still to be written of the body sent here, if that is known and more can
        be written; else 0."""
        raise AssertionError

    def _on_body_spliced_out(self, count: int) -> None:
        """So many of them were written."""
        raise AssertionError


class BodySplice:
    """The `SpliceTarget` of one body."""

    __slots__ = ("_passed", "_source", "_target")

    def __init__(
        self, source: SpliceableBody, target: SpliceableBody, passed: Callable[[int], Any]
    ) -> None:
        self._source = source
        self._target = target
        self._passed = passed

    def allowance(self) -> int:
        """How many bytes may go."""
        return min(self._source._bytes_expected(), self._target._bytes_promised()) - TAIL_BYTES

    def on_spliced(self, count: int) -> None:
        """So many went."""
        self._source._on_body_spliced_in(count)
        self._target._on_body_spliced_out(count)
        self._passed(count)
