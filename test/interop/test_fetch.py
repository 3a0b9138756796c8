"""`thor fetch` against nginx and Node."""

from __future__ import annotations

import gzip
from pathlib import Path

from cli_support import thor
from interop_data import PATTERN, item, pattern_pieces, sha256
from interop_support import Served, interop, nginx

pytestmark = interop

LARGE = 64 << 20


def test_body_of_node(node: Served) -> None:
    for query in ("size=300000", "size=300000&chunked=1", "size=0", "size=0&chunked=1"):
        size = 300_000 if "300000" in query else 0
        assert thor("fetch", f"{node.url}/item/a?{query}") == (0, item("a", size), "")


def test_upload_to_node(node: Served) -> None:
    result = thor("fetch", "-d", "x=\u00e4", "-H", "X-A: b", f"{node.url}/echo")
    assert result.code == 0
    assert b'"method":"POST"' in result.out
    assert sha256("x=\u00e4".encode()).encode() in result.out


def test_encoded_body_is_left_alone(node: Served) -> None:
    result = thor("fetch", "-i", "-H", "Accept-Encoding: gzip", f"{node.url}/gzip")
    head, _, body = result.out.partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    assert gzip.decompress(body) == item("gzip", 100_000)


def test_informational_response_and_trailers_of_node(node: Served) -> None:
    assert thor("fetch", f"{node.url}/early") == (0, b"Hello, world!", "")
    assert thor("fetch", f"{node.url}/trailers") == (0, b"body", "")


def test_head_of_node(node: Served) -> None:
    result = thor("fetch", "-i", "-X", "HEAD", f"{node.url}/item/a?size=300000")
    assert result.code == 0
    assert b"Content-Length: 300000\r\n" in result.out
    assert result.out.endswith(b"\r\n\r\n")


def test_large_body_of_node(node: Served, tmp_path: Path) -> None:
    file = tmp_path / "large"
    assert thor("fetch", "-o", str(file), f"{node.url}/big?size={LARGE}") == (0, b"", "")
    assert file.read_bytes() == b"".join(pattern_pieces(LARGE))


def test_nginx(tmp_path: Path) -> None:
    (tmp_path / "pattern").write_bytes(PATTERN)
    (tmp_path / "page.html").write_text("hello " * 5000)
    redirect = "location = /old { return 301 /pattern; }"
    with nginx(tmp_path, f"root {tmp_path}; gzip on; {redirect}") as at:
        result = thor("fetch", f"{at.url}/pattern")
        assert (result.code, sha256(result.out)) == (0, sha256(PATTERN))
        assert thor("fetch", "-L", f"{at.url}/old").out == PATTERN
        asked = ("-H", "Accept-Encoding: gzip")
        result = thor("fetch", "-i", *asked, f"{at.url}/page.html")
        head, _, body = result.out.partition(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        assert gzip.decompress(body) == b"hello " * 5000
        result = thor("fetch", "-f", f"{at.url}/missing")
        assert (result.code, result.err) == (1, "thor fetch: the server answered 404\n")
