"""The request body of `thor fetch`: the options `-d`, `--data-binary` and `--json`.

Owns: the meaning of their values, which is that of curl. Must not know the request.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

from thor.cli.common import EXIT_USAGE, CommandError

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
#: Removed from a file that `-d` names: a form has no lines.
_NOT_IN_A_FORM = b"\r\n\0"


class RequestData(NamedTuple):
    """A request's body, and the fields that describe it; the user's fields override them."""

    body: bytes
    fields: list[tuple[str, str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a body."""
    where = "@FILE and - (standard input) name what is sent"
    parser.add_argument(
        "-d",
        "--data",
        metavar="DATA",
        dest="data",
        action="append",
        type=lambda text: (text, _NOT_IN_A_FORM),
        help=f"send this form; {where}, without its line ends; several are joined by &",
    )
    parser.add_argument(
        "--data-binary",
        metavar="DATA",
        dest="data",
        action="append",
        type=lambda text: (text, b""),
        help="the same, with its line ends",
    )
    parser.add_argument(
        "--json",
        metavar="DATA",
        action="append",
        help=f"send this as JSON, and ask for JSON; {where}; several are joined as they are",
    )


def read_data(args: argparse.Namespace) -> RequestData | None:
    """Read the body that the arguments name.

    Returns: None if they name none
    Raises: CommandError if they exclude each other, or a file cannot be read
    """
    if args.data is not None and args.json is not None:
        raise CommandError("-d and --json exclude each other", EXIT_USAGE)
    if args.json is not None:
        body = _join([(text, b"") for text in args.json], b"")
        return RequestData(body, [("Content-Type", _JSON), ("Accept", _JSON)])
    if args.data is not None:
        return RequestData(_join(args.data, b"&"), [("Content-Type", _FORM)])
    return None


def _join(values: Sequence[tuple[str, bytes]], separator: bytes) -> bytes:
    """Return the values, read and joined.

    values: each with the octets to remove from a file that it names
    """
    return separator.join(_read(text, remove) for text, remove in values)


def _read(text: str, remove: bytes) -> bytes:
    source: str | int
    if text in ("-", "@-"):
        name, source = "standard input", 0
    elif text.startswith("@"):
        name, source = repr(text[1:]), text[1:]
    else:
        return text.encode("utf-8", "surrogateescape")
    try:
        with open(source, "rb", closefd=source != 0) as file:
            return file.read().translate(None, remove)
    except OSError as exc:
        raise CommandError(f"cannot read {name}: {exc.strerror}") from None
    except ValueError:  # a NUL in the name
        raise CommandError(f"{name} is not the name of a file", EXIT_USAGE) from None
