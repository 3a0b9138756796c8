"""An origin that is killed while it serves: who is told what, and that everybody is told something.

Several clients of the standard library's make requests through `thor proxy`, which has two
origins. Each origin keeps a ledger of the requests that it had whole, each client one of how its
requests ended; when all is over, the books have to agree.
"""

from __future__ import annotations

import http.client
import os
import queue
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from cli_support import Running, running
from interop_data import LIMIT_S, item, sha256
from interop_support import Served, ends_well, interop, ledger_origin

pytestmark = interop

CLIENTS = 16
REQUESTS = 1000

#: Requests that are safe to send again, if all of their body is still held (see `Relay`).
REPLAYED = ("GET", "PUT")


class Request(NamedTuple):
    """One of the requests. reply: the body of its answer; chunked: whether it is sent so"""

    number: int
    method: str
    body: bytes
    chunked: bool
    reply: bytes


class Outcome(NamedTuple):
    """How it ended. how: "whole", "refused" by the proxy, or "broken" off

    origin: whose answer it was, as far as it came; None if there was none
    """

    request: Request
    how: str
    origin: str | None
    status: int = 0


def make_request(number: int) -> Request:
    """All kinds in turn. Even numbers are answered with a length, odd ones chunked."""
    method, size, chunked = (
        ("GET", 0, False),
        ("POST", 2000, False),
        ("GET", 0, False),
        ("PUT", 5000, number % 4 == 0),
        ("POST", 150_000 if number % 3 == 0 else 20_000, number % 4 == 0),
    )[number % 5]
    body = item(f"body of {number}", size)
    if method == "GET":
        return Request(number, method, body, chunked, item(number, reply_size(number)))
    return Request(number, method, body, chunked, f"{number} {sha256(body)}\n".encode())


def reply_size(number: int) -> int:
    """Bytes of the answer to a GET: some fit into a segment, most do not."""
    return 100 if number % 7 == 0 else 120_000


class Books:
    """The ledgers of both sides."""

    def __init__(self, folder: Path) -> None:
        self.paths = {name: folder / name for name in ("killed", "other")}
        #: What the clients tell: that the head of an answer came, and how a request ended.
        self.begun: queue.Queue[int] = queue.Queue()
        self.ended: queue.Queue[Outcome] = queue.Queue()
        self.outcomes: dict[int, Outcome] = {}

    def enter(self, count: int) -> None:
        """Wait for the ends of `count` requests."""
        for _ in range(count):
            outcome = self.ended.get(timeout=LIMIT_S)
            assert outcome.request.number not in self.outcomes, "it ended twice"
            self.outcomes[outcome.request.number] = outcome

    def await_heads(self, numbers: set[int]) -> None:
        """Wait until the answers to these requests have begun."""
        numbers = set(numbers)
        while numbers:
            numbers.discard(self.begun.get(timeout=LIMIT_S))

    def served(self, name: str) -> Counter[int]:
        """How often an origin had each request whole."""
        lines = self.paths[name].read_text().splitlines()
        return Counter(int(line.split()[0]) for line in lines)

    def failed(self) -> list[Outcome]:
        """The requests that were not answered in full."""
        return [outcome for outcome in self.outcomes.values() if outcome.how != "whole"]

    def audit(self) -> None:
        """What holds whenever the origin is killed."""
        served = {name: self.served(name) for name in self.paths}
        killed, other = served["killed"], served["other"]
        assert sorted(self.outcomes) == list(range(REQUESTS))
        for number, (request, how, origin, status) in self.outcomes.items():
            context = f"{request.method} {number} is {how}, {status}, from {origin}"
            assert how in ("whole", "refused", "broken"), context
            if how == "whole":
                assert origin in served, context
                assert served[origin][number] == 1, context
            elif how == "broken":
                # Something of the answer was passed on, even if the reset overtook it.
                assert origin in ("killed", None), context
                assert (killed[number], other[number]) == (1, 0), context
            else:
                assert status in (502, 503), context
                assert request.method not in REPLAYED, context
                assert not other[number], context
            if request.method in REPLAYED:
                assert killed[number] <= 1, context
                assert other[number] <= 1, context
            else:
                assert killed[number] + other[number] <= 1, context


class Client(threading.Thread):
    """Makes requests on one connection, one after the other, until there is none left."""

    def __init__(self, port: int, requests: Iterable[Request], books: Books) -> None:
        super().__init__(name="client", daemon=True)
        self._conn = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        self._requests = requests
        self._books = books

    def run(self) -> None:
        for request in self._requests:
            self._books.ended.put(self._make(request))
        self._conn.close()

    def _make(self, request: Request) -> Outcome:
        origin = None
        body = iter([request.body]) if request.chunked else request.body or None
        target = f"/{request.number}?size={reply_size(request.number)}"
        try:
            self._conn.request(request.method, target, body)
            answer = self._conn.getresponse()
            origin = answer.getheader("x-origin")
            self._books.begun.put(request.number)
            data = answer.read()
        except TimeoutError:
            return Outcome(request, "hung", origin)
        except (http.client.HTTPException, ConnectionError):
            self._conn.close()  # the next request makes a new one
            return Outcome(request, "broken", origin)
        if origin is None:
            how = "refused" if answer.getheader("proxy-status") else "of nobody"
        else:
            how = "whole" if (answer.status, data) == (200, request.reply) else "wrong"
        return Outcome(request, how, origin, answer.status)


@contextmanager
def traffic(proxy: Running, books: Books) -> Iterator[None]:
    """The clients at work; left when all their requests have ended."""
    numbers = iter(range(REQUESTS))
    lock = threading.Lock()

    def requests() -> Iterator[Request]:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            yield make_request(number)

    clients = [Client(proxy.port, requests(), books) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    yield
    for client in clients:
        client.join(LIMIT_S * 2)
        assert not client.is_alive(), "a client hangs"
    books.enter(books.ended.qsize())
    ends_well(proxy)


def two_origins(
    stack: ExitStack, books: Books, stall_after: int | None = None
) -> tuple[Served, Running]:
    """Returns: the origin that will be killed, the proxy in front of both"""
    killed = stack.enter_context(ledger_origin("killed", books.paths["killed"], stall_after))
    other = stack.enter_context(ledger_origin("other", books.paths["other"]))
    urls = ("--to", killed.url, "--to", other.url)
    return killed, stack.enter_context(running("proxy", *urls, "--listen", "127.0.0.1:0"))


def test_origin_is_killed_under_load(tmp_path: Path) -> None:
    books = Books(tmp_path)
    with ExitStack() as stack:
        killed, proxy = two_origins(stack, books)
        with traffic(proxy, books):
            books.enter(REQUESTS // 3)
            os.kill(killed.pid, signal.SIGKILL)
    books.audit()
    assert sum(books.served("killed").values()) > REQUESTS // 10
    # Each client had one request in flight, and another one may meet a connection that is dead.
    assert len(books.failed()) <= 2 * CLIENTS
    assert sum(books.served("other").values()) > REQUESTS // 2


def test_origin_is_killed_with_every_client_waiting_for_it(tmp_path: Path) -> None:
    """It has half answered some requests, and others not at all."""
    books = Books(tmp_path)
    with ExitStack() as stack:
        killed, proxy = two_origins(stack, books, stall_after=REQUESTS // 4)
        assert killed.process.stdout is not None
        with traffic(proxy, books):
            lines = [killed.process.stdout.readline().decode() for _ in range(CLIENTS)]
            stalled = {int(number): what for number, what in map(str.split, lines)}
            books.await_heads({number for number, what in stalled.items() if what == "half"})
            os.kill(killed.pid, signal.SIGKILL)
    books.audit()
    for number, what in stalled.items():
        outcome = books.outcomes[number]
        if what == "half":
            assert outcome[1:3] == ("broken", "killed")
        elif outcome.request.method in REPLAYED:
            assert outcome[1:3] == ("whole", "other")
        else:
            assert outcome[1:] == ("refused", None, 502)
    # Nobody else had to suffer, but for those that still got a connection to what was dying.
    others = [one for one in books.failed() if one.request.number not in stalled]
    assert len(others) <= CLIENTS
    assert {one.request.number for one in others}.isdisjoint(books.served("killed"))
