"""`thor proxy` told to stop, or left by its client, with requests in flight."""

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from cli_support import Running, running
from interop_data import LIMIT_S, PATTERN, Wire, refuses
from interop_support import curl_argv, interop

pytestmark = interop

HALF = len(PATTERN) // 2


class Setting:
    """The proxy, and an origin that the test plays."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.listener.settimeout(LIMIT_S)
        origin = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        args = ("proxy", "--to", origin, "--listen", "127.0.0.1:0")
        self.proxy: Running = stack.enter_context(running(*args))

    def accept(self) -> Wire:
        """The proxy's next connection to the origin."""
        return self.stack.enter_context(Wire(self.listener.accept()[0]))

    def connect(self) -> Wire:
        """A client's connection to the proxy."""
        return self.stack.enter_context(Wire.to(self.proxy.port))

    def curl(self, path: str) -> subprocess.Popen[bytes]:
        """curl, on its way."""
        argv = curl_argv("--no-buffer", f"{self.proxy.url}{path}")
        client = subprocess.Popen(argv, bufsize=0, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.stack.callback(client.wait)
        self.stack.callback(client.kill)
        assert client.stdout is not None
        self.stack.callback(client.stdout.close)
        return client

    def download(self, size: int = len(PATTERN)) -> tuple[subprocess.Popen[bytes], Wire]:
        """A response of which the first half of the pattern has gone through.

        size: of the response. Returns: the client, the origin's side
        """
        client = self.curl("/file")
        far = self.accept()
        assert far.head().start == b"GET /file HTTP/1.1"
        far.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        far.send(PATTERN[:HALF])
        assert client.stdout is not None
        assert client.stdout.read(1) == PATTERN[:1]
        return client, far

    def stop(self) -> None:
        """SIGTERM; returns when it has had its effect."""
        self.proxy.signal(signal.SIGTERM)
        while not refuses(self.proxy.port):
            pass


@pytest.fixture
def setting() -> Iterator[Setting]:
    with ExitStack() as stack:
        yield Setting(stack)


def test_requests_in_flight_are_finished(setting: Setting) -> None:
    client, far = setting.download()
    upload = setting.connect()
    upload.send(b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(PATTERN))
    upload.send(PATTERN[:HALF])
    up = setting.accept()
    assert up.head().start == b"POST /up HTTP/1.1"
    assert up.read(HALF) == PATTERN[:HALF]
    waiting = setting.connect()
    waiting.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
    late = setting.accept()
    assert late.head().start == b"GET /late HTTP/1.1"
    idle = setting.connect()
    idle.send(b"GET /idle HTTP/1.1\r\nHost: x\r\n\r\n")
    rest = setting.accept()
    assert rest.head().start == b"GET /idle HTTP/1.1"
    rest.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nidle")
    assert idle.message().body == b"idle"

    setting.stop()
    assert setting.proxy.process.poll() is None
    idle.send(b"GET /again HTTP/1.1\r\nHost: x\r\n\r\n")  # nobody has told it not to
    assert rest.head().start == b"GET /again HTTP/1.1"
    rest.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nidle")
    far.send(PATTERN[HALF:])
    output, _ = client.communicate(timeout=LIMIT_S)
    assert (client.returncode, output) == (0, PATTERN[1:])
    upload.send(PATTERN[HALF:])
    assert up.read(len(PATTERN) - HALF) == PATTERN[HALF:]
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup")
    late.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlate\r\n0\r\n\r\n")
    for wire, body in ((upload, b"up"), (waiting, b"late"), (idle, b"idle")):
        answer = wire.message()
        assert (answer.start, answer.body) == (b"HTTP/1.1 200 OK", body)
        assert answer.fields[b"connection"] == b"close"
        assert wire.at_end()
        wire.close()
    assert setting.proxy.end() == (0, b"", "")


def test_idle_proxy_stops_at_once(setting: Setting) -> None:
    setting.proxy.signal(signal.SIGTERM)
    assert setting.proxy.end() == (0, b"", "")


def test_client_that_dies_takes_its_upstream_request_with_it(setting: Setting) -> None:
    client, far = setting.download(1 << 50)
    client.kill()
    client.wait()
    # Without an end, if the proxy read on what nobody wants.
    endless = itertools.repeat(PATTERN)
    with pytest.raises(ConnectionError):
        deque(map(far.send, endless), maxlen=0)


def test_client_that_dies_while_it_waits_takes_its_upstream_request_with_it(
    setting: Setting,
) -> None:
    client = setting.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    far = setting.accept()
    far.head()
    linger = (1).to_bytes(4, "little") + bytes(4)  # closing sends a reset
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.close()
    try:
        assert far.at_end()
    except ConnectionResetError:
        pass


def test_origin_that_dies_in_a_body_breaks_the_client_s_connection(setting: Setting) -> None:
    client, far = setting.download()
    far.close()
    output, _ = client.communicate(timeout=LIMIT_S)
    # 18: the transfer was partial; 56: the connection was reset. Either is no success.
    assert client.returncode in (18, 56)
    assert PATTERN[1:HALF].startswith(output)


def test_origin_that_dies_in_a_chunked_body_breaks_the_client_s_connection(
    setting: Setting,
) -> None:
    client = setting.curl("/")
    far = setting.accept()
    far.head()
    far.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    assert client.stdout is not None
    assert client.stdout.read(5) == b"hello"
    far.close()
    assert client.wait(LIMIT_S) in (18, 56)
