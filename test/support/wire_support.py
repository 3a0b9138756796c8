"""What the tests of `thor.http.wire` share: ways to cut bytes into pieces, and drivers of readers.

Owns: plain functions. Every case of a wire table is run in each of WAYS, and has to come out the
same: one reading, whatever the network does to the pieces.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from thor.http.error import HttpError
from thor.http.wire.framing import NO_BODY
from thor.http.wire.head import RequestHead, ResponseHead
from thor.http.wire.limits import Limits
from thor.http.wire.reader import MessageReader, RequestReader, ResponseReader
from thor.http.wire.writer import OutgoingHead

#: How a case is fed; see `cuts`.
WAYS = ("whole", "byte by byte", "split", "trailing data")

#: What comes behind a case in the last way: a request of its own, which must not be mixed up.
TRAILING_REQUEST = b"GET /trailing HTTP/1.1\r\nHost: trailing\r\n\r\n"

#: Above this size not every split is tried, but those at both ends and some in between.
_MANY = 1500


@dataclass
class Message:
    """One message as a reader gave it."""

    head: RequestHead | ResponseHead
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    complete: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self._facts() == other._facts()

    def _facts(self) -> tuple[object, ...]:
        return parts_of(self.head), self.body, self.trailers, self.complete


#: The parts of each kind of head, in the order in which they are passed to make one.
_PARTS = {
    kind: tuple(inspect.signature(kind).parameters)
    for kind in (RequestHead, ResponseHead, OutgoingHead)
}


def parts_of(head: Any) -> Any:
    """Return the parts of a head, of the native codec or of its twin; anything else as it is."""
    for kind, names in _PARTS.items():
        if type(head).__name__ == kind.__name__:
            return tuple([getattr(head, name) for name in names])  # of its size from the first
    return head


@dataclass
class Outcome:
    """What came of some bytes: messages, the error that ended them, what was left unread."""

    messages: list[Message]
    error: type[HttpError] | None = None
    rest: bytes = b""

    @property
    def only(self) -> Message:
        """The one message; fails if there is an error, or not exactly one."""
        assert self.error is None, self.error
        assert len(self.messages) == 1, self.messages
        return self.messages[0]


def cuts(data: bytes, way: str) -> Iterator[list[bytes]]:
    """All the lists of pieces that one way makes of `data`."""
    if way == "byte by byte":
        yield [data[i : i + 1] for i in range(len(data))]
    elif way == "split":
        for at in _split_points(len(data)):
            yield [data[:at], data[at:]]
    elif way == "trailing data":
        yield [data + TRAILING_REQUEST]
    else:
        yield [data]


def deliveries(data: bytes, *, trailing: bool = True) -> Iterator[tuple[str, list[bytes]]]:
    """Return each way in which `data` can arrive, with its pieces. trailing: also with a request
    behind it."""
    for way in WAYS if trailing else WAYS[:-1]:
        for pieces in cuts(data, way):
            yield way, pieces


def _split_points(size: int) -> Iterable[int]:
    if size <= _MANY:
        return range(1, size)
    step = max(size // 50, 1)
    return sorted({*range(1, 100), *range(100, size - 100, step), *range(size - 100, size)})


def read_requests(
    pieces: Iterable[bytes],
    limits: Limits | None = None,
    *,
    eof: bool = False,
    late: bool = False,
) -> Outcome:
    """Feed a server's reader as a connection would: stop at an error, a tunnel, a last request.

    late: nothing is pulled before all is there, the end too
    """
    reader = RequestReader(limits or Limits())
    outcome = Outcome([])
    try:
        for piece in pieces:
            reader.feed(piece)
            if not late:
                _pull_requests(reader, outcome)
        if eof:
            reader.eof()
        if eof or late:
            _pull_requests(reader, outcome)
    except HttpError as error:
        outcome.error = type(error)
    if outcome.error is None:
        outcome.rest = reader.take_rest()
    return outcome


def _pull_requests(reader: RequestReader, outcome: Outcome) -> None:
    messages = outcome.messages
    while True:
        if not messages or messages[-1].complete:
            if messages and not _persists(messages[-1]):
                return
            parts = reader.read_head()
            if parts is None:
                return
            messages.append(Message(parts))
        pull_body(reader, messages[-1])
        if not messages[-1].complete:
            return


def _persists(message: Message) -> bool:
    head = message.head
    assert not isinstance(head, ResponseHead)
    return head.keep_alive and head.method != b"CONNECT"


def pull_body(reader: MessageReader, message: Message) -> None:
    """Read what there is of a message's body."""
    while (chunk := reader.read_body()) is not None:
        assert chunk, "an empty piece of a body"
        message.body += chunk
    if reader.complete:
        message.complete = True
        message.trailers = reader.trailers


def read_responses(
    pieces: Iterable[bytes],
    methods: Iterable[bytes] = (b"GET",),
    limits: Limits | None = None,
    *,
    eof: bool = False,
    upgrade: bool = True,
    late: bool = False,
) -> Outcome:
    """Feed a client's reader, whose requests (of `methods`) go out one after the other.

    late: nothing is pulled before all is there, the end too
    """
    reader = ResponseReader(limits or Limits())
    outcome = Outcome([])
    waiting = list(methods)
    try:
        reader.expect(waiting.pop(0), upgrade)
        for piece in pieces:
            reader.feed(piece)
            if not late:
                _pull_responses(reader, outcome, waiting, upgrade)
        if eof:
            reader.eof()
        if eof or late:
            _pull_responses(reader, outcome, waiting, upgrade)
    except HttpError as error:
        outcome.error = type(error)
    if outcome.error is None:
        outcome.rest = reader.take_rest()
    return outcome


def _pull_responses(
    reader: ResponseReader, outcome: Outcome, waiting: list[bytes], upgrade: bool
) -> None:
    messages = outcome.messages
    while True:
        if messages and messages[-1].complete and reader.complete:
            if messages[-1].head.status_code == 101 or not waiting:  # type: ignore[union-attr]
                return
            data = reader.take_rest()  # a pipelined response is the next request's, in this test
            reader.expect(waiting.pop(0), upgrade)
            reader.feed(data)
        if not messages or messages[-1].complete:
            parts = reader.read_head()
            if parts is None:
                return
            head = parts
            messages.append(Message(head))
            if head.framing == NO_BODY and not reader.complete:  # informational
                messages[-1].complete = True
                continue
        pull_body(reader, messages[-1])
        if not messages[-1].complete:
            return
