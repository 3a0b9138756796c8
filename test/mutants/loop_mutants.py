"""Mutants of the loop, the events and the workers."""

from __future__ import annotations

from mutations import Mutant

TIMERS = ("test/loop/test_timers.py", "test/loop/test_event_loop.py")
RUNNING = ("test/loop/test_event_loop.py", "test/loop/test_event_loop_running.py")
EVENTS = ("test/test_events.py", "test/test_events_objects.py")
WORKERS = ("test/test_workers.py",)

BASE = "thor/loop/base.py"
EVENTS_FILE = "thor/events.py"
THREADS = "thor/loop/threads.py"
WORKERS_FILE = "thor/workers.py"

MUTANTS = (
    Mutant(
        "timers-in-order",
        "thor/loop/timers.py",
        "heappush(self._heap, (when, next(self._numbers), event))\n        return event",
        "heappush(self._heap, (when, -next(self._numbers), event))\n        return event",
        TIMERS,
        "timers of the same moment fire in the wrong order",
    ),
    Mutant(
        "timers-deleted-in-batch",
        "thor/loop/timers.py",
        "            if callback is None:  # deleted by one that ran before it\n",
        "            if False:\n",
        TIMERS,
        "a timer that was deleted by one before it fires",
    ),
    Mutant(
        "timers-early",
        "thor/loop/event_loop.py",
        "self.timers.run_due(now + self.precision, ",
        "self.timers.run_due(now + self.precision + 1.0, ",
        TIMERS,
        "timers fire before their time",
    ),
    Mutant(
        "deadlines-moved",
        "thor/loop/deadlines.py",
        "                    if holder.deadline_at > now:\n",
        "                    if False:\n",
        ("test/loop/test_deadlines.py",),
        "a deadline that was moved is due at its old time",
    ),
    Mutant(
        "deadlines-forgotten",
        "thor/loop/deadlines.py",
        "            if timer is None or holder.deadline_entry < timer.when:\n",
        "            if timer is None:\n",
        ("test/loop/test_deadlines.py",),
        "a deadline before all others is noticed late",
    ),
    Mutant(
        "loop-slices-bounded",
        "thor/loop/event_loop.py",
        "self._callbacks.run_queue(self._slices, SLICES_PER_TURN)",
        "self._callbacks.run_queue(self._slices)",
        ("test/loop/test_event_loop.py",),
        "the slices of one turn keep all else waiting",
    ),
    Mutant(
        "loop-stale-event",
        "thor/loop/event_loop.py",
        "            if source is not None and not (reused and fd in reused):\n",
        "            if source is not None:\n",
        ("test/loop/test_source.py",),
        "an event of a descriptor that was closed reaches the one that took its number",
    ),
    Mutant(
        "loop-calls-spin",
        "thor/loop/deferred.py",
        "        for _ in range(MAX_ROUNDS):\n",
        "        for _ in range(1000 * MAX_ROUNDS):\n",
        RUNNING,
        "callbacks that call each other keep all else waiting",
    ),
    Mutant(
        "loop-fork",
        "thor/loop/event_loop.py",
        "    os.register_at_fork(after_in_child=_forget_parents_loops)\n",
        "    pass\n",
        ("test/loop/test_event_loop_fork.py",),
        "a forked child works on with its parent's sockets and timers",
    ),
    Mutant(
        "loop-wakeup",
        "thor/loop/event_loop.py",
        "        self._thread_calls.append((callback, args))\n        self.fds.wake()\n",
        "        self._thread_calls.append((callback, args))\n",
        ("test/loop/test_threads.py::test_idle_thread_is_used_again",),
        "a call from another thread waits for the next event",
    ),
    Mutant(
        "loop-exception-continues",
        "thor/loop/event_loop.py",
        "                except Exception as exc:\n                    self.report_exception(source.on_ready, exc)\n",
        "                except StopIteration as exc:\n                    self.report_exception(source.on_ready, exc)\n",
        ("test/loop/test_callbacks.py",),
        "an exception of one callback ends the loop",
    ),
    Mutant(
        "threads-after-stop",
        THREADS,
        "        if loop.epoch != self.epoch:\n",
        "        if False:\n",
        ("test/loop/test_threads.py",),
        "a thread's result reaches a program that has stopped the loop",
    ),
    Mutant(
        "threads-limit",
        THREADS,
        "            if self._count >= MAX_THREADS:\n",
        "            if False:\n",
        ("test/loop/test_threads.py",),
        "jobs make threads without a bound",
    ),
    Mutant(
        "poll-fairness",
        "thor/loop/poll.py",
        "            self._offset = offset + MAX_EVENTS\n",
        "            self._offset = 0\n",
        ("test/loop/test_poll.py", "test/loop/test_poller.py"),
        "with many ready descriptors the last ones are never served",
    ),
    Mutant(
        "source-hangup-spins",
        "thor/loop/source.py",
        '            self.unregister_fd()\n            self.emit("fd_error"',
        '            self.emit("fd_error"',
        ("test/loop/test_source.py",),
        "a descriptor that hung up is reported again and again",
    ),
    Mutant(
        "events-once",
        EVENTS_FILE,
        "                    self._drop(listeners, event, registration)\n                    if",
        "                    if",
        EVENTS,
        "a listener of once() is called twice",
    ),
    Mutant(
        "events-removed-meanwhile",
        EVENTS_FILE,
        "            if registration.live:\n",
        "            if True:\n",
        EVENTS,
        "a listener that was removed during the event is called",
    ),
    Mutant(
        "events-coroutine",
        EVENTS_FILE,
        "        if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):\n",
        "        if False:\n",
        EVENTS,
        "a coroutine function is taken for a listener, and never runs",
    ),
    Mutant(
        "workers-restart-delay",
        WORKERS_FILE,
        "self._start_later(failed=uptime_s < MIN_UPTIME_S)",
        "self._start_later(failed=False)",
        WORKERS,
        "a worker that fails at once is started as fast as the machine can",
    ),
    Mutant(
        "workers-restarted-after-end",
        WORKERS_FILE,
        "        if self._is_shut_down:\n            self.has_ended = True\n",
        "        if False:\n            self.has_ended = True\n",
        WORKERS,
        "a worker that was told to end is started again",
    ),
    Mutant(
        "workers-orphans",
        WORKERS_FILE,
        '        for event in ("fd_readable", "fd_close", "fd_error"):\n',
        "        for event in ():\n",
        WORKERS,
        "workers live on when their supervisor is killed",
    ),
)
