"""The event loop: what one turn does, in order.

Owns: the order of a turn, and the calls that come from other threads. Must not know what its
sources are.

Theory of operation. A turn has these stages:

1. *poll*: wait for the fds, until the nearest timer is due; not at all when calls are queued.
2. *clock*: read it once; timers, deadlines and `time()` use this reading.
3. *timers* that are due, ordered by time, then by when they were scheduled.
4. *calls* that came from other threads (`run_in_loop`).
5. *dispatch*: call the source of each fd with its events, at most a batch of 256.
6. *slices* of long work that was divided so that it blocks nobody, a few of them
   (`schedule_slice`).
7. *deferred work*, repeated until none is left (a bounded number of times):
   a. *calls*: the events that methods caused. A method never emits; its events are emitted here.
   b. *flush*: each connection that was written to sends, once.
8. *close*: the sockets that ended in this turn. Not earlier, so that no event of this batch can
   reach a new fd with a reused number.

`callbacks.py` says what happens to an exception that a callback raises. `KeyboardInterrupt` and
`SystemExit` leave `run()` with everything kept, so that the program can drain and run again.

Its parts: `FdRegistry` has the fds, `Timers` and `Deadlines` the times, `DeferredWork` stages 7
and 8, `Threads` the blocking work, `CallbackRunner` the reports, `LoopLocal` the state of other
packages.
"""

from __future__ import annotations

import contextlib
import os
import time as system_time
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

from thor.events import EventEmitter, require_callback
from thor.loop.callbacks import SLOW_CALLBACK_S, Call, CallbackRunner, Clock, print_report
from thor.loop.deadlines import Deadlines
from thor.loop.deferred import Closable, DeferredWork, Flushable
from thor.loop.fd_registry import FdRegistry, FdSource
from thor.loop.local import LoopLocal
from thor.loop.poller import Poller
from thor.loop.threads import Job, Threads
from thor.loop.timers import ScheduledEvent, Timers

if TYPE_CHECKING:
    from cProfile import Profile

#: Most slices of work in one turn: at the 50 us that a slice of a TLS body takes, under 1 ms.
SLICES_PER_TURN = 16
#: The longest wait for a timer, in seconds: the kernel counts milliseconds in 31 bits.
MAX_WAIT_S = 86400.0


class EventLoop(EventEmitter):
    """An event loop.

    precision: timers that are due within so many seconds of each other run together
    running: whether `run()` is under way; read-only
    debug: whether callbacks are timed, and those that take `slow_callback_s` seconds reported; True
        switches development mode on (`thor.development`)
    on_exception: "log", or "raise" for tests: then what a callback raises comes out of `run()`

    For Thor's own packages:

    now: the monotonic time of this turn, in seconds
    epoch: how many times the loop has forgotten its state (`stop()`, a fork); what was started in
        another epoch is void
    in_turn: whether a turn is under way
    timers, deadlines: those of the loop, and those of connections
    fds: the watched fds
    local: the state of other packages for this loop
    to_flush: the connections that send at the end of this batch
    resolver_threads: the threads of the resolver, for `submit_job`

    Emits:
        start(): immediately before the loop runs; once a `run`.
        stop(): immediately after it was stopped; once a `run`.
        error(exc): a callback or listener raised `exc`; it was logged and the loop goes on.
    """

    emits = frozenset(("start", "stop", "error"))

    slow_callback_s: float = SLOW_CALLBACK_S
    on_exception: str = "log"

    def __init__(
        self,
        precision: float | None,
        make_poller: Callable[[], Poller],
        clock: Clock = system_time,
    ) -> None:
        self.precision: float = precision or 0.0
        self.running: bool = False
        self.clock = clock
        self.now: float = clock.monotonic()
        self._wall: float | None = None
        self.in_turn = False
        self._stopping = False
        self.epoch = 0
        self.timers = Timers()
        self.deadlines = Deadlines(self)
        self._threads = Threads(self)
        # The resolver has threads of its own: one that hangs must not hold up file access.
        self.resolver_threads = Threads(self)
        self.fds = FdRegistry(make_poller, self._run_thread_calls, self._on_unwatchable)
        self.local = LoopLocal()
        self._callbacks = CallbackRunner(self)
        self._deferred = DeferredWork(self._callbacks)
        self.to_flush: list[Flushable] = self._deferred.to_flush
        self._thread_calls: deque[Call] = deque()
        self._slices: deque[Call] = deque()
        _loops.add(self)

    # -- running -------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until `stop()`. Events may be scheduled before.

        Raises: RuntimeError if it runs already; what a callback raised, if `on_exception` is
        "raise"; KeyboardInterrupt and SystemExit, with timers and fds kept
        """
        if self.running or self.in_turn:
            raise RuntimeError("the loop is running already")
        self._stopping = False
        self.running = True
        try:
            self.fds.open()
            wakeup = self.fds.wakeup
            with wakeup.woken_by_signals() if wakeup is not None else contextlib.nullcontext():
                self.run_callback(self.emit, "start")
                while self.running and not self._stopping:
                    self.run_turn(None)
        finally:
            self.running = False
            if self._stopping:
                self._forget_all()
                self.run_callback(self.emit, "stop")

    def run_once(self, timeout_s: float | None = 0.0) -> None:
        """Run a single turn, waiting `timeout_s` seconds at most (None: until something happens).

        With `fileno()` and `next_timeout()`, this lets another loop host this one.
        Raises: RuntimeError from inside a turn; what a callback raised, if `on_exception` is
        "raise"
        """
        if self.in_turn:
            raise RuntimeError("the loop is in a turn already")
        self.fds.open()
        try:
            self.run_turn(timeout_s)
        finally:
            if self._stopping and not self.running:
                self._forget_all()

    def fileno(self) -> int:
        """Return an fd that is readable when `run_once()` has events to handle.

        For a loop that hosts this one. It is valid until `stop()`. Timers and queued calls do not
        make it readable: `next_timeout()` says when they are due.
        Raises: OSError; RuntimeError if the backend has no descriptor of its own, as "poll"
        """
        return self.fds.fileno()

    def next_timeout(self) -> float | None:
        """Return how many seconds `run_once()` has nothing to do for, if no fd becomes ready.

        For a loop that hosts this one: ask again after each turn, and after each call of Thor from
        outside a turn.
        Returns: 0.0 if there is something to do now; None if only an fd can give it something to do
        """
        if self._deferred or self._thread_calls or self._slices or self._stopping:
            return 0.0
        due = self.timers.next_due()
        if due is None:
            return None
        until = due - self.clock.monotonic()
        if until <= 0.0:
            return 0.0
        return until if until < MAX_WAIT_S else MAX_WAIT_S

    def stop(self) -> None:
        """Stop the loop, and forget its timers and fds.

        May be called from anywhere: a callback, a signal handler, another thread. What was
        written in this turn is still sent; connections and servers on this loop are then closed.
        """
        busy = self.running or self.in_turn
        self._stopping = True
        self.running = False
        if not busy:
            self._forget_all()
        else:
            self.fds.wake()

    # -- one turn ------------------------------------------------------------------------------

    def run_turn(self, timeout_s: float | None) -> None:
        """Run the stages of one turn: for Thor's own packages; see `run_once`."""
        self.in_turn = True
        try:
            poller = self.fds.poller
            assert poller is not None
            next_s = self.next_timeout()
            if timeout_s is None or (next_s is not None and next_s < timeout_s):
                timeout_s = next_s
            elif timeout_s > MAX_WAIT_S:
                timeout_s = MAX_WAIT_S
            events = poller.poll(timeout_s)
            self.fds.registered_this_turn.clear()
            now = self.now = self.clock.monotonic()
            self._wall = None
            due = self.timers.next_due()
            if due is not None and due <= now:
                self.timers.run_due(now + self.precision, self._callbacks.run)
            if self._thread_calls:
                self._run_thread_calls()
            if events:
                self._dispatch(events)
            if self._slices:
                self._callbacks.run_queue(self._slices, SLICES_PER_TURN)
            self._deferred.run()
        finally:
            self.in_turn = False

    def _dispatch(self, events: list[tuple[int, int]]) -> None:
        sources = self.fds.sources
        reused = self.fds.registered_this_turn
        debug = self._callbacks.debug
        for fd, bits in events:
            source = sources.get(fd)
            if source is not None and not (reused and fd in reused):
                if debug:
                    self.run_callback(source.on_ready, bits)
                    continue
                try:
                    source.on_ready(bits)
                except Exception as exc:
                    self.report_exception(source.on_ready, exc)

    def _run_thread_calls(self) -> None:
        self._callbacks.run_queue(self._thread_calls)

    # -- time ----------------------------------------------------------------------------------

    def time(self) -> float:
        """Return seconds since 1970-01-01 UTC, as of this turn of the loop.

        The clock is read once a turn; outside a turn each call reads it.
        """
        if not self.in_turn:
            return self.clock.time()
        if self._wall is None:
            self._wall = self.clock.time()
        return self._wall

    def schedule(
        self, delta: float, callback: Callable[..., object], *args: object
    ) -> ScheduledEvent:
        """Call `callback(*args)` `delta` seconds from now, in the present `contextvars` context.

        Returns: an object whose `delete()` cancels the call
        Raises: ValueError if `delta` is negative or not a number; TypeError for a bad callback
        """
        require_callback(callback)
        if not delta >= 0:
            raise ValueError(f"delta is {delta!r} seconds; it must be 0 or more")
        context: Context | None = copy_context()
        if not context:
            context = None
        # The time of the turn may be old: a long callback would make its timers fire early.
        return self.timers.add(self.clock.monotonic() + delta, callback, args, context)

    def call_later(
        self, delta: float, callback: Callable[..., object], *args: object
    ) -> ScheduledEvent:
        """Do what `schedule` does, without checks and without a context: for Thor's own calls."""
        return self.timers.add(self.clock.monotonic() + delta, callback, args, None)

    def call_at(self, when: float, callback: Callable[..., object]) -> ScheduledEvent:
        """Call `callback()` at `when` (monotonic seconds): for Thor's own calls."""
        return self.timers.add(when, callback, (), None)

    def scheduled_events(self) -> list[tuple[float, ScheduledEvent]]:
        """Return the timers that are pending: [(seconds from now, event)], in no given order."""
        now = self.clock.monotonic()
        return [(event.when - now, event) for event in self.timers.pending()]

    # -- calls from here and from elsewhere ----------------------------------------------------

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        """Call `callback(*args)` after the current callback: how a method's events are emitted."""
        self._deferred.calls.append((callback, args))

    def schedule_slice(self, callback: Callable[..., object], *args: object) -> None:
        """Call `callback(*args)` in one of the next turns, after the events of that turn.

        Only 16 of these calls are made in a turn, in the order in which they were scheduled: for
        long work that is divided so that it does not hold up the connections.
        Raises: TypeError if it cannot be called, or is a coroutine function
        """
        require_callback(callback)
        self._slices.append((callback, args))

    def run_in_loop(self, callback: Callable[..., object], *args: object) -> None:
        """Call `callback(*args)` on the loop's thread, at once. Any thread may call this.

        Raises: TypeError if it cannot be called, or is a coroutine function
        """
        require_callback(callback)
        self._thread_calls.append((callback, args))
        self.fds.wake()

    def run_in_thread(
        self,
        f: Callable[..., object],
        *args: object,
        then: Callable[..., object] | None = None,
    ) -> Job:
        """Call `f(*args)` in a thread, for work that blocks.

        then: called on the loop as `then(result, None)`, or `then(None, exception)`, which can
            be that of a thread that could not be started; without it an exception is logged like
            that of any callback
        Returns: an object whose `cancel()` keeps `then` from being called
        Raises: TypeError if `f` or `then` cannot be called, or is a coroutine function
        """
        return self.submit_job(self._threads, f, args, then)

    def submit_job(
        self,
        threads: Threads,
        f: Callable[..., object],
        args: tuple[object, ...],
        then: Callable[..., object] | None,
    ) -> Job:
        """Do what `run_in_thread` does, on given threads: for Thor's own packages."""
        self.fds.open()
        job = Job(self.epoch, f, args, then)
        threads.submit(job)
        return job

    def close_later(self, sock: Closable) -> None:
        """Close `sock` at the end of the turn, when no event of this batch can be for it."""
        if self.in_turn:
            self._deferred.to_close.append(sock)
        else:
            sock.close()

    # -- reports -------------------------------------------------------------------------------

    @property
    def debug(self) -> bool:
        return self._callbacks.debug

    @debug.setter
    def debug(self, debug: bool) -> None:
        if debug != self._callbacks.debug:
            from thor import development

            self._callbacks.debug = debug
            development.follow(self)

    def run_callback(self, callback: Callable[..., object], *args: object) -> None:
        """Call `callback(*args)` now, and report what it raises: for Thor's own packages."""
        self._callbacks.run(callback, args, None)

    def report_exception(self, callback: Callable[..., object], exc: Exception) -> None:
        """Report that `callback` raised `exc`, as any callback's: for Thor's own packages."""
        self._callbacks.report(callback, exc)

    def debug_out(self, message: str, profile: Profile | None = None) -> None:
        """Write a report about the running loop to stderr. May be overridden.

        profile: a `cProfile.Profile` of the slow callback, None where there is none
        """
        print_report(message, profile)

    def _on_unwatchable(self, source: FdSource, exc: OSError) -> None:
        self.call_soon(self.report_exception, source.on_ready, exc)

    # -- fds -----------------------------------------------------------------------------------

    def fd_count(self) -> int:
        """Return how many fds of sources the loop watches, without its own wakeup."""
        return self.fds.count()

    def registered_fd_handlers(self) -> list[FdSource]:
        """Return the sources whose fds the loop watches, without its own wakeup."""
        return self.fds.handlers()

    # -- stopping ------------------------------------------------------------------------------

    def _forget_all(self) -> None:
        self._threads.stop()
        self.resolver_threads.stop()
        self._clear_queues()
        for source in self.fds.handlers():
            source.on_loop_stopped()
        self._release()

    def on_fork(self) -> None:
        """Forget, in a forked child, everything that the parent goes on with."""
        self.running = self.in_turn = False
        self._threads.on_fork()
        self.resolver_threads.on_fork()
        self._clear_queues()
        for source in list(self.fds.sources.values()):
            source.on_fork()
        self._release()

    def _clear_queues(self) -> None:
        self._stopping = False
        self.epoch += 1
        self.deadlines.clear()
        self.timers.clear()
        self._deferred.clear()
        self._thread_calls.clear()
        self._slices.clear()

    def _release(self) -> None:
        self._deferred.close_sockets()
        self.local.close()
        self.fds.close()


#: The name of `EventLoop` before it had no subclasses.
LoopBase = EventLoop

_loops: weakref.WeakSet[EventLoop] = weakref.WeakSet()


def _forget_parents_loops() -> None:
    for loop in list(_loops):
        loop.on_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_loops)
