"""Commands over TLS, Unix sockets, PROXY headers, inherited sockets, and through proxies."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cli_support import Running, complains, here, running, thor
from tls_support import authority, issued, stranger

ANYWHERE = ("--listen", "127.0.0.1:0")


class Files(NamedTuple):
    """The files of an authority: its own, and those of what it has issued."""

    folder: Path
    ca: str
    stranger: str
    certificate: str
    key: str
    other: str
    other_key: str
    client: str


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Certificates, and something to serve."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "www").mkdir()
    (folder / "www" / "a.txt").write_text("hello\n")
    (folder / "ca").write_bytes(authority().certificate)
    (folder / "stranger").write_bytes(stranger().certificate)
    good = issued("localhost", "127.0.0.1").write(folder, "good")
    other = issued("other.example").write(folder, "other")
    shown = issued("a client", client=True)
    (folder / "client").write_bytes(shown.certificate + shown.key)
    names = (str(folder / "ca"), str(folder / "stranger"))
    return Files(folder, *names, *good, *other, str(folder / "client"))


@pytest.fixture(scope="module")
def site(files: Files) -> Iterator[Running]:
    """`thor serve` with TLS."""
    certified = ("--certificate", files.certificate, "--key", files.key)
    with running("serve", str(files.folder / "www"), *ANYWHERE, *certified) as server:
        yield server
        server.signal(signal.SIGTERM)
        assert server.end() == (0, b"", "")


def encoded(path: str) -> str:
    """The path of a socket, for a URL."""
    return path.replace("/", "%2F")


# -- TLS ------------------------------------------------------------------------------------------


def test_files_over_tls(site: Running, files: Files) -> None:
    assert site.said.endswith(f" on {site.url}/\n")
    assert site.url.startswith("https://127.0.0.1:")
    assert thor("fetch", "--cacert", files.ca, f"{site.url}/a.txt") == (0, b"hello\n", "")
    assert thor("fetch", "-k", f"{site.url}/a.txt") == (0, b"hello\n", "")


def test_certificate_that_is_not_believed(site: Running, files: Files) -> None:
    where = f"127.0.0.1 port {site.port}: the peer's certificate has an unknown issuer"
    for args in ((), ("--cacert", files.stranger)):
        result = here("fetch", *args, f"{site.url}/a.txt")
        complains(result, 1, f"Certificate was not accepted: {where}")
        assert "--cacert" in result.err


def test_certificate_for_another_name(files: Files) -> None:
    certified = ("--certificate", files.other, "--key", files.other_key)
    with running("serve", str(files.folder), *ANYWHERE, *certified) as server:
        result = here("fetch", "--cacert", files.ca, f"{server.url}/")
    complains(result, 1, "the peer's certificate is for another")
    assert "--cacert" not in result.err  # which would be no remedy


def test_tls_where_there_is_none(files: Files) -> None:
    with running("serve", str(files.folder), *ANYWHERE) as server:
        result = here("fetch", f"https://127.0.0.1:{server.port}/")
    complains(result, 1, "TLS failed: ")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["--certificate", "/no/x"], "cannot use /no/x: No such file", id="missing"),
        pytest.param(["--certificate", "/"], "cannot use /: Is a directory", id="folder"),
        pytest.param(["--certificate", "{ca}"], "cannot use {ca}: not a certificate", id="no-key"),
        pytest.param(
            ["--certificate", "{ca}", "--key", "{key}"],
            "cannot use {ca} and {key}: key values mismatch",
            id="other-key",
        ),
        pytest.param(
            ["--certificate", "{certificate}", "--key", "{ca}"],
            "cannot use {certificate} and {ca}: not a certificate and its key",
            id="no-key-file",
        ),
        pytest.param(
            ["--certificate", "{client}", "--client-ca", "{key}"],
            "cannot use {key}: no certificates in PEM",
            id="client-ca",
        ),
    ],
)
@pytest.mark.parametrize("command", ["serve", "proxy"])
def test_certificates_that_cannot_be_used(
    files: Files, command: str, args: list[str], says: str
) -> None:
    what = ["serve", str(files.folder)] if command == "serve" else ["proxy", "--to", "unix:/x"]
    given = [arg.format(**files._asdict()) for arg in args]
    complains(here(*what, *ANYWHERE, *given), 1, says.format(**files._asdict()))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["--cacert", "/no/x"], "cannot use /no/x: No such file", id="ca"),
        pytest.param(["--cert", "/no/x"], "cannot use /no/x: No such file", id="certificate"),
        pytest.param(
            ["--cacert", "{ca}", "--cert", "{client}", "--key", "{key}"],
            "cannot use {client} and {key}: key values mismatch",
            id="other-key",
        ),
    ],
)
def test_certificates_that_a_client_cannot_use(files: Files, args: list[str], says: str) -> None:
    given = [arg.format(**files._asdict()) for arg in args]
    result = here("fetch", *given, "https://127.0.0.1:9/")
    complains(result, 1, says.format(**files._asdict()))


def test_client_shows_its_certificate(files: Files) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files.certificate, files.key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        pid = os.fork()
        if not pid:
            _answer_twice(server, context)
        try:
            result = thor("fetch", "--cacert", files.ca, url)
            assert result.code == 1
            assert "certificate" in result.err
            shown = thor("fetch", "--cacert", files.ca, "--cert", files.client, url)
            assert shown == (0, b"ok\n", "")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _answer_twice(server: socket.socket, context: ssl.SSLContext) -> None:
    """A server in a process of its own."""
    for _ in range(2):
        conn, _ = server.accept()
        try:
            with context.wrap_socket(conn, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
        except OSError:
            pass
    signal.pause()
    os._exit(0)


def test_server_refuses_clients_that_show_no_certificate(files: Files) -> None:
    given = ("--certificate", files.certificate, "--key", files.key, "--client-ca", files.ca)
    with running("serve", str(files.folder / "www"), *ANYWHERE, *given) as server:
        url = f"{server.url}/a.txt"
        asked = ("fetch", "--cacert", files.ca)
        assert thor(*asked, "--cert", files.client, url) == (0, b"hello\n", "")
        complains(here(*asked, url), 1, "TLS failed: the peer requires a certificate of this side")


# -- the proxy ------------------------------------------------------------------------------------


def test_tls_on_both_sides_of_a_proxy(site: Running, files: Files) -> None:
    certified = ("--certificate", files.certificate, "--key", files.key)
    with running(
        "proxy", "--to", site.url, "--origin-ca", files.ca, *ANYWHERE, *certified
    ) as proxy:
        assert proxy.said == f"thor: forwarding {proxy.url}/ to {site.url}\n"
        assert thor("fetch", "--cacert", files.ca, f"{proxy.url}/a.txt").out == b"hello\n"
        proxy.signal(signal.SIGTERM)
        assert proxy.end() == (0, b"", "")


@pytest.mark.parametrize("args", [(), ("--origin-ca", "{stranger}")], ids=["system", "other"])
def test_origin_whose_certificate_is_not_believed_is_a_502(
    site: Running, files: Files, args: tuple[str, ...]
) -> None:
    given = [arg.format(**files._asdict()) for arg in args]
    with running("proxy", "--to", site.url, *given, *ANYWHERE) as proxy:
        result = thor("fetch", "-i", f"{proxy.url}/a.txt")
    assert result.out.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"error=tls_certificate_error" in result.out


def test_origin_may_be_believed_whatever_it_shows(site: Running) -> None:
    with running("proxy", "--to", site.url, "--origin-insecure", *ANYWHERE) as proxy:
        assert thor("fetch", f"{proxy.url}/a.txt").out == b"hello\n"


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--origin-ca", "/no/x"], 1, "cannot use /no/x: No such file"),
        (["--origin-ca", "x", "--origin-insecure"], 2, "exclude each other"),
        (["--socket-mode", "660"], 2, "--socket-mode is for --listen unix:PATH"),
        (["--key", "x"], 2, "--key goes with --certificate"),
        (["--client-ca", "x"], 2, "--client-ca goes with --certificate"),
        (["--proxy-protocol", "x"], 2, "'x' is no network"),
        (["--listen", "unix:"], 2, "is not unix:PATH"),
    ],
)
def test_wrong_use(args: list[str], code: int, says: str) -> None:
    complains(here("proxy", "--to", "unix:/run/x", *args), code, says)


# -- Unix sockets ---------------------------------------------------------------------------------


def test_unix_sockets_all_the_way(files: Files, tmp_path: Path) -> None:
    near, far = str(tmp_path / "near"), str(tmp_path / "far")
    www = str(files.folder / "www")
    mode = ("--socket-mode", "600")
    with (
        running("serve", www, "--listen", f"unix:{far}", *mode) as server,
        running("proxy", "--to", f"unix:{far}", "--listen", f"unix:{near}") as proxy,
    ):
        assert server.said == f"thor: serving {www} on unix:{far}\n"
        assert proxy.said == f"thor: forwarding unix:{near} to unix:{far}\n"
        assert stat.S_IMODE(os.stat(far).st_mode) == 0o600
        url = f"http+unix://{encoded(near)}/a.txt"
        assert thor("fetch", url) == (0, b"hello\n", "")
        assert thor("fetch", "--unix-socket", near, "http://site.example/a.txt").out == b"hello\n"
        proxy.signal(signal.SIGTERM)
        assert proxy.end() == (0, b"", "")
        assert not os.path.exists(near)
        complains(here("fetch", url), 1, f"unix:{near}: No such file or directory")


def test_redirects_behind_a_unix_socket_stay_there(tmp_path: Path) -> None:
    (tmp_path / "www" / "b").mkdir(parents=True)
    (tmp_path / "www" / "b" / "index.html").write_text("index\n")
    with running("serve", str(tmp_path / "www"), "--listen", f"unix:{tmp_path}/socket"):
        url = f"http+unix://{encoded(str(tmp_path))}%2Fsocket/b"
        assert thor("fetch", "-L", url) == (0, b"index\n", "")


def test_tls_on_a_unix_socket(files: Files, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    certified = ("--certificate", files.certificate, "--key", files.key)
    www = str(files.folder / "www")
    with running("serve", www, "--listen", f"unix:{path}", *certified):
        url = f"https+unix://{encoded(path)}/a.txt"
        assert thor("fetch", "--cacert", files.ca, url).out == b"hello\n"
        complains(here("fetch", url), 1, "unknown issuer")


def test_several_places_at_once(files: Files, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    both = ("--listen", f"unix:{path}", *ANYWHERE)
    with running("serve", str(files.folder / "www"), *both) as server:
        assert thor("fetch", f"{server.url}/a.txt").out == b"hello\n"
        assert thor("fetch", "--unix-socket", path, "http://x/a.txt").out == b"hello\n"
        server.signal(signal.SIGTERM)
        assert server.end() == (0, b"", "")


def test_socket_that_somebody_listens_on(files: Files, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with running("serve", str(files.folder), "--listen", f"unix:{path}"):
        result = here("serve", str(files.folder), "--listen", f"unix:{path}")
    complains(result, 1, f"cannot listen on unix:{path}: Address already in use")


# -- PROXY headers, inherited sockets -------------------------------------------------------------


def test_client_s_address_is_that_of_the_proxy_header(files: Files) -> None:
    trust = ("--proxy-protocol", "127.0.0.0/8")
    to = ("--to", "unix:/nowhere/x", "--access-log")
    with running("proxy", *to, *trust, *ANYWHERE) as proxy:
        with socket.create_connection((proxy.host, proxy.port), 10) as sock:
            sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\nGET / HTTP/1.0\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 502 ")
        with socket.create_connection((proxy.host, proxy.port), 10) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                sock.recv(65536)
        proxy.signal(signal.SIGTERM)
        code, out, _ = proxy.end()
    assert code == 0
    (line,) = out.decode().splitlines()
    assert line.startswith("192.0.2.7 - - ")


_MANAGER = """
import os, sys
os.dup2({fd}, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[1], sys.argv[1:])
"""


def passed(sock: socket.socket) -> dict[str, Any]:
    """What starts a command as a service manager would, with a socket."""
    return {
        "before": (sys.executable, "-c", _MANAGER.format(fd=sock.fileno())),
        "pass_fds": (sock.fileno(),),
    }


def test_socket_that_was_passed_is_listened_on(files: Files) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        www = str(files.folder / "www")
        with running("serve", www, **passed(sock)) as server:
            assert server.url == f"http://127.0.0.1:{port}"
            assert thor("fetch", f"{server.url}/a.txt").out == b"hello\n"
            server.signal(signal.SIGTERM)
            assert server.end() == (0, b"", "")
        # It is still the manager's.
        socket.create_connection(("127.0.0.1", port), 10).close()


def test_place_that_is_named_is_preferred_to_what_was_passed(files: Files) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with running("serve", str(files.folder), *ANYWHERE, **passed(sock)) as server:
            assert server.port != port


# -- through a proxy ------------------------------------------------------------------------------


def test_fetch_through_a_proxy(files: Files) -> None:
    """`thor proxy` refuses tunnels; absolute form it takes."""
    with (
        running("serve", str(files.folder / "www"), *ANYWHERE) as server,
        running("proxy", "--to", server.url, *ANYWHERE) as proxy,
    ):
        args = ("fetch", "-x", proxy.url)
        assert thor(*args, "http://site.example/a.txt") == (0, b"hello\n", "")
        result = here(*args, "https://site.example/a.txt")
    says = f"proxy 127.0.0.1 port {proxy.port}: it answered 405 'Method Not Allowed'"
    complains(result, 1, f"Proxy did not open a tunnel: {says}")
