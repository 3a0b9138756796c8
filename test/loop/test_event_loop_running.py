"""Running and stopping, and what an exception that leaves `run()` keeps."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from loop_support import ready_source
from tcp_support import memory_socket

import thor_support
from thor.loop import EventSource, LoopBase, make
from thor.testing import (
    MemoryPoller,
    Recorder,
    connection_pair,
    memory_loop,
    settle,
)

Run = Callable[..., None]


@pytest.fixture
def mem() -> LoopBase:
    return memory_loop()


# -- running and stopping -----------------------------------------------------------------------


def test_loop_opens_no_fd_until_it_is_used(poller: str) -> None:
    before = thor_support.open_fds()
    loop = make(backend=poller)
    loop.schedule(1, print)
    loop.run_in_loop(print)
    loop.on("start", print)
    loop.fd_count()
    loop.stop()
    assert thor_support.open_fds() == before


def test_stopped_loop_holds_no_fd(loop: LoopBase, run_loop: Run) -> None:
    before = thor_support.open_fds()
    loop.run_once()
    assert thor_support.open_fds() != before
    loop.schedule(0, loop.stop)
    run_loop(loop)
    assert thor_support.open_fds() == before


def test_running_is_true_while_the_loop_runs(loop: LoopBase, run_loop: Run) -> None:
    seen: list[bool] = []
    for event in ("start", "stop"):
        loop.on(event, lambda: seen.append(loop.running))
    loop.schedule(0, lambda: seen.append(loop.running))
    loop.schedule(0, loop.stop)
    assert loop.running is False
    run_loop(loop)
    assert loop.running is False
    assert seen == [True, True, False]


def test_start_comes_right_before_and_stop_right_after(loop: LoopBase, run_loop: Run) -> None:
    heard = Recorder(loop, "start", "stop")
    loop.schedule(0, lambda: heard.events.append("timer"))  # type: ignore[arg-type]
    loop.schedule(0, loop.stop)
    run_loop(loop)
    assert heard.events == [("start",), "timer", ("stop",)]


def test_loop_runs_again_after_a_stop(loop: LoopBase, run_loop: Run) -> None:
    heard = Recorder(loop, "start", "stop")
    for _ in range(3):
        loop.schedule(0, loop.stop)
        run_loop(loop)
    assert heard.events == [("start",), ("stop",)] * 3


def test_loop_does_not_run_inside_itself(loop: LoopBase, run_loop: Run) -> None:
    refused: list[str] = []

    def inside() -> None:
        for run in (loop.run, loop.run_once):
            try:
                run()
            except RuntimeError as exc:
                refused.append(str(exc))
        loop.stop()

    loop.schedule(0, inside)
    run_loop(loop)
    assert len(refused) == 2
    assert not loop.running


def test_stop_from_a_callback_forgets_timers_and_fds(loop: LoopBase, run_loop: Run) -> None:
    near, far = socket.socketpair()
    source = EventSource(loop)
    source.register_fd(near.fileno(), "fd_readable")
    loop.schedule(1000, print)
    loop.schedule(0, loop.stop)
    run_loop(loop)
    assert (loop.fd_count(), loop.scheduled_events()) == (0, [])
    near.close()
    far.close()


def test_some_events_still_run_while_the_loop_is_stopping(mem: LoopBase) -> None:
    heard: list[str] = []
    mem.schedule(0, mem.stop)
    mem.schedule(0, heard.append, "same turn")
    mem.run()
    assert heard == ["same turn"]


def test_what_was_written_in_the_turn_of_a_stop_is_sent(mem: LoopBase) -> None:
    client, server = connection_pair(mem)
    mem.schedule(0, client.write, b"last words")
    mem.schedule(0, mem.stop)
    received = memory_socket(server).received
    mem.run()
    assert received == b"last words"


def test_stop_before_run_forgets_and_the_loop_then_runs(mem: LoopBase) -> None:
    heard: list[str] = []
    mem.schedule(1, heard.append, "forgotten")
    mem.run_in_loop(heard.append, "forgotten")
    mem.stop()
    mem.schedule(2, heard.append, "kept")
    mem.schedule(3, mem.stop)
    mem.run()
    assert heard == ["kept"]


def test_stop_in_a_start_listener_ends_the_run_before_it_began(mem: LoopBase) -> None:
    heard: list[str] = []
    mem.schedule(0, heard.append, "timer")
    mem.on("start", mem.stop)
    mem.on("stop", lambda: heard.append("stop"))
    mem.run()
    assert heard == ["stop"]


def test_stop_twice_is_once(mem: LoopBase) -> None:
    heard = Recorder(mem, "stop")
    mem.schedule(0, mem.stop)
    mem.schedule(0, mem.stop)
    mem.run()
    mem.stop()
    assert heard.events == [("stop",)]


def test_loop_may_be_run_again_by_a_stop_listener(mem: LoopBase) -> None:
    heard: list[str] = []

    def again() -> None:
        mem.schedule(0, heard.append, "second run")
        mem.schedule(0, mem.stop)
        mem.run()

    mem.once("stop", again)
    mem.schedule(0, mem.stop)
    mem.run()
    assert heard == ["second run"]


def test_stop_may_come_from_another_thread_at_any_time(make_loop: Callable[..., LoopBase]) -> None:
    """However the two threads interleave, the loop stops, forgets, and can run again."""
    loop = make_loop()
    for _ in range(200):
        loop.schedule(1000, print)
        thread = threading.Thread(target=loop.stop)
        loop.once("start", thread.start)
        loop.run()
        thread.join()
        assert loop.scheduled_events() == []


def test_loop_whose_poller_cannot_be_made_says_so_and_can_be_tried_again() -> None:
    def fails() -> Any:
        raise OSError(24, "Too many open files")

    loop = LoopBase(None, fails)
    with pytest.raises(OSError, match="open files"):
        loop.run()
    assert not loop.running
    loop.fds.make_poller = MemoryPoller
    loop.run_once()


def test_loop_whose_wakeup_cannot_be_made_has_no_poller_either(
    make_loop: Callable[..., LoopBase], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any) -> Any:
        raise OSError(24, "Too many open files")

    loop = make_loop()
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socketpair", fails)
        with pytest.raises(OSError, match="open files"):
            loop.run_once()
    loop.run_once()
    assert loop.fds.wakeup is not None


# -- KeyboardInterrupt, exceptions --------------------------------------------------------------


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("mode", ["log", "raise"])
def test_interrupt_leaves_run_with_everything_kept(
    mem: LoopBase, exception: type[BaseException], mode: str
) -> None:
    """So that a program can drain: `server.graceful_shutdown(); thor.run()`."""
    mem.on_exception = mode
    heard: list[str] = []
    stopped = Recorder(mem, "stop")

    def interrupt() -> None:
        raise exception

    source = ready_source(mem, lambda: heard.append("fd") if len(heard) < 9 else mem.stop(), 0)
    mem.schedule(1, interrupt)
    mem.schedule(1, heard.append, "same turn")
    mem.schedule(2, heard.append, "timer")
    with pytest.raises(exception):
        mem.run()
    assert mem.running is False
    assert stopped.take() == []
    assert mem.registered_fd_handlers() == [source]
    assert len(mem.scheduled_events()) == 2
    mem.schedule(3, mem.stop)
    mem.run()
    assert heard == ["same turn", "timer"]
    assert stopped.take() == [("stop",)]


def test_ctrl_c_leaves_run_and_the_program_can_drain(loop: LoopBase, run_loop: Run) -> None:
    """The signal itself, on a loop that waits."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    waiting = threading.Event()

    def press() -> None:
        waiting.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    kept = loop.schedule(1000, print)
    loop.schedule(0, waiting.set)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run()
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert loop.running is False
    assert [event for _, event in loop.scheduled_events()] == [kept]
    loop.schedule(0, loop.stop)
    run_loop(loop)


@pytest.mark.parametrize("stage", ["soon", "thread", "fd", "flush"])
def test_interrupt_in_any_stage_loses_nothing_of_the_others(mem: LoopBase, stage: str) -> None:
    heard: list[str] = []
    armed = [True]

    def interrupt() -> None:
        if armed.pop() if armed else False:
            raise KeyboardInterrupt

    class Written:
        def __init__(self, name: str) -> None:
            self.name = name

        def flush(self) -> None:
            if self.name == "flush" and stage == "flush":
                interrupt()
            heard.append(self.name)

    if stage == "soon":
        mem.call_soon(interrupt)
    mem.call_soon(heard.append, "soon")
    if stage == "thread":
        mem.run_in_loop(interrupt)
    mem.run_in_loop(heard.append, "thread")
    if stage == "fd":
        once = ready_source(mem, interrupt)
        once.on("fd_readable", once.unregister_fd)
    source = ready_source(mem, lambda: heard.append("fd"))
    source.on("fd_readable", source.unregister_fd)
    mem.to_flush += [Written("flush"), Written("second flush")]
    with pytest.raises(KeyboardInterrupt):
        mem.run_once()
    settle(mem)
    assert sorted(heard) == sorted(
        ["soon", "thread", "fd", "second flush", *(["flush"] if stage != "flush" else [])]
    )


def test_stop_and_an_exception_in_one_turn_is_a_stop(mem: LoopBase) -> None:
    heard = Recorder(mem, "stop")

    def both() -> None:
        mem.stop()
        raise KeyboardInterrupt

    mem.schedule(0, both)
    mem.schedule(1, print)
    with pytest.raises(KeyboardInterrupt):
        mem.run()
    assert heard.events == [("stop",)]
    assert mem.scheduled_events() == []
