"""The implementations of the wire, to be held to each other.

Owns: which there are and how each is put in force, what they are called with, and what counts as
the same: an equal value, or an error of the same class. Must not know how one is made.

The reference is "py" with its tables emptied: what has been learned from earlier messages must not
change what is said of this one. So there is something to hold "py" itself to.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import native_support
from fuzz_exchange import octets, request_words, response_words
from fuzz_messages import ASKED, Tape, client_bytes, pieces, server_bytes
from wire_support import parts_of, read_requests, read_responses

from thor.http.error import HttpError
from thor.http.wire import framing, writer
from thor.http.wire.body import ChunkedDecoder
from thor.http.wire.limits import Limits

#: name -> what puts the implementation in force, within a block
IMPLEMENTATIONS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    name: partial(native_support.implementation, name) for name in native_support.IMPLEMENTATIONS
}


class Operation(NamedTuple):
    """Something that every implementation does: a function, and what to call it with."""

    function: Callable[..., Any]
    arguments: Callable[[Tape], tuple[Any, ...]]


def _read_requests(tape: Tape) -> tuple[Any, ...]:
    data = client_bytes(tape)
    return (pieces(tape, data),)


def _read_response(tape: Tape) -> tuple[Any, ...]:
    method, data = tape.pick(ASKED), server_bytes(tape)
    return pieces(tape, data), [method]


def _decode_chunks(data: bytes, limits: Limits) -> tuple[Any, ...]:
    decoder = ChunkedDecoder(limits)
    parts: list[bytes] = []
    used = decoder.decode(data, 0, parts)
    return b"".join(parts), used, decoder.done, decoder.trailers


def _chunks(tape: Tape) -> tuple[Any, ...]:
    return client_bytes(tape).partition(b"\r\n\r\n")[2], Limits()


def _framing(tape: Tape) -> tuple[Any, ...]:
    method, status = tape.pick(ASKED), tape.pick([0, 200, 100, 204, 304])
    lengths = [[], [b"5"], [b"5", b"5"], [b"+5"], [b"5,5"], [b""], [b"9" * 19], [b"9" * 20]]
    codings = [[], [b"chunked"], [b"Chunked"], [b"gzip"], [b"gzip", b"chunked"], [b""], [b"a,,b"]]
    return method, status, bool(tape.number(2)), tape.pick(lengths), tape.pick(codings)


def _response_words(tape: Tape) -> tuple[Any, ...]:
    words = response_words(tape)
    http11, keep_alive = bool(tape.number(2)), bool(tape.number(2))
    return (*words.start, words.headers(), tape.pick(ASKED), http11, keep_alive, b"now")


def _request_words(tape: Tape) -> tuple[Any, ...]:
    (method, path), *_ = words = request_words(tape)
    return octets(method) or b"", path, words.headers(), tape.pick([True, False, None])


def _request_head(method: bytes, target: Any, headers: Any, has_body: bool | None) -> Any:
    head = writer.request_head(
        method, target, headers, host=b"a", has_body=has_body, upgrade=None, te_trailers=False
    )
    return parts_of(head)


def _response_head(*args: Any) -> Any:
    return parts_of(writer.response_head(*args))


OPERATIONS = {
    "read-requests": Operation(read_requests, _read_requests),
    "read-response": Operation(read_responses, _read_response),
    "decode-chunks": Operation(_decode_chunks, _chunks),
    "decide-framing": Operation(framing.message_framing, _framing),
    "write-response": Operation(_response_head, _response_words),
    "write-request": Operation(_request_head, _request_words),
}


def forget() -> None:
    """Empty the tables in which the Python functions remember what they have seen."""
    for name in ("fields", "head", "target", "writer"):
        for table, learned in vars(importlib.import_module(f"thor.http.wire.{name}")).items():
            if isinstance(learned, dict) and table.islower() and not table.startswith("__"):
                learned.clear()


def outcome(operation: Operation, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    """What comes of a call: ("gives", value), or ("raises", class of the error)."""
    try:
        return "gives", operation.function(*arguments)
    except (HttpError, TypeError) as error:
        return "raises", type(error)


def reference(operation: Operation, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    """What has to come of it."""
    with IMPLEMENTATIONS["py"]():
        forget()
        return outcome(operation, arguments)
