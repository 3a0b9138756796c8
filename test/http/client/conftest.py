"""The stage of the client's tests; what a test leaves on it fails the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client_support import ClientHarness


@pytest.fixture
def make_harness() -> Iterator[Callable[..., ClientHarness]]:
    """`make_harness(**settings)`: a network with a client of these settings."""
    made: list[ClientHarness] = []

    def make(**settings: Any) -> ClientHarness:
        made.append(ClientHarness(**settings))
        return made[-1]

    yield make
    left = [item for stage in made for item in stage.leftovers()]
    for stage in made:
        stage.loop.stop()
    assert not left, f"left over: {left}"


@pytest.fixture
def stage(make_harness: Callable[..., ClientHarness]) -> ClientHarness:
    """A network with a client of default settings."""
    return make_harness()
