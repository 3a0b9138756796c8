"""The command line, in this process or in one of its own.

Owns: starting, reading and ending them. Must not know any command.
"""

from __future__ import annotations

import io
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import IO, Any, NamedTuple

from thor.cli import main
from thor_support import ROOT, end_session

#: A process that runs for longer hangs.
LIMIT_S = 30.0
_COMMAND = (sys.executable, "-W", "error", "-m", "thor")


class Result(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: bytes
    err: str


def thor(*args: str, **popen: Any) -> Result:
    """Run a command to its end."""
    done = subprocess.run(
        [*_COMMAND, *args],
        capture_output=True,
        cwd=ROOT,
        timeout=LIMIT_S,
        check=False,
        **{"stdin": subprocess.DEVNULL, **popen},
    )
    return Result(done.returncode, done.stdout, done.stderr.decode())


def here(*args: str) -> Result:
    """Run a command in this process, which is quicker: for what ends before it serves."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(args)
        except SystemExit as exc:
            code = int(exc.code or 0)
    return Result(code, out.getvalue().encode(), err.getvalue())


def complains(result: Result, code: int, says: str) -> None:
    """Asserts that a command failed with one clear line and nothing else."""
    assert result.code == code, result
    assert result.out == b""
    assert result.err.endswith("\n")
    assert result.err.count("\n") == 1, result.err
    assert says in result.err


class Running:
    """A command that serves."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        #: The lines before the one that says where it listens.
        self.warnings: list[str] = []
        self.said = _read_line(process.stderr)
        while self.said.startswith("thor: cannot resolve "):
            self.warnings.append(self.said)
            self.said = _read_line(process.stderr)
        found = re.search(r"(https?)://([^/\s]+):(\d+)/", self.said)
        #: Where it listens: its port, or the path of its Unix socket.
        self.path = ""
        if found is None:
            (self.path,) = re.findall(r"unix:(\S+)", self.said.partition(" to ")[0])
        self.host = found[2] if found else ""
        self.port = int(found[3]) if found else 0
        self.url = f"{found[1]}://{self.host}:{self.port}" if found else f"unix:{self.path}"

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> Result:
        """Wait for its end."""
        out, err = self.process.communicate(timeout=LIMIT_S)
        return Result(self.process.returncode, out, err.decode())


def _read_line(pipe: IO[bytes] | None) -> str:
    assert pipe is not None
    return pipe.readline().decode()


@contextmanager
def running(*args: str, before: Sequence[str] = (), **popen: Any) -> Iterator[Running]:
    """Run a command that serves until the block ends; entered when it says where it listens.

    before: what the command line is given to, such as a shell's
    """
    process = subprocess.Popen(
        [*before, *_COMMAND, *args],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **popen,
    )
    try:
        yield Running(process)
    finally:
        end_session(process)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def few_descriptors() -> None:
    """In a process that is to run a command: limit its descriptors to 64."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def ask_together(port: int, path: str, clients: int) -> list[bytes]:
    """So many clients ask at once, then read their answers, one after the other.

    Returns: the status lines
    """
    lines = []
    with ExitStack() as stack:
        socks = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), LIMIT_S))
            for _ in range(clients)
        ]
        for sock in socks:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        for sock in socks:
            data = sock.recv(65536)
            lines.append(data.partition(b"\r\n")[0])
            while data:
                data = sock.recv(1 << 20)
    return lines
