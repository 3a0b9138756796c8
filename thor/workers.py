"""Worker processes, and who looks after them.

Owns: forking, the end of workers, and when the next one begins. Must not know what they do, nor
sockets: what they listen on, the program opens before (`thor.tcp.WorkerSockets`).

Theory of operation. A supervisor has a number of *slots*, and forks a worker for each. Its own
loop does nothing else, so that there is little that could end it. Two pipes tie it and each worker
together, and nothing is ever written to either: the *worker_fd*, whose other end only the worker
has, ends when the worker ends, however it does; the *supervisor_fd*, whose other end only the
supervisor has, ends with that, and the worker then finishes as if it had been told to. So no
worker is
outlived by its slot, and none outlives its supervisor. (SIGCHLD would be one handler for the whole
process, which is the program's; and a parent's death has no signal of its own everywhere.)

A worker that ends is replaced: at once if it had lived for a while, else after a delay that doubles
each time, up to a bound. What waits in the queue of its socket waits for its successor, so the
bound is low.

Workers end on SIGTERM, which the supervisor sends. It may come twice, since many service managers
send it to all processes of a service: the second one says nothing new. SIGINT they ignore: Ctrl-C
reaches every process at a terminal, and what it means is the supervisor's to say.

The fork happens inside a turn of the supervisor's loop, which begins anew in the child
(`loop/base.py`). The child never returns to it: it works, and ends.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from thor.events import EventEmitter, require_callback
from thor.loop import EventSource
from thor.loop.poller import READABLE
from thor.loop.source import default_loop

if TYPE_CHECKING:
    from thor.loop import EventLoop, ScheduledEvent

log = logging.getLogger("thor.workers")

#: A worker that lived for so long, in seconds, has begun well: the next one begins at once.
SETTLED_S = 5.0
#: The delay after the first worker that did not, and the most that it grows to, in seconds.
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0


def restart_delay(failures: int) -> float:
    """How long to wait for the next worker, in seconds.

    failures: how many workers of the slot, one after the other, have not lived for `SETTLED_S`
    """
    if failures == 0:
        return 0.0
    return float(min(FIRST_DELAY_S * 2 ** min(failures - 1, 30), MAX_DELAY_S))


class Worker:
    """The process that a supervisor's `work` runs in.

    number: of its slot, from 1
    """

    def __init__(self, number: int, supervisor_fd: int) -> None:
        self.number = number
        self._supervisor_fd = supervisor_fd
        self._source: EventSource | None = None
        self._callback: Callable[[], Any] | None = None

    def when_told(self, callback: Callable[[], Any], loop: EventLoop | None = None) -> None:
        """Have `callback()` called, once, when the worker is to finish: it was told to (SIGTERM),
        or its supervisor is gone. Before this is called, SIGTERM ends the process.

        loop: where it is called, and which must run; None is the default one
        """
        require_callback(callback)
        loop = loop or default_loop()
        self._callback = callback
        self._source = source = EventSource(loop)
        # Nothing is ever written: it is readable when it has ended.
        for event in ("fd_readable", "fd_close", "fd_error"):
            source.on(event, self._on_supervisor_gone)
        source.register_fd(self._supervisor_fd, "fd_readable")
        signal.signal(
            signal.SIGTERM, lambda number, frame: loop.run_in_loop(self._on_supervisor_gone)
        )

    def _on_supervisor_gone(self) -> None:
        assert self._source is not None
        self._source.unregister_fd()
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Supervisor(EventEmitter):
    """Runs `work` in a number of processes, and replaces those that end, until it is told to stop.

    It begins when its loop runs. If the loop is stopped, the workers are killed.

    Emits:
        worker_started(number: int, pid: int): a worker was forked for a slot.
        worker_failed(number: int, error: OSError, delay_s: float): none could be forked, or be
            watched; it is tried again in so many seconds.
        worker_ended(number: int, pid: int, status: int, delay_s: float | None): a worker has ended,
            with an exit status, or of a signal (then it is negative, as `subprocess` has it; that
            of a worker that somebody else has waited for is 0). Another one starts in so many
            seconds; None: none will.
        stop(): after `graceful_shutdown()` or `shutdown()`, when no worker is left. Once, last.
    """

    emits = frozenset(("worker_started", "worker_failed", "worker_ended", "stop"))

    def __init__(
        self, work: Callable[[Worker], int | None], count: int, loop: EventLoop | None = None
    ) -> None:
        """
        work: called in each worker, which ends when it returns: with the status that it returned
            (None is 0), or with 1 if it raised, or returned what is no status. Functions of
            `atexit` are not called then: they are the supervisor's.
        count: how many workers there are to be
        Raises: ValueError if `count` is not 1 or more
        """
        if count < 1:
            raise ValueError(f"count is {count!r}; it must be 1 or more")
        require_callback(work)
        self.loop: EventLoop = loop or default_loop()
        self._work = work
        self._over = False
        self._slots = [_Slot(self, number) for number in range(1, count + 1)]
        self.loop.call_soon(self._begin)

    @property
    def pids(self) -> list[int]:
        """The processes that are there, in the order of their slots."""
        return [slot.pid for slot in self._slots if slot.pid]

    def graceful_shutdown(self) -> None:
        """Tell the workers to finish, and replace none any more; `stop` follows when they have."""
        for slot in self._slots:
            slot.dismiss(signal.SIGTERM)
        self._stop_if_over()

    def shutdown(self) -> None:
        """Kill the workers; it returns when they have ended. `stop` follows."""
        for slot in self._slots:
            slot.dismiss(signal.SIGKILL)
        for slot in self._slots:
            slot.reap()
        self._stop_if_over()

    def _begin(self) -> None:
        for slot in self._slots:
            self.loop.call_soon(slot.start)  # one by one: a listener that raises ends only its call

    def _stop_if_over(self) -> None:
        if not self._over and all(slot.over for slot in self._slots):
            self._over = True
            self.loop.call_soon(self.emit, "stop")

    def _run_child(self, slot: _Slot, supervisor_fd: int, others_ends: Iterable[int]) -> NoReturn:
        """In a new process: be the worker of a slot, to the end.

        others_ends: of its pipes, those that are the supervisor's
        """

        def work() -> int | None:
            for fd in others_ends:
                os.close(fd)
            for other in self._slots:
                other.close_pipes()  # these are copies of what ties the others to the supervisor
            self._slots = []
            return self._work(Worker(slot.number, supervisor_fd))

        _end_with(work)


class _Slot(EventSource):
    """The place of one worker at a time; as a source of the loop, its worker_fd."""

    def __init__(self, supervisor: Supervisor, number: int) -> None:
        EventSource.__init__(self, supervisor.loop)
        self.number = number
        self.pid = 0
        #: No other worker is to begin here, and none is there.
        self.over = False
        self._supervisor = supervisor
        self._dismissed = False
        self._retry: ScheduledEvent | None = None
        self._failures = 0
        self._began = 0.0
        #: The supervisor's ends of the two pipes.
        self._ends: list[int] = []

    # -- beginning -----------------------------------------------------------------------------

    def start(self) -> None:
        """Fork a worker."""
        self._retry = None
        if self._dismissed:
            return
        supervisor = self._supervisor
        self._began = self.loop.clock.monotonic()
        try:
            self.pid, worker_fd = self._fork()
            self.watch_fd(worker_fd, READABLE)
        except OSError as exc:
            if self.pid:  # nobody would see it end
                self._wait()
            delay_s = self._start_later(failed=True)
            if not supervisor.emit("worker_failed", self.number, exc, delay_s):
                log.warning("no worker %d: %s; again in %g s", self.number, exc, delay_s)
            return
        if not supervisor.emit("worker_started", self.number, self.pid):
            log.info("worker %d (%d) started", self.number, self.pid)

    def _fork(self) -> tuple[int, int]:
        """Returns: the process's id, and the end of its worker_fd. Raises: OSError"""
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            worker_fd, worker_lifeline, worker_tether, supervisor_fd = ends
            _flush()  # or both would write what is buffered now
            with _signals_held():
                pid = os.fork()
                if not pid:
                    self._supervisor._run_child(self, worker_tether, (worker_fd, supervisor_fd))
        except BaseException:
            for fd in ends:
                os.close(fd)
            raise
        os.close(worker_lifeline)
        os.close(worker_tether)
        self._ends = [worker_fd, supervisor_fd]
        return pid, worker_fd

    def _start_later(self, *, failed: bool) -> float:
        self._failures = self._failures + 1 if failed else 0
        delay_s = restart_delay(self._failures)
        self._retry = self.loop.call_later(delay_s, self.start)
        return delay_s

    # -- ending --------------------------------------------------------------------------------

    def dismiss(self, number: int) -> None:
        """Have the worker end, by a signal, and no other one begin."""
        self._dismissed = True
        if self._retry is not None:
            self._retry.delete()
            self._retry = None
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        else:
            self.over = True

    def on_ready(self, bits: int) -> None:
        """The loop's call: the worker_fd has ended."""
        self.reap()

    def reap(self) -> None:
        """Wait for the worker, which is ending, and see that there is another one."""
        if not self.pid:
            return
        pid, status = self.pid, self._wait()
        delay_s = None
        if self._dismissed:
            self.over = True
        else:
            lived_s = self.loop.clock.monotonic() - self._began
            delay_s = self._start_later(failed=lived_s < SETTLED_S)
        self.loop.call_soon(self._ended, pid, status, delay_s)
        self.loop.call_soon(self._supervisor._stop_if_over)

    def _ended(self, pid: int, status: int, delay_s: float | None) -> None:
        if not self._supervisor.emit("worker_ended", self.number, pid, status, delay_s):
            level = logging.INFO if status == 0 else logging.WARNING
            log.log(level, "worker %d (%d) ended with %d", self.number, pid, status)

    def _wait(self) -> int:
        """Wait for the worker. Returns: how it has ended"""
        try:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if not ended:
                # It closes its worker_fd on the way out, when a signal changes nothing any more.
                # One that has closed it otherwise has cut itself off, and is ended.
                os.kill(self.pid, signal.SIGKILL)
                status = os.waitpid(self.pid, 0)[1]
            status = os.waitstatus_to_exitcode(status)
        except (ChildProcessError, ProcessLookupError):
            # Somebody else has waited for it, or SIGCHLD is ignored. By now its number may be
            # another process's, which is not to be killed.
            status = 0
        self.pid = 0
        self.close_pipes()
        return status

    def close_pipes(self) -> None:
        """Close this process's ends of the pipes."""
        self.unregister_fd()
        ends, self._ends = self._ends, []
        for fd in ends:
            os.close(fd)

    def on_loop_stopped(self) -> None:
        """The loop was stopped."""
        EventSource.on_loop_stopped(self)
        if self.pid:
            self._wait()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Keep signals to stop back while a process forks: its child has the handlers of the parent
    until it has set its own, and a signal in between would get lost in them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(work: Callable[[], int | None]) -> NoReturn:
    """In a new process: work, and end. What the parent has on its stack is not unwound."""
    status = 1
    try:
        _forget_handlers()
        status = _status(work())
    except SystemExit as exc:
        if exc.code is None or isinstance(exc.code, int):
            status = exc.code or 0
        elif sys.stderr is not None:  # as Python does it
            sys.stderr.write(f"{exc.code}\n")
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            _flush()
        finally:
            os._exit(status & 0xFF)


def _status(returned: object) -> int:
    """Raises: TypeError for what is no status"""
    if returned is None:
        return 0
    if not isinstance(returned, int):
        raise TypeError(f"work returned {returned!r}: a worker's status is an int or None")
    return returned


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # there is none, or nobody reads it
            stream.flush()


def _forget_handlers() -> None:
    """What the supervisor does at a signal is not for its workers."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
