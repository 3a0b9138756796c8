"""Accepting with TLS: handshakes that fail, that wait, and that end with the server."""

from __future__ import annotations

import errno
import gc
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from tcp_support import PEER_LIMIT_S, port_of, read_all, reset
from tls_support import (
    NAME,
    Bytes,
    Meeting,
    issued,
    meeting,
    outcome,
    serving,
    trusting,
)

import thor
import thor_support
from thor.loop import LoopBase
from thor.tcp import ProxyHeader
from thor.testing import Recorder
from thor.tls import TlsClient, TlsConnection, TlsServer, self_signed
from thor_support import run_loop

HELLO = Bytes(trusting(), NAME).shake()


@pytest.fixture
def raw(served: Meeting) -> Iterator[Any]:
    """A maker of clients that the test plays."""
    made: list[socket.socket] = []

    def dial() -> socket.socket:
        made.append(served.dial())
        return made[-1]

    yield dial
    for sock in made:
        sock.close()


def turns(served: Meeting, count: int = 5) -> None:
    for _ in range(count):
        served.loop.run_once(0.01)


# -- as a TCP server -----------------------------------------------------------------------------


def test_connect_is_emitted_after_the_handshake(served: Meeting, raw: Any) -> None:
    client, peer = raw(), Bytes(trusting(), NAME)
    turns(served)
    assert served.heard.events == []
    assert served.server.active_connections == 1  # but it counts
    client.sendall(peer.shake())
    turns(served)
    assert served.heard.events == []
    client.sendall(peer.shake(client.recv(65536)))
    conn = served.accepted()
    assert isinstance(conn, TlsConnection)
    assert conn.address == client.getsockname()


@pytest.mark.parametrize("context", [None, "server.pem", object()])
def test_server_needs_a_context(loop: LoopBase, context: Any) -> None:
    with pytest.raises(TypeError, match=r"context must be an ssl\.SSLContext"):
        TlsServer("127.0.0.1", 0, loop, context=context)
    with pytest.raises(ValueError, match="one for clients; server_context"):
        TlsServer("127.0.0.1", 0, loop, context=ssl.create_default_context())


def test_key_in_the_place_of_a_context_is_not_shown(loop: LoopBase) -> None:
    context: Any = self_signed("localhost")
    for make in (
        lambda: TlsServer("127.0.0.1", 0, loop, context=context),
        lambda: thor.HttpServer("127.0.0.1", 0, loop, tls=context),
    ):
        with pytest.raises(TypeError, match=r"not Certified$"):
            make()


def test_server_makes_one_handshake_at_a_time_at_least(loop: LoopBase) -> None:
    with pytest.raises(ValueError, match="max_handshakes must be 1 or more"):
        TlsServer("127.0.0.1", 0, loop, context=serving(), max_handshakes=0)


def test_connection_that_nobody_listens_for_is_reset(loop: LoopBase) -> None:
    server = TlsServer("127.0.0.1", 0, loop, context=serving())
    client = TlsClient(loop)
    client.context = trusting()
    conn = outcome(client, lambda: client.connect(NAME, server.address[1]))
    heard = Recorder(conn, "close", "disconnect")
    conn.pause(False)
    run_loop(loop, lambda: len(heard.events) == 2)
    assert isinstance(conn.error, ConnectionResetError)
    server.shutdown()
    run_loop(loop, lambda: loop.fd_count() == 0)


@pytest.mark.parametrize("version", [1, 2])
def test_proxy_header_comes_before_the_handshake(loop: LoopBase, version: Any) -> None:
    with meeting(loop, proxy_protocol=["127.0.0.0/8"]) as served:
        header = ProxyHeader(
            version=version, source=("192.0.2.1", 1234), destination=("192.0.2.2", 443)
        )
        conn, peer = served.meet(proxy_header=header)
        assert peer.address == ("192.0.2.1", 1234)
        assert peer.local_address == ("192.0.2.2", 443)
        assert peer.proxy_header.destination == ("192.0.2.2", 443)
        heard = Recorder(peer, "data")
        peer.pause(False)
        conn.write(b"hello")
        served.until(lambda: heard.events)
        assert heard.take() == [("data", b"hello")]


# -- handshakes that fail -----------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", HELLO[:100]], ids=["nothing", "half-a-hello"])
def test_client_that_closes_is_told_of(served: Meeting, raw: Any, sent: bytes) -> None:
    client = raw()
    client.sendall(sent)
    name = client.getsockname()
    turns(served)
    client.close()
    event, address, exc = served.next_event()
    assert (event, address) == ("tls_error", name)
    assert isinstance(exc, ssl.SSLEOFError)
    assert "the peer closed during the handshake" in str(exc)
    assert served.server.active_connections == 0


def test_client_that_resets_is_told_of(served: Meeting, raw: Any) -> None:
    client = raw()
    turns(served)
    reset(client)
    assert isinstance(served.refusal(), ConnectionResetError)


def test_client_that_speaks_no_tls_gets_an_alert(served: Meeting, raw: Any) -> None:
    client = raw()
    client.sendall(b"\x16\x03\x01\x00\x05not a hello")
    refusal = served.refusal()
    assert isinstance(refusal, ssl.SSLError)
    assert "_ssl.c" not in str(refusal)
    turns(served)
    answer = read_all(client)
    assert (answer[:1], answer[5:6]) == (b"\x15", b"\x02")  # fatal


def test_failure_that_nobody_listens_for_is_logged(loop: LoopBase, expected_logs: Any) -> None:
    server = TlsServer("127.0.0.1", 0, loop, context=serving())
    with socket.create_connection(("127.0.0.1", port_of(server)), PEER_LIMIT_S) as client:
        name = client.getsockname()
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        run_loop(loop, lambda: expected_logs.messages)
    server.shutdown()
    run_loop(loop, lambda: loop.fd_count() == 0)
    assert expected_logs.messages == [f"no TLS with {name!r}: the peer speaks HTTP without TLS"]
    assert [record.levelname for record in expected_logs.records] == ["INFO"]


def test_handshake_may_take_only_so_long(loop: LoopBase) -> None:
    with meeting(loop, handshake_timeout=0.05) as served:
        clients = [served.dial() for _ in range(2)]
        clients[1].sendall(HELLO[:100])
        for _ in clients:
            exc = served.refusal()
            assert isinstance(exc, TimeoutError)
            assert exc.errno == errno.ETIMEDOUT
            assert "more than 0.05 s" in str(exc)
        for client in clients:
            assert read_all(client) == b""
            client.close()
        assert loop.scheduled_events() == []


def test_listener_for_failures_that_raises_harms_nobody(loop: LoopBase, expected_logs: Any) -> None:
    loop.on_exception = "log"

    def fail(*_: Any) -> None:
        raise LookupError

    with meeting(loop) as served:
        served.server.on("tls_error", fail)
        with served.dial() as client:
            client.sendall(b"x" * 20)
            served.until(lambda: expected_logs.messages)
        assert served.heard.take()[0][0] == "tls_error"
        conn, _ = served.meet()
        assert isinstance(conn, TlsConnection)


# -- many of them --------------------------------------------------------------------------------


def test_only_so_many_are_under_way_and_the_others_wait_their_turn(loop: LoopBase) -> None:
    with meeting(loop, max_handshakes=2) as served:
        clients = []
        for _ in range(5):
            client = served.dial()
            client.sendall(HELLO)
            turns(served, 2)
            clients.append(client)
        turns(served)

        def answered() -> list[bool]:
            found = []
            for client in clients:
                client.setblocking(False)
                try:
                    found.append(bool(client.recv(1, socket.MSG_PEEK)))
                except BlockingIOError:
                    found.append(False)
            return found

        assert answered() == [True, True, False, False, False]
        assert served.server.active_connections == 5
        clients[1].close()
        served.refusal()
        turns(served)
        del clients[1]
        assert answered() == [True, True, False, False]
        for client in clients:
            client.close()
        for _ in clients:
            served.refusal()


def test_connection_that_is_silent_takes_no_place(loop: LoopBase) -> None:
    with meeting(loop, max_handshakes=1) as served:
        silent = [served.dial() for _ in range(5)]
        turns(served)
        conn, _ = served.meet()
        assert isinstance(conn, TlsConnection)
        for sock in silent:
            sock.close()


def test_one_that_waits_may_go_timeout_or_be_shut_down(loop: LoopBase) -> None:
    with meeting(loop, max_handshakes=1, handshake_timeout=0.2) as served:
        clients = []
        for _ in range(4):
            client = served.dial()
            client.sendall(HELLO)
            turns(served, 2)
            clients.append(client)
        reset(clients[2])  # one that waits
        assert isinstance(served.refusal(), ConnectionResetError)
        # None of the others goes on, so each is given up when its own time is over.
        for _ in range(3):
            assert isinstance(served.refusal(), TimeoutError)
        for client in (clients[0], clients[1], clients[3]):
            client.close()
        last = []
        for _ in range(3):
            client = served.dial()
            client.sendall(HELLO)
            last.append(client)
        turns(served)
        served.server.shutdown()
        served.until(lambda: ("stop",) in served.heard.events)
        assert served.server.active_connections == 0
        for client in last:
            client.close()


def test_handshakes_in_any_number_all_end_well(loop: LoopBase) -> None:
    with meeting(loop, max_handshakes=3) as served:
        clients = [served.client() for _ in range(20)]
        conns: list[TlsConnection] = []
        for client in clients:
            client.on("connect", conns.append)
            client.connect(NAME, served.port)
        served.until(lambda: len(conns) == 20 and len(served.heard.events) == 20)
        for conn in conns:
            conn.abort()
        assert not served.server._handshakes
        assert not served.server._waiting


# -- stopping ------------------------------------------------------------------------------------


def test_shutdown_ends_handshakes_without_a_word(served: Meeting, raw: Any) -> None:
    raw().sendall(HELLO)
    raw()
    turns(served)
    assert served.server.active_connections == 2
    served.server.shutdown()
    served.until(lambda: served.heard.events)
    assert served.heard.take() == [("stop",)]
    assert served.server.active_connections == 0
    assert not served.server._handshakes


def test_graceful_shutdown_waits_for_handshakes(served: Meeting, raw: Any) -> None:
    client, peer = raw(), Bytes(trusting(), NAME)
    client.sendall(peer.shake())
    turns(served)
    served.server.graceful_shutdown()
    turns(served)
    assert served.heard.events == []
    client.sendall(peer.shake(client.recv(65536)))
    conn = served.accepted()
    conn.close()
    served.until(lambda: served.heard.events)
    assert served.heard.take() == [("stop",)]


@pytest.mark.parametrize("sent", [b"", HELLO], ids=["before", "inside"])
def test_stopping_the_loop_ends_handshakes_without_a_word(
    served: Meeting, raw: Any, sent: bytes
) -> None:
    client = raw()
    client.sendall(sent)
    turns(served)
    served.loop.stop()
    assert served.heard.events == []
    assert served.loop.fd_count() == 0
    assert served.server.active_connections == 0


def test_server_can_be_stopped_inside_any_event(loop: LoopBase) -> None:
    for event in ("connect", "tls_error"):
        for method in ("close", "shutdown", "graceful_shutdown"):
            server = TlsServer("127.0.0.1", 0, loop, context=serving())
            stopped = Recorder(server, "stop")
            server.on(event, lambda *_, server=server, method=method: getattr(server, method)())
            if event == "connect":
                server.on("connect", lambda conn: conn.close())
            client = TlsClient(loop)
            client.context = trusting() if event == "connect" else ssl.create_default_context()
            heard = Recorder(client, "connect", "connect_error")
            client.connect(NAME, server.address[1])
            run_loop(loop, lambda heard=heard, stopped=stopped: heard.events and stopped.events)
            for _, *rest in heard.events:
                if isinstance(rest[0], TlsConnection):
                    rest[0].abort()
            run_loop(loop, lambda: loop.fd_count() == 0)


# -- leaks ---------------------------------------------------------------------------------------


def test_hundreds_of_handshakes_good_and_bad_leak_nothing(loop: LoopBase) -> None:
    strangers = ssl.create_default_context()
    with meeting(loop, context=serving(NAME)) as served:
        context = trusting()

        def rounds(count: int) -> None:
            for number in range(count):
                if number % 3:
                    conn, peer = served.meet(context)
                    peer.write(b"x")
                    conn.pause(False)
                    served.until(lambda conn=conn: conn.bytes_read)
                    conn.close()
                    peer.pause(False)
                    served.until(lambda peer=peer: peer.socket.fileno() < 0)
                else:
                    assert served.connect(strangers)[0] is ssl.SSLError
                    served.refusal()
            served.until(lambda: loop.fd_count() == 1)

        rounds(10)
        gc.collect()
        before, fds = len(gc.get_objects()), thor_support.open_fds()
        rounds(150)
        gc.collect()
        assert len(gc.get_objects()) - before < 100
        assert thor_support.open_fds() == fds
        assert loop.scheduled_events() == []


def test_connection_refused_for_its_certificate_is_gone(loop: LoopBase) -> None:
    with meeting(loop, context=serving(NAME, client_ca=issued("x").certificate)) as served:
        conn = served.connect()
        assert isinstance(conn, TlsConnection)
        conn.write(b"x" * 100_000)
        conn.pause(False)
        heard = Recorder(conn, "disconnect")
        served.until(lambda: heard.events)
        assert "CERTIFICATE_REQUIRED" in str(conn.error)
        assert "did not return a certificate" in str(served.refusal())
        assert served.server.active_connections == 0
