"""The contract of a backend, held against each one that the machine has, and the one in memory."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import kqueue_support
import pytest

import thor.loop
from thor.loop import LoopBase
from thor.loop.factory import choose_backend
from thor.loop.kqueue import KqueuePoller
from thor.loop.poller import ERROR, HANGUP, INTERESTS, MAX_EVENTS, READABLE, WRITABLE, Poller
from thor.testing import MemoryPoller, MemorySocket

MAKERS: dict[str, Callable[[], Poller]] = {
    **{name: choose_backend(name) for name in thor.loop.backends()},
    "memory": MemoryPoller,
    "kqueue on poll": lambda: KqueuePoller(kqueue_support),
}


@pytest.fixture(params=MAKERS)
def backend(request: pytest.FixtureRequest) -> Iterator[Poller]:
    """A poller of each kind."""
    poller = MAKERS[request.param]()
    yield poller
    poller.close()


@pytest.fixture
def pair(backend: Poller) -> Iterator[tuple[Any, Any]]:
    """Two connected sockets for this poller; neither is registered."""
    ends: tuple[Any, Any]
    if isinstance(backend, MemoryPoller):
        first = MemorySocket(backend, "a", None)
        ends = (first, MemorySocket(backend, "b", first))
    else:
        ends = socket.socketpair()
        for each in ends:
            each.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def test_bits_are_those_of_poll(backend: Poller) -> None:
    bits = (READABLE, WRITABLE, ERROR, HANGUP)
    assert bits == (select.POLLIN, select.POLLOUT, select.POLLERR, select.POLLHUP)
    assert INTERESTS == READABLE | WRITABLE


def test_nothing_is_reported_of_an_fd_that_is_quiet(backend: Poller, pair: Any) -> None:
    backend.register(pair[0].fileno(), READABLE)
    assert backend.poll(0.0) == []


def test_what_can_be_read_is_reported_until_it_is(backend: Poller, pair: Any) -> None:
    fd = pair[0].fileno()
    backend.register(fd, READABLE)
    pair[1].send(b"hello")
    assert backend.poll(0.0) == [(fd, READABLE)]
    pair[0].recv(1)
    assert backend.poll(None) == [(fd, READABLE)]
    pair[0].recv(100)
    assert backend.poll(0.0) == []


def test_both_directions_come_as_one_event(backend: Poller, pair: Any) -> None:
    fd = pair[0].fileno()
    backend.register(fd, READABLE | WRITABLE)
    pair[1].send(b"hello")
    assert backend.poll(0.0) == [(fd, READABLE | WRITABLE)]


def test_modifying_changes_what_is_watched(backend: Poller, pair: Any) -> None:
    fd = pair[0].fileno()
    backend.register(fd, 0)
    pair[1].send(b"hello")
    seen = []
    for bits in (0, WRITABLE, READABLE, INTERESTS, 0):
        backend.modify(fd, bits)
        seen.append(backend.poll(0.0))
    assert seen == [[], [(fd, WRITABLE)], [(fd, READABLE)], [(fd, INTERESTS)], []]


def test_unregistered_fd_is_not_reported(backend: Poller, pair: Any) -> None:
    fd = pair[0].fileno()
    backend.register(fd, WRITABLE)
    backend.unregister(fd)
    assert backend.poll(0.0) == []


def test_unregistering_is_silent_about_the_unknown_and_the_closed(
    backend: Poller, pair: Any
) -> None:
    fd = pair[0].fileno()
    backend.unregister(fd)
    backend.register(fd, READABLE)
    pair[0].close()
    backend.unregister(fd)
    backend.unregister(fd)
    assert backend.poll(0.0) == []


def test_modifying_an_unknown_fd_is_an_error(backend: Poller, pair: Any) -> None:
    with pytest.raises((OSError, KeyError)):
        backend.modify(pair[0].fileno(), READABLE)


def test_fd_can_be_registered_again(backend: Poller, pair: Any) -> None:
    fd = pair[0].fileno()
    backend.register(fd, 0)
    backend.unregister(fd)
    backend.register(fd, WRITABLE)
    assert backend.poll(0.0) == [(fd, WRITABLE)]


def test_end_of_a_stream_is_readable(backend: Poller, pair: Any) -> None:
    fd = pair[0].fileno()
    backend.register(fd, READABLE)
    pair[1].shutdown(socket.SHUT_WR)
    ((found, bits),) = backend.poll(0.0)
    assert found == fd
    assert bits & READABLE
    assert not bits & HANGUP


def test_peers_end_wakes_nobody_who_does_not_read(backend: Poller, pair: Any) -> None:
    backend.register(pair[0].fileno(), 0)
    pair[1].shutdown(socket.SHUT_WR)
    assert backend.poll(0.0) == []


def test_end_of_both_directions_is_a_hangup(backend: Poller, pair: Any) -> None:
    fd = pair[0].fileno()
    backend.register(fd, 0)
    pair[0].shutdown(socket.SHUT_WR)
    pair[1].shutdown(socket.SHUT_WR)
    # kqueue tells nothing of an fd that is neither read nor written.
    assert backend.poll(0.0) == ([] if backend.name == "kqueue" else [(fd, HANGUP)])


def test_poller_waits_no_longer_than_it_is_told(backend: Poller) -> None:
    assert backend.poll(0.001) == []


def test_batch_has_a_bound_and_nobody_starves(backend: Poller) -> None:
    """More fds are ready all the time than a batch holds; each is reported before long."""
    count = MAX_EVENTS + 44
    sockets: list[Any] = []
    if isinstance(backend, MemoryPoller):
        sockets = [MemorySocket(backend, ("", n), None) for n in range(count)]
    else:
        sockets = [end for _ in range(count // 2) for end in socket.socketpair()]
    try:
        for sock in sockets:
            backend.register(sock.fileno(), WRITABLE)
        seen: set[int] = set()
        for _ in range(4):
            events = backend.poll(0.0)
            assert len(events) == MAX_EVENTS
            seen.update(fd for fd, _ in events)
        assert len(seen) == count
    finally:
        for sock in sockets:
            backend.unregister(sock.fileno())
            sock.close()


def test_reset_is_told_to_who_reads(poller: str, make_loop: Callable[..., LoopBase]) -> None:
    """Over real TCP: the kernel adds ERROR and HANGUP, whatever was asked for."""
    backend = choose_backend(poller)()
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    with near, far:
        backend.register(near.fileno(), READABLE)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        ((fd, bits),) = backend.poll(5.0)
        assert fd == near.fileno()
        assert bits & READABLE
        backend.unregister(fd)
    backend.close()


def test_closing_frees_the_fd(poller: str) -> None:
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    backend = choose_backend(poller)()
    backend.close()
    after = set(os.listdir("/proc/self/fd")) if before else set()
    assert after == before


# -- which backends there are -------------------------------------------------------------------


def test_backends_present_are_listed_best_first() -> None:
    assert thor.loop.backends()
    assert thor.loop.backends()[-1] == "poll"


def test_backend_is_made_by_its_name(poller: str, make_loop: Callable[..., LoopBase]) -> None:
    loop = make_loop(backend=poller)
    loop.run_once()
    assert loop.fds.poller is not None
    assert loop.fds.poller.name == poller


def test_absent_backend_is_refused_with_a_list_of_those_present() -> None:
    with pytest.raises(ValueError, match=r"'carrier pigeon'.*poll"):
        thor.loop.make(backend="carrier pigeon")


def test_backend_that_the_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll", raising=False)
    assert "epoll" not in thor.loop.backends()
    with pytest.raises(ValueError, match="epoll"):
        thor.loop.make(backend="epoll")


def test_environment_names_the_default_backend(
    monkeypatch: pytest.MonkeyPatch, make_loop: Callable[..., LoopBase]
) -> None:
    loop = make_loop()
    monkeypatch.setenv("THOR_LOOP", "poll")  # read when the loop is first used, not before
    loop.run_once()
    assert loop.fds.poller is not None
    assert loop.fds.poller.name == "poll"


def test_absent_backend_in_the_environment_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, make_loop: Callable[..., LoopBase]
) -> None:
    monkeypatch.setenv("THOR_LOOP", "carrier pigeon")
    loop = make_loop()
    with pytest.raises(ValueError, match="carrier pigeon"):
        loop.run()
    assert not loop.running


def test_without_a_name_the_best_backend_is_taken(
    monkeypatch: pytest.MonkeyPatch, make_loop: Callable[..., LoopBase]
) -> None:
    monkeypatch.delenv("THOR_LOOP", raising=False)
    loop = make_loop()
    loop.run_once()
    assert loop.fds.poller is not None
    assert loop.fds.poller.name == thor.loop.backends()[0]
