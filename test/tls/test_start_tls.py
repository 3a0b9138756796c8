"""TLS on a connection that is already there."""

from __future__ import annotations

import errno
import ssl
from typing import Any

import pytest
from tcp_support import MIB, memory_socket
from tls_support import CLIENT_EVENTS, NAME, Heard, SecurePair, outcome, serving, trusting

from thor.loop import LoopBase
from thor.tcp import TcpClient, TcpServer
from thor.testing import Pair, Recorder, advance, connection_pair, memory_loop, settle
from thor.tls import TlsClient, TlsConnection, accept_tls
from thor_support import run_loop


class Starting:
    """Two plain connections, and what is needed to make TLS of them."""

    def __init__(self, loop: LoopBase, **pair: Any) -> None:
        self.loop = loop
        self.plain: Pair = connection_pair(loop, **pair)
        self.client = TlsClient(loop)
        self.client.context = trusting()
        self.heard = Recorder(self.client, *CLIENT_EVENTS)

    def begin(self, **settings: Any) -> None:
        self.client.start_tls(self.plain.client, NAME, **settings)

    def accept(self) -> None:
        self.acceptance = accept_tls(self.plain.server, serving())
        self.accepted = Recorder(self.acceptance, *CLIENT_EVENTS)

    def pair(self) -> SecurePair:
        """What comes of it on both sides, if it goes well."""
        settle(self.loop)
        [(event, client)] = self.heard.take()
        [(other, server)] = self.accepted.take()
        assert (event, other) == ("connect", "connect")
        return SecurePair(client, server)

    def end(self) -> None:
        self.plain.client.abort()
        self.plain.server.abort()
        for event, *rest in self.heard.events + getattr(self, "accepted", self.heard).events:
            if event == "connect":
                rest[0].abort()
        settle(self.loop)


@pytest.fixture
def starting(memory: LoopBase) -> Any:
    found = Starting(memory)
    yield found
    found.end()


def test_conversation_that_begins_plain(starting: Starting) -> None:
    """As with SMTP: what was written before is sent before, and plain."""
    client, server = starting.plain
    greeted: list[bytes] = []

    def ask(data: bytes) -> None:
        assert data == b"STARTTLS\r\n"
        server.write(b"220 go ahead\r\n")
        starting.accept()

    def answer(data: bytes) -> None:
        greeted.append(data)
        starting.begin()

    server.on("data", ask)
    client.on("data", answer)
    server.pause(False)
    client.pause(False)
    client.write(b"STARTTLS\r\n")
    settle(starting.loop)
    pair = starting.pair()
    assert greeted == [b"220 go ahead\r\n"]
    heard = Recorder(pair.server, "data")
    pair.server.pause(False)
    pair.client.write(b"EHLO")
    pair.settle()
    assert heard.take() == [("data", b"EHLO")]
    pair.end()


def test_much_that_was_written_before_is_all_sent(memory: LoopBase) -> None:
    starting = Starting(memory, buffer_bytes=1000)
    starting.plain.client.write(b"x" * MIB)
    starting.begin()
    settle(memory)
    got = Recorder(starting.plain.server, "data")
    starting.plain.server.pause(False)
    read = 0
    while read < MIB:
        memory.run_once()
        read = sum(len(event[1]) for event in got.events)
        if read >= MIB - 1000:  # the client's first flight must stay where it is
            break
    starting.plain.server.pause(True)
    left = MIB - read
    received: Any = starting.plain.server.socket
    received.buffer_bytes = 100_000
    settle(memory)
    assert received.received[:left] == b"x" * left
    assert received.received[left : left + 1] == b"\x16"  # a record of the handshake
    starting.end()


def test_connection_before_says_nothing_any_more(starting: Starting) -> None:
    before = Heard(starting.plain.client)
    starting.begin()
    starting.accept()
    pair = starting.pair()
    starting.plain.client.close()
    starting.plain.client.abort()
    starting.plain.client.pause(False)
    with pytest.raises(ValueError, match="closed"):
        starting.plain.client.write(b"x")
    pair.client.close()
    pair.server.pause(False)
    pair.settle()
    assert before.events == []


def test_addresses_are_those_of_before(starting: Starting) -> None:
    client, server = starting.plain
    known = (server.address, server.local_address)
    starting.begin()
    starting.accept()
    pair = starting.pair()
    assert (pair.server.address, pair.server.local_address) == known
    assert pair.client.address == client.address
    pair.end()


@pytest.mark.parametrize("side", ["client", "server"])
def test_plain_bytes_that_were_received_are_an_error(starting: Starting, side: str) -> None:
    """They could be anybody's, and must not be taken for what came by TLS."""
    getattr(starting.plain, side).unread(b"220 injected\r\n")
    if side == "client":
        starting.begin()
        heard = starting.heard
    else:
        starting.accept()
        heard = starting.accepted
    settle(starting.loop)
    assert heard.take() == [
        ("connect_error", ssl.SSLError, "plain bytes were received before TLS began")
    ]


def test_plain_bytes_that_are_still_in_the_kernel_are_no_handshake(starting: Starting) -> None:
    starting.plain.server.write(b"220 injected\r\n")
    starting.loop.run_once()
    starting.begin()
    settle(starting.loop)
    assert starting.heard.take() == [("connect_error", ssl.SSLError, "the peer does not speak TLS")]
    starting.plain.server.abort()
    advance(starting.loop, 3)


def test_connection_that_the_program_closed_is_an_error_at_once(starting: Starting) -> None:
    starting.plain.client.close()
    with pytest.raises(ValueError, match="TLS cannot begin on a connection that was closed"):
        starting.begin()
    starting.plain.server.end_writing()
    with pytest.raises(ValueError, match="TLS cannot begin on a connection that was closed"):
        starting.accept()


def test_peer_that_has_finished_before_is_told(starting: Starting) -> None:
    client, server = starting.plain
    client.allow_half_open = True
    client.pause(False)
    server.end_writing()
    settle(starting.loop)
    starting.begin()
    settle(starting.loop)
    assert starting.heard.take() == [("connect_error", OSError, errno.ECONNRESET)]
    assert "the peer closed before TLS began" in str(starting.client.error)


def test_peer_that_finishes_in_the_same_turn_is_told(starting: Starting) -> None:
    """The program calls before it has heard of the end."""
    client, server = starting.plain
    client.on("end", starting.begin)
    client.pause(False)
    server.close()
    settle(starting.loop)
    assert starting.heard.take() == [("connect_error", OSError, errno.ECONNRESET)]


@pytest.mark.parametrize("left", [b"", b"what nobody will read"])
def test_peer_that_resets_while_it_waits_is_told(memory: LoopBase, left: bytes) -> None:
    starting = Starting(memory, buffer_bytes=100)
    starting.plain.server.write(left)
    starting.plain.client.write(b"x" * 1000)
    settle(memory)
    starting.begin()
    memory_socket(starting.plain.client).reset()
    settle(memory)
    assert starting.heard.take() == [("connect_error", OSError, errno.ECONNRESET)]
    starting.end()


def test_send_that_fails_while_it_waits_is_told(memory: LoopBase) -> None:
    starting = Starting(memory, buffer_bytes=100)
    starting.plain.client.write(b"x" * 1000)
    starting.begin()
    memory_socket(starting.plain.client).fail("send", BrokenPipeError(errno.EPIPE, "gone"))
    settle(memory)
    [(event, errtype, code)] = starting.heard.take()
    assert (event, errtype) == ("connect_error", OSError)
    assert code in (errno.EPIPE, errno.ECONNRESET)
    starting.end()


def test_connection_that_the_program_aborts_while_it_waits_is_told(memory: LoopBase) -> None:
    starting = Starting(memory, buffer_bytes=100)
    starting.plain.client.write(b"x" * 1000)
    starting.begin()
    starting.plain.client.abort()
    settle(memory)
    assert starting.heard.take() == [("connect_error", OSError, errno.ECONNRESET)]
    starting.end()


def test_time_of_the_call_that_sends_the_last_byte_is_no_time_to_cancel_it(
    starting: Starting,
) -> None:
    """The call that it waits for is under way already, and finds that it is over."""
    starting.plain.client.when_sent(starting.client.cancel)
    starting.begin()
    settle(starting.loop)
    assert starting.heard.events == []


def test_cancel_resets_the_connection_that_was_there(memory: LoopBase) -> None:
    starting = Starting(memory, buffer_bytes=10)
    starting.plain.client.write(b"x" * 100)
    starting.begin()
    settle(memory)
    starting.client.cancel()
    settle(memory)
    assert starting.heard.events == []
    assert starting.plain.client.socket.fileno() == -1
    starting.end()


def test_acceptance_can_be_cancelled_at_any_time(memory: LoopBase) -> None:
    for turns in range(4):
        starting = Starting(memory)
        starting.accept()
        starting.begin()
        for _ in range(turns):
            memory.run_once()
        done = bool(starting.accepted.events)
        starting.acceptance.cancel()
        starting.acceptance.cancel()
        settle(memory)
        assert bool(starting.accepted.events) is done
        starting.end()


def test_timeout_includes_what_has_to_be_sent_before(memory: LoopBase) -> None:
    starting = Starting(memory, buffer_bytes=10)
    starting.plain.client.write(b"x" * 100)
    starting.begin(timeout=3)
    advance(memory, 3.1)
    assert starting.heard.take() == [("connect_error", OSError, errno.ETIMEDOUT)]
    starting.end()


def test_one_thing_at_a_time(starting: Starting) -> None:
    starting.begin()
    with pytest.raises(RuntimeError, match="connecting already"):
        starting.begin()
    with pytest.raises(RuntimeError, match="connecting already"):
        starting.client.connect("127.0.0.1", 1)
    starting.client.cancel()
    settle(starting.loop)


def test_connection_of_another_loop_is_refused(starting: Starting) -> None:
    other = connection_pair(memory_loop())
    with pytest.raises(ValueError, match="the connection is on another loop"):
        starting.client.start_tls(other.client, NAME)


def test_listener_of_the_connection_that_raises_ends_it(
    memory: LoopBase, expected_logs: Any
) -> None:
    memory.on_exception = "log"
    starting = Starting(memory, buffer_bytes=10)
    starting.plain.client.write(b"x" * 100)
    starting.begin()
    starting.plain.client.failed(LookupError())
    settle(memory)
    assert starting.heard.take() == [("connect_error", OSError, errno.ECONNRESET)]
    starting.client.start_tls(connection_pair(memory).client, NAME)
    starting.client.remove_listeners()
    starting.client._start_tls.failed(LookupError())  # type: ignore[union-attr]
    settle(memory)
    assert any("no connection to localhost by TLS" in told for told in expected_logs.messages)
    memory.stop()


def test_failure_of_an_acceptance_that_nobody_listens_for_is_logged(
    starting: Starting, expected_logs: Any
) -> None:
    acceptance = accept_tls(starting.plain.server, serving())
    starting.plain.client.close()
    settle(starting.loop)
    assert isinstance(acceptance.error, ssl.SSLEOFError)
    assert expected_logs.messages == [
        "TLS could not be started: the peer closed during the handshake"
    ]


# -- with a server -------------------------------------------------------------------------------


def test_connection_of_a_server_stays_one_of_its_own(loop: LoopBase) -> None:
    server = TcpServer("127.0.0.1", 0, loop)
    plain = TcpClient(loop)
    secure: list[TlsConnection] = []

    def upgrade(conn: Any) -> None:
        accept_tls(conn, serving()).on("connect", secure.append)

    server.on("connect", upgrade)
    conn = outcome(plain, lambda: plain.connect(*server.address))
    client = TlsClient(loop)
    client.context = trusting()
    conn = outcome(client, lambda: client.start_tls(conn, NAME))
    run_loop(loop, lambda: secure)
    assert server.active_connections == 1
    stopped = Recorder(server, "stop")
    server.graceful_shutdown()
    conn.close()
    secure[0].pause(False)
    run_loop(loop, lambda: stopped.events)
    assert server.active_connections == 0


def test_shutdown_of_the_server_ends_a_handshake_and_is_told(loop: LoopBase) -> None:
    server = TcpServer("127.0.0.1", 0, loop)
    plain = TcpClient(loop)
    heard: list[Recorder] = []

    def accept(conn: Any) -> None:
        heard.append(Recorder(accept_tls(conn, serving()), *CLIENT_EVENTS))

    server.on("connect", accept)
    conn = outcome(plain, lambda: plain.connect(*server.address))
    run_loop(loop, lambda: heard)
    loop.run_once(0)
    server.shutdown()
    conn.abort()
    run_loop(loop, lambda: loop.fd_count() == 0 and heard[0].events)
    assert heard[0].take() == [("connect_error", OSError, errno.ECONNABORTED)]
