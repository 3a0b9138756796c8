"""witness.js on Thor: an origin that keeps a ledger of the requests that it sees.

Usage: witness_thor.py LEDGER; prints the port that it took.
"""

from __future__ import annotations

import json
import os
import sys

import thor
from thor.http import HttpServer, HttpServerExchange


def serve(ledger: int) -> None:
    """Answer until the process is ended."""

    def exchange(exchange: HttpServerExchange) -> None:
        fields = {name.lower(): value.decode("latin-1") for name, value in exchange.req_hdrs}
        target = exchange.uri.decode()
        said = [
            exchange.method.decode(),
            target,
            fields.get(b"via", ""),
            fields.get(b"x-front", ""),
        ]
        os.write(ledger, json.dumps(said).encode() + b"\n")
        seen = [(b"X-Seen", exchange.uri), (b"Content-Length", b"5")]
        exchange.on("request_done", lambda _: exchange.response_start(200, "OK", seen))
        exchange.on("request_done", lambda _: exchange.response_body("seen\n"))
        exchange.on("request_done", lambda _: exchange.response_done([]))
        exchange.on("error", lambda _: None)

    server = HttpServer("127.0.0.1", 0)
    server.on("exchange", exchange)
    server.on("refused", lambda *_: None)
    sys.stdout.write(f"{server.address[1]}\n")
    sys.stdout.flush()
    thor.run()


if __name__ == "__main__":
    serve(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND))
