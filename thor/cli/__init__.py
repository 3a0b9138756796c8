"""The command line: `thor COMMAND ...`. Each command is a file of its own."""

from __future__ import annotations

from collections.abc import Sequence

from thor import __version__
from thor.cli import demo, fetch, proxy, serve
from thor.cli.common import (
    EXIT_USAGE,
    FAILED,
    CommandError,
    Parser,
    examples,
    flush_stdout,
    log_stderr,
    logging_to_stderr,
    open_standard_streams,
)

COMMANDS = (serve, fetch, proxy, demo)


def make_parser() -> Parser:
    """Return the parser of all arguments."""
    parser = Parser(
        prog="thor",
        description="Evented HTTP servers, clients and proxies.",
        epilog=examples("thor serve . --list", "thor proxy --to http://127.0.0.1:8000"),
    )
    parser.add_argument("--version", action="version", version=f"thor {__version__}")
    parser.add_argument(
        "--debug",
        action="store_true",
        help="development mode: report likely mistakes, slow callbacks, and unanswered requests",
    )
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name. Returns: the exit code"""
    open_standard_streams()
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        names = ", ".join(command.__name__.rpartition(".")[2] for command in COMMANDS)
        log_stderr(f"thor: say what to do, one of {names} (see 'thor --help')")
        return EXIT_USAGE
    if args.debug:
        from thor import development

        development.enable()
    try:
        with logging_to_stderr():
            code: int = args.run(args)
            return code
    except CommandError as exc:
        if str(exc):
            log_stderr(f"thor {args.command}: {exc}")
        return exc.code
    except KeyboardInterrupt:
        return FAILED
    finally:
        flush_stdout()
