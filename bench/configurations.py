"""How each peer is configured and started.

Owns: the peers' configuration files and command lines. Must not know which peers there are, nor how
anything is measured.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.harness import APPS, ROOT

PEERS_FOLDER = ROOT / "build" / "peers"


@dataclass(frozen=True)
class Place:
    """Where a peer runs: its port, what is behind it, a folder for its files.

    certificate, key: files of PEM; "" where no TLS is spoken
    """

    port: int
    origin_port: int
    folder: Path
    certificate: str = ""
    key: str = ""


Command = Callable[[Place], list[str]]


def program(name: str) -> str | None:
    """Return the path of a program; system directories count even where PATH omits them."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=f"{path}:/usr/local/sbin:/usr/sbin:/sbin")


def environment(name: str) -> Path:
    """Return the interpreter of a Python peer's environment."""
    return PEERS_FOLDER / name / "bin" / "python"


def _write(place: Place, name: str, text: str) -> str:
    place.folder.mkdir(parents=True, exist_ok=True)
    path = place.folder / name
    path.write_text(text)
    return str(path)


# -- nginx --------------------------------------------------------------------------------------

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
    client_max_body_size 0;
    large_client_header_buffers 8 16k;
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

#: `/sink` has the body read to its end before it is answered, by passing it on to `/`.
NGINX_SERVER = """location / {{ return 200 "Hello, world!"; }}
        location /bulk {{ root {folder}; }}
        location /large {{ root {folder}; }}
        location /sink {{
            client_body_buffer_size 2m;
            proxy_pass http://127.0.0.1:{port}/;
        }}"""
NGINX_PROXY = """location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header Connection "";
        }}"""
NGINX_TLS = """
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;"""


def nginx(location: str) -> Command:
    """nginx, one worker, with these locations."""

    def command(place: Place) -> list[str]:
        names = {
            "folder": place.folder,
            "port": place.port,
            "certificate": place.certificate,
            "key": place.key,
        }
        served = location.format(**names)
        if place.certificate:
            served += NGINX_TLS.format(**names)
        # Started by root, workers would change to a user who cannot read the temporary folder.
        text = NGINX.format(
            user="user root;" if os.geteuid() == 0 else "",
            folder=place.folder,
            port=place.port,
            origin_port=place.origin_port or place.port,
            location=served,
        )
        if place.certificate:
            text = text.replace(f":{place.port} backlog", f":{place.port} ssl backlog")
        path = _write(place, "nginx.conf", text)
        return [program("nginx") or "nginx", "-e", "stderr", "-p", str(place.folder), "-c", path]

    return command


# -- HAProxy ------------------------------------------------------------------------------------

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
    bind 127.0.0.1:{port}{secure}
    default_backend back
backend back
    server origin 127.0.0.1:{origin_port}
"""


def haproxy(place: Place) -> list[str]:
    """HAProxy, one thread; it takes certificate and key from one file."""
    secure = ""
    if place.certificate:
        both = "".join(Path(name).read_text() for name in (place.certificate, place.key))
        secure = f" ssl crt {_write(place, 'both.pem', both)} ssl-min-ver TLSv1.2"
    text = HAPROXY.format(port=place.port, origin_port=place.origin_port, secure=secure)
    return [program("haproxy") or "haproxy", "-db", "-q", "-f", _write(place, "haproxy.cfg", text)]


# -- programs of bench/apps ---------------------------------------------------------------------


def _app(interpreter: Callable[[], str], app: str, *more: str) -> Command:
    """Return a program that is told its port, its origin's, and the files of its certificate."""

    def command(place: Place) -> list[str]:
        argv = [interpreter(), str(APPS / app), str(place.port), *more]
        if place.origin_port:
            argv.append(str(place.origin_port))
        return [*argv, place.certificate, place.key] if place.certificate else argv

    return command


def python(name: str, app: str, *more: str) -> Command:
    """Return a program for the interpreter of an environment."""
    return _app(lambda: str(environment(name)), app, *more)


def node(app: str) -> Command:
    """Return a program for Node."""
    return _app(lambda: program("node") or "node", app)


def thor(app: str, *more: str) -> Command:
    """Return a program on Thor, for this interpreter."""
    return _app(lambda: sys.executable, app, *more)


def thor_proxy(place: Place) -> list[str]:
    """`thor proxy`, as anybody would start it."""
    return _thor_command(place, "proxy", "--to", f"http://127.0.0.1:{place.origin_port}")


def thor_serve(place: Place) -> list[str]:
    """`thor serve`, of the place's folder."""
    return _thor_command(place, "serve", str(place.folder))


def _thor_command(place: Place, command: str, *args: str) -> list[str]:
    listen = f"127.0.0.1:{place.port}"
    argv = [sys.executable, "-m", "thor", command, "--listen", listen, *args]
    if place.certificate:
        argv += ["--certificate", place.certificate, "--key", place.key]
    return argv


def floor(place: Place) -> list[str]:
    """Return the C program that `make bench-peers` has compiled."""
    return [str(PEERS_FOLDER / "floor"), str(place.port)]


def module(name: str, *args: str) -> Command:
    """Return a module of this package that runs to its end and prints a figure."""
    return lambda place: [sys.executable, "-m", f"bench.{name}", *args]
