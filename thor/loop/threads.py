"""Blocking work off the loop's thread: names, files, disk.

Owns: a few daemon threads per loop and the queue that feeds them. Must not know what they do.

Theory of operation: threads are made when work waits and no thread is idle, up to a bound; they
end when they have been idle for a while, and when the loop stops. They are daemons and never
joined: a resolver that hangs must not hang the exit of the program. A forked child has no threads
of its parent; it begins with none. Results come back through `run_in_loop`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from thor.events import require_callback

if TYPE_CHECKING:
    from thor.loop.base import LoopBase

#: Most threads of one loop. Python's own executor defaults to cores + 4.
MAX_THREADS = 8
#: How long an idle thread stays, in seconds.
IDLE_S = 10.0


class Job:
    """Work handed to a thread. Made by `run_in_thread`."""

    __slots__ = ("_args", "_cancelled", "_f", "_then", "epoch")

    def __init__(
        self,
        epoch: int,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        then: Callable[..., Any] | None,
    ) -> None:
        require_callback(f)
        if then is not None:
            require_callback(then)
        self.epoch = epoch
        self._f = f
        self._args = args
        self._then = then
        self._cancelled = False

    def cancel(self) -> None:
        """Do not begin it, if it has not begun; in any case do not call `then`."""
        self._cancelled = True
        self._then = None

    def _work(self, loop: LoopBase) -> None:
        if self._cancelled:
            return
        result: Any = None
        failure: BaseException | None = None
        try:
            result = self._f(*self._args)
        except BaseException as exc:
            failure = exc
        loop.run_in_loop(self._finish, loop, result, failure)

    def _finish(self, loop: LoopBase, result: Any, failure: BaseException | None) -> None:
        if loop.epoch != self.epoch:
            return  # `stop()` has forgotten it
        then = self._then
        if then is not None:
            then(result, failure)
        elif failure is not None and not self._cancelled:
            raise failure


class _WorkerPool:
    """The threads made between two stops, and the jobs that wait for them.

    A thread counts as idle until it takes a job, under the lock: so as many jobs as there are
    idle threads are sure to be taken, and each one more needs a thread more.
    """

    def __init__(self, loop: LoopBase) -> None:
        self._loop = loop
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._count = 0
        self._idle = 0
        self._is_shut_down = False

    def submit(self, job: Job) -> None:
        with self._changed:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._changed.notify()
                return
            if self._count >= MAX_THREADS:
                return
            self._count += 1
            name = f"thor-{self._count}"
        try:
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        except RuntimeError as exc:
            with self._changed:
                self._count -= 1
                if self._count or job not in self._jobs:
                    return
                self._jobs.remove(job)
            self._loop.run_in_loop(job._finish, self._loop, None, exc)  # nobody is there to do it

    def _serve(self) -> None:
        while (job := self._take()) is not None:
            job._work(self._loop)

    def _take(self) -> Job | None:
        """Wait for a job; None: the thread is to end."""
        with self._changed:
            self._idle += 1
            while not self._jobs and not self._is_shut_down:
                if not self._changed.wait(IDLE_S):
                    break
            self._idle -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._count -= 1
            return None

    def shutdown(self) -> None:
        with self._changed:
            self._is_shut_down = True
            self._jobs.clear()
            self._changed.notify_all()


class Threads:
    """The threads of one loop."""

    def __init__(self, loop: LoopBase) -> None:
        self._loop = loop
        self._pool: _WorkerPool | None = None

    def submit(self, job: Job) -> None:
        """Have a thread do `job`."""
        if self._pool is None:
            self._pool = _WorkerPool(self._loop)
        self._pool.submit(job)

    def stop(self) -> None:
        """Let the threads end when they have done what they are at; forget what waits."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def forked(self) -> None:
        """In a forked child: the parent's threads are not here, and its lock may be held."""
        self._pool = None
