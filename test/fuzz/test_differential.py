"""Whatever Thor accepts, independent parsers frame in the same way."""

from __future__ import annotations

from typing import Any

import fuzz_messages
import pytest
from fuzz_checks import requests_are_read_alike, response_is_read_alike
from fuzz_messages import ASKED, Made, Tape, drawn, examples, good_request, good_response
from fuzz_seeds import REQUESTS, RESPONSES
from hypothesis import given
from hypothesis import strategies as st
from wire_support import read_requests, read_responses

pytestmark = pytest.mark.fuzz


@examples(500)
@given(drawn(fuzz_messages.client_bytes))
def test_requests_are_read_as_by_other_parsers(data: bytes) -> None:
    requests_are_read_alike(data)


@examples(500)
@given(drawn(fuzz_messages.server_bytes), st.sampled_from(ASKED))
def test_responses_are_read_as_by_other_parsers(data: bytes, method: bytes) -> None:
    response_is_read_alike(data, method)


@pytest.mark.parametrize("data", REQUESTS.values(), ids=REQUESTS)
def test_known_attacks_on_a_server_are_read_as_by_other_parsers(data: bytes) -> None:
    requests_are_read_alike(data)


@pytest.mark.parametrize("data", RESPONSES.values(), ids=RESPONSES)
def test_known_attacks_on_a_client_are_read_as_by_other_parsers(data: bytes) -> None:
    for method in ASKED:
        response_is_read_alike(data, method)


# -- good messages are read as what they are ----------------------------------------------------


@examples(200)
@given(drawn(good_request))
def test_a_good_request_is_read_as_it_says(made: Made) -> None:
    message = read_requests([made.data]).only
    head: Any = message.head
    assert (head.method, head.target, head.version) == made.start
    assert (message.body, message.trailers, message.complete) == (made.body, made.trailers, True)
    if made.start[1].startswith(b"/"):  # else the target's authority replaces Host
        assert head.headers == made.fields
    else:
        assert head.headers[1:] == made.fields[1:]


@examples(200)
@given(drawn(good_response))
def test_a_good_response_is_read_as_it_says(made: Made) -> None:
    message = read_responses([made.data], eof=True).only
    head: Any = message.head
    assert (head.version, head.status, head.phrase) == made.start
    assert head.headers == made.fields
    assert (message.body, message.trailers, message.complete) == (made.body, made.trailers, True)


@examples(100)
@given(st.lists(drawn(good_request), min_size=2, max_size=5))
def test_pipelined_requests_are_read_as_each_by_itself(made: list[Made]) -> None:
    outcome = read_requests([b"".join(request.data for request in made)])
    assert outcome.error is None
    assert outcome.rest == b""
    alone = [read_requests([request.data]).only for request in made]
    assert outcome.messages == alone


@examples(200)
@given(drawn(lambda tape: (tape, good_request(tape))))
def test_a_request_that_ends_early_is_never_complete(drawing: tuple[Tape, Made]) -> None:
    tape, made = drawing
    for at in {tape.number(len(made.data)) for _ in range(4)}:
        for message in read_requests([made.data[:at]], eof=True).messages:
            assert not message.complete
