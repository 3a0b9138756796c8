"""What the published documentation says of TLS."""

from __future__ import annotations

import inspect
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from published_support import documents, example, start_python
from tls_support import NAME, authority, serving

import thor
import thor_support
from thor_support import host_and_port, run_loop


@pytest.fixture
def source() -> str:
    """The example, its slips corrected."""
    text = example("c = thor.TlsClient()")
    text = text.replace("sys.argv[1:2]", "sys.argv[1:3]")
    return text.replace("sys.stdout.write", "sys.stdout.buffer.write")


@pytest.fixture
def trusted(tmp_path: Path) -> dict[str, str]:
    """The environment of a program whose system trusts the tests' authority."""
    roots = tmp_path / "roots.pem"
    roots.write_bytes(authority().certificate)
    return {"SSL_CERT_FILE": str(roots), "SSL_CERT_DIR": str(tmp_path)}


def run_example(source: str, environment: dict[str, str], port: int) -> tuple[int, str, str]:
    """Run the example while the default loop runs here.

    Returns: its exit code, and what it wrote to stdout and stderr
    """
    results: list[Any] = []
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        process = start_python(source, NAME, str(port))
    finally:
        os.environ.clear()
        os.environ.update(before)

    def done(result: Any, exc: BaseException | None) -> None:
        results.append(exc or result)
        thor.loop.stop()

    thor.loop.run_in_thread(process.communicate, None, 20, then=done)
    try:
        run_loop(thor.loop, timeout_s=30)
    finally:
        process.kill()
        process.communicate()
    out, err = results[0]
    return process.returncode, out, err


@documents("thor.TlsClient ( loop )")
def test_the_tls_clients_example_runs_with_its_two_slips_corrected(
    source: str,
    trusted: dict[str, str],
) -> None:
    asked: list[bytes] = []

    def answer(conn: Any) -> None:
        def data(request: bytes) -> None:
            asked.append(request)
            conn.write("<h1>Hello</h1>")
            conn.close()

        conn.on("data", data)
        conn.pause(False)

    server = thor.TlsServer("127.0.0.1", 0, context=serving())
    server.on("connect", answer)
    assert run_example(source, trusted, host_and_port(server)[1]) == (0, "<h1>Hello</h1>", "")
    assert asked == [b"GET /\n\n"]


def test_the_tls_clients_example_says_why_there_is_no_connection(
    source: str, trusted: dict[str, str]
) -> None:
    closed = thor_support.free_port()
    assert run_example(source, trusted, closed) == (0, "", str(socket.error))


def test_the_tls_clients_example_trusts_nobody_that_the_system_does_not_trust(
    source: str,
    tmp_path: Path,
) -> None:
    server = thor.TlsServer("127.0.0.1", 0, context=serving())
    server.on("tls_error", lambda *_: None)
    nobody = {"SSL_CERT_FILE": str(tmp_path / "none"), "SSL_CERT_DIR": str(tmp_path)}
    assert run_example(source, nobody, host_and_port(server)[1]) == (0, "", str(ssl.SSLError))


def test_the_interface_is_identical_to_that_of_a_tcp_client() -> None:
    for name in ("connect", "cancel", "__init__"):
        ours = inspect.signature(getattr(thor.TlsClient, name))
        assert ours == inspect.signature(getattr(thor.TcpClient, name))
