"""The implementations of the wire's functions, to be held to each other.

Owns: which functions have a twin, what they are called with, and what counts as the same result:
an equal value, or an error of the same class. Must not know how a twin is made.

The reference is the Python function with its tables emptied: what has been learned from earlier
messages must not change what is said of this one. So there is something to hold "py" itself to.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from fuzz_exchange import octets, request_words, response_words
from fuzz_messages import ASKED, Tape, client_bytes, server_bytes

from thor.http.error import HttpError
from thor.http.wire import fields, framing, head, writer
from thor.http.wire.body import ChunkedDecoder
from thor.http.wire.limits import Limits

Function = Callable[..., Any]


def decode_chunks(data: bytes, limits: Limits) -> tuple[Any, ...]:
    """What a chunked body that starts here decodes to, and how many bytes it takes."""
    decoder = ChunkedDecoder(limits)
    parts: list[bytes] = []
    used = decoder.decode(data, 0, parts)
    return b"".join(parts), used, decoder.done, decoder.trailers


def _block(data: bytes) -> bytes:
    return data.partition(b"\r\n\r\n")[0]


def _request_block(tape: Tape) -> tuple[Any, ...]:
    return _block(client_bytes(tape)), Limits()


def _response_block(tape: Tape) -> tuple[Any, ...]:
    method = tape.pick(ASKED)
    return _block(server_bytes(tape)), Limits(), method


def _field_lines(tape: Tape) -> tuple[Any, ...]:
    return (_block(client_bytes(tape)).split(b"\r\n")[1:],)


def _chunks(tape: Tape) -> tuple[Any, ...]:
    return client_bytes(tape).partition(b"\r\n\r\n")[2], Limits()


def _framing(tape: Tape) -> tuple[Any, ...]:
    method, status = tape.pick(ASKED), tape.pick([0, 200, 100, 204, 304])
    values = [[], [b"5"], [b"5", b"5"], [b"+5"], [b"5,5"], [b""], [b"9" * 19], [b"9" * 20]]
    codings = [[], [b"chunked"], [b"Chunked"], [b"gzip"], [b"gzip", b"chunked"], [b""], [b"a,,b"]]
    return method, status, bool(tape.number(2)), tape.pick(values), tape.pick(codings)


def _response_head(tape: Tape) -> tuple[Any, ...]:
    words = response_words(tape)
    http11, keep_alive = bool(tape.number(2)), bool(tape.number(2))
    return (*words.start, words.headers(), tape.pick(ASKED), http11, keep_alive, b"now")


def _request_head(tape: Tape) -> tuple[Any, ...]:
    words = request_words(tape)
    method = words.start[0]
    return octets(method) or b"", words.start[1], words.headers(), tape.pick([True, False, None])


def _render_request(method: Any, target: Any, headers: Any, has_body: Any) -> Any:
    return writer.request_head(
        method, target, headers, host=b"a", has_body=has_body, upgrade=None, te_trailers=False
    )


class Twin(NamedTuple):
    """A function that there may be several of: the Python one, and what to call it with."""

    python: Function
    arguments: Callable[[Tape], tuple[Any, ...]]


#: name -> function
FUNCTIONS = {
    "parse_request_head": Twin(head.parse_request_head, _request_block),
    "parse_response_head": Twin(head.parse_response_head, _response_block),
    "parse_fields": Twin(fields.parse_fields, _field_lines),
    "message_framing": Twin(framing.message_framing, _framing),
    "decode_chunks": Twin(decode_chunks, _chunks),
    "response_head": Twin(writer.response_head, _response_head),
    "request_head": Twin(_render_request, _request_head),
}

#: name -> its functions, by name. One that has no twin of a function leaves it out.
IMPLEMENTATIONS: dict[str, dict[str, Function]] = {
    "py": {name: twin.python for name, twin in FUNCTIONS.items()},
}


def forget() -> None:
    """Empty the tables in which the Python functions remember what they have seen."""
    for name in ("fields", "head", "target", "writer"):
        for table, learned in vars(importlib.import_module(f"thor.http.wire.{name}")).items():
            if isinstance(learned, dict) and table.islower() and not table.startswith("__"):
                learned.clear()


def outcome(function: Function, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    """What comes of a call: ("gives", value), or ("raises", class of the error)."""
    try:
        return "gives", function(*arguments)
    except (HttpError, TypeError) as error:
        return "raises", type(error)
