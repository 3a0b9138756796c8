"""Two connections joined, in memory."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from thor.loop import LoopBase
from thor.proxy.tunnel import Tunnel
from thor.tcp import TcpConnection
from thor.testing import MemorySocket, Recorder, advance, connection_pair, memory_loop, settle


class Ends:
    """A tunnel between `left` and `right`, the far ends."""

    def __init__(self, **settings: Any) -> None:
        self.loop: LoopBase = memory_loop()
        self.left, near_left = connection_pair(self.loop)
        self.right, near_right = connection_pair(self.loop)
        self.done: list[str] = []
        self.near = (near_left, near_right)
        self.heard = {
            conn: Recorder(conn, "data", "end", "close") for conn in (self.left, self.right)
        }
        for conn in (self.left, self.right):
            conn.allow_half_open = True
            conn.pause(False)
        self.tunnel = Tunnel(
            near_left, near_right, self.loop, done=lambda _: self.done.append("done"), **settings
        )

    def settle(self) -> None:
        settle(self.loop)

    def heard_by(self, conn: TcpConnection) -> list[tuple[Any, ...]]:
        self.settle()
        return self.heard[conn].take()

    def end(self) -> None:
        """Close what is left."""
        self.left.abort()
        self.right.abort()
        self.settle()
        assert self.done == ["done"]


def socket_of(conn: TcpConnection) -> MemorySocket:
    sock: Any = conn.socket
    assert isinstance(sock, MemorySocket)
    return sock


def test_bytes_go_both_ways() -> None:
    ends = Ends()
    ends.left.write(b"ping")
    assert ends.heard_by(ends.right) == [("data", b"ping")]
    ends.right.write(b"pong")
    assert ends.heard_by(ends.left) == [("data", b"pong")]
    ends.right.write(b"!")
    ends.settle()
    assert (ends.tunnel.bytes_from_one, ends.tunnel.bytes_from_other) == (4, 5)
    assert ends.done == []
    ends.end()


def test_bytes_that_came_before_go_first() -> None:
    loop = memory_loop()
    left, near_left = connection_pair(loop)
    right, near_right = connection_pair(loop)
    near_left.unread(b"early ")
    heard = Recorder(right, "data")
    right.pause(False)
    Tunnel(near_left, near_right, loop)
    left.write(b"late")
    settle(loop)
    assert heard.take() == [("data", b"early late")]
    left.abort()
    settle(loop)


def test_data_after_a_half_close_is_forwarded() -> None:
    ends = Ends()
    ends.left.write(b"question")
    ends.left.end_writing()
    assert ends.heard_by(ends.right) == [("data", b"question"), ("end",)]
    ends.right.write(b"answer")
    assert ends.heard_by(ends.left) == [("data", b"answer")]
    ends.right.end_writing()
    assert ends.heard_by(ends.left) == [("end",), ("close",)]
    assert ends.heard_by(ends.right) == [("close",)]
    assert ends.done == ["done"]


@pytest.mark.parametrize("slow", ["left", "right"])
def test_a_reset_takes_the_other_side_with_it(slow: str) -> None:
    ends = Ends()
    ends.left.write(b"x")
    ends.settle()
    gone, stays = (ends.left, ends.right) if slow == "left" else (ends.right, ends.left)
    ends.heard[stays].take()
    gone.abort()
    ends.settle()
    assert ends.done == ["done"]
    with pytest.raises(ValueError, match="closed"):
        stays.write(b"x")


def test_a_side_that_takes_nothing_stops_the_other_from_being_read() -> None:
    ends = Ends()
    socket_of(ends.right).buffer_bytes = 0
    chunk = b"x" * 65536
    written = 0
    for _ in range(200):
        if ends.left.write(chunk):
            written += len(chunk)
        ends.settle()
    near = ends.near[1]
    assert near.write_buffer.size <= near.high_water + 2 * 65536
    assert near.bytes_written == 0
    socket_of(ends.right).buffer_bytes = 1 << 30
    ends.settle()
    assert ends.near[1].bytes_written == ends.left.bytes_written
    ends.end()


def test_a_peer_that_is_reset_while_it_is_not_read_is_noticed_at_once() -> None:
    ends = Ends()
    socket_of(ends.right).buffer_bytes = 0
    for _ in range(10):
        ends.left.write(b"x" * 65536)
        ends.settle()
    assert ends.near[0].read_paused
    socket_of(ends.near[0]).reset()
    ends.settle()
    assert ends.done == ["done"]


def test_a_send_that_fails_ends_both() -> None:
    ends = Ends()
    socket_of(ends.near[1]).fail("send", OSError(errno.EPIPE, "broken"))
    ends.left.write(b"x")
    ends.settle()
    ends.right.abort()
    ends.settle()
    assert ends.done == ["done"]


def test_an_idle_tunnel_is_reset() -> None:
    ends = Ends(idle_timeout=10)
    advance(ends.loop, 9)
    ends.right.write(b"x")
    advance(ends.loop, 9)
    assert ends.done == []
    advance(ends.loop, 2)
    assert ends.done == ["done"]


def test_a_tunnel_can_be_ended() -> None:
    ends = Ends()
    ends.tunnel.abort()
    ends.settle()
    assert ends.done == ["done"]


def test_a_listener_that_raises_ends_the_tunnel(caplog: pytest.LogCaptureFixture) -> None:
    ends = Ends()
    ends.loop.on_exception = "log"

    def fail(data: bytes) -> None:
        raise LookupError("the program's mistake")

    ends.near[0].on("data", fail)
    ends.left.write(b"x")
    ends.settle()
    assert ends.done == ["done"]
    assert "the program's mistake" in caplog.text
