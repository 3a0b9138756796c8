"""The progress of a download, on a terminal.

Owns: how it is shown: as a bar by `rich` (the extra `thor[cli]`), or as text without it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import TextIO

#: Seconds between two updates of the terminal.
UPDATE_S = 0.1


class Progress(Protocol):
    """Shows how much of a download has arrived."""

    def advance(self, count: int) -> None:
        """Note that `count` more bytes have arrived."""

    def stop(self) -> None:
        """Show the last state, and leave the terminal on a new line."""


def show_progress(terminal: TextIO, total: int | None) -> Progress:
    """Show the progress of a download of `total` bytes (None: not known) on `terminal`."""
    try:
        return _Bar(terminal, total)
    except ImportError:
        return _Text(terminal, total)


class _Interval:
    """Says when the next update is due: a download has thousands of pieces a second."""

    def __init__(self) -> None:
        self._next = 0.0

    def passed(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + UPDATE_S
        return True


class _Bar:
    """A bar by `rich`, with rate and remaining time. Raises: ImportError"""

    def __init__(self, terminal: TextIO, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TaskProgressColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TaskProgressColumn(),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(file=terminal),
            auto_refresh=False,  # it would be by a thread
        )
        self._task = self._bar.add_task("", total=total)
        self._interval = _Interval()
        self._bar.start()

    def advance(self, count: int) -> None:
        self._bar.update(self._task, advance=count, refresh=self._interval.passed())

    def stop(self) -> None:
        self._bar.refresh()
        self._bar.stop()


class _Text:
    """One line of text, written over itself."""

    def __init__(self, terminal: TextIO, total: int | None) -> None:
        self._terminal = terminal
        self._total = total
        self._received = 0
        self._interval = _Interval()

    def advance(self, count: int) -> None:
        self._received += count
        if self._interval.passed():
            self._write()

    def stop(self) -> None:
        self._write()
        self._terminal.write("\n")
        self._terminal.flush()

    def _write(self) -> None:
        received = f"{self._received / 1e6:.1f}"
        if self._total:
            share = 100 * self._received // self._total
            text = f"{share:3}% {received}/{self._total / 1e6:.1f} MB"
        else:
            text = f"{received} MB"
        self._terminal.write(f"\r{text}")
        self._terminal.flush()
