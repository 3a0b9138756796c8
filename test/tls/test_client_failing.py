"""ConnectAttempt with TLS, where something else fails, or nobody waits any more."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tcp_support import PEER_LIMIT_S
from tls_support import (
    NAME,
    Meeting,
    blocking,
    meeting,
    outcome,
    serving,
    trusting,
)

from thor.loop import LoopBase
from thor.testing import Recorder
from thor.tls import (
    TlsClient,
    TlsConnection,
    TlsServer,
    self_signed,
    server_context,
)
from thor_support import run_loop


def closed_after(served: Meeting, conn: TlsConnection) -> TlsConnection:
    """The connection, which is closed when the server has heard of it."""
    served.accepted().abort()
    conn.abort()
    return conn


# -- other failures ------------------------------------------------------------------------------


def test_refused_connection_is_told_as_by_a_tcp_client(loop: LoopBase, closed_port: int) -> None:
    client = TlsClient(loop)
    client.context = trusting()
    found = outcome(client, lambda: client.connect("127.0.0.1", closed_port))
    assert found == (socket.error, errno.ECONNREFUSED)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, nor can: it is bound."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PEER_LIMIT_S)
        yield listening


@pytest.mark.parametrize("whole", [True, False], ids=["of-connect", "of-the-handshake"])
def test_server_that_says_nothing_is_a_timeout(
    loop: LoopBase, silent: socket.socket, whole: bool
) -> None:
    client = TlsClient(loop)
    client.context = trusting()
    client.handshake_timeout = None if whole else 0.05
    address = silent.getsockname()
    found = outcome(client, lambda: client.connect(address[0], address[1], 0.05 if whole else 60))
    assert found == (socket.error, errno.ETIMEDOUT)
    assert ("handshake" in str(client.error)) is not whole
    assert loop.scheduled_events() == []
    run_loop(loop, lambda: loop.fd_count() == 0)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(b"", "the peer closed during the handshake", id="nothing"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "the peer does not speak TLS", id="http"),
        pytest.param(
            b"\x15\x03\x03\x00\x02\x02\x70", "the peer does not serve that name", id="unrecognized"
        ),
        pytest.param(b"\x15\x03\x03\x00\x02\x02\x50", "the peer has failed", id="internal-error"),
        pytest.param(
            b"\x15\x03\x03\x00\x02\x02\x78",
            "the peer speaks none of the protocols offered (ALPN)",
            id="no-protocol",
        ),
        pytest.param(
            b"\x15\x03\x03\x00\x02\x02\x74",
            "the peer requires a certificate of this side",
            id="certificate-required",
        ),
    ],
)
def test_what_the_peer_answers_instead_is_told(
    loop: LoopBase, silent: socket.socket, answer: bytes, told: str
) -> None:
    def play() -> None:
        peer, _ = silent.accept()
        with peer:
            peer.settimeout(PEER_LIMIT_S)
            peer.recv(1 << 16)
            peer.sendall(answer)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1 << 16):
                pass

    player = threading.Thread(target=play)
    player.start()
    client = TlsClient(loop)
    client.context = trusting()
    found = outcome(client, lambda: client.connect(*silent.getsockname()))
    run_loop(loop, lambda: loop.fd_count() == 0)
    player.join()
    assert found == (ssl.SSLError, told)


def test_context_that_cannot_be_made_is_told(loop: LoopBase, silent: socket.socket) -> None:
    client = TlsClient(loop)
    client.verify = False
    client.alpn = ("",)
    found = outcome(client, lambda: client.connect(*silent.getsockname()))
    assert found[0] is ssl.SSLError
    assert found[1].startswith("no context could be made: ALPN protocols must be")
    run_loop(loop, lambda: loop.fd_count() == 0)


def test_unix_socket_needs_a_name_to_verify(loop: LoopBase, tmp_path: Path) -> None:
    path = f"unix:{tmp_path}/socket"
    server = TlsServer(path, None, loop, context=serving())
    heard = Recorder(server, "connect")
    client = TlsClient(loop)
    for context in (None, trusting()):
        client.context = context
        with pytest.raises(ValueError, match="has no name to verify: server_hostname is needed"):
            client.connect(path, None)
    client.server_hostname = NAME
    named = outcome(client, lambda: client.connect(path, None))
    client.server_hostname = None
    client.context = None
    client.verify = False
    nameless = outcome(client, lambda: client.connect(path, None))
    assert (named.server_name, nameless.server_name) == (NAME, None)
    run_loop(loop, lambda: len(heard.events) == 2)
    assert [conn.server_name for _, conn in heard.events] == [NAME, None]
    server.shutdown()
    named.abort()
    nameless.abort()
    run_loop(loop, lambda: loop.fd_count() == 0)
    assert not os.path.exists(tmp_path / "socket")


# -- stopping ------------------------------------------------------------------------------------


def test_error_that_nobody_listens_for_is_logged(loop: LoopBase, expected_logs: Any) -> None:
    with meeting(loop, context=server_context(*self_signed(NAME))) as served:
        client = served.client()
        client.connect(NAME, served.port)
        served.refusal()
    [told] = expected_logs.messages
    assert told.startswith(f"no connection to 'localhost' port {served.port}: ")
    assert "self-signed certificate" in told


def test_peer_in_plain_python_serves_us(loop: LoopBase, silent: socket.socket) -> None:
    def play() -> None:
        accepted, _ = silent.accept()
        with blocking(accepted, serving()) as peer:
            peer.do_handshake()
            peer.sendall(peer.recv(100) * 2)
            peer.unwrap().close()

    player = threading.Thread(target=play)
    player.start()
    client = TlsClient(loop)
    client.context = trusting()
    conn = outcome(client, lambda: client.connect(NAME, silent.getsockname()[1]))
    heard = Recorder(conn, "data", "end", "close", "disconnect")
    conn.write(b"twice ")
    conn.pause(False)
    run_loop(loop, lambda: ("disconnect",) in heard.events)
    player.join()
    assert heard.take() == [("data", b"twice twice "), ("end",), ("close",), ("disconnect",)]
