"""Worker processes and their supervisor."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import thor_support
from thor import workers
from thor.loop import LoopBase
from thor.testing import Recorder
from thor.workers import MAX_DELAY_S, MIN_UPTIME_S, Supervisor, Worker, restart_delay
from thor_support import run_loop

EVENTS = ("worker_started", "worker_failed", "worker_ended", "stop")


class Supervised:
    """A supervisor, and what it and its workers say."""

    def __init__(self, loop: LoopBase, work: Callable[[Worker], int | None], count: int) -> None:
        self.loop = loop
        self.supervisor = Supervisor(work, count, loop)
        self.recorder = Recorder(self.supervisor, *EVENTS)

    def seen(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of the events of a name, so far."""
        return [event[1:] for event in self.recorder.events if event[0] == name]

    def run(self, name: str, count: int) -> list[tuple[Any, ...]]:
        """Run until so many events of a name have been seen."""
        run_loop(self.loop, lambda: len(self.seen(name)) >= count)
        return self.seen(name)

    def end(self) -> None:
        """Tell the workers to finish, and see that they do."""
        self.supervisor.graceful_shutdown()
        self.run("stop", 1)
        assert self.recorder.events[-1] == ("stop",)


@pytest.fixture
def supervise(loop: LoopBase) -> Iterator[Callable[..., Supervised]]:
    """`supervise(work, count)`; what is left of it when the test ends is killed."""
    made: list[Supervised] = []

    def make(work: Callable[[Worker], int | None], count: int = 1) -> Supervised:
        made.append(Supervised(loop, work, count))
        return made[-1]

    yield make
    for each in made:
        each.supervisor.shutdown()


@pytest.fixture
def told() -> Iterator[tuple[Callable[[object], None], Callable[[], str]]]:
    """`say(x)` for workers, which writes a line; `hear()` for the test, which waits for one."""
    readable, writable = os.pipe()

    def say(what: object) -> None:
        os.write(writable, f"{what}\n".encode())

    with os.fdopen(readable) as lines:
        yield say, lambda: lines.readline().rstrip("\n")
    os.close(writable)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the delays of restarts a thousand times shorter."""
    for name in ("FIRST_DELAY_S", "MAX_DELAY_S"):
        monkeypatch.setattr(workers, name, getattr(workers, name) / 1000)


def until_told(
    loop: LoopBase, begin: Callable[[Worker], object] = lambda worker: None
) -> Callable[[Worker], None]:
    """The work of a worker that calls `begin` and then does nothing."""

    def work(worker: Worker) -> None:
        worker.on_shutdown(loop.stop, loop)
        begin(worker)
        loop.run()

    return work


# -- beginning and ending -------------------------------------------------------------------------


def test_each_slot_has_a_worker_until_told(
    supervise: Callable[..., Supervised], loop: LoopBase, told: Any
) -> None:
    say, hear = told

    three = supervise(until_told(loop, lambda worker: say((worker.number, os.getpid()))), 3)
    started = three.run("worker_started", 3)
    assert [number for number, _ in started] == [1, 2, 3]
    assert sorted(hear() for _ in range(3)) == sorted(map(str, started))
    assert three.supervisor.pids == [pid for _, pid in started]
    three.end()
    ended = sorted(three.seen("worker_ended"))
    assert ended == [(number, pid, 0, None) for number, pid in started]
    assert three.supervisor.pids == []


def test_there_is_one_worker_or_more() -> None:
    with pytest.raises(ValueError, match="count is 0"):
        Supervisor(lambda worker: None, 0)


def test_worker_refuses_coroutine_functions(loop: LoopBase) -> None:
    async def wrong(*args: Any) -> None: ...

    with pytest.raises(TypeError, match="needs asyncio hosting"):
        Supervisor(wrong, 1, loop)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs asyncio hosting"):
        Worker(1, 0).on_shutdown(wrong, loop)


@pytest.mark.parametrize(
    ("work", "status"),
    [
        pytest.param(lambda worker: None, 0, id="none"),
        pytest.param(lambda worker: 3, 3, id="number"),
        pytest.param(lambda worker: sys.exit(), 0, id="exit"),
        pytest.param(lambda worker: sys.exit(4), 4, id="exit-number"),
        pytest.param(lambda worker: sys.exit("why"), 1, id="exit-words"),
        pytest.param(lambda worker: 1 // 0, 1, id="raises"),
        pytest.param(lambda worker: "x", 1, id="returns-words"),
        pytest.param(lambda worker: "", 1, id="returns-no-words"),
        pytest.param(lambda worker: 1.5, 1, id="returns-a-fraction"),
        pytest.param(lambda worker: os.kill(os.getpid(), signal.SIGTERM), -15, id="signal"),
    ],
)
def test_status_of_a_worker(
    supervise: Callable[..., Supervised],
    work: Callable[[Worker], int | None],
    status: int,
) -> None:
    one = supervise(work)
    [(number, pid, found, delay_s)] = one.run("worker_ended", 1)
    assert (number, pid, found) == (*one.seen("worker_started")[0], status)
    assert delay_s == workers.FIRST_DELAY_S


def test_worker_that_returns_no_status_says_so(
    supervise: Callable[..., Supervised], capfd: pytest.CaptureFixture[str]
) -> None:
    supervise(lambda worker: 1.5).run("worker_ended", 1)
    assert "TypeError: work returned 1.5: a worker's status is" in capfd.readouterr().err


def test_worker_that_exits_with_words_says_them(
    supervise: Callable[..., Supervised], capfd: pytest.CaptureFixture[str]
) -> None:
    supervise(lambda worker: sys.exit("no configuration")).run("worker_ended", 1)
    assert capfd.readouterr().err == "no configuration\n"


def test_what_a_worker_raised_is_told_with_its_place(
    supervise: Callable[..., Supervised], capfd: pytest.CaptureFixture[str]
) -> None:
    def work(worker: Worker) -> None:
        raise LookupError("nothing there")

    supervise(work).run("worker_ended", 1)
    said = capfd.readouterr().err
    assert said.startswith("Traceback ")
    assert said.endswith("LookupError: nothing there\n")


def test_what_was_printed_before_the_fork_is_printed_once(
    supervise: Callable[..., Supervised], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    with path.open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        out.write("before\n")
        supervise(lambda worker: out.write("in it\n")).run("worker_ended", 1)
    assert path.read_text() == "before\nin it\n"


# -- replacing ------------------------------------------------------------------------------------


def test_worker_that_was_killed_is_replaced_and_no_other(
    supervise: Callable[..., Supervised], loop: LoopBase, quick: None
) -> None:
    two = supervise(until_told(loop), 2)
    (_, first), (_, second) = two.run("worker_started", 2)
    os.kill(first, signal.SIGKILL)
    number, successor = two.run("worker_started", 3)[-1]
    assert two.seen("worker_ended") == [(1, first, -9, workers.FIRST_DELAY_S)]
    assert number == 1
    assert two.supervisor.pids == [successor, second]
    two.end()


def test_workers_that_end_at_once_are_replaced_after_longer_and_longer(
    supervise: Callable[..., Supervised], quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MAX_DELAY_S", workers.FIRST_DELAY_S * 5)
    ended = supervise(lambda worker: 1).run("worker_ended", 5)
    delays = [delay_s / workers.FIRST_DELAY_S for *_, delay_s in ended]
    assert delays == pytest.approx([1, 2, 4, 5, 5])


def test_worker_that_has_lived_is_replaced_at_once(
    supervise: Callable[..., Supervised], loop: LoopBase, quick: None, monkeypatch: Any
) -> None:
    one = supervise(lambda worker: None)
    assert len(one.run("worker_ended", 2)) == 2
    monkeypatch.setattr(workers, "MIN_UPTIME_S", 0.0)
    assert [delay_s for *_, delay_s in one.run("worker_ended", 4)[2:]] == [0.0, 0.0]
    monkeypatch.setattr(workers, "MIN_UPTIME_S", MIN_UPTIME_S)
    assert one.run("worker_ended", 5)[4][3] == workers.FIRST_DELAY_S


@pytest.mark.parametrize(
    ("failures", "expected"), [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.4), (6, 3.2), (7, 5.0)]
)
def test_delay_grows_to_a_bound(failures: int, expected: float) -> None:
    assert restart_delay(failures) == pytest.approx(expected)
    assert restart_delay(10**9) == MAX_DELAY_S


def test_fork_that_fails_is_tried_again(
    supervise: Callable[..., Supervised], loop: LoopBase, quick: None, monkeypatch: Any
) -> None:
    def refuse() -> int:
        monkeypatch.undo()
        monkeypatch.setattr(workers, "FIRST_DELAY_S", 0.0)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    one = supervise(until_told(loop))
    one.run("worker_started", 1)
    [(number, exc, _)] = one.seen("worker_failed")
    assert (number, exc.errno) == (1, 11)
    one.end()


def test_no_pipe_is_left_where_there_is_not_room_for_both(
    supervise: Callable[..., Supervised], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipes = [os.pipe()]

    def pipe() -> tuple[int, int]:
        if pipes:
            return pipes.pop()
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe", pipe)
    one = supervise(lambda worker: None)
    [(_, exc, delay_s)] = one.run("worker_failed", 1)
    assert (exc.errno, delay_s) == (24, workers.FIRST_DELAY_S)


def test_worker_that_cannot_be_watched_is_replaced(
    supervise: Callable[..., Supervised], loop: LoopBase, quick: None, monkeypatch: Any
) -> None:
    def refuse(*_: Any) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(workers, "FIRST_DELAY_S", 0.0)
        raise OSError(28, "No space left on device")

    one = supervise(until_told(loop))
    monkeypatch.setattr(workers._Slot, "watch_fd", refuse)
    [(_, pid)] = one.run("worker_started", 1)
    [(number, exc, _)] = one.seen("worker_failed")
    assert (number, exc.errno) == (1, 28)
    assert pid == one.supervisor._slots[0].pid
    one.end()


def test_none_is_begun_after_the_end(supervise: Callable[..., Supervised]) -> None:
    one = supervise(lambda worker: None)
    one.run("worker_ended", 1)  # and another one is due
    one.end()
    assert len(one.seen("worker_started")) == 1
    never = supervise(lambda worker: None, 2)
    never.end()
    assert never.recorder.events == [("stop",)]


def test_what_nobody_listens_to_is_logged(
    loop: LoopBase, expected_logs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        monkeypatch.undo()
        monkeypatch.setattr(workers, "FIRST_DELAY_S", 0.0)
        raise BlockingIOError(11, "No more")

    monkeypatch.setattr(os, "fork", refuse)
    supervisor = Supervisor(lambda worker: 3, 1, loop)
    run_loop(loop, lambda: len(expected_logs.records) == 3)
    supervisor.shutdown()
    failed, started, ended = expected_logs.records
    assert failed.getMessage().startswith("no worker 1: [Errno 11] No more; again in ")
    assert [record.levelno for record in (failed, started, ended)] == [
        logging.WARNING,
        logging.INFO,
        logging.WARNING,
    ]
    assert ended.getMessage().endswith(" ended with 3")


def test_listeners_that_raise_keep_no_worker_from_starting_and_no_stop_from_coming(
    supervise: Callable[..., Supervised], loop: LoopBase, expected_logs: Any
) -> None:
    def fail(*_: Any) -> None:
        raise BrokenPipeError("nobody reads what is told")

    loop.on_exception = "log"
    two = supervise(until_told(loop), 2)
    two.supervisor.on("worker_started", fail)
    two.supervisor.on("worker_ended", fail)
    assert [number for number, _ in two.run("worker_started", 2)] == [1, 2]
    two.end()
    assert sorted(number for number, *_ in two.seen("worker_ended")) == [1, 2]
    assert len(expected_logs.records) == 4


# -- ending by force ------------------------------------------------------------------------------


def stubborn(say: Callable[[object], None]) -> Callable[[Worker], None]:
    """The work of a worker that does not hear, once it has said so."""

    def work(worker: Worker) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("deaf")
        while True:
            signal.pause()

    return work


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_shutdown_kills_and_waits(supervise: Callable[..., Supervised], told: Any) -> None:
    say, hear = told
    two = supervise(stubborn(say), 2)
    pids = [pid for _, pid in two.run("worker_started", 2)]
    assert [hear(), hear()] == ["deaf", "deaf"]
    two.supervisor.graceful_shutdown()
    two.supervisor.shutdown()
    assert not any(map(is_there, pids))
    assert two.run("stop", 1) == [()]
    assert [(status, delay_s) for *_, status, delay_s in two.seen("worker_ended")] == [
        (-9, None),
        (-9, None),
    ]


def test_workers_are_killed_when_the_loop_is_stopped(
    supervise: Callable[..., Supervised], loop: LoopBase, told: Any
) -> None:
    say, hear = told
    two = supervise(stubborn(say), 2)
    pids = [pid for _, pid in two.run("worker_started", 2)]
    assert [hear(), hear()] == ["deaf", "deaf"]
    loop.stop()
    assert not any(map(is_there, pids))
    assert two.supervisor.pids == []


def test_worker_that_cuts_itself_off_is_ended(
    supervise: Callable[..., Supervised], quick: None
) -> None:
    def work(worker: Worker) -> None:
        os.closerange(3, 1000)
        while True:
            signal.pause()

    [(_, _, status, _)] = supervise(work).run("worker_ended", 1)
    assert status == -signal.SIGKILL


def test_worker_that_somebody_else_has_waited_for(supervise: Callable[..., Supervised]) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        [(_, _, status, _)] = supervise(lambda worker: 3).run("worker_ended", 1)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert status == 0


def test_number_of_a_worker_that_is_gone_is_nobody_s_to_kill(
    supervise: Callable[..., Supervised], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[tuple[int, int]] = []
    wait = os.waitpid

    def taken(pid: int, options: int) -> tuple[int, int]:
        wait(pid, 0)
        raise ChildProcessError

    one = supervise(lambda worker: 3)
    monkeypatch.setattr(os, "waitpid", taken)
    monkeypatch.setattr(os, "kill", lambda *args: killed.append(args))
    one.run("worker_ended", 1)
    monkeypatch.undo()
    assert killed == []


# -- in the worker --------------------------------------------------------------------------------


def test_worker_has_no_handlers_of_its_supervisor(
    supervise: Callable[..., Supervised], told: Any
) -> None:
    say, hear = told

    def work(worker: Worker) -> None:
        numbers = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
        say([signal.getsignal(number).name for number in numbers])  # type: ignore[union-attr]
        say(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        supervise(work).run("worker_ended", 1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert hear() == "['SIG_DFL', 'SIG_DFL', 'SIG_IGN']"
    assert hear() == "set()"
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_new_process_never_goes_on_as_its_supervisor(
    supervise: Callable[..., Supervised],
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    parent, close_pipes = os.getpid(), workers._Slot.close_pipes

    def refuse(slot: Any) -> None:
        if os.getpid() != parent:
            raise OSError(9, "Bad file descriptor")
        close_pipes(slot)

    monkeypatch.setattr(workers._Slot, "close_pipes", refuse)
    [(_, _, status, _)] = supervise(lambda worker: 0).run("worker_ended", 1)
    assert status == 1
    assert "Bad file descriptor" in capfd.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not list fds")
def test_worker_has_nothing_of_the_others(
    supervise: Callable[..., Supervised], loop: LoopBase, told: Any, quick: None
) -> None:
    say, hear = told
    here = thor_support.open_fds()

    def count(worker: Worker) -> None:
        now = thor_support.open_fds()
        say(sum(target.startswith("pipe:") for fd, target in now.items() if fd not in here))

    three = supervise(until_told(loop, count), 3)
    first = three.run("worker_started", 3)[0][1]
    assert [hear(), hear(), hear()] == ["2", "2", "2"]
    os.kill(first, signal.SIGKILL)
    three.run("worker_started", 4)
    assert hear() == "2"  # its successor, which was forked when all others were there
    three.end()


@pytest.fixture
def worker() -> Iterator[tuple[Worker, Callable[[], None]]]:
    """A worker, in this process, and what its supervisor's end does to it."""
    readable, writable = os.pipe()
    before = signal.getsignal(signal.SIGTERM)
    ends = {readable, writable}

    def end() -> None:
        ends.discard(writable)
        os.close(writable)

    yield Worker(1, readable), end
    signal.signal(signal.SIGTERM, before)
    for fd in ends:
        os.close(fd)


def test_worker_is_told_once(loop: LoopBase, worker: Any) -> None:
    heard: list[str] = []
    mine, end = worker
    mine.on_shutdown(lambda: heard.append("told"), loop)
    loop.schedule(0, signal.raise_signal, signal.SIGTERM)
    run_loop(loop, lambda: heard)
    signal.raise_signal(signal.SIGTERM)
    end()
    loop.run_once()
    assert heard == ["told"]


def test_worker_is_told_when_its_supervisor_is_gone(loop: LoopBase, worker: Any) -> None:
    heard: list[str] = []
    mine, end = worker
    mine.on_shutdown(lambda: heard.append("told"), loop)
    end()
    run_loop(loop, lambda: heard)
    loop.run_once()
    assert heard == ["told"]


def test_default_loop_serves(default_loop: LoopBase, worker: Any) -> None:
    mine, end = worker
    mine.on_shutdown(default_loop.stop)
    end()
    run_loop(default_loop)
    ended: list[int] = []
    supervisor = Supervisor(lambda worker: 0, 1)
    supervisor.on("worker_ended", lambda number, pid, status, delay_s: ended.append(status))
    run_loop(default_loop, lambda: ended)
    supervisor.shutdown()
