"""What seldom happens to a TLS connection: refusals, renegotiations, floods, interruptions."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from tcp_support import MIB, memory_socket
from tls_support import Heard, SecurePair, secure_pair, serving, trusting

from thor.loop import LoopBase
from thor.loop.poller import READABLE
from thor.testing import Recorder, advance

# -- OpenSSL has to read before it can write (a renegotiation) -----------------------------------


class Renegotiation:
    """Makes writes of `conn` wait for `reads` reads, as a renegotiation does."""

    def __init__(self, conn: Any, reads: int) -> None:
        self._encrypt: Callable[[Any], int] = conn.tls.encrypt
        self._decrypt: Callable[[int], bytes] = conn.tls.decrypt
        self.left = reads
        conn.tls.encrypt = self.encrypt
        conn.tls.decrypt = self.decrypt

    def encrypt(self, data: Any) -> int:
        if self.left:
            raise ssl.SSLWantReadError
        return self._encrypt(data)

    def decrypt(self, size: int) -> bytes:
        self.left = max(0, self.left - 1)
        return self._decrypt(size)


@pytest.mark.parametrize("size", [100, MIB], ids=["small", "large"])
def test_write_that_has_to_wait_for_a_read_follows_it(pair: SecurePair, size: int) -> None:
    heard = Recorder(pair.client, "data")
    Renegotiation(pair.server, 1)
    for end in pair:
        end.pause(False)
    pair.server.write(b"x" * size)
    pair.settle()  # without spinning
    assert heard.events == []
    assert pair.server._interest == READABLE
    pair.client.write(b"go on")
    pair.settle()
    assert heard.take() == [("data", b"x" * size)]


def test_it_is_read_although_reading_is_paused_and_held_until_it_resumes(pair: SecurePair) -> None:
    """Who is paused may be so because the writes do not leave."""
    client, server = Recorder(pair.client, "data"), Recorder(pair.server, "data", "end")
    Renegotiation(pair.server, 3)
    pair.client.pause(False)
    pair.server.write(b"answer")
    for word in (b"one ", b"two ", b"three"):
        assert client.events == []
        pair.client.write(word)
        pair.settle()
    assert client.take() == [("data", b"answer")]
    assert server.events == []
    assert pair.server.bytes_read == len(b"one two three")
    pair.client.write(b" four")
    pair.client.end_writing()
    pair.settle()
    assert server.events == []
    pair.server.pause(False)
    pair.settle()
    assert server.take() == [("data", b"one two three four"), ("end",)]


def test_reading_that_was_not_paused_goes_on_as_before(pair: SecurePair) -> None:
    server = Recorder(pair.server, "data")
    Renegotiation(pair.server, 1)
    pair.server.pause(False)
    pair.server.write(b"answer")
    pair.settle()
    pair.client.write(b"one ")
    pair.settle()
    pair.client.write(b"two")
    pair.settle()
    assert server.take() == [("data", b"one two")]


def test_what_is_held_meanwhile_is_bounded(pair: SecurePair) -> None:
    heard = Heard(pair.server)
    Renegotiation(pair.server, 1000)
    pair.server.write(b"answer")
    pair.settle()
    pair.client.write(b"x" * MIB)
    pair.settle()
    assert heard.names() == ["close", "disconnect"]
    assert "does not read" in str(pair.server.error)
    assert pair.server.bytes_read < MIB


@pytest.mark.parametrize("clean", [True, False], ids=["close_notify", "fin"])
def test_peer_that_ends_instead_has_cut_the_connection_off(pair: SecurePair, clean: bool) -> None:
    heard = Heard(pair.server)
    pair.client.pause(False)
    pair.settle()
    Renegotiation(pair.server, 1000)
    pair.server.write(b"answer")
    pair.settle()
    if clean:
        pair.client.close()
    else:
        pair.client.socket.shutdown(1)
    pair.settle()
    assert heard.names() == ["close", "disconnect"]
    assert isinstance(pair.server.error, ssl.SSLEOFError)


def test_connection_that_is_closing_waits_for_it_too(pair: SecurePair) -> None:
    heard = Recorder(pair.client, "data", "end")
    pair.client.allow_half_open = True
    pair.client.pause(False)
    Renegotiation(pair.server, 1)
    pair.server.write(b"last words")
    pair.server.close()
    pair.settle()
    pair.client.write(b"go on")
    pair.settle()
    assert heard.take() == [("data", b"last words"), ("end",)]


# -- answers that OpenSSL writes while it reads --------------------------------------------------


class Asking:
    """Makes each read of `conn` write an answer, as a KeyUpdate does."""

    def __init__(self, conn: Any, answer: bytes) -> None:
        self._decrypt: Callable[[int], bytes] = conn.tls.decrypt
        self._outgoing = conn.tls.outgoing
        self._answer = answer
        conn.tls.decrypt = self.decrypt

    def decrypt(self, size: int) -> bytes:
        data = self._decrypt(size)
        self._outgoing.write(self._answer)
        return data


def test_answer_leaves_at_once(pair: SecurePair) -> None:
    pair.server.pause(False)
    Asking(pair.server, b"an answer")
    before = len(memory_socket(pair.client).received)
    pair.client.write(b"question")
    pair.settle()
    assert memory_socket(pair.client).received[before:] == b"an answer"


def test_peer_that_asks_and_never_reads_is_given_up(pair: SecurePair) -> None:
    heard = Heard(pair.server)
    pair.server.pause(False)
    memory_socket(pair.client).buffer_bytes = 0
    Asking(pair.server, b"x" * 50_000)
    for _ in range(20):
        pair.client.write(b"question")
        pair.settle()
        assert len(pair.server.tls.unsent) < MIB
        if "disconnect" in heard.names():
            break
    assert heard.names()[-2:] == ["close", "disconnect"]
    assert "does not read the answers" in str(pair.server.error)


def test_answer_that_cannot_be_sent_is_found_out_by_the_next_write(pair: SecurePair) -> None:
    heard = Heard(pair.server)
    pair.server.pause(False)
    Asking(pair.server, b"an answer")
    memory_socket(pair.server).fail("send", ConnectionResetError(errno.ECONNRESET, "gone"))
    pair.client.write(b"question")
    pair.settle()
    assert heard.take() == [("data", b"question")]
    memory_socket(pair.server).fail("send", ConnectionResetError(errno.ECONNRESET, "gone"))
    pair.server.write(b"answer")
    pair.settle()
    assert heard.names() == ["close", "disconnect"]


# -- refusals of the kernel ----------------------------------------------------------------------


def test_records_can_be_smaller_than_what_is_written(pair: SecurePair) -> None:
    """As where the peer asks for small ones (RFC 6066 section 4)."""
    heard = Recorder(pair.server, "data")
    encrypt = pair.client.tls.encrypt
    pair.client.tls.encrypt = lambda data: encrypt(data[:100])
    pair.server.pause(False)
    pair.client.write(bytes(range(256)) * 16)
    pair.settle()
    pair.client.write(b"x" * MIB)
    pair.settle()
    assert heard.take() == [("data", bytes(range(256)) * 16 + b"x" * MIB)]


def test_close_notify_waits_for_room(memory: LoopBase) -> None:
    pair = secure_pair(memory, client=trusting(), server=serving())
    heard, ended = Recorder(pair.server, "data", "end"), Recorder(pair.client, "disconnect")
    memory_socket(pair.server).buffer_bytes = len(memory_socket(pair.server).received) + 25
    pair.client.write(b"abc")  # a record of 25 bytes, and no room for another one
    pair.client.close()
    pair.settle()
    assert ended.events == []
    memory_socket(pair.server).buffer_bytes = MIB
    pair.settle()
    assert ended.take() == [("disconnect",)]
    pair.server.pause(False)
    pair.settle()
    assert heard.take() == [("data", b"abc"), ("end",)]
    pair.end()


def test_alert_waits_for_room(pair: SecurePair) -> None:
    """And is sent when the program has long been told."""
    client, server = Heard(pair.client), Heard(pair.server)
    pair.server.pause(False)
    pair.client.write(b"x" * 100)
    pair.loop.run_once()
    received: Any = pair.server.socket
    received.received[-1] ^= 1
    memory_socket(pair.client).buffer_bytes = 0
    pair.settle()
    assert server.names() == ["close", "disconnect"]
    memory_socket(pair.client).buffer_bytes = MIB
    pair.client.pause(False)
    pair.settle()
    assert client.names() == ["close", "disconnect"]
    assert "ALERT_BAD_RECORD_MAC" in str(pair.client.error)
    advance(pair.loop, 3)
