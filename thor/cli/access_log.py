"""`--access-log`: of which requests there are lines, and where they go.

Owns: the arguments, and what is listened to. Must not know what a line looks like, nor how it is
written.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from thor.cli.common import EXIT_USAGE, CommandError
from thor.cli.line_writer import LineWriter
from thor.http.server import RecordedExchange
from thor.proxy.access_log import access_line, refused_line

if TYPE_CHECKING:
    from thor.http import HttpServer
    from thor.http.error import HttpError
    from thor.proxy import Flow, ReverseProxy
    from thor.tcp import TcpConnection


def add_access_log_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of a command that serves."""
    parser.add_argument(
        "--access-log", action="store_true", help="write a line for each request to stdout"
    )
    parser.add_argument(
        "--access-log-query",
        metavar="STATE",
        choices=("on", "off"),
        help="on, or off: whether the access log has the queries of targets and Referers, which "
        "may hold secrets (default: on)",
    )


def open_access_log(args: argparse.Namespace) -> AccessLog | None:
    """Return what `--access-log` asks for. Raises: CommandError"""
    if args.access_log:
        return AccessLog(LineWriter(sys.stdout.fileno(), "the access log"), args.access_log_query)
    if args.access_log_query is not None:
        raise CommandError("--access-log-query goes with --access-log", EXIT_USAGE)
    return None


class AccessLog:
    """A line for each request that is done, or was refused."""

    def __init__(self, writer: LineWriter, query: str | None) -> None:
        self._writer = writer
        self._query = query != "off"

    def log_proxy(self, proxy: ReverseProxy) -> None:
        """Log the requests of a proxy."""
        proxy.on("done", self._done)
        self._log_refused(proxy.server)

    def log_server(self, server: HttpServer) -> None:
        """Log the requests of a server; called before anything else listens for its exchanges."""
        server.exchange_class = RecordedExchange
        server.on("exchange", self._begun)
        self._log_refused(server)

    def close(self) -> None:
        """Write what is queued, within a bounded time."""
        self._writer.close()

    def _begun(self, exchange: RecordedExchange) -> None:
        exchange.on("done", lambda _: self._done(exchange))

    def _done(self, entry: Flow | RecordedExchange) -> None:
        self._writer.write(access_line(entry, query=self._query))

    def _log_refused(self, server: HttpServer) -> None:
        def refused(conn: TcpConnection, error: HttpError) -> None:
            self._writer.write(refused_line(conn, error, server.loop.time()))

        server.on("refused", refused)
