"""The tables of a connection's states, and the code that spells them out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from tcp_support import memory_socket

from thor.tcp.state import CLOSED, ENDED, FLUSHING, OPEN, READING, WRITING, State
from thor.testing import Pair, connection_pair, settle

Step = Callable[[Pair], object]


def _stay(pair: Pair) -> None: ...


def _fin(pair: Pair) -> None:
    pair.server.pause(False)
    pair.client.end_writing()
    settle(pair.server.loop)


def _lost(pair: Pair) -> None:
    pair.server.pause(False)
    memory_socket(pair.server).reset()
    settle(pair.server.loop)


def _sent(pair: Pair) -> None:
    memory_socket(pair.client).buffer_bytes = 1000
    settle(pair.server.loop)


def _ended(pair: Pair) -> None:
    pair.server.end_writing()
    settle(pair.server.loop)


def _flushing(pair: Pair) -> None:
    memory_socket(pair.client).buffer_bytes = 0
    pair.server.write(b"x")
    _ended(pair)


#: How the server's side of a pair comes into a state, and what brings an event about.
READING_STATES: dict[State, Step] = {
    OPEN: _stay,
    ENDED: _fin,
    CLOSED: lambda pair: pair.server.close(),
}
READING_EVENTS: dict[str, Step] = {
    "fin": _fin,
    "close": lambda pair: pair.server.close(),
    "lost": _lost,
}
WRITING_STATES: dict[State, Step] = {
    OPEN: _stay,
    FLUSHING: _flushing,
    ENDED: _ended,
    CLOSED: lambda pair: pair.server.abort(),
}
WRITING_EVENTS: dict[str, Step] = {
    "end": lambda pair: pair.server.end_writing(),
    "sent": _sent,
    "lost": _lost,
}


@pytest.fixture
def pair() -> Pair:
    pair = connection_pair()
    pair.server.allow_half_open = True
    return pair


def _id(value: object) -> str:
    return value.name if isinstance(value, State) else str(value)


@pytest.mark.parametrize(("state", "event"), [*product(READING_STATES, READING_EVENTS)], ids=_id)
def test_reading_follows_its_table(pair: Pair, state: State, event: str) -> None:
    READING_STATES[state](pair)
    assert pair.server.read_state is state
    READING_EVENTS[event](pair)
    assert pair.server.read_state is READING.get((state, event), state)


@pytest.mark.parametrize(("state", "event"), [*product(WRITING_STATES, WRITING_EVENTS)], ids=_id)
def test_writing_follows_its_table(pair: Pair, state: State, event: str) -> None:
    WRITING_STATES[state](pair)
    assert pair.server.write_state is state
    WRITING_EVENTS[event](pair)
    assert pair.server.write_state is WRITING.get((state, event), state)


@pytest.mark.parametrize("end", [lambda conn: conn.abort(), lambda conn: conn.loop.stop()])
@pytest.mark.parametrize("state", [OPEN, FLUSHING, ENDED], ids=_id)
def test_abort_and_stop_close_both_directions_from_any_state(
    pair: Pair, state: State, end: Step
) -> None:
    WRITING_STATES[state](pair)
    end(pair.server)  # type: ignore[arg-type]
    assert (pair.server.read_state, pair.server.write_state) == (CLOSED, CLOSED)


def test_every_row_of_the_tables_is_visited() -> None:
    assert set(READING) <= set(product(READING_STATES, READING_EVENTS))
    assert set(WRITING) <= set(product(WRITING_STATES, WRITING_EVENTS))
