"""curl as the client of `HttpServer`, of `thor proxy` and of `thor serve`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Running, running, thor
from interop_data import PATTERN, item, sha256
from interop_support import ANYWHERE, Served, curl, ends_well, fields_of, interop
from interop_thor import Certificates

pytestmark = interop

UPLOAD = item("upload", 1_000_000)
#: curl would send the body unasked after a while: not so soon.
WAITS = ("-H", "Expect: 100-continue", "--expect100-timeout", "1000")


@pytest.fixture(params=["server", "proxy"])
def url(request: pytest.FixtureRequest, server: Served, proxy: Running) -> str:
    """Where an echo is: a server's, or an origin's behind the proxy."""
    return f"{(server if request.param == 'server' else proxy).url}/echo"


@pytest.fixture(scope="module")
def files(certificates: Certificates) -> Iterator[Running]:
    """`thor serve`."""
    with running("serve", str(certificates.folder / "www"), *ANYWHERE) as server:
        yield server
        ends_well(server)


# -- uploads -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "statuses"),
    [
        pytest.param(["-H", "Expect:", "--data-binary", "@-"], [200], id="length"),
        pytest.param(["-H", "Expect:", "-T", "-"], [200], id="chunked"),
        pytest.param([*WAITS, "--data-binary", "@-"], [100, 200], id="expect"),
        pytest.param(["--http1.0", "--data-binary", "@-"], [200], id="http-1.0"),
    ],
)
def test_curl_upload_arrives_whole(url: str, args: list[str], statuses: list[int]) -> None:
    reply = curl(*args, url, data=UPLOAD)
    assert reply.statuses == statuses
    assert (reply.json["size"], reply.json["sha256"]) == (len(UPLOAD), sha256(UPLOAD))
    assert reply.head.all("transfer-encoding") == []


@pytest.mark.parametrize(
    ("args", "code"),
    [pytest.param(WAITS, 0, id="waits"), pytest.param(("-H", "Expect:"), None, id="sends")],
)
def test_curl_reads_the_refusal_of_an_upload(
    proxy: Running, args: tuple[str, ...], code: int | None
) -> None:
    reply = curl(*args, "-T", "-", f"{proxy.url}/refuse", data=UPLOAD)
    assert (reply.statuses, reply.body) == ([403], b"no\n")
    assert code is None or reply.code == code


# -- responses and connections -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "made"),
    [
        pytest.param([], 1, id="http-1.1"),
        pytest.param(["-I"], 1, id="head"),
        pytest.param(["-H", "Connection: close"], 3, id="close"),
        pytest.param(["--http1.0", "-H", "Connection: keep-alive"], 1, id="http-1.0-keep-alive"),
    ],
)
def test_curl_keeps_its_connection_unless_closed(url: str, args: list[str], made: int) -> None:
    reply = curl(*args, url, url, url)
    assert (reply.code, reply.statuses, reply.made) == (0, [200, 200, 200], made)


def test_curl_gets_chunks_with_http11_only(server: Served, proxy: Running) -> None:
    for url in (f"{server.url}/chunked", f"{proxy.url}/item/b?size=100000&chunked=1"):
        assert curl(url).head["transfer-encoding"] == "chunked"
        reply = curl("--http1.0", "-H", "Connection: keep-alive", url, url)
        # Without a length, the end of the connection is the end of the body.
        assert (reply.code, reply.statuses, reply.made) == (0, [200, 200], 2)
        assert reply.head.all("transfer-encoding") == []


def test_curl_gets_early_hints_and_trailers_through_the_proxy(proxy: Running) -> None:
    reply = curl(f"{proxy.url}/early")
    assert (reply.code, reply.statuses, reply.body) == (0, [103, 200], b"Hello, world!")
    assert reply.heads[0]["link"] == "</style.css>; rel=preload; as=style"
    reply = curl("-H", "Connection: TE", "-H", "TE: trailers", f"{proxy.url}/trailers")
    assert (reply.code, reply.body, reply.head["x-digest"]) == (0, b"body", "abc")


# -- files ---------------------------------------------------------------------------------------


def test_curl_resumes_a_download(files: Running, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(PATTERN[:300_000])
    reply = curl("-C", "-", "-o", str(part), f"{files.url}/pattern")
    assert (reply.code, reply.status) == (0, 206)
    assert part.read_bytes() == PATTERN


def test_curl_does_not_fetch_an_unchanged_file_again(
    files: Running, certificates: Certificates, tmp_path: Path
) -> None:
    url, kept = f"{files.url}/pattern", str(tmp_path / "etag")
    assert curl("--etag-save", kept, url).status == 200
    since = str(certificates.folder / "www" / "pattern")
    for args in (("--etag-compare", kept), ("-z", since)):
        reply = curl(*args, url)
        assert (reply.code, reply.status, reply.body) == (0, 304, b"")


# -- TLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"])
def test_curl_downloads_with_tls(certificates: Certificates, version: str) -> None:
    www = str(certificates.folder / "www")
    with running("serve", www, *ANYWHERE, *certificates.options) as server:
        url = f"https://localhost:{server.port}/pattern"
        reply = curl("--cacert", certificates.ca, "--http2", *version.split(), url, url)
        assert (reply.code, reply.statuses, reply.made) == (0, [200, 200], 1)
        assert reply.body == PATTERN * 2
        assert curl(url).code == 60  # it does not know the authority
        ends_well(server)


def test_curl_uploads_through_the_proxy_with_tls(
    certificates: Certificates, tls_proxy: Running
) -> None:
    url = f"https://localhost:{tls_proxy.port}"
    said = curl("--cacert", certificates.ca, "-T", "-", f"{url}/echo", data=UPLOAD).json
    assert (said["sha256"], said["tls"]) == (sha256(UPLOAD), "TLSv1.3")
    assert (said["servername"], fields_of(said, "host")) == (
        "localhost",
        [f"localhost:{tls_proxy.port}"],
    )
    assert fields_of(said, "x-forwarded-proto") == ["https"]


def test_curl_sends_a_proxy_header_before_tls(
    certificates: Certificates, secure_node: Served
) -> None:
    to = ("--to", f"https://localhost:{secure_node.port}", "--origin-ca", certificates.ca)
    trust = ("--proxy-protocol", "127.0.0.0/8")
    with running("proxy", *to, *trust, *ANYWHERE, *certificates.options) as proxy:
        args = ("--cacert", certificates.ca, f"https://localhost:{proxy.port}/echo")
        reply = curl("--haproxy-protocol", *args)
        assert fields_of(reply.json, "x-forwarded-for") == ["127.0.0.1"]
        assert curl(*args).code == 35


# -- Unix sockets --------------------------------------------------------------------------------


def test_curl_downloads_from_a_unix_socket(certificates: Certificates, tmp_path: Path) -> None:
    path, name = f"{tmp_path}/socket", f"thor-test-{os.getpid()}"
    www = str(certificates.folder / "www")
    for listen, args in (
        (path, ("--unix-socket", path)),
        (f"@{name}", ("--abstract-unix-socket", name)),
    ):
        with running("serve", www, "--listen", f"unix:{listen}", *certificates.options) as server:
            reply = curl("--cacert", certificates.ca, *args, "https://localhost/pattern")
            assert (reply.code, reply.body) == (0, PATTERN)
            url = f"https+unix://{listen.replace('/', '%2F').replace('@', '%40')}/pattern"
            assert thor("fetch", "--cacert", certificates.ca, url).out == PATTERN
            ends_well(server)
