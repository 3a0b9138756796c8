"""What the published documentation says of fields and their helpers."""

from __future__ import annotations

import pytest
from published_support import documents, example

import thor


@pytest.fixture
def headers() -> list[tuple[str, str]]:
    """The list that the text has for an example."""
    fields: list[tuple[str, str]] = eval(example('("Content-Type", " text/plain")'))
    return fields


@documents("thor.http.header_names ( headers )")
def test_header_names_is_the_set_of_names(headers: list[tuple[str, str]]) -> None:
    expected = {"content-type", "foo", "cache-control", "user-agent"}
    assert thor.http.header_names(headers) == expected


@documents("thor.http.header_dict ( headers, omit )")
def test_header_dict_has_lists_of_values_split_at_commas(headers: list[tuple[str, str]]) -> None:
    assert thor.http.header_dict(headers, ["User-Agent", "content-type"]) == {
        "foo": ["bar", "baz", "boom"],
        "cache-control": ["max-age=30", "must-revalidate"],
    }
    assert "user-agent" in thor.http.header_dict(headers)


@documents("thor.http.get_header ( headers, fieldname )")
def test_get_header_is_the_list_of_values_split_at_commas(headers: list[tuple[str, str]]) -> None:
    assert thor.http.get_header(headers, "foo") == ["bar", "baz", "boom"]
    assert thor.http.get_header(headers, "absent") == []
