"""What programs import from `thor.http.common`."""

from __future__ import annotations

import pytest

from thor.http import common, headers


@pytest.mark.parametrize(
    "name", ["get_header", "header_dict", "header_names", "hop_by_hop_hdrs", "strip_hop_by_hop"]
)
def test_helper_is_the_one_of_headers(name: str) -> None:
    assert getattr(common, name) is getattr(headers, name)


def test_safe_methods_are_idempotent() -> None:
    assert common.safe_methods < common.idempotent_methods
    assert b"PUT" in common.idempotent_methods
    assert b"PUT" not in common.safe_methods
    assert b"POST" not in common.idempotent_methods


@pytest.mark.parametrize("status", [b"100", b"101", b"103", b"204", b"304"])
def test_status_without_body(status: bytes) -> None:
    assert status in common.no_body_status


def test_other_statuses_have_a_body() -> None:
    assert not common.no_body_status & {b"200", b"205", b"206", b"404"}
