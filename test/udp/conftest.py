"""Fixtures of the tests of endpoints."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from udp_support import Bench, Names

from thor.loop import LoopBase


@pytest.fixture
def bench(loop: LoopBase) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(loop, stack)
    loop.run_once()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    return names
