"""What a program says is what the other program hears, or nothing is."""

from __future__ import annotations

import pytest
from fuzz_exchange import Words, converse, request_words, response_words
from fuzz_messages import drawn, examples
from hypothesis import given

pytestmark = pytest.mark.fuzz

GET = Words(("GET", "/"), [], [], [], None)
OK = Words((200, "OK"), [], [b"hello"], [], None)


@examples(250)
@given(drawn(request_words), drawn(response_words))
def test_what_is_said_is_heard_or_refused(asked: Words, answered: Words) -> None:
    converse(asked, answered)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\x00", "\u2603"])
@pytest.mark.parametrize("name", ["X-A", "Connection", "Content-Length", "Host", "TE", "Upgrade"])
def test_no_value_begins_another_line(name: str, value: str) -> None:
    converse(GET._replace(fields=[(name, value)]), OK)
    converse(GET, OK._replace(fields=[(name, value)]))
