"""One handshake: what it waits for, and what it ends with."""

from __future__ import annotations

import errno
import ssl
import sys
from typing import Any

import pytest
from tcp_support import memory_socket
from tls_support import (
    CLIENT_EVENTS,
    NAME,
    Bytes,
    SecurePair,
    authority,
    only,
    secure_pair,
    serving,
    stranger,
    trusting,
)

from thor.loop import LoopBase
from thor.testing import Pair, Recorder, advance, connection_pair, settle
from thor.tls import TlsClient, TlsConnection, accept_tls


class Accepting:
    """A server's handshake in memory, with a client that is played with bytes."""

    def __init__(
        self,
        loop: LoopBase,
        timeout: float = 10,
        context: ssl.SSLContext | None = None,
        **pair: Any,
    ) -> None:
        self.loop = loop
        self.plain: Pair = connection_pair(loop, **pair)
        self.plain.client.allow_half_open = True
        self.plain.client.pause(False)
        self.said = Recorder(self.plain.client, "data", "end", "close")
        self.acceptance = accept_tls(self.plain.server, context or serving(), timeout)
        self.heard = Recorder(self.acceptance, *CLIENT_EVENTS)
        settle(loop)

    def send(self, data: bytes) -> bytes:
        """Returns: the answer"""
        self.plain.client.write(data)
        settle(self.loop)
        answers = [event[1] for event in self.said.take() if event[0] == "data"]
        return b"".join(answers)

    def end(self) -> None:
        for event, *rest in self.heard.events:
            if event == "connect":
                rest[0].abort()
        self.plain.client.abort()
        advance(self.loop, 3)


@pytest.fixture
def accepting(memory: LoopBase) -> Any:
    found = Accepting(memory)
    yield found
    found.end()


@pytest.mark.parametrize("second", [False, True], ids=["hello", "second-hello"])
def test_name_that_is_not_ascii_ends_the_handshake_with_an_alert(
    memory: LoopBase, second: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's `ssl` would write a traceback to stderr, through this hook."""
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    def retry(context: ssl.SSLContext) -> None:
        context.set_ecdh_curve("prime256v1")  # the client offers X25519: a HelloRetryRequest

    accepting = Accepting(memory, context=serving(configure=retry if second else None))
    peer = Bytes(trusting(), "aao.test")
    hello = peer.shake()
    if second:
        hello = peer.shake(accepting.send(hello))
    assert b"aao.test" in hello
    answer = accepting.send(hello.replace(b"aao.test", "\xe5o.test".encode()))
    with pytest.raises(ssl.SSLError, match=r"(?i)illegal parameter"):
        peer.shake(answer)
    reason = "the peer asks for a name that is not ASCII"
    assert accepting.heard.events == [("connect_error", ssl.SSLError, reason)]
    assert unraisable == []
    accepting.end()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("room", [1, 100])
def test_handshake_in_small_pieces(memory: LoopBase, version: str, room: int) -> None:
    """Each side's flight crosses in pieces of `room` bytes."""
    pair = secure_pair(memory, client=trusting(**only(version)), buffer_bytes=room)
    heard = Recorder(pair.server, "data")
    pair.server.pause(False)
    pair.client.write(b"hello")
    pair.settle()
    assert heard.take() == [("data", b"hello")]
    pair.end()


def test_data_that_comes_with_the_end_of_the_handshake_is_delivered(
    accepting: Accepting,
) -> None:
    """No readiness tells of it: the kernel has handed it over already."""
    peer = Bytes(trusting(), NAME)
    flight = peer.shake(accepting.send(peer.shake()))
    accepting.send(flight + peer.say(b"question") + peer.finish())
    [(_, conn)] = accepting.heard.events
    heard = Recorder(conn, "data", "end")
    settle(accepting.loop)
    assert heard.events == []  # it is paused
    conn.pause(False)
    settle(accepting.loop)
    assert heard.take() == [("data", b"question"), ("end",)]


@pytest.mark.parametrize("half", [True, False], ids=["end_writing", "close"])
def test_data_that_came_along_survives_an_end_of_writing(accepting: Accepting, half: bool) -> None:
    peer = Bytes(trusting(), NAME)
    flight = peer.shake(accepting.send(peer.shake()))
    accepting.send(flight + peer.say(b"question"))
    [(_, conn)] = accepting.heard.events
    heard = Recorder(conn, "data", "end", "disconnect")
    if half:
        conn.end_writing()
    else:
        conn.close()
    settle(accepting.loop)
    conn.pause(False)
    settle(accepting.loop)
    assert heard.take() == ([("data", b"question")] if half else [("disconnect",)])


def test_it_may_take_only_so_long(memory: LoopBase) -> None:
    accepting = Accepting(memory, timeout=7)
    accepting.send(Bytes(trusting(), NAME).shake()[:100])
    advance(memory, 6.9)
    assert accepting.heard.events == []
    advance(memory, 0.2)
    assert accepting.heard.events == [("connect_error", OSError, errno.ETIMEDOUT)]
    assert str(accepting.acceptance.error) == (
        f"[Errno {errno.ETIMEDOUT}] the TLS handshake took more than 7 s"
    )
    assert accepting.said.take() == [("end",)]


def test_without_a_limit_no_timer_is_left(memory: LoopBase) -> None:
    accepting = Accepting(memory, timeout=0)
    assert memory.scheduled_events() == []
    accepting.acceptance.cancel()
    settle(memory)
    assert accepting.heard.events == []


def test_no_timer_is_left_after_it(pair: SecurePair) -> None:
    assert pair.loop.scheduled_events() == []


@pytest.mark.parametrize("sent", [0, 100], ids=["at-once", "in-the-middle"])
def test_peer_that_closes_has_broken_it_off(accepting: Accepting, sent: int) -> None:
    accepting.send(Bytes(trusting(), NAME).shake()[:sent])
    accepting.plain.client.close()
    settle(accepting.loop)
    assert accepting.heard.take() == [
        ("connect_error", ssl.SSLError, "the peer closed during the handshake")
    ]


def test_reset_is_an_error_of_the_network(accepting: Accepting) -> None:
    memory_socket(accepting.plain.server).reset()
    settle(accepting.loop)
    assert accepting.heard.take() == [("connect_error", OSError, errno.ECONNRESET)]


def test_send_that_fails_is_an_error_of_the_network(accepting: Accepting) -> None:
    memory_socket(accepting.plain.server).fail("send", BrokenPipeError(errno.EPIPE, "gone"))
    accepting.send(Bytes(trusting(), NAME).shake())
    assert accepting.heard.take() == [("connect_error", OSError, errno.EPIPE)]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "the peer speaks HTTP without TLS", id="http"),
        pytest.param(b"SSH-2.0-x\r\n", "the peer does not speak TLS", id="ssh"),
        pytest.param(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", "length too short", id="empty-hello"),
        pytest.param(
            b"\x16\x03\x01\xff\xff" + bytes(100), "the peer does not speak TLS", id="long"
        ),
    ],
)
def test_what_is_no_tls_is_answered_with_an_alert(
    accepting: Accepting, sent: bytes, told: str
) -> None:
    answer = accepting.send(sent + bytes(20))
    [(event, errtype, reason)] = accepting.heard.take()
    assert (event, errtype, reason) == ("connect_error", ssl.SSLError, told)
    assert answer[:1] in (b"\x15", b"")  # OpenSSL answers all but some of what is no TLS at all
    settle(accepting.loop)


def test_alert_reaches_a_peer_that_goes_on_sending(memory: LoopBase) -> None:
    """A certificate that is refused is found out when the client has sent its first request."""
    plain = connection_pair(memory)
    mallory = stranger().issue("mallory", client=True)
    acceptance = accept_tls(plain.server, serving(client_ca=authority().certificate))
    refused = Recorder(acceptance, *CLIENT_EVENTS)
    client = TlsClient(memory)
    client.context = trusting(certificate=mallory.certificate, key=mallory.key)
    conns: list[TlsConnection] = []
    client.on("connect", conns.append)
    client.start_tls(plain.client, NAME)
    while not conns:
        memory.run_once()
    conns[0].write(b"a request" * 10_000)
    heard = Recorder(conns[0], "close", "disconnect")
    conns[0].pause(False)
    settle(memory)
    assert refused.take() == [
        ("connect_error", ssl.SSLError, "the peer's certificate has an unknown issuer")
    ]
    assert heard.take() == [("close",), ("disconnect",)]
    assert "ALERT_UNKNOWN_CA" in str(conns[0].error)
    advance(memory, 3)


def test_listener_that_raises_resets_the_new_connection(
    accepting: Accepting, expected_logs: Any
) -> None:
    accepting.loop.on_exception = "log"
    peer = Bytes(trusting(), NAME)

    def fail(conn: TlsConnection) -> None:
        raise LookupError

    accepting.acceptance.on("connect", fail)
    flight = peer.shake(accepting.send(peer.shake()))
    ended = Recorder(accepting.plain.client, "close")
    accepting.send(flight)
    assert ended.take() == [("close",)]
    assert any("LookupError" in message for message in expected_logs.messages)


def test_something_that_raises_inside_it_is_logged_and_told(
    accepting: Accepting, expected_logs: Any
) -> None:
    accepting.loop.on_exception = "log"
    conn: Any = accepting.acceptance._handshake.conn  # type: ignore[union-attr]

    class Broken:
        def do_handshake(self) -> None:
            raise LookupError("broken")

    conn.tls.ssl_object = Broken()
    accepting.send(b"x")
    assert accepting.heard.take() == [("connect_error", OSError, errno.EPROTO)]
    assert any("LookupError" in message for message in expected_logs.messages)


def test_stopping_the_loop_inside_it_forgets_it(memory: LoopBase) -> None:
    accepting = Accepting(memory)
    accepting.send(Bytes(trusting(), NAME).shake())
    memory.stop()
    assert accepting.heard.events == []
    assert memory.fd_count() == 0
    assert accepting.plain.server.socket.fileno() == -1
    accepting.acceptance.cancel()
    memory.run_once()
    assert accepting.heard.events == []


def test_alert_that_cannot_be_sent_is_not_waited_for(accepting: Accepting) -> None:
    memory_socket(accepting.plain.server).fail("send", BrokenPipeError(errno.EPIPE, "gone"))
    accepting.send(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00")
    [(_, errtype, _)] = accepting.heard.take()
    assert errtype is ssl.SSLError
    assert accepting.plain.server.socket.fileno() == -1


def test_part_of_a_record_that_came_along_is_waited_for(accepting: Accepting) -> None:
    peer = Bytes(trusting(), NAME)
    flight = peer.shake(accepting.send(peer.shake()))
    record = peer.say(b"question")
    accepting.send(flight + record[:10])
    [(_, conn)] = accepting.heard.events
    heard = Recorder(conn, "data")
    conn.end_writing()
    settle(accepting.loop)
    conn.pause(False)
    accepting.send(record[10:])
    assert heard.take() == [("data", b"question")]
