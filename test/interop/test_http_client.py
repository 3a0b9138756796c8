"""`HttpClient` against nginx and Node: keep-alive, framing, and what they do to connections."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from interop_data import PATTERN, item, pattern_pieces, sha256
from interop_support import Served, fields_of, interop, nginx

from thor.http import HttpClient
from thor.http.common import get_header
from thor.loop import LoopBase
from thor_support import run_loop

pytestmark = interop


class Asked:
    """A request, and all that comes back; the sink of its exchange."""

    def __init__(
        self,
        client: HttpClient,
        method: str,
        url: str,
        headers: Iterable[tuple[str, str]] = (),
        body: Iterable[bytes] = (),
    ) -> None:
        self.nonfinal: list[bytes] = []
        self.status = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.trailers: list[tuple[bytes, bytes]] | None = None
        self.failure: Exception | None = None
        self._body = iter(body)
        self._paused = False
        self.exchange = client.exchange()
        self.exchange.sink(self)
        self.exchange.request_start(method, url, list(headers))
        self._send()

    def _send(self) -> None:
        while not self._paused:
            piece = next(self._body, None)
            if piece is None:
                self._paused = True
                self.exchange.request_done([])
            else:
                self._paused = not self.exchange.request_body(piece)

    def pause(self, paused: bool) -> None:
        self._paused = paused
        self._send()

    def response_nonfinal(self, status: bytes, *_: Any) -> None:
        self.nonfinal.append(status)

    def response_start(self, status: bytes, phrase: bytes, headers: Any) -> None:
        self.status, self.headers = status, headers

    def response_body(self, chunk: bytes) -> None:
        self.pieces.append(chunk)

    def response_done(self, trailers: Any) -> None:
        self.trailers = trailers

    def error(self, failure: Exception) -> None:
        self.failure = failure

    def is_over(self) -> bool:
        return self.trailers is not None or self.failure is not None

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def field(self, name: bytes) -> bytes:
        (value,) = get_header(self.headers, name)
        return bytes(value)

    @property
    def json(self) -> Any:
        assert (self.status, self.failure) == (b"200", None)
        return json.loads(self.body)


class Stage:
    """A client whose requests are waited for."""

    def __init__(self, loop: LoopBase) -> None:
        self.loop = loop
        self.client = HttpClient(loop)

    def ask(self, method: str, url: str, *args: Any) -> Asked:
        """Make one request."""
        asked = Asked(self.client, method, url, *args)
        self.wait(asked)
        return asked

    def wait(self, *asked: Asked) -> None:
        """Run the loop until they are over, all of them well."""
        run_loop(self.loop, lambda: all(one.is_over() for one in asked), timeout_s=20)
        assert [one.failure for one in asked] == [None] * len(asked)


@pytest.fixture
def stage(loop: LoopBase) -> Iterator[Stage]:
    yield Stage(loop)
    loop.stop()  # and with it the idle connections


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """nginx, which closes a connection after ten requests."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "pattern").write_bytes(PATTERN)
    (folder / "page.html").write_text("hello " * 5000)
    with nginx(
        folder,
        f"""
        root {folder};
        gzip on;
        keepalive_requests 10;
        add_header X-Connection $connection;
        location = /closing {{ keepalive_timeout 0; return 200 "bye"; }}
        """,
    ) as served:
        yield served


# -- nginx --------------------------------------------------------------------------------------


def test_connection_to_nginx_is_kept_as_long_as_it_wants(stage: Stage, files: Served) -> None:
    connections = []
    for _ in range(25):
        asked = stage.ask("GET", f"{files.url}/pattern")
        assert sha256(asked.body) == sha256(PATTERN)
        connections.append(asked.field(b"x-connection"))
    changes = [index for index in range(1, 25) if connections[index] != connections[index - 1]]
    assert changes == [10, 20]


def test_nginx_s_answers_of_every_kind_share_a_connection(stage: Stage, files: Served) -> None:
    url = f"{files.url}/pattern"
    first = stage.ask("HEAD", url)
    assert (first.field(b"content-length"), first.body) == (b"1000003", b"")
    etag = first.field(b"etag").decode()
    same = stage.ask("GET", url, [("If-None-Match", etag)])
    assert (same.status, same.body) == (b"304", b"")
    part = stage.ask("GET", url, [("Range", "bytes=1000-1999")])
    assert (part.status, part.body) == (b"206", PATTERN[1000:2000])
    packed = stage.ask("GET", f"{files.url}/page.html", [("Accept-Encoding", "gzip")])
    assert packed.field(b"transfer-encoding") == b"chunked"
    assert gzip.decompress(packed.body) == b"hello " * 5000
    last = stage.ask("GET", url)
    assert last.body == PATTERN
    assert last.field(b"x-connection") == first.field(b"x-connection")


def test_nginx_closes_behind_its_answer(stage: Stage, files: Served) -> None:
    for _ in range(3):
        closing = stage.ask("GET", f"{files.url}/closing")
        assert (closing.body, closing.field(b"connection")) == (b"bye", b"close")
    assert stage.ask("GET", f"{files.url}/pattern").body == PATTERN


def test_nginx_serves_many_at_once(stage: Stage, files: Served) -> None:
    asked = [Asked(stage.client, "GET", f"{files.url}/pattern") for _ in range(50)]
    stage.wait(*asked)
    assert {sha256(one.body) for one in asked} == {sha256(PATTERN)}


# -- Node ---------------------------------------------------------------------------------------


def test_connection_to_node_is_kept(stage: Stage, node: Served) -> None:
    bodies = [item(number, number * 3000) for number in range(20)]
    said = [stage.ask("POST", f"{node.url}/echo", (), [body]).json for body in bodies]
    assert [one["sha256"] for one in said] == [sha256(body) for body in bodies]
    assert len({one["connection"] for one in said}) == 1


@pytest.mark.parametrize("size", [1, 5_000_000])
def test_uploads_to_node(stage: Stage, node: Served, size: int) -> None:
    expected = sha256(b"".join(pattern_pieces(size)))
    chunked = stage.ask("PUT", f"{node.url}/echo", (), pattern_pieces(size)).json
    assert (chunked["sha256"], fields_of(chunked, "transfer-encoding")) == (expected, ["chunked"])
    length = ("Content-Length", str(size))
    counted = stage.ask("PUT", f"{node.url}/echo", [length], pattern_pieces(size)).json
    assert (counted["sha256"], fields_of(counted, "content-length")) == (expected, [str(size)])
    polite = stage.ask(
        "PUT", f"{node.url}/echo", [length, ("Expect", "100-continue")], pattern_pieces(size)
    )
    assert (polite.nonfinal, polite.json["sha256"]) == ([b"100"], expected)


def test_upload_that_node_refuses(stage: Stage, node: Served) -> None:
    for headers in ([("Expect", "100-continue")], []):
        refused = stage.ask("PUT", f"{node.url}/refuse", headers, pattern_pieces(5_000_000))
        assert (refused.status, refused.body) == (b"403", b"no\n")
    assert stage.ask("GET", f"{node.url}/hello").body == b"Hello, world!"


def test_node_s_answers_of_every_kind(stage: Stage, node: Served) -> None:
    early = stage.ask("GET", f"{node.url}/early")
    assert (early.nonfinal, early.body) == ([b"103"], b"Hello, world!")
    trailers = stage.ask("GET", f"{node.url}/trailers")
    assert (trailers.body, trailers.trailers) == (b"body", [(b"X-Digest", b"abc")])
    for status in (b"204", b"304"):
        empty = stage.ask("GET", f"{node.url}/status/{status.decode()}")
        assert (empty.status, empty.body) == (status, b"")
    head = stage.ask("HEAD", f"{node.url}/item/a?size=5")
    assert (head.field(b"content-length"), head.body) == (b"5", b"")
    packed = stage.ask("GET", f"{node.url}/gzip")
    assert gzip.decompress(packed.body) == item("gzip", 100_000)


@pytest.mark.parametrize("query", ["", "&chunked=1"], ids=["length", "chunked"])
def test_large_body_of_node_with_pauses(stage: Stage, node: Served, query: str) -> None:
    size = 16 << 20
    asked = Asked(stage.client, "GET", f"{node.url}/big?size={size}{query}")

    def hold(chunk: bytes) -> None:
        asked.pieces.append(chunk)
        if len(asked.pieces) % 50 == 1:
            asked.exchange.pause(True)
            stage.loop.schedule(0, asked.exchange.pause, False)

    asked.exchange.on("response_body", hold)
    stage.wait(asked)
    assert sha256(asked.body) == sha256(b"".join(pattern_pieces(size)))


def test_connections_that_node_closed_while_they_were_idle(stage: Stage, node: Served) -> None:
    """It closes them right behind an answer: the next request finds out, and nobody else does."""
    for _ in range(20):
        many = [Asked(stage.client, "GET", f"{node.url}/hello") for _ in range(5)]
        stage.wait(*many)
        assert stage.ask("GET", f"{node.url}/close-idle").status == b"200"
        assert stage.ask("GET", f"{node.url}/hello").body == b"Hello, world!"


def test_number_of_connections_to_node_is_limited(stage: Stage, node: Served) -> None:
    stage.client.max_server_conn = 2
    asked = [Asked(stage.client, "GET", f"{node.url}/echo") for _ in range(30)]
    stage.wait(*asked)
    assert len({one.json["connection"] for one in asked}) == 2
