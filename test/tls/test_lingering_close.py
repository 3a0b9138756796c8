"""The end of a connection whose peer still has to be told why."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from thor.loop import LoopBase
from thor.testing import Recorder, advance, connection_pair, settle
from thor.tls.lingering_close import MAX_LINGER_BYTES, MAX_LINGER_S, LingeringClose


class Ending:
    """A socket that says farewell, and its peer."""

    def __init__(self, loop: LoopBase, words: bytes = b"alert", room: int = 65536) -> None:
        self.loop = loop
        pair = connection_pair(loop, buffer_bytes=room)
        pair.server.detach_socket()
        self.socket: Any = pair.server.socket
        self.peer = pair.client
        self.peer.allow_half_open = True
        self.heard = Recorder(self.peer, "data", "end", "close")
        self.farewell = LingeringClose(loop, self.socket, words)

    def is_closed(self) -> bool:
        return bool(self.socket.fileno() == -1)


def test_last_words_are_sent_then_the_end(memory: LoopBase) -> None:
    ending = Ending(memory)
    ending.peer.pause(False)
    settle(memory)
    assert ending.heard.take() == [("data", b"alert"), ("end",)]
    assert not ending.is_closed()


def test_without_words_there_is_the_end_alone(memory: LoopBase) -> None:
    ending = Ending(memory, b"")
    ending.peer.pause(False)
    settle(memory)
    assert ending.heard.take() == [("end",)]
    ending.peer.close()
    settle(memory)


def test_it_is_over_when_the_peer_closes(memory: LoopBase) -> None:
    ending = Ending(memory)
    ending.peer.write(b"what was on its way")
    settle(memory)
    assert not ending.is_closed()
    ending.peer.close()
    settle(memory)
    assert ending.is_closed()
    assert memory.scheduled_events() == []


def test_it_is_over_when_the_time_is_up(memory: LoopBase) -> None:
    ending = Ending(memory)
    advance(memory, MAX_LINGER_S - 0.1)
    assert not ending.is_closed()
    advance(memory, 0.2)
    assert ending.is_closed()
    ending.peer.abort()
    settle(memory)


def test_it_is_over_when_the_peer_sends_for_ever(memory: LoopBase) -> None:
    ending = Ending(memory)
    ending.peer.write(b"x" * (MAX_LINGER_BYTES + 1))
    settle(memory)
    assert ending.is_closed()
    ending.peer.abort()
    settle(memory)


def test_words_that_do_not_fit_wait_for_room(memory: LoopBase) -> None:
    ending = Ending(memory, b"a longer alert", room=3)
    settle(memory)
    ending.peer.pause(False)
    settle(memory)
    assert ending.heard.take() == [("data", b"a longer alert"), ("end",)]
    ending.peer.close()
    settle(memory)
    assert ending.is_closed()


@pytest.mark.parametrize("call", ["send", "recv"])
def test_connection_that_is_gone_is_over(memory: LoopBase, call: str) -> None:
    ending = Ending(memory, b"a longer alert", room=3)
    ending.socket.fail(call, ConnectionResetError(errno.ECONNRESET, "gone"))
    ending.peer.pause(False)
    ending.peer.write(b"x")
    settle(memory)
    assert ending.is_closed()
    ending.peer.abort()
    settle(memory)


def test_reset_is_no_reason_to_spin(loop: LoopBase) -> None:
    from tcp_support import reset, socket_pair

    from thor_support import run_loop

    ours, theirs = socket_pair()
    ours.setblocking(False)
    LingeringClose(loop, ours, b"alert")
    reset(theirs)
    run_loop(loop, lambda: loop.fd_count() == 0)
    assert ours.fileno() == -1
    assert loop.scheduled_events() == []


def test_loops_stop_closes_the_socket(memory: LoopBase) -> None:
    ending = Ending(memory)
    memory.stop()
    assert ending.is_closed()


def test_peer_reads_the_words_whatever_it_sent(loop: LoopBase) -> None:
    """A real kernel resets a connection that is closed with bytes unread."""
    from tcp_support import socket_pair

    from thor_support import run_loop

    ours, theirs = socket_pair()
    ours.setblocking(False)
    theirs.sendall(b"x" * 100_000)
    LingeringClose(loop, ours, b"alert")
    loop.run_once()
    theirs.sendall(b"x" * 100_000)
    loop.run_once()
    assert theirs.recv(100, socket.MSG_WAITALL) == b"alert"
    theirs.close()
    run_loop(loop, lambda: loop.fd_count() == 0)
