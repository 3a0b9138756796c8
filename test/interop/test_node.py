"""Node as the client of `HttpServer`, as the origin of `HttpClient` and `thor proxy`, and as a
forward proxy of `thor fetch`. Its TLS is OpenSSL's, as that of `test_openssl.py`."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cli_support import Running, complains, here, thor
from interop_data import Wire, item, pattern_pieces, sha256
from interop_support import LIMIT_S, ORIGINS, Served, curl, fields_of, interop, started
from interop_thor import Certificates, Fetcher

from thor.loop import LoopBase
from thor_support import need_program

pytestmark = interop

VERSIONS = ["TLSv1.2", "TLSv1.3"]


@pytest.fixture
def fetcher(loop: LoopBase) -> Iterator[Fetcher]:
    """An `HttpClient`."""
    yield Fetcher(loop)
    loop.stop()  # and with it the idle connections


# -- Node as a client ----------------------------------------------------------------------------

#: Many requests over few connections; each answer is compared.
NODE_CLIENT = """
const http = require('http');
const crypto = require('crypto');
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
let left = 200;
let made = new Set();
function ask(number) {
  const body = Buffer.alloc(number * 500, `${number}.`);
  const sha256 = crypto.createHash('sha256').update(body).digest('hex');
  const fields = number % 2 ? { 'Content-Length': body.length } : {};
  const request = http.request({
    port: process.argv[1], host: '127.0.0.1', method: 'POST', agent, headers: fields,
    path: number % 3 ? '/' : '/chunked',
  }, (response) => {
    const pieces = [];
    made.add(request.socket.localPort);
    response.on('data', (data) => pieces.push(data));
    response.on('end', () => {
      if (JSON.parse(Buffer.concat(pieces)).sha256 !== sha256) throw new Error(`${number}`);
      left -= 1;
      if (left === 0) { console.log(`connections: ${made.size}`); agent.destroy(); }
    });
  });
  request.end(body);
}
for (let number = 0; number < 200; number += 1) ask(number);
"""


def test_server_serves_many_requests_of_node_on_few_connections(server: Served) -> None:
    done = subprocess.run(
        [need_program("node"), "-e", NODE_CLIENT, str(server.port)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"connections: 4\n"), done.stderr


# -- Node as an origin ---------------------------------------------------------------------------


@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
def test_client_uploads_to_node_on_one_connection(
    fetcher: Fetcher, node: Served, length: bool
) -> None:
    connections = set()
    for size in (1, 5_000_000):
        headers = [("Expect", "100-continue")] if length else []
        said = fetcher.upload(f"{node.url}/echo", size, headers, length=length)
        assert said["sha256"] == sha256(b"".join(pattern_pieces(size)))
        assert fields_of(said, "content-length") == ([str(size)] if length else [])
        assert said["expected"] is length
        connections.add(said["connection"])
    assert len(connections) == 1


def test_client_reads_trailers_and_empty_responses_of_node(fetcher: Fetcher, node: Served) -> None:
    trailers = fetcher.fetch(f"{node.url}/trailers")
    assert (trailers.body, trailers.trailers) == (b"body", [(b"X-Digest", b"abc")])
    for status in (204, 304):
        empty = fetcher.fetch(f"{node.url}/status/{status}")
        assert (empty.status, empty.body) == (status, b"")
    assert fetcher.fetch(f"{node.url}/early").body == b"Hello, world!"


def test_client_replaces_connections_that_node_closed_while_idle(
    fetcher: Fetcher, node: Served
) -> None:
    """Node closes them right behind an answer: the next request meets the end, unnoticed."""
    for _ in range(20):
        fetcher.fetch_all([f"{node.url}/hello"] * 5)
        assert fetcher.fetch(f"{node.url}/close-idle").status == 200
        assert fetcher.fetch(f"{node.url}/hello").body == b"Hello, world!"


def test_proxy_keeps_and_resumes_its_tls_connection_to_node(
    certificates: Certificates, tls_proxy: Running
) -> None:
    base = f"https://localhost:{tls_proxy.port}"

    def echo() -> Any:
        return curl("--cacert", certificates.ca, f"{base}/echo").json

    assert len({echo()["connection"] for _ in range(3)}) == 1
    for _ in range(2):  # a session is one of the second connection at the latest
        assert curl("--cacert", certificates.ca, f"{base}/close-idle").status == 200
        said = echo()
    assert said["resumed"] is True


# -- WebSocket (RFC 6455) ------------------------------------------------------------------------

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame, which is masked."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    mask = b"\x12\x34\x56\x78"
    stream = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + mask + masked.to_bytes(size, "big")


def read_frame(client: Wire) -> tuple[int, bytes]:
    """Read a server's frame: its opcode, and its payload."""
    first, size = client.read(2)
    if size == 126:
        (size,) = struct.unpack("!H", client.read(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", client.read(8))
    return first & 0x0F, client.read(size)


def test_proxy_forwards_a_websocket_to_node(proxy: Running) -> None:
    key = base64.b64encode(os.urandom(16))
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    with Wire.to(proxy.port) as client:
        client.send(
            b"GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
            % key
            + frame(TEXT, b"early")
        )
        head = client.head()
        assert head.start == b"HTTP/1.1 101 Switching Protocols"
        assert head.fields[b"sec-websocket-accept"] == base64.b64encode(digest)
        # It came right behind the 101.
        assert read_frame(client) == (TEXT, b"hello from node")
        assert read_frame(client) == (TEXT, b"early")
        for size in (0, 126, 65_536, 1_000_000):
            payload = item(size, size)
            client.send(frame(BINARY, payload))
            assert read_frame(client) == (BINARY, payload)
        client.send(frame(PING, b"?"))
        assert read_frame(client) == (PONG, b"?")
        client.send(frame(CLOSE, struct.pack("!H", 1000)))
        assert read_frame(client) == (CLOSE, struct.pack("!H", 1000))
        assert client.at_end()


# -- thor fetch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_fetch_through_a_forward_proxy_on_node(
    certificates: Certificates, node: Served, secure_node: Served, secure: bool
) -> None:
    """To a proxy that speaks TLS itself, the tunnel is TLS inside TLS."""
    own = (certificates.certificate, certificates.key) if secure else ()
    with started(need_program("node"), str(ORIGINS / "tunnel.js"), "me:secret", *own) as tunnel:
        at = f"localhost:{tunnel.port}"
        scheme = "https" if secure else "http"
        args = ("fetch", "--cacert", certificates.ca, "-x", f"{scheme}://me:secret@{at}")
        url = f"https://localhost:{secure_node.port}"
        assert thor(*args, f"{url}/item/a?size=300000") == (0, item("a", 300_000), "")
        assert b'"via"' not in thor(*args, f"{url}/echo").out
        result = thor(*args, f"http://127.0.0.1:{node.port}/echo")
        assert b'"via","1.1 tunnel"' in result.out.lower()
        args = ("fetch", "--cacert", certificates.ca, "-x", f"{scheme}://me:wrong@{at}")
        complains(here(*args, url), 1, "it answered 407 'Proxy Authentication Required'")
        told = thor(*args, "-i", f"http://127.0.0.1:{node.port}/echo")
        assert told.out.startswith(b"HTTP/1.1 407 ")
