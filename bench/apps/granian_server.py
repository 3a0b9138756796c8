"""Granian, one worker. Usage: granian_server.py PORT rsgi|asgi [CERTIFICATE KEY]"""

import sys
from pathlib import Path

from granian import Granian
from granian.constants import Interfaces, SSLProtocols

HEADERS = [("content-type", "text/plain"), ("content-length", "13")]
LARGE = b"x" * 1048576
LARGE_HEADERS = [("content-type", "text/plain"), ("content-length", "1048576")]


async def app(scope, protocol):
    if scope.method == "POST":
        await protocol()
    elif scope.path == "/large":
        protocol.response_bytes(200, LARGE_HEADERS, LARGE)
        return
    protocol.response_bytes(200, HEADERS, b"Hello, world!")


if __name__ == "__main__":
    port, interface, *files = sys.argv[1:]
    Granian(
        "granian_server:app" if interface == "rsgi" else "asgi:app",
        port=int(port),
        interface=Interfaces(interface),
        backlog=4096,
        log_enabled=False,
        websockets=False,
        ssl_protocol_min=SSLProtocols.tls12,
        **dict(zip(("ssl_cert", "ssl_key"), map(Path, files), strict=True) if files else {}),
    ).serve()
