"""The octets of HTTP."""

from __future__ import annotations

import pytest

from thor.http.wire import grammar
from thor.http.wire.grammar import decimal, excerpt, has_token, is_token, list_elements


def test_token_is_exactly_the_tchars_of_the_rfc() -> None:
    allowed = {i for i in range(256) if is_token(bytes([i]))}
    assert allowed == set(
        b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    )
    assert not is_token(b"")


def test_a_line_holds_tab_visible_ascii_and_obs_text() -> None:
    assert set(grammar.FIELD_LINE_OCTETS) == {9, *range(32, 127), *range(128, 256)}


def test_a_target_holds_visible_ascii_but_the_number_sign() -> None:
    assert set(grammar.TARGET_OCTETS) == set(range(33, 127)) - {ord("#")}


@pytest.mark.parametrize("text", [b"0", b"00", b"7", b"0123456789", b"9" * 19])
def test_digits_are_a_number(text: bytes) -> None:
    assert decimal(text) == int(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"+1",
        b"-1",
        b" 1",
        b"1 ",
        b"1_0",
        b"0x1",
        b"1.0",
        b"1e3",
        b"\t1",
        b"1\n",
        b"\xb2",
        "\u0661".encode(),
        b"9" * 20,
        b"0" * 20,
        b"1" * 5000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_anything_else_is_no_number(text: bytes) -> None:
    assert decimal(text) == -1


def test_number_of_digits_is_bounded_as_asked() -> None:
    assert decimal(b"99999", 5) == 99999
    assert decimal(b"000001", 5) == -1


def test_list_elements_keep_empty_ones() -> None:
    assert list_elements(b" a ,,\tb") == [b"a", b"", b"b"]
    assert list_elements(b"") == [b""]
    assert list_elements(b"a\x0b, b") == [b"a\x0b", b"b"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"close", True),
        (b"Close", True),
        (b"keep-alive, CLOSE", True),
        (b",close,", True),
        (b"closed", False),
        (b"not close", False),
        (b"", False),
    ],
)
def test_token_is_found_in_a_list_in_any_case(value: bytes, found: bool) -> None:
    assert has_token(value, b"close") is found


def test_excerpt_is_short_and_printable() -> None:
    assert excerpt(b"a\r\n") == r"'a\r\n'"
    assert len(excerpt(b"\x00" * 100_000)) < 300


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (b"a\r\nb", 1),
        (b"a\nb", 1),
        (b"a\rb", 1),
        (b"a\x00b", 1),
        (b"a\x0bb", 1),
        (b"a\x7fb", 1),
        (b"ab\r", None),
        (b"a\tb\x80\xff~ ", None),
    ],
)
def test_line_event_is_the_first_octet_that_ends_a_line_or_may_not_stand(
    text: bytes, at: int | None
) -> None:
    event = grammar.LINE_END_OR_CTL_RE.search(text)
    assert (event.start() if event else None) == at
