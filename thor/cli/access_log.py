"""The access log of the commands that serve: `--access-log`.

Owns: the arguments, and the events that make an entry. Must not know the format of a line, nor how
it is written.
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
    """Return the access log that the arguments ask for, None for none. Raises: CommandError"""
    if args.access_log:
        return AccessLog(LineWriter(sys.stdout.fileno(), "the access log"), args.access_log_query)
    if args.access_log_query is not None:
        raise CommandError("--access-log-query goes with --access-log", EXIT_USAGE)
    return None


class AccessLog:
    """Writes a line for each request that is complete, or was refused."""

    def __init__(self, writer: LineWriter, query: str | None) -> None:
        self._writer = writer
        self._query = query != "off"

    def log_proxy(self, proxy: ReverseProxy) -> None:
        """Log the requests of a proxy."""
        proxy.on("done", self._write_entry)
        self._log_refused(proxy.server)

    def log_server(self, server: HttpServer) -> None:
        """Log the requests of a server. Call it before anything listens for its exchanges."""
        server.exchange_class = RecordedExchange
        server.on("exchange", self._on_exchange)
        self._log_refused(server)

    def close(self) -> None:
        """Write what is queued, for at most a second, and close the log."""
        self._writer.close()

    def _on_exchange(self, exchange: RecordedExchange) -> None:
        exchange.on("done", lambda _: self._write_entry(exchange))

    def _write_entry(self, entry: Flow | RecordedExchange) -> None:
        self._writer.write(access_line(entry, query=self._query))

    def _log_refused(self, server: HttpServer) -> None:
        def refused(conn: TcpConnection, error: HttpError) -> None:
            self._writer.write(refused_line(conn, error, server.loop.time()))

        server.on("refused", refused)
