"""Worker processes, and their supervisor.

Owns: forking, the end of workers, and when the next one starts. Must not know what they do, nor
sockets: the program opens the listening sockets before (`thor.tcp.WorkerSockets`).

Theory of operation. A supervisor has a number of *slots*, and forks a worker for each. Its own
loop does nothing else, so that little can end it. It shares two pipes with each worker, and nobody
writes to either. The supervisor reads the *worker_fd*, whose other end only the worker has: it
reaches its end when the worker ends, in whatever way. The worker reads the *supervisor_fd*, whose
other end only the supervisor has, and shuts down when it reaches its end. So the supervisor notices
the end of each worker, and no worker outlives its supervisor. (The handler of SIGCHLD is one for
the whole process, and belongs to the program; not every system has a signal for the death of a
parent.)

A worker that ends is replaced: at once if it had run for a while, otherwise after a delay that
doubles each time, up to a limit. The limit is low, because the connections in the backlog of its
socket wait for the next worker.

Workers shut down on SIGTERM, which the supervisor sends. It may arrive twice, since many service
managers send it to all processes of a service; the second one is ignored. Workers ignore SIGINT:
Ctrl-C sends it to every process of a terminal, and the supervisor decides what to do.

The fork happens inside a turn of the supervisor's loop, which discards its state in the child
(`EventLoop.on_fork`). The child never returns to that turn: it runs `work`, and exits.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from thor.events import EventEmitter, require_callback
from thor.loop import EventSource
from thor.loop.poller import READABLE
from thor.loop.source import default_loop

if TYPE_CHECKING:
    from thor.loop import EventLoop, ScheduledEvent

log = logging.getLogger("thor.workers")

#: A worker that ran for so many seconds has started successfully: it is replaced at once.
MIN_UPTIME_S = 5.0
#: The delay after the first worker that has not, and the longest delay, in seconds.
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0


def restart_delay(failures: int) -> float:
    """Return how long to wait for the next worker, in seconds.

    failures: how many consecutive workers of the slot have not run for `MIN_UPTIME_S`
    """
    if failures == 0:
        return 0.0
    return float(min(FIRST_DELAY_S * 2 ** min(failures - 1, 30), MAX_DELAY_S))


class Worker:
    """The worker process, as its `work` sees it.

    number: the number of its slot, from 1
    """

    def __init__(self, number: int, supervisor_fd: int) -> None:
        self.number = number
        self._supervisor_fd = supervisor_fd
        self._source: EventSource | None = None
        self._callback: Callable[[], object] | None = None

    def on_shutdown(self, callback: Callable[[], object], loop: EventLoop | None = None) -> None:
        """Call `callback()`, once, when the worker has to shut down.

        That is on SIGTERM, or when the supervisor has ended. Before this method is called, SIGTERM
        ends the process.
        loop: the loop that calls it, which must run; None is the default loop
        """
        require_callback(callback)
        loop = loop or default_loop()
        self._callback = callback
        self._source = source = EventSource(loop)
        # Nothing is written to the pipe: it becomes readable when the supervisor ends.
        for event in ("fd_readable", "fd_close", "fd_error"):
            source.on(event, self._on_supervisor_gone)
        source.register_fd(self._supervisor_fd, "fd_readable")
        signal.signal(
            signal.SIGTERM, lambda number, frame: loop.run_in_loop(self._on_supervisor_gone)
        )

    #: The earlier name of `on_shutdown`.
    when_told = on_shutdown

    def _on_supervisor_gone(self) -> None:
        assert self._source is not None
        self._source.unregister_fd()
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Supervisor(EventEmitter):
    """Runs `work` in several processes, and replaces each that ends, until it is shut down.

    It starts when its loop runs. If the loop is stopped, it kills the workers.

    Emits:
        worker_started(number: int, pid: int): a worker was forked for a slot.
        worker_failed(number: int, error: OSError, delay_s: float): a worker could not be forked or
            watched; the next attempt is in `delay_s` seconds.
        worker_ended(number: int, pid: int, status: int, delay_s: float | None): a worker has ended,
            with an exit status, or by a signal (negative, as in `subprocess`); 0 if other code has
            waited for the process. The next one starts in `delay_s` seconds; None: there is none.
        stop(): after `graceful_shutdown()` or `shutdown()`, when no worker is left. Once, last.
    """

    emits = frozenset(("worker_started", "worker_failed", "worker_ended", "stop"))

    def __init__(
        self, work: Callable[[Worker], int | None], count: int, loop: EventLoop | None = None
    ) -> None:
        """Fork nothing yet.

        work: called in each worker, which ends when it returns: with the status that it returned
            (None is 0), or with 1 if it raised, or returned an invalid status. Functions of
            `atexit` are not called then: they belong to the supervisor.
        count: of workers
        Raises: ValueError if `count` is not 1 or more
        """
        if count < 1:
            raise ValueError(f"count is {count!r}; it must be 1 or more")
        require_callback(work)
        self.loop: EventLoop = loop or default_loop()
        self._work = work
        self._has_stopped = False
        self._slots = [_Slot(self, number) for number in range(1, count + 1)]
        self.loop.call_soon(self._start)

    @property
    def pids(self) -> list[int]:
        """The ids of the running processes, in the order of their slots."""
        return [slot.pid for slot in self._slots if slot.pid]

    def graceful_shutdown(self) -> None:
        """Have the workers shut down, and replace none; `stop` follows when all have ended."""
        for slot in self._slots:
            slot.shutdown(signal.SIGTERM)
        self.stop_if_ended()

    def shutdown(self) -> None:
        """Kill the workers, and wait for their end. `stop` follows."""
        for slot in self._slots:
            slot.shutdown(signal.SIGKILL)
        for slot in self._slots:
            slot.reap()
        self.stop_if_ended()

    def _start(self) -> None:
        for slot in self._slots:
            self.loop.call_soon(
                slot.start
            )  # separate calls: a listener that raises affects only its own

    def stop_if_ended(self) -> None:
        if not self._has_stopped and all(slot.has_ended for slot in self._slots):
            self._has_stopped = True
            self.loop.call_soon(self.emit, "stop")

    def run_child(
        self, slot: _Slot, supervisor_fd: int, supervisor_ends: Iterable[int]
    ) -> NoReturn:
        """Run the worker of a slot, in a new process.

        supervisor_ends: the ends of its pipes that belong to the supervisor
        """

        def work() -> int | None:
            for fd in supervisor_ends:
                os.close(fd)
            for other in self._slots:
                other.close_pipes()  # copies of the pipes of the other workers
            self._slots = []
            return self._work(Worker(slot.number, supervisor_fd))

        _run_and_exit(work)


class _Slot(EventSource):
    """A slot, which has one worker at a time; the loop watches its worker_fd."""

    def __init__(self, supervisor: Supervisor, number: int) -> None:
        EventSource.__init__(self, supervisor.loop)
        self.number = number
        self.pid = 0
        #: Whether there is no worker, and there will be none.
        self.has_ended = False
        self._supervisor = supervisor
        self._is_shut_down = False
        self._retry: ScheduledEvent | None = None
        self._failures = 0
        self._started_at = 0.0
        #: The supervisor's ends of the two pipes.
        self._ends: list[int] = []

    # -- beginning -----------------------------------------------------------------------------

    def start(self) -> None:
        """Fork a worker."""
        self._retry = None
        if self._is_shut_down:
            return
        supervisor = self._supervisor
        self._started_at = self.loop.clock.monotonic()
        try:
            self.pid, worker_fd = self._fork()
            self.watch_fd(worker_fd, READABLE)
        except OSError as exc:
            if self.pid:  # it was forked but cannot be watched
                self._wait()
            delay_s = self._start_later(failed=True)
            if not supervisor.emit("worker_failed", self.number, exc, delay_s):
                log.warning("no worker %d: %s; again in %g s", self.number, exc, delay_s)
            return
        if not supervisor.emit("worker_started", self.number, self.pid):
            log.info("worker %d (%d) started", self.number, self.pid)

    def _fork(self) -> tuple[int, int]:
        """Fork. Return the process's id and its worker_fd. Raises: OSError"""
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            worker_fd, worker_end, supervisor_fd, supervisor_end = ends
            _flush_streams()  # otherwise both processes would write what is buffered
            with _signals_blocked():
                pid = os.fork()
                if not pid:
                    self._supervisor.run_child(self, supervisor_fd, (worker_fd, supervisor_end))
        except BaseException:
            for fd in ends:
                os.close(fd)
            raise
        os.close(worker_end)
        os.close(supervisor_fd)
        self._ends = [worker_fd, supervisor_end]
        return pid, worker_fd

    def _start_later(self, *, failed: bool) -> float:
        self._failures = self._failures + 1 if failed else 0
        delay_s = restart_delay(self._failures)
        self._retry = self.loop.call_later(delay_s, self.start)
        return delay_s

    # -- ending --------------------------------------------------------------------------------

    def shutdown(self, signal_number: int) -> None:
        """Send the worker a signal to end, and start no other one."""
        self._is_shut_down = True
        if self._retry is not None:
            self._retry.delete()
            self._retry = None
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)
        else:
            self.has_ended = True

    def on_ready(self, bits: int) -> None:
        """Reap the worker: it has closed its end of the worker_fd."""
        self.reap()

    def reap(self) -> None:
        """Wait for the worker, which has ended or is about to, and schedule the next one."""
        if not self.pid:
            return
        pid, status = self.pid, self._wait()
        delay_s = None
        if self._is_shut_down:
            self.has_ended = True
        else:
            uptime_s = self.loop.clock.monotonic() - self._started_at
            delay_s = self._start_later(failed=uptime_s < MIN_UPTIME_S)
        self.loop.call_soon(self._emit_ended, pid, status, delay_s)
        self.loop.call_soon(self._supervisor.stop_if_ended)

    def _emit_ended(self, pid: int, status: int, delay_s: float | None) -> None:
        if not self._supervisor.emit("worker_ended", self.number, pid, status, delay_s):
            level = logging.INFO if status == 0 else logging.WARNING
            log.log(level, "worker %d (%d) ended with %d", self.number, pid, status)

    def _wait(self) -> int:
        """Wait for the worker. Return its status."""
        try:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if not ended:
                # A worker that is exiting has closed its worker_fd: SIGKILL then changes nothing.
                # One that has closed it for another reason can no longer be supervised.
                os.kill(self.pid, signal.SIGKILL)
                status = os.waitpid(self.pid, 0)[1]
            status = os.waitstatus_to_exitcode(status)
        except (ChildProcessError, ProcessLookupError):
            # Other code has waited for it, or SIGCHLD is ignored. Its id may belong to another
            # process by now, which must not be killed.
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
        """Kill the worker: the loop was stopped."""
        EventSource.on_loop_stopped(self)
        if self.pid:
            self._wait()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block SIGTERM and SIGINT while a process forks.

    The child has the handlers of the parent until it sets its own, and a signal in between would be
    lost.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_and_exit(work: Callable[[], int | None]) -> NoReturn:
    """Run `work` in a new process, and exit. The stack of the parent is not unwound."""
    status = 1
    try:
        _reset_signal_handlers()
        status = _check_status(work())
    except SystemExit as exc:
        if exc.code is None or isinstance(exc.code, int):
            status = exc.code or 0
        elif sys.stderr is not None:  # as Python does it
            sys.stderr.write(f"{exc.code}\n")
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            _flush_streams()
        finally:
            os._exit(status & 0xFF)


def _check_status(returned: object) -> int:
    """Return an exit status. Raises: TypeError for an invalid one"""
    if returned is None:
        return 0
    if not isinstance(returned, int):
        raise TypeError(f"work returned {returned!r}: a worker's status is an int or None")
    return returned


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # it is closed, or its reader is
            stream.flush()


def _reset_signal_handlers() -> None:
    """Set the signal handlers of a worker, in place of the supervisor's."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
