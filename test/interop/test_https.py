"""https, Unix sockets and proxies: `thor fetch`, `thor serve` and `thor proxy` with curl, nginx,
Node and OpenSSL, both ways."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from cli_support import Running, complains, here, running, thor
from interop_data import PATTERN, item, sha256
from interop_support import (
    ORIGINS,
    Reply,
    Served,
    curl,
    curl_pattern,
    ends_well,
    fields_of,
    interop,
    nginx,
    node_origin,
    started,
    wrk,
)
from tls_support import authority, issued

from thor_support import free_port, need_program, running_program

pytestmark = interop

ANYWHERE = ("--listen", "127.0.0.1:0")
UPLOAD = item("upload", 1_000_000)


class Files(NamedTuple):
    """Certificates, as files."""

    folder: Path
    ca: str
    certificate: str
    key: str
    client: str
    client_key: str

    @property
    def certified(self) -> tuple[str, ...]:
        """The arguments of a command that speaks TLS."""
        return ("--certificate", self.certificate, "--key", self.key)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Certificates, and files to serve."""
    folder = tmp_path_factory.mktemp("https")
    (folder / "www").mkdir()
    (folder / "www" / "pattern").write_bytes(PATTERN)
    (folder / "ca").write_bytes(authority().certificate)
    server = issued("localhost", "127.0.0.1").write(folder, "server")
    client = issued("a client", client=True).write(folder, "client")
    return Files(folder, str(folder / "ca"), *server, *client)


@pytest.fixture(scope="module")
def secure_node(files: Files) -> Iterator[Served]:
    """An https origin on Node."""
    with node_origin("node", files.certificate, files.key) as origin:
        yield origin


@pytest.fixture(scope="module")
def both(files: Files, secure_node: Served) -> Iterator[Running]:
    """`thor proxy` with TLS on both sides, in front of Node."""
    to = ("--to", f"https://localhost:{secure_node.port}", "--origin-ca", files.ca)
    with running("proxy", *to, *ANYWHERE, *files.certified) as proxy:
        yield proxy
        ends_well(proxy)


def secure_curl(files: Files, *args: str, data: bytes | None = None) -> Reply:
    """curl, which verifies."""
    return curl("--cacert", files.ca, *args, data=data)


# -- thor fetch -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_fetch_from_nginx(files: Files, version: str) -> None:
    port = free_port()
    server = f"""
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {files.certificate};
        ssl_certificate_key {files.key};
        ssl_protocols {version};
        root {files.folder}/www;
        location = /tls {{ return 200 "$ssl_protocol $ssl_server_name $ssl_alpn_protocol"; }}
    """
    with nginx(files.folder, server):
        url = f"https://localhost:{port}"
        result = thor("fetch", "--cacert", files.ca, f"{url}/pattern")
        assert (result.code, sha256(result.out)) == (0, sha256(PATTERN))
        result = thor("fetch", "--cacert", files.ca, f"{url}/tls")
        assert result.out.decode().split()[:2] == [version, "localhost"]
        complains(here("fetch", f"{url}/tls"), 1, "unknown issuer")
        told = thor("fetch", f"http://localhost:{port}/tls")
        assert b"plain HTTP request was sent to HTTPS port" in told.out


def test_fetch_from_node(files: Files, secure_node: Served) -> None:
    url = f"https://localhost:{secure_node.port}"
    for query in ("size=300000", "size=300000&chunked=1", "size=0"):
        result = thor("fetch", "--cacert", files.ca, f"{url}/item/a?{query}")
        assert result == (0, item("a", 0 if query == "size=0" else 300_000), "")
    result = thor("fetch", "--cacert", files.ca, "-d", "x" * 1000, f"{url}/echo")
    assert sha256(b"x" * 1000).encode() in result.out
    assert b'"tls":"TLSv1.3"' in result.out
    assert b'"servername":"localhost"' in result.out
    assert b'"alpn":"http/1.1"' in result.out or b'"alpn":false' in result.out


def test_fetch_shows_a_certificate_to_node(files: Files) -> None:
    with node_origin("node", files.certificate, files.key, files.ca) as origin:
        url = f"https://localhost:{origin.port}/hello"
        trust = ("--cacert", files.ca)
        shown = ("--cert", files.client, "--key", files.client_key)
        assert thor("fetch", *trust, *shown, url) == (0, b"Hello, world!", "")
        result = here("fetch", *trust, url)
        complains(result, 1, "TLS failed: ")
        assert "certificate" in result.err


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_fetch_from_openssl(files: Files, version: str) -> None:
    """`s_server -WWW` sends a body that goes on until the connection ends."""
    port = free_port()
    argv = [need_program("openssl"), "s_server", "-accept", str(port), "-quiet", version, "-WWW"]
    argv += ["-cert", files.certificate, "-key", files.key]
    with running_program(argv, port=port, cwd=files.folder / "www"):
        result = thor("fetch", "--cacert", files.ca, f"https://localhost:{port}/pattern")
        assert (result.code, sha256(result.out)) == (0, sha256(PATTERN))


def test_fetch_finds_no_version_in_common_with_openssl(files: Files) -> None:
    port = free_port()
    argv = [need_program("openssl"), "s_server", "-accept", str(port), "-quiet", "-tls1_1"]
    argv += ["-cipher", "ALL:@SECLEVEL=0", "-cert", files.certificate, "-key", files.key]
    with running_program(argv, port=port):
        result = here("fetch", "--cacert", files.ca, f"https://localhost:{port}/")
    complains(result, 1, "TLS failed: ")
    assert "TLS version" in result.err


def test_large_body_by_tls(files: Files, secure_node: Served, tmp_path: Path) -> None:
    out = tmp_path / "out"
    url = f"https://localhost:{secure_node.port}/big?size={64 << 20}"
    assert thor("fetch", "--cacert", files.ca, "-o", str(out), url) == (0, b"", "")
    assert out.stat().st_size == 64 << 20


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_fetch_through_a_proxy_on_node(
    files: Files, node: Served, secure_node: Served, secure: bool
) -> None:
    """To a proxy that speaks TLS itself, the tunnel is TLS inside TLS."""
    own = (files.certificate, files.key) if secure else ()
    with started(need_program("node"), str(ORIGINS / "tunnel.js"), "me:secret", *own) as tunnel:
        at = f"localhost:{tunnel.port}"
        scheme = "https" if secure else "http"
        args = ("fetch", "--cacert", files.ca, "-x", f"{scheme}://me:secret@{at}")
        url = f"https://localhost:{secure_node.port}"
        result = thor(*args, f"{url}/item/a?size=300000")
        assert result == (0, item("a", 300_000), "")
        assert b'"via"' not in thor(*args, f"{url}/echo").out
        result = thor(*args, f"http://127.0.0.1:{node.port}/echo")
        assert b'"via","1.1 tunnel"' in result.out.lower()
        args = ("fetch", "--cacert", files.ca, "-x", f"{scheme}://me:wrong@{at}")
        complains(here(*args, url), 1, "it answered 407 'Proxy Authentication Required'")
        told = thor(*args, "-i", f"http://127.0.0.1:{node.port}/echo")
        assert told.out.startswith(b"HTTP/1.1 407 ")


# -- curl and openssl before thor -----------------------------------------------------------------


@pytest.mark.parametrize("version", ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"])
def test_curl_at_thor_serve(files: Files, version: str) -> None:
    with running("serve", str(files.folder / "www"), *ANYWHERE, *files.certified) as server:
        url = f"https://localhost:{server.port}/pattern"
        reply = secure_curl(files, "--http2", *version.split(), url, url)
        assert (reply.code, reply.statuses, reply.made) == (0, [200, 200], 1)
        assert reply.body == PATTERN * 2
        assert curl(url).code == 60  # it does not know the authority
        ends_well(server)


def test_openssl_resumes_its_session_at_thor_serve(files: Files) -> None:
    with running("serve", str(files.folder / "www"), *ANYWHERE, *files.certified) as server:
        argv = [need_program("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}"]
        argv += ["-CAfile", files.ca, "-tls1_2", "-reconnect", "-verify_return_error"]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True
        )
        ends_well(server)
    assert done.stdout.count(b"Reused, ") == 5


def test_curl_through_thor_proxy(files: Files, both: Running) -> None:
    url = f"https://localhost:{both.port}"
    reply = secure_curl(files, f"{url}/echo", "-T", "-", data=UPLOAD)
    said = reply.json
    assert (said["sha256"], said["tls"]) == (sha256(UPLOAD), "TLSv1.3")
    assert (said["servername"], fields_of(said, "host")) == (
        "localhost",
        [f"localhost:{both.port}"],
    )
    assert fields_of(said, "x-forwarded-proto") == ["https"]
    for query in ("size=300000", "size=300000&chunked=1"):
        reply = secure_curl(files, f"{url}/item/a?{query}")
        assert (reply.code, reply.status, reply.body) == (0, 200, item("a", 300_000))
    reply = secure_curl(files, "-I", f"{url}/hello", f"{url}/hello")
    assert (reply.code, reply.statuses, reply.made) == (0, [200, 200], 1)


def test_a_large_body_through_thor_proxy_by_tls(
    files: Files, both: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURL_CA_BUNDLE", files.ca)
    assert curl_pattern(f"https://localhost:{both.port}/big?size={32 << 20}") == 32 << 20


def test_the_proxy_keeps_its_connection_to_an_https_origin(files: Files, both: Running) -> None:
    url = f"https://localhost:{both.port}/echo"
    numbers = {secure_curl(files, url).json["connection"] for _ in range(3)}
    assert len(numbers) == 1


def test_connections_of_the_proxy_resume_their_session(files: Files, both: Running) -> None:
    base = f"https://localhost:{both.port}"
    assert secure_curl(files, f"{base}/close-idle").status == 200
    secure_curl(files, f"{base}/echo")
    secure_curl(files, f"{base}/close-idle")
    assert secure_curl(files, f"{base}/echo").json["resumed"] is True


def test_load_by_tls_without_an_error(files: Files, both: Running) -> None:
    load = wrk(f"https://localhost:{both.port}/hello", seconds=1)
    assert load.requests > 0
    assert load.errors == 0


# -- Unix sockets ---------------------------------------------------------------------------------


@contextmanager
def nginx_on_a_socket(folder: Path, root: Path) -> Iterator[str]:
    """nginx that listens on a Unix socket too. Gives: its path"""
    path = folder / "nginx.sock"
    with nginx(folder, f"listen unix:{path}; root {root};"):
        yield str(path)


def test_curl_at_a_unix_socket(files: Files, tmp_path: Path) -> None:
    path = f"{tmp_path}/socket"
    www = str(files.folder / "www")
    with running("serve", www, "--listen", f"unix:{path}") as server:
        reply = curl("--unix-socket", path, "http://localhost/pattern")
        assert (reply.code, reply.body) == (0, PATTERN)
        ends_well(server)


def test_curl_at_an_abstract_unix_socket(files: Files, tmp_path: Path) -> None:
    name = f"thor-test-{os.getpid()}"
    certified = files.certified
    with running(
        "serve", str(files.folder / "www"), "--listen", f"unix:@{name}", *certified
    ) as server:
        reply = secure_curl(files, "--abstract-unix-socket", name, "https://localhost/pattern")
        assert (reply.code, reply.body) == (0, PATTERN)
        url = f"https+unix://%40{name}/pattern"
        assert thor("fetch", "--cacert", files.ca, url).out == PATTERN
        ends_well(server)


def test_fetch_from_nginx_by_a_unix_socket(files: Files, tmp_path: Path) -> None:
    with nginx_on_a_socket(tmp_path, files.folder / "www") as path:
        encoded = path.replace("/", "%2F")
        assert thor("fetch", f"http+unix://{encoded}/pattern").out == PATTERN


def test_proxy_from_socket_to_socket(files: Files, tmp_path: Path) -> None:
    near = f"{tmp_path}/near"
    with (
        nginx_on_a_socket(tmp_path, files.folder / "www") as far,
        running("proxy", "--to", f"unix:{far}", "--listen", f"unix:{near}") as proxy,
    ):
        reply = curl("--unix-socket", near, *["http://localhost/pattern"] * 3)
        assert (reply.code, reply.statuses, reply.made) == (0, [200] * 3, 1)
        assert reply.body == PATTERN * 3
        ends_well(proxy)


def test_nginx_in_front_of_a_socket(node: Served, tmp_path: Path) -> None:
    near = f"{tmp_path}/near"
    with (
        running("proxy", "--to", node.url, "--listen", f"unix:{near}", "--trust", "unix:") as proxy,
        nginx(
            tmp_path,
            f"location / {{ proxy_pass http://unix:{near}; "
            "proxy_set_header X-Forwarded-For $remote_addr; }",
        ) as front,
    ):
        said = curl(f"{front.url}/echo", "-T", "-", data=UPLOAD).json
        ends_well(proxy)
    assert said["sha256"] == sha256(UPLOAD)
    assert fields_of(said, "x-forwarded-for") == ["127.0.0.1, unknown"]


# -- PROXY headers and TLS ------------------------------------------------------------------------


def test_curl_sends_a_proxy_header_before_tls(files: Files, secure_node: Served) -> None:
    to = ("--to", f"https://localhost:{secure_node.port}", "--origin-ca", files.ca)
    trust = ("--proxy-protocol", "127.0.0.0/8", "--access-log")
    with running("proxy", *to, *trust, *ANYWHERE, *files.certified) as proxy:
        reply = secure_curl(files, "--haproxy-protocol", f"https://localhost:{proxy.port}/echo")
        assert fields_of(reply.json, "x-forwarded-for") == ["127.0.0.1"]
        assert secure_curl(files, f"https://localhost:{proxy.port}/echo").code == 35
