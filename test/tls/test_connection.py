"""One TLS connection: plain bytes in, plain bytes out, and nothing of it differs from TCP."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from tcp_support import MIB, memory_socket
from tls_support import (
    NAME,
    Meeting,
    SecurePair,
    authority,
    issued,
    only,
    secure_pair,
    serving,
    stranger,
    trusting,
)

from thor.loop import LoopBase
from thor.testing import Recorder, advance
from thor.tls import client_context

PATTERN = bytes(range(256)) * (MIB // 256)


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def either(request: pytest.FixtureRequest, memory: LoopBase) -> Any:
    """A pair of each version."""
    found = secure_pair(memory, client=trusting(**only(request.param)))
    assert found.client.tls_version == found.server.tls_version == request.param
    yield found
    found.end()


# -- reading and writing -------------------------------------------------------------------------


def test_nothing_of_it_is_readable_on_the_way(pair: SecurePair) -> None:
    pair.client.write(b"a secret")
    pair.loop.run_once()
    assert memory_socket(pair.server).received
    assert b"secret" not in memory_socket(pair.server).received


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 65537, 3 * MIB + 1])
def test_any_size_crosses_both_ways(either: SecurePair, size: int) -> None:
    data = (PATTERN * 4)[:size]
    for source, sink in ((either.client, either.server), (either.server, either.client)):
        heard = Recorder(sink, "data")
        sink.pause(False)
        source.write(data)
        either.settle()
        assert heard.take() == [("data", data)]
        assert (source.bytes_written, sink.bytes_read) == (size, size)


def test_writes_that_come_while_a_record_is_half_sent_follow_it(pair: SecurePair) -> None:
    heard = Recorder(pair.server, "data")
    memory_socket(pair.server).buffer_bytes = 10
    for number in range(200):
        pair.client.write(b"%d " % number * 100)
        pair.loop.run_once()
    pair.server.pause(False)
    memory_socket(pair.server).buffer_bytes = MIB
    pair.settle()
    assert heard.take() == [("data", b"".join(b"%d " % n * 100 for n in range(200)))]


def test_many_small_writes_leave_in_few_records(pair: SecurePair) -> None:
    heard = Recorder(pair.server, "data")
    memory_socket(pair.server).buffer_bytes = MIB
    before = memory_socket(pair.client).calls["send"]
    for _ in range(3000):
        pair.client.write(b"x" * 10)
    pair.loop.run_once()
    assert memory_socket(pair.client).calls["send"] == before + 1
    assert len(memory_socket(pair.server).received) < 30_000 + 3 * 30
    pair.server.pause(False)
    pair.settle()
    assert heard.take() == [("data", b"x" * 30_000)]


def test_one_read_delivers_all_that_it_took_from_the_kernel(pair: SecurePair) -> None:
    """Nothing stays in OpenSSL, where no poller sees it."""
    seen: list[bytes] = []
    pair.server.on("data", seen.append)
    for word in (b"one ", b"two ", b"three"):
        pair.client.write(word)
        pair.loop.run_once()
    before = memory_socket(pair.server).calls["recv"]
    pair.server.pause(False)
    pair.settle()
    assert seen == [b"one two three"]
    assert memory_socket(pair.server).calls["recv"] == before + 1


def test_record_that_comes_byte_by_byte_is_one_piece_of_data(pair: SecurePair) -> None:
    seen: list[bytes] = []
    pair.server.on("data", seen.append)
    pair.server.pause(False)
    pair.client.write(b"whole")
    pair.loop.run_once()
    socket: Any = pair.server.socket
    record, socket.received = bytes(socket.received), bytearray()
    for byte in record:
        assert seen == []
        socket.received.append(byte)
        pair.settle()
    assert seen == [b"whole"]


def test_bytes_count_as_written_when_the_kernel_has_their_record(pair: SecurePair) -> None:
    memory_socket(pair.server).buffer_bytes = 100
    pair.client.write(b"x" * 1000)
    told: list[int] = []
    pair.client.when_sent(lambda: told.append(pair.client.bytes_written))
    pair.settle()
    assert (pair.client.bytes_written, told) == (0, [])
    memory_socket(pair.server).buffer_bytes = 10_000
    pair.settle()
    assert (pair.client.bytes_written, told) == (1000, [1000])


def test_everything_waits_without_spinning_while_the_peer_does_not_read(pair: SecurePair) -> None:
    memory_socket(pair.server).buffer_bytes = 20
    pair.client.write(b"x" * 1000)
    pair.client.close()
    pair.settle()  # it would fail if the loop never rested
    assert not pair.client.tcp_connected
    heard = Recorder(pair.server, "data", "end")
    pair.server.pause(False)
    pair.settle()
    assert heard.take() == [("data", b"x" * 1000), ("end",)]


# -- the real thing ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_echo_of_megabytes_over_real_sockets(served: Meeting, version: str) -> None:
    conn, peer = served.meet(trusting(**only(version)))
    peer.on("data", peer.write)
    peer.on("pause", peer.pause)
    peer.pause(False)
    heard = Recorder(conn, "data", "end")
    conn.pause(False)
    for _ in range(5):
        conn.write(PATTERN)
    served.until(lambda: conn.bytes_read == 5 * MIB)
    conn.end_writing()
    served.until(lambda: conn.socket.fileno() < 0)
    assert heard.take() == [("data", PATTERN * 5), ("end",)]


# -- what was agreed on --------------------------------------------------------------------------


def test_both_sides_know_what_was_agreed_on(memory: LoopBase) -> None:
    pair = secure_pair(
        memory,
        client=trusting(alpn=["h2", "http/1.1"], **only("TLSv1.2")),
        server=serving(alpn=["http/1.1"]),
    )
    for end in pair:
        assert (end.alpn, end.tls_version, end.session_reused) == ("http/1.1", "TLSv1.2", False)
        assert end.server_name == NAME
    assert pair.client.cipher == pair.server.cipher
    assert str(pair.client.cipher).startswith("ECDHE-")
    pair.end()


def test_without_a_protocol_in_common_there_is_none(memory: LoopBase) -> None:
    pair = secure_pair(memory, client=trusting(alpn=["h2"]), server=serving(alpn=["http/1.1"]))
    assert (pair.client.alpn, pair.server.alpn) == (None, None)
    pair.end()


def test_server_order_of_protocols_counts(memory: LoopBase) -> None:
    pair = secure_pair(memory, client=trusting(alpn=["a", "b"]), server=serving(alpn=["b", "a"]))
    assert (pair.client.alpn, pair.server.alpn) == ("b", "b")
    pair.end()


def test_client_sees_the_servers_certificate(pair: SecurePair) -> None:
    pem = issued(NAME, "127.0.0.1").certificate.decode()
    assert pair.client.peer_certificate == ssl.PEM_cert_to_DER_cert(pem)
    assert pair.server.peer_certificate is None
    assert pair.server.verified_chain is None


def test_server_sees_the_certificate_that_it_requires(memory: LoopBase) -> None:
    alice = issued("alice", client=True)
    pair = secure_pair(
        memory,
        client=trusting(certificate=alice.certificate, key=alice.key),
        server=serving(client_ca=authority().certificate),
    )
    own = ssl.PEM_cert_to_DER_cert(alice.certificate.decode())
    assert pair.server.peer_certificate == own
    if hasattr(ssl.SSLObject, "get_verified_chain"):
        root = ssl.PEM_cert_to_DER_cert(authority().certificate.decode())
        assert pair.server.verified_chain == [own, root]
    else:
        assert pair.server.verified_chain is None
    pair.end()


def test_client_that_verifies_nothing_still_sees_the_certificate(memory: LoopBase) -> None:
    server = serving()
    pair = secure_pair(memory, client=client_context(verify=False), server=server, name="other")
    assert pair.client.peer_certificate is not None
    pair.end()


def test_optional_certificate_may_be_missing_but_not_a_strangers(memory: LoopBase) -> None:
    server = serving(client_ca=authority().certificate, require_client_certificate=False)
    pair = secure_pair(memory, server=server)
    assert pair.server.peer_certificate is None
    pair.end()
    mallory = stranger().issue("mallory", client=True)
    context = trusting(certificate=mallory.certificate, key=mallory.key, **only("TLSv1.2"))
    with pytest.raises(AssertionError, match="does not know the issuer of this side's certificate"):
        secure_pair(memory, client=context, server=server)
    advance(memory, 3)


def test_what_was_agreed_on_can_be_asked_for_after_the_end(pair: SecurePair) -> None:
    pair.client.close()
    pair.server.pause(False)
    pair.settle()
    assert pair.client.tls_version == "TLSv1.3"
    assert pair.client.peer_certificate is not None


def test_connection_says_what_it_is(pair: SecurePair) -> None:
    assert repr(pair.client).startswith("<TlsConnection ('127.0.0.1', 80) reading open (paused)")


# -- memory --------------------------------------------------------------------------------------
