"""An fd of the program's own: what it hears, and what never reaches it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import thor.loop
from thor.loop import EventSource, LoopBase
from thor.loop.poller import ERROR, HANGUP, READABLE, WRITABLE
from thor.testing import MemoryPoller, Recorder, memory_loop, settle

EVENTS = ("fd_readable", "fd_writable", "fd_error", "fd_close")


@pytest.fixture
def mem() -> LoopBase:
    return memory_loop()


class Fd:
    """An fd of a memory loop, whose state the test sets."""

    def __init__(self, loop: LoopBase) -> None:
        loop.fds.open()
        assert isinstance(loop.fds.poller, MemoryPoller)
        self.poller = loop.fds.poller
        self.bits = 0
        self.number = self.poller.add(lambda: self.bits)


@pytest.fixture
def fd(mem: LoopBase) -> Fd:
    return Fd(mem)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


def watching(loop: LoopBase, fd: Fd, event: str | None = None) -> tuple[EventSource, Recorder]:
    source = EventSource(loop)
    source.register_fd(fd.number, event)
    return source, Recorder(source, *EVENTS)


# -- over real fds, on each poller --------------------------------------------------------------


def test_readable_is_emitted_each_turn_until_it_was_read(
    loop: LoopBase, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    source = EventSource(loop)
    heard = Recorder(source, *EVENTS)
    source.register_fd(near.fileno(), "fd_readable")
    loop.run_once()
    assert heard.take() == []
    far.send(b"x")
    loop.run_once()
    loop.run_once()
    assert heard.take() == [("fd_readable",), ("fd_readable",)]
    near.recv(1)
    loop.run_once()
    assert heard.take() == []
    source.unregister_fd()


def test_writable_is_emitted_while_it_is_asked_for(
    loop: LoopBase, pair: tuple[socket.socket, socket.socket]
) -> None:
    source = EventSource(loop)
    heard = Recorder(source, *EVENTS)
    source.register_fd(pair[0].fileno())
    loop.run_once()
    source.event_add("fd_writable")
    loop.run_once()
    source.event_del("fd_writable")
    loop.run_once()
    assert heard.take() == [("fd_writable",)]
    source.unregister_fd()


def test_end_of_the_stream_is_readable(
    loop: LoopBase, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    source = EventSource(loop)
    heard = Recorder(source, *EVENTS)
    source.register_fd(near.fileno(), "fd_readable")
    far.close()
    loop.run_once()
    assert heard.take() == [("fd_readable",)]
    assert near.recv(10) == b""
    source.unregister_fd()


def test_pipe_whose_reader_is_gone_ends_once(loop: LoopBase) -> None:
    reader, writer = os.pipe()
    source = EventSource(loop)
    heard = Recorder(source, "fd_error", "fd_close")
    source.register_fd(writer)
    os.close(reader)
    for _ in range(3):
        loop.run_once()
    assert heard.take() == [("fd_error",)]
    assert loop.fd_count() == 0
    os.close(writer)


def test_source_of_no_loop_uses_the_default_one(default_loop: LoopBase) -> None:
    source = EventSource()
    reader, writer = os.pipe()
    source.register_fd(reader)
    assert thor.loop.registered_fd_handlers() == [source]
    source.unregister_fd()
    os.close(reader)
    os.close(writer)


# -- the four events ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interest", "bits", "expected"),
    [
        pytest.param("fd_readable", READABLE, ["fd_readable"], id="readable"),
        pytest.param("fd_writable", WRITABLE, ["fd_writable"], id="writable"),
        pytest.param(None, ERROR, ["fd_error"], id="error"),
        pytest.param(None, HANGUP, ["fd_close"], id="close"),
        pytest.param("fd_error", ERROR | HANGUP, ["fd_error"], id="error-and-close"),
        pytest.param("fd_close", HANGUP, ["fd_close"], id="close-asked-for"),
        pytest.param("fd_writable", WRITABLE | HANGUP, ["fd_writable", "fd_close"], id="no-reader"),
        # Reading finds out, and loses nothing that arrived before.
        pytest.param("fd_readable", READABLE | HANGUP, ["fd_readable"], id="data-before-close"),
        pytest.param("fd_readable", HANGUP, ["fd_close"], id="close-with-nothing-to-read"),
    ],
)
def test_what_is_so_is_emitted(
    mem: LoopBase, fd: Fd, interest: str | None, bits: int, expected: list[str]
) -> None:
    _, heard = watching(mem, fd, interest)
    fd.bits = bits
    mem.run_once()
    assert heard.take() == [(event,) for event in expected]


@pytest.mark.parametrize(("bits", "event"), [(ERROR, "fd_error"), (HANGUP, "fd_close")])
def test_hung_up_fd_does_not_spin(mem: LoopBase, fd: Fd, bits: int, event: str) -> None:
    """The kernel would report it for ever."""
    source, heard = watching(mem, fd)
    fd.bits = bits
    settle(mem)  # fails if the loop does not come to rest
    assert heard.take() == [(event,)]
    assert mem.fd_count() == 0
    source.unregister_fd()


def test_several_interests_are_kept_apart(mem: LoopBase, fd: Fd) -> None:
    source, heard = watching(mem, fd, "fd_readable")
    source.event_add("fd_writable")
    source.event_add("fd_error")
    fd.bits = READABLE | WRITABLE
    mem.run_once()
    source.event_del("fd_readable")
    mem.run_once()
    source.event_del("fd_error")
    mem.run_once()
    assert heard.take() == [
        ("fd_readable",),
        ("fd_writable",),
        ("fd_writable",),
        ("fd_writable",),
    ]


def test_interest_named_before_the_fd_is_known_holds(mem: LoopBase, fd: Fd) -> None:
    source = EventSource(mem)
    heard = Recorder(source, *EVENTS)
    source.event_add("fd_readable")
    source.register_fd(fd.number, "fd_writable")
    fd.bits = READABLE | WRITABLE
    mem.run_once()
    assert heard.take() == [("fd_readable",), ("fd_writable",)]


def test_writable_is_not_emitted_when_reading_took_the_interest_away(mem: LoopBase, fd: Fd) -> None:
    source, heard = watching(mem, fd, "fd_writable")
    source.event_add("fd_readable")
    source.on("fd_readable", lambda: source.event_del("fd_writable"))
    fd.bits = READABLE | WRITABLE
    mem.run_once()
    assert heard.take() == [("fd_readable",)]


def test_nothing_is_emitted_after_reading_unregistered_the_fd(mem: LoopBase, fd: Fd) -> None:
    source, heard = watching(mem, fd, "fd_readable")
    source.event_add("fd_writable")
    source.on("fd_readable", source.unregister_fd)
    fd.bits = READABLE | WRITABLE | HANGUP | ERROR
    settle(mem)
    assert heard.take() == [("fd_readable",)]


# -- misuse -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["event_add", "event_del"])
def test_unknown_event_is_refused(mem: LoopBase, method: str) -> None:
    with pytest.raises(ValueError, match="fd_readible"):
        getattr(EventSource(mem), method)("fd_readible")
    with pytest.raises(ValueError, match="fd_readible"):
        EventSource(mem).register_fd(7, "fd_readible")


def test_fd_belongs_to_one_source(mem: LoopBase, fd: Fd) -> None:
    source, _ = watching(mem, fd)
    with pytest.raises(ValueError, match="another source"):
        EventSource(mem).register_fd(fd.number)
    assert mem.registered_fd_handlers() == [source]


def test_source_has_one_fd(mem: LoopBase, fd: Fd) -> None:
    source, _ = watching(mem, fd)
    with pytest.raises(ValueError, match="already"):
        source.register_fd(Fd(mem).number)
    source.register_fd(fd.number, "fd_readable")
    assert mem.fd_count() == 1


def test_fd_that_is_closed_is_refused(loop: LoopBase) -> None:
    loop.run_once()
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match="descriptor"):
        EventSource(loop).register_fd(reader, "fd_readable")
    assert loop.fd_count() == 0


def test_unregistering_twice_is_harmless(mem: LoopBase, fd: Fd) -> None:
    source, heard = watching(mem, fd, "fd_readable")
    source.unregister_fd()
    source.unregister_fd()
    fd.bits = READABLE
    settle(mem)
    assert heard.take() == []
    source.register_fd(fd.number, "fd_readable")
    mem.run_once()
    assert heard.take() == [("fd_readable",)]


# -- stale events -------------------------------------------------------------------------------


def both_ready(mem: LoopBase) -> tuple[Fd, Fd]:
    first, second = Fd(mem), Fd(mem)
    first.bits = second.bits = READABLE
    return first, second


def test_source_that_another_one_unregistered_hears_nothing(mem: LoopBase) -> None:
    """The event is in the batch already."""
    first, second = both_ready(mem)
    one, _ = watching(mem, first, "fd_readable")
    two, heard = watching(mem, second, "fd_readable")
    one.on("fd_readable", two.unregister_fd)
    mem.run_once()
    assert heard.take() == []


def test_interest_that_another_one_took_away_is_not_told(mem: LoopBase) -> None:
    first, second = both_ready(mem)
    one, _ = watching(mem, first, "fd_readable")
    two, heard = watching(mem, second, "fd_readable")
    one.on("fd_readable", lambda: two.event_del("fd_readable"))
    mem.run_once()
    assert heard.take() == []


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_stale_event_never_reaches_a_new_fd_with_a_reused_number(
    mem: LoopBase, debug: bool
) -> None:
    mem.debug = debug
    first, second = both_ready(mem)
    one, _ = watching(mem, first, "fd_readable")
    two, old = watching(mem, second, "fd_readable")
    new: list[Recorder] = []

    def reuse() -> None:
        """The program closes an fd and opens another, which gets the same number."""
        two.unregister_fd()
        second.bits = 0
        new.append(watching(mem, second, "fd_readable")[1])

    one.once("fd_readable", reuse)
    mem.run_once()
    assert (old.take(), new[0].take()) == ([], [])
    second.bits = READABLE
    mem.run_once()
    assert new[0].take() == [("fd_readable",)]


def test_stale_event_never_reaches_an_fd_that_a_timer_registered(mem: LoopBase) -> None:
    """Timers run after the poll and before the dispatch."""
    fd = Fd(mem)
    fd.bits = READABLE
    source, old = watching(mem, fd, "fd_readable")
    new: list[Recorder] = []

    def reuse() -> None:
        source.unregister_fd()
        fd.bits = 0
        new.append(watching(mem, fd, "fd_readable")[1])

    mem.schedule(0, reuse)
    mem.run_once()
    assert (old.take(), new[0].take()) == ([], [])


def test_reused_numbers_of_the_kernel(
    make_loop: Callable[..., LoopBase], poller: str, pair: tuple[socket.socket, socket.socket]
) -> None:
    """The same with real fds: a pipe takes the number of a socket whose event is in the batch."""
    loop = make_loop(backend=poller)
    sockets = [*socket.socketpair(), *socket.socketpair()]
    heard: list[Any] = []
    sources = {}
    for end in sockets[::2]:
        sources[end] = EventSource(loop)
        sources[end].register_fd(end.fileno(), "fd_readable")
    pipes: list[tuple[int, int]] = []

    def swap(victim: socket.socket) -> None:
        sources[victim].unregister_fd()
        number = victim.fileno()
        victim.close()
        pipes.append(os.pipe())
        assert number in pipes[0]
        late = EventSource(loop)
        late.on("fd_readable", lambda: heard.append("stale")).on("fd_close", heard.append)
        late.register_fd(pipes[0][0], "fd_readable")
        for source in sources.values():
            source.remove_listeners()
            source.unregister_fd()

    sources[sockets[0]].on("fd_readable", lambda: swap(sockets[2]))
    sources[sockets[2]].on("fd_readable", lambda: swap(sockets[0]))
    sockets[1].send(b"x")
    sockets[3].send(b"x")
    loop.run_once()
    loop.run_once()
    assert heard == []
    loop.stop()
    for end in sockets:
        end.close()
    for number in pipes[0]:
        os.close(number)


# -- stopping, failing --------------------------------------------------------------------------


def test_stop_forgets_fds_and_leaves_them_open(
    loop: LoopBase, pair: tuple[socket.socket, socket.socket]
) -> None:
    source = EventSource(loop)
    heard = Recorder(source, *EVENTS)
    source.register_fd(pair[0].fileno(), "fd_writable")
    loop.stop()
    assert loop.fd_count() == 0
    loop.run_once()
    assert heard.take() == []
    source.unregister_fd()
    source.register_fd(pair[0].fileno(), "fd_writable")
    loop.run_once()
    assert heard.take() == [("fd_writable",)]
    source.unregister_fd()
    pair[0].send(b"still open")


def test_what_a_listener_raises_is_told_to_its_source(
    mem: LoopBase, fd: Fd, expected_logs: Any
) -> None:
    told: list[BaseException] = []

    class Telling(EventSource):
        def failed(self, exc: BaseException) -> None:
            told.append(exc)
            self.unregister_fd()

    mem.on_exception = "log"
    source = Telling(mem)
    source.register_fd(fd.number, "fd_readable")
    source.on("fd_readable", lambda: 1 / 0)
    fd.bits = READABLE
    settle(mem)
    assert [type(exc) for exc in told] == [ZeroDivisionError]


def test_source_that_does_not_care_goes_on_when_a_listener_raised(
    mem: LoopBase, fd: Fd, expected_logs: Any
) -> None:
    mem.on_exception = "log"
    source, heard = watching(mem, fd, "fd_readable")
    source.prepend_once_listener("fd_readable", lambda: 1 / 0)
    fd.bits = READABLE
    mem.run_once()
    mem.run_once()
    assert heard.take() == [("fd_readable",)]
