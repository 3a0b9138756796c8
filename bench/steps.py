"""Where a request's time goes, step by step: the server's and the proxy's, in Python alone.

    python -m bench.steps                       the tables, with the native codec and without
    python -m bench.steps server|proxy 1|12     one of them, for a program: as JSON

Theory of operation: nothing in Thor is changed for it. The sockets and the program of
`bench.inprocess` note the time whenever they are called, and what lies between two notes is a step.
A step's time is the median of all its passages, less what a note itself takes; so neither a pause
of the machine nor the first passages count. The kernel's part is not in here: `bench.tracing`
counts its calls, and the system time of a live server says what they cost.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any

from bench.harness import ROOT, BenchError
from bench.inprocess import (
    ONE_FIELD,
    TWELVE_FIELDS,
    AlwaysReady,
    CannedSocket,
    OriginSocket,
    forward,
    run,
    serve,
)
from bench.peers import PURE
from bench.tables import Table, as_text
from thor import native
from thor.http.wire.limits import Limits
from thor.http.wire.reader import RequestReader

REQUESTS = 20_000

#: Between which notes a step of the server lies, and what is done there.
SERVER_STEPS = {
    ("recv", "exchange"): "bytes to the reader, head parsed, exchange made and emitted",
    ("exchange", "listening"): "the program listens for request_start",
    ("listening", "request_start"): "request_start emitted",
    ("request_start", "started"): "response_start: the head written",
    ("started", "body"): "response_body",
    ("body", "done"): "response_done: the message joined and queued",
    ("done", "recv"): "the exchange ended, listeners dropped; the loop's next connection",
    ("send", "send"): "flush: the connection's queue sent in one call",
}
PROXY_STEPS = {
    ("recv", "recv"): "request read, upstream chosen, head forwarded",
    ("origin send", "origin send"): "flush to the origin",
    ("origin recv", "origin recv"): "response read, head and body forwarded, exchanges ended",
    ("send", "send"): "flush to the client",
}
REST = "the turn of the loop: poll, clock, first and last of a batch"
IN_ALL = "in all"
READER = "(the reader alone: a head found and parsed)"


class Notes:
    """What was passed, and when."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.times: list[int] = []
        self.name = self.names.append
        self.time = self.times.append

    def note(self, name: str) -> None:
        self.name(name)
        self.time(perf_counter_ns())

    def cost_ns(self) -> float:
        """Return what a note takes."""
        blank = Notes()
        for _ in range(REQUESTS):
            blank.note("")
        return statistics.median(blank.between()["", ""])

    def between(self) -> dict[tuple[str, str], list[int]]:
        """Return the passages of each step, in nanoseconds."""
        found: dict[tuple[str, str], list[int]] = {}
        for index in range(1, len(self.names)):
            step = (self.names[index - 1], self.names[index])
            found.setdefault(step, []).append(self.times[index] - self.times[index - 1])
        return found


def make_sockets(notes: Notes) -> tuple[type[CannedSocket], type[OriginSocket]]:
    """Sockets that note when they are read and written."""

    class Noted(CannedSocket):
        def recv(self, size: int) -> bytes:
            notes.note("recv")
            return self.request

        def send(self, data: bytes) -> int:
            notes.note("send")
            self.sent += 1
            return len(data)

    class NotedOrigin(OriginSocket):
        def recv(self, size: int) -> bytes:
            notes.note("origin recv")
            return self.request

        def send(self, data: bytes) -> int:
            notes.note("origin send")
            return OriginSocket.send(self, data)

    return Noted, NotedOrigin


def make_answer(notes: Notes) -> Callable[[Any], None]:
    """Run the program of `bench.inprocess`, which notes where it is."""

    def answer(exchange: Any) -> None:
        notes.note("exchange")

        def request_start(method: bytes, uri: bytes, headers: Any) -> None:
            notes.note("request_start")
            exchange.response_start(
                200, "OK", [("Content-Type", "text/plain"), ("Content-Length", "13")]
            )
            notes.note("started")
            exchange.response_body(b"Hello, world!")
            notes.note("body")
            exchange.response_done([])
            notes.note("done")

        exchange.on("request_start", request_start)
        notes.note("listening")

    return answer


def parse_us(request: bytes) -> float:
    """Microseconds of the reader alone, for one head."""
    reader = RequestReader(Limits())
    took = []
    for _ in range(REQUESTS):
        before = perf_counter_ns()
        reader.feed(request)
        reader.read_head()
        took.append(perf_counter_ns() - before)
    return statistics.median(took) / 1e3


def measure(what: str, fields: int, requests: int = REQUESTS) -> list[tuple[str, float]]:
    """Return the steps of a request to the server or the proxy, and the microseconds of each."""
    request = ONE_FIELD if fields == 1 else TWELVE_FIELDS
    notes = Notes()
    client_socket, origin_socket = make_sockets(notes)
    steps = SERVER_STEPS if what == "server" else PROXY_STEPS

    def make_server(poller: AlwaysReady, loop: Any) -> Any:
        if what == "server":
            return serve(poller, loop, make_answer(notes))
        return forward(poller, loop, origin_socket)

    run(make_server, request, requests, client_socket)
    cost = notes.cost_ns()
    times = dict.fromkeys(steps.values(), 0.0)
    rest = 0.0
    for step, passages in notes.between().items():
        each_us = max(statistics.median(passages) - cost, 0.0) / 1e3
        if step in steps:
            times[steps[step]] = each_us
        else:
            rest += each_us * len(passages) / requests
    found = [*times.items(), (REST, rest), (IN_ALL, sum(times.values()) + rest)]
    return [*found, (READER, parse_us(request))] if what == "server" else found


# -- the tables ---------------------------------------------------------------------------------


def make_table(what: str, fields: int, found: dict[str, list[tuple[str, float]]]) -> Table:
    """Return the steps as a table. found: what was measured, by the name of its column"""
    rows = []
    columns = [dict(steps) for steps in found.values()]
    for text in columns[0]:
        cells = [text]
        for steps in columns:
            share = "" if text in (IN_ALL, READER) else f"{steps[text] / steps[IN_ALL]:.0%}"
            cells += [f"{steps[text]:.2f}", share]
        rows.append(cells)
    name = f"steps-{what}" + ("-12" if fields == 12 else "")
    title = f"One request to the {what}, {fields} field{'s' if fields > 1 else ''}, in Python"
    header = ["step", *(cell for column in found for cell in (f"{column}: us", "share"))]
    return Table(name, title, header, rows, [])


def make_tables(requests: int = REQUESTS) -> list[Table]:
    """All of them, each column measured in a process of its own. Raises: BenchError"""
    variants = {"thor": {}, "thor (pure Python)": dict(PURE)} if native.loaded else {"thor": {}}
    return [
        make_table(
            what,
            fields,
            {name: measure_in(env, what, fields, requests) for name, env in variants.items()},
        )
        for what in ("server", "proxy")
        for fields in (1, 12)
    ]


def measure_in(
    env: dict[str, str], what: str, fields: int, requests: int
) -> list[tuple[str, float]]:
    """Have a process measure that has these variables set. Raises: BenchError"""
    argv = [sys.executable, "-m", "bench.steps", what, str(fields), str(requests)]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=300, cwd=ROOT, env={**os.environ, **env}
        )
        return [(text, us) for text, us in json.loads(done.stdout)]
    except subprocess.TimeoutExpired:
        raise BenchError("did not end in time") from None
    except ValueError:
        raise BenchError((done.stderr or done.stdout).strip().split("\n")[-1]) from None


def main(argv: Sequence[str]) -> None:
    """Print the tables, or the figures of one."""
    match argv:
        case []:
            print("\n".join(map(as_text, make_tables())))
        case ["server" | "proxy" as what, "1" | "12" as fields, *requests]:
            print(json.dumps(measure(what, int(fields), *map(int, requests))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
