"""OpenSSL's `s_client` at `TlsServer`, and `TlsClient` at its `s_server`."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from cli_support import thor
from interop_data import PATTERN, sha256
from interop_support import interop
from interop_thor import Certificates, TlsAsker, TlsEcho
from tcp_support import port_of
from tls_support import NAME, authority, issued, only, trusting

from thor.loop import LoopBase
from thor.tcp import TcpConnection, TcpServer
from thor.testing import Recorder
from thor.tls import TlsConnection, accept_tls
from thor_support import end_session, free_port, need_program, run_loop, running_program

pytestmark = interop

VERSIONS = ["TLSv1.2", "TLSv1.3"]
FLAGS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}


class Program:
    """An `openssl` command, which prints what it gets and sends what is typed."""

    def __init__(self, loop: LoopBase, *argv: str) -> None:
        self.loop = loop
        self.said = b""
        self.process = subprocess.Popen(
            [need_program("openssl"), *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def type(self, text: bytes) -> None:
        """Give it text."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def expect(self, text: bytes) -> None:
        """Run the loop until it has printed `text`, after what was expected before."""
        results: list[BaseException | None] = []
        self.loop.run_in_thread(self._read, text, then=lambda _, exc: results.append(exc))
        run_loop(self.loop, lambda: results, timeout_s=20)
        assert results == [None], self.said

    def _read(self, text: bytes) -> None:
        assert self.process.stdout is not None
        while text not in self.said:
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            assert piece, self.said
            self.said += piece
        self.said = self.said.partition(text)[2]

    def end(self) -> None:
        """End it."""
        end_session(self.process)
        self.process.communicate()


# -- s_client ------------------------------------------------------------------------------------


@contextmanager
def s_client(echo: TlsEcho, certificates: Certificates, *args: str) -> Iterator[Program]:
    """`openssl s_client`, connected to an echo."""
    place = ("-connect", f"127.0.0.1:{echo.port}", "-servername", NAME)
    trust = ("-CAfile", certificates.ca, "-verify_return_error")
    program = Program(echo.loop, "s_client", *place, *trust, *args)
    try:
        yield program
    finally:
        program.end()


@pytest.mark.parametrize("version", VERSIONS)
def test_s_client_connects_resumes_and_shows_its_certificate(
    loop: LoopBase, certificates: Certificates, tmp_path: Path, version: str
) -> None:
    session = str(tmp_path / "session")
    shown = ("-cert", certificates.client, "-key", certificates.client_key)
    args = (FLAGS[version], "-alpn", "x", *shown)
    with TlsEcho(loop, alpn=["http/1.1", "x"], client_ca=authority().certificate) as echo:
        for kept, state in (("-sess_out", b"New"), ("-sess_in", b"Reused")):
            with s_client(echo, certificates, *args, kept, session) as program:
                program.expect(state + b", " + version.encode())
                program.expect(b"ALPN protocol: x")
                program.expect(b"Verify return code: 0 (ok)")
                program.type(b"hello\n")
                program.expect(b"echo of hello")
                program.type(b"bye\n")
                program.expect(b"closed")  # our close_notify
        der = ssl.PEM_cert_to_DER_cert(Path(certificates.client).read_text().split("\n\n")[0])
        assert [conn.peer_certificate for conn in echo.conns] == [der, der]
        assert [conn.session_reused for conn in echo.conns] == [False, True]


@pytest.mark.parametrize("command", [b"K\n", b"k\n"], ids=["asks for ours", "its own"])
def test_s_client_updates_its_keys(
    loop: LoopBase, certificates: Certificates, command: bytes
) -> None:
    with TlsEcho(loop) as echo, s_client(echo, certificates, "-tls1_3") as program:
        for word in (b"one", b"two", b"three"):
            program.type(word + b"\n")
            program.expect(b"echo of " + word)
            program.type(command)
            program.expect(b"KEYUPDATE")
        assert echo.conns[0].error is None


def test_s_client_is_refused_renegotiation(loop: LoopBase, certificates: Certificates) -> None:
    with TlsEcho(loop) as echo, s_client(echo, certificates, "-tls1_2") as program:
        program.type(b"one\n")
        program.expect(b"echo of one")
        program.type(b"R\n")
        program.expect(b"no renegotiation")
        run_loop(loop, lambda: echo.conns[0].socket.fileno() < 0)


def test_s_client_starts_tls_after_plain_smtp(loop: LoopBase, certificates: Certificates) -> None:
    with TlsEcho(loop) as echo:
        server = TcpServer("127.0.0.1", 0, loop)

        def greet(conn: TcpConnection) -> None:
            def hear(data: bytes) -> None:
                if data.startswith(b"EHLO"):
                    conn.write(b"250-localhost\r\n250 STARTTLS\r\n")
                elif data.startswith(b"STARTTLS"):
                    conn.write(b"220 go ahead\r\n")
                    accept_tls(conn, echo.context).on("connect", echo.serve)

            conn.on("data", hear)
            conn.write(b"220 localhost ESMTP\r\n")
            conn.pause(False)

        server.on("connect", greet)
        echo.port = port_of(server)
        with s_client(echo, certificates, "-starttls", "smtp") as program:
            program.type(b"hello\n")
            program.expect(b"echo of hello")
        server.shutdown()


# -- s_server ------------------------------------------------------------------------------------


class Server(NamedTuple):
    """`openssl s_server`, and where it is."""

    program: Program
    port: int


@contextmanager
def s_server(loop: LoopBase, certificates: Certificates, *args: str) -> Iterator[Server]:
    """`openssl s_server`, which listens."""
    port = free_port()
    own = ("-cert", certificates.certificate, "-key", certificates.key)
    program = Program(loop, "s_server", "-accept", f"127.0.0.1:{port}", *own, *args)
    try:
        program.expect(b"ACCEPT")
        yield Server(program, port)
    finally:
        program.end()


def showing(**settings: object) -> ssl.SSLContext:
    """Return the context of a client that has a certificate."""
    alice = issued("alice", client=True)
    return trusting(certificate=alice.certificate, key=alice.key, **settings)


def connected(loop: LoopBase, port: int, context: ssl.SSLContext) -> tuple[TlsConnection, Recorder]:
    """Return a connection that reads, and what it emits."""
    conn = TlsAsker(loop, port, context).connect()
    assert isinstance(conn, TlsConnection), conn
    heard = Recorder(conn, "data", "close", "disconnect")
    conn.pause(False)
    return conn, heard


def has_read(conn: TlsConnection, count: int) -> bool:
    """Return whether so many bytes have arrived."""
    return conn.bytes_read == count


@pytest.mark.parametrize("version", VERSIONS)
def test_s_server_accepts_resumes_and_sees_our_certificate(
    loop: LoopBase, certificates: Certificates, version: str
) -> None:
    required = ("-Verify", "2", "-verify_return_error", "-CAfile", certificates.ca)
    args = (FLAGS[version], "-alpn", "x", "-www", *required)
    with s_server(loop, certificates, *args) as server:
        client = TlsAsker(loop, server.port, showing(alpn=["y", "x"]))
        pages = []
        for _ in range(3):
            conn, page = client.ask()
            assert (conn.tls_version, conn.alpn, conn.error) == (version, "x", None)
            assert b"HTTP/1.0 200 ok" in page
            pages.append(page)
    assert [b"\nReused, " in page for page in pages] == [False, True, True]
    assert issued("alice", client=True).certificate.strip() in pages[0]


@pytest.mark.parametrize("command", [b"K\n", b"k\n"], ids=["asks for ours", "its own"])
def test_s_server_updates_its_keys(
    loop: LoopBase, certificates: Certificates, command: bytes
) -> None:
    with s_server(loop, certificates, "-tls1_3") as (program, port):
        conn, heard = connected(loop, port, trusting())
        for word, length in ((b"one\n", 4), (b"two\n", 8)):
            program.type(command)
            conn.write(b"before " + word)
            program.expect(b"SSL_do_handshake -> 1")
            program.type(word)
            run_loop(loop, partial(has_read, conn, length))
            conn.write(b"answer to " + word)
            program.expect(b"answer to " + word)
        conn.close()
        run_loop(loop, lambda: conn.socket.fileno() < 0)
    assert conn.error is None
    assert heard.events[0] == ("data", b"one\ntwo\n")


def test_s_server_renegotiates_where_our_context_allows_it(
    loop: LoopBase, certificates: Certificates
) -> None:
    """What is written meanwhile waits, and all arrives; paused or not."""
    context = showing(**only("TLSv1.2"))
    context.options &= ~ssl.OP_NO_RENEGOTIATION
    with s_server(loop, certificates, "-tls1_2", "-CAfile", certificates.ca) as (program, port):
        conn, heard = connected(loop, port, context)
        for number in range(6):
            conn.pause(bool(number % 2))
            program.type(b"R\n")  # and it asks for a certificate now
            conn.write(b"word %d, " % number)
            program.expect(b"word %d, " % number)
            conn.write(b"and more of %d" % number)
            program.expect(b"and more of %d" % number)
        conn.pause(False)
        program.type(b"over\n")
        run_loop(loop, lambda: heard.events)
        assert heard.take() == [("data", b"over\n")]
        conn.close()
        run_loop(loop, lambda: conn.socket.fileno() < 0)
    assert conn.error is None


def test_s_server_is_refused_renegotiation(loop: LoopBase, certificates: Certificates) -> None:
    with s_server(loop, certificates, "-tls1_2") as (program, port):
        conn, heard = connected(loop, port, trusting())
        program.type(b"r\n")
        run_loop(loop, lambda: ("disconnect",) in heard.events)
    assert isinstance(conn.error, ssl.SSLError)


def test_fetch_reads_a_body_of_s_server_that_ends_with_the_connection(
    certificates: Certificates,
) -> None:
    port = free_port()
    argv = [need_program("openssl"), "s_server", "-accept", str(port), "-quiet", "-WWW"]
    argv += ["-cert", certificates.certificate, "-key", certificates.key]
    with running_program(argv, port=port, cwd=certificates.folder / "www"):
        result = thor("fetch", "--cacert", certificates.ca, f"https://localhost:{port}/pattern")
        assert (result.code, sha256(result.out)) == (0, sha256(PATTERN))
