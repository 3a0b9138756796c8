"""REDbot 2.7.1 itself, a program written for thor 0.17, on this tree.

It is not a dependency of the tests: `redbot.sh` installs it and runs this file with THOR_REDBOT set
to a Python that has it. Without THOR_REDBOT all of this is skipped.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest

from thor_support import ROOT, free_port, running_program

PYTHON = os.environ.get("THOR_REDBOT", "")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not PYTHON, reason="THOR_REDBOT names no Python that has REDbot"),
]

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
LIMIT_S = 30

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: max-age=60\r\n"
PLAIN = HEAD + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

#: What an origin answers, and what REDbot then says: lines of its text, with the white space cut.
SAID = {
    "plain": (PLAIN, ["Content-Length:5", "* The Content-Length header is correct."]),
    "until-close": (HEAD + b"\r\nhello", ["HTTP/1.1 200 OK", "* This response is fresh"]),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n", ["* This response is fresh"]),
    "early-hints": (b"HTTP/1.1 103 Early Hints\r\n\r\n" + PLAIN, ["HTTP/1.1 103 Early Hints"]),
    "status-999": (PLAIN.replace(b"200 OK", b"999 No"), ["HTTP/1.1 999 No"]),
    "no-phrase": (PLAIN.replace(b" OK", b""), ["* The Content-Length header is correct."]),
    "folded": (HEAD + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", ["X:a b"]),
    "no-content": (b"HTTP/1.1 204 No Content\r\n\r\n", ["HTTP/1.1 204 No Content"]),
    "spaced-name": (HEAD + b"X : 1\r\n\r\n", ["Error: White space after a field name (X )"]),
    "bad-chunk": (
        CHUNKED + b"zz\r\n",
        ["Error: Malformed chunk ('zz')", "* This response has chunked encoding errors."],
    ),
    "cut": (
        HEAD + b"Content-Length: 50\r\n\r\nhello",
        ["HTTP/1.1 200 OK", "Error: Message is incomplete (in the body)"],
    ),
    "garbage": (b"\x00\x01\r\n\r\n", ["Error: Malformed status line"]),
    "nothing": (b"", ["Error: Connection failed"]),
}


class Origins:
    """Answers requests for `/name` with `SAID[name]`, and closes; in a thread of its own."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            conn, _ = self._listening.accept()
            with conn, conn.makefile("rb") as lines:
                words = lines.readline().split()
                if not words:
                    return  # from close()
                while lines.readline().strip():
                    pass
                conn.sendall(SAID[words[1].decode().strip("/")][0])

    def close(self) -> None:
        socket.create_connection(self._listening.getsockname()).close()
        self._thread.join()
        self._listening.close()


@pytest.fixture(scope="module")
def origins() -> Iterator[Origins]:
    origins = Origins()
    yield origins
    origins.close()


@pytest.mark.parametrize("name", SAID)
def test_command_line_says_of_a_site_what_it_should(origins: Origins, name: str) -> None:
    run = subprocess.run(
        [PYTHON, "-m", "redbot.cli", f"{origins.url}/{name}"],
        capture_output=True,
        env=ENVIRONMENT,
        timeout=LIMIT_S,
        check=True,
        text=True,
    )
    assert run.stderr == ""
    said = [line.strip() for line in run.stdout.splitlines()]
    for expected in SAID[name][1]:
        assert any(line.startswith(expected) for line in said), run.stdout


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """REDbot's web server: its process and port."""
    folder: Path = tmp_path_factory.mktemp("redbot")
    port = free_port()
    config = folder / "config"
    config.write_text(
        f"[redbot]\nhost = 127.0.0.1\nport = {port}\nui_uri = http://127.0.0.1:{port}/\n"
        f"static_root = static\nenable_local_access = true\nsave_dir = {folder}\n"
    )
    argv = [PYTHON, "-m", "redbot.daemon", str(config)]
    with running_program(argv, port=port, env=ENVIRONMENT) as process:
        yield process.pid, port
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


def ask(port: int, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
    conn = HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        conn.request(method, target, body)
        response = conn.getresponse()
        return response.status, response.read()
    finally:
        conn.close()


@pytest.mark.parametrize(
    ("target", "status", "part"),
    [
        ("/", 200, b"<title>REDbot"),
        ("/static/style.css", 200, b"body"),
        ("/static/nothing", 404, b"not found"),
        ("/nothing", 404, b"was not found"),
    ],
)
def test_web_server_serves_its_pages(
    daemon: tuple[int, int], target: str, status: int, part: bytes
) -> None:
    answer = ask(daemon[1], "GET", target)
    assert answer[0] == status
    assert part in answer[1]


def test_web_server_refuses_an_upload_that_is_too_large(daemon: tuple[int, int]) -> None:
    status, body = ask(daemon[1], "POST", "/check", b"x" * (1024 * 1024 + 1))
    assert (status, body) == (413, b"Request body too large.")


def test_web_server_checks_a_site_and_keeps_the_result(
    daemon: tuple[int, int], origins: Origins
) -> None:
    _, port = daemon
    status, page = ask(port, "POST", f"/check?uri={quote(f'{origins.url}/plain', safe='')}", b"")
    assert status == 200
    assert b"The Content-Length header is correct." in page
    saved = re.search(rb"/saved/\w+", page)
    assert saved is not None
    status, document = ask(port, "GET", f"{saved[0].decode()}?format=har")
    assert status == 200
    [entry] = json.loads(document)["log"]["entries"]
    assert (entry["response"]["status"], entry["response"]["bodySize"]) == (200, 5)
