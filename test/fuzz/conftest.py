"""All fuzz tests run on every implementation of the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fuzz_implementations import IMPLEMENTATIONS


@pytest.fixture(params=IMPLEMENTATIONS, autouse=True)
def implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """The implementation in force, by name."""
    with IMPLEMENTATIONS[request.param]():
        yield request.param
