"""`TlsServer` under `openssl s_client`, curl, Node, and nginx as a proxy in front of it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from interop_support import LIMIT_S, curl_argv, interop, nginx
from tls_support import NAME, authority, issued, meeting, only, stranger

import thor.loop
from thor.loop import LoopBase
from thor.tcp import TcpServer
from thor.tls import TlsConnection, accept_tls, server_context
from thor_support import need_program, run_loop

pytestmark = interop

VERSIONS = ["TLSv1.2", "TLSv1.3"]


class Speaking:
    """A server that answers each request with what it knows of the connection, as JSON."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        (folder / "ca.pem").write_bytes(authority().certificate)
        self.folder = folder
        self.client = issued("alice", client=True).write(folder, "alice")
        self.loop: LoopBase = thor.loop.make()
        self.loop.on_exception = "raise"
        self.settings = settings
        self.conns: list[TlsConnection] = []

    def __enter__(self) -> Speaking:
        others = [issued("a.test"), issued("*.b.test")]
        context = server_context(*issued(NAME, "127.0.0.1"), certificates=others, **self.settings)
        self._meeting = meeting(self.loop, context=context)
        self.served = self._meeting.__enter__()
        self.port = self.served.port
        self.served.server.on("connect", self.serve)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._meeting.__exit__(*exc)
        self.loop.stop()

    def serve(self, conn: TlsConnection) -> None:
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

    def aside(self, work: Callable[[], Any]) -> Any:
        """What `work()` returns, which is done in a thread while we serve."""
        results: list[Any] = []
        self.loop.run_in_thread(work, then=lambda done, exc: results.append(exc or done))
        run_loop(self.loop, lambda: results, timeout_s=LIMIT_S + 5)
        if isinstance(results[0], BaseException):
            raise results[0]
        return results[0]

    def run(self, *argv: str) -> tuple[int, str]:
        """Run a program of others while we serve. Returns: its exit code, and what it said"""
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

    def s_client(self, *args: str, lines: Sequence[bytes] = (b"hello there",)) -> str:
        """What `openssl s_client` says, which sends one line after the other, and `bye`.

        lines: it sends the next one when this one was echoed, or obeyed
        """
        argv = [need_program("openssl"), "s_client", "-connect", f"127.0.0.1:{self.port}"]
        argv += ["-CAfile", str(self.folder / "ca.pem"), "-verify_return_error"]
        if "-noservername" not in args and "-servername" not in args:
            argv += ["-servername", NAME]
        return str(self.aside(lambda: converse([*argv, *args], lines)))

    def curl(self, *args: str, name: str = NAME) -> list[dict[str, Any]]:
        """What curl is told by each answer."""
        place = ("--resolve", f"{name}:{self.port}:127.0.0.1")
        argv = curl_argv("--cacert", str(self.folder / "ca.pem"), *place, "-w", "\n", *args)
        code, said = self.run(*argv, f"https://{name}:{self.port}/")
        assert code == 0, (code, said)
        return [json.loads(line) for line in said.split("\n") if line]


#: What s_client says when it has done what a line of one letter asks for.
_OBEYED = {b"K": b"KEYUPDATE", b"k": b"KEYUPDATE", b"R": b"RENEGOTIATING"}


def converse(argv: Sequence[str], lines: Sequence[bytes]) -> str:
    """What a program says that is sent `lines`, one at a time, and then `bye`."""
    said = b""
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        limit = threading.Timer(LIMIT_S, process.kill)
        limit.start()
        try:
            for line in lines:
                process.stdin.write(line + b"\n")
                process.stdin.flush()
                awaited, start = _OBEYED.get(line, b"echo of " + line), len(said)
                while awaited not in said[start:]:
                    piece = os.read(process.stdout.fileno(), 1 << 16)
                    if not piece:
                        return said.decode("latin-1")
                    said += piece
            process.stdin.write(b"bye\n")
            process.stdin.flush()
            said += process.stdout.read()
        finally:
            limit.cancel()
            process.kill()
    return said.decode("latin-1")


@pytest.fixture
def speaking(tmp_path: Path) -> Iterator[Speaking]:
    with Speaking(tmp_path, alpn=["http/1.1", "x"]) as found:
        yield found


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Speaking]:
    """One that requires a certificate."""
    with Speaking(tmp_path, client_ca=authority().certificate) as found:
        yield found


def flag(version: str) -> str:
    return "-" + version.lower().replace("v", "").replace(".", "_")


# -- openssl s_client ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_s_client(speaking: Speaking, version: str) -> None:
    said = speaking.s_client(flag(version), "-alpn", "x")
    assert f"New, {version}" in said
    assert "ALPN protocol: x" in said
    assert "Verify return code: 0 (ok)" in said
    assert said.rstrip().endswith("closed")  # our close_notify


@pytest.mark.parametrize(
    ("args", "subject"),
    [
        pytest.param(("-servername", NAME), NAME, id="first"),
        pytest.param(("-servername", "a.test"), "a.test", id="exact"),
        pytest.param(("-servername", "any.b.test"), "*.b.test", id="wildcard"),
        pytest.param(("-noservername",), NAME, id="none"),
    ],
)
def test_s_client_gets_the_certificate_for_its_name(
    speaking: Speaking, args: tuple[str, ...], subject: str
) -> None:
    assert f"s:CN = {subject}\n" in speaking.s_client(*args)


@pytest.mark.parametrize("version", VERSIONS)
def test_s_client_resumes(speaking: Speaking, version: str) -> None:
    kept = str(speaking.folder / "session")
    assert f"New, {version}" in speaking.s_client(flag(version), "-sess_out", kept)
    assert f"Reused, {version}" in speaking.s_client(flag(version), "-sess_in", kept)
    assert [conn.session_reused for conn in speaking.conns] == [False, True]


@pytest.mark.parametrize("version", VERSIONS)
def test_s_client_shows_a_certificate(strict: Speaking, version: str) -> None:
    certificate, key = strict.client
    strict.s_client(flag(version), "-cert", certificate, "-key", key)
    shown = ssl.PEM_cert_to_DER_cert(Path(certificate).read_text())
    assert [conn.peer_certificate for conn in strict.conns] == [shown]


def test_s_client_without_a_certificate_gets_the_alert(strict: Speaking) -> None:
    place = ("-connect", f"127.0.0.1:{strict.port}")
    code, said = strict.run(need_program("openssl"), "s_client", *place, "-tls1_2")
    assert code == 1
    assert "alert handshake failure" in said
    assert "did not return a certificate" in str(strict.served.refusal())


@pytest.mark.parametrize("command", [b"K", b"k"], ids=["that-asks", "that-does-not"])
def test_s_client_updates_its_keys(speaking: Speaking, command: bytes) -> None:
    lines = [b"one", command, b"two", command, b"three"]
    assert speaking.s_client("-tls1_3", lines=lines).count("KEYUPDATE") == 2
    assert speaking.conns[0].error is None


def test_s_client_is_refused_another_hand_shake(speaking: Speaking) -> None:
    """A renegotiation, which TLS 1.3 has not any more."""
    said = speaking.s_client("-tls1_2", lines=[b"one", b"R", b"two"])
    assert "no renegotiation" in said
    assert "echo of two" not in said


def test_s_client_begins_plain(tmp_path: Path) -> None:
    """STARTTLS, as a mail server has it."""
    with Speaking(tmp_path) as speaking:
        server = TcpServer("127.0.0.1", 0, speaking.loop)

        def greet(conn: Any) -> None:
            def hear(data: bytes) -> None:
                if data.startswith(b"EHLO"):
                    conn.write(b"250-localhost\r\n250 STARTTLS\r\n")
                elif data.startswith(b"STARTTLS"):
                    conn.write(b"220 go ahead\r\n")
                    accept_tls(conn, speaking.served.server.context).on("connect", speaking.serve)

            conn.on("data", hear)
            conn.write(b"220 localhost ESMTP\r\n")
            conn.pause(False)

        server.on("connect", greet)
        speaking.port = server.address[1]
        assert "echo of hello there" in speaking.s_client("-starttls", "smtp")
        server.shutdown()


# -- curl ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_curl(speaking: Speaking, version: str) -> None:
    number = version.removeprefix("TLSv")
    [told] = speaking.curl(f"--tlsv{number}", "--tls-max", number)
    assert told == {
        "version": version,
        "alpn": "http/1.1",
        "name": NAME,
        "reused": False,
        "client": False,
    }


def test_curl_gets_the_certificate_for_its_name(speaking: Speaking) -> None:
    for name in ("a.test", "any.b.test"):
        [told] = speaking.curl(name=name)
        assert told["name"] == name


def test_curl_refuses_a_stranger(speaking: Speaking) -> None:
    (speaking.folder / "ca.pem").write_bytes(stranger().certificate)
    argv = curl_argv("--cacert", str(speaking.folder / "ca.pem"))
    code, _ = speaking.run(*argv, f"https://127.0.0.1:{speaking.port}/")
    assert code == 60
    assert "unknown ca" in str(speaking.served.refusal())


@pytest.mark.parametrize("version", VERSIONS)
def test_curl_shows_a_certificate(strict: Speaking, version: str) -> None:
    number = version.removeprefix("TLSv")
    certificate, key = strict.client
    shown = ("--cert", certificate, "--key", key)
    [told] = strict.curl(*shown, f"--tlsv{number}", "--tls-max", number)
    assert (told["client"], told["version"]) == (True, version)


# -- Node ----------------------------------------------------------------------------------------

#: Connects twice, the second time with the session of the first; prints what it is told.
NODE_CLIENT = """
const tls = require('tls'), fs = require('fs');
const [port, folder, version, certificate] = process.argv.slice(1);
const options = {
  port, host: '127.0.0.1', servername: 'localhost', ALPNProtocols: ['h2', 'x'],
  ca: fs.readFileSync(`${folder}/ca.pem`), minVersion: version, maxVersion: version,
};
if (certificate) {
  options.cert = fs.readFileSync(`${folder}/alice.pem`);
  options.key = fs.readFileSync(`${folder}/alice.key`);
}
function talk(session, then) {
  let kept, said = '';
  const socket = tls.connect({ ...options, session }, () => {
    socket.write('GET / HTTP/1.1\\r\\n\\r\\n');
  });
  socket.on('session', (session) => { kept = session; });
  socket.on('data', (data) => {
    said += data;
    if (!said.endsWith('}')) return;
    console.log(said.split('\\r\\n\\r\\n')[1]);
    socket.end();
  });
  socket.on('end', () => console.log(JSON.stringify({
    authorized: socket.authorized, alpn: socket.alpnProtocol, protocol: socket.getProtocol(),
    reused: socket.isSessionReused() })));
  socket.on('close', () => then(kept));
}
talk(undefined, (session) => talk(session, () => {}));
"""


@pytest.mark.parametrize("certificate", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
def test_node(tmp_path: Path, version: str, certificate: bool) -> None:
    settings = {"client_ca": authority().certificate} if certificate else {}
    with Speaking(tmp_path, alpn=["x"], **settings) as speaking:
        code, said = speaking.run(
            need_program("node"), "-e", NODE_CLIENT, str(speaking.port), str(tmp_path), version,
            *(["yes"] if certificate else []),
        )  # fmt: skip
        assert code == 0, said
        told = [json.loads(line) for line in said.splitlines()]
    for ours, theirs, reused in ((told[0], told[1], False), (told[2], told[3], True)):
        assert ours["version"] == theirs["protocol"] == version
        assert ours["alpn"] == theirs["alpn"] == "x"
        assert ours["client"] is certificate
        assert ours["reused"] is theirs["reused"] is reused
        assert theirs["authorized"] is True


# -- nginx in front ------------------------------------------------------------------------------

_PROXYING = """
    location / {{
        proxy_pass https://127.0.0.1:{port};
        proxy_ssl_protocols {version};
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate {folder}/ca.pem;
        proxy_ssl_name a.test;
        proxy_ssl_server_name on;
        proxy_ssl_certificate {folder}/alice.pem;
        proxy_ssl_certificate_key {folder}/alice.key;
        proxy_ssl_session_reuse on;
        proxy_http_version 1.1;
        proxy_set_header Connection close;
    }}
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_nginx_proxies_to_us(tmp_path: Path, version: str) -> None:
    with Speaking(tmp_path, client_ca=authority().certificate, **only(version)) as speaking:
        conf = _PROXYING.format(port=speaking.port, version=version, folder=tmp_path)

        def ask() -> list[dict[str, Any]]:
            found = []
            with nginx(tmp_path, conf) as proxy:
                for _ in range(3):
                    done = subprocess.run(
                        curl_argv(proxy.url), capture_output=True, timeout=LIMIT_S, check=True
                    )
                    found.append(json.loads(done.stdout))
            return found

        told = speaking.aside(ask)
    assert [each["reused"] for each in told] == [False, True, True]
    for each in told:
        assert (each["version"], each["name"], each["client"]) == (version, "a.test", True)
