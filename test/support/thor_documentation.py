"""The blocks of the documentation, and how they run.

Owns: reading the code blocks out of the pages, and running those of one page in order. Must not
know which pages there are, nor pytest: the tests start `python -m thor_documentation PAGE` for
each page, so that a page has an interpreter and a default loop of its own.

What a page may have:

- Python blocks. They run in order, in one namespace.
- Python blocks with a `:caption:`, which is a file's name. They are written to that file, in a
  directory that the rest of the page runs in.
- `console` blocks: lines that begin with `$ ` are commands, the lines below are what is printed,
  where `...` stands for anything, and alone on its line for any number of lines. With
  `:class: background` the command goes on until the page ends; then it gets a SIGINT, and has to
  end with status 0, or of the interrupt.
- Comments `.. invisible-code-block: python`, in which the page checks what a reader would see.
- `:class: norun`, for what a test cannot do.

A port of the page (8000 to 8099) is replaced with one that is free, the same one throughout.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]

_DIRECTIVE = re.compile(r"^( *)\.\. (?:code-block:: *(\S*)|(invisible-code-block): *(\S+))$")
_OPTION = re.compile(r"^ +:(\w+): *(.*)$")
_PORT = re.compile(r"\b80\d\d\b")


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


# -- running ------------------------------------------------------------------------------------


class Page:
    """A page whose blocks run."""

    def __init__(self, blocks: Iterable[Block], folder: Path, free_port: Callable[[], int]) -> None:
        self.blocks = [block for block in blocks if block.runs]
        self.folder = folder
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
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
        try:
            for block in self.blocks:
                text = self._with_free_ports(block.text)
                if block.language == "console":
                    self._run_console(block, text)
                elif "caption" in block.options:
                    (self.folder / block.options["caption"]).write_text(text)
                elif block.language == "python":
                    # The lines before keep the numbers of a traceback those of the page.
                    code = compile("\n" * (block.line - 1) + text, str(block.page), "exec")
                    exec(code, self.namespace)
            self._end_background()
        finally:
            for _, process in self.background:
                process.kill()
                process.communicate()

    def _run_console(self, block: Block, text: str) -> None:
        for step in re.split(r"^\$ ", text, flags=re.M)[1:]:
            command, _, expected = step.partition("\n")
            process = self._start(command)
            if block.options.get("class") == "background":
                self.background.append((block, process))
                self._await_lines(process, expected.splitlines(), block)
            else:
                printed, _ = process.communicate(timeout=60)
                assert process.returncode == 0, f"{block.page}:{block.line}: {printed}"
                assert _matches(printed, expected), f"{block.page}:{block.line}: {printed}"

    def _start(self, command: str) -> subprocess.Popen[str]:
        programs = {"python": [sys.executable], "thor": [sys.executable, "-m", "thor"]}
        name, *arguments = shlex.split(command)
        return subprocess.Popen(
            [*programs.get(name, [name]), *arguments],
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


def fetch_when_ready(url: str) -> Answer:
    """Make one request as soon as somebody listens at `url`; blocks."""
    while True:
        try:
            return fetch(url)
        except ConnectionRefusedError:  # the program that a page has just started
            continue


def visit(loop: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
    """Have `call` (such as `fetch`) made in a thread when the loop runs, which then stops.

    Returns: a list, empty now, in which the result will be
    """
    results: list[Any] = []

    def done(result: Any, exc: BaseException | None) -> None:
        loop.stop()
        if exc is not None:
            raise exc
        results.append(result)

    loop.schedule(0, lambda: loop.run_in_thread(lambda: call(*args, **kwargs), then=done))
    return results


def main() -> None:
    """Run the page that is named on the command line."""
    import thor.loop
    from thor_support import free_port

    thor.loop.on_exception = "raise"
    blocks = read_blocks(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.path.insert(0, folder)
        Page(blocks, Path(folder), free_port).run()


if __name__ == "__main__":
    main()
