"""A gigabyte through `thor proxy`: whole, byte for byte, and in little memory."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from cli_support import Running
from interop_data import GIGABYTE, pattern_pieces, peak_memory
from interop_support import LIMIT_S, curl, curl_argv, curl_pattern, interop

pytestmark = [interop, pytest.mark.deadline_s(120)]

#: The most that the proxy's memory may grow. One body is more than a hundred times that.
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
def test_gigabyte_down(proxy: Running, query: str) -> None:
    assert curl_pattern(f"{proxy.url}/big?size={GIGABYTE}{query}") == GIGABYTE


def test_gigabyte_up(proxy: Running) -> None:
    argv = curl_argv("-m", "90", "-H", "Expect:", "-T", "-", f"{proxy.url}/sink")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        try:
            for piece in pattern_pieces(GIGABYTE):
                client.stdin.write(piece)
            client.stdin.close()
            assert client.stdout.read() == b'{"size":%d,"exact":true}' % GIGABYTE
            assert client.wait(LIMIT_S) == 0
        finally:
            client.kill()
