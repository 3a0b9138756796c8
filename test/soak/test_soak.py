"""The soak itself, in a few seconds: that it finds nothing wrong where nothing is, and notices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thor_support import ROOT

SOAK = Path(__file__).resolve().parent / "soak.py"


@pytest.mark.deadline_s(180)
def test_short_soak_finds_nothing_wrong() -> None:
    done = subprocess.run(
        [sys.executable, str(SOAK), "--time", "4", "--no-slow"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 faults\n" in done.stdout
    assert " 0 open," in done.stdout


# -- what the ledger notices ---------------------------------------------------------------------


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module, with what the origins and the server have seen."""
    monkeypatch.syspath_prepend(str(SOAK.parent))
    import ledger

    monkeypatch.delitem(sys.modules, "ledger")

    def faults(seen: str = "", direct: str = "", outcome: int = ledger.ANSWERED) -> list[str]:
        made = ledger.Ledger()
        made.close(made.open("POST", once=True), outcome)
        made.close(made.open("GET", once=False), outcome)
        paths = [tmp_path / "origins", tmp_path / "direct"]
        for path, text in zip(paths, (seen, direct), strict=True):
            path.write_text(text)
        made.compare(*paths)
        return list(made.faults)

    ledger.faults = faults  # type: ignore[attr-defined]
    return ledger


ONE = "0 POST \n0 POST whole\n"
OTHER = "1 GET \n1 GET whole\n"


def test_what_was_asked_and_answered_once_is_no_fault(books: Any) -> None:
    assert books.faults(ONE + OTHER) == []
    assert books.faults(ONE, OTHER) == []
    assert books.faults(ONE + OTHER * 2) == []  # which may be tried again


@pytest.mark.parametrize(
    ("seen", "direct", "says"),
    [
        pytest.param(OTHER, "", "request 0 was answered, and never seen", id="made-up"),
        pytest.param(ONE * 2 + OTHER, "", "request 0 was seen 2 times", id="doubled"),
        pytest.param(ONE, OTHER * 2, "request 1 was seen 2 times", id="doubled-directly"),
        pytest.param(ONE + OTHER + "7 GET \n", "", "seen that nobody made", id="unknown"),
        pytest.param(ONE + "1 GET whole\n" + OTHER, "", "was whole 2 times", id="whole-twice"),
    ],
)
def test_what_differs_is_a_fault(books: Any, seen: str, direct: str, says: str) -> None:
    (fault,) = books.faults(seen, direct)
    assert says in fault


def test_request_without_an_end_is_a_fault(books: Any) -> None:
    faults = books.faults(ONE + OTHER, outcome=books.OPEN)
    assert faults == ["request 0 has no end", "request 1 has no end"]


def test_what_was_refused_must_not_be_seen(books: Any) -> None:
    assert books.faults(outcome=books.REFUSED) == []
    assert len(books.faults(ONE, outcome=books.REFUSED)) == 1


def test_request_ends_once(books: Any) -> None:
    made = books.Ledger()
    number = made.open("GET", once=False)
    made.close(number, books.ANSWERED)
    made.close(number, books.FAILED)
    assert made.faults == ["request 0 has ended twice"]


def test_failure_is_in_order_while_an_origin_is_down(books: Any) -> None:
    made = books.Ledger()
    assert not made.may_fail(0, 100)
    made.begin_outage(10)
    assert made.may_fail(0, 10)
    assert made.may_fail(50, 60)
    assert not made.may_fail(0, 9)
    made.end_outage(20)
    assert made.may_fail(20 + books.AFTER_S, 30)
    assert not made.may_fail(20.1 + books.AFTER_S, 30)
