"""What answers in the soak: an origin behind the proxy, and the server that is asked directly.

Owns: the answers, and a ledger of the requests that were seen. Must not know who asks.

Usage: program.py PORT LEDGER; prints the port that it took. SIGTERM stops it in good order.

    GET /get/N?size=S[&chunked]   the body of N (see `body_of`)
    GET /break/N?size=S           half of it, then a reset
    GET /late/N                   the body of N, a while later
    GET /hint/N                   a 103 before it
    GET /upgrade/N                another protocol: what comes is sent back
    * /early/N                    a 403, before the request's body is read
    * anything else               the digest of what the request has brought

The ledger has a line for each request: its number and method when its head was read, and the same
again with "whole" when all of it was.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import thor
from thor.http import HttpServer, HttpServerExchange
from thor.loop import LoopBase

#: How late a late answer is, and the reset of one that breaks off, in seconds.
LATE_S = 0.02
BREAK_S = 0.005
PIECE_BYTES = 30_000


def body_of(number: int, size: int, start: int = 0) -> bytes:
    """`size` bytes, from `start` on, of a number's body, which both ends can make."""
    unit = b"<%d>" % number
    skip = start % len(unit)
    return (unit * ((skip + size) // len(unit) + 1))[skip : skip + size]


class Program:
    """Answers the exchanges of a server."""

    def __init__(self, ledger: Path, loop: LoopBase) -> None:
        self.loop = loop
        self.ledger = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def __call__(self, exchange: HttpServerExchange) -> None:
        """A listener for a server's `exchange`."""
        kind, _, rest = exchange.uri.removeprefix(b"/").partition(b"/")
        number, _, query = rest.partition(b"?")
        self.note(number, exchange.method)
        if kind == b"upgrade":
            Mirror(exchange)
        elif kind == b"early":
            answer(exchange, 403, b"no\n", [])
        else:
            Answer(self, exchange, kind, int(number), query)

    def note(self, number: bytes, method: bytes, whole: bytes = b"") -> None:
        """Write into the ledger; a line is one write, so that processes may share the file."""
        os.write(self.ledger, b"%b %b %b\n" % (number, method, whole))


def answer(exchange: HttpServerExchange, status: int, body: bytes, fields: list[Any]) -> None:
    """Answer at once."""
    exchange.response_start(status, "OK", [*fields, ("Content-Length", str(len(body)))])
    exchange.response_body(body)
    exchange.response_done([])


class Answer:
    """The sink of one exchange."""

    def __init__(
        self,
        program: Program,
        exchange: HttpServerExchange,
        kind: bytes,
        number: int,
        query: bytes,
    ) -> None:
        self.program = program
        self.exchange = exchange
        self.kind = kind
        self.number = number
        self.digest = hashlib.sha256()
        self.sent = 0
        self.paused = False
        self.chunked = query.endswith(b"chunked")
        self.size = int(query.removeprefix(b"size=").partition(b"&")[0] or 100)
        exchange.sink(self)

    def request_body(self, chunk: bytes) -> None:
        """A piece of what was sent."""
        self.digest.update(chunk)

    def request_done(self, trailers: Any) -> None:
        """Answer."""
        exchange, number = self.exchange, self.number
        self.program.note(b"%d" % number, exchange.method, b"whole")
        if self.kind == b"late":
            self.program.loop.schedule(LATE_S, self.send)
        elif self.kind == b"hint":
            exchange.response_nonfinal(103, "Early Hints", [("Link", "</a>")])
            self.send()
        elif self.kind in (b"get", b"break"):
            self.send()
        else:
            answer(exchange, 200, f"{number} {self.digest.hexdigest()}".encode(), [])

    def send(self) -> None:
        """Send the number's body, as fast as it is taken."""
        exchange = self.exchange
        fields = [] if self.chunked else [("Content-Length", str(self.size))]
        exchange.response_start(200, "OK", [("X-Number", str(self.number)), *fields])
        if self.kind == b"break":
            exchange.response_body(body_of(self.number, self.size // 2))
            self.program.loop.schedule(BREAK_S, self.vanish)
        else:
            self.pause(False)

    def vanish(self) -> None:
        """Reset the connection."""
        tcp_conn = self.exchange.http_conn.tcp_conn
        if tcp_conn is not None:
            tcp_conn.abort()

    def pause(self, paused: bool) -> None:
        """The client takes no more for now (True)."""
        self.paused = paused
        if not paused and self.kind != b"break":
            self.push()

    def push(self) -> None:
        """Send a piece, and the next one in the next turn, so that others have theirs meanwhile."""
        if self.paused or self.sent < 0:
            return
        piece = body_of(self.number, min(PIECE_BYTES, self.size - self.sent), self.sent)
        self.sent += len(piece)
        self.exchange.response_body(piece)
        if self.sent < self.size:
            self.program.loop.schedule(0, self.push)
        else:
            self.sent = -1
            self.exchange.response_done([("X-Trailer", "yes")])

    def error(self, error: Any) -> None:
        """The client is gone, which is what some do here."""
        self.sent = -1


class Mirror:
    """Sends back what comes, in another protocol."""

    def __init__(self, exchange: HttpServerExchange) -> None:
        self.exchange = exchange
        exchange.on("request_done", self.switch)

    def switch(self, trailers: Any) -> None:
        """Switch, if the client has offered it."""
        if b"mirror" not in self.exchange.upgrade_offered:
            answer(self.exchange, 400, b"what?\n", [])
            return
        conn = self.exchange.upgrade("mirror")
        conn.on("data", conn.write)
        conn.pause(False)


def main() -> None:
    """Serve until told to stop."""
    loop = thor.loop.make()
    server = HttpServer("127.0.0.1", int(sys.argv[1]), loop)
    server.on("exchange", Program(Path(sys.argv[2]), loop))
    server.on("refused", lambda *_: None)
    server.on("stop", loop.stop)
    signal.signal(signal.SIGTERM, lambda *_: loop.run_in_loop(server.graceful_shutdown))
    sys.stdout.write(f"{server.address[1]}\n")
    sys.stdout.flush()
    loop.run()


if __name__ == "__main__":
    main()
