"""A server of Thor's that says what it was asked, and has timers that are due much later.

Usage: thor_server.py [TIMERS]; prints the port that it took.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import thor
from thor.http import HttpServer, HttpServerExchange

HOUR_S = 3600.0


class Echo:
    """One exchange: the digest of what it brings is its answer."""

    def __init__(self, exchange: HttpServerExchange) -> None:
        self.exchange = exchange
        self.digest = hashlib.sha256()
        self.size = 0
        exchange.sink(self)

    def request_body(self, chunk: bytes) -> None:
        """A piece of the body."""
        self.size += len(chunk)
        self.digest.update(chunk)

    def request_done(self, trailers: Any) -> None:
        """The request is complete."""
        exchange = self.exchange
        said = {
            "method": exchange.method.decode(),
            "target": exchange.uri.decode(),
            "version": exchange.req_version.decode(),
            "host": exchange.host.decode(),
            "fields": [item.decode("latin-1") for field in exchange.req_hdrs for item in field],
            "trailers": [item.decode("latin-1") for field in trailers for item in field],
            "size": self.size,
            "sha256": self.digest.hexdigest(),
        }
        body = json.dumps(said).encode()
        fields = [("Content-Type", "application/json")]
        if exchange.uri != b"/chunked":
            fields.append(("Content-Length", str(len(body))))
        exchange.response_start(200, "OK", fields)
        exchange.response_body(body)
        exchange.response_done([])


def main() -> None:
    """Serve until the process is ended."""
    server = HttpServer("127.0.0.1", 0)
    server.on("exchange", Echo)
    for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 0):
        thor.schedule(HOUR_S + number, thor.stop)
    sys.stdout.write(f"{server.address[1]}\n")
    sys.stdout.flush()
    thor.run()


if __name__ == "__main__":
    main()
