"""Who is measured, and how the peers are installed.

Owns: the list of peers. Must not know how they are configured, nor how anything is measured.

`python -m bench.peers install` makes an environment under `build/peers` for each of those that
are Python packages, compiles the floor, and installs the programs that are missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench import configurations
from bench.configurations import (
    NGINX_PROXY,
    NGINX_SERVER,
    PEERS_FOLDER,
    Command,
    Place,
    environment,
    haproxy,
    module,
    nginx,
    node,
    program,
    python,
    thor,
    thor_proxy,
)
from bench.harness import APPS
from thor import __version__, native

__all__ = ["ORIGIN", "PEERS", "Peer", "Place", "install", "program"]

#: Programs: what the peers and the benchmark need, and the Debian package that has it.
PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "node": "nodejs",
    "wrk": "wrk",
    "openssl": "openssl",
    "strace": "strace",
    "valgrind": "valgrind",
    "cc": "gcc",
}

#: Python peers: environment to what pip installs there.
REQUIREMENTS = {
    "uvicorn": ["uvicorn", "uvloop", "httptools"],
    "granian": ["granian"],
    "socketify": ["socketify"],
    "aiohttp": ["aiohttp", "uvloop"],
    "twisted": ["twisted"],
    "thor-0.17": ["thor==0.17.*"],
}

#: Switches the native codec off.
PURE = (("THOR_NO_EXTENSIONS", "1"),)


@dataclass(frozen=True)
class Peer:
    """One row of a table.

    role: one of `scenarios.ROLES`
    needs: a program, an environment of REQUIREMENTS, "native", "floor"; "" for nothing
    label: how it is called in tables, its name if ""
    skips: the scenarios of its role that it cannot take part in
    """

    name: str
    role: str
    needs: str
    command: Command
    ours: bool = False
    label: str = ""
    env: tuple[tuple[str, str], ...] = ()
    skips: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.label or self.name

    def missing(self) -> str | None:
        """Why it cannot run here, None if it can."""
        if self.needs in PACKAGES and program(self.needs) is None:
            return f"{self.needs} is not installed (apt-get install {PACKAGES[self.needs]})"
        if self.needs in REQUIREMENTS and not _installed(self.needs):
            return "not installed (make bench-peers)"
        if self.needs == "floor" and not (PEERS_FOLDER / "floor").exists():
            return "not compiled (make bench-peers)"
        if self.needs == "native" and not native.loaded:
            return "the native codec is not loaded: thor is pure Python already"
        return None

    def version(self) -> str:
        """Return what exactly is measured."""
        if self.needs in REQUIREMENTS:
            return _distributions(self.needs)
        if self.needs in PACKAGES:
            flag = "-v" if self.needs != "node" else "--version"
            return f"{self.needs}: {_first_line([program(self.needs) or self.needs, flag])}"
        return f"thor {__version__} ({'with the native codec' if native.loaded else 'pure Python'})"


def _installed(name: str) -> bool:
    """Whether an environment is there, whole, and with what is wanted today."""
    stamp = PEERS_FOLDER / name / "installed"
    return stamp.exists() and stamp.read_text() == " ".join(REQUIREMENTS[name])


def _first_line(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    return ((done.stdout or done.stderr).strip().split("\n") or [""])[0]


def _distributions(name: str) -> str:
    wanted = [requirement.split("=")[0] for requirement in REQUIREMENTS[name]]
    code = (
        "import importlib.metadata as m, sys;"
        "print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    )
    return _first_line([str(environment(name)), "-I", "-c", code, *wanted])


# -- the peers ----------------------------------------------------------------------------------

#: A server that answers `/` with `Hello, world!`, and `/bulk` with a file of its folder.
ORIGIN = Peer("origin", "server", "nginx", nginx(NGINX_SERVER))

#: What a server cannot that parses nothing.
_NOT_BLINDLY = ("reconnect", "pipeline", "post", "download", "upload")


def _pure(role: str, command: Command) -> Peer:
    return Peer("thor-pure", role, "native", command, True, "thor (pure Python)", PURE)


SERVERS = (
    Peer("thor", "server", "", thor("thor_server.py"), ours=True),
    _pure("server", thor("thor_server.py")),
    Peer(
        "floor",
        "server",
        "floor",
        configurations.floor,
        label="C, parses nothing",
        skips=_NOT_BLINDLY,
    ),
    Peer("nginx", "server", "nginx", nginx(NGINX_SERVER)),
    Peer("raw", "server", "uvicorn", python("uvicorn", "raw_server.py"), label="uvloop, httptools"),
    Peer(
        "socketify",
        "server",
        "socketify",
        python("socketify", "socketify_server.py"),
        skips=("reconnect",),  # it closes without having said so
    ),
    Peer("node", "server", "node", node("node_server.js")),
    Peer("granian", "server", "granian", python("granian", "granian_server.py", "rsgi")),
    Peer("granian-asgi", "server", "granian", python("granian", "granian_server.py", "asgi")),
    Peer("uvicorn", "server", "uvicorn", python("uvicorn", "uvicorn_server.py")),
    Peer("aiohttp", "server", "aiohttp", python("aiohttp", "aiohttp_server.py")),
    Peer("twisted", "server", "twisted", python("twisted", "twisted_server.py")),
    Peer("thor-0.17", "server", "thor-0.17", python("thor-0.17", "thor017_server.py")),
)
TLS_SERVERS = (
    Peer("thor", "tls", "", thor("thor_server.py"), ours=True),
    _pure("tls", thor("thor_server.py")),
    Peer("nginx", "tls", "nginx", nginx(NGINX_SERVER)),
    Peer("granian", "tls", "granian", python("granian", "granian_server.py", "rsgi")),
    Peer("node", "tls", "node", node("node_server.js")),
    Peer("uvicorn", "tls", "uvicorn", python("uvicorn", "uvicorn_server.py")),
)
WORKERS = (
    Peer("thor", "workers", "", thor("thor_workers.py", "2"), ours=True, label="two workers"),
    Peer("one-worker", "workers", "", thor("thor_workers.py", "1"), label="one worker"),
)
PROXIES = (
    Peer("thor", "proxy", "", thor_proxy, ours=True),
    _pure("proxy", thor_proxy),
    Peer("two-exchanges", "proxy", "", thor("thor_proxy.py"), ours=True),
    Peer("nginx", "proxy", "nginx", nginx(NGINX_PROXY)),
    Peer("haproxy", "proxy", "haproxy", haproxy),
    Peer("node", "proxy", "node", node("node_proxy.js")),
    Peer("aiohttp", "proxy", "aiohttp", python("aiohttp", "aiohttp_proxy.py")),
    Peer("thor-0.17", "proxy", "thor-0.17", python("thor-0.17", "thor017_proxy.py")),
)
TLS_PROXIES = (
    Peer("thor", "tls-proxy", "", thor_proxy, ours=True),
    _pure("tls-proxy", thor_proxy),
    Peer("nginx", "tls-proxy", "nginx", nginx(NGINX_PROXY)),
    Peer("haproxy", "tls-proxy", "haproxy", haproxy),
    Peer("node", "tls-proxy", "node", node("node_proxy.js")),
)
#: What runs in one process, and what echoes datagrams.
PARTS = (
    Peer("thor", "udp", "", thor("udp_thor.py"), ours=True),
    Peer("asyncio", "udp", "", thor("udp_asyncio.py")),
    Peer("thor", "emit", "", module("micro", "emit"), ours=True),
    Peer("call", "emit", "", module("micro", "call"), label="a plain call"),
    Peer("thor", "timers", "", module("micro", "thor"), ours=True),
    Peer("heapq", "timers", "", module("micro", "heapq"), label="heapq push and pop"),
    Peer("asyncio", "timers", "", module("micro", "asyncio")),
    Peer("thor", "in-process", "", module("inprocess"), ours=True),
    Peer("no-caches", "in-process", "", module("inprocess", "--no-caches"), label="no tables"),
    _pure("in-process", module("inprocess")),
    Peer(
        "pure-no-caches",
        "in-process",
        "native",
        module("inprocess", "--no-caches"),
        label="pure Python, no tables",
        env=PURE,
    ),
)
PEERS = (*SERVERS, *TLS_SERVERS, *WORKERS, *PROXIES, *TLS_PROXIES, *PARTS)


# -- installing ---------------------------------------------------------------------------------


def install() -> int:
    """Install what is not there; returns an exit code."""
    failed = install_programs()
    for name, requirements in REQUIREMENTS.items():
        if _installed(name):
            continue
        print(f"installing {name}: {' '.join(requirements)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", PEERS_FOLDER / name], check=True)
        pip = [str(environment(name)), "-m", "pip", "install", "--quiet", *requirements]
        if subprocess.run(pip).returncode:
            failed.append(name)
        else:
            (PEERS_FOLDER / name / "installed").write_text(" ".join(requirements))
    PEERS_FOLDER.mkdir(parents=True, exist_ok=True)
    compile_floor = ["-O2", "-o", str(PEERS_FOLDER / "floor"), str(APPS / "floor.c")]
    if program("cc") is None or subprocess.run(["cc", *compile_floor]).returncode:
        failed.append("floor")
    if failed:
        print(f"could not be installed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def install_programs() -> list[str]:
    """Install programs that are missing, where that is allowed. Returns: those still missing"""
    absent = [package for name, package in PACKAGES.items() if program(name) is None]
    if not absent:
        return []
    apt_get = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *absent]
    if os.geteuid() == 0 and program("apt-get") is not None:
        subprocess.run(apt_get, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    else:
        print(f"programs that are missing: {' '.join(apt_get)}")
    return [package for name, package in PACKAGES.items() if program(name) is None]


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        sys.exit("write: python -m bench.peers install")
    sys.exit(install())
