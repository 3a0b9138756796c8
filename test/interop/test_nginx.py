"""nginx behind `HttpClient`, `TlsClient`, `thor fetch` and `thor proxy`, and in front of Thor."""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import running, thor
from interop_data import PATTERN, item, sha256
from interop_support import ANYWHERE, Served, curl, ends_well, fields_of, interop, nginx
from interop_thor import (
    V4_HEADER,
    V6_HEADER,
    Certificates,
    Fetcher,
    TlsAsker,
    TlsEcho,
    field_of,
    proxy_header_answer,
)
from tls_support import NAME, authority, only, trusting

from thor.loop import LoopBase
from thor.tcp import ProxyHeader
from thor_support import free_port

pytestmark = interop

UPLOAD = item("upload", 1_000_000)
VERSIONS = ["TLSv1.2", "TLSv1.3"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """nginx with some files, and a place to put some; a connection is closed after ten requests."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "www").mkdir()
    (folder / "www" / "pattern").write_bytes(PATTERN)
    (folder / "www" / "page.html").write_text("hello " * 5000)
    with nginx(
        folder,
        f"""
        listen unix:{folder}/socket;
        root {folder}/www;
        gzip on;
        gzip_proxied any;
        keepalive_requests 10;
        add_header X-Connection $connection;
        location /put/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
        location = /old {{ return 301 /pattern; }}
        """,
    ) as served:
        yield served._replace(socket=f"{folder}/socket")


# -- behind clients ------------------------------------------------------------------------------


@pytest.fixture
def fetcher(loop: LoopBase) -> Iterator[Fetcher]:
    """An `HttpClient`."""
    yield Fetcher(loop)
    loop.stop()  # and with it the idle connections


def test_client_uses_a_connection_until_nginx_closes_it(fetcher: Fetcher, files: Served) -> None:
    connections = [
        field_of(fetcher.fetch(f"{files.url}/pattern", "HEAD"), "x-connection") for _ in range(25)
    ]
    changes = [index for index in range(1, 25) if connections[index] != connections[index - 1]]
    assert changes == [10, 20]


def test_client_reads_responses_of_nginx_on_one_connection(fetcher: Fetcher, files: Served) -> None:
    url = f"{files.url}/pattern"
    first = fetcher.fetch(url, "HEAD")
    assert (field_of(first, "content-length"), first.body) == ("1000003", b"")
    etag = field_of(first, "etag")
    same = fetcher.fetch(url, headers=[("If-None-Match", etag)])
    assert (same.status, same.body) == (304, b"")
    part = fetcher.fetch(url, headers=[("Range", "bytes=1000-1999")])
    assert (part.status, part.body) == (206, PATTERN[1000:2000])
    packed = fetcher.fetch(f"{files.url}/page.html", headers=[("Accept-Encoding", "gzip")])
    assert field_of(packed, "transfer-encoding") == "chunked"
    assert gzip.decompress(packed.body) == b"hello " * 5000
    last = fetcher.fetch(url)
    assert last.body == PATTERN
    assert field_of(last, "x-connection") == field_of(first, "x-connection")


def test_fetch_reads_from_a_unix_socket_of_nginx(files: Served) -> None:
    url = f"http+unix://{files.socket.replace('/', '%2F')}"
    assert thor("fetch", f"{url}/pattern").out == PATTERN
    result = thor("fetch", "-L", "-f", f"{files.url}/old")
    assert (result.code, sha256(result.out)) == (0, sha256(PATTERN))
    result = thor("fetch", "-f", f"{url}/missing")
    assert (result.code, result.err) == (1, "thor fetch: the server answered 404\n")


def test_tls_client_is_told_that_nginx_speaks_no_tls(loop: LoopBase, files: Served) -> None:
    found = TlsAsker(loop, files.port, trusting()).connect()
    assert found == (ssl.SSLError, "the peer does not speak TLS")


@pytest.mark.parametrize("header", [V4_HEADER, V6_HEADER], ids=["version 1", "version 2, TLVs"])
def test_nginx_reads_a_proxy_header(loop: LoopBase, tmp_path: Path, header: ProxyHeader) -> None:
    port = free_port()
    says = 'return 200 "$proxy_protocol_addr $proxy_protocol_port";'
    with nginx(tmp_path, f"{says} }} server {{ listen 127.0.0.1:{port} proxy_protocol; {says}"):
        answer = proxy_header_answer(loop, port, header)
    assert header.source is not None
    assert answer.partition(b"\r\n\r\n")[2].decode() == f"{header.source[0]} {header.source[1]}"


# -- behind the proxy ----------------------------------------------------------------------------


def test_proxy_forwards_what_nginx_does_with_files(files: Served) -> None:
    with running("proxy", "--to", files.url, *ANYWHERE) as proxy:
        url = f"{proxy.url}/pattern"
        etag = curl("-I", url).head["etag"]
        reply = curl("-H", f"If-None-Match: {etag}", url, f"{proxy.url}/missing", url)
        assert (reply.code, reply.statuses, reply.made) == (0, [304, 404, 304], 1)
        reply = curl("-r", "1000-1999", url)
        assert (reply.status, reply.body) == (206, PATTERN[1000:2000])
        reply = curl("--compressed", f"{proxy.url}/page.html")
        assert (reply.head["content-encoding"], reply.body) == ("gzip", b"hello " * 5000)
        url = f"{proxy.url}/put/file"
        for expect in ("Expect:", "Expect: 100-continue"):
            reply = curl("-H", expect, "-T", "-", url, data=UPLOAD)
            assert (reply.code, reply.status) in ((0, 201), (0, 204))
            assert curl(url).body == UPLOAD
        assert curl("-X", "DELETE", url).status == 204
        ends_well(proxy)


# -- in front ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param("", id="http-1.0"),
        pytest.param(
            'proxy_http_version 1.1; proxy_set_header Connection "";'
            "proxy_request_buffering off; proxy_buffering off;",
            id="http-1.1",
        ),
    ],
)
def test_nginx_in_front_of_the_proxy(node: Served, tmp_path: Path, settings: str) -> None:
    path = f"{tmp_path}/upstream"
    location = (
        f"location / {{ proxy_pass http://unix:{path}; {settings}"
        "proxy_set_header X-Forwarded-For $remote_addr; }"
    )
    listen = ("--listen", f"unix:{path}", "--trust", "unix:")
    with (
        running("proxy", "--to", node.url, *listen) as proxy,
        nginx(tmp_path, location) as front,
    ):
        said = curl("-T", "-", f"{front.url}/echo", data=UPLOAD).json
        assert said["sha256"] == sha256(UPLOAD)
        assert fields_of(said, "x-forwarded-for") == ["127.0.0.1, unknown"]
        for query in ("size=300000", "size=300000&chunked=1"):
            reply = curl(f"{front.url}/item/a?{query}")
            assert (reply.code, reply.status, reply.body) == (0, 200, item("a", 300_000))
        ends_well(proxy)


_PROXYING = """
    location / {{
        proxy_pass https://127.0.0.1:{port};
        proxy_ssl_protocols {version};
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate {files.ca};
        proxy_ssl_name {name};
        proxy_ssl_server_name on;
        proxy_ssl_certificate {files.client};
        proxy_ssl_certificate_key {files.client_key};
        proxy_ssl_session_reuse on;
        proxy_http_version 1.1;
        proxy_set_header Connection close;
    }}
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_nginx_in_front_with_tls_resumes_and_shows_its_certificate(
    loop: LoopBase, certificates: Certificates, tmp_path: Path, version: str
) -> None:
    with TlsEcho(loop, client_ca=authority().certificate, **only(version)) as echo:
        conf = _PROXYING.format(port=echo.port, version=version, files=certificates, name=NAME)
        with nginx(tmp_path, conf) as front:
            told = [json.loads(echo.aside(lambda: curl(front.url)).body) for _ in range(3)]
    assert [each["reused"] for each in told] == [False, True, True]
    for each in told:
        assert (each["version"], each["name"], each["client"]) == (version, NAME, True)
