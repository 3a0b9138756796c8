"""What the commands share: arguments, messages, and the way a server runs until it is told to
stop.

Owns: exit codes (0 done, 1 failed while running, 2 wrong use), and signals. Must not know any
command; what is listened on is in `listen.py`.
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

#: What a command adds its parser to.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

DONE, FAILED, EXIT_USAGE = 0, 1, 2

DOCUMENTATION = "documentation: doc/cli.rst in the source; 'make doc' there makes it HTML"

#: How long requests in flight may take after the first signal to stop, in seconds.
DRAIN_S = 30.0


class CommandError(Exception):
    """Ends a command with one line on stderr; without a message, silently."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class Parser(argparse.ArgumentParser):
    """A parser of arguments whose complaints are one line."""

    def __init__(self, **kwargs: Any) -> None:
        # An epilog has lines of its own: see `examples`.
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(**{"formatter_class": form, **kwargs, "allow_abbrev": False})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; what is unknown to a command is that command's complaint, with its help."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """End the program: wrong use."""
        self.exit(EXIT_USAGE, f"{self.prog}: {message} (see '{self.prog} --help')\n")


def examples(*commands: str) -> str:
    """Return the end of a command's help: examples, and where the documentation is."""
    lines = "".join(f"  {command}\n" for command in commands)
    return f"examples:\n{lines}\n{DOCUMENTATION}"


def open_standard_streams() -> None:
    """Have stdout and stderr lead nowhere where they were closed when the program began; else
    the next file or socket would take their numbers, and get what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def log_stderr(message: str) -> None:
    """Say something to the user: a line on stderr."""
    print(message, file=sys.stderr, flush=True)


def flush_stdout() -> None:
    """Write out what was printed; a reader that has gone away is no failure of ours."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


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
    """Has the library's warnings appear on stderr, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("thor")
    before, logging.raiseExceptions = logging.raiseExceptions, False  # its reader may go away
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logging.raiseExceptions = before


def log_draining(count: int) -> None:
    """Tell whoever has pressed Ctrl-C why the command goes on; nothing if it does not."""
    if count:
        what = f"{count} connection{'s' * (count != 1)}"
        log_stderr(f"thor: waiting for {what}, Ctrl-C again to stop at once")


class GracefulRunner:
    """Runs a loop until a signal says to stop: in good order, or at once when it comes again."""

    def __init__(
        self,
        loop: LoopBase,
        stop: Callable[[], object],
        drain_s: float,
        left: str = "requests in flight",
        interrupt: Callable[[], object] | None = None,
    ) -> None:
        """stop: begins an orderly end; whoever it ends calls `loop.stop()` when that is done

        interrupt: the same for Ctrl-C, if that differs: somebody waits for the end
        left: what is still there after `drain_s` seconds, for people
        """
        self._loop = loop
        self._stop = stop
        self._drain_s = drain_s
        self._left = left
        self._interrupt = interrupt or stop
        self._stopping = False

    def run(self) -> None:
        """Run the loop; returns when it was stopped."""
        before = {
            number: signal.signal(number, self._signalled)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            self._loop.run()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        # A handler may come between any two steps of the loop: the work waits for its place.
        self._loop.run_in_loop(self._begin, number)

    def stop(self) -> None:
        """Begin to stop; the second time, stop."""
        self._begin(signal.SIGTERM)

    def _begin(self, number: int) -> None:
        if self._stopping:
            self._loop.stop()
            return
        self._stopping = True
        self._loop.schedule(self._drain_s, self._give_up)
        if number != signal.SIGINT:
            self._stop()
            return
        if sys.stderr.isatty():
            log_stderr("")  # ends the line that the terminal has begun with ^C
        self._interrupt()

    def _give_up(self) -> None:
        self._loop.stop()  # first: nobody may be there to be told
        log_stderr(f"thor: stopped with {self._left} after {self._drain_s:g} s")


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, however long the reader takes. Raises: OSError"""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
