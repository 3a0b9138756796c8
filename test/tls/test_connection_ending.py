"""How a TLS connection ends: a clean end is told from one that was cut off."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from typing import Any

import pytest
from tcp_support import MIB, Owner, memory_socket, read_all, socket_pair
from tls_support import (
    NAME,
    Bytes,
    Heard,
    Meeting,
    SecurePair,
    blocking,
    only,
    secure_pair,
    serving,
    trusting,
)

from thor.loop import LoopBase
from thor.tcp import TcpConnection
from thor.tcp.idle import has_ended
from thor.testing import Recorder, advance
from thor.tls import accept_tls
from thor_support import run_loop

# -- clean ends ----------------------------------------------------------------------------------


def test_data_that_has_arrived_when_writing_ends_is_not_lost(pair: SecurePair) -> None:
    """OpenSSL reads when it sends close_notify: not what the program has still to get."""
    heard = Recorder(pair.client, "data", "end")
    pair.server.write(b"on its way")
    pair.loop.run_once()
    pair.client.end_writing()
    pair.settle()
    pair.server.write(b", and later")
    pair.settle()
    pair.client.pause(False)
    pair.settle()
    assert heard.take() == [("data", b"on its way, and later")]


def test_closing_a_client_that_has_read_nothing_loses_nothing(served: Meeting) -> None:
    """Tickets that nobody read make a kernel reset the connection, and drop what was sent."""
    conn, peer = served.meet()
    heard = Recorder(peer, "data", "end", "close")
    conn.write(b"x" * MIB)
    conn.close()
    peer.pause(False)
    served.until(lambda: ("close",) in heard.events)
    assert heard.take() == [("data", b"x" * MIB), ("end",), ("close",)]
    assert peer.error is None


def test_has_ended_takes_tickets_in_and_sees_close_notify_behind_them(pair: SecurePair) -> None:
    assert memory_socket(pair.client).received
    assert not has_ended(pair.client)
    assert not memory_socket(pair.client).received
    pair.server.end_writing()
    pair.settle()
    assert has_ended(pair.client)


# -- ends that are none --------------------------------------------------------------------------


def test_fin_without_close_notify_is_told_from_an_end(pair: SecurePair) -> None:
    owner, heard = Owner(pair.server), Heard(pair.server)
    pair.server.pause(False)
    pair.client.write(b"part of it")
    pair.loop.run_once()
    pair.client.socket.shutdown(socket.SHUT_WR)
    pair.settle()
    assert heard.take() == [("data", b"part of it"), ("close",), ("disconnect",)]
    assert owner.calls[1:] == [("close", ssl.SSLEOFError), ("disconnect",)]
    assert "without close_notify" in str(pair.server.error)


def test_fin_in_the_middle_of_a_record_is_told_from_an_end(pair: SecurePair) -> None:
    heard = Heard(pair.server)
    pair.server.pause(False)
    memory_socket(pair.server).buffer_bytes = 10
    pair.client.write(b"part of it")
    pair.loop.run_once()
    pair.client.socket.shutdown(socket.SHUT_WR)
    pair.settle()
    assert heard.take() == [("close",), ("disconnect",)]
    assert isinstance(pair.server.error, ssl.SSLEOFError)


def test_reset_after_tickets_that_nobody_has_read_is_told_as_one(pair: SecurePair) -> None:
    """They are read, and are no data: what comes after them is what counts."""
    heard = Heard(pair.client)
    assert memory_socket(pair.client).received
    memory_socket(pair.client).reset()
    pair.settle()
    assert heard.take() == [("close",), ("disconnect",)]
    assert isinstance(pair.client.error, ConnectionResetError)


def test_close_notify_that_cannot_be_sent_ends_the_connection(pair: SecurePair) -> None:
    heard = Heard(pair.client)
    pair.client.pause(False)
    memory_socket(pair.client).fail("send", ConnectionResetError(errno.ECONNRESET, "gone"))
    pair.client.end_writing()
    pair.settle()
    assert heard.take() == [("close",), ("disconnect",)]
    assert isinstance(pair.client.error, ConnectionResetError)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("at", [0, 3, 5, -1], ids=["type", "length", "first", "last"])
def test_record_that_was_altered_never_reaches_the_program(
    memory: LoopBase, version: str, at: int
) -> None:
    pair = secure_pair(memory, client=trusting(**only(version)))
    client, server = Heard(pair.client), Heard(pair.server)
    pair.client.pause(False)
    pair.server.pause(False)
    pair.client.write(b"good")
    pair.settle()
    pair.client.write(b"x" * 1000)
    pair.loop.run_once()
    received: Any = pair.server.socket
    received.received[at] ^= 0x55
    pair.settle()
    if pair.server.tcp_connected:  # a length that is too long waits for the rest
        pair.client.write(b"y" * 2 * MIB)
        pair.settle()
    assert server.take() == [("data", b"good"), ("close",), ("disconnect",)]
    assert isinstance(pair.server.error, ssl.SSLError)
    assert not isinstance(pair.server.error, ssl.SSLEOFError)
    # The alert that OpenSSL wrote has left, and is what the other side ends with.
    assert [name for name in client.names() if name != "pause"] == ["close", "disconnect"]
    assert isinstance(pair.client.error, ssl.SSLError)
    assert "alert" in str(pair.client.error).lower()
    advance(memory, 3)


def test_data_before_a_bad_record_is_delivered_then_the_error(pair: SecurePair) -> None:
    owner = Owner(pair.server)
    pair.client.write(b"good")
    pair.loop.run_once()
    pair.client.write(b"bad")
    pair.loop.run_once()
    received: Any = pair.server.socket
    received.received[-1] ^= 1
    pair.server.pause(False)
    pair.settle()
    assert owner.calls == [("data", b"good"), ("close", ssl.SSLError), ("disconnect",)]
    advance(pair.loop, 3)


def test_alert_for_a_bad_record_overtakes_nothing_over_a_real_socket(served: Meeting) -> None:
    """The kernel would reset a connection that is closed with bytes unread."""
    raw = served.dial()
    peer = Bytes(trusting(), NAME)
    raw.sendall(peer.shake())
    served.until(lambda: _readable(raw))
    while served.heard.events == []:
        raw.sendall(peer.shake(raw.recv(65536)))
        served.loop.run_once()
    conn = served.accepted()
    conn.pause(False)
    bad = bytearray(peer.say(b"x" * 100))
    bad[-1] ^= 1
    raw.sendall(bad + b"and much that nobody will read" * 10_000)
    heard = Heard(conn)
    served.until(lambda: heard.events)
    assert heard.names() == ["close", "disconnect"]
    answer: list[bytes] = []
    reader = threading.Thread(target=lambda: answer.append(read_all(raw)))
    reader.start()
    served.until(lambda: answer)
    reader.join()
    with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac"):
        peer.hear(answer[0])
    raw.close()


def _readable(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        sock.settimeout(10)


# -- ending from inside --------------------------------------------------------------------------


# -- peers of other kinds ------------------------------------------------------------------------


def test_peer_in_plain_python_half_closes(loop: LoopBase) -> None:
    """`unwrap` sends close_notify and waits for the other one."""
    ours, theirs = socket_pair()
    ours.setblocking(False)
    acceptance = accept_tls(TcpConnection(ours, theirs.getsockname(), loop), serving())
    heard = Recorder(acceptance, "connect")
    said: list[bytes] = []

    def play() -> None:
        peer = blocking(theirs, trusting(), NAME)
        peer.do_handshake()
        peer.sendall(b"question")
        said.append(peer.recv(100))
        peer.unwrap().close()

    player = threading.Thread(target=play)
    player.start()
    run_loop(loop, lambda: heard.events)
    conn = heard.events[0][1]
    events = Heard(conn)
    conn.on("data", lambda data: conn.write(b"answer"))
    conn.pause(False)
    run_loop(loop, lambda: ("disconnect",) in events.events)
    player.join()
    assert said == [b"answer"]
    assert events.take() == [("data", b"question"), ("end",), ("close",), ("disconnect",)]
