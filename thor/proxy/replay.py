"""Which requests may be sent to another endpoint, and what is kept for that.

Owns: the replay buffer, and the rule. Must not know exchanges, nor how an endpoint is chosen.

A request may be sent again while all of its body is in the replay buffer, if none of it was sent or
its method is idempotent (RFC 9110 section 9.2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thor.http.error import AccessError, ConnectError, DnsError, IncompleteMessageError
from thor.http.semantics import idempotent_methods

if TYPE_CHECKING:
    from thor.http.error import HttpError

#: The endpoint cannot be connected to. After other errors, another endpoint would do no better, or
#: the request itself may have caused them.
_UNREACHABLE = (ConnectError, DnsError, AccessError)
#: The connection was lost.
_LOST = (ConnectError, IncompleteMessageError)


def is_unreachable(error: HttpError, unsent: bool) -> bool:
    """Return whether `error` means that the endpoint cannot be connected to.

    unsent: whether no byte of the request was sent
    """
    return unsent and isinstance(error, _UNREACHABLE)


def may_replay(method: bytes, error: HttpError, unsent: bool) -> bool:
    """Return whether a request that failed with `error` may be sent to another endpoint.

    unsent: whether no byte of it was sent
    """
    if is_unreachable(error, unsent):
        return True
    return method in idempotent_methods and isinstance(error, _LOST)


class ReplayBuffer:
    """The body of a request, as far as it has arrived."""

    __slots__ = ("_limit", "_size", "chunks")

    def __init__(self, limit: int) -> None:
        """Keep at most `limit` bytes."""
        self.chunks: list[bytes] = []
        self._size = 0
        self._limit = limit

    def append(self, chunk: bytes) -> bool:
        """Keep a piece of the body. Returns: False if the body exceeds the limit"""
        self.chunks.append(chunk)
        self._size += len(chunk)
        return self._size <= self._limit
