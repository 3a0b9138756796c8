"""The types that the packages share: what is more than a name."""

from __future__ import annotations

import errno
import json
import pickle
from typing import Any

import pytest

from thor.types import ErrorNumber, to_bytes


def test_error_number_is_an_int_whose_text_says_what_happened() -> None:
    number = ErrorNumber(errno.EMSGSIZE, "Message too long")
    assert number == errno.EMSGSIZE
    by_number: dict[int, int] = {number: 1}
    assert by_number[errno.EMSGSIZE] == 1
    assert f"{number}" == str(number) == "Message too long"
    assert f"{number:d} {number!r} {json.dumps(number)}" == "90 90 90"
    assert str(ErrorNumber(7)) == "7"


def test_error_number_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(ErrorNumber(7, "seven")))
    assert (copy, str(copy)) == (7, "seven")


@pytest.mark.parametrize("data", ["\xe9", "\xe9".encode(), bytearray("\xe9".encode())], ids=repr)
def test_data_is_taken_as_str_or_bytes(data: Any) -> None:
    assert to_bytes(data) == b"\xc3\xa9"
    assert type(to_bytes(data)) is bytes


@pytest.mark.parametrize(("data", "kind"), [(1, "int"), (None, "NoneType"), (["a"], "list")])
def test_other_types_of_data_are_refused(data: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=kind):
        to_bytes(data)
