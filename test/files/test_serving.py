"""Files over HTTP, on real sockets: threads and the disk are what is tested."""

from __future__ import annotations

import gc
import os
import re
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thor.files import StaticFiles, disk, serving
from thor.http import HttpServer
from thor.http.server.exchange import HttpServerExchange
from thor.loop import LoopBase
from thor.loop.poller import WRITABLE
from thor.tcp import TcpClient, TcpConnection
from thor_support import open_fds

#: More than all queues and socket buffers between the two ends take.
LARGE = 32 * 1024 * 1024


def open_below(root: Path) -> list[str]:
    """The files below a directory that this process has open."""
    return [target for target in open_fds().values() if target.startswith(str(root))]


class Site:
    """A server of the files below a directory, and clients of it, on one loop."""

    def __init__(self, loop: LoopBase, run_loop: Any, root: Path) -> None:
        self.loop = loop
        self.root = root
        self._run_loop = run_loop
        self.server = HttpServer("127.0.0.1", 0, loop)
        self.serve()

    def serve(self, **settings: Any) -> None:
        """Serve with other settings from now on."""
        self.server.remove_listeners("exchange")
        self.server.on("exchange", StaticFiles(self.root, **settings))

    def until(self, condition: Callable[[], object]) -> None:
        self._run_loop(self.loop, condition)

    def connect(self) -> TcpConnection:
        made: list[TcpConnection] = []
        client = TcpClient(self.loop)
        client.on("connect", made.append)
        address: Any = self.server.address
        host, port = address[:2]
        client.connect(str(host), port)
        self.until(lambda: made)
        return made[0]

    def ask(
        self, path: str, *fields: str, method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        """A request on a connection of its own. Returns: status, fields, body"""
        conn = self.connect()
        received: list[bytes] = []
        over: list[bool] = []
        conn.on("data", received.append)
        conn.on("disconnect", lambda: over.append(True))
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *fields, "", ""]
        conn.write("\r\n".join(lines).encode("latin-1"))
        conn.pause(False)
        self.until(lambda: over)
        head, _, body = b"".join(received).partition(b"\r\n\r\n")
        status, *rest = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in rest)
        assert len(headers) == len(rest)
        return int(status.split()[1]), headers, body

    def status(self, path: str, *fields: str, method: str = "GET") -> int:
        return self.ask(path, *fields, method=method)[0]

    def open_files(self) -> list[str]:
        """The files of this site that are open."""
        return open_below(self.root)

    def end(self) -> None:
        self.server.shutdown()
        self.until(lambda: not self.server.connections and not self.loop._deferred.to_close)


@pytest.fixture
def site(make_loop: Any, run_loop: Any, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "empty").write_text("")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text("<p>index</p>")
    (tmp_path / "bare").mkdir()
    (tmp_path / ".hidden").write_text("secret")
    site = Site(make_loop(), run_loop, tmp_path.resolve())
    yield site
    site.end()


def test_a_file_is_served(site: Site) -> None:
    status, headers, body = site.ask("/a.txt")
    assert (status, body) == (200, b"hello")
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["content-length"] == "5"
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    assert re.fullmatch(r'"[0-9a-f]+-[0-9a-f]+"', headers["etag"])
    assert site.open_files() == []


def test_an_empty_file_is_served(site: Site) -> None:
    status, headers, body = site.ask("/empty")
    assert (status, body, headers["content-length"]) == (200, b"", "0")


def test_head_has_no_body(site: Site) -> None:
    status, headers, body = site.ask("/a.txt", method="HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", "5")


def test_a_file_that_did_not_change_is_not_sent_again(site: Site) -> None:
    etag = site.ask("/a.txt")[1]["etag"]
    status, headers, body = site.ask("/a.txt", f"If-None-Match: {etag}")
    assert (status, body, headers["etag"]) == (304, b"", etag)
    (site.root / "a.txt").write_text("changed")
    assert site.ask("/a.txt", f"If-None-Match: {etag}")[2] == b"changed"
    assert site.status("/a.txt", f"If-Match: {etag}") == 412


def test_a_range_is_served(site: Site) -> None:
    status, headers, body = site.ask("/a.txt", "Range: bytes=1-3")
    assert (status, body) == (206, b"ell")
    assert headers["content-range"] == "bytes 1-3/5"
    status, headers, _ = site.ask("/a.txt", "Range: bytes=5-")
    assert (status, headers["content-range"]) == (416, "bytes */5")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_are_refused(site: Site, method: str) -> None:
    status, headers, _ = site.ask("/a.txt", method=method)
    assert (status, headers["allow"]) == (405, "get, head, options")


@pytest.mark.parametrize("method", ["X", "get", "BREW"])
def test_unknown_method_is_not_implemented(site: Site, method: str) -> None:
    assert site.ask("/a.txt", method=method)[0] == 501


@pytest.mark.parametrize("target", ["/a.txt", "*"])
def test_options_says_what_can_be_asked(site: Site, target: str) -> None:
    status, headers, body = site.ask(target, method="OPTIONS")
    assert (status, headers["allow"], body) == (204, "get, head, options", b"")


def test_a_directory_is_its_index(site: Site) -> None:
    status, headers, body = site.ask("/sub/")
    assert (status, body) == (200, b"<p>index</p>")
    assert headers["content-type"] == "text/html; charset=utf-8"


def test_a_directory_without_its_slash_redirects(site: Site) -> None:
    status, headers, _ = site.ask("/sub?q=1")
    assert (status, headers["location"]) == (301, "./sub/?q=1")


def test_a_directory_without_an_index_is_listed_only_when_asked(site: Site) -> None:
    assert site.status("/bare/") == 404
    assert site.status("/") == 404
    site.serve(listing=True)
    status, headers, body = site.ask("/")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert b'"./a.txt"' in body
    assert b"hidden" not in body
    assert site.ask("/sub/")[2] == b"<p>index</p>"
    assert site.ask("/", method="HEAD")[2] == b""


def test_an_index_that_is_no_file_is_none(site: Site) -> None:
    (site.root / "bare" / "index.html").mkdir()
    assert site.status("/bare/") == 404
    site.serve(listing=True)
    assert b'"./index.html/"' in site.ask("/bare/")[2]


@pytest.mark.parametrize(
    "path",
    [
        "/missing",
        "/a.txt/",
        "/a.txt/x",
        "/.hidden",
        "/../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%252e%252e/etc/passwd",
        "//etc/passwd",
        "/sub/..%5c..%5cx",
        "/a.txt%00",
        "/%c0%ae%c0%ae/x",
    ],
)
def test_what_is_not_there(site: Site, path: str) -> None:
    assert site.status(path) == 404
    assert site.open_files() == []


def test_links_out_and_special_files_are_not_there(site: Site) -> None:
    os.symlink("/etc/passwd", site.root / "out")
    os.mkfifo(site.root / "fifo")
    assert site.status("/out") == 404
    assert site.status("/fifo") == 404


def test_hidden_names_are_served_when_asked(site: Site) -> None:
    site.serve(hidden=True)
    assert site.ask("/.hidden")[2] == b"secret"


@pytest.mark.usefixtures("read_how")
def test_a_large_file_arrives_whole(site: Site) -> None:
    data = os.urandom(1024) * 3000
    (site.root / "large").write_bytes(data)
    assert site.ask("/large")[2] == data
    assert site.ask("/large", "Range: bytes=131000-2500000")[2] == data[131000:2500001]
    assert site.open_files() == []


@pytest.fixture(params=["by the kernel", "in memory", "by a thread"])
def read_how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the pieces of a file get to the client: sent by the kernel, read on the loop's thread
    where they are in memory, or read by another thread."""
    how: str = request.param
    if how != "by a thread" and disk._NO_WAIT is None:
        pytest.skip("this system does not tell what is in memory")
    if how != "by the kernel":
        monkeypatch.setattr(HttpServerExchange, "can_send_files", lambda self: False)
    if how == "by a thread":
        monkeypatch.setattr(disk, "_NO_WAIT", None)
    return how


def begin_large(site: Site) -> tuple[TcpConnection, list[bytes]]:
    """Ask for a file of LARGE bytes, and read nothing: returns when the server cannot go on."""
    (site.root / "large").write_bytes(bytes(LARGE))  # and so it is in memory
    conn = site.connect()
    received: list[bytes] = []
    conn.on("data", received.append)
    conn.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    site.until(lambda: site.server.connections)
    (near,) = [connection.tcp_conn for connection in site.server.connections]
    assert near is not None
    site.until(lambda: near._interest & WRITABLE)
    assert not select.select([], [near.socket], [], 0)[1]
    return conn, received


def test_a_client_that_does_not_read_holds_little_memory(site: Site, read_how: str) -> None:
    conn, received = begin_large(site)
    (near,) = [connection.tcp_conn for connection in site.server.connections]
    assert near is not None
    assert sum(map(len, near.write_buffer)) <= (
        0 if read_how == "by the kernel" else disk.FILE_PIECE_BYTES
    )
    conn.pause(False)
    site.until(lambda: sum(map(len, received)) > LARGE)
    body = b"".join(received).partition(b"\r\n\r\n")[2]
    assert len(body) == LARGE
    assert site.open_files() == []
    conn.close()


@pytest.mark.usefixtures("read_how")
def test_pipelined_request_is_answered_behind_a_file(site: Site) -> None:
    conn, received = begin_large(site)
    conn.write(b"GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    over: list[bool] = []
    conn.on("disconnect", lambda: over.append(True))
    conn.pause(False)
    site.until(lambda: over)
    _, _, rest = b"".join(received).partition(b"\r\n\r\n")
    assert rest[:LARGE] == bytes(LARGE)
    assert rest[LARGE:].startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.endswith(b"\r\n\r\nhello")


@pytest.mark.usefixtures("read_how")
def test_file_is_closed_when_the_server_is_shut_down(site: Site) -> None:
    conn, received = begin_large(site)
    over: list[bool] = []
    conn.on("disconnect", lambda: over.append(True))
    site.server.shutdown()
    conn.pause(False)
    site.until(lambda: over)
    assert sum(map(len, received)) < LARGE
    assert set(b"".join(received).partition(b"\r\n\r\n")[2]) == {0}
    assert site.open_files() == []


@pytest.mark.usefixtures("read_how")
def test_a_file_is_closed_when_its_client_is_gone(site: Site) -> None:
    conn, _ = begin_large(site)
    assert len(site.open_files()) == 1
    conn.abort()
    site.until(lambda: not site.open_files())


def test_file_is_closed_when_the_program_listens_for_the_end(site: Site) -> None:
    site.server.on("exchange", lambda exchange: exchange.on("close", lambda: None))
    conn, _ = begin_large(site)
    conn.abort()
    site.until(lambda: not site.open_files())


@pytest.mark.usefixtures("read_how")
def test_a_file_that_becomes_shorter_ends_in_a_reset(site: Site) -> None:
    conn, received = begin_large(site)
    over: list[bool] = []
    conn.on("disconnect", lambda: over.append(True))
    os.truncate(site.root / "large", LARGE // 2)
    conn.pause(False)
    site.until(lambda: over)
    assert sum(map(len, received)) < LARGE
    assert site.open_files() == []


def test_a_file_is_closed_when_the_loop_is_stopped(
    make_loop: Any, run_loop: Any, tmp_path: Path
) -> None:
    site = Site(make_loop(), run_loop, tmp_path.resolve())
    begin_large(site)
    assert len(site.open_files()) == 1
    threads = threading.enumerate()[1:]
    site.loop.stop()
    del site
    for thread in threads:
        thread.join(5)
    gc.collect()
    assert open_below(tmp_path.resolve()) == []


def test_a_client_that_leaves_before_the_answer_leaves_nothing_open(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = site.connect()
    prepare = StaticFiles.prepare
    prepared: list[Any] = []

    def slow(self: StaticFiles, *args: Any) -> Any:
        site.loop.run_in_loop(conn.abort)
        prepared.append(prepare(self, *args))
        return prepared[-1]

    monkeypatch.setattr(StaticFiles, "prepare", slow)
    with (site.root / "large").open("wb") as file:
        file.truncate(LARGE)
    conn.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    site.until(lambda: prepared and not site.server.connections and not site.open_files())


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_a_disk_that_fails_is_a_500(
    site: Site, monkeypatch: pytest.MonkeyPatch, expected_logs: Any, error: BaseException
) -> None:
    def fail(*args: Any) -> Any:
        raise error

    monkeypatch.setattr(serving, "open_file", fail)
    status, _, body = site.ask("/a.txt")
    assert (status, body) == (500, b"Internal Server Error\n")
    assert any("could not be served" in message for message in expected_logs.messages)


def test_a_file_that_cannot_be_read_is_a_500(
    site: Site, monkeypatch: pytest.MonkeyPatch, expected_logs: Any
) -> None:
    def fail(self: disk.OpenFile) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk.OpenFile, "read", fail)
    assert site.status("/a.txt") == 500
    assert site.open_files() == []
    assert any("could not be read" in message for message in expected_logs.messages)


def test_a_disk_that_fails_in_the_middle_ends_in_a_reset(
    site: Site, monkeypatch: pytest.MonkeyPatch, expected_logs: Any
) -> None:
    def fail(self: disk.OpenFile) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, "_NO_WAIT", None)  # as if nothing was in memory
    conn, received = begin_large(site)
    monkeypatch.setattr(disk.OpenFile, "read", fail)
    over: list[bool] = []
    conn.on("disconnect", lambda: over.append(True))
    conn.pause(False)
    site.until(lambda: over)
    assert sum(map(len, received)) < LARGE
    assert site.open_files() == []
    assert any("could not be read on" in message for message in expected_logs.messages)


def test_a_file_that_no_thread_can_read_on_ends_in_a_reset(
    site: Site, monkeypatch: pytest.MonkeyPatch, expected_logs: Any
) -> None:
    def refuse(_: Any, job: Any) -> None:
        site.loop.run_in_loop(job.finish, site.loop, None, RuntimeError("no thread"))

    monkeypatch.setattr(disk, "_NO_WAIT", None)  # as if nothing was in memory
    conn, _ = begin_large(site)
    monkeypatch.setattr(site.loop._threads, "submit", refuse.__get__(site.loop._threads))
    over: list[bool] = []
    conn.on("disconnect", lambda: over.append(True))
    conn.pause(False)
    site.until(lambda: over)
    assert site.open_files() == []
    assert any("could not be read on" in message for message in expected_logs.messages)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StaticFiles(tmp_path / "missing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        StaticFiles(tmp_path / "file")
    with pytest.raises(ValueError, match="index"):
        StaticFiles(tmp_path, index="../x")
