"""Fixtures of the tests of connections."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tcp_support import PEER_LIMIT_S, Dialler, Party

from thor.loop import LoopBase
from thor.testing import Pair, connection_pair, memory_loop


@pytest.fixture
def memory() -> LoopBase:
    """A loop in memory, with a clock that the test moves."""
    return memory_loop()


@pytest.fixture
def pair(memory: LoopBase) -> Pair:
    """Two connections in memory, joined."""
    return connection_pair(memory)


@pytest.fixture
def dialler(loop: LoopBase) -> Iterator[Dialler]:
    dialler = Dialler(loop)
    yield dialler
    loop.stop()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(PEER_LIMIT_S)
        yield sock


@pytest.fixture
def port(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, nor can: it is bound."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def party(loop: LoopBase) -> Iterator[Party]:
    with ExitStack() as stack:
        yield Party(loop, stack)
    loop.run_once()
