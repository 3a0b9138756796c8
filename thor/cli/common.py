"""What all commands use: arguments, messages, and running a loop until a signal stops it.

Owns: exit codes (0 done, 1 failed while running, 2 wrong use), and signals. Must not know any
command, nor addresses to listen on (`listen.py`).
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from types import FrameType

    from thor.loop import LoopBase

#: The subparsers that each command adds its own to.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

DONE, FAILED, EXIT_USAGE = 0, 1, 2

DOCUMENTATION = "documentation: doc/cli.rst in the source; 'make doc' there makes it HTML"

#: How long requests in flight may take after the first signal, in seconds.
DRAIN_S = 30.0


class CommandError(Exception):
    """Ends a command with one line on stderr; without a message, silently."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class Parser(argparse.ArgumentParser):
    """A parser of arguments whose error messages are one line."""

    def __init__(self, **kwargs: Any) -> None:
        # An epilog has lines of its own: see `examples`.
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(**{"formatter_class": form, **kwargs, "allow_abbrev": False})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; an unknown argument is an error of the command, whose help the message names."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Write the message to stderr, and exit with `EXIT_USAGE`."""
        self.exit(EXIT_USAGE, f"{self.prog}: {message} (see '{self.prog} --help')\n")


def examples(*commands: str) -> str:
    """Return the epilog of a command's help: examples, and where the documentation is."""
    lines = "".join(f"  {command}\n" for command in commands)
    return f"examples:\n{lines}\n{DOCUMENTATION}"


def open_standard_streams() -> None:
    """Open standard streams that were closed when the program began, on /dev/null.

    Otherwise the next file or socket would get the number of such a stream, and what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            devnull = os.open(os.devnull, os.O_RDWR)
            if devnull != number:
                os.dup2(devnull, number)
                os.close(devnull)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def log_stderr(message: str) -> None:
    """Write a line to stderr."""
    print(message, file=sys.stderr, flush=True)


def flush_stdout() -> None:
    """Write what was printed; it is not an error if the reader has closed the pipe."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


# -- arguments ----------------------------------------------------------------------------------


def address(text: str) -> tuple[str, int]:
    """Parse the argument HOST:PORT, [IPV6]:PORT or :PORT (every interface)."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise argparse.ArgumentTypeError(f"{text!r}: write an IPv6 address as [{text}]:PORT")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080")
    if not (port.isascii() and port.isdigit()) or int(port[:6]) > 65535:
        if host == "unix":
            raise argparse.ArgumentTypeError(f"{text!r}: HOST:PORT is needed, not a Unix socket")
        raise argparse.ArgumentTypeError(f"{text!r}: the port must be a number from 0 to 65535")
    return host, int(port)


def seconds(text: str) -> float:
    """Parse an argument that is a time in seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


# -- running ------------------------------------------------------------------------------------


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Write the library's warnings to stderr, one line each, inside the `with` block."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("thor")
    before, logging.raiseExceptions = logging.raiseExceptions, False  # stderr may be a closed pipe
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logging.raiseExceptions = before


def log_draining(count: int) -> None:
    """Write why the command goes on after Ctrl-C; nothing for a `count` of 0.

    count: the connections that are still open
    """
    if count:
        what = f"{count} connection{'s' * (count != 1)}"
        log_stderr(f"thor: waiting for {what}, Ctrl-C again to stop at once")


class GracefulRunner:
    """Runs a loop until SIGTERM or SIGINT: the first shuts down gracefully, the second at once."""

    def __init__(
        self,
        loop: LoopBase,
        stop: Callable[[], object],
        drain_s: float,
        remaining: str = "requests in flight",
        interrupt: Callable[[], object] | None = None,
    ) -> None:
        """Set up, without running.

        stop: begins a graceful shutdown, which ends with `loop.stop()`
        drain_s: how long that may take, in seconds; then the loop is stopped
        remaining: what is still in progress then, for the message
        interrupt: called for SIGINT in place of `stop`
        """
        self._loop = loop
        self._stop = stop
        self._drain_s = drain_s
        self._remaining = remaining
        self._interrupt = interrupt or stop
        self._stopping = False

    def run(self) -> None:
        """Run the loop until it is stopped."""
        before = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            self._loop.run()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A signal handler may run between any two instructions of the loop.
        self._loop.run_in_loop(self._on_stop_request, number)

    def stop(self) -> None:
        """Shut down gracefully; the second time, stop the loop."""
        self._on_stop_request(signal.SIGTERM)

    def _on_stop_request(self, number: int) -> None:
        if self._stopping:
            self._loop.stop()
            return
        self._stopping = True
        self._loop.schedule(self._drain_s, self._on_drain_timeout)
        if number != signal.SIGINT:
            self._stop()
            return
        if sys.stderr.isatty():
            log_stderr("")  # end the line on which the terminal shows ^C
        self._interrupt()

    def _on_drain_timeout(self) -> None:
        self._loop.stop()  # first: writing to stderr may fail
        log_stderr(f"thor: stopped with {self._remaining} after {self._drain_s:g} s")


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, and block until the reader has taken it. Raises: OSError"""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
