"""`thor serve DIRECTORY`: static files over HTTP."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Unpack

from thor.cli.access_log import add_access_log_arguments, open_access_log
from thor.cli.common import CommandError, examples
from thor.cli.listen import add_server_arguments, idle_drain_s
from thor.cli.serving import serve_forever
from thor.files import StaticFiles
from thor.http import HttpServer
from thor.loop import make

if TYPE_CHECKING:
    from thor.cli.common import Commands
    from thor.http.server.server import ServerSettings


def add_parser(commands: Commands) -> None:
    """Describe the command's arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "serve",
        help="serve the files of a directory",
        description="Serve a directory's files.",
        epilog=examples(
            "thor serve public --listen 127.0.0.1:8000",
            "thor serve . --list --certificate cert.pem --listen :8443",
        ),
    )
    parser.add_argument("directory", metavar="DIRECTORY", help="what to serve")
    add_server_arguments(parser, "127.0.0.1:8000")
    parser.add_argument(
        "--list", action="store_true", help="list directories that have no index.html"
    )
    add_access_log_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve files until a signal says to stop. Returns: the exit code"""
    try:
        files = StaticFiles(args.directory, listing=args.list)
    except OSError as exc:
        raise CommandError(f"cannot serve {args.directory!r}: {exc.strerror}") from None
    log = open_access_log(args)
    loop = make()

    def serve(host: str | None, port: int | None, **settings: Unpack[ServerSettings]) -> HttpServer:
        server = HttpServer(host, port, loop, **settings)
        server.drain_idle_timeout = idle_drain_s(args)
        server.tcp_server.fds_per_connection = 2  # the second is for a file
        if log is not None:
            log.log_server(server)
        server.on("exchange", files)
        return server

    def announce(where: str) -> str:
        return f"thor: serving {args.directory} on {where}"

    return serve_forever(args, loop, serve, announce, log)
