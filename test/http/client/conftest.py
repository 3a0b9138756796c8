"""The stage of the client's tests; what a test leaves on it fails the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client_support import Feed, Stage


@pytest.fixture
def make_stage() -> Iterator[Callable[..., Stage]]:
    """`make_stage(**settings)`: a network with a client of these settings."""
    made: list[Stage] = []

    def make(**settings: Any) -> Stage:
        made.append(Stage(**settings))
        return made[-1]

    yield make
    left = [item for stage in made for item in stage.leftovers()]
    for stage in made:
        stage.loop.stop()
    assert not left, f"left over: {left}"


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    """A network with a client of default settings."""
    return make_stage()


@pytest.fixture(params=["whole", "bytewise", "lines"])
def feed(request: pytest.FixtureRequest) -> Feed:
    """Ways to cut what the origin sends."""
    if request.param == "whole":
        return lambda peer, data: peer.send(data)
    if request.param == "bytewise":
        return lambda peer, data: peer.send_bytewise(data)
    return lambda peer, data: [
        peer.send(line) for line in data.splitlines(keepends=True) if not peer.closed
    ]
