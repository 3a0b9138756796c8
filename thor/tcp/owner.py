"""The seam between a connection and the protocol on it.

Owns: the declared type of `TcpConnection.owner`. Must not know any protocol, nor how a connection
works.

Theory of operation: the owner is called directly, before the listeners of the connection's events;
event names are for users. Every implementer names the Protocol as a base class, so that type
checkers hold it to these methods.
"""

from __future__ import annotations

from typing import Protocol


class ConnectionOwner(Protocol):
    """The protocol that runs on a TCP or TLS connection."""

    def data(self, data: bytes, /) -> None:
        """Handle bytes that arrived. Not called while the connection is paused."""

    def end(self) -> None:
        """Handle that the peer finished sending. Once, unless bytes are pushed back after it."""

    def pause(self, paused: bool, /) -> None:
        """Stop writing (True) while the send queue is too long, resume (False) when it is short.

        False follows True also after `close()`, unless the connection is lost before.
        """

    def write_blocked(self) -> None:
        """Handle that the peer's window is full: a flush left bytes that wait for it to read."""

    def hangup(self) -> None:
        """Handle that the peer is gone while reading is paused, with unread data left. Once."""

    def close(self, exc: OSError | None, /) -> None:
        """Handle that the peer or the network ended the connection. Once; not after our close."""

    def disconnect(self) -> None:
        """Handle that the socket is closed, whoever began. Once, last."""

    def failed(self, exc: BaseException, /) -> None:
        """Handle that a listener raised `exc`; it was logged."""
