"""The published documentation, as the tests of it read it.

Owns: finding the texts, their headings and their examples. Must not know what the tests do.

The texts are in `documented/` in the folder that THOR_SHARED names, else in `shared/` beside the
tree; the numbered ones are the reference of the event library, the HTTP client and the server.
Where they are absent, what needs them is skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from thor_support import ROOT

F = TypeVar("F", bound=Callable[..., Any])

FOLDER = Path(os.environ.get("THOR_SHARED") or ROOT.parent / "shared") / "documented"
TEXT = "\n".join(path.read_text() for path in sorted(FOLDER.glob("[0-9]*.txt")))

#: Headings that say nothing by themselves.
TITLES = {"Events", "HTTP", "Event Loops", "TCP", "TLS/SSL", "UDP", "API Reference"}


def documents(*headings: str) -> Callable[[F], F]:
    """Says of a test that it is about what stands below these headings."""
    return lambda test: test


def need_text() -> None:
    """Skip the test where the texts are absent."""
    if not TEXT:
        pytest.skip("the published documentation is absent (THOR_SHARED says where to look)")


def headings() -> list[str]:
    """The headings of the reference."""
    found = [plain(text) for text in re.findall(r"^#+ (.*)$", TEXT, flags=re.M)]
    return [text for text in found if text not in TITLES and not text.startswith("Thor")]


def plain(heading: str) -> str:
    """A heading as one would say it: `EventEmitter.on ( event, listener )`."""
    text = re.sub(r"<span[^>]*>|\\", "", heading)
    text = re.sub(r"(?<![A-Za-z])_|_(?![A-Za-z])", "", text)
    return " ".join(text.replace("Connnection", "Connection").split())


def code_blocks() -> list[str]:
    """The indented blocks of the texts, each once."""
    found = re.findall(r"(?:^(?: {4}.*| *)\n)*^ {4}.*$", TEXT, flags=re.M)
    return list(dict.fromkeys(textwrap.dedent(block).strip("\n") + "\n" for block in found))


def example(*parts: str) -> str:
    """The one block that has all these parts."""
    need_text()
    [block] = [block for block in code_blocks() if all(part in block for part in parts)]
    return block


def start_python(source: str, *args: str) -> subprocess.Popen[str]:
    """Start an example as a program of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
