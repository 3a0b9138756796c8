"""Blocking work off the loop's thread: name resolution, file access.

Owns: a few daemon threads per loop and their queue of jobs. Must not know what the jobs do.

Theory of operation: a thread is started when a job is queued and no thread is idle, up to a limit;
it ends when it has been idle for a while, and when the loop stops. Threads are daemons and never
joined: a resolver that hangs must not hang the exit of the program. A forked child does not have
its parent's threads; it begins with none. Results come back through `run_in_loop`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from thor.events import require_callback

#: Most threads of one loop. Python's own executor defaults to cores + 4.
MAX_THREADS = 8
#: How long an idle thread stays, in seconds.
IDLE_S = 10.0


class JobHost(Protocol):
    """The loop that the jobs belong to."""

    epoch: int

    def run_in_loop(self, callback: Callable[..., object], /, *args: object) -> None:
        """Call `callback(*args)` on the loop's thread. Any thread may call this."""


class Job:
    """A call that is made in a thread. Made by `run_in_thread`."""

    __slots__ = ("_args", "_cancelled", "_f", "_then", "epoch")

    def __init__(
        self,
        epoch: int,
        f: Callable[..., object],
        args: tuple[object, ...],
        then: Callable[..., object] | None,
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
        """Do not start the job if it has not started; in any case do not call `then`."""
        self._cancelled = True
        self._then = None

    def run(self, loop: JobHost) -> None:
        """Make the call, and have the loop deliver the result. Called in a thread."""
        if self._cancelled:
            return
        result: object = None
        failure: BaseException | None = None
        try:
            result = self._f(*self._args)
        except BaseException as exc:
            failure = exc
        loop.run_in_loop(self.finish, loop, result, failure)

    def finish(self, loop: JobHost, result: object, failure: BaseException | None) -> None:
        """Deliver the result. Called on the loop."""
        if loop.epoch != self.epoch:
            return  # the loop was stopped meanwhile
        then = self._then
        if then is not None:
            then(result, failure)
        elif failure is not None and not self._cancelled:
            raise failure


class _WorkerPool:
    """The threads of one run of the loop, and the queue of jobs.

    A thread counts as idle until it takes a job, under the lock: so as many jobs as there are idle
    threads are certain to be taken, and each further job needs another thread.
    """

    def __init__(self, loop: JobHost) -> None:
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
            # There is no thread to run it.
            self._loop.run_in_loop(job.finish, self._loop, None, exc)

    def _serve(self) -> None:
        while (job := self._next_job()) is not None:
            job.run(self._loop)

    def _next_job(self) -> Job | None:
        """Wait for a job. Return None when the thread has to end."""
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

    def __init__(self, loop: JobHost) -> None:
        self._loop = loop
        self._pool: _WorkerPool | None = None

    def submit(self, job: Job) -> None:
        """Run `job` in a thread."""
        if self._pool is None:
            self._pool = _WorkerPool(self._loop)
        self._pool.submit(job)

    def stop(self) -> None:
        """Forget the queued jobs; each thread ends after its present job."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def on_fork(self) -> None:
        """Forget, in a forked child, the parent's threads and its lock, which may be held."""
        self._pool = None
