"""`thor fetch`, against a server of the standard library's."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cli_support import complains, here, thor

import thor as package
from thor_support import ROOT

LARGE = 8 * 1024 * 1024


class Handler(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Says nothing."""

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        sent = self.rfile.read(length)
        name = self.path.partition("?")[0].strip("/")
        body = f"{self.command} {self.path}\n".encode() + sent
        status = 200
        fields = []
        if name.startswith("status-"):
            status = int(name.removeprefix("status-"))
        elif name == "fields":
            body = str(self.headers).encode()
        elif name == "large":
            body = b"x" * LARGE
        elif name.startswith("to-"):
            _, code, target = name.split("-", 2)
            status = int(code)
            fields.append(("Location", target.replace("|", "/")))
        elif name.startswith("redirects-"):
            status = 302
            left = int(name.removeprefix("redirects-"))
            fields.append(("Location", f"/redirects-{left - 1}" if left > 1 else "/a"))
        self.send_response(status)
        for field in fields:
            self.send_header(*field)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer


@pytest.fixture
def url() -> Iterator[str]:
    """Where the server is."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_body_goes_to_stdout(url: str) -> None:
    assert thor("fetch", f"{url}/a?b") == (0, b"GET /a?b\n", "")


def test_what_is_sent_by_default(url: str) -> None:
    _, out, _ = thor("fetch", f"{url}/fields")
    assert f"User-Agent: thor/{package.__version__}\n".encode() in out
    assert b"Accept: */*\n" in out


def test_fields_of_one_s_own(url: str) -> None:
    _, out, _ = thor("fetch", f"{url}/fields", "-H", "X-A: 1", "-H", "user-agent: me")
    assert b"X-A: 1\n" in out
    assert b"user-agent: me\n" in out
    assert b"thor" not in out


def test_data_makes_a_post(url: str) -> None:
    assert thor("fetch", f"{url}/", "-d", "a=1").out == b"POST /\na=1"
    assert thor("fetch", f"{url}/", "-d", "", "-X", "PUT").out == b"PUT /\n"
    assert thor("fetch", f"{url}/", "-X", "DELETE").out == b"DELETE /\n"


@pytest.mark.parametrize(
    ("options", "body"),
    [
        pytest.param(["-d", "@form"], b"a=1b=2", id="form"),
        pytest.param(["-d", "x=1", "-d", "@form"], b"x=1&a=1b=2", id="joined"),
        pytest.param(["--data-binary", "@form"], b"a=1\r\nb=2\n\0", id="binary"),
        pytest.param(["--json", "@form"], b"a=1\r\nb=2\n\0", id="json"),
        pytest.param(["-d", "-"], b"stdin", id="stdin"),
        pytest.param(["-d", "@-"], b"stdin", id="stdin-as-file"),
    ],
)
def test_data_comes_from_a_file(url: str, tmp_path: Path, options: list[str], body: bytes) -> None:
    (tmp_path / "form").write_bytes(b"a=1\r\nb=2\n\0")
    (tmp_path / "stdin").write_bytes(b"std\nin")
    named = [option.replace("@form", f"@{tmp_path}/form") for option in options]
    with open(tmp_path / "stdin", "rb") as stdin:
        assert thor("fetch", f"{url}/", *named, stdin=stdin).out == b"POST /\n" + body


def test_json_asks_for_json(url: str) -> None:
    _, out, _ = thor("fetch", f"{url}/fields", "--json", "{", "--json", "}", "-X", "PUT")
    assert b"Content-Type: application/json\n" in out
    assert b"Accept: application/json\n" in out
    assert b"Content-Length: 2\n" in out
    _, out, _ = thor("fetch", "-L", f"{url}/to-303-|fields", "--json", "{}")
    assert b"Accept: application/json\n" in out


@pytest.mark.parametrize(
    ("user", "sent"),
    [
        pytest.param("me:a:b", b"bWU6YTpi", id="colon-in-password"),
        pytest.param("me:", b"bWU6", id="empty-password"),
        pytest.param("m\u00e9:x", b"bcOpOng=", id="utf-8"),
    ],
)
def test_user_is_authenticated(url: str, user: str, sent: bytes) -> None:
    assert b"Authorization: Basic " + sent + b"\n" in thor("fetch", f"{url}/fields", "-u", user).out
    given = ("-u", user, "-H", "authorization: mine")
    assert b"Basic" not in thor("fetch", f"{url}/fields", *given).out


def test_only_the_head_is_asked_for(url: str) -> None:
    out = thor("fetch", "-I", f"{url}/status-404").out
    assert out.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert out.endswith(b"Content-Length: 17\r\n\r\n")


def test_verbose_shows_both_heads_and_no_body(url: str) -> None:
    port = url.rpartition(":")[2]
    result = thor("fetch", "-v", "-L", "-d", "secret", f"{url}/to-307-|a")
    assert result.out == b"POST /a\nsecret"
    assert f"* connected to 127.0.0.1 port {port}\n> POST /to-307-|a HTTP/1.1\n" in result.err
    assert f"> Host: 127.0.0.1:{port}\n" in result.err
    assert "< HTTP/1.1 307 Temporary Redirect\n" in result.err
    assert "< Location: /a\n" in result.err
    assert "> POST /a HTTP/1.1\n" in result.err
    assert "secret" not in result.err


def test_silent_says_nothing_of_a_failure(url: str) -> None:
    failing = ("fetch", "--fail", f"{url}/status-500")
    assert here(*failing, "-s") == (1, b"", "")
    complains(here(*failing, "-s", "-S"), 1, "the server answered 500")


class Terminal:
    """A terminal that a program writes to."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()

    def read(self) -> str:
        """Close it, and return what was written."""
        os.close(self.slave)
        text = b""
        try:
            while piece := os.read(self._master, 65536):
                text += piece
        except OSError:  # Linux says EIO where others see the end
            pass
        os.close(self._master)
        return text.decode()


def download(url: str, tmp_path: Path, *options: str, rich: bool = True) -> str:
    """Download the large body to a file. Returns: what was shown on the terminal"""
    if not rich:
        (tmp_path / "rich.py").write_text("raise ImportError\n")
    terminal = Terminal()
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "thor", "fetch", *options, "-o", str(tmp_path / "out"), url],
        stderr=terminal.slave,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env=environ,
        timeout=30,
        check=False,
    )
    shown = terminal.read()
    assert done.returncode == 0, shown
    assert (tmp_path / "out").stat().st_size == LARGE
    return shown


def test_progress_of_a_download_is_a_bar(url: str, tmp_path: Path) -> None:
    pytest.importorskip("rich")
    shown = download(f"{url}/large", tmp_path)
    assert "8.4/8.4 MB" in shown
    assert "100%" in shown


def test_progress_of_a_download_is_text_without_rich(url: str, tmp_path: Path) -> None:
    assert download(f"{url}/large", tmp_path, rich=False).endswith("\r100% 8.4/8.4 MB\r\n")


def test_silent_shows_no_progress(url: str, tmp_path: Path) -> None:
    assert download(f"{url}/large", tmp_path, "-s") == ""


def test_head_is_written_when_asked(url: str) -> None:
    head, _, body = thor("fetch", "-i", f"{url}/status-404").out.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"\r\nContent-Length: 16" in head
    assert body == b"GET /status-404\n"
    assert thor("fetch", "-i", "-X", "HEAD", f"{url}/").out.endswith(b"\r\n\r\n")


def test_error_of_the_server_is_an_answer_unless_told_otherwise(url: str) -> None:
    assert thor("fetch", f"{url}/status-500").code == 0
    complains(here("fetch", "--fail", f"{url}/status-500"), 1, "the server answered 500")
    assert thor("fetch", "--fail", f"{url}/").code == 0


def test_body_goes_to_a_file(url: str, tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("something longer that was there")
    assert thor("fetch", "-o", str(file), f"{url}/a") == (0, b"", "")
    assert file.read_bytes() == b"GET /a\n"


def test_failure_spoils_no_file(url: str, tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("kept")
    assert thor("fetch", "-o", str(file), "--fail", f"{url}/status-404").code == 1
    assert file.read_text() == "kept"


def test_file_that_cannot_be_written(url: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing" / "out")
    complains(here("fetch", "-o", missing, f"{url}/a"), 1, "No such file or directory")


def test_large_body_streams(url: str) -> None:
    assert thor("fetch", f"{url}/large").out == b"x" * LARGE


def test_reader_that_goes_away_ends_it_without_a_traceback(url: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "thor", "fetch", f"{url}/large"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.read(10) == b"x" * 10
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(30) == 1
    assert err == ""


def test_closed_stdout_is_no_place_for_a_socket(url: str) -> None:
    # The next descriptor that is opened would be number 1: the connection, which got the body.
    assert thor("fetch", f"{url}/a", preexec_fn=lambda: os.close(1)) == (0, b"", "")


# -- redirects ----------------------------------------------------------------------------------


def test_redirect_is_an_answer_unless_told_otherwise(url: str) -> None:
    assert thor("fetch", f"{url}/to-302-|a").out == b"GET /to-302-|a\n"


@pytest.mark.parametrize(
    ("code", "sends"),
    [
        pytest.param("301", b"GET /a\n", id="301"),
        pytest.param("302", b"GET /a\n", id="302"),
        pytest.param("303", b"GET /a\n", id="303"),
        pytest.param("307", b"POST /a\nx=1", id="307"),
        pytest.param("308", b"POST /a\nx=1", id="308"),
    ],
)
def test_redirects_are_followed_when_asked(url: str, code: str, sends: bytes) -> None:
    assert thor("fetch", "-L", "-d", "x=1", f"{url}/to-{code}-|a") == (0, sends, "")


def test_redirects_have_an_end(url: str, tmp_path: Path) -> None:
    output = tmp_path / "output"
    assert here("fetch", "-L", "-s", "-o", str(output), f"{url}/redirects-10") == (0, b"", "")
    assert output.read_bytes() == b"GET /a\n"
    complains(here("fetch", "-L", f"{url}/redirects-11"), 1, "more than 10 redirects")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        pytest.param("ftp:||x|", "'ftp://x/' is no URL: it must begin with http://", id="ftp"),
        pytest.param("http+unix:||%2Fx|", "must begin with http:// or https://", id="socket"),
        pytest.param("mailto:x", "must begin with http://", id="mailto"),
    ],
)
def test_redirect_to_what_is_not_http(url: str, target: str, says: str) -> None:
    complains(here("fetch", "-L", f"{url}/to-302-{target}"), 2, says)


def test_redirect_to_nonsense(url: str) -> None:
    says = "a redirect to 'http://[', which is no URL"
    complains(here("fetch", "-L", f"{url}/to-302-http:||["), 1, says)


def test_credentials_stay_with_whom_they_are_for(url: str) -> None:
    port = url.rpartition(":")[2]
    secret = ("-H", "Authorization: x", "-H", "X-A: 1")
    _, out, _ = thor("fetch", "-L", *secret, f"{url}/to-302-|fields")
    assert b"Authorization: x" in out
    _, out, _ = thor("fetch", "-L", *secret, f"{url}/to-302-http:||localhost:{port}|fields")
    assert b"Authorization" not in out
    assert b"X-A: 1" in out


# -- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["https://a/", "--key", "x"], "--key goes with --cert", id="key"),
        pytest.param(["http://a/", "-I", "-d", "x"], "-I goes with neither", id="head"),
        pytest.param(["http://a/", "--json", "x", "-d", "x"], "exclude each other", id="json"),
        pytest.param(["https://a/", "-k", "--cacert", "x"], "exclude each other", id="insecure"),
        pytest.param(["http://a/", "-x", "a:1"], "a proxy must be http://", id="proxy"),
        pytest.param(["http+unix://a/"], "%2F for each slash", id="socket"),
        pytest.param(["https://.a/"], "no valid host", id="name"),
        pytest.param(["a.example"], "must begin with http://", id="no-scheme"),
        pytest.param(["ftp://a/"], "must begin with http://", id="scheme"),
        pytest.param(["http://a:x/"], "URI", id="port"),
        pytest.param(["http:///"], "URI", id="no-host"),
        pytest.param(["http://127.0.0.1/", "-H", "x"], "'Name: value'", id="field"),
        pytest.param(["http://127.0.0.1/", "-H", "a b: c"], "Cannot be sent", id="field-name"),
        pytest.param(["http://127.0.0.1/", "-X", "A B"], "Cannot be sent", id="method"),
        pytest.param(["http://127.0.0.1/", "--timeout", "x"], "seconds", id="timeout"),
    ],
)
def test_wrong_use(args: list[str], says: str) -> None:
    complains(here("fetch", *args), 2, says)


def test_data_from_a_file_that_is_not_there() -> None:
    complains(here("fetch", "http://127.0.0.1/", "-d", "@/no/such"), 1, "cannot read '/no/such'")


def test_server_that_is_not_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        result = here("fetch", f"http://127.0.0.1:{probe.getsockname()[1]}/")
    complains(result, 1, "Connection refused")


def test_name_that_is_not_there() -> None:
    complains(here("fetch", "http://no-such-name.invalid/"), 1, "Name resolution failed")


def test_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"http://127.0.0.1:{server.getsockname()[1]}/"
        complains(here("fetch", "--timeout", "0.2", where), 1, "not done within 0.2 s")


def test_server_that_answers_garbage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            conn, _ = server.accept()
            with conn:
                conn.recv(65536)
                conn.sendall(b"garbage\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        result = here("fetch", f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    complains(result, 1, "Malformed status line")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["-X", "G T"], "Cannot be sent: method 'G T'", id="method"),
        pytest.param(["-H", "a b: c"], "Cannot be sent: field name 'a b'", id="field-name"),
        pytest.param(["-H", "X: \x01"], "value of 'X': '\\x01'", id="field-value"),
        pytest.param(["-H", "Host: a b'"], 'Host "a b\'"', id="quotes"),
    ],
)
def test_messages_show_text_as_it_was_given(args: list[str], says: str) -> None:
    complains(here("fetch", "http://127.0.0.1:9/", *args), 2, says)
