"""Looking names up: in a thread, once for all who ask, for a while."""

from __future__ import annotations

import gc
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thor import dns
from thor.loop import LoopBase
from thor.testing import ManualClock
from thor_support import run_loop

STREAM = socket.SOCK_STREAM
V4, V6 = socket.AF_INET, socket.AF_INET6


class Resolver:
    """A `getaddrinfo` that knows what the test tells it, and answers while `open` is set."""

    def __init__(self) -> None:
        self.real = socket.getaddrinfo
        self.known: dict[bytes, Any] = {}
        self.asked: list[bytes] = []
        self.threads: list[threading.Thread] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(
        self, host: Any, port: Any, family: int, kind: int, proto: int, flags: int
    ) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:
            return self.real(host, port, family, kind, proto, flags)
        self.asked.append(host)
        self.threads.append(threading.current_thread())
        assert self.open.wait(10)
        found = self.known.get(host, socket.gaierror(socket.EAI_NONAME, "unknown"))
        if isinstance(found, BaseException):
            raise found
        return [(V4, kind, 6, "", (ip, 0)) for ip in found]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    resolver.known[b"a.test"] = ["192.0.2.1", "192.0.2.2"]
    yield resolver
    resolver.open.set()


def look_up(loop: LoopBase, host: Any, port: Any = 80) -> Any:
    """Look up a name, and run the loop until the answer is there."""
    answers: list[Any] = []
    dns.lookup(loop, host, port, STREAM, answers.append)
    run_loop(loop, lambda: answers)
    return answers[0]


def rows(*ips: str, port: int = 80) -> list[Any]:
    return [(V4, STREAM, 6, "", (ip, port)) for ip in ips]


# -- answers -------------------------------------------------------------------------------------


def _unexpected(answer: object) -> None:
    pytest.fail(f"called with {answer!r}")


def test_name_is_looked_up_off_the_loops_thread(loop: LoopBase, resolver: Resolver) -> None:
    assert look_up(loop, "a.test") == rows("192.0.2.1", "192.0.2.2")
    assert resolver.threads[0] is not threading.current_thread()


def test_systems_resolver_is_asked(loop: LoopBase) -> None:
    """/etc/hosts has it."""
    answer = look_up(loop, "localhost", 8080)
    assert {row[4][:2] for row in answer} <= {("127.0.0.1", 8080), ("::1", 8080)}
    assert answer


@pytest.mark.parametrize(
    ("host", "family", "address"),
    [
        pytest.param("192.0.2.7", V4, ("192.0.2.7", 80), id="IPv4"),
        pytest.param(b"192.0.2.7", V4, ("192.0.2.7", 80), id="bytes"),
        pytest.param("2001:DB8::7", V6, ("2001:db8::7", 80, 0, 0), id="IPv6"),
        pytest.param("127.1", V4, ("127.0.0.1", 80), id="short"),
        pytest.param("0x7f000001", V4, ("127.0.0.1", 80), id="hex"),
    ],
)
def test_literal_address_needs_no_thread(
    loop: LoopBase, resolver: Resolver, host: Any, family: int, address: Any
) -> None:
    assert look_up(loop, host) == [(family, STREAM, 6, "", address)]
    assert resolver.threads == []


@pytest.mark.parametrize("host", ["192.0.2.7", "a.test", "", "unknown.test"])
def test_callback_is_never_called_from_inside_the_call(
    loop: LoopBase, resolver: Resolver, host: str
) -> None:
    answers: list[Any] = []
    for _ in range(2):  # the second time from the cache
        dns.lookup(loop, host, 80, STREAM, answers.append)
        assert answers == []
        run_loop(loop, lambda: answers)
        answers.clear()


@pytest.mark.parametrize(
    ("host", "error", "code"),
    [
        pytest.param("unknown.test", socket.gaierror, socket.EAI_NONAME, id="unknown"),
        pytest.param("", socket.gaierror, socket.EAI_NONAME, id="empty"),
        pytest.param(b"", socket.gaierror, socket.EAI_NONAME, id="empty bytes"),
        pytest.param("a\0b", socket.gaierror, socket.EAI_NONAME, id="NUL"),
        pytest.param(b"\xff.test", socket.gaierror, socket.EAI_NONAME, id="no UTF-8"),
        pytest.param("\u00fc" * 80, socket.gaierror, socket.EAI_NONAME, id="label too long"),
        pytest.param("broken.test", OSError, 5, id="system error"),
        pytest.param("odd.test", socket.gaierror, socket.EAI_NONAME, id="any other exception"),
    ],
)
def test_failures_are_answers_too(
    loop: LoopBase, resolver: Resolver, host: Any, error: type[OSError], code: int
) -> None:
    resolver.known[b"broken.test"] = OSError(5, "I/O error")
    resolver.known[b"odd.test"] = UnicodeError("odd")
    answer = look_up(loop, host)
    assert (type(answer), answer.errno) == (error, code)


def test_name_that_no_thread_can_lookup_is_one_to_try_again(
    loop: LoopBase, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        answer = look_up(loop, "a.test")
    assert (type(answer), answer.errno) == (socket.gaierror, socket.EAI_AGAIN)
    assert look_up(loop, "a.test") == rows("192.0.2.1", "192.0.2.2")


def test_name_without_an_address_is_none(loop: LoopBase, resolver: Resolver) -> None:
    resolver.known[b"empty.test"] = []
    answer = look_up(loop, "empty.test")
    assert (type(answer), answer.errno) == (socket.gaierror, socket.EAI_NONAME)


def test_names_are_asked_for_in_ascii_and_lower_case(loop: LoopBase, resolver: Resolver) -> None:
    resolver.known[b"xn--bcher-kva.test"] = resolver.known[b"a.test"]
    assert look_up(loop, "B\u00fccher.Test") == rows("192.0.2.1", "192.0.2.2")
    assert look_up(loop, "b\u00fccher.test".encode()) == rows("192.0.2.1", "192.0.2.2")
    assert resolver.asked == [b"xn--bcher-kva.test"]


def test_wrong_types_and_ports_raise_at_the_call(loop: LoopBase) -> None:
    hear: Callable[[Any], None] = lambda answer: None  # noqa: E731
    with pytest.raises(TypeError):
        dns.lookup(loop, None, 80, STREAM, hear)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="port"):
        dns.lookup(loop, "a.test", 65536, STREAM, hear)


def test_lookup_refuses_coroutine_function_as_callback(loop: LoopBase) -> None:
    async def wrong(answer: Any) -> None: ...

    with pytest.raises(TypeError, match="needs asyncio hosting"):
        dns.lookup(loop, "a.test", 80, STREAM, wrong)


# -- the cache, and who waits together -------------------------------------------------------------


def test_lookups_of_one_name_share_one_question(loop: LoopBase, resolver: Resolver) -> None:
    resolver.open.clear()
    answers: list[Any] = []
    dns.lookup(loop, "a.test", 80, STREAM, answers.append)
    dns.lookup(loop, "A.TEST", "443", STREAM, answers.append)
    resolver.open.set()
    run_loop(loop, lambda: len(answers) == 2)
    assert answers[1] == rows("192.0.2.1", "192.0.2.2", port=443)
    assert resolver.asked == [b"a.test"]


def test_answer_is_used_again_until_it_is_old(
    poller: str, make_loop: Callable[..., LoopBase], resolver: Resolver
) -> None:
    clock = ManualClock()
    loop = make_loop(backend=poller, clock=clock)
    look_up(loop, "a.test")
    clock.advance(dns.CACHE_TTL_S - 1)
    assert look_up(loop, "a.test", 443) == rows("192.0.2.1", "192.0.2.2", port=443)
    assert resolver.asked == [b"a.test"]
    clock.advance(1)
    look_up(loop, "a.test")
    assert resolver.asked == [b"a.test"] * 2


def test_failure_is_not_remembered(loop: LoopBase, resolver: Resolver) -> None:
    assert isinstance(look_up(loop, "later.test"), socket.gaierror)
    resolver.known[b"later.test"] = ["192.0.2.3"]
    assert look_up(loop, "later.test") == rows("192.0.2.3")


def test_what_a_callback_does_to_its_rows_is_its_own_affair(
    loop: LoopBase, resolver: Resolver
) -> None:
    look_up(loop, "a.test").clear()
    assert look_up(loop, "a.test") == rows("192.0.2.1", "192.0.2.2")


def test_cache_is_bounded(
    loop: LoopBase, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "MAX_ANSWERS", 2)
    for name in ("a.test", "b.test", "c.test"):
        resolver.known[name.encode()] = ["192.0.2.1"]
        look_up(loop, name)
    resolver.asked.clear()
    for name in ("c.test", "b.test", "a.test"):
        look_up(loop, name)
    assert resolver.asked == [b"a.test"]  # the oldest had to go


def test_number_of_names_being_looked_up_is_bounded(
    loop: LoopBase, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "MAX_PENDING", 1)
    resolver.open.clear()
    first: list[Any] = []
    dns.lookup(loop, "a.test", 80, STREAM, first.append)
    answer = look_up(loop, "b.test")
    assert (type(answer), answer.errno) == (socket.gaierror, socket.EAI_AGAIN)
    resolver.open.set()
    run_loop(loop, lambda: first)
    assert first == [rows("192.0.2.1", "192.0.2.2")]


def test_callback_that_raises_keeps_nobody_from_the_answer(
    loop: LoopBase, resolver: Resolver, expected_logs: Any
) -> None:
    loop.on_exception = "log"
    answers: list[Any] = []

    def fail(answer: Any) -> None:
        raise RuntimeError("oops")

    for callback in (fail, answers.append):
        dns.lookup(loop, "a.test", 80, STREAM, callback)
    run_loop(loop, lambda: answers)
    assert answers == [rows("192.0.2.1", "192.0.2.2")]


# -- giving up -------------------------------------------------------------------------------------


def test_cancelled_lookup_is_not_answered(loop: LoopBase, resolver: Resolver) -> None:
    resolver.open.clear()
    cancelled: list[Any] = []
    answers: list[Any] = []
    handle = dns.lookup(loop, "a.test", 80, STREAM, cancelled.append)
    dns.lookup(loop, "a.test", 80, STREAM, answers.append)
    handle.cancel()
    handle.cancel()
    resolver.open.set()
    run_loop(loop, lambda: answers)
    assert cancelled == []


@pytest.mark.parametrize("host", ["192.0.2.1", "a.test"])
def test_lookup_can_be_cancelled_when_its_answer_is_there(
    loop: LoopBase, resolver: Resolver, host: str
) -> None:
    """From the callback of another that got the same answer."""
    second: list[Any] = []
    answers: list[Any] = []

    def first(answer: Any) -> None:
        handle.cancel()
        answers.append(answer)

    dns.lookup(loop, host, 80, STREAM, first)
    handle = dns.lookup(loop, host, 80, STREAM, second.append)
    run_loop(loop, lambda: answers)
    loop.run_once()
    assert second == []


def test_asking_again_for_a_name_that_hangs_occupies_no_second_thread(
    loop: LoopBase, resolver: Resolver
) -> None:
    resolver.open.clear()
    for _ in range(20):
        dns.lookup(loop, "a.test", 80, STREAM, _unexpected).cancel()
    queries = loop.local.get(dns._Queries, dns._Queries)
    assert queries._queries == {(b"a.test", STREAM): {}}  # nor any memory
    answers: list[Any] = []
    dns.lookup(loop, "a.test", 80, STREAM, answers.append)
    resolver.open.set()
    run_loop(loop, lambda: answers)
    assert resolver.asked == [b"a.test"]


def test_name_that_hung_when_the_loop_was_stopped_can_be_looked_up_again(
    loop: LoopBase, resolver: Resolver
) -> None:
    resolver.open.clear()
    dns.lookup(loop, "a.test", 80, STREAM, _unexpected)
    loop.stop()
    answers: list[Any] = []
    dns.lookup(loop, "a.test", 80, STREAM, answers.append)
    resolver.open.set()
    run_loop(loop, lambda: answers)
    assert answers == [rows("192.0.2.1", "192.0.2.2")]


def test_cache_does_not_keep_its_loop_alive(
    make_loop: Callable[..., LoopBase], resolver: Resolver
) -> None:
    import thor.loop

    loop = thor.loop.make()
    look_up(loop, "a.test")
    loop.stop()
    for thread in resolver.threads:
        thread.join(10)
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


# -- for servers -----------------------------------------------------------------------------------


def test_lookup_now_answers_at_once(resolver: Resolver) -> None:
    assert dns.lookup_now("a.test", 80, STREAM) == rows("192.0.2.1", "192.0.2.2")
    with pytest.raises(socket.gaierror):
        dns.lookup_now("unknown.test", 80, STREAM)
    with pytest.raises(socket.gaierror):
        dns.lookup_now(b"\xff", 80, STREAM)


@pytest.mark.parametrize(
    ("port", "number"),
    [(0, 0), (80, 80), (65535, 65535), ("80", 80), (b"80", 80), ("00080", 80)],
)
def test_ports_are_numbers_or_their_digits(port: Any, number: int) -> None:
    assert dns.port_number(port) == number


@pytest.mark.parametrize(
    "port", [-1, 65536, "", "-1", "+80", " 80", "8_0", "80 ", "\u0668\u0660", "0x50", "9" * 5000]
)
def test_other_ports_are_refused(port: Any) -> None:
    with pytest.raises(ValueError, match="port"):
        dns.port_number(port)


@pytest.mark.parametrize("port", [None, 80.0, [80]])
def test_ports_of_other_types_are_refused(port: Any) -> None:
    with pytest.raises(TypeError):
        dns.port_number(port)


def test_resolver_that_hangs_does_not_hold_up_other_work(
    loop: LoopBase, resolver: Resolver
) -> None:
    resolver.open.clear()
    lookups = [dns.lookup(loop, f"{n}.test", 80, STREAM, lambda answer: None) for n in range(20)]
    done: list[Any] = []
    loop.run_in_thread(lambda: "read", then=lambda *result: done.append(result))
    run_loop(loop, lambda: done)
    assert done == [("read", None)]
    for lookup in lookups:
        lookup.cancel()
