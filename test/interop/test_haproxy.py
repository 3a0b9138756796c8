"""HAProxy in front of Thor, and the PROXY protocol (version 1 and 2) in both directions."""

from __future__ import annotations

import csv
import io
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cli_support import Running, running
from interop_data import item, sha256
from interop_support import ANYWHERE, Served, curl, fields_of, haproxy, haproxy_sections, interop
from interop_thor import V4, V4_HEADER, V6, V6_HEADER, Certificates, proxy_header_answer
from tcp_support import PEER_LIMIT_S

from thor.loop import LoopBase
from thor.tcp import ProxyHeader, TcpConnection, TcpServer
from thor.tcp.proxy_tlvs import (
    CLIENT_CERT_CONN,
    CLIENT_CERT_SESS,
    CLIENT_SSL,
    CRC32C,
    UNIQUE_ID,
)
from thor.testing import Recorder
from thor_support import free_port, run_loop

pytestmark = interop

GREETING, QUESTION = b"hello from behind", b"hello from before"
UPLOAD = item("upload", 1_000_000)

# -- HTTP ----------------------------------------------------------------------------------------


def test_haproxy_in_front_of_the_proxy(node: Served, tmp_path: Path) -> None:
    with (
        running("proxy", "--to", node.url, "--trust", "127.0.0.1", *ANYWHERE) as proxy,
        haproxy(tmp_path, proxy.port, "option forwardfor") as front,
    ):
        said = curl("-T", "-", f"{front.url}/echo", data=UPLOAD).json
        assert said["sha256"] == sha256(UPLOAD)
        assert fields_of(said, "transfer-encoding") == ["chunked"]
        assert fields_of(said, "x-forwarded-for") == ["127.0.0.1, 127.0.0.1"]
        url = f"{front.url}/item/a?size=300000"
        reply = curl(url, f"{url}&chunked=1", url)
        assert (reply.code, reply.statuses, reply.made) == (0, [200] * 3, 1)
        assert reply.body == item("a", 300_000) * 3


def test_haproxy_checks_the_proxy_with_http_1_0(proxy: Running, tmp_path: Path) -> None:
    check = """
    option httpchk GET /hello HTTP/1.0
    http-check expect status 200
    timeout check 20s
    stats enable
    stats uri /stats"""
    with haproxy(tmp_path, proxy.port, check, "check inter 100ms") as front:
        seen: dict[str, str] = {}
        while seen.get("check_status", "INI").endswith("INI"):  # or "* INI": it is under way
            table = csv.DictReader(io.StringIO(curl(f"{front.url}/stats;csv").body.decode()))
            seen = next(row for row in table if row["svname"] == "thor")
    assert (seen["check_status"].removeprefix("* "), seen["check_code"]) == ("L7OK", "200")


# -- HAProxy sends PROXY headers -----------------------------------------------------------------


class Backend:
    """A server of Thor's behind HAProxy: it greets who comes, and echoes."""

    def __init__(self, loop: LoopBase, stack: ExitStack, folder: Path) -> None:
        self.loop, self.stack, self.folder = loop, stack, folder
        self.server = TcpServer("127.0.0.1", 0, loop, proxy_protocol=["127.0.0.0/8"])
        self.conns: list[TcpConnection] = []
        self.server.on("connect", self._connect)
        self.refused = Recorder(self.server, "proxy_refused")
        stack.callback(self.server.shutdown)

    def _connect(self, conn: TcpConnection) -> None:
        self.conns.append(conn)
        assert conn.local_address  # which is remembered: a health check ends at once
        conn.write(GREETING)
        conn.on("data", conn.write)
        conn.pause(False)

    def front(self, server: str, *binds: str, frontend: str = "") -> int:
        """Put HAProxy in front of it. Returns: its port"""
        port = free_port()
        lines = "\n".join(f"    bind {bind}" for bind in binds)
        sections = (
            f"frontend front\n    bind 127.0.0.1:{port}\n{lines}\n    {frontend}\n"
            "    default_backend back\n"
            f"backend back\n    server thor 127.0.0.1:{self.server.address[1]} {server}"
        )
        self.stack.enter_context(haproxy_sections(self.folder, sections, port, "tcp"))
        return port

    def find(self, matches: Callable[[TcpConnection], bool]) -> TcpConnection:
        """Return the connection that matches, when it is there."""
        run_loop(self.loop, lambda: any(map(matches, self.conns)))
        return next(filter(matches, self.conns))

    def talk(self, client: socket.socket) -> ProxyHeader:
        """Exchange greetings with the client that has this address. Returns: what HAProxy told"""
        client.settimeout(PEER_LIMIT_S)
        client.sendall(QUESTION)
        conn = self.find(lambda conn: conn.address == client.getsockname())
        assert conn.local_address == client.getpeername()
        run_loop(
            self.loop,
            lambda: conn.bytes_read == len(QUESTION) and not conn.write_buffer.size,
        )
        got = b""
        while len(got) < len(GREETING) + len(QUESTION):
            got += client.recv(1000)
        assert got == GREETING + QUESTION
        assert conn.proxy_header is not None
        return conn.proxy_header


@pytest.fixture
def backend(loop: LoopBase, tmp_path: Path) -> Iterator[Backend]:
    with ExitStack() as stack:
        yield Backend(loop, stack, tmp_path)
    loop.run_once()


@pytest.mark.parametrize(
    ("server", "version"),
    [
        pytest.param("send-proxy", 1, id="version 1"),
        pytest.param("send-proxy-v2", 2, id="version 2"),
    ],
)
def test_haproxy_tells_the_address_of_the_client(
    backend: Backend, tmp_path: Path, server: str, version: int
) -> None:
    port6 = free_port()
    port = backend.front(server, f"[::1]:{port6}", f"unix@{tmp_path}/front")
    for host, number, family in (
        ("127.0.0.1", port, socket.AF_INET),
        ("::1", port6, socket.AF_INET6),
    ):
        with socket.create_connection((host, number)) as client:
            header = backend.talk(client)
        assert (header.version, header.command, header.tlvs) == (version, "PROXY", ())
        assert header.family == family
    with socket.socket(socket.AF_UNIX) as client:  # which has no address to tell
        client.settimeout(PEER_LIMIT_S)
        client.connect(f"{tmp_path}/front")
        conn = backend.find(lambda conn: getattr(conn.proxy_header, "source", 1) is None)
        backend.loop.run_once()
        assert client.recv(100) == GREETING
        assert conn.address == conn.socket.getpeername()
    assert backend.refused.take() == []


@pytest.mark.parametrize("certified", [False, True], ids=["no certificate", "a certificate"])
def test_haproxy_tells_of_the_tls_of_the_client(
    backend: Backend, certificates: Certificates, certified: bool
) -> None:
    port = free_port()
    backend.front(
        "send-proxy-v2-ssl-cn proxy-v2-options "
        "ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id",
        f"127.0.0.1:{port} ssl crt {certificates.both} alpn h2,http/1.1 "
        f"ca-file {certificates.ca} verify optional",
        frontend="unique-id-format id-%[src]",
    )
    context = ssl.create_default_context(cafile=certificates.ca)
    context.set_alpn_protocols(["http/1.1"])
    if certified:
        context.load_cert_chain(certificates.client, certificates.client_key)
    raw = socket.create_connection(("127.0.0.1", port))
    with context.wrap_socket(raw, server_hostname="localhost") as client:
        header = backend.talk(client)
    assert (header.alpn, header.authority) == (b"http/1.1", "localhost")
    assert header.unique_id == b"id-127.0.0.1"
    assert {CRC32C, UNIQUE_ID} <= {kind for kind, _ in header.tlvs}
    facts = header.ssl
    assert facts is not None
    assert facts.version == "TLSv1.3"
    assert facts.cipher in [cipher["name"] for cipher in context.get_ciphers()]
    assert (facts.signature_algorithm, facts.key_algorithm) == ("ecdsa-with-SHA256", "EC256")
    presented = CLIENT_CERT_CONN | CLIENT_CERT_SESS
    assert facts.client == CLIENT_SSL | (presented if certified else 0)
    assert facts.verified is certified
    assert facts.common_name == ("a client" if certified else None)


def test_haproxy_health_check_is_local(backend: Backend) -> None:
    backend.front("send-proxy-v2 check-send-proxy check inter 50ms")
    local = backend.find(lambda conn: getattr(conn.proxy_header, "command", "") == "LOCAL")
    assert isinstance(local.address, tuple)
    assert local.address[0] == "127.0.0.1"
    assert local.local_address == backend.server.address


# -- HAProxy receives PROXY headers --------------------------------------------------------------

_TELLS = """\
frontend front
    bind 127.0.0.1:{port} accept-proxy
    http-request return status 200 content-type text/plain lf-string \
"%[src] %[src_port] %[dst] %[dst_port] [%[fc_pp_authority]] [%[fc_pp_unique_id]]"
"""


def test_haproxy_reads_proxy_headers(loop: LoopBase, tmp_path: Path) -> None:
    port = free_port()
    v4, v6 = "192.0.2.1 1024 198.51.100.2 80", "2001:db8::1 1024 2001:db8::2 443"
    with haproxy_sections(tmp_path, _TELLS.format(port=port), port, "http"):
        for header, told in (
            (V4_HEADER, f"{v4} [] []"),
            (ProxyHeader(*V6, version=1), f"{v6} [] []"),
            (ProxyHeader(*V4), f"{v4} [] []"),
            (V6_HEADER, f"{v6} [a.example] [7]"),
            (ProxyHeader(command="LOCAL"), "127.0.0.1 "),
            (ProxyHeader(version=1), "127.0.0.1 "),
        ):
            answer = proxy_header_answer(loop, port, header)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.partition(b"\r\n\r\n")[2].startswith(told.encode()), header
