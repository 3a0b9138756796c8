"""However bytes are cut into pieces, what is read in them is the same."""

from __future__ import annotations

import pytest
from fuzz_checks import cuts_do_not_matter
from fuzz_messages import Tape, client_bytes, drawn, examples, server_bytes
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
