"""Lists of fields, as programs work with them."""

from __future__ import annotations

import pytest

from thor.http.headers import (
    get_header,
    header_dict,
    header_names,
    hop_by_hop_hdrs,
    nominated_fields,
    strip_hop_by_hop,
)

DOCUMENTED = [
    ("Content-Type", " text/plain"),
    ("Foo", "bar, baz"),
    ("Cache-Control", " max-age=30, must-revalidate"),
    ("Foo", "boom"),
    ("user-agent", "Foo/1.0"),
]
AS_BYTES = [(name.encode(), value.encode()) for name, value in DOCUMENTED]


def test_names_are_a_set_in_lower_case() -> None:
    names = {"content-type", "foo", "cache-control", "user-agent"}
    assert header_names(DOCUMENTED) == names
    assert header_names(AS_BYTES) == {name.encode() for name in names}


def test_dict_splits_values_at_commas_and_joins_repetitions() -> None:
    assert header_dict(DOCUMENTED) == {
        "content-type": ["text/plain"],
        "foo": ["bar", "baz", "boom"],
        "cache-control": ["max-age=30", "must-revalidate"],
        "user-agent": ["Foo/1.0"],
    }
    assert header_dict(AS_BYTES)[b"foo"] == [b"bar", b"baz", b"boom"]


@pytest.mark.parametrize("omit", [["FOO", "user-agent"], [b"foo", b"User-Agent"]])
def test_dict_omits_fields_in_any_case_and_type(omit: list[str | bytes]) -> None:
    assert header_dict(DOCUMENTED, omit).keys() == {"content-type", "cache-control"}
    assert header_dict(AS_BYTES, omit).keys() == {b"content-type", b"cache-control"}


@pytest.mark.parametrize("name", ["foo", "FOO", b"Foo"])
def test_get_header_gives_all_values_in_order(name: str | bytes) -> None:
    assert get_header(DOCUMENTED, name) == ["bar", "baz", "boom"]
    assert get_header(AS_BYTES, name) == [b"bar", b"baz", b"boom"]


def test_get_header_of_an_absent_field_is_empty() -> None:
    assert get_header(DOCUMENTED, "bar") == []


def test_only_blank_and_tab_are_white_space() -> None:
    assert get_header([(b"a", b"\t x\x0b ,\xa0y ")], "a") == [b"x\x0b", b"\xa0y"]
    assert get_header([("a", "\t x\xa0 ")], "a") == ["x\xa0"]


def test_lookup_survives_names_outside_latin_1() -> None:
    assert get_header([("\u0130d", "x"), ("id", "y")], "id") == ["y"]


def test_strip_removes_known_and_nominated_fields() -> None:
    fields = [
        (b"Connection", b"close, X-Private"),
        (b"x-private", b"1"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"TE", b"trailers"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"h2c"),
        (b"Accept", b"*/*"),
        (b"Accept", b"text/html"),
    ]
    kept = [(b"Accept", b"*/*"), (b"Accept", b"text/html")]
    assert strip_hop_by_hop(fields) == kept
    as_text = [(name.decode(), value.decode()) for name, value in fields]
    assert strip_hop_by_hop(as_text) == [("Accept", "*/*"), ("Accept", "text/html")]


def test_strip_keeps_framing_and_routing_whatever_connection_says() -> None:
    fields = [("Connection", "Content-Length, host"), ("Content-Length", "3"), ("Host", "a")]
    assert strip_hop_by_hop(fields) == [("Content-Length", "3"), ("Host", "a")]


def test_strip_keeps_what_concerns_a_proxy_further_away() -> None:
    fields = [("Proxy-Authenticate", "Basic"), ("Trailer", "Expires")]
    assert strip_hop_by_hop(fields) == fields


def test_nominated_fields_come_from_all_values() -> None:
    assert nominated_fields([b"a , B", b"\tc"]) == {b"a", b"b", b"c"}


def test_hop_by_hop_set_is_of_lower_case_bytes() -> None:
    assert b"connection" in hop_by_hop_hdrs
    assert all(name == name.lower() for name in hop_by_hop_hdrs)
