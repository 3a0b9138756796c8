"""Calls the native codec a few thousand times; run under valgrind by `make sanitize`.

    python test/native/exercise.py [TIMES]

Every function is called with what it answers for and with what it leaves to its twin. The
answers are dropped: whatever is then lost, the codec has lost.
"""

from __future__ import annotations

import sys

from native_support import (
    CHUNKS,
    FIELDS,
    REQUESTS,
    RESPONSES,
    mutations,
    native_chunks,
    native_fields,
    native_request,
    native_response,
    native_response_head,
)


def main(times: int) -> None:
    """Call each function with `times` messages, many of them damaged."""
    for data in mutations(REQUESTS, times, seed=11):
        native_request(data)
        native_request(REQUESTS[1])
    for data in mutations(RESPONSES, times, seed=12):
        native_response(data)
        native_response(RESPONSES[0])
    for data in mutations([CHUNKS], times, seed=13):
        native_chunks(data)
        native_chunks(bytearray(CHUNKS))
        native_fields([("A", data), ("A", data.decode("latin-1")), ("\ud800", "")])
        native_fields([("Host", b"a"), *FIELDS], request=True)
        native_response_head([("A", data), ("Content-Length", "1")])
        native_response_head(FIELDS)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
