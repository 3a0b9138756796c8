"""One connection: what it emits, and what the layer above it is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tcp_support import MIB, Heard, Owner, memory_socket, played, read_all, reset

from thor.loop import LoopBase
from thor.tcp.idle import has_ended
from thor.testing import Pair, Recorder, connection_pair, settle
from thor_support import run_loop

# -- as documented -------------------------------------------------------------------------------


def test_close_writes_what_is_queued_first(loop: LoopBase) -> None:
    payload = bytes(range(256)) * (10 * MIB // 256)
    with played(loop) as (conn, peer):
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(read_all(peer)))
        reader.start()
        heard = Heard(conn)
        conn.write(payload)
        conn.close()
        run_loop(loop, lambda: "disconnect" in heard.names())
        reader.join()
        assert got == [payload]
        paused = [event for event in heard.events if event[0] == "pause"]
        assert paused == [("pause", True), ("pause", False)]  # what was paused for it goes on
        assert heard.names() == ["pause", "pause", "disconnect"]


@pytest.mark.parametrize("how", [socket.socket.close, reset], ids=["closed", "reset"])
def test_close_is_emitted_when_the_other_side_ends_the_connection(
    loop: LoopBase, how: Callable[[socket.socket], None]
) -> None:
    with played(loop) as (conn, peer):
        heard = Recorder(conn, "close", "disconnect")
        conn.pause(False)
        how(peer)
        run_loop(loop, lambda: len(heard.events) == 2)
        loop.run_once()
        assert heard.take() == [("close",), ("disconnect",)]


# -- reading -------------------------------------------------------------------------------------


def test_each_turn_reads_each_connection_once(memory: LoopBase) -> None:
    """So that one with much to say does not keep the others waiting."""
    pairs = [connection_pair(memory, buffer_bytes=4 * MIB) for _ in range(2)]
    order: list[int] = []
    for number, (client, server) in enumerate(pairs):
        server.on("data", lambda data, number=number: order.append(number))
        server.pause(False)
        client.write(b"x" * 3 * 65536)
    settle(memory)
    assert order == [0, 1] * 3


def test_nothing_is_read_after_close(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.server.pause(False)
    pair.server.close()
    pair.client.write(b"late")
    settle(memory)
    assert heard.take() == [("disconnect",)]


def test_bytes_given_back_come_first(pair: Pair, memory: LoopBase) -> None:
    server = pair.server
    first = Recorder(server, "data")
    server.pause(False)
    pair.client.write(b"head+body")
    settle(memory)
    assert first.take() == [("data", b"head+body")]
    server.pause(True)
    server.unread(b"body")
    pair.client.write(b"+more")
    settle(memory)
    assert first.take() == []
    server.pause(False)
    settle(memory)
    assert first.take() == [("data", b"body+more")]


def test_bytes_given_back_twice_keep_their_order(pair: Pair, memory: LoopBase) -> None:
    heard = Recorder(pair.server, "data")
    pair.server.unread(b"second ")
    pair.server.unread(b"first ")
    pair.server.unread(b"")
    pair.client.write(b"third")
    pair.server.pause(False)
    settle(memory)
    assert heard.take() == [("data", b"first second third")]


def test_bytes_given_back_after_the_end_are_followed_by_the_end_again(
    pair: Pair, memory: LoopBase
) -> None:
    """Who hands a connection on gives the whole rest of the stream on, its end too."""
    pair.server.allow_half_open = True
    heard = Recorder(pair.server, "data", "end", "close")
    pair.server.pause(False)
    pair.client.write(b"rest")
    pair.client.end_writing()
    settle(memory)
    assert heard.take() == [("data", b"rest"), ("end",)]
    pair.server.unread(b"rest")
    settle(memory)
    assert heard.take() == [("data", b"rest"), ("end",)]


def test_text_cannot_be_given_back(pair: Pair) -> None:
    with pytest.raises(TypeError, match="what is given back is bytes, not str"):
        pair.server.unread("x")  # type: ignore[arg-type]


def test_bytes_given_back_are_dropped_by_close(pair: Pair, memory: LoopBase) -> None:
    heard = Heard(pair.server)
    pair.server.pause(False)
    pair.server.unread(b"x")
    pair.server.close()
    pair.server.unread(b"y")
    settle(memory)
    assert heard.take() == [("disconnect",)]


@pytest.mark.parametrize("how", ["data", "closed", "reset"])
def test_has_ended_sees_what_the_loop_has_not_read(loop: LoopBase, how: str) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        conn.pause(False)
        assert not has_ended(conn)
        if how == "data":
            peer.send(b"x")
        else:
            (reset if how == "reset" else socket.socket.close)(peer)
        assert has_ended(conn)
        assert heard.events == []  # it is asked in a method, which never emits
        conn.abort()


# -- half-close ----------------------------------------------------------------------------------


def test_data_after_half_close_is_forwarded(memory: LoopBase) -> None:
    """A relay of two connections: each direction ends on its own."""
    left, right = connection_pair(memory), connection_pair(memory)
    near, far = left.server, right.client
    for source, sink in ((near, far), (far, near)):
        source.allow_half_open = True
        source.on("data", sink.write)
        source.on("end", sink.end_writing)
        source.pause(False)
    browser, origin = Heard(left.client), Heard(right.server)
    for end in (left.client, right.server):
        end.allow_half_open = True
        end.pause(False)
    left.client.write(b"ask")
    left.client.end_writing()
    settle(memory)
    assert origin.take() == [("data", b"ask"), ("end",)]
    right.server.write(b"tell")
    settle(memory)
    assert browser.take() == [("data", b"tell")]
    right.server.end_writing()
    settle(memory)
    assert browser.take() == [("end",), ("close",), ("disconnect",)]
    assert origin.take() == [("close",), ("disconnect",)]


@pytest.mark.parametrize("half_open", [False, True])
def test_connection_whose_two_directions_have_ended_closes_by_itself(
    loop: LoopBase, half_open: bool
) -> None:
    with played(loop) as (conn, peer):
        conn.allow_half_open = half_open
        heard = Heard(conn)
        conn.end_writing()
        conn.pause(False)
        loop.run_once()
        peer.shutdown(socket.SHUT_WR)
        run_loop(loop, lambda: "end" in heard.names())
        # At once: not every poller tells of the hang-up that follows.
        assert heard.take() == [("end",), ("close",), ("disconnect",)]


def test_what_is_queued_when_the_peer_finishes_is_sent(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        heard = Heard(conn)
        while conn.write(b"x" * 65536):
            pass
        total = conn.write_buffer.size + conn.bytes_written
        peer.shutdown(socket.SHUT_WR)
        conn.pause(False)
        run_loop(loop, lambda: "end" in heard.names())
        got = 0
        while got < total:
            got += len(peer.recv(MIB))
            loop.run_once()
        run_loop(loop, lambda: "disconnect" in heard.names())
        assert [name for name in heard.names() if name != "pause"] == ["end", "close", "disconnect"]


# -- the layer above -------------------------------------------------------------------------------


def test_owner_is_called_before_listeners_and_told_everything(pair: Pair, memory: LoopBase) -> None:
    owner = Owner(pair.server)
    pair.server.on("data", lambda data: owner.calls.append(("listener", data)))
    memory_socket(pair.client).buffer_bytes = 0
    pair.client.pause(False)
    pair.server.pause(False)
    pair.server.write(b"x" * MIB)
    pair.client.write(b"hello")
    settle(memory)
    memory_socket(pair.client).buffer_bytes = MIB
    settle(memory)
    pair.client.end_writing()
    settle(memory)
    assert owner.calls == [
        ("pause", True),
        ("stuck",),
        ("data", b"hello"),
        ("listener", b"hello"),
        ("pause", False),
        ("end",),
        ("close", type(None)),
        ("disconnect",),
    ]


def test_owner_that_closes_keeps_the_event_from_listeners(pair: Pair, memory: LoopBase) -> None:
    owner: Any = Owner(pair.server)
    heard = Heard(pair.server)
    owner.data = lambda data: pair.server.close()
    pair.server.pause(False)
    pair.client.write(b"hello")
    settle(memory)
    assert heard.take() == [("disconnect",)]


def test_owner_hears_of_a_hang_up_while_paused(pair: Pair, memory: LoopBase) -> None:
    owner = Owner(pair.server)
    pair.client.write(b"left")
    settle(memory)
    memory_socket(pair.server).reset()
    settle(memory)
    assert owner.calls == [("hangup",)]
    pair.server.pause(False)
    settle(memory)
    assert owner.calls == [
        ("hangup",),
        ("data", b"left"),
        ("close", ConnectionResetError),
        ("disconnect",),
    ]


def test_owner_decides_what_a_failed_listener_means(
    pair: Pair, memory: LoopBase, expected_logs: Any
) -> None:
    memory.on_exception = "log"
    owner: Any = Owner(pair.server)

    def fail(data: bytes) -> None:
        raise LookupError

    owner.data = fail
    pair.server.pause(False)
    pair.client.write(b"x")
    settle(memory)
    assert owner.calls == [("failed", LookupError)]
    assert pair.server.tcp_connected


# -- what can be seen ------------------------------------------------------------------------------


def test_addresses_of_both_sides_are_known(loop: LoopBase) -> None:
    with played(loop) as (conn, peer):
        assert conn.address == peer.getsockname()
        assert conn.local_address == peer.getpeername()
        assert conn.socket.fileno() >= 0


def test_repr_shows_both_states(pair: Pair) -> None:
    assert repr(pair.client) == (
        "<TcpConnection ('127.0.0.1', 80) reading open (paused), writing open>"
    )
    pair.client.pause(False)
    pair.client.end_writing()
    assert repr(pair.client).endswith("reading open, writing flushing>")
