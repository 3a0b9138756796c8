"""Messages that two parsers may read in two ways: whatever is behind or in front of Thor, no
request comes through that nobody made, and nobody gets an answer that is not his."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from interop_support import interop
from smuggling_cases import CHUNKS, FRAMINGS, LENGTHS
from smuggling_chains import chain, provoke, send
from smuggling_heads import HEADS, RESPONSES

pytestmark = [interop, pytest.mark.deadline_s(300)]

REQUESTS = [*FRAMINGS, *LENGTHS, *CHUNKS, *HEADS]

IN_FRONT = [
    ("thor-proxy", "nginx"),
    ("thor-proxy", "node"),
    ("thor-proxy", "node-lenient"),
    ("thor-proxy", "aiohttp"),
    ("thor-proxy", "thor-server"),
    ("thor-proxy", "sloppy-lengths"),
    ("thor-proxy", "sloppy-codings"),
    ("thor-proxy-pure", "sloppy-codings"),
    ("thor-proxy", "haproxy", "node"),
    ("thor-proxy", "thor-proxy", "node"),
]
BEHIND_OTHERS = [
    ("haproxy", "thor-proxy", "node"),
    ("haproxy-lenient", "thor-proxy", "node-lenient"),
    ("haproxy-lenient", "thor-server"),
    ("nginx", "thor-proxy", "node"),
    ("nginx", "thor-proxy", "sloppy-codings"),
    ("nginx", "thor-server"),
]

#: How many messages went through how many chains.
figures: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def _tell_figures(pytestconfig: pytest.Config) -> Iterator[None]:
    yield
    told = ", ".join(f"{number} {what}" for what, number in figures.items())
    plugin = pytestconfig.pluginmanager.get_plugin
    with plugin("capturemanager").global_and_fixture_disabled():
        plugin("terminalreporter").write_line(f"\nsmuggling: {told or 'nothing was sent'}")


@pytest.mark.parametrize("hops", [*IN_FRONT, *BEHIND_OTHERS], ids=" - ".join)
def test_no_request_is_smuggled(hops: tuple[str, ...], tmp_path: Path) -> None:
    wrong = []
    with chain(tmp_path, *hops) as at:
        for number, case in enumerate(REQUESTS):
            wrong += send(at, case, number)
    figures.update({"chains": 1, "requests": len(REQUESTS)})
    assert not wrong, "\n".join(wrong)


def test_each_message_is_another_one() -> None:
    assert len({case.id for case in REQUESTS}) == len({case.data for case in REQUESTS})
    assert len({case.id for case in REQUESTS}) == len(REQUESTS)


def test_a_smuggled_request_would_be_noticed(tmp_path: Path) -> None:
    cases = {case.id: case for case in REQUESTS}
    with chain(tmp_path, "naive", "sloppy-codings") as at:
        assert send(at, cases["head-plain"], 1) == []
        wrong = send(at, cases["both-length-first"], 2)
    assert "a request came past the first hop" in wrong[0]
    assert "somebody else asked for /v0002 and got" in wrong[-1]


@pytest.mark.parametrize(
    "hops",
    [
        ("thor-proxy", "sloppy-lengths"),
        ("thor-proxy", "thor-proxy", "sloppy-lengths"),
        ("haproxy", "thor-proxy", "sloppy-lengths"),
        ("nginx", "thor-proxy", "sloppy-lengths"),
    ],
    ids=" - ".join,
)
def test_no_response_is_smuggled(hops: tuple[str, ...], tmp_path: Path) -> None:
    wrong = []
    with chain(tmp_path, *hops) as at:
        for number, name in enumerate(RESPONSES):
            wrong += provoke(at, name, number)
    figures.update({"chains for responses": 1, "responses": len(RESPONSES)})
    assert not wrong, "\n".join(wrong)
