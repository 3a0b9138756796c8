"""Programs of others, run against Thor's: what the interop tests share.

Owns: starting and ending curl, nginx, HAProxy, Node and wrk, and reading what they say; the clients
and servers of Thor's that talk to them from the test's own loop. Must not know any test. A program
that is missing skips the test by its name (see `need_program`).
"""

from __future__ import annotations

import json
import re
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import pytest
from cli_support import Running
from interop_data import pattern_pieces, pattern_size
from tcp_support import port_of
from tls_support import ADDRESS, NAME, authority, issued, outcome, serving

from bench.harness import Load, parse_wrk
from thor.http import HttpClient, HttpClientExchange, get_header
from thor.http.client.fetch import Fetch, Response
from thor.loop import LoopBase
from thor.tcp import ProxyHeader, ProxySsl, TcpClient
from thor.tcp.proxy_tlvs import (
    AUTHORITY,
    CLIENT_SSL,
    CRC32C,
    NETNS,
    NOOP,
    PP2_TYPE_ALPN,
    SSL,
    UNIQUE_ID,
)
from thor.testing import Recorder
from thor.tls import TlsClient, TlsConnection, TlsServer
from thor.types import HeadersIn, RawHeaders
from thor_support import (
    ROOT,
    end_session,
    free_port,
    need_program,
    run_loop,
    running_program,
)

T = TypeVar("T")

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


# -- clients and servers of Thor -------------------------------------------------------------------


class Certificates(NamedTuple):
    """Certificates of the tests' authority, as files."""

    folder: Path
    ca: str
    certificate: str
    key: str
    client: str
    client_key: str
    #: The server's certificate and key in one file.
    both: str

    @property
    def options(self) -> tuple[str, ...]:
        """The arguments of a command that speaks TLS."""
        return ("--certificate", self.certificate, "--key", self.key)


def make_certificates(folder: Path) -> Certificates:
    """Write certificates of a server, `localhost`, and of a client into a folder."""
    (folder / "ca").write_bytes(authority().certificate)
    served = issued(NAME, ADDRESS)
    (folder / "both").write_bytes(served.certificate + served.key)
    server = served.write(folder, "server")
    client = issued("a client", client=True).write(folder, "client")
    return Certificates(folder, str(folder / "ca"), *server, *client, str(folder / "both"))


class Fetcher:
    """An `HttpClient` whose responses are waited for."""

    def __init__(self, loop: LoopBase) -> None:
        self.loop, self.client = loop, HttpClient(loop)

    def fetch(self, url: str, method: str = "GET", headers: HeadersIn = ()) -> Response:
        """Make one request."""
        [response] = self._wait([self.client.fetch(url, method, headers)])
        return response

    def fetch_all(self, urls: Sequence[str]) -> list[Response]:
        """Make requests at the same time."""
        return self._wait([self.client.fetch(url) for url in urls])

    def _wait(self, fetches: Sequence[Fetch]) -> list[Response]:
        recorders = [Recorder(fetch, "response", "error") for fetch in fetches]
        run_loop(self.loop, lambda: all(each.events for each in recorders), timeout_s=20)
        ends = [event for each in recorders for event in each.events]
        assert {event for event, _ in ends} == {"response"}, ends
        return [response for _, response in ends]

    def upload(self, url: str, size: int, headers: Sequence[tuple[str, str]], length: bool) -> Any:
        """Send so many bytes of the pattern, in pieces. Returns: the response's body, from JSON

        length: send Content-Length; False sends chunks
        """
        upload = _Upload(self.client.exchange(), size)
        own = [("Content-Length", str(size))] if length else []
        upload.exchange.request_start("PUT", url, [*headers, *own])
        upload.pause(False)
        run_loop(self.loop, lambda: upload.is_over, timeout_s=20)
        assert upload.failure is None
        return json.loads(upload.body)


class _Upload:
    """The sink of an exchange that sends pieces as they are taken."""

    def __init__(self, exchange: HttpClientExchange, size: int) -> None:
        self.exchange = exchange
        self.body = b""
        self.is_over = False
        self.failure: Exception | None = None
        self._pieces = pattern_pieces(size)
        self._sent = False
        exchange.sink(self)

    def pause(self, paused: bool) -> None:
        while not paused and not self._sent:
            piece = next(self._pieces, None)
            if piece is None:
                self._sent = True
                self.exchange.request_done([])
            else:
                paused = not self.exchange.request_body(piece)

    def response_body(self, chunk: bytes) -> None:
        self.body += chunk

    def response_done(self, trailers: RawHeaders) -> None:
        self.is_over = True

    def error(self, failure: Exception) -> None:
        self.failure, self.is_over = failure, True


def field_of(response: Response, name: str) -> str:
    """Return the value of the field that a response has exactly once."""
    [value] = get_header(response.headers, name.encode())
    return value.decode()


class TlsAsker:
    """A TLS client that makes one request at a time."""

    def __init__(self, loop: LoopBase, port: int, context: ssl.SSLContext) -> None:
        self.loop, self.port, self.context = loop, port, context

    def connect(self) -> Any:
        """Connect. Returns: the connection, or the arguments of `connect_error`"""
        client = TlsClient(self.loop)
        client.context, client.server_hostname = self.context, NAME
        return outcome(client, lambda: client.connect(ADDRESS, self.port, 20))

    def ask(self) -> tuple[TlsConnection, bytes]:
        """Make a request. Returns: the connection, which has ended, and the answer"""
        conn = self.connect()
        assert isinstance(conn, TlsConnection), conn
        heard = Recorder(conn, "data", "disconnect")
        conn.write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        conn.pause(False)
        run_loop(self.loop, lambda: ("disconnect",) in heard.events)
        return conn, b"".join(event[1] for event in heard.events if event[0] == "data")


class TlsEcho:
    """A TLS server that answers a request with what it knows of the connection, as JSON; to any
    other line with that line, and to `bye` by closing."""

    def __init__(self, loop: LoopBase, **settings: Any) -> None:
        """settings: what `server_context` takes"""
        self.loop = loop
        self.context = serving(**settings)
        self.conns: list[TlsConnection] = []

    def __enter__(self) -> Self:
        self._server = TlsServer(ADDRESS, 0, self.loop, context=self.context)
        self._server.on("connect", self.serve)
        self.port = port_of(self._server)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        run_loop(self.loop, lambda: not self._server.active_connections)

    def serve(self, conn: TlsConnection) -> None:
        """Answer on a connection."""
        self.conns.append(conn)
        facts = {
            "version": conn.tls_version,
            "alpn": conn.alpn,
            "name": conn.server_name,
            "reused": conn.session_reused,
            "client": conn.peer_certificate is not None,
        }
        body = json.dumps(facts)

        def answer(data: bytes) -> None:
            if data.endswith(b"\r\n\r\n"):
                conn.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}")
            elif data == b"bye\n":
                conn.close()
            else:
                conn.write(b"echo of " + data)

        conn.on("data", answer)
        conn.pause(False)

    def aside(self, work: Callable[[], T]) -> T:
        """Return what `work()` returns, which is done in a thread while this serves."""
        results: list[tuple[Any, BaseException | None]] = []
        self.loop.run_in_thread(work, then=lambda done, exc: results.append((done, exc)))
        run_loop(self.loop, lambda: results, timeout_s=LIMIT_S + 5)
        [(done, exc)] = results
        if exc is not None:
            raise exc
        return done  # type: ignore[no-any-return]

    def run(self, *argv: str) -> tuple[int, str]:
        """Run a foreign program while this serves. Returns: its exit code, and its output"""
        done = self.aside(
            lambda: subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_S,
                check=False,
            )
        )
        return done.returncode, done.stdout.decode("latin-1")


# -- the PROXY protocol ----------------------------------------------------------------------------

V4 = (("192.0.2.1", 1024), ("198.51.100.2", 80))
V6 = (("2001:db8::1", 1024), ("2001:db8::2", 443))
V4_HEADER = ProxyHeader(*V4, version=1)
V6_HEADER = ProxyHeader(
    *V6,
    tlvs=[
        (PP2_TYPE_ALPN, b"h2"),
        (NOOP, bytes(5)),
        (AUTHORITY, b"a.example"),
        (CRC32C, bytes(4)),
        (UNIQUE_ID, b"7"),
        (SSL, ProxySsl(CLIENT_SSL, 1, version="TLSv1.3").to_bytes()),
        (NETNS, b"blue"),
        (0xE0, b"own"),
    ],
)


def proxy_header_answer(loop: LoopBase, port: int, header: ProxyHeader) -> bytes:
    """Return what a server answers to a request behind a PROXY header; empty if it closes."""
    client = TcpClient(loop)
    client.proxy_header = header
    conn = outcome(client, lambda: client.connect(ADDRESS, port))
    said = Recorder(conn, "data", "disconnect")
    conn.write(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
    conn.pause(False)
    run_loop(loop, lambda: ("disconnect",) in said.events)
    return b"".join(event[1] for event in said.take() if event[0] == "data")
