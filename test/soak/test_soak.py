"""The soak itself, in a few seconds: that it finds nothing wrong where nothing is, and notices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from thor_support import ROOT

SOAK = Path(__file__).resolve().parent / "soak.py"


@pytest.mark.deadline_s(180)
def test_a_short_soak_finds_nothing_wrong() -> None:
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


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> object:
    """A ledger with one request that was answered, and must not be repeated."""
    monkeypatch.syspath_prepend(str(SOAK.parent))
    import ledger

    made = ledger.Ledger()
    made.close(made.open("POST", once=True), ledger.ANSWERED)
    return made
