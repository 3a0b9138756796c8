"""Bodies of 256 MiB through `thor proxy`: whole, byte for byte, and in little memory."""

from __future__ import annotations

import socket
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from cli_support import Running, running
from interop_data import LARGE_BYTES, PATTERN, Wire, item, pattern_pieces, peak_memory
from interop_support import LIMIT_S, curl, curl_argv, curl_pattern, interop

pytestmark = [interop, pytest.mark.deadline_s(120)]

#: The most that the proxy's memory may grow. One body is 32 times that.
GROWTH_BYTES = 8 << 20


@pytest.fixture(autouse=True)
def _memory_is_bounded(proxy: Running) -> Iterator[None]:
    """Compares the proxy's peak before and after."""
    curl("--http1.0", f"{proxy.url}/item/a?size=100000", f"{proxy.url}/sink")
    before = peak_memory(proxy.process.pid)
    yield
    growth = peak_memory(proxy.process.pid) - before
    assert growth < GROWTH_BYTES, f"the proxy's memory has grown by {growth} bytes"


@pytest.mark.parametrize("query", ["", "&chunked=1"], ids=["length", "chunked"])
def test_proxy_forwards_a_large_download_in_little_memory(proxy: Running, query: str) -> None:
    assert curl_pattern(f"{proxy.url}/big?size={LARGE_BYTES}{query}") == LARGE_BYTES


def test_proxy_forwards_a_large_upload_in_little_memory(proxy: Running) -> None:
    argv = curl_argv("-m", "90", "-H", "Expect:", "-T", "-", f"{proxy.url}/sink")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        try:
            for piece in pattern_pieces(LARGE_BYTES):
                client.stdin.write(piece)
            client.stdin.close()
            assert client.stdout.read() == b'{"size":%d,"exact":true}' % LARGE_BYTES
            assert client.wait(LIMIT_S) == 0
        finally:
            client.kill()


def test_proxy_holds_little_for_a_client_that_does_not_read(proxy: Running) -> None:
    with Wire.to(proxy.port) as slow, Wire.to(proxy.port) as quick:
        slow.send(b"GET /big?size=%d HTTP/1.1\r\nHost: x\r\n\r\n" % LARGE_BYTES)
        assert slow.head().start == b"HTTP/1.1 200 OK"
        # The origin would have sent all of it by the time that these are answered.
        for _ in range(300):
            quick.send(b"GET /item/a?size=10000 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert quick.message().body == item("a", 10_000)
        assert slow.read(len(PATTERN)) == PATTERN


def test_proxy_holds_little_for_an_origin_that_does_not_read() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        proxy = stack.enter_context(running("proxy", "--to", url, "--listen", "127.0.0.1:0"))
        client = stack.enter_context(Wire.to(proxy.port))
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LARGE_BYTES)
        listener.settimeout(LIMIT_S)
        origin = stack.enter_context(Wire(listener.accept()[0]))
        assert origin.head().start == b"POST / HTTP/1.1"
        before = peak_memory(proxy.process.pid)
        client.sock.settimeout(0.3)  # that long nobody has taken anything
        pieces = pattern_pieces(LARGE_BYTES)
        with pytest.raises(TimeoutError):
            deque(map(client.send, pieces), maxlen=0)
        assert next(pieces, None) is not None
        assert peak_memory(proxy.process.pid) - before < GROWTH_BYTES
        assert origin.read(len(PATTERN)) == PATTERN
