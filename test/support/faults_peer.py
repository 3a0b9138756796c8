"""Peers that a scenario plays, and what they make of what they hear.

Owns: the other end of a connection, which has no faults of its own. Must not know any scenario.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from thor.http.wire.limits import Limits
from thor.http.wire.reader import ResponseReader
from thor.tcp import TcpConnection

if TYPE_CHECKING:
    from faults_world import World


class Peer:
    """A peer that a scenario plays, as far as the other side lets it.

    received: what has come; story: that, and how it ended
    """

    def __init__(self, world: World, sock: Any, speaks: str) -> None:
        self.speaks = speaks
        self.received = b""
        self.ended = self.lost = False
        self.conn: TcpConnection | None = None
        if sock is not None:
            self.conn = conn = TcpConnection(sock, ("127.0.0.1", 80), world.loop)
            conn.allow_half_open = True
            conn.on("data", self._data)
            conn.on("end", partial(setattr, self, "ended", True))
            conn.on("close", partial(setattr, self, "lost", True))
            conn.pause(False)
        self._world = world

    def _data(self, data: bytes) -> None:
        self.received += data

    @property
    def story(self) -> Any:
        if self.speaks == "http":
            return read_responses(self.received), self.ended
        return self.received, self.ended

    def whole_bodies(self) -> list[bytes]:
        """The bodies of the responses that say 200, and are whole."""
        if self.speaks != "http":
            return []
        parts = read_responses(self.received)
        return [
            body
            for head, body, trailers in zip(parts, parts[1:], parts[2:], strict=False)
            if isinstance(head, tuple) and head[1] == 200 and isinstance(trailers, list)
        ]

    def send(self, *pieces: bytes) -> Peer:
        """Send each piece as one segment, as long as it can."""
        for piece in pieces:
            if self.conn is not None and self.conn.tcp_connected:
                self.conn.write(piece)
            self._world.settle()
        return self

    def finish(self) -> Peer:
        """Finish sending."""
        if self.conn is not None:
            self.conn.end_writing()
        self._world.settle()
        return self

    def close(self) -> Peer:
        """Close."""
        if self.conn is not None:
            self.conn.close()
        self._world.settle()
        return self

    def vanish(self) -> None:
        """Reset."""
        if self.conn is not None:
            self.conn.abort()

    def forget(self) -> None:
        """Leave nothing."""
        if self.conn is not None:
            self.conn.socket.close()


def read_responses(data: bytes) -> list[Any]:
    """Responses, and interim ones, whatever their framing. Raises: HttpError for what is none"""
    found: list[Any] = []
    reader = ResponseReader(Limits())
    while data:
        reader.expect(b"GET", True)
        reader.feed(data)
        while (head := reader.read_head()) is not None:
            found.append((head.status, head.status_code, head.phrase, head.headers))
            if head.status_code not in range(102, 200) and head.status != b"100":
                break
        if head is None:
            return [*found, "no more"]
        if head.status != b"101":
            body = []
            while chunk := reader.read_body():
                body.append(chunk)
            found.append(b"".join(body))
            if not reader.complete:
                return [*found, "no more"]
            found.append(list(reader.trailers))
        data = reader.take_rest()
        if head.status == b"101":
            return [*found, data]
    return found
