"""`thor proxy --to URL ...`: a reverse proxy."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import sys
from typing import TYPE_CHECKING, Any

from thor import dns
from thor.cli.common import (
    DONE,
    MISUSED,
    CommandError,
    Stopper,
    add_server_arguments,
    listening,
    place,
    tell,
)
from thor.loop import LoopBase, make
from thor.proxy import Endpoint, Flow, ReverseProxy, Upstream
from thor.proxy.accesslog import access_line, refused_line
from thor.proxy.upstream import BALANCES

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.tcp import TcpConnection

#: Any type of socket: a name has an address, or has none.
_ANY_TYPE = 0


def add_parser(commands: Any) -> None:
    """Describe the command's arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "proxy",
        help="forward requests to one or more servers",
        description="A reverse proxy: forward requests to one or more servers.",
    )
    add_server_arguments(parser, "127.0.0.1:8080")
    parser.add_argument(
        "--to",
        metavar="URL",
        action="append",
        required=True,
        help="http://HOST[:PORT][/PREFIX], where requests go; may be given several times",
    )
    parser.add_argument(
        "--balance",
        choices=sorted(BALANCES),
        default="round_robin",
        help="how the next server is found (default: %(default)s)",
    )
    parser.add_argument(
        "--trust",
        metavar="NETWORK",
        action="append",
        type=network,
        default=[],
        help="believe the X-Forwarded-* of peers in this network, such as 10.0.0.0/8",
    )
    parser.add_argument(
        "--access-log", action="store_true", help="write a line for each request to stdout"
    )
    parser.set_defaults(run=run)


def network(text: str) -> str:
    """An argument that is a network of IPv4 or IPv6 addresses, or one address."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no network, such as 10.0.0.0/8") from None
    return text


def run(args: argparse.Namespace) -> int:
    """Forward until told to stop."""
    loop = make()
    try:
        upstream = Upstream(args.to, args.balance)
    except ValueError as why:
        raise CommandError(str(why), MISUSED) from None
    check_names(loop, upstream)
    with listening(args.listen):
        host, port = args.listen
        proxy = ReverseProxy(host, port, upstream, loop, trusted=args.trust)
    if args.access_log:
        log_access(proxy)
    proxy.on("stop", loop.stop)
    to = ", ".join(args.to)
    # Said once signals are heard: who reads it may send one.
    loop.schedule(0, tell, f"thor: forwarding {place(proxy.address)} to {to}")
    Stopper(loop, proxy.graceful_shutdown, args.drain).run()
    return DONE


def check_names(loop: LoopBase, upstream: Upstream) -> None:
    """Look up every endpoint, so that a name that is misspelt is told now, not to each client.

    Raises: CommandError if one cannot be resolved
    """
    waiting = set(upstream.endpoints)
    failures: list[str] = []

    def look_up(endpoint: Endpoint) -> None:
        def answered(answer: Any) -> None:
            waiting.discard(endpoint)
            if isinstance(answer, OSError):
                failures.append(f"cannot resolve {endpoint.host!r}: {answer.strerror}")
            if failures or not waiting:
                loop.stop()

        dns.lookup(loop, endpoint.host, endpoint.port, _ANY_TYPE, answered)

    for endpoint in upstream.endpoints:
        look_up(endpoint)
    loop.run()
    if failures:
        raise CommandError(failures[0])


def log_access(proxy: ReverseProxy) -> None:
    """Write a line for each request that is done, or was refused, to stdout."""
    log = logging.getLogger("thor.access")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(logging.StreamHandler(sys.stdout))

    def done(flow: Flow) -> None:
        log.info("%s", access_line(flow))

    def refused(conn: TcpConnection, error: HttpError) -> None:
        log.info("%s", refused_line(conn, error, proxy.loop.time()))

    proxy.on("done", done)
    proxy.server.on("refused", refused)
