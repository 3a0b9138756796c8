"""`thor demo`: two small origins, the proxy in front of them, and some traffic."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from thor.cli.common import (
    DONE,
    CommandError,
    GracefulRunner,
    address,
    examples,
    log_draining,
    seconds,
)
from thor.cli.listen import Servers, listening, show
from thor.http import HttpServer
from thor.http.client import HttpClient
from thor.loop import LoopBase, make
from thor.proxy import Flow, ReverseProxy, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from thor.cli.common import Commands
    from thor.http import HttpServerExchange

#: Requests that are sent to show what happens, and how long to wait before each.
REQUESTS = 6
PAUSE_S = 0.05


def add_parser(commands: Commands) -> None:
    """Describe the command's arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="show a proxy at work",
        description="Start two small origins and a proxy, and send some requests through it.",
        epilog=examples(
            "thor demo",
            "thor demo --once",
        ),
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=address,
        default=("127.0.0.1", 0),
        help="where the proxy listens (default: a free port of 127.0.0.1)",
    )
    until = parser.add_mutually_exclusive_group()
    until.add_argument(
        "--seconds", metavar="SECONDS", type=seconds, help="stop by itself after so long"
    )
    until.add_argument("--once", action="store_true", help="stop when the requests are answered")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo until Ctrl-C, or as long as the arguments say."""
    loop = make()
    try:
        demo = Demo(loop, args.listen)
    except CommandError:
        loop.stop()  # the origins listen already
        raise
    stopper = GracefulRunner(loop, demo.stop, 5.0, interrupt=demo.interrupt)
    demo.describe(until_stopped=not args.once and args.seconds is None)
    demo.send_requests(then=stopper.stop if args.once else None)
    if args.seconds is not None:
        loop.schedule(args.seconds, stopper.stop)
    stopper.run()
    if demo.failure:
        raise CommandError(demo.failure)
    say("Stopped.")
    return DONE


def say(line: str) -> None:
    """Tell the user what happens."""
    with contextlib.suppress(BrokenPipeError):  # the traffic goes on without a reader
        print(line, flush=True)


def _text(value: bytes) -> str:
    return ascii(value.decode("latin-1"))[1:-1]


class Demo:
    """The parts, all on one loop."""

    def __init__(self, loop: LoopBase, listen: tuple[str, int]) -> None:
        self.loop = loop
        self.failure = ""
        self._answers: Counter[str] = Counter()
        self._origins = {name: self._make_origin(name) for name in ("A", "B")}
        urls = [f"http://{show(origin.address)}" for origin in self._origins.values()]
        self._names = dict(zip((url[7:] for url in urls), self._origins, strict=True))
        with listening(listen):
            self.proxy = ReverseProxy(*listen, Upstream(urls, name="demo"), loop)
        self.proxy.on("done", self._seen)
        self._servers = Servers([self.proxy], loop)
        self.proxy.server.drain_idle_timeout = None  # nobody's requests are worth a wait here

    def _make_origin(self, name: str) -> HttpServer:
        def answer(exchange: HttpServerExchange) -> None:
            body = f"Hello from origin {name}.\n"
            length = str(len(body))
            fields = [("Content-Type", "text/plain"), ("Content-Length", length)]
            exchange.response_start(200, "OK", fields)
            exchange.response_body(body)
            exchange.response_done([])

        with listening(("127.0.0.1", 0)):
            origin = HttpServer("127.0.0.1", 0, self.loop)
        origin.on("exchange", answer)
        return origin

    def describe(self, until_stopped: bool) -> None:
        """Say where everything is."""
        for name, origin in self._origins.items():
            say(f"Origin {name}:  http://{show(origin.address)}/")
        say(f"The proxy: http://{show(self.proxy.address)}/  (in turn to both)")
        if until_stopped:
            say("Try it yourself; Ctrl-C stops.")

    def send_requests(self, then: Callable[[], object] | None = None) -> None:
        """Send requests through the proxy, one after the other; then call `then()`."""
        client = HttpClient(self.loop)
        left = list(range(REQUESTS, 0, -1))

        def following(*_: object) -> None:
            if left:
                self.loop.schedule(PAUSE_S, send, left.pop())
                return
            counts = ", ".join(f"{name}: {n}" for name, n in sorted(self._answers.items()))
            say(f"Answers by origin: {counts}.")
            if then is not None:
                then()

        def send(number: int) -> None:
            exchange = client.exchange()
            exchange.on("response_done", following)
            exchange.on("error", self._fail)
            url = f"http://{show(self.proxy.address)}/request/{number}"
            exchange.request_start("GET", url, [])
            exchange.request_done([])

        self.loop.schedule(0, following)

    def _seen(self, flow: Flow) -> None:
        name = self._names.get(flow.endpoint.name.decode()) if flow.endpoint is not None else None
        if name is not None:
            self._answers[name] += 1
        status = (flow.status or b"-").decode("latin-1")
        took_ms = (flow.duration_s or 0.0) * 1000
        request = f"{_text(flow.method)} {_text(flow.path)}"
        say(f"  {request} -> origin {name or '-'}: {status}, {took_ms:.1f} ms")

    def _fail(self, error: Exception) -> None:
        self.failure = str(error)
        self.loop.stop()

    def stop(self) -> None:
        """Stop in good order: the proxy first, whose end ends the loop."""
        self._servers.graceful_shutdown()

    def interrupt(self) -> None:
        """Stop in good order, and say what is waited for."""
        self._servers.interrupt(log_draining)
