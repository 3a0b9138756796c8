"""`HttpServer` under curl, wrk, Node's client, and those that speak HTTP/1.0."""

from __future__ import annotations

import http.client
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from interop_data import Wire, item, sha256
from interop_support import LIMIT_S, Served, curl, fields_of, interop, nginx, thor_server, wrk

from thor_support import need_program

pytestmark = interop

UPLOAD = item("upload", 3_000_000)

#: Sixteen requests at a time, and each answer looked at.
PIPELINE = """
local requests = {}
function init(args)
  for i = 1, 16 do requests[i] = wrk.format("GET", "/number/" .. i) end
  requests = table.concat(requests)
end
function request() return requests end
function response(status, headers, body)
  if status ~= 200 or not body:find('"/number/', 1, true) then os.exit(1) end
end
"""

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


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """A server of Thor's, a process of its own."""
    with thor_server() as server:
        yield server


# -- curl ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "x-new"]
)
def test_methods(server: Served, method: str) -> None:
    assert curl("-X", method, f"{server.url}/a?b=c").json["method"] == method
    if method == "TRACE":  # it has no content
        assert curl("-X", method, "--data-binary", "@-", server.url, data=UPLOAD).status == 400
        return
    said = curl("-X", method, "--data-binary", "@-", server.url, data=UPLOAD).json
    assert (said["method"], said["sha256"]) == (method, sha256(UPLOAD))


def test_head(server: Served) -> None:
    reply = curl("-I", server.url, server.url)
    assert (reply.code, reply.statuses, reply.made) == (0, [200, 200], 1)
    assert int(reply.head["content-length"]) > 0


def test_asterisk(server: Served) -> None:
    said = curl("-X", "OPTIONS", "--request-target", "*", server.url).json
    assert (said["method"], said["target"]) == ("OPTIONS", "*")


def test_absolute_target(server: Served) -> None:
    # What curl sends to a proxy; --noproxy would keep it from that.
    reply = curl("--noproxy", "", "-x", server.url, "http://other.example:81/a?b")
    said = reply.json
    assert (said["target"], said["host"]) == ("http://other.example:81/a?b", "other.example:81")


def test_connect_is_refused(server: Served) -> None:
    reply = curl("--noproxy", "", "-p", "-x", server.url, "http://other.example/")
    assert (reply.code, reply.status) == (56, 405)


def test_chunked_both_ways(server: Served) -> None:
    reply = curl("-T", "-", f"{server.url}/chunked", data=UPLOAD)
    said = reply.json
    assert (said["sha256"], fields_of(said, "transfer-encoding")) == (sha256(UPLOAD), ["chunked"])
    assert reply.head["transfer-encoding"] == "chunked"


def test_100_continue(server: Served) -> None:
    wait = ["-H", "Expect: 100-continue", "--expect100-timeout", "1000"]
    reply = curl(*wait, "--data-binary", "@-", server.url, data=UPLOAD)
    assert reply.statuses == [100, 200]
    assert reply.json["sha256"] == sha256(UPLOAD)
    assert curl("-H", "Expect: something", "-d", "x", server.url).status == 417


def test_connection_is_kept_and_closed_as_asked(server: Served) -> None:
    reply = curl("-d", "x", *[server.url] * 5)
    assert (reply.statuses, reply.made) == ([200] * 5, 1)
    reply = curl("-H", "Connection: close", *[server.url] * 3)
    assert (reply.statuses, reply.made) == ([200] * 3, 3)
    assert reply.head["connection"] == "close"


def test_refused_heads(server: Served) -> None:
    assert curl("-H", "Host: a b", server.url).status == 400
    assert curl("-H", "Host;", server.url).status == 400
    assert curl("-H", f"X: {'x' * 40_000}", server.url).status == 431
    assert curl(f"{server.url}/{'x' * 9000}").status == 414
    assert curl("-H", "Transfer-Encoding: gzip, chunked", "-d", "x", server.url).status == 501


# -- HTTP/1.0 -----------------------------------------------------------------------------------


def test_curl_speaks_1_0(server: Served) -> None:
    for path in ("", "chunked"):
        reply = curl("--http1.0", "--data-binary", "@-", f"{server.url}/{path}", data=UPLOAD)
        assert (reply.json["version"], reply.json["sha256"]) == ("1.0", sha256(UPLOAD))
        assert reply.head.all("transfer-encoding") == []
        assert reply.head["connection"] == "close"


def test_curl_speaks_1_0_and_keeps_its_connection(server: Served) -> None:
    reply = curl("--http1.0", "-H", "Connection: keep-alive", server.url, server.url)
    assert (reply.code, reply.statuses, reply.made) == (0, [200, 200], 1)
    # Without a length, the end of the connection is the end of the body.
    url = f"{server.url}/chunked"
    reply = curl("--http1.0", "-H", "Connection: keep-alive", url, url)
    assert (reply.code, reply.statuses, reply.made) == (0, [200, 200], 2)


def test_nginx_speaks_1_0_to_it(server: Served, tmp_path: Path) -> None:
    with nginx(tmp_path, f"location / {{ proxy_pass {server.url}; }}") as front:
        for path in ("", "chunked"):
            said = curl("-T", "-", f"{front.url}/{path}", data=UPLOAD).json
            assert (said["version"], said["sha256"]) == ("1.0", sha256(UPLOAD))
        assert wrk(front.url, seconds=1, connections=8).errors == 0


def test_the_shortest_request(server: Served) -> None:
    with Wire.to(server.port) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.message().start == b"HTTP/1.1 200 OK"
        assert client.at_end()


def test_largest_head_a_byte_at_a_time(server: Served) -> None:
    value = b"v" * 1017
    fields = b"".join(b"x%d: %b\r\n" % (number, value) for number in range(10, 73))
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n"
    assert 63 * 1024 < len(head) < 64 * 1024
    with Wire.to(server.port) as client:
        for byte in head:
            client.send(bytes([byte]))
        answer = client.message()
    assert answer.start == b"HTTP/1.1 200 OK"
    assert answer.body.count(value) == 63


# -- others -------------------------------------------------------------------------------------


def test_standard_library_s_client(server: Served) -> None:
    conn = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    for number in range(20):
        body = item(number, number * 10_000)
        conn.request("POST", "/chunked" if number % 2 else "/", iter([body]), {})
        answer = conn.getresponse()
        assert f'"{sha256(body)}"'.encode() in answer.read()
    conn.close()


def test_node_s_client(server: Served) -> None:
    done = subprocess.run(
        [need_program("node"), "-e", NODE_CLIENT, str(server.port)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"connections: 4\n"), done.stderr


def test_load_without_an_error(server: Served) -> None:
    load = wrk(server.url, seconds=1)
    assert load.requests > 0
    assert load.errors == 0


def test_pipelined_load_without_an_error(server: Served, tmp_path: Path) -> None:
    script = tmp_path / "pipeline.lua"
    script.write_text(PIPELINE)
    load = wrk(server.url, "-s", str(script), seconds=1)
    assert load.requests > 0
    assert load.errors == 0
