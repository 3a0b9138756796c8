"""What slowhttptest is let loose on: a server, or a proxy before one, with default settings.

Usage: live.py SCALE [ORIGIN]; prints the port that it took. Timeouts are the default ones times
SCALE, which is at most 1. With the port of an origin it is a proxy.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from program import Program

import thor
from thor.http import HttpServer
from thor.proxy import ReverseProxy, Upstream


def scale_timeouts(server: HttpServer, scale: float) -> None:
    """Make the timeouts that matter here shorter."""
    for name in ("idle_timeout", "head_timeout", "body_timeout", "send_timeout"):
        setattr(server, name, getattr(server, name) * scale)


def main() -> None:
    """Run until the process is ended."""
    scale, *origin = sys.argv[1:]
    loop = thor.loop.make()
    if origin:
        proxy = ReverseProxy("127.0.0.1", 0, Upstream([f"http://127.0.0.1:{origin[0]}"]), loop)
        proxy.client.idle_timeout = 1  # what it keeps for later is not counted as left
        server = proxy.server
    else:
        server = HttpServer("127.0.0.1", 0, loop)
        server.on("exchange", Program(Path(os.devnull), loop))
    scale_timeouts(server, float(scale))
    server.on("refused", lambda *_: None)
    sys.stdout.write(f"{server.address[1]}\n")
    sys.stdout.flush()
    loop.run()


if __name__ == "__main__":
    main()
