"""The numbers that messages are held to."""

from __future__ import annotations

import pytest

from thor.http.wire.limits import Limits


def test_defaults_are_those_that_are_documented() -> None:
    limits = Limits()
    assert limits.max_head_bytes == 64 * 1024
    assert limits.max_target_bytes == 8 * 1024
    assert limits.max_field_bytes == 32 * 1024
    assert limits.max_head_fields == 128
    assert limits.max_empty_lines == 4
    assert limits.max_informational == 16
    assert limits.max_chunk_extension_bytes == 4 * 1024
    assert limits.max_chunk_extensions_bytes == 64 * 1024
    assert limits.max_body_bytes is None
    assert limits.fold == "refuse"
    assert limits.refuse_host_mismatch is False


def test_unknown_way_to_treat_folds_is_refused() -> None:
    with pytest.raises(ValueError, match="fold"):
        Limits(fold="ignore")
