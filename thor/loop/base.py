"""The loop: what one turn does, in order.

Owns: the timers, the queue of deferred calls, the list of connections to flush
and of sockets to close. Must not know what its sources are.

Theory of operation. A turn has these stages:

1. *poll*: wait for the fds, until the nearest timer is due; not at all when calls wait.
2. *clock*: read it once; timers, deadlines and `time()` use this reading.
3. *timers* that are due, in order of time, then of scheduling.
4. *calls* that came from other threads (`run_in_loop`).
5. *dispatch*: each fd's source is called with what happened, at most a batch of 256.
6. *slices* of work that was cut up so as to hold up nobody, a few of them (`schedule_slice`).
7. *settle*, repeated until nothing is left to do (a bounded number of times):
   a. *soon*: the events that methods caused. A method never emits; what it causes is called here.
   b. *flush*: each connection that was written to sends, once.
8. *close*: sockets that ended in this turn. Not before, so that no event of this batch can reach
   a new fd with a reused number.

What an exception that comes out of a call does is said in `calls.py`. `KeyboardInterrupt` and
`SystemExit` leave `run()` with everything kept, so that the program can drain and run again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time as system_time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Protocol

from thor.events import require_callback
from thor.loop.calls import Clock
from thor.loop.deadlines import Deadlines
from thor.loop.poller import READABLE, Poller
from thor.loop.threads import Job, Threads
from thor.loop.timers import ScheduledEvent, Timers
from thor.loop.wakeup import Wakeup
from thor.loop.watching import Watching

if TYPE_CHECKING:
    pass

#: Most slices of work in one turn: with the 50 us that a piece of a TLS body takes, under 1 ms.
SLICES_PER_TURN = 16
#: Most rounds of stage 7: a listener that writes in answer to its own write must not starve fds.
MAX_ROUNDS = 16
#: The longest wait for a timer, in seconds: the kernel counts milliseconds in 31 bits.
MAX_WAIT_S = 86400.0


class Flushable(Protocol):
    """What puts itself on the flush list."""

    def flush(self) -> None: ...


class Closable(Protocol):
    """What is closed at the end of the turn."""

    def close(self) -> None: ...


class LoopBase(Watching):
    """An event loop.

    Emits:
        start(): right before the loop runs; once a `run`.
        stop(): right after it was stopped; once a `run`.
        error(exc): a callback or listener raised `exc`; it was logged and the loop goes on.
    """

    emits = frozenset(("start", "stop", "error"))

    def __init__(
        self,
        precision: float | None,
        make_poller: Callable[[], Poller],
        clock: Clock = system_time,
    ) -> None:
        self.precision: float = precision or 0.0
        self.running: bool = False
        self.clock = clock
        self._make_poller = make_poller
        self.now: float = clock.monotonic()
        self._wall: float | None = None
        #: Whether a callback of the loop is running. Read-only.
        self.in_turn = False
        self._stopping = False
        self._hears_signals = False
        self.epoch = 0  # counts what has been forgotten: what began in another is stale
        self._timers = Timers()
        self.deadlines = Deadlines(self)
        self._threads = Threads(self)
        # Names have threads of their own: a resolver that hangs must not hold up files.
        self._resolvers = Threads(self)
        self._poller = None
        self._wakeup = None
        self._sources = {}
        self._registered_this_turn = set()
        self._soon_calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._thread_calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._slices: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self.to_flush: list[Flushable] = []
        self._to_close: list[Closable] = []
        #: What connections leave for others to use (thor.tcp.splice).
        self.loop_local: Closable | None = None
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
            self._open()
            with self._woken_by_signals():
                self._call(self.emit, ("start",), None)
                while self.running and not self._stopping:
                    self._turn(None)
        finally:
            self.running = False
            if self._stopping:
                self._forget_all()
                self._call(self.emit, ("stop",), None)

    def run_once(self, timeout_s: float | None = 0.0) -> None:
        """Run a single turn, waiting `timeout_s` seconds at most (None: until something happens).

        This is what lets another loop host this one.
        Raises: RuntimeError from inside a turn; what a callback raised, if `on_exception` is
        "raise"
        """
        if self.in_turn:
            raise RuntimeError("the loop is in a turn already")
        self._open()
        try:
            self._turn(timeout_s)
        finally:
            if self._stopping and not self.running:
                self._forget_all()

    def stop(self) -> None:
        """Stop the loop, and forget its timers and fds.

        May be called from anywhere: a callback, a signal handler, another thread. What was
        written in this turn is still sent; connections and servers on this loop are then closed.
        """
        busy = self.running or self.in_turn
        self._stopping = True
        self.running = False
        wakeup = self._wakeup
        if not busy:
            self._forget_all()
        elif wakeup is not None:
            wakeup.wake()

    def _turn(self, timeout_s: float | None) -> None:
        self.in_turn = True
        try:
            assert self._poller is not None
            events = self._poller.poll(self._poll_timeout(timeout_s))
            now = self.now = self.clock.monotonic()
            self._wall = None
            due = self._timers.next_due()
            if due is not None and due <= now:
                self._run_timers(now + self.precision)
            if self._thread_calls:
                self._run_calls(self._thread_calls)
            if events:
                if self._debug:
                    self._dispatch_timed(events)
                else:
                    self._dispatch(events)
            if self._slices:
                self._run_calls(self._slices, SLICES_PER_TURN)
            self._run_deferred()
        finally:
            self.in_turn = False
            self._registered_this_turn.clear()

    def _poll_timeout(self, timeout_s: float | None) -> float | None:
        """How long the poller may wait: until the nearest timer, at most `timeout_s`."""
        if (
            self._soon_calls
            or self.to_flush
            or self._to_close
            or self._thread_calls
            or self._slices
            or self._stopping
        ):
            return 0.0
        due = self._timers.next_due()
        if due is not None:
            until = due - self.clock.monotonic()
            if until <= 0.0:
                return 0.0
            if timeout_s is None or until < timeout_s:
                timeout_s = until
        if timeout_s is not None and timeout_s > MAX_WAIT_S:
            return MAX_WAIT_S
        return timeout_s

    def _dispatch(self, events: list[tuple[int, int]]) -> None:
        table = self._sources
        fresh = self._registered_this_turn
        for fd, bits in events:
            source = table.get(fd)
            if source is not None and not (fresh and fd in fresh):
                try:
                    source.on_ready(bits)
                except Exception as exc:
                    self._report(source.on_ready, exc)

    def _dispatch_timed(self, events: list[tuple[int, int]]) -> None:
        for fd, bits in events:
            source = self._sources.get(fd)
            if source is not None and fd not in self._registered_this_turn:
                self._call(source.on_ready, (bits,), None)

    def _run_timers(self, until: float) -> None:
        # What a timer schedules for now runs in the next turn, or it would starve the fds.
        due = []
        while (event := self._timers.pop_due(until)) is not None:
            due.append(event)
        for index, event in enumerate(due):
            callback, args = event.callback, event.args
            if callback is None:  # deleted by one that ran before it
                continue
            event.callback = None
            event.args = ()
            try:
                self._call(callback, args, event.context)
            except BaseException:
                for rest in due[index + 1 :]:
                    self._timers.put_back(rest)
                raise

    def _run_calls(
        self, calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]], most: int | None = None
    ) -> None:
        """Make the calls that wait now, or `most` of them; what they add waits for its turn."""
        for _ in range(len(calls) if most is None else min(len(calls), most)):
            callback, args = calls.popleft()
            self._call(callback, args, None)

    def _run_deferred(self) -> None:
        for _ in range(MAX_ROUNDS):
            if self._soon_calls:
                self._run_calls(self._soon_calls)
            if self.to_flush:
                self._flush_connections()
            elif not self._soon_calls:
                break
        while self._to_close:
            self._to_close.pop().close()

    def _flush_connections(self) -> None:
        written, self.to_flush = self.to_flush, []
        left = iter(written)
        try:
            for connection in left:
                try:
                    connection.flush()
                except Exception as exc:
                    self._report(connection.flush, exc)
        finally:
            # Where an exception leaves `run()`, the others are flushed when it runs again.
            self.to_flush[:0] = left

    # -- time ----------------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC, as of this turn of the loop.

        It is read once a turn; outside a turn each call reads it.
        """
        if not self.in_turn:
            return self.clock.time()
        if self._wall is None:
            self._wall = self.clock.time()
        return self._wall

    def schedule(self, delta: float, callback: Callable[..., Any], *args: Any) -> ScheduledEvent:
        """Call `callback(*args)` `delta` seconds from now, in the present `contextvars` context.

        Returns: an object whose `delete()` takes the call back
        Raises: ValueError if `delta` is negative or not a number; TypeError for a bad callback
        """
        require_callback(callback)
        if not delta >= 0:
            raise ValueError(f"delta is {delta!r} seconds; it must be 0 or more")
        context: Context | None = copy_context()
        if not context:
            context = None
        return self._timers.add(self.clock.monotonic() + delta, callback, args, context)

    def call_later(self, delta: float, callback: Callable[..., Any], *args: Any) -> ScheduledEvent:
        """`schedule` for the library's own calls: no context is kept."""
        return self._timers.add(self.clock.monotonic() + delta, callback, args, None)

    def call_at(self, when: float, callback: Callable[..., Any]) -> ScheduledEvent:
        return self._timers.add(when, callback, (), None)

    def _exact_now(self) -> float:
        # A long callback would otherwise make its timers fire early; and outside a turn the
        # loop's own reading is old.
        return self.clock.monotonic()

    # -- calls from here and from elsewhere ----------------------------------------------------

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback(*args)` after the current callback: how a method's events are emitted."""
        self._soon_calls.append((callback, args))

    def schedule_slice(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback(*args)` in one of the next turns, when what is ready has been dealt with.

        Of such calls only 16 are made in a turn, in the order in which they were scheduled: for
        work that is cut into slices, so that it does not hold up the connections.
        Raises: TypeError if it cannot be called, or is a coroutine function
        """
        require_callback(callback)
        self._slices.append((callback, args))

    def run_in_loop(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback(*args)` on the loop's thread, at once. Any thread may call this.

        Raises: TypeError if it cannot be called, or is a coroutine function
        """
        require_callback(callback)
        self._thread_calls.append((callback, args))
        wakeup = self._wakeup
        if wakeup is not None:
            wakeup.wake()

    def run_in_thread(
        self, f: Callable[..., Any], *args: Any, then: Callable[..., Any] | None = None
    ) -> Job:
        """Call `f(*args)` in a thread, for work that blocks.

        then: called on the loop as `then(result, None)`, or `then(None, exception)`, which can
            be that of a thread that could not be made; without it an exception is logged like
            that of any callback
        Returns: an object whose `cancel()` keeps `then` from being called
        Raises: TypeError if `f` or `then` cannot be called, or is a coroutine function
        """
        return self._submit(self._threads, f, args, then)

    def _submit(
        self,
        threads: Threads,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        then: Callable[..., Any] | None,
    ) -> Job:
        self._open()
        job = Job(self.epoch, f, args, then)
        threads.submit(job)
        return job

    def close_later(self, sock: Closable) -> None:
        """Close `sock` at the end of the turn, when no event of this batch can be for it."""
        if self.in_turn:
            self._to_close.append(sock)
        else:
            sock.close()

    # -- fds -----------------------------------------------------------------------------------

    def _open(self) -> None:
        """Make what needs fds: not before the loop is used."""
        if self._poller is None:
            from thor.loop.source import EventSource

            poller = self._make_poller()
            if not getattr(poller, "never_waits", False):  # else there is nothing to wake from
                wakeup = Wakeup()
                try:
                    poller.register(wakeup.fileno(), READABLE)
                except OSError:
                    wakeup.close()
                    poller.close()
                    raise
                alarm = EventSource(self)
                alarm.on_ready = lambda bits: self._woken()  # type: ignore[method-assign]
                self._sources[wakeup.fileno()] = alarm
                self._wakeup = wakeup
            self._poller = poller

    def _woken(self) -> None:
        assert self._wakeup is not None
        self._wakeup.drain()
        if self._thread_calls:
            self._run_calls(self._thread_calls)

    def scheduled_events(self) -> list[tuple[float, ScheduledEvent]]:
        """The timers that are pending: [(seconds from now, event)], in no particular order."""
        now = self.clock.monotonic()
        return [(event.when - now, event) for event in self._timers.pending()]

    def _forget_all(self) -> None:
        self._stopping = False
        self.epoch += 1
        self.deadlines.clear()
        self._timers.clear()
        self._threads.stop()
        self._resolvers.stop()
        self._soon_calls.clear()
        self._thread_calls.clear()
        self._slices.clear()
        self.to_flush.clear()
        for source in self.registered_fd_handlers():
            source.on_loop_stopped()
        self._release()

    def _release(self) -> None:
        self._sources.clear()
        while self._to_close:
            self._to_close.pop().close()
        if self.loop_local is not None:
            self.loop_local.close()
            self.loop_local = None
        if self._poller is not None:
            self._poller.close()
            self._poller = None
        if self._wakeup is not None:
            self._wakeup.close()
            self._wakeup = None

    def _forked(self) -> None:
        """In a forked child: forget everything that the parent goes on with."""
        self.running = self.in_turn = self._stopping = False
        self.epoch += 1
        self.deadlines.clear()
        self._timers.clear()
        self._threads.forked()
        self._resolvers.forked()
        self._soon_calls.clear()
        self._thread_calls.clear()
        self._slices.clear()
        self.to_flush.clear()
        for source in self.registered_fd_handlers():
            source._fd = -1
            source._interest = 0
        if self._hears_signals:
            # The number of a socket that is shared with the parent, and closed here in a moment.
            signal.set_wakeup_fd(-1)
        self._release()
        self._sources = {}  # the batch that was under way goes on with the old one, and finds none

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        """Have signals wake the loop, so that what their handlers did is seen at once."""
        if threading.current_thread() is not threading.main_thread() or self._wakeup is None:
            yield
            return
        before = signal.set_wakeup_fd(self._wakeup.signal_fd(), warn_on_full_buffer=False)
        self._hears_signals = True
        try:
            yield
        finally:
            self._hears_signals = False
            signal.set_wakeup_fd(before)


_loops: weakref.WeakSet[LoopBase] = weakref.WeakSet()


def _forget_parents_loops() -> None:
    for loop in list(_loops):
        loop._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_loops)
