"""Blocking work in threads: results, errors, cancelling, and how the threads end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import thor.loop.threads
from thor.loop import LoopBase
from thor.loop.threads import MAX_THREADS, Job, _WorkerPool


@pytest.fixture
def one(make_loop: Callable[..., LoopBase]) -> LoopBase:
    """A loop; what is tested here does not depend on its poller."""
    return make_loop()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a job waits for; open at the end of the test, whatever happens."""
    event = threading.Event()
    yield event
    event.set()


Run = Callable[..., None]


def test_result_comes_back_on_the_loops_thread(one: LoopBase, run_loop: Run) -> None:
    worked: list[threading.Thread] = []
    heard: list[Any] = []

    def work(a: int, b: int) -> int:
        worked.append(threading.current_thread())
        return a + b

    def then(result: int | None, exc: BaseException | None) -> None:
        heard.append((result, exc, threading.current_thread()))

    one.run_in_thread(work, 1, 2, then=then)
    run_loop(one, lambda: heard)
    assert heard == [(3, None, threading.current_thread())]
    assert worked[0] is not threading.current_thread()
    assert worked[0].daemon


@pytest.mark.parametrize("error", [KeyError("k"), SystemExit(3), KeyboardInterrupt()])
def test_what_it_raises_is_handed_to_then(
    one: LoopBase, run_loop: Run, error: BaseException
) -> None:
    heard: list[Any] = []

    def work() -> None:
        raise error

    one.run_in_thread(work, then=lambda *args: heard.append(args))
    run_loop(one, lambda: heard)
    assert heard == [(None, error)]


def test_without_then_the_result_is_dropped(one: LoopBase, run_loop: Run) -> None:
    done = threading.Event()
    one.run_in_thread(done.set)
    run_loop(one, done.is_set)


def test_without_then_what_it_raises_is_logged_like_that_of_any_callback(
    one: LoopBase, run_loop: Run, expected_logs: Any
) -> None:
    one.on_exception = "log"
    heard: list[BaseException] = []
    one.on("error", heard.append)
    one.run_in_thread(lambda: 1 / 0)
    run_loop(one, lambda: heard)
    assert isinstance(heard[0], ZeroDivisionError)
    assert "ZeroDivisionError" in expected_logs.messages[0]


def test_what_then_raises_is_that_of_a_callback(one: LoopBase) -> None:
    def then(result: None, exc: BaseException | None) -> None:
        raise KeyError("then")

    one.run_in_thread(lambda: None, then=then)
    with pytest.raises(KeyError, match="then"):
        one.run()


# -- cancelling ---------------------------------------------------------------------------------


def test_cancelled_job_tells_nothing(one: LoopBase, run_loop: Run, gate: threading.Event) -> None:
    heard: list[Any] = []
    begun = threading.Event()

    def work() -> None:
        begun.set()
        gate.wait()

    job = one.run_in_thread(work, then=lambda *args: heard.append("cancelled"))
    begun.wait()
    job.cancel()
    job.cancel()
    gate.set()
    one.run_in_thread(lambda: None, then=lambda *args: heard.append("other"))
    run_loop(one, lambda: "other" in heard)
    for _ in range(3):
        one.run_once()
    assert heard == ["other"]


def test_job_cancelled_with_its_result_on_the_way_tells_nothing(one: LoopBase) -> None:
    heard: list[Any] = []
    job = Job(one.epoch, lambda: 1, (), lambda *args: heard.append(args))
    job.run(one)  # the result waits for the loop
    job.cancel()
    one.run_once()
    assert heard == []


def test_what_a_cancelled_job_raises_is_dropped(one: LoopBase) -> None:
    job = Job(one.epoch, lambda: 1 / 0, (), None)
    job.run(one)
    job.cancel()
    one.run_once()


def test_job_cancelled_before_it_began_is_not_begun(
    one: LoopBase, run_loop: Run, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thor.loop.threads, "MAX_THREADS", 1)
    heard: list[str] = []
    done: list[Any] = []
    one.run_in_thread(gate.wait)
    waiting = one.run_in_thread(heard.append, "begun")
    one.run_in_thread(lambda: None, then=lambda *args: done.append(args))
    waiting.cancel()
    gate.set()
    run_loop(one, lambda: done)
    assert heard == []


# -- how many threads, and their end ------------------------------------------------------------


def thor_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("thor-")]


def test_there_are_no_threads_until_there_is_work(one: LoopBase) -> None:
    one.run_once()
    assert thor_threads() == []


def test_jobs_that_wait_for_each_other_all_run(one: LoopBase, run_loop: Run) -> None:
    """Each has a thread of its own, up to the bound: a barrier proves it."""
    barrier = threading.Barrier(MAX_THREADS)
    heard: list[Any] = []
    for _ in range(MAX_THREADS):
        one.run_in_thread(barrier.wait, then=lambda *args: heard.append(args[1]))
    run_loop(one, lambda: len(heard) == MAX_THREADS)
    assert heard == [None] * MAX_THREADS


def test_there_are_no_more_threads_than_the_bound(
    one: LoopBase, run_loop: Run, gate: threading.Event
) -> None:
    heard: list[Any] = []
    for _ in range(3 * MAX_THREADS):
        one.run_in_thread(gate.wait, then=lambda *args: heard.append(args))
    assert len(thor_threads()) == MAX_THREADS
    gate.set()
    run_loop(one, lambda: len(heard) == 3 * MAX_THREADS)


def test_idle_thread_is_used_again(one: LoopBase, run_loop: Run) -> None:
    names: list[str] = []
    for count in range(1, 6):
        one.run_in_thread(lambda: names.append(threading.current_thread().name))
        run_loop(one, lambda count=count: len(names) == count)
        crew = one._threads._pool
        assert crew is not None
        while not crew._idle:  # until it waits again
            one.run_once(0.001)
    assert len(set(names)) == 1


def test_job_never_waits_for_a_thread_that_has_taken_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An idle thread that a job was promised to is not promised to the next one."""
    started: list[str] = []
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append(self.name))
    crew = _WorkerPool(None)  # type: ignore[arg-type]
    crew._idle = crew._count = 1  # one thread waits; it is slow to wake up
    for _ in range(2):
        crew.submit(Job(0, print, (), None))
    assert started == ["thor-2"]


def test_idle_threads_end(one: LoopBase, run_loop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thor.loop.threads, "IDLE_S", 0.0)
    found: list[threading.Thread] = []
    one.run_in_thread(lambda: found.append(threading.current_thread()))
    run_loop(one, lambda: found)
    found[0].join(10)
    assert not found[0].is_alive()
    one.run_in_thread(lambda: found.append(threading.current_thread()))
    run_loop(one, lambda: len(found) == 2)


def test_stop_ends_the_threads(one: LoopBase, run_loop: Run) -> None:
    found: list[threading.Thread] = []
    barrier = threading.Barrier(3)

    def work() -> None:
        found.append(threading.current_thread())
        barrier.wait()

    for _ in range(3):
        one.run_in_thread(work)
    run_loop(one, lambda: len(found) == 3)
    one.stop()
    for thread in found:
        thread.join(10)
        assert not thread.is_alive()


def test_stop_does_not_wait_for_a_thread_that_hangs(one: LoopBase, gate: threading.Event) -> None:
    begun = threading.Event()

    def hang() -> None:
        begun.set()
        gate.wait()

    one.run_in_thread(hang)
    begun.wait()
    one.stop()
    assert not gate.is_set()
    assert thor_threads()


def test_stop_forgets_what_has_not_begun_and_what_has_not_come_back(
    one: LoopBase, run_loop: Run, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thor.loop.threads, "MAX_THREADS", 1)
    heard: list[Any] = []
    begun, worked = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait()

    one.run_in_thread(work, then=lambda *args: heard.append("under way"))
    one.run_in_thread(heard.append, "waiting")
    begun.wait()
    (thread,) = (t for t in threading.enumerate() if t.name.startswith("thor-"))
    one.stop()
    gate.set()
    thread.join(10)
    one.run_in_thread(worked.set, then=lambda *args: heard.append("after"))
    run_loop(one, lambda: heard)
    one.run_once()
    assert heard == ["after"]


def test_work_can_be_done_again_after_a_stop(one: LoopBase, run_loop: Run) -> None:
    one.run_in_thread(lambda: None)
    one.stop()
    heard: list[Any] = []
    one.run_in_thread(lambda: 7, then=lambda *args: heard.append(args))
    run_loop(one, lambda: heard)
    assert heard == [(7, None)]


def test_work_that_no_thread_can_be_made_for_has_failed(
    one: LoopBase, run_loop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    one.run_in_thread(print, then=lambda *args: heard.append(args))
    assert heard == []
    run_loop(one, lambda: heard)
    [(result, failure)] = heard
    assert result is None
    assert "new thread" in str(failure)
    crew = one._threads._pool
    assert crew is not None
    assert (crew._count, len(crew._jobs)) == (0, 0)


def test_work_waits_for_the_threads_there_are_when_no_more_can_be_made(
    one: LoopBase, run_loop: Run, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    one.run_in_thread(gate.wait)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    one.run_in_thread(lambda: 1, then=lambda *args: heard.append(args))
    gate.set()
    run_loop(one, lambda: heard)
    assert heard == [(1, None)]
