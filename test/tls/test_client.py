"""ConnectAttempt with TLS: what is verified, and what is told of what fails."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from tls_support import (
    CLIENT_EVENTS,
    NAME,
    TLS13,
    Meeting,
    authority,
    issued,
    meeting,
    only,
    outcome,
    serving,
    stranger,
    trusting,
)

from thor.loop import LoopBase
from thor.testing import Recorder
from thor.tls import (
    TlsClient,
    TlsConnection,
    TlsServer,
    client_context,
    self_signed,
    server_context,
)
from thor_support import run_loop


def closed_after(served: Meeting, conn: TlsConnection) -> TlsConnection:
    """The connection, which is closed when the server has heard of it."""
    served.accepted().abort()
    conn.abort()
    return conn


# -- verification --------------------------------------------------------------------------------


def test_by_default_the_roots_of_the_system_are_trusted_and_no_others(
    served: Meeting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_loop: Any, poller: str
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    for root, trusted in ((authority(), True), (stranger(), False)):
        (tmp_path / "roots.pem").write_bytes(root.certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
        loop = make_loop(backend=poller)
        client = TlsClient(loop)
        heard = Recorder(client, *CLIENT_EVENTS)
        client.connect(NAME, served.port)
        while not heard.events:
            loop.run_once(0.01)
            served.loop.run_once(0)
        [(event, *rest)] = heard.take()
        if trusted:
            assert event == "connect"
            rest[0].abort()
            loop.run_once(0)
            served.accepted().abort()
        else:
            assert rest == [ssl.SSLError, "the peer's certificate has an unknown issuer"]
            assert isinstance(client.error, ssl.SSLCertVerificationError)
            while loop.fd_count():
                loop.run_once(0)
                served.loop.run_once(0)
            assert "unknown ca" in str(served.refusal())


@pytest.mark.parametrize(
    ("certified", "told"),
    [
        pytest.param(
            lambda: stranger().issue(NAME),
            "the peer's certificate has an unknown issuer",
            id="unknown-issuer",
        ),
        pytest.param(
            lambda: self_signed(NAME),
            "the peer's certificate has an unknown issuer: it is self-signed",
            id="self-signed",
        ),
        pytest.param(
            lambda: issued("other.test"),
            "the peer's certificate is for another name (Hostname mismatch, certificate is not"
            " valid for 'localhost')",
            id="name",
        ),
    ],
)
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_certificate_that_is_not_good_is_refused_with_the_reason(
    loop: LoopBase, certified: Callable[[], Any], told: str, version: str
) -> None:
    with meeting(loop, context=server_context(*certified())) as served:
        assert served.connect(trusting(**only(version))) == (ssl.SSLError, told)
        # And the server gets the alert.
        assert isinstance(served.refusal(), ssl.SSLError)


@pytest.mark.parametrize(
    ("begins", "ends", "told"),
    [
        pytest.param(-2, -1, "the peer's certificate has expired", id="expired"),
        pytest.param(1, 2, "the peer's certificate is not yet valid", id="not-yet-valid"),
    ],
)
def test_certificate_out_of_its_time_is_refused_with_the_reason(
    loop: LoopBase, begins: int, ends: int, told: str
) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    ca = trustme.CA()
    leaf = ca.issue_cert(
        NAME, not_before=now + timedelta(days=begins), not_after=now + timedelta(days=ends)
    )
    context = server_context(leaf.private_key_and_cert_chain_pem.bytes())
    with meeting(loop, context=context) as served:
        trusted = client_context(ca_file=ca.cert_pem.bytes())
        assert served.connect(trusted) == (ssl.SSLError, told)
        assert "ALERT" in str(served.refusal())


def test_address_is_verified_as_one(loop: LoopBase) -> None:
    with meeting(loop) as served:
        conn = served.connect(host="127.0.0.1")
        assert isinstance(conn, TlsConnection)
        assert closed_after(served, conn).server_name == "127.0.0.1"
    with meeting(loop, context=serving(NAME)) as served:
        errtype, told = served.connect(host="127.0.0.1")
        assert errtype is ssl.SSLError
        assert told.startswith("the peer's certificate is for another address (IP address mismatch")
        served.refusal()


def test_without_verification_anybody_is_good_enough(loop: LoopBase) -> None:
    with meeting(loop, context=server_context(*self_signed("other.test"))) as served:
        client = TlsClient(loop)
        client.verify = False
        conn = outcome(client, lambda: client.connect(NAME, served.port))
        assert isinstance(conn, TlsConnection)
        closed_after(served, conn)


def test_another_name_can_be_asked_for(loop: LoopBase) -> None:
    with meeting(loop, context=serving("virtual.test")) as served:
        conn, peer = served.meet(server_hostname="virtual.test")
        assert (conn.server_name, peer.server_name) == ("virtual.test", "virtual.test")


@pytest.mark.parametrize(
    ("host", "asked"),
    [("LOCALHOST", "localhost"), ("localhost.", "localhost"), (b"localhost", "localhost")],
)
def test_name_that_is_asked_for_is_that_of_the_host(
    loop: LoopBase, monkeypatch: pytest.MonkeyPatch, host: Any, asked: str
) -> None:
    row = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [row])
    with meeting(loop) as served:
        conn = served.connect(host=host)
        assert isinstance(conn, TlsConnection)
        peer = served.accepted()
        assert peer.server_name == asked
        peer.abort()
        conn.abort()


def test_ipv6(loop: LoopBase) -> None:
    server = TlsServer("::1", 0, loop, context=server_context(*issued("::1")))
    heard = Recorder(server, "connect")
    client = TlsClient(loop)
    client.context = trusting()
    conn = outcome(client, lambda: client.connect("::1", server.address[1]))
    assert isinstance(conn, TlsConnection)
    run_loop(loop, lambda: heard.events)
    server.shutdown()
    conn.abort()
    run_loop(loop, lambda: loop.fd_count() == 0)


# -- settings ------------------------------------------------------------------------------------


def test_settings_may_stand_in_a_subclass(loop: LoopBase) -> None:
    class Ours(TlsClient):
        verify = False
        alpn = ("x",)
        minimum_version = TLS13

    with meeting(loop, context=serving(alpn=["x"], **only("TLSv1.2"))) as served:
        client = Ours(loop)
        found = outcome(client, lambda: client.connect(NAME, served.port))
        assert found == (ssl.SSLError, "there is no TLS version that both sides allow")
        assert isinstance(served.refusal(), ssl.SSLError)
        served.server.context = serving(alpn=["x"])
        conn = outcome(client, lambda: client.connect(NAME, served.port))
        assert closed_after(served, conn).alpn == "x"


def test_clients_that_are_set_alike_share_sessions(loop: LoopBase) -> None:
    with meeting(loop) as served:
        reused = []
        for _ in range(2):
            client = TlsClient(loop)
            client.verify = False
            conn = outcome(client, lambda client=client: client.connect(NAME, served.port))
            served.accepted().write(b"x")
            conn.pause(False)
            served.until(lambda conn=conn: conn.bytes_read)
            reused.append(conn.session_reused)
            conn.close()
        assert reused == [False, True]


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_client_shows_its_certificate(loop: LoopBase, version: str) -> None:
    alice = issued("alice", client=True)
    context = trusting(certificate=alice.certificate, key=alice.key, **only(version))
    with meeting(loop, context=serving(client_ca=authority().certificate)) as served:
        _, peer = served.meet(context)
        assert peer.peer_certificate == ssl.PEM_cert_to_DER_cert(alice.certificate.decode())
        # A session that is resumed knows it still.
        _, again = served.meet(context)
        assert again.peer_certificate == peer.peer_certificate


def test_certificate_that_is_missing_is_told_by_the_handshake(loop: LoopBase) -> None:
    with meeting(loop, context=serving(client_ca=authority().certificate)) as served:
        assert served.connect(trusting(**only("TLSv1.2"))) == (
            ssl.SSLError,
            "the peer refused the handshake: nothing in common, or it wants a certificate",
        )
        assert "peer did not return a certificate" in str(served.refusal()).replace("_", " ")


def test_certificate_that_is_missing_is_told_by_the_connection_with_tls_1_3(
    loop: LoopBase,
) -> None:
    """There the client is done before the server has looked at it."""
    with meeting(loop, context=serving(client_ca=authority().certificate)) as served:
        conn = served.connect(trusting(**only("TLSv1.3")))
        heard = Recorder(conn, "close", "disconnect")
        conn.pause(False)
        served.until(lambda: len(heard.events) == 2)
        assert "CERTIFICATE_REQUIRED" in str(conn.error)
        served.refusal()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "it is empty"),
        (".x", "it is no name of a host"),
        ("a\0b", "it is no name of a host"),
        ("a" * 64, "label"),
    ],
)
def test_name_that_no_server_has_is_an_error_at_once(loop: LoopBase, name: str, told: str) -> None:
    client = TlsClient(loop)
    client.server_hostname = name
    with pytest.raises(ValueError, match=told):
        client.connect("127.0.0.1", 1)
    client.server_hostname = None
    client.context = trusting()
    client.cancel()


def test_context_that_can_be_none_of_a_clients_is_an_error_at_once(loop: LoopBase) -> None:
    client = TlsClient(loop)
    for context, error in ((serving(), ValueError), ("ca.pem", TypeError)):
        client.context = context  # type: ignore[assignment]
        with pytest.raises(error, match="context"):
            client.connect("127.0.0.1", 1)


def test_host_that_is_no_name_is_left_to_the_resolver(loop: LoopBase) -> None:
    client = TlsClient(loop)
    client.verify = False
    found = outcome(client, lambda: client.connect("a" * 64 + ".test", 1))
    assert found[0] is socket.gaierror


def test_host_that_tls_has_no_word_for_is_told(
    served: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [row])
    errtype, told = served.connect(host=f"{'a' * 64}.test")
    assert errtype is ssl.SSLError
    assert "label" in told
    assert isinstance(served.refusal(), ssl.SSLEOFError)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("fe80::1%eth0", "fe80::1"),
        ("a.test.", "a.test"),
        (b"a.test", "a.test"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_what_is_no_part_of_a_name_is_not_asked_for(loop: LoopBase, host: Any, name: str) -> None:
    assert TlsClient(loop)._name_of(host) == name


def test_over_a_unix_socket_too_a_connection_that_ended_well_has_no_error(
    loop: LoopBase, tmp_path: Path
) -> None:
    """The answer to the peer's close_notify meets a socket that is closed already."""
    path = f"unix:{tmp_path}/socket"
    server = TlsServer(path, None, loop, context=serving())
    server.on("connect", lambda conn: (conn.write("hello"), conn.pause(False), conn.close()))
    client = TlsClient(loop)
    client.context, client.server_hostname = trusting(), NAME
    conn = outcome(client, lambda: client.connect(path, None))
    heard = Recorder(conn, "data", "end", "close", "disconnect")
    conn.pause(False)
    run_loop(loop, lambda: ("disconnect",) in heard.events)
    assert heard.take() == [("data", b"hello"), ("end",), ("close",), ("disconnect",)]
    assert conn.error is None
    server.shutdown()
    run_loop(loop, lambda: loop.fd_count() == 0)
