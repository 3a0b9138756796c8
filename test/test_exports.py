"""The public names: which there are, that each is reachable, and what importing Thor leaves out."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import thor

#: The names that each package exports by its `__all__`.
EXPORTS = {
    "thor": """
        EventEmitter HttpClient HttpServer TcpClient TcpConnection TcpServer TlsClient TlsServer
        UdpEndpoint __version__ dns events files http join loop native on proxy relay run schedule
        stop tcp testing time tls types udp workers
    """,
    "thor.files": "StaticFiles",
    "thor.http": """
        Fetch HttpClient HttpClientExchange HttpServer HttpServerConnection HttpServerExchange
        Response client common error get_header header_dict header_names headers relay server uri
        wire
    """,
    "thor.loop": """
        EventLoop EventSource LoopBase ScheduledEvent backends make run schedule stop time
    """,
    "thor.proxy": "Endpoint Flow ReverseProxy Upstream",
    "thor.tcp": """
        AddressRefused ListenSocket ListeningSlots ProxyHeader ProxyHeaderError ProxySsl TcpClient
        TcpConnection TcpServer Tunnel WorkerSockets join listen_fds proxy_tlvs
    """,
    "thor.testing": """
        BUFFER_BYTES FIRST_FD ManualClock MemoryNetwork MemoryPoller MemorySocket Pair Peer
        Playbook Recorder advance connection_pair memory_loop settle
    """,
    "thor.tls": """
        Certified DevelopmentCA ServerContext TlsAcceptance TlsClient TlsConnection TlsServer
        accept_tls client_context reason_of self_signed server_context
    """,
    "thor.udp": "UdpEndpoint",
}
#: Packages whose names are imported when they are first used.
LAZY = ["thor", "thor.http", "thor.tcp"]

#: Modules that the statement must leave out, with all that is in them.
ABSENT = {
    "import thor": (
        "asyncio concurrent dataclasses email inspect logging multiprocessing socket ssl subprocess"
        " tempfile threading thor.dns thor.events thor.http thor.loop thor.tcp thor.tls thor.udp"
    ),
    "from thor import HttpServer": (
        "asyncio concurrent dataclasses email inspect subprocess tempfile thor.http.client"
        " thor.tcp.proxy_protocol thor.udp"
    ),
    "from thor import HttpClient": (
        "asyncio concurrent dataclasses email inspect subprocess tempfile thor.http.server"
        " thor.tcp.proxy_protocol thor.udp"
    ),
}


def evaluate(expression: str, *, after: str) -> object:
    """What `expression` is after a statement, in a fresh process without the site's own imports."""
    root = Path(thor.__file__).parents[1]
    program = f"""
import sys
sys.path.insert(0, {str(root)!r})
{after}
value = {expression}
import json
print(json.dumps(value))
"""
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("package", EXPORTS)
def test_exports_of_each_package_are_the_names_listed(package: str) -> None:
    exported = importlib.import_module(package).__all__
    assert sorted(exported) == sorted(set(EXPORTS[package].split()))


def test_every_public_name_is_reachable_after_import_thor() -> None:
    names = [f"{package}.{name}" for package in EXPORTS for name in EXPORTS[package].split()]
    reached = evaluate(f"[name for name in {names} if eval(name) is not None]", after="import thor")
    assert reached == names


@pytest.mark.parametrize("package", LAZY)
def test_dir_lists_public_names_before_their_first_use(package: str) -> None:
    names = evaluate("dir(package)", after=f"import {package} as package")
    assert isinstance(names, list)
    assert set(EXPORTS[package].split()) <= set(names)


def test_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="module 'thor' has no attribute 'HttpServr'"):
        thor.HttpServr  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'HttpServr' from 'thor'"):
        from thor import HttpServr  # type: ignore[attr-defined]  # noqa: F401


def test_lazy_name_is_an_ordinary_attribute_after_its_first_use() -> None:
    found = evaluate(
        "[name in vars(thor) for name in ('run', 'stop')]", after="import thor; thor.run"
    )
    assert found == [True, False]


@pytest.mark.parametrize("package", LAZY)
def test_lazy_name_comes_from_where_type_checkers_are_told(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    declared = {
        alias.name: node.module
        for block in ast.walk(ast.parse(Path(module.__file__).read_text()))
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = "[name for name in package.__all__ if name not in vars(package)]"
    assert sorted(declared) == evaluate(lazy, after=f"import {package} as package")
    named = {name: origin for name, origin in declared.items() if origin != package}
    assert named == module._MODULES


@pytest.mark.parametrize("statement", ABSENT)
def test_import_leaves_out_what_few_programs_use(statement: str) -> None:
    loaded = evaluate("list(sys.modules)", after=statement)
    assert isinstance(loaded, list)
    found = {
        name
        for name in loaded
        for absent in ABSENT[statement].split()
        if name == absent or name.startswith(absent + ".")
    }
    assert not found


#: A plain server answers a request; `before` is what was imported when it began to listen.
FIRST_REQUEST = """
import socket, sys
import thor

server = thor.HttpServer("127.0.0.1", 0)
# A client of `socket` imports something, too: the first one is there for that.
listener = socket.create_server(("127.0.0.1", 0))
sockets = [listener, socket.create_connection(listener.getsockname())]
before = set()

@thor.on(server)
def start():
    before.update(sys.modules)
    sockets.append(socket.create_connection(server.address))
    sockets[-1].sendall(b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 1\\r\\n\\r\\na")

@thor.on(server)
def exchange(exch):
    exch.response_start(200, "OK", [])
    exch.response_body("hello")
    exch.response_done([])
    exch.on("done", lambda _: thor.stop())

thor.run()
for sock in sockets:
    sock.close()
"""


def test_server_imports_nothing_for_its_first_request() -> None:
    assert evaluate("sorted(set(sys.modules) - before)", after=FIRST_REQUEST) == []
