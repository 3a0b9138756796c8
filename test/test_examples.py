"""The examples: each runs as a program of its own, and is judged by what a client of it sees."""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from thor_documentation import fetch

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
def test_an_example_says_how_it_is_used_and_stops_on_both_signals(name: str) -> None:
    source = (EXAMPLES / name).read_text()
    assert f"Usage: {name}" in (ast.get_docstring(ast.parse(source)) or "")
    assert "SIGINT" in source
    assert "SIGTERM" in source


def test_the_reverse_proxy_from_two_exchanges_has_less_than_40_lines() -> None:
    assert len((EXAMPLES / "reverse_proxy.py").read_text().splitlines()) < 40


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


# -- proxies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("proxy", ["reverse_proxy.py", "transformer.py", "load_balancer.py"])
class TestProxies:
    def test_a_response_comes_through(self, proxy: str, origins: ExitStack) -> None:
        played = origin(origins, message(b"{}", b"Content-Type: application/json"))
        with running(proxy, played.url) as port:
            answer = fetch(f"http://{HOST}:{port}/a?b=c")
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.fields["content-type"] == "application/json"
        assert played.requests[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")

    def test_a_large_request_body_reaches_the_origin(self, proxy: str, origins: ExitStack) -> None:
        sent = bytes(range(256)) * 10_000
        played = origin(origins, message(b"thanks"))
        with running(proxy, played.url) as port:
            answer = fetch(f"http://{HOST}:{port}/", "POST", sent)
        assert answer.body == b"thanks"
        assert played.requests[0].endswith(b"\r\n\r\n" + sent)

    def test_an_origin_that_is_not_there_is_a_502(self, proxy: str, origins: ExitStack) -> None:
        with running(proxy, f"http://{HOST}:{thor_support.free_port()}") as port:
            answer = fetch(f"http://{HOST}:{port}/")
        assert answer.status == 502

    def test_a_response_that_breaks_off_is_not_taken_for_whole(
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
