"""Programs of others, run against Thor's: what the interop tests share.

Owns: starting and ending curl, nginx, HAProxy, Node and wrk, and reading what they say. Must not
know any test. A program that is missing skips the test by its name (see `need_program`).
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cli_support import Running
from interop_data import pattern_size

from bench.harness import Load, parse_wrk
from thor_support import (
    ROOT,
    end_session,
    free_port,
    need_program,
    running_program,
)

ORIGINS = ROOT / "test" / "interop" / "origins"

#: What a command of Thor's listens on.
ANYWHERE = ("--listen", "127.0.0.1:0")

#: A foreign client that takes longer hangs.
LIMIT_S = 30

#: What each file of the folder is marked with.
interop = pytest.mark.interop


class Served(NamedTuple):
    """A server that runs."""

    process: subprocess.Popen[bytes]
    port: int
    #: The path of its Unix socket, if it has one.
    socket: str = ""

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"


def ends_well(command: Running) -> None:
    """Asserts that a command of Thor's stops when it is told to, and had nothing to complain of."""
    command.signal(signal.SIGTERM)
    assert command.end() == (0, b"", "")


# -- origins ------------------------------------------------------------------------------------


@contextmanager
def started(*argv: str) -> Iterator[Served]:
    """Run a program that prints the port that it took, until the block ends."""
    process = subprocess.Popen(
        argv,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.strip().isdigit(), f"{argv!r} did not start: {line!r}"
        yield Served(process, int(line))
    finally:
        end_session(process)
        process.stdout.close()


@contextmanager
def node_origin(name: str = "node", *files: str) -> Iterator[Served]:
    """`origins/origin.js`, which says in `X-Origin` that it is `name`.

    files: its certificate and key, so that it speaks https; an authority for its clients'
    """
    with started(need_program("node"), str(ORIGINS / "origin.js"), name, *files) as origin:
        yield origin


@contextmanager
def thor_server(timers: int = 0) -> Iterator[Served]:
    """`origins/thor_server.py`."""
    script = str(ORIGINS / "thor_server.py")
    with started(sys.executable, "-W", "error", script, str(timers)) as server:
        yield server


_NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/octet-stream;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ text/html html; text/plain txt; }}
    {http}
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, server: str, http: str = "") -> Iterator[Served]:
    """nginx with one `server` block, and what stands before it; its files are in `folder`."""
    path, port = need_program("nginx"), free_port()
    conf = folder / "nginx.conf"
    conf.write_text(_NGINX.format(folder=folder, port=port, http=http, server=server))
    argv = [path, "-e", "stderr", "-p", str(folder), "-c", str(conf)]
    with running_program(argv, port=port) as process:
        yield Served(process, port)


_HAPROXY = """\
defaults
    mode {mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
{sections}
"""

_FRONT = """\
frontend front
    bind 127.0.0.1:{port}
    {frontend}
    default_backend back
backend back
    {backend}
    server thor 127.0.0.1:{to} {server}
"""


@contextmanager
def haproxy(
    folder: Path, to: int, backend: str = "", server: str = "", frontend: str = ""
) -> Iterator[Served]:
    """HAProxy in front of port `to`."""
    port = free_port()
    sections = _FRONT.format(port=port, to=to, frontend=frontend, backend=backend, server=server)
    with haproxy_sections(folder, sections, port, "http") as served:
        yield served


@contextmanager
def haproxy_sections(folder: Path, sections: str, port: int, mode: str) -> Iterator[Served]:
    """HAProxy with these sections, one of which listens on `port` of 127.0.0.1."""
    conf = folder / "haproxy.cfg"
    conf.write_text(_HAPROXY.format(mode=mode, sections=sections))
    argv = [need_program("haproxy"), "-db", "-q", "-f", str(conf)]
    with running_program(argv, port=port) as process:
        yield Served(process, port)


# -- clients ------------------------------------------------------------------------------------


class Head(NamedTuple):
    """The head of one response, as curl saw it; names are in lower case."""

    version: str
    status: int
    fields: list[tuple[str, str]]

    def __getitem__(self, name: Any) -> Any:
        """The value of the field that there is exactly once."""
        (value,) = self.all(name)
        return value

    def all(self, name: str) -> list[str]:
        """The values of a field."""
        return [value for known, value in self.fields if known == name]


class Reply(NamedTuple):
    """How curl fared. code: its exit code; heads: of each response; made: connections it made"""

    code: int
    heads: list[Head]
    body: bytes
    made: int

    @property
    def head(self) -> Head:
        """The head of the final response."""
        return self.heads[-1]

    @property
    def status(self) -> int:
        """The status of the final response."""
        return self.head.status

    @property
    def statuses(self) -> list[int]:
        """The status of each response, the informational ones included."""
        return [head.status for head in self.heads]

    @property
    def json(self) -> Any:
        """The body of a response that has to have gone well."""
        assert (self.code, self.status) == (0, 200), self
        return json.loads(self.body)


def curl_argv(*args: str) -> list[str]:
    """A command line of curl that reads no configuration and knows no proxy."""
    return [need_program("curl"), "-q", "-s", "--noproxy", "*", "-m", str(LIMIT_S), *args]


def curl(*args: str, data: bytes | None = None) -> Reply:
    """Run curl to its end. data: its stdin"""
    with tempfile.NamedTemporaryFile() as heads:
        argv = curl_argv("-D", heads.name, "-w", "%{stderr}%{num_connects} ", *args)
        done = subprocess.run(
            argv,
            input=b"" if data is None else data,
            capture_output=True,
            timeout=LIMIT_S + 5,
            check=False,
        )
        found = parse_heads(heads.read().decode("latin-1"))
    made = sum(int(number) for number in done.stderr.split())
    return Reply(done.returncode, found, done.stdout, made)


def curl_pattern(url: str) -> int:
    """Have curl fetch a body that is the pattern. Returns: its size

    Raises: AssertionError at the first byte that is not the pattern's, or if curl fails
    """
    argv = curl_argv("-m", "90", url)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        try:
            size = pattern_size(client.stdout.fileno())
            assert client.wait(LIMIT_S) == 0
        finally:
            client.kill()
    return size


def parse_heads(text: str) -> list[Head]:
    """What `curl -D` writes: one head after the other; trailers count as fields of the last."""
    heads: list[Head] = []
    for line in text.split("\r\n"):
        start = re.fullmatch(r"HTTP/(\d\.\d) (\d{3}) ?.*", line)
        if start:
            heads.append(Head(start[1], int(start[2]), []))
        elif line:
            name, _, value = line.partition(":")
            heads[-1].fields.append((name.lower(), value.strip()))
    return heads


def wrk(url: str, *args: str, seconds: int = 1, connections: int = 32) -> Load:
    """Have wrk ask for `url`. Returns: what it counted"""
    done = subprocess.run(
        [need_program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", *args, url],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    try:
        return parse_wrk(done.stdout)
    except ValueError:
        raise AssertionError(f"wrk failed: {done.stderr or done.stdout}") from None


def fields_of(said: dict[str, Any], name: str) -> list[str]:
    """The values of a field among what an echoing origin says that it received."""
    pairs: Sequence[str] = said["fields"]
    names, values = pairs[::2], pairs[1::2]
    return [value for known, value in zip(names, values, strict=True) if known.lower() == name]
