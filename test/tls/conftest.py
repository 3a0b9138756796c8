"""Fixtures of the tests of TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tls_support import Meeting, SecurePair, meeting, secure_pair

from thor.loop import LoopBase
from thor.testing import memory_loop


@pytest.fixture
def memory() -> LoopBase:
    """A loop in memory, with a clock that the test moves."""
    return memory_loop()


@pytest.fixture
def pair(memory: LoopBase) -> Iterator[SecurePair]:
    """Two connections in memory that have shaken hands."""
    pair = secure_pair(memory)
    yield pair
    pair.end()


@pytest.fixture
def served(loop: LoopBase) -> Iterator[Meeting]:
    """A server on the loopback interface, and clients of it."""
    with meeting(loop) as found:
        yield found
