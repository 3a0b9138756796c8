"""The examples: each runs as a program of its own, and is judged by what a client of it sees."""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from thor_documentation import fetch
from tls_support import issued, trusting

import thor.tcp
import thor_support
from thor_support import ROOT

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.py"))
HOST = "127.0.0.1"


def start(name: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(name: str, *args: str, stop: int = signal.SIGTERM) -> Iterator[int]:
    """Run a server on a free port until the block ends; it has to say where it listens, and to
    end cleanly, without a complaint. Yields: its port"""
    process = start(name, HOST, "0", *args)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "listening on" in said, process.communicate()[1]
        yield int(said.rstrip("/\n").rpartition(":")[2])
        process.send_signal(stop)
        _, complaints = process.communicate(timeout=20)
        assert (process.returncode, complaints) == (0, "")
    finally:
        process.kill()
        process.communicate()


def run(name: str, *args: str) -> subprocess.CompletedProcess[str]:
    process = start(name, *args)
    try:
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def read_request(conn: socket.socket) -> bytes:
    """The bytes of one request, whose body has a Content-Length if there is one."""
    with conn.makefile("rb") as file:
        head = b""
        while not head.endswith(b"\r\n\r\n") and (line := file.readline()):
            head += line
        length = re.search(rb"content-length: *(\d+)", head, re.I)
        return head + file.read(int(length[1]) if length else 0)


class Origin:
    """An origin that is played by hand: it answers each connection with one fixed response."""

    def __init__(self, response: bytes | None) -> None:
        """response: None reads the request and never answers"""
        self.response = response
        self.requests: list[bytes] = []
        self.listening = socket.create_server((HOST, 0))
        self.url = f"http://{HOST}:{self.listening.getsockname()[1]}"
        self.threads = ThreadPoolExecutor(1)
        self.threads.submit(self.serve)
        self.held: list[socket.socket] = []

    def serve(self) -> None:
        while True:
            try:
                conn, _ = self.listening.accept()
            except OSError:
                return
            self.requests.append(read_request(conn))
            if self.response is None:
                self.held.append(conn)
                continue
            with conn:
                conn.sendall(self.response)

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.threads.shutdown()
        for conn in self.held:
            conn.close()


@pytest.fixture
def origins() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def origin(stack: ExitStack, response: bytes | None) -> Origin:
    played = Origin(response)
    stack.callback(played.close)
    return played


def message(body: bytes, *fields: bytes, status: bytes = b"200 OK") -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"HTTP/1.1 " + status, length, *fields, b"", body])


# -- all of them ---------------------------------------------------------------------------------


def test_every_example_is_tested_here() -> None:
    source = Path(__file__).read_text()
    assert [name for name in NAMES if f'"{name}"' not in source] == []


@pytest.mark.parametrize("name", NAMES)
def test_example_says_how_it_is_used_and_stops_on_both_signals(name: str) -> None:
    source = (EXAMPLES / name).read_text()
    assert f"Usage: {name}" in (ast.get_docstring(ast.parse(source)) or "")
    assert "SIGINT" in source
    assert "SIGTERM" in source


@pytest.mark.parametrize(
    "name",
    [
        "aggregator", "dns_query", "fetch", "load_balancer", "reverse_proxy", "tcp_client",
        "transformer",
    ],
)  # fmt: skip
def test_example_without_what_it_needs_says_how_it_is_used(name: str) -> None:
    docstring = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text()))
    result = run(f"{name}.py")
    assert (result.returncode, result.stdout, result.stderr.strip()) == (2, "", docstring)


def test_reverse_proxy_from_two_exchanges_has_less_than_40_lines() -> None:
    lines = (EXAMPLES / "reverse_proxy.py").read_text().splitlines()
    assert len(lines) < 40


# -- servers and clients -------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_hello_server_greets_and_stops_on_a_signal(stop: int) -> None:
    with running("hello_server.py", stop=stop) as port:
        answer = fetch(f"http://{HOST}:{port}/")
    assert (answer.status, answer.body) == (200, b"Hello, world!\n")
    assert answer.fields["content-type"] == "text/plain"


def test_fetch_prints_what_a_server_says() -> None:
    with running("hello_server.py") as port:
        result = run("fetch.py", f"http://{HOST}:{port}/")
    assert (result.returncode, result.stdout) == (0, "Hello, world!\n")
    assert result.stderr == "200 OK\n"


def test_fetch_ends_with_an_error_where_nobody_listens() -> None:
    result = run("fetch.py", f"http://{HOST}:{thor_support.free_port()}/")
    assert result.returncode == 1
    assert "Connection refused" in result.stderr


def test_https_server_says_what_was_agreed_on(tmp_path: Path) -> None:
    certificate, key = issued("localhost").write(tmp_path)
    with (
        running("https_server.py", certificate, key) as port,
        socket.create_connection((HOST, port), timeout=20) as conn,
        trusting().wrap_socket(conn, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
        received = b"".join(iter(lambda: secure.recv(1000), b""))
    assert b"\r\n\r\nTLS: TLSv1.3, " in received
    assert received.endswith(b"session: new\nyou asked for: localhost\n")


def test_https_server_makes_a_certificate_that_has_to_be_trusted_first() -> None:
    process = start("https_server.py", HOST, "0")
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
        result = run("fetch.py", f"https://localhost:{port}/")
        assert "Certificate was not accepted" in result.stderr
        assert "self-signed" in result.stderr
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "does not know the issuer" in complaints
    finally:
        process.kill()
        process.communicate()


def test_tcp_client_prints_what_the_echo_server_returns() -> None:
    with running("tcp_echo_server.py") as port:
        result = run("tcp_client.py", HOST, str(port), "hello there")
    assert (result.returncode, result.stdout) == (0, "hello there\n")


def test_tcp_client_ends_with_an_error_where_nobody_listens() -> None:
    result = run("tcp_client.py", HOST, str(thor_support.free_port()), "hello")
    assert result.returncode == 1
    assert "Connection refused" in result.stderr


def test_tcp_echo_server_returns_more_than_its_buffers_hold() -> None:
    sent = bytes(range(256)) * 40_000
    with (
        running("tcp_echo_server.py") as port,
        socket.create_connection((HOST, port), timeout=20) as conn,
        ThreadPoolExecutor(1) as thread,
    ):
        sending = thread.submit(conn.sendall, sent)
        received = b""
        while len(received) < len(sent) and (data := conn.recv(1 << 20)):
            received += data
        sending.result()
    assert received == sent


def test_tls_echo_server_returns_what_it_gets_and_reads_its_files_again(tmp_path: Path) -> None:
    files = issued("localhost").write(tmp_path)
    process = start("tls_echo_server.py", HOST, "0", *files)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])

        def talk() -> bytes | None:
            with (
                socket.create_connection((HOST, port), timeout=20) as conn,
                trusting().wrap_socket(conn, server_hostname="localhost") as secure,
            ):
                secure.sendall(b"hello")
                assert secure.recv(100) == b"hello"
                return secure.getpeercert(True)

        before = talk()
        assert process.stdout.readline() == f"{HOST}: TLSv1.3, name localhost\n"
        issued("localhost", "other.test").write(tmp_path)
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "reloaded\n"
        assert talk() != before
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=20)
        assert (process.returncode, complaints) == (0, "")
    finally:
        process.kill()
        process.communicate()


def test_tls_echo_server_makes_a_certificate_and_says_who_does_not_like_it() -> None:
    process = start("tls_echo_server.py", HOST, "0")
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        with (
            socket.create_connection((HOST, port), timeout=20) as conn,
            pytest.raises(ssl.SSLCertVerificationError, match="self-signed"),
        ):
            trusting().wrap_socket(conn, server_hostname="localhost")
        assert process.stdout.readline() == (
            f"{HOST}: no TLS: the peer does not know the issuer of this side's certificate\n"
        )
    finally:
        process.kill()
        process.communicate()


def test_tcp_relay_tells_its_target_who_the_client_is() -> None:
    with (
        socket.create_server((HOST, 0)) as target,
        running("tcp_relay.py", HOST, str(target.getsockname()[1])) as port,
        socket.create_connection((HOST, port), timeout=20) as client,
    ):
        address = thor.tcp.ProxyHeader(client.getsockname(), client.getpeername())
        conn, _ = target.accept()
        with conn:
            conn.settimeout(20)
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: conn.recv(1000), b""))
            conn.sendall(b"good bye")
        assert received == address.to_bytes() + b"hello"
        assert client.recv(100) == b"good bye"


# -- datagrams -----------------------------------------------------------------------------------


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.bind((HOST, 0))
        yield sock


def test_udp_echo_returns_what_it_gets(udp: socket.socket) -> None:
    with running("udp_echo.py") as port:
        for data in (b"hello", b"", bytes(65507)):
            udp.sendto(data, (HOST, port))
            assert udp.recvfrom(1 << 16) == (data, (HOST, port))


def test_statsd_sink_adds_up_what_comes(udp: socket.socket) -> None:
    process = start("statsd_sink.py", HOST, "0", "0.01")
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        udp.sendto(b"asked:1|c\nasked:2|c|@0.1\nwho knows\nload:3|x\nasked:1|c|@0\n", (HOST, port))
        udp.sendto(b"load:nan|g\nasked:-inf|c\nasked:1|c|@2", (HOST, port))
        bad = [process.stderr.readline().split("'")[1] for _ in range(6)]
        assert bad[:3] == ["who knows", "load:3|x", "asked:1|c|@0"]
        assert bad[3:] == ["load:nan|g", "asked:-inf|c", "asked:1|c|@2"]
        assert process.stdout.readline() == "asked 21\n"
        udp.sendto(b"load:0.5|g\nload:0.7|g\ntook:1|ms\ntook:3|ms\ntook:2|ms", (HOST, port))
        assert process.stdout.readline() == "load 0.7\n"
        assert process.stdout.readline() == "took 2 ms\n"
        process.send_signal(signal.SIGTERM)
        rest, complaints = process.communicate(timeout=20)
        assert (process.returncode, set(rest.split("\n")), complaints) == (0, {"load 0.7", ""}, "")
    finally:
        process.kill()
        process.communicate()


def dns_answer(query: bytes, *records: bytes, error: int = 0) -> bytes:
    head = query[:2] + struct.pack("!5H", 0x8180 | error, 1, len(records), 0, 0)
    return b"".join([head, query[12:], *records])


def record(kind: int, data: bytes, owner: bytes = b"\xc0\x0c") -> bytes:
    """A resource record of the name that was asked for, good for 60 seconds."""
    return owner + struct.pack("!2HIH", kind, 1, 60, len(data)) + data


def asked(udp: socket.socket, kind: str, answer: Callable[[bytes], Sequence[bytes]]) -> Any:
    """Have dns_query.py ask a server that is played here: what it sends for each query."""
    process = start("dns_query.py", "www.example.org", kind, HOST, str(udp.getsockname()[1]))
    try:
        while not (answers := answer((received := udp.recvfrom(512))[0])):
            continue
        for message in answers:
            udp.sendto(message, received[1])
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("kind", "records", "printed"),
    [
        pytest.param("A", [record(1, b"\xc0\0\2\1")], ["A 192.0.2.1"], id="A"),
        pytest.param("aaaa", [record(28, bytes(15) + b"\1")], ["AAAA ::1"], id="AAAA"),
        pytest.param("MX", [record(15, b"\0\5\2mx\xc0\x10")], ["MX 5 mx.example.org"], id="MX"),
        pytest.param(
            "A",
            [record(5, b"\1a\xc0\x0c"), record(1, b"\xc0\0\2\2"), record(99, b"\1\2")],
            ["CNAME a.www.example.org", "A 192.0.2.2", "99 0102"],
            id="several",
        ),
        pytest.param("NS", [], [], id="none"),
    ],
)
def test_dns_query_prints_the_answers(
    udp: socket.socket, kind: str, records: list[bytes], printed: list[str]
) -> None:
    result = asked(udp, kind, lambda query: [dns_answer(query, *records)])
    assert result == (0, "".join(f"www.example.org 60 {line}\n" for line in printed), "")


def test_dns_query_asks_again_and_believes_nobody_else(udp: socket.socket) -> None:
    queries: list[bytes] = []

    def answer(query: bytes) -> Sequence[bytes]:
        queries.append(query)
        if len(queries) < 2:
            return []  # as if it was lost
        wrong = record(1, b"\6\6\6\6")
        other_number = bytes([query[0] ^ 1]) + query[1:]
        other_name = query.replace(b"www", b"ftp")
        forged = [dns_answer(other_number, wrong), dns_answer(other_name, wrong), query, b"", b"x"]
        return [*forged, dns_answer(query, record(1, b"\xc0\0\2\1"))]

    assert asked(udp, "A", answer) == (0, "www.example.org 60 A 192.0.2.1\n", "")
    assert queries[0] == queries[1]


@pytest.mark.parametrize(
    ("records", "error", "said"),
    [
        pytest.param([], 3, "www.example.org: no such name\n", id="no such name"),
        pytest.param([], 9, "www.example.org: error 9\n", id="another error"),
        pytest.param([record(1, b"\1", b"\xc0\x21")], 0, "does not end", id="pointer to itself"),
        pytest.param([record(5, b"\1a\xc0\x2d")], 0, "does not end", id="pointer in a circle"),
        pytest.param([b"\xc0\x0c\0"], 0, "not a proper answer", id="cut off"),
        pytest.param([record(1, b"\1\2\3")], 0, "not a proper answer", id="no address"),
    ],
)
def test_dns_query_says_what_is_wrong_with_an_answer(
    udp: socket.socket, records: list[bytes], error: int, said: str
) -> None:
    status, _, complaint = asked(udp, "A", lambda query: [dns_answer(query, *records, error=error)])
    assert status == 1
    assert said in complaint
    assert "Traceback" not in complaint


@pytest.mark.skipif(sys.platform != "linux", reason="tells ICMP's errors to connected sockets only")
def test_dns_query_says_so_where_the_answer_did_not_fit(udp: socket.socket) -> None:
    def answer(query: bytes) -> Sequence[bytes]:
        whole = dns_answer(query, record(1, b"\xc0\0\2\1"))
        return [whole[:2] + bytes([whole[2] | 0x02]) + whole[3:]]

    code, out, err = asked(udp, "A", answer)
    assert (code, out) == (0, "www.example.org 60 A 192.0.2.1\n")
    assert "did not fit" in err


def test_dns_query_ends_with_an_error_where_nobody_answers(udp: socket.socket) -> None:
    port = udp.getsockname()[1]
    udp.close()
    result = run("dns_query.py", "www.example.org", "A", HOST, str(port))
    assert result.returncode == 1
    said = result.stderr.splitlines()[0]
    assert said == f"{HOST}: [Errno 111] Connection refused: '{HOST} port {port}'"


# -- proxies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("proxy", ["reverse_proxy.py", "transformer.py", "load_balancer.py"])
class TestProxies:
    def test_response_comes_through(self, proxy: str, origins: ExitStack) -> None:
        played = origin(origins, message(b"{}", b"Content-Type: application/json"))
        with running(proxy, played.url) as port:
            answer = fetch(f"http://{HOST}:{port}/a?b=c")
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.fields["content-type"] == "application/json"
        assert played.requests[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")

    def test_large_request_body_reaches_the_origin(self, proxy: str, origins: ExitStack) -> None:
        sent = bytes(range(256)) * 10_000
        played = origin(origins, message(b"thanks"))
        with running(proxy, played.url) as port:
            answer = fetch(f"http://{HOST}:{port}/", "POST", sent)
        assert answer.body == b"thanks"
        assert played.requests[0].endswith(b"\r\n\r\n" + sent)

    def test_origin_that_is_not_there_is_a_502(self, proxy: str, origins: ExitStack) -> None:
        with running(proxy, f"http://{HOST}:{thor_support.free_port()}") as port:
            answer = fetch(f"http://{HOST}:{port}/")
        assert answer.status == 502

    def test_response_that_breaks_off_is_not_taken_for_whole(
        self, proxy: str, origins: ExitStack
    ) -> None:
        played = origin(origins, message(b"whole").replace(b": 5", b": 9"))
        with running(proxy, played.url) as port, pytest.raises(OSError):
            fetch(f"http://{HOST}:{port}/")


def test_transformer_changes_plain_text_and_what_is_said_of_it(origins: ExitStack) -> None:
    fields = [b"Content-Type: text/plain; charset=utf-8", b'ETag: "1"', b"Accept-Ranges: bytes"]
    played = origin(origins, message("straße\n".encode(), *fields))
    with running("transformer.py", played.url) as port:
        answer = fetch(f"http://{HOST}:{port}/", Accept_Encoding="gzip")
    assert answer.body.decode() == "STRASSE\n"
    assert "content-length" not in answer.fields
    assert "accept-ranges" not in answer.fields
    assert answer.fields["etag"] == 'W/"1"'
    assert b"accept-encoding: gzip" not in played.requests[0].lower()


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        pytest.param(b"<p>", [b"Content-Type: text/html"], id="another-type"),
        pytest.param(
            b"no", [b"Content-Type: text/plain", b"Cache-Control: no-transform"], id="forbidden"
        ),
        pytest.param(
            gzip.compress(b"zipped"),
            [b"Content-Type: text/plain", b"Content-Encoding: gzip"],
            id="encoded",
        ),
    ],
)
def test_transformer_leaves_alone(body: bytes, fields: list[bytes], origins: ExitStack) -> None:
    played = origin(origins, message(body, *fields))
    with running("transformer.py", played.url) as port:
        answer = fetch(f"http://{HOST}:{port}/")
    assert answer.body == body
    assert answer.fields["content-length"] == str(len(body))


def test_load_balancer_takes_its_origins_in_turn(origins: ExitStack) -> None:
    played = [origin(origins, message(name)) for name in (b"a", b"b", b"c")]
    with running("load_balancer.py", *(one.url for one in played)) as port:
        answers = [fetch(f"http://{HOST}:{port}/").body for _ in range(6)]
    assert sorted(answers) == [b"a", b"a", b"b", b"b", b"c", b"c"]


def test_load_balancer_does_without_an_origin_that_is_not_there(origins: ExitStack) -> None:
    played = origin(origins, message(b"here"))
    absent = f"http://{HOST}:{thor_support.free_port()}"
    with running("load_balancer.py", absent, played.url) as port:
        answers = [fetch(f"http://{HOST}:{port}/").body for _ in range(4)]
    assert answers == [b"here"] * 4


# -- the aggregator ------------------------------------------------------------------------------


def test_aggregator_joins_the_answers_and_says_who_did_not_answer(origins: ExitStack) -> None:
    fine = origin(origins, message(b"fine", status=b"203 Fine")).url
    broken = origin(origins, b"garbage\r\n\r\n").url
    silent = origin(origins, None).url
    with running("aggregator.py", fine, broken, silent) as port:
        answer = fetch(f"http://{HOST}:{port}/weather")
    joined = json.loads(answer.body)
    assert list(joined) == [fine, broken, silent]
    assert joined[fine] == {"status": 203, "body": "fine"}
    assert "status line" in joined[broken]["error"]
    assert "timed out" in joined[silent]["error"]
