"""`TlsClient` with `openssl s_server`, nginx and Node."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from interop_support import Served, interop, nginx, started
from tls_support import NAME, authority, issued, only, outcome, stranger, trusting

from thor.loop import LoopBase
from thor.testing import Recorder
from thor.tls import TlsClient, TlsConnection
from thor_support import end_session, free_port, need_program, run_loop

pytestmark = interop

VERSIONS = ["TLSv1.2", "TLSv1.3"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the files that servers of others need."""
    (tmp_path / "ca.pem").write_bytes(authority().certificate)
    issued(NAME).write(tmp_path, "server")
    issued("a.test").write(tmp_path, "other")
    return tmp_path


def showing(**settings: Any) -> ssl.SSLContext:
    """The context of a client that has a certificate."""
    alice = issued("alice", client=True)
    return trusting(certificate=alice.certificate, key=alice.key, **settings)


class Client:
    """A client, and one connection of it at a time."""

    def __init__(self, loop: LoopBase, port: int, context: ssl.SSLContext) -> None:
        self.loop = loop
        self.port = port
        self.context = context

    def connect(self, **settings: Any) -> Any:
        """Returns: the connection, or the arguments of `connect_error`"""
        client = TlsClient(self.loop)
        client.context = self.context
        client.server_hostname = NAME
        for name, value in settings.items():
            setattr(client, name, value)
        return outcome(client, lambda: client.connect("127.0.0.1", self.port, 20))

    def ask(self, **settings: Any) -> tuple[TlsConnection, bytes]:
        """Make a request. Returns: the connection, which has ended, and the answer"""
        conn = self.connect(**settings)
        assert isinstance(conn, TlsConnection), conn
        heard = Recorder(conn, "data", "disconnect")
        conn.write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        conn.pause(False)
        run_loop(self.loop, lambda: ("disconnect",) in heard.events)
        return conn, b"".join(event[1] for event in heard.events if event[0] == "data")


# -- openssl s_server ----------------------------------------------------------------------------


class Server(Served):
    """`openssl s_server`, which echoes what is typed, and prints what it gets."""

    def type(self, text: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def wait_for(self, text: bytes) -> None:
        """Wait until it says `text`."""
        assert self.process.stdout is not None
        said = b""
        while text not in said:
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            assert piece, said
            said += piece

    def says(self, loop: LoopBase, text: bytes) -> None:
        """Run `loop` until it says `text`."""
        results: list[Any] = []
        loop.run_in_thread(self.wait_for, text, then=lambda _, exc: results.append(exc))
        run_loop(loop, lambda: results)
        assert results == [None]


@contextmanager
def s_server(folder: Path, *args: str) -> Iterator[Server]:
    port = free_port()
    argv = [need_program("openssl"), "s_server", "-accept", f"127.0.0.1:{port}"]
    argv += ["-cert", str(folder / "server.pem"), "-key", str(folder / "server.key")]
    process = subprocess.Popen(
        [*argv, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        server = Server(process, port)
        server.wait_for(b"ACCEPT")
        yield server
    finally:
        end_session(process)
        process.communicate()


def flag(version: str) -> str:
    return "-" + version.lower().replace("v", "").replace(".", "_")


@pytest.mark.parametrize("version", VERSIONS)
def test_s_server(loop: LoopBase, folder: Path, version: str) -> None:
    with s_server(folder, flag(version), "-alpn", "x", "-www") as server:
        conn, page = Client(loop, server.port, trusting(alpn=["y", "x"])).ask()
    assert (conn.tls_version, conn.alpn) == (version, "x")
    assert conn.error is None
    assert b"HTTP/1.0 200 ok" in page


@pytest.mark.parametrize("version", VERSIONS)
def test_s_server_resumes(loop: LoopBase, folder: Path, version: str) -> None:
    with s_server(folder, flag(version), "-www") as server:
        client = Client(loop, server.port, trusting())
        pages = [client.ask()[1] for _ in range(3)]
    assert [b"\nReused, " in page for page in pages] == [False, True, True]


@pytest.mark.parametrize("version", VERSIONS)
def test_s_server_is_shown_a_certificate(loop: LoopBase, folder: Path, version: str) -> None:
    required = ("-Verify", "2", "-verify_return_error", "-CAfile", str(folder / "ca.pem"))
    with s_server(folder, flag(version), *required, "-www") as server:
        conn, page = Client(loop, server.port, showing()).ask()
        assert issued("alice", client=True).certificate.strip() in page
        bare = Client(loop, server.port, trusting()).connect()
        if version == "TLSv1.2":
            told = "the peer refused the handshake: nothing in common, or it wants a certificate"
            assert bare == (ssl.SSLError, told)
        else:
            heard = Recorder(bare, "disconnect")
            bare.pause(False)
            run_loop(loop, lambda: heard.events)
            assert "CERTIFICATE_REQUIRED" in str(bare.error)
    assert conn.error is None


def test_s_server_of_a_stranger_is_refused(loop: LoopBase, folder: Path) -> None:
    stranger().issue(NAME).write(folder, "server")
    with s_server(folder) as server:
        found = Client(loop, server.port, trusting()).connect()
        assert found == (ssl.SSLError, "the peer's certificate has an unknown issuer")
        server.says(loop, b"unknown ca")
        run_loop(loop, lambda: loop.fd_count() == 0)


@pytest.mark.parametrize("asks", [b"K\n", b"k\n"], ids=["that-asks", "that-does-not"])
def test_s_server_updates_its_keys(loop: LoopBase, folder: Path, asks: bytes) -> None:
    with s_server(folder, "-tls1_3") as server:
        conn = Client(loop, server.port, trusting()).connect()
        heard = Recorder(conn, "data")
        conn.pause(False)
        conn.write(b"hello\n")
        server.says(loop, b"hello")
        for word in (b"one\n", b"two\n"):
            server.type(asks)
            conn.write(b"before " + word)
            server.says(loop, b"SSL_do_handshake -> 1")
            server.type(word)
            run_loop(loop, lambda word=word: heard.events and heard.events[-1][1].endswith(word))
            conn.write(b"answer to " + word)
            server.says(loop, b"answer to " + word)
        conn.close()
        run_loop(loop, lambda: loop.fd_count() == 0)
    assert conn.error is None
    assert heard.take() == [("data", b"one\ntwo\n")]


def test_s_server_renegotiates_where_our_context_allows_it(loop: LoopBase, folder: Path) -> None:
    """What is written meanwhile waits, and all arrives; paused or not."""
    context = showing(**only("TLSv1.2"))
    context.options &= ~ssl.OP_NO_RENEGOTIATION
    with s_server(folder, "-tls1_2", "-CAfile", str(folder / "ca.pem")) as server:
        conn = Client(loop, server.port, context).connect()
        heard = Recorder(conn, "data")
        conn.pause(False)
        for number in range(6):
            conn.pause(bool(number % 2))
            server.type(b"R\n")  # and it asks for a certificate now
            conn.write(b"word %d, " % number)
            server.says(loop, b"word %d, " % number)
            conn.write(b"and more of %d" % number)
            server.says(loop, b"and more of %d" % number)
        conn.pause(False)
        server.type(b"over\n")
        run_loop(loop, lambda: heard.events)
        assert heard.take() == [("data", b"over\n")]
        conn.close()
        run_loop(loop, lambda: loop.fd_count() == 0)
    assert conn.error is None


def test_s_server_is_refused_another_hand_shake(loop: LoopBase, folder: Path) -> None:
    with s_server(folder, "-tls1_2") as server:
        conn = Client(loop, server.port, trusting()).connect()
        heard = Recorder(conn, "close", "disconnect")
        conn.pause(False)
        server.type(b"r\n")
        run_loop(loop, lambda: ("disconnect",) in heard.events)
    assert "NO_RENEGOTIATION" in str(conn.error) or isinstance(conn.error, ssl.SSLError)


# -- nginx ---------------------------------------------------------------------------------------

_NGINX = """
    listen 127.0.0.1:{port} ssl;
    server_name localhost;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_client_certificate {folder}/ca.pem;
    ssl_verify_client {verify};
    location / {{
        return 200 "$ssl_protocol,$ssl_server_name,$ssl_session_reused,$ssl_client_verify";
    }}
"""


@contextmanager
def secure_nginx(folder: Path, verify: str) -> Iterator[int]:
    port = free_port()
    with nginx(folder, _NGINX.format(port=port, folder=folder, verify=verify)):
        yield port


@pytest.mark.parametrize("version", VERSIONS)
def test_nginx(loop: LoopBase, folder: Path, version: str) -> None:
    with secure_nginx(folder, "optional") as port:
        client = Client(loop, port, trusting(alpn=["http/1.1"], **only(version)))
        pages = []
        for _ in range(3):
            conn, page = client.ask()
            assert (conn.tls_version, conn.alpn, conn.error) == (version, "http/1.1", None)
            pages.append(page.rpartition(b"\r\n\r\n")[2].decode())
    assert pages == [f"{version},localhost,{reused},NONE" for reused in (".", "r", "r")]


@pytest.mark.parametrize("version", VERSIONS)
def test_nginx_is_shown_a_certificate(loop: LoopBase, folder: Path, version: str) -> None:
    with secure_nginx(folder, "on") as port:
        _, page = Client(loop, port, showing(**only(version))).ask()
        _, refusal = Client(loop, port, trusting(**only(version))).ask()
    assert page.endswith(f"{version},localhost,.,SUCCESS".encode())
    assert b"400 No required SSL certificate was sent" in refusal


def test_nginx_without_tls_is_told(loop: LoopBase, folder: Path) -> None:
    with nginx(folder, "location / { return 200; }") as plain:
        found = Client(loop, plain.port, trusting()).connect()
    assert found == (ssl.SSLError, "the peer does not speak TLS")


# -- Node ----------------------------------------------------------------------------------------

#: Tells of the connection, once it has been asked for anything; prints its port.
NODE_SERVER = """
const tls = require('tls'), fs = require('fs');
const [folder, version, certificate] = process.argv.slice(1);
const read = (name) => fs.readFileSync(`${folder}/${name}`);
const server = tls.createServer({
  cert: read('server.pem'), key: read('server.key'), ca: read('ca.pem'), ALPNProtocols: ['x'],
  minVersion: version, maxVersion: version,
  requestCert: certificate === 'yes', rejectUnauthorized: certificate === 'yes',
}, (socket) => {
  socket.on('data', () => socket.end(JSON.stringify({
    alpn: socket.alpnProtocol, name: socket.servername, reused: socket.isSessionReused(),
    client: socket.getPeerCertificate().subject || null, version: socket.getProtocol() })));
  socket.on('error', () => {});
});
server.addContext('a.test', { cert: read('other.pem'), key: read('other.key') });
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
"""


@contextmanager
def node(folder: Path, version: str, certificate: bool = False) -> Iterator[int]:
    more = ["yes"] if certificate else ["no"]
    with started(need_program("node"), "-e", NODE_SERVER, str(folder), version, *more) as server:
        yield server.port


@pytest.mark.parametrize("version", VERSIONS)
def test_node(loop: LoopBase, folder: Path, version: str) -> None:
    with node(folder, version) as port:
        client = Client(loop, port, trusting(alpn=["y", "x"]))
        told = []
        for _ in range(3):
            conn, page = client.ask()
            assert (conn.tls_version, conn.alpn, conn.error) == (version, "x", None)
            told.append(json.loads(page))
    assert [each.pop("reused") for each in told] == [False, True, True]
    assert told[0]["name"] == NAME  # Node forgets it when TLS 1.2 resumes
    for each in told:
        assert (each["alpn"], each["client"], each["version"]) == ("x", None, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_node_is_shown_a_certificate(loop: LoopBase, folder: Path, version: str) -> None:
    with node(folder, version, certificate=True) as port:
        client = Client(loop, port, showing())
        told = [json.loads(client.ask()[1]) for _ in range(2)]
    assert [each["client"] for each in told] == [{"CN": "alice"}] * 2
    assert [each["reused"] for each in told] == [False, True]


def test_node_shows_the_certificate_for_the_name(loop: LoopBase, folder: Path) -> None:
    with node(folder, "TLSv1.3") as port:
        client = Client(loop, port, trusting())
        conn, _ = client.ask(server_hostname="a.test")
        assert conn.server_name == "a.test"
        errtype, told = client.connect(server_hostname="b.test")
        run_loop(loop, lambda: loop.fd_count() == 0)
    assert errtype is ssl.SSLError
    assert "not valid for 'b.test'" in told


@pytest.mark.parametrize(("ours", "theirs"), [("TLSv1.2", "TLSv1.3"), ("TLSv1.3", "TLSv1.2")])
def test_node_of_another_version_is_told(
    loop: LoopBase, folder: Path, ours: str, theirs: str
) -> None:
    with node(folder, theirs) as port:
        found = Client(loop, port, trusting(**only(ours))).connect()
        run_loop(loop, lambda: loop.fd_count() == 0)
    assert found == (ssl.SSLError, "there is no TLS version that both sides allow")
