"""A loop in a forked child begins anew, and takes nothing from its parent."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loop_support import ready_source

from thor.loop import EventSource, LoopBase
from thor.testing import (
    Recorder,
    memory_loop,
)


@pytest.fixture
def mem() -> LoopBase:
    return memory_loop()


def in_child(function: Callable[[], object]) -> str:
    """What `function` returns in a forked child, as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            said = repr(function())
        except BaseException as exc:
            said = f"raised {exc!r}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(pid, 0)
    return said


@pytest.fixture
def busy(loop: LoopBase) -> Iterator[tuple[LoopBase, socket.socket, Recorder]]:
    """A loop with a timer, and a source whose peer is handed out."""
    near, far = socket.socketpair()
    source = EventSource(loop)
    heard = Recorder(source, "fd_readable")
    source.register_fd(near.fileno(), "fd_readable")
    timer = loop.schedule(1000, print)
    loop.run_once()
    yield loop, far, heard
    timer.delete()
    source.unregister_fd()
    near.close()
    far.close()


def test_in_a_forked_child_the_loop_is_fresh(
    busy: tuple[LoopBase, socket.socket, Recorder],
) -> None:
    loop, _, heard = busy
    heard_in_child: list[str] = []

    def child() -> object:
        state = (loop.fd_count(), loop.scheduled_events(), loop.running, loop.fds.poller)
        loop.schedule(0, heard_in_child.append, "timer")
        loop.run_in_loop(heard_in_child.append, "call")
        loop.schedule(0, loop.stop)
        loop.run()
        return state, heard_in_child, heard.events

    loop.run_in_loop(heard_in_child.append, "the parent's")
    assert in_child(child) == repr(((0, [], False, None), ["timer", "call"], []))


def test_parent_goes_on_after_a_fork(
    busy: tuple[LoopBase, socket.socket, Recorder],
) -> None:
    """Nothing that the child does to its loop takes anything from the parent's."""
    loop, far, heard = busy
    in_child(loop.stop)
    far.send(b"x")
    loop.run_once()
    assert heard.events == [("fd_readable",)]
    assert len(loop.scheduled_events()) == 1


def test_child_gets_none_of_the_parents_wake_ups(
    loop: LoopBase, run_loop: Callable[..., None]
) -> None:
    """And the parent none of the child's: they share no pipe, and no wake-up fd of signals."""
    said: list[str] = []

    def child() -> object:
        before = signal.set_wakeup_fd(-1)
        return before, loop.fds.wakeup

    loop.schedule(0, lambda: said.append(in_child(child)))
    loop.schedule(0, loop.stop)
    run_loop(loop)
    assert said == ["(-1, None)"]


def test_child_forked_in_a_callback_hears_nothing_of_the_parents_batch(mem: LoopBase) -> None:
    heard: list[str] = []
    said: list[str] = []
    child_end: list[int] = []

    def fork() -> None:
        first.unregister_fd()
        reader, writer = os.pipe()
        number = second._fd
        pid = os.fork()
        if not pid:  # back into the turn that it was forked in, with a new source of its own
            child_end.append(writer)
            late = EventSource(mem)
            late.on("fd_readable", lambda: heard.append("stale"))
            late.register_fd(number, "fd_readable")
            return
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            said.append(answer.read().decode())
        os.waitpid(pid, 0)

    first = ready_source(mem, fork)
    second = ready_source(mem, lambda: heard.append("second"))
    mem.schedule(0, lambda: mem.call_soon(mem.stop))
    try:
        mem.run()
    finally:
        if child_end:  # the child: it has left `run()`
            os.write(child_end[0], f"{heard} {mem.running}".encode())
            os._exit(0)
    assert said == ["[] False"]
    assert heard == ["second"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_threads_work_in_a_forked_child(loop: LoopBase, run_loop: Callable[..., None]) -> None:
    """The parent's threads are not in the child, and their lock may be held there."""
    done: list[Any] = []
    loop.run_in_thread(lambda: 1, then=lambda *args: done.append(args))
    run_loop(loop, lambda: done)
    crew = loop._threads._pool
    assert crew is not None

    def child() -> object:
        heard: list[Any] = []

        def then(*args: Any) -> None:
            heard.append(args)
            loop.stop()

        loop.run_in_thread(lambda: 2, then=then)
        loop.run()
        return heard

    with crew._changed:
        said = in_child(child)
    assert said == "[(2, None)]"
