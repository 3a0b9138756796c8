"""Every implementation of the wire says what the reference says, whatever it has seen before."""

from __future__ import annotations

from copy import deepcopy

import pytest
from fuzz_implementations import OPERATIONS, forget, outcome, reference
from fuzz_messages import TAPE_BYTES, Tape, examples
from hypothesis import given
from hypothesis import strategies as st

from thor.http.error import ChunkError
from thor.http.wire import fields
from thor.http.wire.limits import Limits

pytestmark = pytest.mark.fuzz


@pytest.mark.parametrize("name", OPERATIONS)
def test_results_and_errors_are_those_of_the_reference(name: str) -> None:
    operation = OPERATIONS[name]

    @examples(80)
    @given(st.lists(st.binary(min_size=TAPE_BYTES, max_size=TAPE_BYTES), min_size=1, max_size=3))
    def hold(tapes: list[bytes]) -> None:
        calls = [operation.arguments(Tape(tape)) for tape in tapes]
        # One after the other, so that what was learned from one could harm the next.
        got = [outcome(operation, deepcopy(arguments)) for arguments in calls]
        for arguments, found in zip(calls, got, strict=True):
            assert found == reference(operation, deepcopy(arguments)), arguments

    hold()


def test_a_result_and_an_error_are_told_apart() -> None:
    operation = OPERATIONS["decode-chunks"]
    assert reference(operation, (b"0\r\n\r\n", Limits())) == ("gives", (b"", 5, True, []))
    assert reference(operation, (b"g\r\n", Limits())) == ("raises", ChunkError)


def test_what_was_learned_is_forgotten() -> None:
    fields.parse_fields([b"X-Learned: x"])
    assert b"X-Learned" in fields._name_cache
    forget()
    assert fields._name_cache == {}
    assert fields.FORBIDDEN_IN_TRAILERS
