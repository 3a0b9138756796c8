"""Contexts that the clients of a loop share."""

from __future__ import annotations

import gc
import ssl
import threading
import weakref
from typing import Any

import pytest
from tls_support import TLS13

import thor.loop
import thor_support
from thor.loop import LoopBase
from thor.tls import context_cache
from thor.tls.context_cache import ContextKey, shared_context
from thor_support import run_loop

PLAIN = ContextKey(False, (), None)


class Asking:
    """Asks for contexts."""

    def __init__(self, loop: LoopBase) -> None:
        self.loop = loop
        self.got: list[Any] = []

    def ask(self, settings: Any = PLAIN) -> None:
        shared_context(self.loop, settings, self.got.append)

    def wait(self, count: int = 1) -> list[Any]:
        run_loop(self.loop, lambda: len(self.got) >= count)
        return self.got


@pytest.fixture
def asking(loop: LoopBase) -> Asking:
    return Asking(loop)


def test_context_is_made_in_a_thread_and_kept(asking: Asking) -> None:
    asking.ask()
    assert asking.got == []
    [made] = asking.wait()
    assert isinstance(made, ssl.SSLContext)
    asking.ask()
    assert asking.got == [made, made]  # at once


def test_those_who_ask_meanwhile_get_the_same(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    make = context_cache._make

    def count(settings: Any) -> ssl.SSLContext:
        made.append(settings)
        return make(settings)

    monkeypatch.setattr(context_cache, "_make", count)
    asking.ask()
    asking.ask()
    assert len({id(context) for context in asking.wait(2)}) == 1
    assert made == [PLAIN]


def test_settings_that_differ_make_different_ones(asking: Asking) -> None:
    for settings in (
        PLAIN,
        ContextKey(False, ("h2",), None),
        ContextKey(False, (), TLS13),
        ContextKey(True, (), None),
    ):
        asking.ask(settings)
    found = asking.wait(4)
    assert len({id(context) for context in found}) == 4
    assert {context.verify_mode for context in found} == {ssl.CERT_NONE, ssl.CERT_REQUIRED}
    assert [c.minimum_version for c in found].count(TLS13) == 1


def test_failure_is_told_to_all_and_not_kept(asking: Asking) -> None:
    wrong = ContextKey(False, ("",), None)
    asking.ask(wrong)
    asking.ask(wrong)
    assert [type(exc) for exc in asking.wait(2)] == [ssl.SSLError, ssl.SSLError]
    asking.ask(wrong)
    assert len(asking.wait(3)) == 3


def test_after_the_loop_was_stopped_it_is_made_anew(asking: Asking) -> None:
    asking.ask()
    asking.loop.stop()
    assert asking.got == []
    asking.ask()
    assert len(asking.wait()) == 1


def test_they_go_with_the_loop() -> None:
    loop = thor.loop.make()
    asking = Asking(loop)
    asking.ask()
    asking.wait()
    gone = weakref.ref(asking.got.pop())
    loop.stop()
    thor_support.other_threads([threading.main_thread()])  # those of the loop hold it
    del loop, asking
    gc.collect()
    assert gone() is None
