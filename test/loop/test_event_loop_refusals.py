"""What a loop does when the kernel refuses: descriptors, watches, memory."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from loop_support import ready_source

from thor.loop import EventSource, LoopBase
from thor.loop.epoll import EpollPoller
from thor.loop.wakeup import Wakeup
from thor.testing import MemoryPoller, Recorder, connection_pair, memory_loop, settle
from thor_support import open_fds


def no_memory(*_: Any) -> None:
    raise OSError(errno.ENOMEM, "cannot allocate memory")


def test_loop_that_cannot_watch_its_wake_up_opens_nothing_and_can_be_used_later(
    make_loop: Callable[..., LoopBase], poller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = make_loop(backend=poller)
    before = open_fds()
    made: list[Any] = []

    class Refused(Wakeup):
        def __init__(self, on_wakeup: Callable[[], None]) -> None:
            Wakeup.__init__(self, on_wakeup)
            made.append(self)

        def fileno(self) -> int:
            raise OSError(errno.ENOSPC, "no more watches")

    with monkeypatch.context() as patch:
        patch.setattr("thor.loop.fd_registry.Wakeup", Refused)
        with pytest.raises(OSError, match="watches"):
            loop.run_once()
    assert len(made) == 1
    assert made[0]._reader.fileno() == -1
    assert open_fds() == before
    loop.run_once()


def test_loop_without_descriptors_opens_nothing_and_can_be_used_later(
    make_loop: Callable[..., LoopBase], poller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = make_loop(backend=poller)
    before = open_fds()

    def none_left(_: Any) -> Any:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("thor.loop.fd_registry.Wakeup", none_left)
        with pytest.raises(OSError, match="open files"):
            loop.run_once()
    assert open_fds() == before
    loop.run_once()


def test_source_that_cannot_be_watched_has_failed(
    monkeypatch: pytest.MonkeyPatch, expected_logs: Any
) -> None:
    """kqueue can be out of memory; nobody may wait for what is not watched."""
    loop = memory_loop()
    loop.on_exception = "log"
    heard = Recorder(loop, "error")
    told: list[BaseException] = []

    class Source(EventSource):
        def failed(self, exc: BaseException) -> None:
            told.append(exc)

    source = Source(loop)
    fd = loop.fds.make_poller().add(lambda: 0)  # type: ignore[attr-defined]
    source.register_fd(fd)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryPoller, "modify", no_memory)
        source.event_add("fd_readable")
        assert told == []  # a method never emits
        settle(loop)
    [(_, exc)] = heard.take()
    assert told == [exc]
    assert exc.errno == errno.ENOMEM


def test_connection_that_cannot_be_watched_is_reset(
    monkeypatch: pytest.MonkeyPatch, expected_logs: Any
) -> None:
    loop = memory_loop()
    loop.on_exception = "log"
    pair = connection_pair(loop)
    heard = Recorder(pair.server, "close", "disconnect")
    with monkeypatch.context() as patch:
        patch.setattr(MemoryPoller, "modify", no_memory)
        pair.server.pause(False)
        settle(loop)
    assert heard.take() == [("disconnect",)]
    pair.client.abort()
    settle(loop)


def test_source_whose_fd_was_closed_is_misuse() -> None:
    loop = memory_loop()
    source = ready_source(loop, lambda: None)
    loop.fds.make_poller().remove(source._fd)  # type: ignore[attr-defined]
    with pytest.raises(OSError):
        source.event_add("fd_writable")


def test_epoll_that_is_closed_says_so() -> None:
    """What the loop relies on when it gives up a poller that it could not use."""
    poller = EpollPoller()
    poller.close()
    with pytest.raises(ValueError, match="closed"):
        poller.poll(0)
