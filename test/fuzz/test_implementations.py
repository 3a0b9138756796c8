"""Every implementation of a function of the wire says what the reference says."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from fuzz_implementations import FUNCTIONS, IMPLEMENTATIONS, forget, outcome
from fuzz_messages import TAPE_BYTES, Tape, examples
from hypothesis import given
from hypothesis import strategies as st

from thor.http.error import ChunkError
from thor.http.wire import fields

pytestmark = pytest.mark.fuzz


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request: pytest.FixtureRequest) -> dict[str, Callable[..., Any]]:
    """The functions of each implementation that there is."""
    return IMPLEMENTATIONS[request.param]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_and_errors_are_those_of_the_reference(
    implementation: dict[str, Callable[..., Any]], name: str
) -> None:
    if name not in implementation:
        pytest.skip(f"no {name}")
    twin = FUNCTIONS[name]

    @examples(200)
    @given(st.lists(st.binary(min_size=TAPE_BYTES, max_size=TAPE_BYTES), min_size=1, max_size=3))
    def hold(tapes: list[bytes]) -> None:
        calls = [twin.arguments(Tape(tape)) for tape in tapes]
        got = [outcome(implementation[name], deepcopy(arguments)) for arguments in calls]
        for arguments, found in zip(calls, got, strict=True):
            forget()
            assert found == outcome(twin.python, deepcopy(arguments)), arguments

    hold()


def test_another_result_and_another_error_are_noticed() -> None:
    twin = FUNCTIONS["decode_chunks"]
    assert outcome(twin.python, (b"0\r\n\r\n", None)) == ("gives", (b"", 5, True, []))
    tape = Tape(bytes(TAPE_BYTES))
    assert outcome(twin.python, (b"g\r\n", twin.arguments(tape)[1])) == ("raises", ChunkError)


def test_what_was_learned_is_forgotten() -> None:
    fields.parse_fields([b"X-Learned: x"])
    assert b"X-Learned" in fields._names
    forget()
    assert fields._names == {}
    assert fields.FORBIDDEN_IN_TRAILERS
