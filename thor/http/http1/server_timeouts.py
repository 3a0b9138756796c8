"""How long a server waits for a client, and what for.

Owns: the one deadline of an HTTP/1.1 connection of a server. Must not know messages.

Theory of operation: the deadline follows from what the connection waits for (`next_deadline`). It
is set when a wait begins (`arm`), and computed again when it has passed: a request that is answered
at once leaves no trace here. Time during which the program itself has paused is not counted.
Whether anything was sent is checked when a deadline passes, so that a client that stops reading is
told from one that reads slowly after one to two times the setting.

| phase | waits for | setting | timeout |
|---|---|---|---|
| NEW | a request | idle_timeout, head_timeout | IDLE: close |
| IDLE | the next request | idle_timeout | IDLE: close |
| NEW, IDLE, DISCARD, in a drain | a request | drain_idle_timeout | DRAIN: close |
| HEAD | the rest of a head | head_timeout | HEAD: 408 |
| BODY, DISCARD | more of a body | body_timeout, min_body_rate | BODY: 408 |
| AWAIT_RESPONSE | the program | response_timeout | RESPONSE: 504 |
| an exchange, not PAUSED, half-closed | bytes to leave | half_close_timeout | HALF_CLOSE: reset |
| all, when a send was short | the client to read | send_timeout | SEND: reset |
| LINGERING | the client to close | linger_timeout | IDLE: close |
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

from thor.http.error import (
    ConnectError,
    ExchangeTimeoutError,
    RequestTimeoutError,
    SendTimeoutError,
)

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.loop import LoopBase
    from thor.tcp import TcpConnection

#: Over how long `min_body_rate` is measured, in seconds. While nothing arrives at all it is
#: `body_timeout` that counts, so that an upload may pause.
RATE_WINDOW_S = 10.0


class Phase(Enum):
    """What a connection waits for."""

    #: A request; no byte of the first one has arrived.
    NEW = auto()
    #: The next request; no byte of it has arrived.
    IDLE = auto()
    #: The rest of a head.
    HEAD = auto()
    #: The rest of the body of a request that was answered.
    DISCARD = auto()
    #: The body of a request.
    BODY = auto()
    #: The program, which has to answer a request that is complete.
    AWAIT_RESPONSE = auto()
    #: Nothing of the client's: the program is sending, or the client waits for a 100.
    RESPONSE = auto()
    #: Nothing: the program has paused the request.
    PAUSED = auto()
    #: The last bytes to leave.
    CLOSING = auto()
    #: The client to close.
    LINGERING = auto()


class Timeout(Enum):
    """What has taken too long."""

    IDLE = auto()
    DRAIN = auto()
    HEAD = auto()
    BODY = auto()
    RESPONSE = auto()
    HALF_CLOSE = auto()
    SEND = auto()


class Wait(NamedTuple):
    """What a connection waits for.

    draining: no request was begun, and one that does not begin soon is not waited for
    half_closed: the client has closed its side
    """

    phase: Phase
    draining: bool = False
    half_closed: bool = False


class Deadline(NamedTuple):
    """When a wait is over (monotonic seconds, `inf` for never), and what has timed out then."""

    at: float
    timeout: Timeout | None


class TimeoutSettings(Protocol):
    """The settings of `HttpServer` that limit waits, in seconds; None or 0 is no limit."""

    idle_timeout: float | None
    drain_idle_timeout: float | None
    head_timeout: float | None
    body_timeout: float | None
    min_body_rate: float
    send_timeout: float | None
    response_timeout: float | None
    half_close_timeout: float | None
    linger_timeout: float | None


class Progress(Protocol):
    """When something last moved on a connection, in monotonic seconds."""

    #: When the present wait began, or what it waits for last moved.
    since: float
    #: When the present window of `min_body_rate` began.
    window_start: float
    #: When bytes last left, as far as is known.
    sent_at: float
    #: Whether a send was short.
    write_blocked: bool


def next_deadline(wait: Wait, progress: Progress, settings: TimeoutSettings) -> Deadline:
    """Return when a wait is over, and what has timed out then."""
    at, timeout = _wait_deadline(wait, progress, settings)
    if progress.write_blocked and settings.send_timeout:
        stalled = progress.sent_at + settings.send_timeout
        if stalled < at:
            return Deadline(stalled, Timeout.SEND)
    return Deadline(at, timeout)


def _wait_deadline(wait: Wait, progress: Progress, settings: TimeoutSettings) -> Deadline:
    phase = wait.phase
    if phase is Phase.LINGERING:
        return Deadline(progress.since + (settings.linger_timeout or 0.0), Timeout.IDLE)
    if phase is Phase.CLOSING or phase is Phase.PAUSED:
        return Deadline(inf, None)
    if phase is Phase.HEAD:
        at = progress.since + settings.head_timeout if settings.head_timeout else inf
        return Deadline(at, Timeout.HEAD)
    if phase in (Phase.NEW, Phase.IDLE, Phase.DISCARD):
        return _request_deadline(wait, progress, settings)
    at, timeout = inf, None
    if phase is Phase.BODY:
        at, timeout = _body_deadline(progress, settings), Timeout.BODY
    elif phase is Phase.AWAIT_RESPONSE and settings.response_timeout:
        at, timeout = progress.since + settings.response_timeout, Timeout.RESPONSE
    if wait.half_closed and settings.half_close_timeout:
        stalled = progress.sent_at + settings.half_close_timeout
        if stalled < at:
            return Deadline(stalled, Timeout.HALF_CLOSE)
    return Deadline(at, timeout)


def _request_deadline(wait: Wait, progress: Progress, settings: TimeoutSettings) -> Deadline:
    """Return until when a request has to be there: no exchange is in progress."""
    if wait.phase is Phase.DISCARD:
        at, timeout = _body_deadline(progress, settings), Timeout.BODY
    else:
        idle = settings.idle_timeout or inf
        if wait.phase is Phase.NEW and settings.head_timeout:
            idle = min(idle, settings.head_timeout)
        at, timeout = progress.since + idle, Timeout.IDLE
    if wait.draining:
        until = progress.since + (settings.drain_idle_timeout or 0.0)
        if until <= at:
            return Deadline(until, Timeout.DRAIN)
    return Deadline(at, timeout)


def _body_deadline(progress: Progress, settings: TimeoutSettings) -> float:
    at = progress.since + settings.body_timeout if settings.body_timeout else inf
    if settings.min_body_rate:
        at = min(at, progress.window_start + RATE_WINDOW_S)
    return at


class TimedConnection(Protocol):
    """What `ServerTimeouts` knows of its connection."""

    tcp_conn: TcpConnection | None
    loop: LoopBase

    @property
    def server(self) -> TimeoutSettings:
        """The server, with its settings."""

    def current_wait(self) -> Wait:
        """Return what the connection waits for."""

    def refuse(self, error: HttpError) -> None:
        """Answer with an error, if that can still be done, and close."""

    def abort(self, error: HttpError) -> None:
        """Reset the connection."""

    def failed(self, exc: BaseException) -> None:
        """React to a listener that raised."""

    def close_when_sent(self) -> None:
        """Close when everything was sent."""

    def close_lingering(self) -> None:
        """Close when everything was sent and the client has had time to read it."""


class ServerTimeouts:
    """The deadline of one connection, and what moves it."""

    __slots__ = (
        "_connection",
        "body_bytes",
        "deadline_at",
        "deadline_entry",
        "sent_at",
        "sent_bytes",
        "since",
        "window_bytes",
        "window_start",
        "write_blocked",
    )

    def __init__(self, connection: TimedConnection) -> None:
        self._connection = connection
        self.since = connection.loop.now
        #: Bytes of bodies that have arrived; how many had when the present window began.
        self.body_bytes = self.window_bytes = 0
        self.window_start = self.sent_at = 0.0
        #: Bytes that had left at `sent_at`.
        self.sent_bytes = 0
        self.write_blocked = False
        self.deadline_at = self.deadline_entry = inf

    def arm(self) -> None:
        """Set the deadline of what the connection waits for."""
        connection = self._connection
        if connection.tcp_conn is not None:
            self._connection.loop.deadlines.arm(self, self._next().at)

    def disarm(self) -> None:
        """Have no deadline any more."""
        self.deadline_at = inf

    def begin(self) -> None:
        """Begin a wait now."""
        # Not the time of the turn: a program may have called from outside of one.
        self.since = self._connection.loop.clock.monotonic()
        self.arm()

    def begin_body(self) -> None:
        """Begin to wait for a body, which has to arrive fast enough from now on."""
        self.window_start = self._connection.loop.clock.monotonic()
        self.window_bytes = self.body_bytes
        self.begin()

    def begin_write_blocked(self, tcp_conn: TcpConnection) -> None:
        """Begin to wait for a client that reads slower than the program writes."""
        if not self.write_blocked:
            self.write_blocked = True
            self.note_sent(tcp_conn)
            self.arm()

    def note_sent(self, tcp_conn: TcpConnection) -> None:
        """Note how much has left by now."""
        self.sent_at = self._connection.loop.now
        self.sent_bytes = tcp_conn.bytes_written

    def note_received(self, count: int) -> None:
        """Note that bytes of a body have arrived."""
        self.since = self._connection.loop.now
        self.body_bytes += count

    def _next(self) -> Deadline:
        return next_deadline(self._connection.current_wait(), self, self._connection.server)

    # -- when it has passed --------------------------------------------------------------------

    def on_deadline(self, now: float) -> None:
        """React to a deadline that has passed; called by the loop."""
        tcp_conn = self._connection.tcp_conn
        if tcp_conn is None:
            return
        if tcp_conn.bytes_written != self.sent_bytes:
            self.note_sent(tcp_conn)
        if not tcp_conn.write_buffer.size:
            self.write_blocked = False
        at, timeout = self._next()
        if at > now:
            self._connection.loop.deadlines.arm(self, at)
        elif timeout is Timeout.IDLE:
            self._on_idle(tcp_conn)
        elif timeout is Timeout.DRAIN:
            # What has arrived by now is read first.
            self._connection.loop.call_soon(self._on_drain)
        elif timeout is Timeout.HEAD:
            self._connection.refuse(RequestTimeoutError("the head did not come in time"))
        elif timeout is Timeout.BODY:
            self._on_body(now)
        elif timeout is Timeout.RESPONSE:
            self._connection.refuse(ExchangeTimeoutError("the program did not answer in time"))
        elif timeout is Timeout.HALF_CLOSE:
            self._connection.abort(
                ConnectError("the client closed its side, and nothing could be sent")
            )
        elif timeout is Timeout.SEND:
            self._connection.abort(SendTimeoutError("the client does not read its response"))

    def failed(self, exc: BaseException) -> None:
        """Have the connection react to a listener that raised; called by the loop."""
        self._connection.failed(exc)

    def _on_idle(self, tcp_conn: TcpConnection) -> None:
        """Close; but wait again for a client that has not been sent everything yet."""
        if tcp_conn.write_buffer.size:
            self.begin()
        else:
            self._connection.close_when_sent()

    def _on_drain(self) -> None:
        connection = self._connection
        tcp_conn = connection.tcp_conn
        if tcp_conn is None:
            return
        wait = connection.current_wait()
        if wait.phase in (Phase.CLOSING, Phase.LINGERING):
            return
        at, timeout = next_deadline(wait, self, self._connection.server)
        if timeout is not Timeout.DRAIN or at > self._connection.loop.now:
            self.arm()  # a request has begun meanwhile
        elif tcp_conn.write_buffer.size and self._connection.server.drain_idle_timeout:
            self.begin()  # the client cannot know yet that it may send the next request
        elif wait.phase is Phase.DISCARD:
            connection.close_lingering()
        else:
            connection.close_when_sent()

    def _on_body(self, now: float) -> None:
        """Refuse a body that has stopped, or that is too slow; else begin the next window."""
        settings = self._connection.server
        stopped = settings.body_timeout and now >= self.since + settings.body_timeout
        arrived = self.body_bytes - self.window_bytes
        slow = 0 < arrived < (settings.min_body_rate or 0) * RATE_WINDOW_S
        if stopped or slow:
            self._connection.refuse(RequestTimeoutError("the body did not come in time"))
        else:
            self.window_start = now
            self.window_bytes = self.body_bytes
            self.arm()
