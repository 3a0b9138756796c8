"""What slowhttptest is let loose on: a server, and a proxy before it, with default settings.

Usage: live.py SCALE; prints a line of JSON with the ports that it took. Time-outs are the default
ones times SCALE, which is at most 1.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from program import Program

import thor
from thor.http import HttpServer
from thor.proxy import ReverseProxy, Upstream


def scale_timeouts(server: HttpServer, scale: float) -> None:
    """Make the time-outs that matter here shorter."""
    for name in ("idle_timeout", "head_timeout", "body_timeout", "send_timeout"):
        setattr(server, name, getattr(server, name) * scale)


def main() -> None:
    """Run until the process is ended."""
    loop = thor.loop.make()
    server = HttpServer("127.0.0.1", 0, loop)
    server.on("exchange", Program(Path(os.devnull)))
    proxy = ReverseProxy("127.0.0.1", 0, Upstream([f"http://127.0.0.1:{server.address[1]}"]), loop)
    proxy.client.idle_timeout = 1  # what it keeps for later is not counted as left
    for each in (server, proxy.server):
        scale_timeouts(each, float(sys.argv[1]))
        each.on("refused", lambda *_: None)
    sys.stdout.write(json.dumps({"server": server.address[1], "proxy": proxy.address[1]}) + "\n")
    sys.stdout.flush()
    loop.run()


if __name__ == "__main__":
    main()
