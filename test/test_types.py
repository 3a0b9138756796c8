"""The types that the packages share: what is more than a name."""

from __future__ import annotations

import errno
import json
import pickle

from thor.types import ErrorNumber


def test_error_number_is_an_int_whose_text_says_what_happened() -> None:
    number = ErrorNumber(errno.EMSGSIZE, "Message too long")
    assert number == errno.EMSGSIZE
    assert {number: 1}[errno.EMSGSIZE] == 1
    assert f"{number}" == str(number) == "Message too long"
    assert f"{number:d} {number!r} {json.dumps(number)}" == "90 90 90"
    assert str(ErrorNumber(7)) == "7"


def test_error_number_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(ErrorNumber(7, "seven")))
    assert (copy, str(copy)) == (7, "seven")
