"""However bytes are cut into pieces, what is read in them is the same."""

from __future__ import annotations

import pytest
from fuzz_checks import LIMITS, cuts_do_not_matter
from fuzz_messages import (
    ASKED,
    Tape,
    client_bytes,
    drawn,
    examples,
    server_bytes,
)
from fuzz_seeds import REQUESTS, RESPONSES
from hypothesis import given

pytestmark = pytest.mark.fuzz


@examples(400)
@given(drawn(lambda tape: (client_bytes(tape), tape)))
def test_cuts_change_nothing_of_requests(drawing: tuple[bytes, Tape]) -> None:
    data, tape = drawing
    cuts_do_not_matter(tape, data, "client")


@examples(400)
@given(drawn(lambda tape: (server_bytes(tape), tape)))
def test_cuts_change_nothing_of_responses(drawing: tuple[bytes, Tape]) -> None:
    data, tape = drawing
    cuts_do_not_matter(tape, data, "server")


@pytest.mark.parametrize("data", REQUESTS.values(), ids=REQUESTS)
def test_cuts_change_nothing_of_known_attacks_on_a_server(data: bytes) -> None:
    for limits in range(len(LIMITS)):
        for eof in range(2):
            cuts_do_not_matter(Tape(bytes([limits, eof])), data, "client")


@pytest.mark.parametrize("data", RESPONSES.values(), ids=RESPONSES)
def test_cuts_change_nothing_of_known_attacks_on_a_client(data: bytes) -> None:
    for limits in range(len(LIMITS)):
        for method in range(len(ASKED)):
            cuts_do_not_matter(Tape(bytes([limits, 1, method])), data, "server")
