"""A client's program and a server's program that say whatever they like to each other.

Owns: such programs, drawn from a tape, and what has to come of them: what may be said arrives as
it was said; of what may not, nothing arrives. Must not know the wire.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from fuzz_messages import METHODS, NAMES, VALUES, Tape

from thor.http import HttpClient, HttpServer
from thor.http.error import HttpError, OutputError, OutputSyntaxError, UrlError
from thor.http.wire.fields import FORBIDDEN_IN_TRAILERS as FORBIDDEN
from thor.testing import MemoryNetwork, Recorder, settle

Pairs = list[tuple[Any, Any]]

#: Methods that define no content (RFC 9110 section 9.3): without any, nothing is chunked, and
#: there is no place for trailers.
WITHOUT_CONTENT = {b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"}

_TOKEN = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_TEXT = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_PATH = re.compile(rb"/[\x21-\x7e]*")

_BAD_NAMES: list[Any] = ["", "a b", "a:", "a\r\n", "\u2603", b"\xe9", "a\x00", " a", "a\n"]
_BAD_VALUES: list[Any] = ["a\r\nX: y", "a\n", "\r", "\x00", "\u2603", b"\x7f", "a\x0b", "\r\n\r\n"]
_OF_THE_HOP = [
    "Connection",
    "Keep-Alive",
    "Transfer-Encoding",
    "Upgrade",
    "TE",
    b"proxy-connection",
]
_HOP_VALUES: list[Any] = ["close", "chunked", "x-b", "", "keep-alive, X-A", "host", "a\r\nb: c"]
_PATHS: list[Any] = [
    "/",
    "/a?b=c",
    "//x/%00",
    b"/\x7e",
    "/a b",
    "/\xe9",
    "/\r\nX: y",
    "/a#f",
    "/\x00",
]
_ODD_METHODS: list[Any] = ["FOO", "get", "", "G T", "GET\r\n", "\xe9", b"X!#"]
_PHRASES: list[Any] = ["OK", "", "Not \xe9", b" two  ", "a\r\nX: y", "\u2603", "\n"]
_STATUSES: list[Any] = [
    200,
    "404",
    b"999",
    204,
    304,
    99,
    1000,
    "2x0",
    "",
    -200,
    "\u0662\u0660\u0660",
]


class Words(NamedTuple):
    """What one side says.

    start: method and path, or status and phrase; length: by how much a Content-Length is wrong,
    None if there is none
    """

    start: tuple[Any, Any]
    fields: Pairs
    pieces: list[bytes]
    trailers: Pairs
    length: int | None

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces)

    def headers(self) -> Pairs:
        """The fields as the program passes them."""
        if self.length is None:
            return self.fields
        return [*self.fields, ("Content-Length", str(abs(len(self.body) + self.length)))]


def _pairs(tape: Tape, most: int) -> Pairs:
    found: Pairs = []
    for _ in range(tape.number(most + 1)):
        if tape.seldom(6):
            found.append((tape.pick(_OF_THE_HOP), tape.pick(_HOP_VALUES)))
            continue
        name: Any = tape.pick(_BAD_NAMES if tape.seldom(20) else NAMES)
        value: Any = tape.pick(_BAD_VALUES if tape.seldom(20) else VALUES)
        if tape.seldom(2) and isinstance(value, bytes):
            value = value.decode("latin-1")
        found.append((name, value))
    return found


def _said(tape: Tape, start: tuple[Any, Any]) -> Words:
    fields = _pairs(tape, 4)
    pieces = [tape.octets(12) for _ in range(tape.number(4))]
    length = (0 if tape.number(8) else tape.pick([1, -1])) if tape.seldom(2) else None
    return Words(start, fields, pieces, _pairs(tape, 1), length)


def request_words(tape: Tape) -> Words:
    """A request as a program may put it."""
    method: Any = tape.pick(_ODD_METHODS if tape.seldom(8) else METHODS)
    return _said(tape, (method, tape.pick(_PATHS[4:] if tape.seldom(10) else _PATHS[:4])))


def response_words(tape: Tape) -> Words:
    """A response as a program may put it."""
    status: Any = tape.pick(_STATUSES[5:] if tape.seldom(10) else _STATUSES[:5])
    return _said(tape, (status, tape.pick(_PHRASES[4:] if tape.seldom(10) else _PHRASES[:4])))


# -- what may be said ---------------------------------------------------------------------------


def octets(text: Any) -> bytes | None:
    """What stands on the wire for it; None if nothing can."""
    try:
        return text if isinstance(text, bytes) else text.encode("latin-1")
    except UnicodeEncodeError:
        return None


def may_be_said(pairs: Pairs) -> bool:
    """Whether all of these are fields (RFC 9110 section 5)."""
    for name, value in pairs:
        name, value = octets(name), octets(value)
        if name is None or value is None or not _TOKEN.fullmatch(name):
            return False
        if not _TEXT.fullmatch(value.strip(b" \t")):
            return False
    return True


def as_heard(pairs: Pairs) -> list[tuple[bytes, bytes]]:
    """Fields as the other side gets them: without those of the hop, and those that frame."""
    said = [(octets(name) or b"", (octets(value) or b"").strip(b" \t")) for name, value in pairs]
    of_the_hop = {(octets(name) or b"").lower() for name in _OF_THE_HOP}
    named = b",".join(value for name, value in said if name.lower() == b"connection").lower()
    of_the_hop |= {option.strip(b" \t") for option in named.split(b",")}
    of_the_hop |= {b"host", b"content-length", b"date"}
    return [(name, value) for name, value in said if name.lower() not in of_the_hop]


def may_end(trailers: Pairs) -> bool:
    """Whether these may be trailers. What never is one is dropped, whatever it says."""
    kept = [pair for pair in trailers if (octets(pair[0]) or b"").lower() not in FORBIDDEN]
    return may_be_said(kept)


def may_start_request(words: Words) -> bool:
    """Whether method, path and fields of a request may be sent."""
    method, path = octets(words.start[0]), octets(words.start[1])
    if method is None or path is None or not words.start[0].isascii():
        return False
    if not _TOKEN.fullmatch(method) or not _PATH.fullmatch(path):
        return False
    return may_be_said(words.fields)


def may_start_response(words: Words) -> bool:
    """Whether status, phrase and fields of a response may be sent."""
    status, phrase = words.start
    digits = b"%d" % status if isinstance(status, int) else octets(status)
    text = octets(phrase)
    if digits is None or text is None or not re.fullmatch(rb"[1-9][0-9]{2}", digits):
        return False
    return _TEXT.fullmatch(text) is not None and may_be_said(words.fields)


# -- the conversation ---------------------------------------------------------------------------


class Conversation:
    """One exchange between a client and a server in memory, and what was heard of it.

    request, response: what arrived of each, (event, *args); a lost exchange ends with "error"
    refused: what the server could not read; raised: what the server's program was told
    """

    def __init__(self, asked: Words, answered: Words) -> None:
        network = MemoryNetwork()
        settings = {"tcp_server_class": network.tcp_server_class}
        server = type("_Server", (HttpServer,), settings)("origin", 80, network.loop)
        client = HttpClient(network.loop)
        client.tcp_client_class = network.tcp_client_class
        client.retry_limit = 0
        self.answered = answered
        self.refused: list[HttpError] = []
        self.raised: list[HttpError] = []
        self.request: list[tuple[Any, ...]] = []
        server.on("refused", lambda conn, error: self.refused.append(error))
        server.on("exchange", self._exchange)
        exchange = client.exchange()
        heard = Recorder(exchange, "response_start", "response_body", "response_done", "error")
        self.response = heard.events
        path = asked.start[1]
        uri = b"http://origin" + path if isinstance(path, bytes) else f"http://origin{path}"
        exchange.request_start(asked.start[0], uri, asked.headers())
        for piece in asked.pieces:
            exchange.request_body(piece)
        exchange.request_done(asked.trailers)
        settle(network.loop)
        server.shutdown()
        settle(network.loop)
        network.loop.stop()

    def _exchange(self, exchange: Any) -> None:
        heard = Recorder(exchange, "request_start", "request_body", "request_done", "error")
        self.request = heard.events
        exchange.on("request_done", lambda _: self._answer(exchange))

    def _answer(self, exchange: Any) -> None:
        words = self.answered
        try:
            exchange.response_start(*words.start, words.headers())
            for piece in words.pieces:
                exchange.response_body(piece)
            exchange.response_done(words.trailers)
        except OutputError as error:
            self.raised.append(error)
            if exchange.http_conn.tcp_conn is not None:
                exchange.http_conn.tcp_conn.abort()


def converse(asked: Words, answered: Words) -> None:
    """Let two programs talk; AssertionError if something else is heard than was said."""
    heard = Conversation(asked, answered)
    assert heard.refused == [], "the server cannot read what the client wrote"
    error = _error(heard.response)
    if not may_start_request(asked):
        assert isinstance(error, (OutputError, UrlError)), error
        assert heard.request == [], "a byte has left"
        return
    if asked.length or not may_end(asked.trailers):
        assert isinstance(error, OutputError), error
        assert "request_done" not in [event[0] for event in heard.request]
        return
    method = octets(asked.start[0]) or b""
    chunked = asked.length is None and (asked.body != b"" or method not in WITHOUT_CONTENT)
    target = (octets(asked.start[1]) or b"").partition(b"#")[0]
    start = ("request_start", method, target)
    _check(_up_to(heard.request, "request_done"), start, asked, asked.body, chunked)
    if not may_start_response(answered):
        assert [type(error) for error in heard.raised] == [OutputSyntaxError]
        assert isinstance(error, HttpError)
        assert [event[0] for event in heard.response] == ["error"], "a byte has left"
        return
    status = (
        str(answered.start[0]).encode()
        if isinstance(answered.start[0], int)
        else octets(answered.start[0])
    )
    no_body = method == b"HEAD" or status in (b"204", b"304")
    if heard.raised:
        assert (answered.length and not no_body) or not may_end(answered.trailers)
        assert isinstance(error, HttpError)
        return
    began: Any = ("response_start", status, octets(answered.start[1]))
    body = b"" if no_body else answered.body
    _check(heard.response, began, answered, body, answered.length is None and not no_body)


def _error(events: list[tuple[Any, ...]]) -> HttpError | None:
    return next((event[1] for event in events if event[0] == "error"), None)


def _up_to(events: list[tuple[Any, ...]], last: str) -> list[tuple[Any, ...]]:
    names = [event[0] for event in events]
    return events[: names.index(last) + 1] if last in names else events


def _check(
    events: list[tuple[Any, ...]], start: tuple[Any, ...], said: Words, body: bytes, chunked: bool
) -> None:
    """What was heard is what was said, all of it."""
    assert [event[0] for event in events if event[0] == "error"] == []
    assert events[0][:3] == start
    assert as_heard(events[0][3]) == as_heard(said.fields)
    assert b"".join(event[1] for event in events if event[0].endswith("_body")) == body
    assert events[-1][0].endswith("_done")
    trailers = [f for f in as_heard(said.trailers) if f[0].lower() not in FORBIDDEN]
    assert events[-1][1] == (trailers if chunked else [])
