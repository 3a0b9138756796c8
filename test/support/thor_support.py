"""What the tests share: which pollers there are, how to run a loop, how to find a program.

Owns: helpers that are plain functions, so that a test module imports them by name; what needs
pytest's life cycle is a fixture in `test/conftest.py`. Must not know any test.

Environment: `THOR_TEST_POLLERS=default` runs each test on the machine's default poller only;
`THOR_REQUIRE_INTEROP=1` turns a skip for want of a program into a failure.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

import pytest

import thor.loop
from bench.harness import free_port as free_port  # for foreign programs

ROOT = Path(__file__).resolve().parents[2]

#: A loop that runs longer than this in a test hangs: nothing in the suite waits for the clock.
LOOP_LIMIT_S = 10.0


def pollers() -> list[str]:
    """The names of the backends to test, the default one first."""
    present = thor.loop.backends()
    if os.environ.get("THOR_TEST_POLLERS") == "default":
        return present[:1]
    return present


def run_loop(
    loop: Any, until: Callable[..., object] | None = None, *, timeout_s: float = LOOP_LIMIT_S
) -> None:
    """Run `loop` until somebody stops it, or until `until()` is true; fail the test at the limit.

    With `until`, which is asked after each turn, the loop runs a turn at a time and keeps its
    timers and fds, so that a test can look at what is left and go on. `stop()` closes all that
    the loop knows: a test for what is left over ends with `until`.
    The limit is a timer of the loop's: for a loop with a clock of its own, `thor.testing` serves.
    """
    late = False

    def expire() -> None:
        nonlocal late
        late = True
        loop.stop()

    limit = loop.schedule(timeout_s, expire)
    try:
        if until is None:
            loop.run()
        while until is not None and not until():
            if limit.callback is None:  # the loop was stopped, by the limit or by a listener
                name = getattr(until, "__qualname__", repr(until))
                pytest.fail(f"the loop {'hung' if late else 'was stopped'} before {name}")
            loop.run_once(timeout_s)
    finally:
        limit.delete()
    if late and until is None:
        pytest.fail(f"the loop still ran after {timeout_s:g} s")


def left_to_the_collector() -> list[str]:
    """What of Thor's the collector finds now. Others may have left something meanwhile: whatever
    runs the tests has threads of its own."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return [repr(type(it)) for it in gc.garbage if type(it).__module__.startswith("thor")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def with_deadlines(loop: Any) -> list[Any]:
    """What on `loop` has a deadline, once each."""
    found = [holder for *_, holders in loop.deadlines._heap for holder in holders]
    return [holder for holder in dict.fromkeys(found) if holder.deadline_at < inf]


def left_on(loop: Any) -> list[str]:
    """What a loop still has to do: timers, deadlines, watched fds. The library's own sweep of
    deadlines is none of it: its timer is left to run out when the deadlines have moved on."""
    armed = with_deadlines(loop)
    timers = [e for _, e in loop.scheduled_events() if e is not loop.deadlines._timer]
    watched = loop.registered_fd_handlers()
    return [
        *(f"timer {event!r}" for event in timers),
        *(f"deadline of {holder!r}" for holder in armed),
        *(f"watched fd {source._fd} ({source!r})" for source in watched),
    ]


class LogRecords(logging.Handler):
    """Keeps what is logged while it is attached."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        """The records' texts, without tracebacks."""
        return [record.getMessage() for record in self.records]

    def at_least(self, level: int) -> list[str]:
        """Whole records (with tracebacks) of `level` and above, as text."""
        render = logging.Formatter("%(levelname)s %(name)s: %(message)s").format
        return [render(record) for record in self.records if record.levelno >= level]


def open_fds() -> dict[int, str]:
    """This process's descriptors and what each leads to; empty where the system cannot say."""
    found: dict[int, str] = {}
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for number in numbers:
        try:
            found[int(number)] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the descriptor that listed the directory
            continue
    return found


def other_threads(known: Sequence[threading.Thread]) -> list[threading.Thread]:
    """Threads that run now and are not among `known`; each is given time to end first."""
    extra = [thread for thread in threading.enumerate() if thread not in known]
    for thread in extra:
        thread.join(timeout=5.0)
    return [thread for thread in extra if thread.is_alive()]


def find_program(name: str) -> str | None:
    """The path of a program; system directories count even where PATH omits them."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=f"{path}:/usr/local/sbin:/usr/sbin:/sbin")


def need_program(name: str) -> str:
    """The path of a program, or skip the test (fail it, with THOR_REQUIRE_INTEROP=1)."""
    path = find_program(name)
    if path is not None:
        return path
    if os.environ.get("THOR_REQUIRE_INTEROP") == "1":
        pytest.fail(f"the program {name!r} is missing, and THOR_REQUIRE_INTEROP=1 requires it")
    pytest.skip(f"the program {name!r} is missing")


def corpus(name: str) -> Path:
    """A file of message corpora (`THOR_CORPORA`, else a folder beside the tree), or skip."""
    folder = Path(os.environ.get("THOR_CORPORA") or ROOT.parent / "shared" / "corpora")
    path = folder / name
    if not path.is_file():
        pytest.skip(f"the corpus {name} is absent (THOR_CORPORA says where to look)")
    return path


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


@contextmanager
def running_program(
    argv: Sequence[str], *, port: int, tries: int = 500, **popen: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a foreign server until the block ends; entered once it accepts on `port`.

    It gets a session of its own, and all of that is ended with it: SIGTERM, then SIGKILL.
    Raises: AssertionError with its output when it ends early or never listens.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **popen,
        )
        try:
            _await_port(process, port, tries, output)
            yield process
        finally:
            end_session(process)


def _await_port(process: subprocess.Popen[bytes], port: int, tries: int, output: Any) -> None:
    exc = "does not listen"
    for _ in range(tries):
        if _accepts(port):
            return
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        exc = f"ended early ({process.returncode})"
        break
    output.seek(0)
    said = output.read().decode(errors="replace")
    raise AssertionError(f"{process.args!r} {exc}, port {port}:\n{said}")


def host_and_port(server: Any) -> tuple[str, int]:
    """Return where something listens that has an `address` of the Internet."""
    host, port = server.address[:2]
    return host, port


def end_session(process: subprocess.Popen[Any]) -> None:
    """End a process that leads a session, and all that it started; returns when it is reaped."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            continue
    process.wait(5.0)
