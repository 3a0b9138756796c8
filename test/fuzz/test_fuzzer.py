"""The coverage-guided fuzzer: what it does with finds, and without its engine."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import fuzz_checks
import pytest

from thor_support import ROOT

pytestmark = [pytest.mark.fuzz, pytest.mark.deadline_s(120)]

FUZZER = ROOT / "test" / "fuzz" / "fuzzer.py"


@pytest.fixture
def implementation() -> str:
    """The program itself runs whichever is there."""
    return "any"


@pytest.fixture
def fuzzer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The program as a module, which writes to a folder of the test's."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("fuzzer", FUZZER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BUILD", tmp_path)
    (tmp_path / "finds").mkdir()
    return module


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FUZZER), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def checks_that_fail_at(octet: bytes) -> Any:
    """A set of one check, which fails if these bytes are in its input."""

    def run(data: bytes) -> str:
        assert octet not in data, f"{data!r} has it"
        return "only"

    return SimpleNamespace(run=run, excused={})


def test_a_find_is_made_smaller_and_kept_once(
    fuzzer: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fuzzer.Run(checks_that_fail_at(b"!"), seconds=1000)
    run.one_input(b"good")
    run.one_input(b"bad " * 50 + b"!" + b" input" * 50)
    run.one_input(b"the same!")
    (path,) = run.finds.values()
    assert path.read_bytes() == b"b!"
    assert list((tmp_path / "finds").iterdir()) == [path]
    assert run.executions == {"only": 1, "finds": 2}
    assert str(path) in capsys.readouterr().out


def test_every_seed_is_for_its_check_and_passes(fuzzer: ModuleType, tmp_path: Path) -> None:
    dictionary = fuzzer.seed(fuzz_checks)
    seeds = sorted((tmp_path / "corpus").iterdir())
    names = {fuzz_checks.run(path.read_bytes()) for path in seeds}
    assert names == fuzz_checks.CHECKS.keys()
    assert '"\\x0d\\x0a"\n' in dictionary.read_text()


def test_a_kept_input_is_run_again_without_the_engine(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"\x00GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    done = call(str(tmp_path / "input"))
    assert done.stdout == f"{tmp_path}/input: passes (requests)\n", done.stderr
    assert done.returncode == 0


def test_a_missing_engine_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "atheris.py").write_text("raise ImportError('no module named atheris')\n")
    done = call(PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("atheris, which coverage-guided fuzzing needs, is not installed")
    assert "pip install '.[fuzz]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_ends_when_its_time_is_over() -> None:
    pytest.importorskip("atheris", reason="atheris is not installed")
    done = call("--time", "2")
    assert "\nfinds: 0\n" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
