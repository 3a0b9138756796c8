"""`thor serve` under curl and wrk."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Running, running
from interop_data import PATTERN, Wire, pattern_pieces, peak_memory, sha256
from interop_support import curl, curl_pattern, ends_well, interop, wrk

pytestmark = interop

SECRET = b"nobody may read this"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served, and beside it what is not."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "secret").write_bytes(SECRET)
    public = folder / "public"
    (public / "sub").mkdir(parents=True)
    (public / "pattern").write_bytes(PATTERN)
    (public / "small.txt").write_text("hello\n")
    (public / "empty").touch()
    (public / "sub" / "index.html").write_text("<p>index")
    (public / "a b%.txt").write_text("odd name\n")
    (public / ".hidden").write_bytes(SECRET)
    (public / "link").symlink_to(folder / "secret")
    (public / "up").symlink_to("..")
    return public


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    """`thor serve`, a process of its own."""
    with running("serve", str(folder), "--listen", "127.0.0.1:0") as server:
        yield server
        ends_well(server)


def test_files(server: Running) -> None:
    urls = [f"{server.url}/{name}" for name in ("pattern", "small.txt", "empty", "a%20b%25.txt")]
    reply = curl(*urls)
    assert (reply.code, reply.statuses, reply.made) == (0, [200] * 4, 1)
    assert reply.body == PATTERN + b"hello\nodd name\n"
    assert [head["content-length"] for head in reply.heads] == ["1000003", "6", "0", "9"]
    assert reply.heads[1]["content-type"].startswith("text/plain")


def test_directories(server: Running) -> None:
    reply = curl("-L", f"{server.url}/sub?a=b")
    assert (reply.statuses, reply.body) == ([301, 200], b"<p>index")
    assert curl(f"{server.url}/").status == 404


def test_head(server: Running) -> None:
    url = f"{server.url}/pattern"
    reply = curl("-I", url, url)
    assert (reply.code, reply.statuses, reply.made) == (0, [200, 200], 1)
    assert [head["content-length"] for head in reply.heads] == ["1000003"] * 2


# -- ranges -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        pytest.param("0-0", 0, 1, id="first-byte"),
        pytest.param("1000-499999", 1000, 500_000, id="middle"),
        pytest.param("999999-", 999_999, 1_000_003, id="from"),
        pytest.param("-10", 999_993, 1_000_003, id="last"),
        pytest.param("5-99999999", 5, 1_000_003, id="beyond-the-end"),
    ],
)
def test_range(server: Running, asked: str, start: int, end: int) -> None:
    reply = curl("-r", asked, f"{server.url}/pattern")
    assert (reply.code, reply.status, reply.body) == (0, 206, PATTERN[start:end])
    assert reply.head["content-range"] == f"bytes {start}-{end - 1}/1000003"


def test_range_that_is_not_there(server: Running) -> None:
    reply = curl("-r", "1000003-", f"{server.url}/pattern")
    assert (reply.code, reply.status) == (0, 416)
    assert reply.head["content-range"] == "bytes */1000003"


def test_several_ranges_get_the_whole(server: Running) -> None:
    reply = curl("-r", "0-1,5-6", f"{server.url}/pattern")
    assert (reply.code, reply.status, reply.body) == (0, 200, PATTERN)


def test_download_is_resumed(server: Running, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(PATTERN[:300_000])
    reply = curl("-C", "-", "-o", str(part), f"{server.url}/pattern")
    assert (reply.code, reply.status) == (0, 206)
    assert sha256(part.read_bytes()) == sha256(PATTERN)


# -- conditions ---------------------------------------------------------------------------------


def test_etag(server: Running, tmp_path: Path) -> None:
    url, kept = f"{server.url}/small.txt", str(tmp_path / "etag")
    assert curl("--etag-save", kept, url).status == 200
    reply = curl("--etag-compare", kept, url)
    assert (reply.code, reply.status, reply.body) == (0, 304, b"")
    etag = curl(url).head["etag"]
    assert curl("-H", f"If-Match: {etag}", url).status == 200
    assert curl("-H", 'If-Match: "other"', url).status == 412


def test_date(server: Running, folder: Path) -> None:
    url = f"{server.url}/small.txt"
    reply = curl("-z", str(folder / "small.txt"), url)
    assert (reply.code, reply.status, reply.body) == (0, 304, b"")
    assert curl("-z", "1 Jan 2000", url).status == 200
    assert curl("-z", "-1 Jan 2000", url).status == 412


def test_range_of_a_file_that_has_changed(server: Running) -> None:
    url = f"{server.url}/small.txt"
    etag = curl(url).head["etag"]
    assert curl("-r", "0-1", "-H", f"If-Range: {etag}", url).body == b"he"
    assert curl("-r", "0-1", "-H", 'If-Range: "other"', url).body == b"hello\n"


# -- what is not served -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/sub/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/..%5csecret",
        "/sub/..%2f..%2fsecret",
        "/%252e%252e/secret",
        "/.%00./secret",
        "//../secret",
        "/....//secret",
        "/up/secret",
        "/link",
        "/.hidden",
        "/%2ehidden",
        "/secret%00.txt",
        "/%c0%ae%c0%ae/secret",
    ],
)
def test_nothing_outside_of_the_directory(server: Running, path: str) -> None:
    for args in (["--path-as-is", f"{server.url}{path}"], ["--request-target", path, server.url]):
        reply = curl(*args)
        assert reply.code == 0
        assert reply.status in (400, 404)
        assert SECRET not in reply.body


def test_other_methods(server: Running) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        reply = curl("-X", method, "-d", "x", f"{server.url}/small.txt")
        assert (reply.status, reply.head["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert curl("-X", "OPTIONS", f"{server.url}/small.txt").status == 204


# -- load ---------------------------------------------------------------------------------------


def test_load_without_an_error(server: Running) -> None:
    for name in ("small.txt", "pattern"):
        load = wrk(f"{server.url}/{name}", seconds=1)
        assert load.requests > 0
        assert load.errors == 0


def test_large_file_in_little_memory(tmp_path: Path) -> None:
    size = 64 << 20
    with (tmp_path / "large").open("wb") as file:
        file.writelines(pattern_pieces(size))
    with running("serve", str(tmp_path), "--listen", "127.0.0.1:0") as server:
        url = f"{server.url}/large"
        assert curl("-r", "0-999999", url).status == 206
        before = peak_memory(server.process.pid)
        assert curl_pattern(url) == size
        assert peak_memory(server.process.pid) - before < 8 << 20


def test_download_is_finished_after_sigterm(server: Running, folder: Path) -> None:
    with (
        running("serve", str(folder), "--listen", "127.0.0.1:0") as stopping,
        Wire.to(stopping.port) as client,
    ):
        client.send(b"GET /pattern HTTP/1.1\r\nHost: x\r\n\r\n")
        head = client.head()
        assert client.read(10) == PATTERN[:10]
        stopping.signal(signal.SIGTERM)
        assert head.fields[b"content-length"] == b"1000003"
        assert client.read(1_000_003 - 10) == PATTERN[10:]
        client.close()
        assert stopping.end() == (0, b"", "")
