"""`thor.loop` itself: the namespace of the default loop."""

from __future__ import annotations

from typing import Any

import pytest

import thor
import thor.loop
from thor.loop import LoopBase
from thor.testing import memory_loop


@pytest.fixture
def mem(monkeypatch: pytest.MonkeyPatch) -> LoopBase:
    """A memory loop in the place of the default one."""
    loop = memory_loop()
    monkeypatch.setattr(thor.loop, "_loop", loop)
    return loop


def test_package_has_them_too(mem: LoopBase) -> None:
    heard: list[str] = []
    thor.schedule(0, heard.append, "fired")
    thor.schedule(1, thor.stop)
    thor.run()
    assert heard == ["fired"]


def test_start_and_stop_can_be_listened_for(mem: LoopBase) -> None:
    heard: list[str] = []
    thor.loop.on("start", lambda: heard.append("start"))
    thor.loop.on("stop", lambda: heard.append("stop"))
    thor.loop.schedule(0, thor.loop.stop)
    thor.loop.run()
    assert heard == ["start", "stop"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("debug", True),
        ("precision", 0.25),
        ("on_exception", "log"),
        ("slow_callback_s", 3.0),
        ("debug_out", print),
    ],
)
def test_what_is_assigned_goes_to_the_default_loop(mem: LoopBase, name: str, value: Any) -> None:
    setattr(thor.loop, name, value)
    assert getattr(mem, name) == value
    assert getattr(thor.loop, name) == value
    assert name not in vars(thor.loop)


def test_running_cannot_be_assigned(mem: LoopBase) -> None:
    with pytest.raises(AttributeError, match="read-only"):
        thor.loop.running = True
    assert thor.loop.running is False


@pytest.mark.parametrize(
    "name",
    ["run_in_loop", "run_in_thread", "run_once", "fd_count", "registered_fd_handlers", "emit"],
)
def test_everything_that_a_loop_has_is_there(mem: LoopBase, name: str) -> None:
    assert getattr(thor.loop, name) == getattr(mem, name)


def test_unknown_name_is_an_error_that_names_the_module(mem: LoopBase) -> None:
    with pytest.raises(AttributeError, match=r"module 'thor.loop' has no attribute 'runn'"):
        thor.loop.runn  # type: ignore[attr-defined]


def test_other_names_are_the_modules_own(mem: LoopBase) -> None:
    thor.loop.something = 1  # type: ignore[attr-defined]
    try:
        assert not hasattr(mem, "something")
        assert thor.loop.something == 1  # type: ignore[attr-defined]
    finally:
        del thor.loop.something  # type: ignore[attr-defined]


def test_decorator_listens_to_the_namespaces_loop(mem: LoopBase) -> None:
    heard: list[str] = []

    @thor.events.on(thor.loop)  # type: ignore[arg-type]
    def start() -> None:
        heard.append("start")

    thor.loop.schedule(0, thor.loop.stop)
    thor.loop.run()
    assert heard == ["start"]
