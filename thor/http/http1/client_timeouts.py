"""How long a client waits for a server, and what for.

Owns: the one deadline of an HTTP/1.1 connection of a client. Must not know messages.

Theory of operation: the deadline follows from what the connection waits for (`next_deadline`). It
is set when a wait begins (`arm`), and computed again when it has passed; what happens meanwhile
moves `since` and nothing else. Time during which the program has paused the response, or has not
finished its request although all of it was sent, is not counted.

| phase | waits for | setting | timeout |
|---|---|---|---|
| IDLE | a request | idle_timeout | IDLE: close |
| CONTINUE | a 100 | CONTINUE_S | CONTINUE: send the body |
| any but PAUSED, a send was short | the server to read | read_timeout | READ: ReadTimeoutError |
| HEAD | the response's head | response_timeout, read_timeout | HEAD, READ: ReadTimeoutError |
| BODY | more of the response | read_timeout | READ: ReadTimeoutError |
| any but IDLE | the end of the exchange | exchange_timeout | EXCHANGE: ExchangeTimeoutError |
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

from thor.http.error import ExchangeTimeoutError, ReadTimeoutError

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.loop import LoopBase
    from thor.tcp import TcpConnection

#: How long a body is held back for a 100. curl waits as long.
CONTINUE_S = 1.0


class Phase(Enum):
    """What a connection waits for."""

    #: An exchange.
    IDLE = auto()
    #: A 100, before the body is sent.
    CONTINUE = auto()
    #: Nothing: the program has paused the response.
    PAUSED = auto()
    #: The program, which is still sending.
    REQUEST = auto()
    #: The head of the response.
    HEAD = auto()
    #: The rest of the response.
    BODY = auto()


class Timeout(Enum):
    """What has taken too long."""

    IDLE = auto()
    CONTINUE = auto()
    HEAD = auto()
    READ = auto()
    EXCHANGE = auto()


class Wait(NamedTuple):
    """What a connection waits for, and when its exchange has to be over (monotonic seconds)."""

    phase: Phase
    expires_at: float = inf


class Deadline(NamedTuple):
    """When a wait is over (monotonic seconds, `inf` for never), and what has timed out then."""

    at: float
    timeout: Timeout


class TimeoutSettings(Protocol):
    """The settings of `HttpClient` that limit waits, in seconds; None or 0 is no limit."""

    response_timeout: float | None
    read_timeout: float | None


class Progress(Protocol):
    """When something last moved on a connection, in monotonic seconds."""

    #: When the present wait began, or something last moved.
    since: float
    #: When the request was complete.
    sent_at: float
    #: Until when an idle connection is kept.
    idle_until: float
    #: Whether a send was short and the rest waits.
    write_blocked: bool


def next_deadline(wait: Wait, progress: Progress, settings: TimeoutSettings | None) -> Deadline:
    """Return when a wait is over, and what has timed out then.

    settings: those of the client of the present exchange; None without one
    """
    phase = wait.phase
    if phase is Phase.IDLE or settings is None:
        return Deadline(progress.idle_until, Timeout.IDLE)
    at, timeout = wait.expires_at, Timeout.EXCHANGE
    if phase is Phase.CONTINUE:
        until = progress.sent_at + CONTINUE_S
        return Deadline(until, Timeout.CONTINUE) if until < at else Deadline(at, timeout)
    if phase is Phase.PAUSED:
        return Deadline(at, timeout)
    sent = phase is not Phase.REQUEST and not progress.write_blocked
    if settings.response_timeout and phase is Phase.HEAD and sent:
        until = progress.sent_at + settings.response_timeout
        if until < at:
            at, timeout = until, Timeout.HEAD
    if settings.read_timeout and (sent or progress.write_blocked):
        until = progress.since + settings.read_timeout
        if until < at:
            at, timeout = until, Timeout.READ
    return Deadline(at, timeout)


class TimedConnection(Protocol):
    """What `ClientTimeouts` knows of its connection."""

    tcp_conn: TcpConnection | None

    @property
    def timeout_settings(self) -> TimeoutSettings | None:
        """The settings of the present exchange; None without one."""

    def current_wait(self) -> Wait:
        """Return what the connection waits for."""

    def close_idle(self) -> None:
        """Close it; no exchange has it."""

    def send_held_body(self) -> None:
        """Send the body that was held back for a 100."""

    def fail(self, error: HttpError) -> None:
        """End the exchange with `error`, and the connection with it."""

    def failed(self, exc: BaseException) -> None:
        """React to a listener that raised."""


class ClientTimeouts:
    """The deadline of one connection, and what moves it."""

    __slots__ = (
        "_connection",
        "_loop",
        "_sent_bytes",
        "deadline_at",
        "deadline_entry",
        "idle_until",
        "sent_at",
        "since",
        "write_blocked",
    )

    def __init__(self, connection: TimedConnection, loop: LoopBase) -> None:
        self._connection = connection
        self._loop = loop
        self.since = self.sent_at = self.idle_until = inf
        self.write_blocked = False
        #: Bytes that had left when that was last checked.
        self._sent_bytes = 0
        self.deadline_at = self.deadline_entry = inf

    def arm(self) -> None:
        """Set the deadline of what the connection waits for."""
        self._loop.deadlines.arm(self, self._next().at)

    def disarm(self) -> None:
        """Have no deadline any more."""
        self.deadline_at = inf

    def begin_continue(self) -> None:
        """Begin to wait for a 100: the head of the request was written."""
        self.sent_at = self.since = self._loop.clock.monotonic()
        self.arm()

    def begin_write_blocked(self, tcp_conn: TcpConnection) -> None:
        """Begin to wait for a server that reads slower than the program writes."""
        if not self.write_blocked:
            self.write_blocked = True
            self.since = self._loop.now
            self._sent_bytes = tcp_conn.bytes_written
            tcp_conn.when_sent(self._on_sent)
            self.arm()

    def _on_sent(self) -> None:
        """Go on: what was queued when the server fell behind has left."""
        tcp_conn = self._connection.tcp_conn
        if tcp_conn is None:
            return
        self.since = self.sent_at = self._loop.now
        if tcp_conn.write_buffer.size:
            tcp_conn.when_sent(self._on_sent)
        else:
            self.write_blocked = False
            self.arm()

    def _next(self) -> Deadline:
        connection = self._connection
        return next_deadline(connection.current_wait(), self, connection.timeout_settings)

    # -- when it has passed --------------------------------------------------------------------

    def on_deadline(self, now: float) -> None:
        """React to a deadline that has passed; called by the loop."""
        connection = self._connection
        tcp_conn = connection.tcp_conn
        if (
            self.write_blocked
            and tcp_conn is not None
            and tcp_conn.bytes_written != self._sent_bytes
        ):
            self._sent_bytes = tcp_conn.bytes_written  # slow, but the server reads
            self.since = now
        wait = connection.current_wait()
        at, timeout = next_deadline(wait, self, connection.timeout_settings)
        if at > now:
            self._loop.deadlines.arm(self, at)
        elif timeout is Timeout.IDLE:
            connection.close_idle()
        elif timeout is Timeout.CONTINUE:
            connection.send_held_body()
        elif timeout is Timeout.HEAD:
            connection.fail(ReadTimeoutError("for the head of a response"))
        elif timeout is Timeout.READ:
            connection.fail(ReadTimeoutError(self._what_waited(wait.phase)))
        else:
            connection.fail(ExchangeTimeoutError())

    def _what_waited(self, phase: Phase) -> str:
        if self.write_blocked:
            return "while sending"
        return "for a response" if phase is Phase.HEAD else "in the body"

    def failed(self, exc: BaseException) -> None:
        """Have the connection react to a listener that raised; called by the loop."""
        self._connection.failed(exc)
