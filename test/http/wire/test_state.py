"""The tables of an exchange's states."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from thor.http.wire.state import (
    CLIENT_READING,
    CLIENT_WRITING,
    SERVER_READING,
    SERVER_WRITING,
    ClientReading,
    ClientWriting,
    Event,
    ServerReading,
    ServerWriting,
)

TABLES: dict[str, tuple[Any, Any, Enum]] = {
    "server reading": (SERVER_READING, ServerReading, ServerReading.HEAD),
    "server writing": (SERVER_WRITING, ServerWriting, ServerWriting.IDLE),
    "client reading": (CLIENT_READING, ClientReading, ClientReading.HEAD),
    "client writing": (CLIENT_WRITING, ClientWriting, ClientWriting.IDLE),
}

PATHS: dict[str, tuple[Any, list[Event], Enum]] = {
    "server answers": (
        SERVER_WRITING,
        [Event.NONFINAL, Event.NONFINAL, Event.START, Event.BODY, Event.BODY, Event.END],
        ServerWriting.DONE,
    ),
    "server upgrades": (SERVER_WRITING, [Event.UPGRADE], ServerWriting.UPGRADED),
    "server reads and reads on": (
        SERVER_READING,
        [Event.START, Event.BODY, Event.END, Event.NEXT],
        ServerReading.HEAD,
    ),
    "client sends": (
        CLIENT_WRITING,
        [Event.START, Event.BODY, Event.END],
        ClientWriting.DONE,
    ),
    "client reads": (
        CLIENT_READING,
        [Event.NONFINAL, Event.START, Event.BODY, Event.END],
        ClientReading.DONE,
    ),
}


@pytest.mark.parametrize(("table", "states", "first"), TABLES.values(), ids=TABLES.keys())
def test_every_state_is_reached_and_known(table: Any, states: Any, first: Enum) -> None:
    reached = {first}
    while True:
        more = {after for (before, _), after in table.items() if before in reached}
        if more <= reached:
            break
        reached |= more
    assert reached == set(states)
    assert {state for state, _ in table} <= set(states)


@pytest.mark.parametrize(("table", "states", "first"), TABLES.values(), ids=TABLES.keys())
def test_failure_is_final_and_possible_until_the_end(table: Any, states: Any, first: Enum) -> None:
    assert not [state for state, _ in table if state is states.FAILED]
    assert table[first, Event.FAIL] is states.FAILED
    assert table[states.BODY, Event.FAIL] is states.FAILED


@pytest.mark.parametrize(("table", "events", "last"), PATHS.values(), ids=PATHS.keys())
def test_usual_path(table: Any, events: list[Event], last: Enum) -> None:
    state = next(iter(table))[0]
    for event in events:
        state = table[state, event]
    assert state is last


@pytest.mark.parametrize(
    ("table", "state", "event"),
    [
        (SERVER_WRITING, ServerWriting.IDLE, Event.BODY),
        (SERVER_WRITING, ServerWriting.IDLE, Event.END),
        (SERVER_WRITING, ServerWriting.BODY, Event.START),
        (SERVER_WRITING, ServerWriting.BODY, Event.NONFINAL),
        (SERVER_WRITING, ServerWriting.DONE, Event.BODY),
        (SERVER_WRITING, ServerWriting.UPGRADED, Event.BODY),
        (SERVER_READING, ServerReading.BODY, Event.NEXT),
        (CLIENT_WRITING, ClientWriting.DONE, Event.BODY),
        (CLIENT_READING, ClientReading.BODY, Event.NONFINAL),
        (CLIENT_READING, ClientReading.DONE, Event.BODY),
    ],
)
def test_what_is_out_of_order_is_not_in_the_table(table: Any, state: Enum, event: Event) -> None:
    assert (state, event) not in table
