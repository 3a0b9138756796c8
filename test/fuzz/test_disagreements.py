"""The table of accepted disagreements: true, complete, and in the documentation."""

from __future__ import annotations

import pytest
from fuzz_comparison import compare_requests, compare_responses, difference
from fuzz_disagreements import TABLE, Case, Disagreement
from fuzz_readings import REQUEST_ORACLES, RESPONSE_ORACLES, Reading, Said

from thor_support import ROOT

PAGE = ROOT / "doc" / "fuzzing.rst"


@pytest.fixture(autouse=True)
def implementation() -> None:
    """Run once: `test_implementations.py` compares what the implementations read."""


def compared(entry: Disagreement, table: list[Disagreement]) -> list[str]:
    """What differs in an entry's example, in the light of a table."""
    if entry.example.startswith(b"HTTP/"):
        return compare_responses(entry.example, entry.method, table)
    return compare_requests(entry.example, table)


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_disagreement_exists_and_nothing_else_differs(entry: Disagreement) -> None:
    others = [other for other in TABLE if other is not entry]
    found = {line.partition(":")[0] for line in compared(entry, others)}
    assert found == set(entry.oracles)
    assert compared(entry, TABLE) == []


def test_every_entry_has_a_name_of_its_own_and_known_parsers() -> None:
    names = [entry.name for entry in TABLE]
    assert len(names) == len(set(names))
    known = REQUEST_ORACLES.keys() | RESPONSE_ORACLES.keys()
    assert {oracle for entry in TABLE for oracle in entry.oracles} <= known


def test_the_documentation_has_the_table() -> None:
    rows = "".join(
        f"   {entry.name} | {', '.join(entry.oracles)} | {entry.why[0].upper()}{entry.why[1:]}.\n"
        for entry in TABLE
    )
    assert rows in PAGE.read_text(), f"the table in {PAGE.name} should be:\n{rows}"


# -- what counts as a difference ----------------------------------------------------------------

GET = ((b"GET", b"/", b"1.1"), [(b"Host", b"a")])


def reading(*messages: Said, refused: str | None = None, rest: bytes | None = None) -> Reading:
    return Reading(list(messages), refused, rest)


def said(
    body: bytes = b"", *, complete: bool = True, target: bytes = b"/", **other: object
) -> Said:
    return Said((b"GET", target, b"1.1"), [(b"Host", b"a")], body, complete=complete, **other)  # type: ignore[arg-type]


ONE = reading(said(b"x"), rest=b"y")
HALF = reading(said(b"x", complete=False))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(ONE, reading(said(b"x"), rest=b"y"), id="the-same"),
        pytest.param(ONE, reading(said(b"x")), id="a-rest-that-is-not-told"),
        pytest.param(reading(refused="no"), ONE, id="what-thor-refuses"),
        pytest.param(reading(said(), refused="no"), reading(said(), said()), id="and-behind-it"),
        pytest.param(HALF, reading(said(b"x", complete=False), refused="no"), id="refused-later"),
        pytest.param(
            reading(said(b"xy", complete=False), refused="no"),
            reading(said(b"x", complete=False), refused="no"),
            id="both-refuse-and-one-sooner",
        ),
    ],
)
def test_readings_are_alike(ours: Reading, theirs: Reading) -> None:
    assert difference(Case(b"", b"", ours, theirs), []) is None


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(ONE, reading(said(b"z"), rest=b"y"), id="another-body"),
        pytest.param(ONE, reading(said(b"x"), rest=b""), id="another-rest"),
        pytest.param(ONE, reading(said(b"x", target=b"/b")), id="another-start"),
        pytest.param(ONE, reading(said(b"x", trailers=[(b"A", b"b")])), id="other-trailers"),
        pytest.param(ONE, reading(said(b"x"), said()), id="one-message-more"),
        pytest.param(ONE, reading(refused="no"), id="refused"),
        pytest.param(ONE, HALF, id="not-complete"),
        pytest.param(HALF, ONE, id="complete"),
        pytest.param(HALF, reading(said(b"", complete=False), refused="no"), id="refused-sooner"),
        pytest.param(HALF, reading(said(b"z", complete=False)), id="half-of-another"),
    ],
)
def test_readings_differ(ours: Reading, theirs: Reading) -> None:
    assert difference(Case(b"", b"", ours, theirs), []) is not None
