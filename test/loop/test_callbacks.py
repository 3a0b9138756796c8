"""What a callback raises, and how slow it is: who hears of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from thor.loop import LoopBase, make
from thor.loop.callbacks import SLOW_CALLBACK_S
from thor.loop.poller import READABLE
from thor.testing import ManualClock, MemoryPoller, connection_pair, memory_loop, settle


@pytest.fixture
def mem() -> LoopBase:
    return memory_loop()


class Owner:
    """An object with a callback that raises, and that is told so."""

    def __init__(self) -> None:
        self.told: list[BaseException] = []

    def callback(self) -> None:
        raise KeyError("oops")

    def failed(self, exc: BaseException) -> None:
        self.told.append(exc)

    def flush(self) -> None:
        self.callback()


#: How to have a loop call an owner, one way for each stage of a turn.
WAYS: dict[str, Callable[[LoopBase, Owner], object]] = {
    "timer": lambda loop, owner: loop.schedule(0, owner.callback),
    "soon": lambda loop, owner: loop.call_soon(owner.callback),
    "run_in_loop": lambda loop, owner: loop.run_in_loop(owner.callback),
    "flush": lambda loop, owner: loop.to_flush.append(owner),
}


# -- exceptions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_what_a_callback_raises_is_logged_told_and_emitted_and_the_loop_goes_on(
    mem: LoopBase, expected_logs: Any, way: str, debug: bool
) -> None:
    mem.on_exception = "log"
    mem.debug = debug
    owner, heard, emitted = Owner(), list[str](), list[BaseException]()
    mem.on("error", emitted.append)
    WAYS[way](mem, owner)
    mem.schedule(0, heard.append, "timer")
    mem.call_soon(heard.append, "soon")
    mem.run_once()
    assert sorted(heard) == ["soon", "timer"]
    assert [str(exc) for exc in owner.told] == ["'oops'"]
    assert emitted == owner.told
    (record,) = expected_logs.records
    assert (record.name, record.levelname) == ("thor.loop", "ERROR")
    assert "KeyError('oops')" in record.getMessage()
    assert record.exc_info[1] is owner.told[0]
    assert record.exc_info[1].__traceback__ is not None


def test_log_names_the_callback_and_its_owner(mem: LoopBase, expected_logs: Any) -> None:
    mem.on_exception = "log"
    owner = Owner()
    mem.schedule(0, owner.callback)
    mem.schedule(0, lambda: 1 / 0)
    settle(mem)
    assert "Owner.callback of <" in expected_logs.messages[0]
    assert "<lambda>" in expected_logs.messages[1]


@pytest.mark.parametrize("way", WAYS)
def test_with_raise_it_comes_out_of_run_and_is_told_all_the_same(mem: LoopBase, way: str) -> None:
    mem.on_exception = "raise"
    owner = Owner()
    WAYS[way](mem, owner)
    mem.schedule(5, print)
    with pytest.raises(KeyError, match="oops"):
        mem.run()
    assert not mem.running
    assert len(owner.told) == 1
    assert len(mem.scheduled_events()) == 1


def test_default_is_to_log() -> None:
    assert make().on_exception == "log"


def test_listener_of_a_source_that_raises_in_raise_mode_comes_out_of_run(
    mem: LoopBase,
) -> None:
    _, server = pair = connection_pair(mem)
    server.on("data", lambda data: 1 / 0)
    server.pause(False)
    pair.client.write(b"x")
    with pytest.raises(ZeroDivisionError):
        settle(mem)


def test_connection_whose_listener_raised_is_reset(mem: LoopBase, expected_logs: Any) -> None:
    mem.on_exception = "log"
    client, server = connection_pair(mem)
    server.on("data", lambda data: 1 / 0)
    server.pause(False)
    client.write(b"x")
    settle(mem)
    assert not server.tcp_connected
    assert not client.tcp_connected


def test_error_listener_that_raises_is_logged_too(mem: LoopBase, expected_logs: Any) -> None:
    mem.on_exception = "log"
    mem.on("error", lambda exc: dict[str, str]()["another"])
    mem.schedule(0, lambda: 1 / 0)
    settle(mem)
    assert len(expected_logs.messages) == 2
    assert "error event" in expected_logs.messages[1]


def test_failed_that_raises_is_logged_and_the_loop_goes_on(
    mem: LoopBase, expected_logs: Any
) -> None:
    class Hopeless(Owner):
        def failed(self, exc: BaseException) -> None:
            raise RuntimeError("hopeless")

    mem.on_exception = "log"
    heard: list[str] = []
    mem.schedule(0, Hopeless().callback)
    mem.schedule(0, heard.append, "other")
    settle(mem)
    assert heard == ["other"]
    assert "hopeless" in expected_logs.messages[1]


def test_start_and_stop_listeners_that_raise_do_not_keep_the_loop_from_running(
    mem: LoopBase, expected_logs: Any
) -> None:
    mem.on_exception = "log"
    heard: list[str] = []
    mem.on("start", lambda: 1 / 0).on("stop", lambda: 1 / 0)
    mem.schedule(1, heard.append, "timer")
    mem.schedule(2, mem.stop)
    mem.run()
    assert heard == ["timer"]
    assert len(expected_logs.messages) == 2


# -- debug --------------------------------------------------------------------------------------


class Debugged:
    """A memory loop in debug mode, with what it reported."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.loop = make(backend=MemoryPoller(self.clock), clock=self.clock)
        self.loop.on_exception = "raise"
        self.loop.debug = True
        self.reports: list[tuple[str, Any]] = []
        self.loop.debug_out = lambda *args: self.reports.append(args)  # type: ignore[method-assign]

    def slow(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)


@pytest.fixture
def debugged() -> Debugged:
    return Debugged()


def test_slow_callback_is_reported_with_its_name_duration_and_profile(
    debugged: Debugged,
) -> None:
    debugged.loop.schedule(0, debugged.slow, 1.25)
    settle(debugged.loop)
    ((message, profile),) = debugged.reports
    assert "Debugged.slow" in message
    assert "1.250 s" in message
    assert {entry.code.co_name for entry in profile.getstats() if hasattr(entry.code, "co_name")}


@pytest.mark.parametrize(
    ("seconds", "reported"),
    [(0.0, False), (SLOW_CALLBACK_S / 2, False), (SLOW_CALLBACK_S * 2, True)],
)
def test_only_what_is_slower_than_the_threshold_is_reported(
    debugged: Debugged, seconds: float, reported: bool
) -> None:
    debugged.loop.schedule(0, debugged.slow, seconds)
    settle(debugged.loop)
    assert bool(debugged.reports) is reported


def test_threshold_can_be_set(debugged: Debugged) -> None:
    debugged.loop.slow_callback_s = 10
    debugged.loop.schedule(0, debugged.slow, 9)
    debugged.loop.schedule(0, debugged.slow, 11)
    settle(debugged.loop)
    assert len(debugged.reports) == 1


@pytest.mark.parametrize("way", ["timer", "soon", "run_in_loop", "fd"])
def test_slow_callbacks_of_every_kind_are_reported(debugged: Debugged, way: str) -> None:
    loop, owner = debugged.loop, Owner()
    if way == "fd":
        client, server = connection_pair(loop)
        server.on("data", lambda data: debugged.slow())
        server.pause(False)
        client.write(b"x")
    else:
        owner.callback = debugged.slow  # type: ignore[method-assign]
        WAYS[way](loop, owner)
    settle(loop)
    assert len(debugged.reports) == 1


def test_slow_callback_that_raises_is_no_less_an_error(debugged: Debugged) -> None:
    def slow_failure() -> None:
        debugged.slow()
        raise KeyError("oops")

    debugged.loop.schedule(0, slow_failure)
    with pytest.raises(KeyError, match="oops"):
        settle(debugged.loop)


def test_without_debug_nothing_is_timed(debugged: Debugged) -> None:
    debugged.loop.debug = False
    debugged.loop.schedule(0, debugged.slow)
    settle(debugged.loop)
    assert debugged.reports == []


def test_by_default_reports_are_written_to_stderr(
    debugged: Debugged, capsys: pytest.CaptureFixture[str]
) -> None:
    del debugged.loop.debug_out
    debugged.loop.schedule(0, debugged.slow)
    settle(debugged.loop)
    written = capsys.readouterr()
    assert written.out == ""
    assert "slow callback" in written.err
    assert "advance" in written.err  # the profile's table


def test_debug_works_beside_a_profiler_of_the_programs_own(debugged: Debugged) -> None:
    calls: list[str] = []
    sys.setprofile(lambda frame, event, arg: calls.append(event))
    try:
        debugged.loop.schedule(0, debugged.slow)
        settle(debugged.loop)
    finally:
        sys.setprofile(None)
    assert len(debugged.reports) == 1


def test_debug_changes_nothing_of_what_sources_hear(mem: LoopBase) -> None:
    mem.debug = True
    heard: list[int] = []

    class Source:
        def on_ready(self, bits: int) -> None:
            heard.append(bits)

    mem.fds.open()
    assert isinstance(mem.fds.poller, MemoryPoller)
    fd = mem.fds.poller.add(lambda: READABLE)
    mem.fds.register(fd, Source(), READABLE)  # type: ignore[arg-type]
    mem.run_once()
    assert heard == [READABLE]
