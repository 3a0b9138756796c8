"""State that other packages keep for a loop."""

from __future__ import annotations

import os
from collections.abc import Callable

from thor.loop import LoopBase
from thor.loop.local import LoopLocal


class Closing:
    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_local_makes_each_value_once() -> None:
    local = LoopLocal()
    made: list[object] = local.get("list", list)
    assert local.get("list", list) is made
    assert local.get("other", list) is not made


def test_loop_stop_closes_and_drops_values_with_close(loop: LoopBase) -> None:
    value = loop.local.get(Closing, Closing)
    cache: list[int] = loop.local.get("cache", list)
    loop.stop()
    assert value.closed == 1
    assert loop.local.get(Closing, Closing) is not value
    assert loop.local.get("cache", list) is cache


def test_fork_closes_values_in_the_child_only(make_loop: Callable[..., LoopBase]) -> None:
    loop = make_loop()
    value = loop.local.get(Closing, Closing)
    pid = os.fork()
    if not pid:
        os._exit(0 if value.closed == 1 and loop.local.get(Closing, Closing) is not value else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert value.closed == 0
