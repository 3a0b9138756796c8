"""What a case of the conformance suite is: bytes in, and the reaction that is required.

Owns: the shapes of the tables (`*_cases.py`), and the words they are written in. Must not know
Thor: a table says what has to happen, and can be read without it. The tests beside the tables run
them; `page.py` prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, TypeAlias, TypeVar


class Rule(NamedTuple):
    """What is done, and where.

    section: of RFC 9112 unless another is named; where: below `thor/`; test: what holds a rule
    that no cases show, below `test/`
    """

    key: str
    section: str
    what: str
    where: str
    test: str = ""


class Mark(Enum):
    """Something that a peer does besides sending, or that happens to the program."""

    #: The peer finishes sending (FIN), and goes on reading.
    FIN = "FIN"
    #: The peer vanishes (RST).
    RST = "RST"
    #: The peer reads nothing from now on.
    DEAF = "stops reading"
    #: The program goes on with what it had put off.
    GO = "the program goes on"
    #: The program shuts its server down gracefully.
    DRAIN = "graceful shutdown"


FIN, RST, DEAF, GO, DRAIN = Mark.FIN, Mark.RST, Mark.DEAF, Mark.GO, Mark.DRAIN


class Wait(NamedTuple):
    """So many seconds pass."""

    seconds: float


Step: TypeAlias = "bytes | Mark | Wait"
Fields: TypeAlias = "tuple[tuple[bytes, bytes], ...]"

#: How a connection is found after a case: it is good for another message; the other side has
#: finished sending (FIN), or reset it (RST); it is there, and more is waited for; it is gone
#: because the peer itself has ended it; it belongs to another protocol.
OPEN, CLOSED, RESET, WAITS, GONE, TUNNEL = "open", "closed", "reset", "waits", "gone", "tunnel"


class Seen(NamedTuple):
    """A request that has reached the program. `fields` that are None are not looked at."""

    method: bytes = b"GET"
    target: bytes = b"/"
    body: bytes = b""
    fields: Fields | None = None
    trailers: Fields = ()
    whole: bool = True


class Answer(NamedTuple):
    """What the program sends: `nonfinal` statuses, a head, pieces of a body, trailers."""

    status: int | str = 200
    phrase: str = "OK"
    fields: tuple[tuple[str, str], ...] = ()
    body: tuple[bytes, ...] = ()
    trailers: tuple[tuple[str, str], ...] = ()
    nonfinal: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ServerCase:
    """A client sends, a server reacts.

    rule: the key of the rule that it shows; gets: the statuses that the client gets, or all the
    bytes; rest: what the client gets after the responses, in a tunnel
    seen: the requests that the program gets; error: the class of error that is told, once: by
    `refused` if no exchange was made, else by `error` on it
    program: what the program does, or what it answers; raises: what the server raises in it
    cut: whether it comes out the same wherever the pieces are cut
    """

    id: str
    rule: str
    sends: tuple[Step, ...]
    gets: tuple[int, ...] | bytes = ()
    then: str = OPEN
    seen: tuple[Seen, ...] = ()
    error: str = ""
    rest: bytes = b""
    program: str | Answer = "answer"
    raises: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    cut: bool = True

    @property
    def is_parsing(self) -> bool:
        """Whether the reader alone decides, so that the case can be run without a connection."""
        *before, last = self.sends
        return (
            self.program == "answer"
            and self.error not in ("ExpectationError", "MisdirectedRequestError")
            and all(isinstance(step, bytes) for step in before)
            and (isinstance(last, bytes) or last is FIN)
            and not {"tls", "abort_on_half_close"}.intersection(self.settings)
        )


class Ask(NamedTuple):
    """The request that a client's program makes; `done` is whether it completes it.

    trailers and options: of `request_done` and `request_start`
    """

    method: str = "GET"
    uri: str = "http://origin/"
    fields: tuple[tuple[str, str], ...] = ()
    body: tuple[bytes, ...] = ()
    trailers: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    done: bool = True


#: What is asked if nothing is said about it.
GET = Ask()


@dataclass(frozen=True, kw_only=True)
class ClientCase:
    """A program asks, an origin sends, a client reacts.

    sent: the bytes that the origin gets, or None if they are not looked at; early: what the
    origin sends before it was asked; again: what it sends on another connection; attempts: how
    many connections are made
    nonfinal, status, fields, body, trailers: what the program gets; tunnel: what it gets first of
    another protocol; error: the class of error that ends the exchange
    engine: whether the reader alone comes to the same result; down: the origin does not listen
    pauses: the program reads no body until it goes on
    """

    id: str
    rule: str
    sends: tuple[Step, ...] = ()
    ask: Ask = GET
    sent: bytes | None = None
    early: bytes = b""
    again: tuple[Step, ...] = ()
    attempts: int = 1
    nonfinal: tuple[int, ...] = ()
    status: int | None = None
    phrase: bytes | None = None
    fields: Fields | None = None
    body: bytes = b""
    trailers: Fields = ()
    tunnel: bytes | None = None
    error: str = ""
    then: str = OPEN
    settings: Mapping[str, Any] = field(default_factory=dict)
    engine: bool = True
    down: bool = False
    pauses: bool = False

    @property
    def is_parsing(self) -> bool:
        """Whether the case can be run on the reader alone."""
        return (
            self.engine
            and not (self.early or self.again)
            and bool(self.sends)
            and all(isinstance(step, bytes) for step in self.sends[:-1])
            and (isinstance(self.sends[-1], bytes) or self.sends[-1] is FIN)
        )


class Turn(NamedTuple):
    """One turn of a conversation through a proxy: who, and what it does or finds.

    who: "client", or an origin, by its name: "a"; "a2" is its second connection
    does: "sends" steps; "gets" exactly these bytes; "ends" as one of the words above
    """

    who: str
    does: str
    what: Any


@dataclass(frozen=True, kw_only=True)
class ProxyCase:
    """A conversation of a client and origins, with a proxy in between.

    origins: their names; those in `down` refuse connections
    settings, client: of the proxy, and of its client
    cut: whether it comes out the same wherever the pieces are cut
    """

    id: str
    rule: str
    turns: tuple[Turn, ...]
    origins: tuple[str, ...] = ("a",)
    down: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)
    cut: bool = True


Case: TypeAlias = "ServerCase | ClientCase | ProxyCase"


C = TypeVar("C", "ServerCase", "ClientCase", "ProxyCase")


def over_sockets(cases: list[C]) -> list[C]:
    """Return the cases that run over sockets: one of each rule, and those that must not be cut."""
    found = {case.rule: case for case in reversed(cases)}
    return [case for case in cases if found[case.rule] is case or not getattr(case, "cut", True)]


def steps(what: bytes | Mark | Wait | tuple[Step, ...]) -> tuple[Step, ...]:
    """One step, or several, as several."""
    if isinstance(what, (bytes, Mark, Wait)):
        return (what,)
    return what


def head(*lines: bytes) -> bytes:
    """A head of these lines."""
    return b"\r\n".join([*lines, b"", b""])
