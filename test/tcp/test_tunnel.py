"""Two connections joined, in memory."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from thor.tcp import TcpConnection, join
from thor.testing import MemorySocket, Peer, Playbook, connection_pair, memory_loop, settle


class TunnelHarness(Playbook):
    """A tunnel between the peers `left` and `right`; `joined` are its two connections."""

    def __init__(self, **settings: Any) -> None:
        self.loop = memory_loop()
        super().__init__(self.loop)
        left, right = connection_pair(self.loop), connection_pair(self.loop)
        self.left, self.right = Peer(self.loop, left.client), Peer(self.loop, right.client)
        self.peer("left", self.left).peer("right", self.right)
        self.joined = (left.server, right.server)
        self.done: list[str] = []
        self.tunnel = join(*self.joined, lambda _: self.done.append("done"), **settings)

    def end(self) -> None:
        """Close what is left."""
        self.abort("left").abort("right")
        assert self.done == ["done"]


def socket_of(conn: TcpConnection) -> MemorySocket:
    sock: Any = conn.socket
    assert isinstance(sock, MemorySocket)
    return sock


def test_bytes_are_forwarded_in_both_directions() -> None:
    ends = TunnelHarness()
    ends.send("left", b"ping").expect(("right", "data", b"ping"))
    ends.send("right", b"pong").expect(("left", "data", b"pong"))
    ends.send("right", b"!")
    assert (ends.tunnel.bytes_from_downstream, ends.tunnel.bytes_from_upstream) == (4, 5)
    assert ends.done == []
    ends.end()


def test_bytes_received_before_are_forwarded_first() -> None:
    loop = memory_loop()
    left, right = connection_pair(loop), connection_pair(loop)
    left.server.unread(b"early ")
    sender, receiver = Peer(loop, left.client), Peer(loop, right.client)
    join(left.server, right.server)
    sender.send(b"late")
    receiver.expect(b"early late")
    sender.abort()


def test_data_after_a_half_close_is_forwarded() -> None:
    ends = TunnelHarness()
    ends.send("left", b"question").finish("left")
    ends.expect(("right", "data", b"question"), ("right", "end"))
    ends.send("right", b"answer").expect(("left", "data", b"answer"))
    ends.finish("right").expect(("right", "close"), ("left", "end"), ("left", "close"))
    assert ends.done == ["done"]


@pytest.mark.parametrize("name", ["left", "right"])
def test_tunnel_forwards_a_reset(name: str) -> None:
    ends = TunnelHarness()
    ends.send("left", b"x").abort(name)
    assert ends.done == ["done"]
    assert (ends.right if name == "left" else ends.left).is_reset


def test_peer_that_does_not_read_pauses_the_other() -> None:
    ends = TunnelHarness()
    ends.right.pause()
    ends.left.send(*[b"x" * 65536] * 200)
    near = ends.joined[1]
    assert near.write_buffer.size <= near.high_water + 2 * 65536
    assert near.bytes_written == 0
    assert ends.left.unsent
    ends.right.pause(False)
    assert near.bytes_written == 200 * 65536
    ends.end()


def test_reset_of_a_paused_peer_is_detected_immediately() -> None:
    ends = TunnelHarness()
    ends.right.pause()
    ends.left.send(*[b"x" * 65536] * 10)
    assert ends.joined[0].read_paused
    socket_of(ends.joined[0]).reset()
    settle(ends.loop)
    assert ends.done == ["done"]


def test_failed_send_ends_both_connections() -> None:
    ends = TunnelHarness()
    socket_of(ends.joined[1]).fail("send", OSError(errno.EPIPE, "broken"))
    ends.send("left", b"x").abort("right")
    assert ends.done == ["done"]


def test_idle_tunnel_is_reset() -> None:
    ends = TunnelHarness(idle_timeout=10)
    ends.advance(9).send("right", b"x").advance(9)
    assert ends.done == []
    ends.advance(2)
    assert ends.done == ["done"]


def test_tunnel_can_be_aborted() -> None:
    ends = TunnelHarness()
    ends.call(ends.tunnel.abort)
    assert ends.done == ["done"]


def test_listener_that_raises_ends_the_tunnel(caplog: pytest.LogCaptureFixture) -> None:
    ends = TunnelHarness()
    ends.loop.on_exception = "log"

    def fail(data: bytes) -> None:
        raise LookupError("the program's mistake")

    ends.joined[0].on("data", fail)
    ends.send("left", b"x")
    assert ends.done == ["done"]
    assert "the program's mistake" in caplog.text


@pytest.mark.parametrize("early", [b"", b"early"])
def test_fin_that_was_read_before_is_forwarded_behind_what_was_pushed_back(early: bytes) -> None:
    loop = memory_loop()
    left, right = connection_pair(loop), connection_pair(loop)
    left.server.allow_half_open = True
    sender, receiver = Peer(loop, left.client), Peer(loop, right.client)
    left.server.pause(False)
    sender.end()
    left.server.pause(True)
    left.server.unread(early)
    join(left.server, right.server)
    receiver.expect(early).expect_end()
    receiver.send(b"answer").abort()
    sender.expect(b"answer")


@pytest.mark.parametrize("closed", [0, 1])
def test_connection_that_was_closed_before_ends_the_other(closed: int) -> None:
    loop = memory_loop()
    pairs = connection_pair(loop), connection_pair(loop)
    other = Peer(loop, pairs[1 - closed].client)
    pairs[closed].server.abort()
    settle(loop)
    done: list[object] = []
    tunnel = join(pairs[0].server, pairs[1].server, done.append)
    assert done == []
    settle(loop)
    assert done == [tunnel]
    assert other.is_reset


def test_program_that_closes_a_joined_connection_resets_the_other() -> None:
    ends = TunnelHarness()
    ends.call(ends.joined[0].close)
    assert ends.right.is_reset
    assert ends.done == ["done"]


def test_join_refuses_what_it_cannot_join() -> None:
    here, there = connection_pair(memory_loop()), connection_pair(memory_loop())
    with pytest.raises(ValueError, match="two connections on one loop"):
        join(here.server, here.server)
    with pytest.raises(ValueError, match="two connections on one loop"):
        join(here.server, there.server)

    async def done(tunnel: object) -> None: ...

    with pytest.raises(TypeError, match="coroutine"):
        join(here.server, here.client, done)
