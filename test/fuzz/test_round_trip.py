"""What a program says is what the other program hears, or nothing is."""

from __future__ import annotations

import pytest
from fuzz_exchange import Words, converse, request_words, response_words
from fuzz_messages import drawn, examples
from hypothesis import given

pytestmark = pytest.mark.fuzz


@examples(250)
@given(drawn(request_words), drawn(response_words))
def test_what_is_said_is_heard_or_refused(asked: Words, answered: Words) -> None:
    converse(asked, answered)
