"""Records of what was emitted, and playbooks."""

from __future__ import annotations

from unittest.mock import ANY

import pytest

from thor.events import EventEmitter
from thor.tcp import TcpConnection
from thor.testing import MemoryNetwork, Playbook, Recorder


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


# -- records ------------------------------------------------------------------------------------


def test_recorder_keeps_events_in_order() -> None:
    emitter = EventEmitter()
    heard = Recorder(emitter, "x", "y")
    emitter.emit("y", 1, None)
    emitter.emit("x")
    emitter.emit("z")
    assert heard.events == [("y", 1, None), ("x",)]
    assert heard.take() == [("y", 1, None), ("x",)]
    assert heard.take() == []


def test_bytes_that_follow_each_other_are_joined() -> None:
    emitter = EventEmitter()
    heard = Recorder(emitter, "data", "other")
    for data in (b"ab", b"c"):
        emitter.emit("data", data)
    emitter.emit("other", b"d")
    emitter.emit("data", b"e")
    emitter.emit("data", "not bytes")
    emitter.emit("data", "not bytes")
    assert heard.take() == [
        ("data", b"abc"),
        ("other", b"d"),
        ("data", b"e"),
        ("data", "not bytes"),
        ("data", "not bytes"),
    ]


def test_events_that_were_taken_are_not_joined_with_later_ones() -> None:
    emitter = EventEmitter()
    heard = Recorder(emitter, "data")
    emitter.emit("data", b"a")
    taken = heard.take()
    emitter.emit("data", b"b")
    assert (taken, heard.take()) == ([("data", b"a")], [("data", b"b")])


# -- playbooks ----------------------------------------------------------------------------------


@pytest.fixture
def play(network: MemoryNetwork) -> Playbook:
    """A client `near` at an echo server that says goodbye after an hour."""
    server = network.tcp_server_class("echo", 7)

    def serve(conn: TcpConnection) -> None:
        conn.on("data", conn.write)
        conn.pause(False)
        network.loop.schedule(3600, conn.write, b"goodbye")
        network.loop.schedule(3600, conn.close)

    server.on("connect", serve)
    play = Playbook(network.loop)
    play.watch("server", server, "start", "connect", "stop")
    play.peer("near", network.connect("echo", 7))
    return play.expect(("server", "start"), ("server", "connect", ANY))


def test_conversation_reads_like_one(play: Playbook, network: MemoryNetwork) -> None:
    play.send("near", b"hello ").send("near", b"world")
    play.expect(("near", "data", b"hello world"))
    play.advance(3600)
    play.expect(("near", "data", b"goodbye"), ("near", "end"))
    play.finish("near").expect(("near", "close"))
    (pair,) = network.pairs
    play.call(pair.client.abort).expect()


def test_expectation_that_fails_shows_the_story_and_a_diff(play: Playbook) -> None:
    play.send("near", b"hello").expect(("near", "data", b"hello"))
    play.send("near", b"again")
    with pytest.raises(AssertionError) as failure:
        play.expect(("near", "data", b"something else"), ("near", "end"))
    shown = str(failure.value).splitlines()
    assert "near sends b'hello'" in shown
    assert "    ('near', 'data', b'hello')" in shown
    assert "near sends b'again'" in shown
    assert "- ('near', 'data', b'something else')" in shown
    assert "+ ('near', 'data', b'again')" in shown
    assert "- ('near', 'end')" in shown


def test_any_is_no_difference(play: Playbook) -> None:
    play.send("near", b"hello")
    with pytest.raises(AssertionError) as failure:
        play.expect(("near", "data", ANY), ("near", "end"))
    shown = str(failure.value)
    assert "- ('near', 'end')" in shown
    assert "- ('near', 'data'" not in shown


def test_what_was_not_expected_fails_too(play: Playbook) -> None:
    play.send("near", b"hello")
    with pytest.raises(AssertionError, match=r"\+ \('near', 'data', b'hello'\)"):
        play.expect()


def test_order_counts(play: Playbook) -> None:
    play.advance(3600)
    with pytest.raises(AssertionError):
        play.expect(("near", "end"), ("near", "data", b"goodbye"))


def test_steps_that_raise_are_told(play: Playbook) -> None:
    with pytest.raises(KeyError):
        play.send("nobody", b"x")
