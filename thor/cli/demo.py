"""`thor demo`: two small origins, a proxy in front of them, and some requests."""

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
from thor.cli.listen import Servers, format_address, listen_errors
from thor.http import HttpServer
from thor.http.client import HttpClient
from thor.loop import LoopBase, make
from thor.proxy import Flow, ReverseProxy, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from thor.cli.common import Commands
    from thor.http import HttpServerExchange

#: How many requests are sent, and how long to wait before each, in seconds.
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
    runner = GracefulRunner(loop, demo.stop, 5.0, interrupt=demo.interrupt)
    demo.describe(until_stopped=not args.once and args.seconds is None)
    demo.send_requests(then=runner.stop if args.once else None)
    if args.seconds is not None:
        loop.schedule(args.seconds, runner.stop)
    runner.run()
    if demo.failure:
        raise CommandError(demo.failure)
    print_line("Stopped.")
    return DONE


def print_line(line: str) -> None:
    """Print a line; it is not an error if the reader has closed the pipe."""
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


def _text(value: bytes) -> str:
    return ascii(value.decode("latin-1"))[1:-1]


class Demo:
    """Two origins, a proxy and a client, all on one loop."""

    def __init__(self, loop: LoopBase, listen: tuple[str, int]) -> None:
        self.loop = loop
        self.failure = ""
        self._answers: Counter[str] = Counter()
        self._origins = {name: self._make_origin(name) for name in ("A", "B")}
        urls = [f"http://{format_address(origin.address)}" for origin in self._origins.values()]
        self._names = dict(zip((url[7:] for url in urls), self._origins, strict=True))
        with listen_errors(listen):
            self.proxy = ReverseProxy(*listen, Upstream(urls, name="demo"), loop)
        self.proxy.on("done", self._print_result)
        self._servers = Servers([self.proxy], loop)
        self.proxy.server.drain_idle_timeout = None  # no request here is worth waiting for

    def _make_origin(self, name: str) -> HttpServer:
        def respond(exchange: HttpServerExchange) -> None:
            body = f"Hello from origin {name}.\n"
            length = str(len(body))
            fields = [("Content-Type", "text/plain"), ("Content-Length", length)]
            exchange.response_start(200, "OK", fields)
            exchange.response_body(body)
            exchange.response_done([])

        with listen_errors(("127.0.0.1", 0)):
            origin = HttpServer("127.0.0.1", 0, self.loop)
        origin.on("exchange", respond)
        return origin

    def describe(self, until_stopped: bool) -> None:
        """Print the addresses of origins and proxy."""
        for name, origin in self._origins.items():
            print_line(f"Origin {name}:  http://{format_address(origin.address)}/")
        print_line(f"The proxy: http://{format_address(self.proxy.address)}/  (in turn to both)")
        if until_stopped:
            print_line("Try it yourself; Ctrl-C stops.")

    def send_requests(self, then: Callable[[], object] | None = None) -> None:
        """Send requests through the proxy, one after the other; then call `then()`."""
        client = HttpClient(self.loop)
        remaining = list(range(REQUESTS, 0, -1))

        def send_next(*_: object) -> None:
            if remaining:
                self.loop.schedule(PAUSE_S, send, remaining.pop())
                return
            counts = ", ".join(f"{name}: {n}" for name, n in sorted(self._answers.items()))
            print_line(f"Answers by origin: {counts}.")
            if then is not None:
                then()

        def send(number: int) -> None:
            exchange = client.exchange()
            exchange.on("response_done", send_next)
            exchange.on("error", self._fail)
            url = f"http://{format_address(self.proxy.address)}/request/{number}"
            exchange.request_start("GET", url, [])
            exchange.request_done([])

        self.loop.schedule(0, send_next)

    def _print_result(self, flow: Flow) -> None:
        name = self._names.get(flow.endpoint.name.decode()) if flow.endpoint is not None else None
        if name is not None:
            self._answers[name] += 1
        status = (flow.status or b"-").decode("latin-1")
        took_ms = (flow.duration_s or 0.0) * 1000
        request = f"{_text(flow.method)} {_text(flow.path)}"
        print_line(f"  {request} -> origin {name or '-'}: {status}, {took_ms:.1f} ms")

    def _fail(self, error: Exception) -> None:
        self.failure = str(error)
        self.loop.stop()

    def stop(self) -> None:
        """Shut the proxy down gracefully; its end stops the loop."""
        self._servers.graceful_shutdown()

    def interrupt(self) -> None:
        """Shut down gracefully, and print how many connections are left."""
        self._servers.interrupt(log_draining)
