"""What holds for every input: one function a property, for all kinds of fuzzing.

Owns: the checks, each over plain bytes, so that hypothesis and a coverage-guided fuzzer run the
same ones. Must not know who calls, nor where bytes come from. What does not hold is an
AssertionError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fuzz_comparison import compare_requests, compare_responses, excused
from fuzz_exchange import converse, request_words, response_words
from fuzz_hop import cross_requests, cross_response
from fuzz_messages import ASKED, WORDS, Tape, client_bytes, pieces, server_bytes
from fuzz_seeds import REQUESTS, RESPONSES
from wire_support import Outcome, read_requests, read_responses

from thor.http.wire.limits import Limits

__all__ = ["CHECKS", "PREFIX_BYTES", "REQUESTS", "RESPONSES", "WORDS", "excused", "run"]

#: Settings under which reading must not depend on how the bytes are cut: the usual ones, small
#: limits that many inputs are over, and the leniency that there is.
LIMITS = [
    Limits(),
    Limits(
        max_head_bytes=120,
        max_target_bytes=12,
        max_field_bytes=24,
        max_head_fields=3,
        max_empty_lines=1,
        max_chunk_extension_bytes=6,
        max_chunk_extensions_bytes=8,
        max_method_bytes=5,
        max_body_bytes=10,
        max_informational=1,
    ),
    Limits(fold="unfold", max_field_bytes=40, refuse_host_mismatch=True),
]

#: Beyond it, bytes are not fed one by one.
_BYTEWISE = 400


def requests_are_read_alike(data: bytes) -> None:
    """Independent parsers read in a client's bytes what Thor reads."""
    found = compare_requests(data)
    assert not found, "\n".join(found)


def response_is_read_alike(data: bytes, method: bytes) -> None:
    """Independent parsers read in a server's bytes what Thor reads."""
    found = compare_responses(data, method)
    assert not found, "\n".join(found)


def cuts_do_not_matter(tape: Tape, data: bytes, side: str) -> None:
    """However the bytes come, messages and errors are the same.

    side: "client" or "server", who sends them
    """
    limits = tape.pick(LIMITS)
    eof = bool(tape.number(2))
    method, upgrade = tape.pick(ASKED), bool(tape.number(2))

    def read(parts: list[bytes], late: bool = False) -> Outcome:
        if side == "client":
            return read_requests(parts, limits, eof=eof, late=late)
        return read_responses(parts, [method] * 4, limits, eof=eof, upgrade=upgrade, late=late)

    whole = read([data])
    for parts, late in [*((parts, False) for parts in _cuts(tape, data)), ([data], True)]:
        cut = read(parts, late)
        what = (
            f"{len(cut.messages)} messages, {cut.error}, not {len(whole.messages)}, {whole.error}"
        )
        assert cut == whole, f"{what}\n{parts}\n{cut}\ninstead of\n{whole}"


def _cuts(tape: Tape, data: bytes) -> Iterator[list[bytes]]:
    if len(data) <= _BYTEWISE:
        yield [data[i : i + 1] for i in range(len(data))]
    yield pieces(tape, data)


# -- the checks as a coverage-guided fuzzer runs them: bytes in ---------------------------------


def _requests(data: bytes) -> None:
    requests_are_read_alike(data)
    cuts_do_not_matter(Tape(data[::-1]), data, "client")


def _response(data: bytes) -> None:
    tape = Tape(data[:1])
    response_is_read_alike(data[1:], tape.pick(ASKED))
    cuts_do_not_matter(Tape(data[::-1]), data[1:], "server")


def _made_requests(data: bytes) -> None:
    tape = Tape(data)
    made = client_bytes(tape)
    requests_are_read_alike(made)
    cuts_do_not_matter(tape, made, "client")


def _made_response(data: bytes) -> None:
    tape = Tape(data)
    method, made = tape.pick(ASKED), server_bytes(tape)
    response_is_read_alike(made, method)
    cuts_do_not_matter(tape, made, "server")


def _way_down(data: bytes) -> None:
    tape = Tape(data[:2])
    cross_response(data[2:], tape.pick([b"GET", b"HEAD", b"POST"]), tape.pick([b"1.1", b"1.0"]))


def _conversation(data: bytes) -> None:
    tape = Tape(data)
    converse(request_words(tape), response_words(tape))


#: name -> the check. The first byte of a fuzzer's input chooses one, the rest is what it gets.
CHECKS: dict[str, Callable[[bytes], Any]] = {
    "requests": _requests,
    "response": _response,
    "way up": cross_requests,
    "way down": _way_down,
    "made requests": _made_requests,
    "made response": _made_response,
    "conversation": _conversation,
}


#: How many bytes in front of an origin's say what the request was.
PREFIX_BYTES = {"response": 1, "way down": 2}


def run(data: bytes) -> str:
    """Run the check that these bytes choose. Returns: its name"""
    name = list(CHECKS)[data[0] % len(CHECKS)] if data else "requests"
    CHECKS[name](data[1:])
    return name
