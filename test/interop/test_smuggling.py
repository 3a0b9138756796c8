"""Messages that two parsers may read in two ways: whatever is behind or in front of Thor, no
request comes through that nobody made, and nobody gets an answer that is not his."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from interop_support import interop
from smuggling_cases import CHUNKS, FRAMINGS, LENGTHS, REFUSED, Smuggled
from smuggling_chains import NUMBERS, Chain, Hops, provoke, repeated, send
from smuggling_heads import HEADS, RESPONSES

pytestmark = interop

#: When it takes longer, something hangs.
LIMIT_S = 300.0

REQUESTS = [*FRAMINGS, *LENGTHS, *CHUNKS, *HEADS]

#: With all of the messages.
EVERYTHING = [
    ("thor-proxy", "sloppy-codings"),
    ("haproxy", "thor-proxy", "node"),
    ("haproxy-lenient", "thor-proxy", "node-lenient"),
    ("nginx", "thor-proxy", "node"),
    ("nginx", "thor-proxy", "sloppy-codings"),
    ("nginx", "thor-server"),
]
#: With those that Thor lets through: the others come to nobody behind it, whoever that is.
BEHIND_THOR = [
    ("thor-proxy", "nginx"),
    ("thor-proxy", "node"),
    ("thor-proxy", "node-lenient"),
    ("thor-proxy", "aiohttp"),
    ("thor-proxy", "thor-server"),
    ("thor-proxy", "sloppy-lengths"),
    ("thor-proxy", "haproxy", "node"),
    ("thor-proxy", "thor-proxy", "node"),
]
#: With responses.
BACKWARDS = [
    ("thor-proxy", "sloppy-lengths"),
    ("haproxy", "thor-proxy", "sloppy-lengths"),
    ("nginx", "thor-proxy", "sloppy-lengths"),
]

#: What is sent, and through which hops.
Course: TypeAlias = tuple[str, tuple[str, ...]]

#: How many messages went through how many chains.
figures: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def _tell_figures(pytestconfig: pytest.Config) -> Iterator[None]:
    yield
    told = ", ".join(f"{number} {what}" for what, number in figures.items())
    plugin: Callable[[str], Any] = pytestconfig.pluginmanager.get_plugin
    with plugin("capturemanager").global_and_fixture_disabled():
        plugin("terminalreporter").write_line(f"\nsmuggling: {told or 'nothing was sent'}")


def messages(hops: tuple[str, ...]) -> list[Smuggled]:
    """The requests that are sent through them."""
    return [case for case in REQUESTS if hops in EVERYTHING or case.becomes != REFUSED]


def run(hops: Hops, course: Course) -> list[str]:
    """Send all that has to be sent. Returns: what is wrong about what came of it"""
    what, names = course
    at = hops.chain(*names)
    wrong = []
    if what == "requests":
        start = at.size()
        for index, case in enumerate(messages(names)):
            wrong += send(at, case, index)
        wrong += repeated(at, start)
    else:
        for index, name in enumerate(RESPONSES):
            wrong += provoke(at, name, index)
    return wrong


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[Course, Future[list[str]]]:
    """What has come of each course that a test asks for. Most of the time is spent waiting, so they
    run side by side; those that share hops, one after the other."""
    threads: dict[str, tuple[ThreadPoolExecutor, Hops]] = {}
    outcomes: dict[Course, Future[list[str]]] = {}
    for item in request.session.items:
        callspec = getattr(item, "callspec", None)
        course = callspec and callspec.params.get("course")
        if item.parent is request.node and course:
            last = course[1][-1]
            if last not in threads:
                hops = Hops(tmp_path_factory.mktemp(last))
                threads[last] = ThreadPoolExecutor(1), hops
            thread, hops = threads[last]
            outcomes[course] = thread.submit(run, hops, course)
    wait(outcomes.values(), LIMIT_S)
    for thread, hops in threads.values():
        hops.close()
        thread.shutdown(cancel_futures=True)
    return outcomes


def courses(what: str, *hops: tuple[str, ...]) -> pytest.MarkDecorator:
    """A test for each of them."""
    return pytest.mark.parametrize(
        "course", [pytest.param((what, names), id=" - ".join(names)) for names in hops]
    )


@courses("requests", *EVERYTHING, *BEHIND_THOR)
def test_no_request_is_smuggled(course: Course, runs: dict[Course, Future[list[str]]]) -> None:
    wrong = runs[course].result()
    figures.update({"chains": 1, "requests": len(messages(course[1]))})
    assert not wrong, "\n".join(wrong)


@courses("responses", *BACKWARDS)
def test_no_response_is_smuggled(course: Course, runs: dict[Course, Future[list[str]]]) -> None:
    wrong = runs[course].result()
    figures.update({"chains for responses": 1, "responses": len(RESPONSES)})
    assert not wrong, "\n".join(wrong)


def test_each_message_is_another_one() -> None:
    assert len({case.id for case in REQUESTS}) == len({case.data for case in REQUESTS})
    assert len({case.id for case in REQUESTS}) == len(REQUESTS) < NUMBERS


@pytest.fixture
def naive(tmp_path: Path) -> Iterator[Chain]:
    """What a smuggler hopes for."""
    hops = Hops(tmp_path)
    try:
        yield hops.chain("naive", "sloppy-codings")
    finally:
        hops.close()


def test_smuggled_request_would_be_noticed(naive: Chain) -> None:
    cases = {case.id: case for case in REQUESTS}
    assert send(naive, cases["head-plain"], 1) == []
    wrong = send(naive, cases["both-length-first"], 2)
    assert "a request came past the first hop" in wrong[0]
    assert "somebody else asked for /v0002 and got" in wrong[-1]
