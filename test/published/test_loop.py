"""What the published documentation says of the loop."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from published_support import documents

import thor
from thor.testing import advance, memory_loop, settle
from thor_support import host_and_port


@documents("thor.loop.make ( precision )")
def test_make_returns_a_loop_of_ones_own_with_all_that_the_namespace_has() -> None:
    loop = thor.loop.make(0.5)
    for name in ("run", "stop", "schedule", "time", "running", "debug", "on"):
        assert hasattr(loop, name)
        assert hasattr(thor.loop, name)
    assert thor.loop.make() is not thor.loop.make()


def test_a_precision_has_timers_run_together() -> None:
    loop = thor.loop.make(0.5, clock=(clock := memory_loop().clock))
    fired: list[str] = []
    loop.schedule(0.1, fired.append, "a")
    loop.schedule(0.4, fired.append, "b")
    loop.schedule(2, fired.append, "c")
    clock.advance(0.1)  # type: ignore[attr-defined]
    loop.run_once()
    assert fired == ["a", "b"]
    loop.stop()


@documents("thor.loop.run ()")
def test_what_was_scheduled_before_run_fires_when_it_runs() -> None:
    fired: list[str] = []
    thor.loop.schedule(0, fired.append, "scheduled")
    thor.loop.schedule(0, thor.loop.stop)
    assert fired == []
    thor.loop.run()
    assert fired == ["scheduled"]


@documents("thor.loop.stop ()")
def test_stop_clears_what_is_scheduled_and_forgets_descriptors() -> None:
    fired: list[str] = []
    server = thor.TcpServer("127.0.0.1", 0)
    thor.loop.schedule(0, thor.loop.stop)
    thor.loop.schedule(0.01, fired.append, "never")
    thor.loop.run()
    assert (thor.loop.scheduled_events(), thor.loop.fd_count()) == ([], 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(host_and_port(server), timeout=5)
    thor.loop.schedule(0, thor.loop.stop)
    thor.loop.run()
    assert fired == []


@documents("thor.loop.schedule ( delta, callback, arg, ... )")
def test_schedule_calls_with_arguments_and_its_object_can_be_deleted() -> None:
    loop = memory_loop()
    fired: list[tuple[str, str]] = []
    loop.schedule(2, lambda *args: fired.append(args), "a", "b")
    loop.schedule(1, fired.append, ("never", "")).delete()
    advance(loop, 1.9)
    assert fired == []
    advance(loop, 0.2)
    assert fired == [("a", "b")]


@documents("thor.loop.time ()")
def test_time_is_the_unix_time_and_costs_one_reading_a_turn() -> None:
    loop = memory_loop()
    readings: list[float] = []
    wall = loop.clock.time()

    def read_twice() -> None:
        readings.append(loop.time())
        loop.clock.advance(5)  # type: ignore[attr-defined]
        readings.append(loop.time())

    loop.schedule(0, read_twice)
    settle(loop)
    assert readings == [wall, wall]


@documents("thor.loop.running")
def test_running_is_true_while_the_loop_runs() -> None:
    seen: list[bool] = []
    thor.loop.schedule(0, lambda: seen.append(thor.loop.running))
    thor.loop.schedule(0, thor.loop.stop)
    assert thor.loop.running is False
    thor.loop.run()
    assert seen == [True]
    assert thor.loop.running is False


@documents("thor.loop.debug")
def test_debug_warns_on_stderr_of_a_callback_that_blocks(capsys: Any) -> None:
    assert thor.loop.debug is False
    loop = memory_loop()
    loop.debug = True

    def block() -> None:
        loop.clock.advance(1)  # type: ignore[attr-defined]

    loop.schedule(0, block)
    settle(loop)
    assert "block" in capsys.readouterr().err


def test_debug_is_forwarded_to_the_default_loop_on_assignment() -> None:
    thor.loop.debug = True
    assert thor.loop._loop.debug is True


@documents("event 'start'", "event 'stop'")
def test_the_loop_emits_start_and_stop_around_its_run() -> None:
    heard: list[tuple[str, bool]] = []
    loop = thor.loop.make()
    loop.on("start", lambda: heard.append(("start", loop.running)))
    loop.on("stop", lambda: heard.append(("stop", loop.running)))
    loop.schedule(0, lambda: heard.append(("in between", loop.running)))
    loop.schedule(0, loop.stop)
    loop.run()
    assert [event for event, _ in heard] == ["start", "in between", "stop"]
    assert heard[-1] == ("stop", False)
