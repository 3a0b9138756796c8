"""Load that wrk cannot make: connections that stay, large bodies, handshakes.

Owns: the clients, which run in the process of the benchmark, on the core of the load. Must not know
the peers, nor what is made of the figures.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from bench.harness import ANSWER, BenchError, Server

#: What `/bulk` and `/large` of a server are, in bytes.
BULK_BYTES = 100_000_000
LARGE_BYTES = 1 << 20
PATIENCE_S = 20.0
NAME = "localhost"

HEAD = "{} HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n"
HELLO = HEAD.format("GET /", "").encode()
LAST_CHUNK = b"0\r\n\r\n"
_block = b"x" * LARGE_BYTES


@cache
def tls_context() -> ssl.SSLContext:
    """Return what the clients speak TLS with; the certificate is nobody's, and is not verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def make_certificate(folder: Path) -> tuple[str, str]:
    """Make a P-256 certificate for `localhost`, by openssl. Returns: its file, and its key's

    Raises: BenchError
    """
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    argv = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "2"]
    argv += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={NAME}"]
    argv += ["-addext", f"subjectAltName=DNS:{NAME}", "-out", str(certificate), "-keyout", str(key)]
    try:
        subprocess.run(argv, check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as exc:
        raise BenchError(f"no certificate: {exc}") from None
    return str(certificate), str(key)


def connect(server: Server, session: ssl.SSLSession | None = None) -> socket.socket:
    """Connect to a server under test. Raises: OSError"""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    if not server.tls:
        return sock
    try:
        return tls_context().wrap_socket(sock, server_hostname=NAME, session=session)
    except BaseException:
        sock.close()
        raise


def ask(sock: socket.socket) -> bytes:
    """One request for `/` on a connection that stays; the answer, up to its body's end.

    Raises: BenchError if the peer ends the connection first
    """
    sock.sendall(HELLO)
    return hear(sock)


def hear(sock: socket.socket) -> bytes:
    """Read an answer, up to the end of its body. Raises: BenchError"""
    received = b""
    while ANSWER not in received:
        chunk = sock.recv(65536)
        if not chunk:
            raise BenchError(f"answered {received[:60]!r}")
        received += chunk
    return received


def check(server: Server) -> None:
    """See that a server answers as it should, twice on one connection, before it is measured."""
    try:
        with connect(server) as sock:
            for _ in range(2):
                answer = ask(sock)
                if not answer.startswith(b"HTTP/1.1 200 "):
                    raise BenchError(f"answered {answer[:60]!r}")
    except OSError as exc:
        raise BenchError(f"no answer: {exc}") from None


def open_idle(server: Server, count: int, stack: ExitStack) -> list[socket.socket]:
    """Open connections that have had one answer and are kept; `stack` closes them."""
    opened = []
    try:
        for _ in range(count):
            opened.append(stack.enter_context(connect(server)))
            ask(opened[-1])
    except OSError as exc:
        raise BenchError(f"while opening {count} connections: {exc}") from None
    return opened


def ask_all(socks: Sequence[socket.socket]) -> None:
    """One request on each connection, at once. Raises: BenchError"""
    try:
        for sock in socks:
            sock.sendall(HELLO)
        for sock in socks:
            hear(sock)
    except OSError as exc:
        raise BenchError(f"no answer: {exc}") from None


# -- large bodies -------------------------------------------------------------------------------


def download(server: Server, path: str, size: int, times: int) -> None:
    """Read a body of `size` bytes so many times on one connection.

    Raises: BenchError if one is cut short, or is not of that size
    """
    request = HEAD.format(f"GET {path}", "").encode()
    buffer = memoryview(bytearray(1 << 18))
    total = 0
    try:
        with connect(server) as sock:
            for _ in range(times):
                sock.sendall(request)
                body, chunked = _read_head(sock, size)
                total, end = len(body), body[-5:]
                while total < size or (chunked and end != LAST_CHUNK):
                    count = sock.recv_into(buffer)
                    if not count:
                        raise BenchError(f"only {total} bytes came")
                    total += count
                    end = (end + bytes(buffer[max(count - 5, 0) : count]))[-5:]
                if total != size and not chunked:
                    raise BenchError(f"{total} bytes came, not {size}")
    except OSError as exc:
        raise BenchError(f"after {total} bytes: {exc}") from None


def _read_head(sock: socket.socket, size: int) -> tuple[bytes, bool]:
    """Read a head that announces `size` bytes, or chunks.

    Returns: what came of the body with it, whether it is chunked
    """
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = sock.recv(65536)
        if not chunk:
            raise BenchError(f"answered {received[:60]!r}")
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"answered {head[:60]!r}")
    chunked = b"\r\ntransfer-encoding: chunked" in head.lower()
    length = re.search(rb"\r\ncontent-length: *(\d+)", head.lower())
    if not chunked and (length is None or int(length[1]) != size):
        raise BenchError("an answer without the length of its body")
    return body, chunked


def upload(server: Server, path: str, size: int, times: int) -> None:
    """Send a body of `size` bytes so many times on one connection, each answered before the next.

    Raises: BenchError
    """
    request = HEAD.format(f"POST {path}", f"Content-Length: {size}\r\n").encode()
    try:
        with connect(server) as sock:
            for _ in range(times):
                sock.sendall(request)
                for start in range(0, size, LARGE_BYTES):
                    rest = size - start
                    sock.sendall(_block if rest >= LARGE_BYTES else _block[:rest])
                answer = hear(sock)
                if not answer.startswith(b"HTTP/1.1 200 "):
                    raise BenchError(f"answered {answer[:60]!r}")
    except OSError as exc:
        raise BenchError(f"while sending {size} bytes: {exc}") from None


# -- handshakes --------------------------------------------------------------------------------


def shake(server: Server, session: ssl.SSLSession | None = None) -> ssl.SSLSession | None:
    """One connection with one request, as a visitor's. Returns: the session that it leaves

    session: one to resume
    Raises: BenchError if it is not resumed, or the answer is none
    """
    try:
        with connect(server, session) as secure:
            assert isinstance(secure, ssl.SSLSocket)
            secure.sendall(HEAD.format("GET /", "Connection: close\r\n").encode())
            received = b""
            while chunk := secure.recv(65536):
                received += chunk
            if not received.endswith(ANSWER):
                raise BenchError(f"answered {received[:60]!r}")
            if bool(secure.session_reused) is not (session is not None):
                raise BenchError("a session was not resumed")
            return secure.session
    except OSError as exc:
        raise BenchError(f"no handshake: {exc}") from None


def measure_shakes(server: Server, seconds: int, resume: bool) -> float:
    """CPU microseconds of a handshake with its connection and one request. Raises: BenchError"""
    session = shake(server)
    count = 0
    before = sum(server.cpu_s())
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        left = shake(server, session if resume else None)
        session = left if resume else None
        count += 1
    return (sum(server.cpu_s()) - before) / count * 1e6
