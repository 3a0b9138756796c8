"""What Thor and independent parsers read in the same bytes, in one form, to be compared.

Owns: `Reading`, and one reader for each parser. Must not know which differences are accepted.

The oracles are h11, llhttp (by httptools) and the standard library: `http.client` for responses,
`http.server`, which is built on it, for the heads of requests. What a parser does not tell is None
in its reading, and not compared. Each runs with its own defaults; only limits on sizes are raised.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler
from typing import Any

import h11
import httptools
from wire_support import Outcome, read_requests, read_responses

from thor.http.wire.limits import Limits

Fields = list[tuple[bytes, bytes]]


@dataclass
class Said:
    """One message. start: method, target, version; or version, status, phrase."""

    start: tuple[bytes | None, ...]
    fields: Fields
    body: bytes | None = b""
    trailers: Fields | None = field(default_factory=list)
    complete: bool = False


@dataclass
class Reading:
    """What a parser made of some bytes.

    messages: in order; only the last may be incomplete
    refused: why it read no further, if something was wrong
    rest: what it did not use up, where it says so
    first_head_only: that is all it reads
    """

    messages: list[Said] = field(default_factory=list)
    refused: str | None = None
    rest: bytes | None = None
    first_head_only: bool = False


# -- Thor ---------------------------------------------------------------------------------------


def thor_requests(pieces: Sequence[bytes], limits: Limits | None = None) -> Reading:
    """The requests of a connection, up to one after which it does not persist."""
    return _reading(read_requests(pieces, limits))


def thor_response(pieces: Sequence[bytes], method: bytes, limits: Limits | None = None) -> Reading:
    """The response to a request with this method, with what precedes it, up to the end of input."""
    return _reading(read_responses(pieces, [method], limits, eof=True))


def _reading(outcome: Outcome) -> Reading:
    reading = Reading()
    for message in outcome.messages:
        head: Any = message.head
        if hasattr(head, "method"):
            start = (head.method, head.target, head.version)
        else:
            start = (head.version, head.status, head.phrase)
        said = Said(start, head.headers, message.body, message.trailers, message.complete)
        reading.messages.append(said)
    if outcome.error is not None:
        reading.refused = outcome.error.__name__
    elif all(message.complete for message in outcome.messages):
        reading.rest = outcome.rest
    return reading


# -- h11 ----------------------------------------------------------------------------------------

_NO_LIMIT = 1 << 24


def h11_requests(data: bytes) -> Reading:
    """A server's side of h11; each request is answered, so that the next one is read."""
    conn = h11.Connection(h11.SERVER, max_incomplete_event_size=_NO_LIMIT)

    def answer() -> bool:
        if reading.messages[-1].start[0] == b"CONNECT":
            return False
        conn.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        conn.send(h11.EndOfMessage())
        if conn.their_state is not h11.DONE or conn.our_state is not h11.DONE:
            return False
        conn.start_next_cycle()
        return True

    reading = Reading()
    if data:
        conn.receive_data(data)
    _pull_h11(conn, reading, answer)
    return reading


def h11_response(data: bytes, method: bytes) -> Reading:
    """A client's side of h11, which asked for another protocol as well."""
    conn = h11.Connection(h11.CLIENT, max_incomplete_event_size=_NO_LIMIT)
    fields = [("Host", "a"), ("Upgrade", "x"), ("Connection", "upgrade")]
    conn.send(h11.Request(method=method, target="/", headers=fields))
    conn.send(h11.EndOfMessage())
    if data:
        conn.receive_data(data)
    conn.receive_data(b"")
    reading = Reading()
    _pull_h11(conn, reading, lambda: False)
    return reading


def _pull_h11(conn: h11.Connection, reading: Reading, go_on: Callable[[], bool]) -> None:
    messages = reading.messages
    try:
        while True:
            event = conn.next_event()
            if isinstance(event, (h11.Request, h11.Response, h11.InformationalResponse)):
                messages.append(_h11_head(event))
            elif isinstance(event, h11.Data):
                assert messages[-1].body is not None
                messages[-1].body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                messages[-1].trailers = event.headers.raw_items()
                messages[-1].complete = True
                if not go_on():
                    break
            else:
                if event is h11.PAUSED and messages:  # a tunnel
                    messages[-1].complete = True
                break
    except h11.RemoteProtocolError as error:
        reading.refused = str(error)
    else:
        reading.rest = bytes(conn.trailing_data[0])


def _h11_head(event: h11.Request | h11.Response | h11.InformationalResponse) -> Said:
    fields = event.headers.raw_items()
    if isinstance(event, h11.Request):
        return Said((event.method, event.target, event.http_version), fields)
    start = (event.http_version, b"%d" % event.status_code, bytes(event.reason))
    return Said(start, fields, complete=isinstance(event, h11.InformationalResponse))


# -- llhttp, by httptools -----------------------------------------------------------------------


class _Heard:
    """Callbacks of httptools."""

    def __init__(self, reading: Reading) -> None:
        self.messages = reading.messages
        self.parser: Any = None
        self.on_message_begin()

    def on_message_begin(self) -> None:
        self.line = b""
        self.fields: Fields = []

    def on_url(self, url: bytes) -> None:
        self.line += url

    on_status = on_url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, (value or b"").strip(b" \t")))

    def on_headers_complete(self) -> None:
        parser, version = self.parser, self.parser.get_http_version().encode()
        if isinstance(parser, httptools.HttpRequestParser):
            start = (parser.get_method(), self.line, version)
        else:
            start = (version, b"%d" % parser.get_status_code(), self.line)
        self.messages.append(Said(start, self.fields))
        self.fields = []

    def on_body(self, data: bytes) -> None:
        said = self.messages[-1]
        assert said.body is not None
        said.body += data

    def on_message_complete(self) -> None:
        said = self.messages[-1]
        said.trailers, said.complete = self.fields, True


def llhttp_requests(data: bytes) -> Reading:
    """A server's side of llhttp, that takes no Upgrade."""
    reading = Reading()
    heard = _Heard(reading)
    heard.parser = httptools.HttpRequestParser(heard)
    while data:
        try:
            heard.parser.feed_data(data)
            break
        except httptools.HttpParserUpgrade as upgrade:
            data = data[upgrade.args[0] :]
            if reading.messages[-1].start[0] == b"CONNECT":
                reading.rest = data
                break
        except httptools.HttpParserError as error:
            reading.refused = str(error)
            break
    return reading


def llhttp_response(data: bytes, method: bytes) -> Reading | None:
    """A client's side of llhttp. None for methods that matter: httptools cannot tell it of them."""
    if method in (b"HEAD", b"CONNECT"):
        return None
    reading = Reading()
    heard = _Heard(reading)
    heard.parser = httptools.HttpResponseParser(heard)
    try:
        heard.parser.feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        reading.rest = data[upgrade.args[0] :]
    except httptools.HttpParserError as error:
        reading.refused = str(error)
    for index, said in enumerate(reading.messages):
        if said.complete and (said.start[1] or b"") >= b"200":
            # What follows it takes for the next response.
            reading.refused = reading.rest = None
            del reading.messages[index + 1 :]
    return reading


# -- the standard library -----------------------------------------------------------------------


class _Stream(io.BytesIO):
    """A socket that has received everything, and its file, which survives `close`."""

    def makefile(self, mode: str) -> _Stream:
        return self

    def close(self) -> None:
        pass


def stdlib_response(data: bytes, method: bytes) -> Reading | None:
    """`http.client`; it drops trailers, and tells no versions. None for CONNECT, which is read
    elsewhere in it."""
    if method == b"CONNECT":
        return None
    reading = Reading()
    stream: Any = _Stream(data)
    try:
        response = http.client.HTTPResponse(stream, method=method.decode())
        response.begin()
        start = (None, b"%d" % response.status, _octets(response.reason))
        said = Said(start, _stdlib_fields(response.headers), trailers=None)
        reading.messages.append(said)
        said.body = response.read()
        said.complete = True
        reading.rest = stream.read()
    except http.client.IncompleteRead as error:
        said.body = error.partial
        reading.refused = repr(error)
    except (http.client.HTTPException, OverflowError) as error:
        reading.refused = repr(error)
    return reading


class _Handler(BaseHTTPRequestHandler):
    """The head of one request. Nobody is answered."""

    protocol_version = "HTTP/1.1"

    def __init__(self, data: bytes) -> None:
        self.rfile = io.BytesIO(data)
        self.refused: str | None = None

    def send_error(self, code: int, message: Any = None, explain: Any = None) -> None:
        self.refused = f"{code} {message}"

    def handle_expect_100(self) -> bool:
        return True


def stdlib_requests(data: bytes) -> Reading:
    """`http.server`: the head of the first request."""
    reading = Reading(first_head_only=True)
    handler: Any = _Handler(data)
    handler.raw_requestline = handler.rfile.readline()
    if handler.parse_request():
        start = (
            _octets(handler.command),
            _octets(handler.path),
            handler.request_version.removeprefix("HTTP/").encode(),
        )
        fields = _stdlib_fields(handler.headers)
        reading.messages.append(Said(start, fields, None, None, complete=True))
    else:
        reading.refused = handler.refused or "no request line"
    return reading


def _octets(text: str) -> bytes:
    return text.encode("latin-1")


def _stdlib_fields(headers: http.client.HTTPMessage) -> Fields:
    return [(_octets(name), _octets(value).strip(b" \t")) for name, value in headers.raw_items()]


#: What they said is kept for a while: each of Thor's implementations is compared with the same.
_kept = lru_cache(maxsize=1024)
#: name -> its reader of requests: bytes to Reading, which is not to be changed
REQUEST_ORACLES: dict[str, Callable[[bytes], Reading]] = {
    "h11": _kept(h11_requests),
    "llhttp": _kept(llhttp_requests),
    "http.server": _kept(stdlib_requests),
}
#: name -> its reader of a response: bytes and the request's method to Reading, likewise
RESPONSE_ORACLES: dict[str, Callable[[bytes, bytes], Reading | None]] = {
    "h11": _kept(h11_response),
    "llhttp": _kept(llhttp_response),
    "http.client": _kept(stdlib_response),
}
