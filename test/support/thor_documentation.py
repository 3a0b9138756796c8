"""The blocks of the documentation, and how they run.

Owns: reading the code blocks out of the pages, and running those of one page in order. Must not
know which pages there are, nor pytest: the tests start `python -m thor_documentation PAGE` for
each page, so that a page has an interpreter and a default loop of its own.

A page runs as its reader runs it, in an empty folder:

- A Python block with a `:caption:` (`:name:` in the README: other renderers than Sphinx drop what
  has a caption) goes into the file of that name. A later block with the same name goes on in it.
- Python blocks without a name go on from each other in one program. It is run when its last block
  is there, and has to end by itself, without an error.
- `console` blocks: lines that begin with `$ ` are commands, the lines below are what is printed,
  where `...` stands for anything, and alone on its line for any number of lines. With
  `:class: background` the command goes on until the page ends; then it gets a SIGINT, and has to
  end with status 0, or of the interrupt. Of several commands it is the last that goes on.
- Comments `.. invisible-code-block: python` send requests to what runs, and assert; no more.
- `:class: norun`, for what a test cannot do.

A port of the page (8000 to 8099, 8400 to 8499) is replaced with one that is free, the same one
throughout. A command that found nobody listening yet is given again.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]

T = TypeVar("T")

_DIRECTIVE = re.compile(r"^( *)\.\. (?:code-block:: *(\S*)|(invisible-code-block): *(\S+))$")
_OPTION = re.compile(r"^ +:(\w+): *(.*)$")
_PORT = re.compile(r"\b8[04]\d\d\b")
_REFUSED = re.compile("connection refused", re.I)
#: The file of the Python blocks that name none.
_PROGRAM = "program.py"


class Block(NamedTuple):
    """One code block. `line` is that of its first line of code, counted from 1."""

    page: Path
    line: int
    language: str
    hidden: bool
    options: dict[str, str]
    text: str

    @property
    def runs(self) -> bool:
        """Whether it is run at all."""
        return self.options.get("class") != "norun"

    @property
    def file(self) -> str:
        """The name of the file that a visible Python block goes into."""
        return self.options.get("caption") or self.options.get("name") or _PROGRAM

    @property
    def is_named(self) -> bool:
        """Whether the page names that file."""
        return self.file != _PROGRAM


def read_blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    lines = page.read_text().splitlines()
    found = []
    for number, line in enumerate(lines):
        directive = _DIRECTIVE.match(line)
        if directive:
            language = directive[2] if directive[3] is None else directive[4]
            found.append(_read_block(page, lines, number, directive, language))
    return found


def _read_block(
    page: Path, lines: list[str], number: int, directive: re.Match[str], language: str
) -> Block:
    deeper = len(directive[1]) + 1
    options = {}
    number += 1
    while number < len(lines) and (option := _OPTION.match(lines[number])):
        options[option[1]] = option[2]
        number += 1
    while number < len(lines) and not lines[number].strip():
        number += 1
    first = number
    while number < len(lines) and (not lines[number].strip() or _indent(lines[number]) >= deeper):
        number += 1
    text = textwrap.dedent("\n".join(lines[first:number])).rstrip() + "\n"
    return Block(page, first + 1, language, directive[3] is not None, options, text)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def is_pasted(block: Block) -> bool:
    """Return whether a reader pastes the block into a file."""
    return block.language == "python" and not block.hidden


# -- running ------------------------------------------------------------------------------------


class Page:
    """A page whose blocks run."""

    def __init__(self, blocks: Iterable[Block], folder: Path, free_port: Callable[[], int]) -> None:
        self.blocks = [block for block in blocks if block.runs]
        self.folder = folder
        self.checks: dict[str, Any] = {}
        self.background: list[tuple[Block, subprocess.Popen[str]]] = []
        self._free_port = free_port
        self._ports: dict[str, str] = {}

    def _with_free_ports(self, text: str) -> str:
        def replace(port: re.Match[str]) -> str:
            if port[0] not in self._ports:
                self._ports[port[0]] = str(self._free_port())
            return self._ports[port[0]]

        return _PORT.sub(replace, text)

    def run(self) -> None:
        """Run all blocks. Raises: whatever shows that the page is wrong"""
        unnamed = [b for b in self.blocks if is_pasted(b) and not b.is_named]
        try:
            for block in self.blocks:
                text = self._with_free_ports(block.text)
                if block.language == "console":
                    self._run_console(block, text)
                elif block.hidden:
                    # The lines before keep the numbers of a traceback those of the page.
                    code = compile("\n" * (block.line - 1) + text, str(block.page), "exec")
                    exec(code, self.checks)
                elif is_pasted(block):
                    self._paste(block, text)
                if unnamed and block is unnamed[-1]:
                    self._run_to_end(block, f"python {_PROGRAM}", "...")
            self._end_background()
        finally:
            for _, process in self.background:
                process.kill()
                process.communicate()

    def _paste(self, block: Block, text: str) -> None:
        file = self.folder / block.file
        lines = file.read_text().count("\n") if file.exists() else 0
        with file.open("a") as end:
            end.write("\n" * (block.line - 1 - lines) + text)

    def _run_console(self, block: Block, text: str) -> None:
        *steps, last = re.split(r"^\$ ", text, flags=re.M)[1:]
        for step in steps:
            self._run_to_end(block, *_parted(step))
        if block.options.get("class") == "background":
            command, expected = _parted(last)
            process = self._start(f"exec {command}")
            self.background.append((block, process))
            self._await_lines(process, expected.splitlines(), block)
        else:
            self._run_to_end(block, *_parted(last))

    def _run_to_end(self, block: Block, command: str, expected: str) -> None:
        while True:
            process = self._start(command)
            printed, _ = process.communicate(timeout=60)
            if process.returncode == 0 and _matches(printed, expected):
                return
            ended = [other for _, other in self.background if other.poll() is not None]
            again = _REFUSED.search(printed) and self.background and not ended
            assert again, f"{block.page}:{block.line}: {printed}"

    def _start(self, command: str) -> subprocess.Popen[str]:
        programs = {"python": sys.executable, "thor": f"{sys.executable} -m thor"}
        shell = re.sub(
            r"^(exec )?(python|thor)\b", lambda m: (m[1] or "") + programs[m[2]], command
        )
        return subprocess.Popen(
            shell,
            shell=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _await_lines(
        self, process: subprocess.Popen[str], expected: list[str], block: Block
    ) -> None:
        assert process.stdout is not None
        printed = ""
        while not _matches(printed, "\n".join(expected)):
            line = process.stdout.readline()
            assert line, f"{block.page}:{block.line}: ended after {printed!r}"
            printed += line

    def _end_background(self) -> None:
        # A server waits for its clients, which began later.
        for block, process in reversed(self.background):
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=60)
            ended_well = process.returncode in (0, -signal.SIGINT)
            assert ended_well, f"{block.page}:{block.line}: {printed}"


def _parted(step: str) -> tuple[str, str]:
    command, _, expected = step.partition("\n")
    return command, expected


def _matches(printed: str, expected: str) -> bool:
    """Whether this was to be printed: `...` stands for anything, alone on its line for lines."""
    pattern = ""
    for line in expected.strip().splitlines():
        if line.rstrip() == "...":
            pattern += "(?:.*\n)*?"
        else:
            pattern += re.escape(line.rstrip()).replace(re.escape("..."), ".*") + "\n"
    lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.fullmatch(pattern, lines) is not None


# -- what a page's checks use -------------------------------------------------------------------


class Answer(NamedTuple):
    """What an HTTP client saw."""

    status: int
    reason: str
    fields: dict[str, str]
    body: bytes


def fetch(url: str, method: str = "GET", body: Any = None, **fields: str) -> Answer:
    """Make one request, with the standard library's client; blocks."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=60)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(
            method, target, body, {name.replace("_", "-"): value for name, value in fields.items()}
        )
        response = connection.getresponse()
        seen = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, response.reason, seen, response.read())
    finally:
        connection.close()


def when_ready(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Return `call(...)`, made again while nobody listens there yet; blocks."""
    while True:
        try:
            return call(*args, **kwargs)
        except ConnectionRefusedError:  # the program that a page has just started
            continue


def fetch_when_ready(url: str, method: str = "GET", body: Any = None, **fields: str) -> Answer:
    """Make one request as soon as somebody listens at `url`; blocks."""
    return when_ready(fetch, url, method, body, **fields)


def main() -> None:
    """Run the page that is named on the command line."""
    from thor_support import free_port

    blocks = read_blocks(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Page(blocks, Path(folder), free_port).run()


if __name__ == "__main__":
    main()
