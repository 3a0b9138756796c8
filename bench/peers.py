"""Who is measured: how each peer is configured, started, and installed.

Owns: the peers' commands and configuration files. Must not know how anything is measured.

`python -m bench.peers install` makes an environment under `build/peers` for each of those that
are Python packages, and says which programs are missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
APPS = ROOT / "bench" / "apps"
ENVIRONMENTS = ROOT / "build" / "peers"

#: Programs: what the peers need of them, and the Debian package that has it.
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "node": "nodejs", "wrk": "wrk"}

#: Python peers: environment to what pip installs there.
REQUIREMENTS = {
    "uvicorn": ["uvicorn", "uvloop", "httptools"],
    "aiohttp": ["aiohttp", "uvloop"],
    "twisted": ["twisted"],
    "thor-0.17": ["thor==0.17.*"],
}


@dataclass(frozen=True)
class Place:
    """Where a peer runs: its port, what is behind it, a folder for its files."""

    port: int
    origin_port: int
    folder: Path


@dataclass(frozen=True)
class Peer:
    """One row of a table."""

    name: str
    role: str  # "server" or "proxy"
    needs: str  # a program, or an environment of REQUIREMENTS; "" for Thor itself
    command: Callable[[Place], list[str]]
    ours: bool = False

    def missing(self) -> str | None:
        """Why it cannot run here, None if it can."""
        if self.needs in PACKAGES and program(self.needs) is None:
            return f"{self.needs} is not installed (apt-get install {PACKAGES[self.needs]})"
        if self.needs in REQUIREMENTS and not _installed(self.needs):
            return "not installed (make bench-peers)"
        return None

    def version(self) -> str:
        """What exactly is measured."""
        if self.needs in REQUIREMENTS:
            return _distributions(self.needs)
        if self.needs in PACKAGES:
            flag = "-v" if self.needs != "node" else "--version"
            return f"{self.needs}: {_first_line([program(self.needs) or self.needs, flag])}"
        import thor

        return f"thor {thor.__version__}"


def program(name: str) -> str | None:
    """The path of a program; system directories count even where PATH omits them."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=f"{path}:/usr/local/sbin:/usr/sbin:/sbin")


def environment(name: str) -> Path:
    """The interpreter of a Python peer's environment."""
    return ENVIRONMENTS / name / "bin" / "python"


def _installed(name: str) -> bool:
    """Whether an environment is there, whole, and with what is wanted today."""
    stamp = ENVIRONMENTS / name / "installed"
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
    return _first_line([str(environment(name)), "-c", code, *wanted])


# -- configuration files ------------------------------------------------------------------------

NGINX = """\
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/pid;
error_log stderr error;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    sendfile on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream origin {{
        server 127.0.0.1:{origin_port};
        keepalive 256;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        {location}
    }}
}}
"""

NGINX_SERVER = 'location / { return 200 "Hello, world!"; }\n        location /bulk { root %s; }'
NGINX_PROXY = """location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }"""

HAPROXY = """\
global
    nbthread 1
    maxconn 8192
defaults
    mode http
    timeout connect 10s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    http-reuse always
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server origin 127.0.0.1:{origin_port}
"""


def _write(place: Place, name: str, text: str) -> str:
    place.folder.mkdir(parents=True, exist_ok=True)
    path = place.folder / name
    path.write_text(text)
    return str(path)


def _nginx(location: Callable[[Place], str]) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        # Started by root, workers would change to a user who cannot read the temporary folder.
        text = NGINX.format(
            user="user root;" if os.geteuid() == 0 else "",
            folder=place.folder,
            port=place.port,
            origin_port=place.origin_port or place.port,
            location=location(place),
        )
        path = _write(place, "nginx.conf", text)
        return [program("nginx") or "nginx", "-e", "stderr", "-p", str(place.folder), "-c", path]

    return command


def _haproxy(place: Place) -> list[str]:
    text = HAPROXY.format(port=place.port, origin_port=place.origin_port)
    return [program("haproxy") or "haproxy", "-db", "-q", "-f", _write(place, "haproxy.cfg", text)]


def _app(interpreter: Callable[[], str], app: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        argv = [interpreter(), str(APPS / app), str(place.port)]
        return [*argv, str(place.origin_port)] if place.origin_port else argv

    return command


def _python(name: str, app: str) -> Callable[[Place], list[str]]:
    return _app(lambda: str(environment(name)), app)


def _node(app: str) -> Callable[[Place], list[str]]:
    return _app(lambda: program("node") or "node", app)


def _thor(app: str) -> Callable[[Place], list[str]]:
    return _app(lambda: sys.executable, app)


def _thor_proxy(place: Place) -> list[str]:
    listen, to = f"127.0.0.1:{place.port}", f"http://127.0.0.1:{place.origin_port}"
    return [sys.executable, "-m", "thor", "proxy", "--listen", listen, "--to", to]


#: A server that answers `/` with `Hello, world!`, and `/bulk...` with files of its folder.
ORIGIN = Peer("origin", "server", "nginx", _nginx(lambda place: NGINX_SERVER % place.folder))

PEERS = (
    Peer("thor", "server", "", _thor("thor_server.py"), ours=True),
    Peer("nginx", "server", "nginx", _nginx(lambda place: NGINX_SERVER % place.folder)),
    Peer("node", "server", "node", _node("node_server.js")),
    Peer("uvicorn", "server", "uvicorn", _python("uvicorn", "uvicorn_server.py")),
    Peer("aiohttp", "server", "aiohttp", _python("aiohttp", "aiohttp_server.py")),
    Peer("twisted", "server", "twisted", _python("twisted", "twisted_server.py")),
    Peer("thor-0.17", "server", "thor-0.17", _python("thor-0.17", "thor017_server.py")),
    Peer("thor", "proxy", "", _thor_proxy, ours=True),
    Peer("two-exchanges", "proxy", "", _thor("thor_proxy.py"), ours=True),
    Peer("nginx", "proxy", "nginx", _nginx(lambda place: NGINX_PROXY)),
    Peer("haproxy", "proxy", "haproxy", _haproxy),
    Peer("node", "proxy", "node", _node("node_proxy.js")),
    Peer("aiohttp", "proxy", "aiohttp", _python("aiohttp", "aiohttp_proxy.py")),
    Peer("thor-0.17", "proxy", "thor-0.17", _python("thor-0.17", "thor017_proxy.py")),
)


# -- installing ---------------------------------------------------------------------------------


def install() -> int:
    """Make the environments that are not there; returns an exit code."""
    failed = []
    for name, requirements in REQUIREMENTS.items():
        if _installed(name):
            continue
        print(f"installing {name}: {' '.join(requirements)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENTS / name)], check=True)
        pip = [str(environment(name)), "-m", "pip", "install", "--quiet", *requirements]
        if subprocess.run(pip).returncode:
            failed.append(name)
        else:
            (ENVIRONMENTS / name / "installed").write_text(" ".join(requirements))
    absent = [package for name, package in PACKAGES.items() if program(name) is None]
    if absent:
        print(f"programs that are missing: apt-get install {' '.join(absent)}")
    if failed:
        print(f"could not be installed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        sys.exit("write: python -m bench.peers install")
    sys.exit(install())
