"""The PROXY protocol with HAProxy as sender and as receiver, nginx as receiver, curl as sender."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from interop_support import curl_argv, interop, nginx
from tcp_support import PEER_LIMIT_S, read_all

from thor.loop import LoopBase
from thor.tcp import ProxyHeader, TcpClient, TcpConnection, TcpServer
from thor.tcp.proxy_tlvs import (
    AUTHORITY,
    CLIENT_CERT_CONN,
    CLIENT_CERT_SESS,
    CLIENT_SSL,
    CRC32C,
    NETNS,
    NOOP,
    PP2_TYPE_ALPN,
    SSL,
    UNIQUE_ID,
    ProxySsl,
)
from thor.testing import Recorder
from thor.tls import TlsConnection, TlsServer, server_context
from thor_support import free_port, need_program, run_loop, running_program

pytestmark = interop

GREETING = b"hello from behind"
REQUEST = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"

_HAPROXY = """\
global
    log stderr format raw local0 err
defaults
    mode {mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
{sections}
"""


@contextmanager
def haproxy(folder: Path, sections: str, port: int, mode: str = "tcp") -> Iterator[None]:
    """HAProxy with these sections, one of which listens on `port` of 127.0.0.1."""
    conf = folder / "haproxy.cfg"
    conf.write_text(_HAPROXY.format(mode=mode, sections=sections))
    argv = [need_program("haproxy"), "-db", "-q", "-f", str(conf)]
    with running_program(argv, port=port):
        yield


class Behind:
    """A server of Thor's behind a proxy: it greets who comes, and echoes."""

    def __init__(self, loop: LoopBase, stack: ExitStack) -> None:
        self.loop = loop
        self.stack = stack
        self.server = TcpServer("127.0.0.1", 0, loop, proxy_protocol=["127.0.0.0/8"])
        self.conns: list[TcpConnection] = []
        self.server.on("connect", self._connect)
        self.refused = Recorder(self.server, "proxy_refused")
        stack.callback(self.server.shutdown)

    def _connect(self, conn: TcpConnection) -> None:
        self.conns.append(conn)
        assert conn.local_address  # as long as there is one to ask for
        conn.write(GREETING)
        conn.on("data", conn.write)
        conn.pause(False)

    def front(self, folder: Path, server: str, *binds: str, frontend: str = "") -> int:
        """HAProxy in front of it. Returns: its port"""
        port = free_port()
        lines = "\n".join(f"    bind {bind}" for bind in binds)
        self.stack.enter_context(
            haproxy(
                folder,
                f"frontend front\n    bind 127.0.0.1:{port}\n{lines}\n    {frontend}\n"
                "    default_backend back\n"
                f"backend back\n    server thor 127.0.0.1:{self.server.address[1]} {server}",
                port,
            )
        )
        return port

    def find(self, matches: Callable[[TcpConnection], bool]) -> TcpConnection:
        """The connection that matches, when it is there."""
        run_loop(self.loop, lambda: any(map(matches, self.conns)))
        return next(filter(matches, self.conns))

    def talk(self, client: socket.socket) -> TcpConnection:
        """The connection that has the client's address; they greet each other."""
        client.settimeout(PEER_LIMIT_S)
        client.sendall(b"hello from before")
        conn = self.find(lambda conn: conn.address == client.getsockname())
        assert conn.local_address == client.getpeername()
        want = len(b"hello from before")
        run_loop(self.loop, lambda: conn.bytes_read == want and not conn.write_buffer.size)
        got = b""
        while len(got) < len(GREETING) + want:
            got += client.recv(1000)
        assert got == GREETING + b"hello from before"
        return conn


@pytest.fixture
def behind(loop: LoopBase) -> Iterator[Behind]:
    with ExitStack() as stack:
        yield Behind(loop, stack)
    loop.run_once()


# -- HAProxy sends -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "version"),
    [
        pytest.param("send-proxy", 1, id="version 1"),
        pytest.param("send-proxy-v2", 2, id="version 2"),
    ],
)
def test_haproxy_tells_the_clients_address(
    behind: Behind, tmp_path: Path, server: str, version: int
) -> None:
    port6 = free_port()
    port = behind.front(tmp_path, server, f"[::1]:{port6}")
    for host, number, family in (("127.0.0.1", port, "4"), ("::1", port6, "6")):
        with socket.create_connection((host, number)) as client:
            conn = behind.talk(client)
        header = conn.proxy_header
        assert header is not None
        assert (header.version, header.command, header.tlvs) == (version, "PROXY", ())
        assert header.family == (socket.AF_INET6 if family == "6" else socket.AF_INET)
    assert behind.refused.take() == []


def test_haproxy_sends_tlvs_and_a_checksum(behind: Behind, tmp_path: Path) -> None:
    port = behind.front(
        tmp_path,
        "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority",
        frontend="unique-id-format id-%[src]-%[dst_port]",
    )
    with socket.create_connection(("127.0.0.1", port)) as client:
        header = behind.talk(client).proxy_header
    assert header is not None
    assert header.unique_id == f"id-127.0.0.1-{port}".encode()
    assert [kind for kind, _ in header.tlvs] == [CRC32C, UNIQUE_ID]


@pytest.mark.parametrize("certified", [False, True], ids=["no certificate", "a certificate"])
def test_haproxy_tells_of_the_clients_tls(behind: Behind, tmp_path: Path, certified: bool) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("a.example").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "server.pem"
    )
    port = free_port()
    behind.front(
        tmp_path,
        "send-proxy-v2-ssl-cn proxy-v2-options "
        "ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id",
        f"127.0.0.1:{port} ssl crt {tmp_path}/server.pem alpn h2,http/1.1 "
        f"ca-file {tmp_path}/ca.pem verify optional",
        frontend="unique-id-format %[rand(1000000)]",
    )
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    context.set_alpn_protocols(["http/1.1"])
    if certified:
        authority.issue_cert("client@a.example", common_name="Jos\u00e9").configure_cert(context)
    raw = socket.create_connection(("127.0.0.1", port))
    with context.wrap_socket(raw, server_hostname="a.example") as client:
        header = behind.talk(client).proxy_header
    assert header is not None
    facts = header.ssl
    assert facts is not None
    assert header.alpn == b"http/1.1"
    assert header.authority == "a.example"
    assert (facts.version, facts.cipher) == ("TLSv1.3", client_cipher(context, facts))
    assert (facts.signature_algorithm, facts.key_algorithm) == ("ecdsa-with-SHA256", "EC256")
    presented = CLIENT_CERT_CONN | CLIENT_CERT_SESS
    assert facts.client == CLIENT_SSL | (presented if certified else 0)
    assert facts.verified is certified
    assert facts.common_name == ("Jos\u00e9" if certified else None)


def client_cipher(context: ssl.SSLContext, facts: ProxySsl) -> str:
    """The name of the cipher that is told, if the client offers it."""
    [name] = [c["name"] for c in context.get_ciphers() if c["name"] == facts.cipher]
    return str(name)


def test_a_health_check_of_haproxys_is_local(behind: Behind, tmp_path: Path) -> None:
    behind.front(tmp_path, "send-proxy-v2 check-send-proxy check inter 50ms")
    local = behind.find(lambda conn: getattr(conn.proxy_header, "command", "") == "LOCAL")
    assert isinstance(local.address, tuple)
    assert local.address[0] == "127.0.0.1"
    assert local.local_address == behind.server.address


@pytest.mark.parametrize("server", ["send-proxy", "send-proxy-v2"])
def test_haproxy_has_no_addresses_for_a_unix_socket(
    behind: Behind, tmp_path: Path, server: str
) -> None:
    behind.front(tmp_path, server, f"unix@{tmp_path}/front")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PEER_LIMIT_S)
        client.connect(f"{tmp_path}/front")
        conn = behind.find(lambda conn: getattr(conn.proxy_header, "source", 1) is None)
        behind.loop.run_once()
        assert client.recv(100) == GREETING
        assert conn.address == conn.socket.getpeername()


def test_without_a_header_of_haproxys_nothing_reaches_the_program(
    behind: Behind, tmp_path: Path, expected_logs: Any
) -> None:
    port = behind.front(tmp_path, "")
    with socket.create_connection(("127.0.0.1", port), PEER_LIMIT_S) as client:
        client.sendall(REQUEST)
        run_loop(behind.loop, lambda: any("begin" in e[2] for e in behind.refused.events))
        assert read_all(client) == b""
    assert behind.conns == []


# -- HAProxy receives ----------------------------------------------------------------------------

_TELLS = """\
frontend front
    bind 127.0.0.1:{port} accept-proxy
    http-request return status 200 content-type text/plain lf-string \
"%[src] %[src_port] %[dst] %[dst_port] [%[fc_pp_authority]] [%[fc_pp_unique_id]]"
"""


def ask(loop: LoopBase, port: int, header: ProxyHeader) -> bytes:
    """What a server answers to a request behind a header; empty if it closes."""
    client = TcpClient(loop)
    client.proxy_header = header
    heard = Recorder(client, "connect", "connect_error")
    client.connect("127.0.0.1", port)
    run_loop(loop, lambda: heard.events)
    [(event, conn)] = heard.take()
    assert event == "connect"
    said = Recorder(conn, "data", "disconnect")
    conn.write(REQUEST)
    conn.pause(False)
    run_loop(loop, lambda: ("disconnect",) in said.events)
    return b"".join(event[1] for event in said.take() if event[0] == "data")


V4 = (("192.0.2.1", 1024), ("198.51.100.2", 80))
V6 = (("2001:db8::1", 1024), ("2001:db8::2", 443))
TLVS = [
    (PP2_TYPE_ALPN, b"h2"),
    (NOOP, bytes(5)),
    (AUTHORITY, b"a.example"),
    (CRC32C, bytes(4)),
    (UNIQUE_ID, b"7"),
    (SSL, ProxySsl(CLIENT_SSL, 1, version="TLSv1.3").to_bytes()),
    (NETNS, b"blue"),
    (0xE0, b"own"),
]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        pytest.param(ProxyHeader(*V4, version=1), "192.0.2.1 1024 198.51.100.2 80 [] []", id="v1"),
        pytest.param(
            ProxyHeader(*V6, version=1), "2001:db8::1 1024 2001:db8::2 443 [] []", id="v1, IPv6"
        ),
        pytest.param(ProxyHeader(*V4), "192.0.2.1 1024 198.51.100.2 80 [] []", id="v2"),
        pytest.param(ProxyHeader(*V6), "2001:db8::1 1024 2001:db8::2 443 [] []", id="v2, IPv6"),
        pytest.param(
            ProxyHeader(*V4, tlvs=TLVS),
            "192.0.2.1 1024 198.51.100.2 80 [a.example] [7]",
            id="v2 with TLVs",
        ),
        pytest.param(ProxyHeader(command="LOCAL"), "127.0.0.1 ", id="LOCAL"),
        pytest.param(ProxyHeader(version=1), "127.0.0.1 ", id="UNKNOWN"),
    ],
)
def test_haproxy_understands(
    loop: LoopBase, tmp_path: Path, header: ProxyHeader, told: str
) -> None:
    port = free_port()
    with haproxy(tmp_path, _TELLS.format(port=port), port, "http"):
        answer = ask(loop, port, header)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.partition(b"\r\n\r\n")[2].startswith(told.encode())


@pytest.mark.parametrize(
    ("header", "told"),
    [
        pytest.param(ProxyHeader(*V4, version=1), b"192.0.2.1 1024", id="v1"),
        pytest.param(ProxyHeader(*V6, tlvs=TLVS), b"2001:db8::1 1024", id="v2 with TLVs"),
    ],
)
def test_nginx_understands(
    loop: LoopBase, tmp_path: Path, header: ProxyHeader, told: bytes
) -> None:
    port = free_port()
    says = 'return 200 "$proxy_protocol_addr $proxy_protocol_port";'
    with nginx(tmp_path, f"{says} }} server {{ listen 127.0.0.1:{port} proxy_protocol; {says}"):
        answer = ask(loop, port, header)
    assert answer.partition(b"\r\n\r\n")[2] == told


# -- curl sends ----------------------------------------------------------------------------------


def fetch_with_curl(loop: LoopBase, server: TcpServer, url: str, *args: str) -> TcpConnection:
    """Have curl send a header and a request to a server, which answers. Returns: its connection"""
    conns: list[TcpConnection] = []

    def answer(conn: TcpConnection) -> None:
        conns.append(conn)
        assert conn.address == conn.socket.getpeername()
        conn.on("data", lambda data: (conn.write(b"HTTP/1.0 200 OK\r\n\r\nfine"), conn.close()))
        conn.pause(False)

    server.on("connect", answer)
    argv = curl_argv("--haproxy-protocol", *args, url)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            run_loop(loop, lambda: conns and not server.active_connections)
            out, _ = process.communicate(timeout=PEER_LIMIT_S)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, b"fine")
    server.shutdown()
    loop.run_once()
    [conn] = conns
    return conn


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_curl_sends_a_header(loop: LoopBase, host: str) -> None:
    server = TcpServer(host, 0, loop, proxy_protocol=[host])
    name = f"[{host}]" if ":" in host else host
    conn = fetch_with_curl(loop, server, f"http://{name}:{server.address[1]}/")
    assert conn.proxy_header is not None
    assert conn.proxy_header.version == 1


def test_curl_sends_a_header_and_tls_begins_after_it(loop: LoopBase, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = [str(tmp_path / name) for name in ("cert.pem", "key.pem")]
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(files[0])
    issued.private_key_pem.write_to_path(files[1])
    context = server_context(*files)
    server = TlsServer("127.0.0.1", 0, loop, context=context, proxy_protocol=["127.0.0.1"])
    url = f"https://127.0.0.1:{server.address[1]}/"
    conn = fetch_with_curl(loop, server, url, "--cacert", str(tmp_path / "ca.pem"))
    assert conn.proxy_header is not None
    assert isinstance(conn, TlsConnection)
