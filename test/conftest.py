"""The suite's fixtures, and the guards that every test runs under.

Guards, for each test: what is left over when it ends (an open fd, a timer or a registration of a
loop, a thread) fails it; so does a record of WARNING or above on `thor` or `thor.*` that it did
not ask for with `expected_logs` (or `caplog`); so does running for longer than its limit.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import thor.loop
import thor_support
from thor.loop import LoopBase

# The same inputs in every run, with no limit on the time of each: a run that fails can be
# repeated, and a slow machine fails nothing. HYPOTHESIS_PROFILE=explore looks for new ones.
hypothesis.settings.register_profile("thor", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "thor"))

#: A test that takes longer hangs; a fuzz test, or one marked `deadline_s`, has its own limit.
TEST_LIMIT_S = 60.0
FUZZ_LIMIT_S = 600.0

#: Folders and files whose tests run on each poller: the pollers' own, and those where the kernel
#: tells of an end, a failure or a readiness in ways that differ by poller. One is enough elsewhere.
ON_EVERY_POLLER = frozenset(
    {
        "loop",
        "tcp/test_client.py",
        "tcp/test_connection.py",
        "tcp/test_connection_ending.py",
        "tcp/test_splice.py",
        "udp/test_icmp.py",
    }
)

_FAILED = pytest.StashKey[bool]()


def _limit_s(node: pytest.Item) -> float:
    marked = node.get_closest_marker("deadline_s")
    if marked is not None:
        return float(marked.args[0])
    return FUZZ_LIMIT_S if node.get_closest_marker("fuzz") else TEST_LIMIT_S


@pytest.fixture(autouse=True)
def _deadline(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that hangs, so that a run always ends and names it."""
    limit_s = _limit_s(request.node)

    def expire(signum: int, frame: object) -> None:
        pytest.fail(f"the test did not end within {limit_s:g} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.fixture(autouse=True)
def _log_guard(request: pytest.FixtureRequest) -> Iterator[thor_support.LogRecords]:
    """Fails a test in which Thor complains unexpectedly."""
    logger = logging.getLogger("thor")
    handler = thor_support.LogRecords()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    complaints = handler.at_least(logging.WARNING)
    if complaints and not {"expected_logs", "caplog"}.intersection(request.fixturenames):
        pytest.fail("unexpected log records:\n" + "\n".join(complaints))


@pytest.fixture
def expected_logs(_log_guard: thor_support.LogRecords) -> Iterator[thor_support.LogRecords]:
    """What is logged on `thor` and below (all levels); the test expects some, and looks at it."""
    yield _log_guard
    if not _log_guard.records:
        pytest.fail("the test asked for expected_logs, and nothing was logged")


@pytest.fixture(autouse=True)
def _leak_guard(request: pytest.FixtureRequest, _log_guard: object) -> Iterator[None]:
    """Fails a test that leaves a thread, a descriptor, or something on the default loop."""
    threads = threading.enumerate()
    fds = thor_support.open_fds()
    yield
    left = [*_end(thor.loop._loop), *_left_in_process(fds, threads)]
    if left and not _failed(request):
        pytest.fail("left over: " + ", ".join(left))


def _left_in_process(fds: dict[int, str], threads: list[threading.Thread]) -> list[str]:
    left = [f"thread {thread.name!r}" for thread in thor_support.other_threads(threads)]
    if thor_support.open_fds() != fds:
        gc.collect()  # what a dropped cycle holds is closed here, with a ResourceWarning if due
    now = thor_support.open_fds().items()
    return left + [f"fd {fd} ({target})" for fd, target in now if fds.get(fd) != target]


def _end(loop: Any) -> list[str]:
    """Stop a loop; returns what it still had to do."""
    left = thor_support.left_on(loop)
    loop.stop()
    return left


def _failed(request: pytest.FixtureRequest) -> bool:
    """Whether the test itself failed: what it then leaves says nothing more."""
    return bool(request.node.stash.get(_FAILED, False))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture(autouse=True)
def default_loop(_leak_guard: None) -> Iterator[LoopBase]:
    """The default loop: clean, and raising what a callback raises."""
    loop = thor.loop._loop
    loop.on_exception = "raise"
    yield loop
    loop.remove_listeners()
    loop.on_exception = "log"
    loop.debug = False
    loop.precision = 0.0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on each poller, if it is of `ON_EVERY_POLLER`; else on the default one."""
    if "poller" in metafunc.fixturenames and not hasattr(metafunc.module, "poller"):
        path = metafunc.definition.path.relative_to(Path(__file__).parent)
        every = not ON_EVERY_POLLER.isdisjoint({path.parts[0], path.as_posix()})
        names = thor_support.pollers()
        metafunc.parametrize("poller", names if every else names[:1], indirect=True)


@pytest.fixture
def poller(request: pytest.FixtureRequest) -> str:
    """The name of each backend that the machine has (with THOR_TEST_POLLERS=default, of one)."""
    return str(request.param)


@pytest.fixture
def make_loop(
    request: pytest.FixtureRequest, _leak_guard: None
) -> Iterator[Callable[..., LoopBase]]:
    """A maker of loops that raise what a callback raises; it takes what `thor.loop.make` takes.

    Whatever such a loop still has to do when the test ends fails the test.
    """
    made: list[LoopBase] = []

    def make(*args: Any, **kwargs: Any) -> LoopBase:
        loop = thor.loop.make(*args, **kwargs)
        loop.on_exception = "raise"
        made.append(loop)
        return loop

    yield make
    left = [item for loop in made for item in _end(loop)]
    if left and not _failed(request):
        pytest.fail("left over on a loop: " + ", ".join(left))


@pytest.fixture
def loop(make_loop: Callable[..., LoopBase], poller: str) -> LoopBase:
    """A loop of its own for the test, on each poller in turn."""
    return make_loop(backend=poller)


@pytest.fixture
def run_loop() -> Callable[..., None]:
    """`run_loop(loop, until=None, timeout_s=10)`: see `thor_support.run_loop`."""
    return thor_support.run_loop


@pytest.fixture
def program() -> Callable[[str], str]:
    """`program("nginx")`: its path; skips the test, by the program's name, where it is missing."""
    return thor_support.need_program
