"""What a proxy forwards is at the next hop the message that it was, or none."""

from __future__ import annotations

import fuzz_messages
import pytest
from fuzz_hop import cross_requests, cross_response
from fuzz_messages import drawn, examples
from fuzz_seeds import REQUESTS, RESPONSES
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.fuzz

METHODS = [b"GET", b"HEAD", b"POST"]
VERSIONS = [b"1.1", b"1.0"]


@examples(250)
@given(drawn(fuzz_messages.client_bytes))
def test_requests_arrive_as_they_were_sent(data: bytes) -> None:
    cross_requests(data)


@pytest.mark.parametrize("data", REQUESTS.values(), ids=REQUESTS)
def test_known_attacks_do_not_pass_to_an_origin(data: bytes) -> None:
    cross_requests(data)


@examples(250)
@given(drawn(fuzz_messages.server_bytes), st.sampled_from(METHODS), st.sampled_from(VERSIONS))
def test_responses_arrive_as_they_were_sent(data: bytes, method: bytes, version: bytes) -> None:
    cross_response(data, method, version)


@pytest.mark.parametrize("data", RESPONSES.values(), ids=RESPONSES)
def test_known_attacks_do_not_pass_to_a_client(data: bytes) -> None:
    for method in METHODS:
        for version in VERSIONS:
            cross_response(data, method, version)
