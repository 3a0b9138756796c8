"""The output of `thor fetch`: a file, or standard output.

Owns: the descriptor, and the progress that is shown while a file is written.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from thor.cli.common import CommandError, write_all
from thor.cli.progress import show_progress

if TYPE_CHECKING:
    from thor.cli.progress import Progress


class Output:
    """Writes a body. Writing blocks until the reader has taken it, and nothing is received
    meanwhile, which is enough flow control for one response."""

    def __init__(self, name: str | None, quiet: bool) -> None:
        """Open nothing yet. name: of the file, None for standard output; quiet: show no progress"""
        self._name = name
        self._quiet = quiet
        self._fd = -1
        self._was_blocking = True
        self._progress: Progress | None = None

    def open(self) -> None:
        """Open and truncate the file; called once there is a response, so that errors spare it.

        Raises: CommandError
        """
        try:
            if self._name is not None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._fd = os.open(self._name, flags, 0o666)
            else:
                self._fd = sys.stdout.fileno()
                self._was_blocking = os.get_blocking(self._fd)
                os.set_blocking(self._fd, True)
        except OSError as exc:
            raise CommandError(f"cannot write {self._name!r}: {exc.strerror}") from None

    def expect(self, total: int | None) -> None:
        """Show progress from now on, if the output is a file and stderr a terminal.

        total: the bytes to come; None if that is not known
        """
        if not self._quiet and sys.stderr.isatty() and stat.S_ISREG(os.fstat(self._fd).st_mode):
            self._progress = show_progress(sys.stderr, total)

    def write(self, data: bytes) -> None:
        """Write all of `data`. Raises: CommandError, without a message if the pipe is closed"""
        try:
            write_all(self._fd, data)
        except BrokenPipeError:
            raise CommandError("") from None
        except OSError as exc:
            raise CommandError(f"cannot write the response: {exc.strerror}") from None
        if self._progress is not None:
            self._progress.advance(len(data))

    def close(self) -> None:
        """End the progress, and close the file."""
        if self._progress is not None:
            self._progress.stop()
        if self._fd > 2:
            os.close(self._fd)
        elif self._fd >= 0:
            os.set_blocking(self._fd, self._was_blocking)
        self._fd = -1
