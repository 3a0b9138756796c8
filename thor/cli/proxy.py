"""`thor proxy --to URL ...`: a reverse proxy."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Unpack

from thor import dns
from thor.cli.access_log import add_access_log_arguments, open_access_log
from thor.cli.common import EXIT_USAGE, CommandError, examples, log_stderr
from thor.cli.listen import add_server_arguments, certificate_errors, idle_drain_s, network
from thor.cli.serving import serve_forever
from thor.http.client.connect import ALPN_PROTOCOLS
from thor.loop import LoopBase, make
from thor.proxy import Endpoint, ReverseProxy, Upstream
from thor.proxy.upstream import BALANCERS
from thor.tls import client_context

if TYPE_CHECKING:
    import ssl

    from thor.cli.common import Commands
    from thor.http.server.server import ServerSettings
    from thor.types import DnsResultList

#: Any type of socket: only whether the name has an address matters.
_ANY_TYPE = 0


def add_parser(commands: Commands) -> None:
    """Describe the command's arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "proxy",
        help="forward requests to one or more servers",
        description="A reverse proxy: forward requests to one or more servers.",
        epilog=examples(
            "thor proxy --to http://127.0.0.1:8001 --to http://127.0.0.1:8002",
            "thor proxy --listen :8443 --certificate cert.pem --to unix:/run/app.sock",
        ),
    )
    add_server_arguments(parser, "127.0.0.1:8080")
    parser.add_argument(
        "--to",
        metavar="URL",
        action="append",
        required=True,
        help="http://HOST[:PORT][/PREFIX], https:// the same, or unix:/PATH, whole: where requests "
        "go; may be given several times",
    )
    parser.add_argument(
        "--origin-ca",
        metavar="FILE",
        help="trust only certificates of these issuers (PEM) for https servers",
    )
    parser.add_argument(
        "--origin-insecure",
        action="store_true",
        help="accept any certificate, so that anybody can pretend to be the server",
    )
    parser.add_argument(
        "--balance",
        choices=sorted(BALANCERS),
        default="round_robin",
        help="how the next server is found (default: %(default)s)",
    )
    parser.add_argument(
        "--trust",
        metavar="NETWORK",
        action="append",
        type=network,
        default=[],
        help="trust the X-Forwarded-* of peers in this network, such as 10.0.0.0/8; unix: for "
        "the peers of Unix sockets",
    )
    parser.add_argument(
        "--strict-target",
        action="store_true",
        help="refuse request targets that violate RFC 3986, as those of some browsers do",
    )
    add_access_log_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Forward requests until a signal says to stop. Returns: the exit code"""
    loop = make()
    try:
        upstream = Upstream(args.to, args.balance)
    except ValueError as exc:
        raise CommandError(str(exc), EXIT_USAGE) from None
    context = origin_context(args)
    log = open_access_log(args)
    resolve_endpoints(loop, upstream)

    def forward(
        host: str | None, port: int | None, **settings: Unpack[ServerSettings]
    ) -> ReverseProxy:
        proxy = ReverseProxy(host, port, upstream, loop, trusted=args.trust, **settings)
        proxy.server.drain_idle_timeout = idle_drain_s(args)
        proxy.server.strict_target = args.strict_target
        proxy.client.tls_context = context
        if log is not None:
            log.log_proxy(proxy)
        return proxy

    def announce(where: str) -> str:
        return f"thor: forwarding {where} to {', '.join(args.to)}"

    return serve_forever(args, loop, forward, announce, log)


def origin_context(args: argparse.Namespace) -> ssl.SSLContext | None:
    """Return the context of TLS for https servers; None for the client's default.

    Raises: CommandError for a file that cannot be used
    """
    if args.origin_ca is None and not args.origin_insecure:
        return None
    if args.origin_ca is not None and args.origin_insecure:
        raise CommandError("--origin-ca and --origin-insecure exclude each other", EXIT_USAGE)
    with certificate_errors():
        return client_context(
            verify=not args.origin_insecure, ca_file=args.origin_ca, alpn=ALPN_PROTOCOLS
        )


def resolve_endpoints(loop: LoopBase, upstream: Upstream) -> None:
    """Resolve the name of every endpoint, so that a misspelt one is reported at the start.

    A name that cannot be resolved is a warning: it is resolved again for each connection.
    Raises: CommandError if none can be resolved
    """
    waiting = {endpoint for endpoint in upstream.endpoints if endpoint.port}
    failures: list[str] = []

    def look_up(endpoint: Endpoint) -> None:
        def answered(answer: DnsResultList | OSError) -> None:
            waiting.discard(endpoint)
            if isinstance(answer, OSError):
                failures.append(f"cannot resolve {endpoint.host!r}: {answer.strerror}")
            if not waiting:
                loop.stop()

        dns.lookup(loop, endpoint.host, endpoint.port, _ANY_TYPE, answered)

    if not waiting:
        return  # Unix sockets have no names
    for endpoint in list(waiting):
        look_up(endpoint)
    loop.run()
    if len(failures) == len(upstream.endpoints):
        raise CommandError("; ".join(failures))
    for failure in failures:
        log_stderr(f"thor: {failure}; it is tried again when a request is to go there")
