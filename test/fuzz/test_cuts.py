"""However bytes are cut into pieces, what is read in them is the same."""

from __future__ import annotations

import pytest
from fuzz_checks import cuts_do_not_matter
from fuzz_messages import (
    Tape,
    client_bytes,
    drawn,
    examples,
    server_bytes,
)
from fuzz_seeds import REQUESTS, RESPONSES
from hypothesis import given

pytestmark = pytest.mark.fuzz


@examples(700)
@given(drawn(lambda tape: (client_bytes(tape), tape)))
def test_cuts_change_nothing_of_requests(drawing: tuple[bytes, Tape]) -> None:
    data, tape = drawing
    cuts_do_not_matter(tape, data, "client")


@examples(700)
@given(drawn(lambda tape: (server_bytes(tape), tape)))
def test_cuts_change_nothing_of_responses(drawing: tuple[bytes, Tape]) -> None:
    data, tape = drawing
    cuts_do_not_matter(tape, data, "server")


@pytest.mark.parametrize("choice", range(6))
@pytest.mark.parametrize("data", REQUESTS.values(), ids=REQUESTS)
def test_cuts_change_nothing_of_known_attacks_on_a_server(data: bytes, choice: int) -> None:
    cuts_do_not_matter(Tape(bytes([choice // 2, choice])), data, "client")


@pytest.mark.parametrize("choice", range(6))
@pytest.mark.parametrize("data", RESPONSES.values(), ids=RESPONSES)
def test_cuts_change_nothing_of_known_attacks_on_a_client(data: bytes, choice: int) -> None:
    cuts_do_not_matter(Tape(bytes([choice // 2, choice])), data, "server")
