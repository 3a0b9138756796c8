"""The mutants apply to the source as it is, and what is reported of them is true."""

from __future__ import annotations

import ast
from pathlib import Path

import mutate
import pytest
from mutations import ROOT, Mutant, MutantError, all_mutants

MUTANTS = all_mutants()
LIMIT_S = 60.0


def _fault_of(mutant: Mutant) -> str:
    """Return what is wrong with a row, or ""."""
    try:
        source = (ROOT / mutant.file).read_text(encoding="utf-8")
        broken = mutant.apply(source)
        ast.parse(broken)  # else anything would kill it
    except (OSError, MutantError, SyntaxError) as exc:
        return f"{mutant.name}: {exc}"
    missing = [test for test in mutant.tests if not _is_there(test)]
    return f"{mutant.name}: no {missing}" if missing or broken == source else ""


def _is_there(test: str) -> bool:
    file, _, name = test.partition("[")[0].partition("::")
    path = ROOT / file
    return path.exists() and (not name or f"def {name}(" in path.read_text(encoding="utf-8"))


def test_mutants_apply_to_the_source_and_their_tests_exist() -> None:
    assert [fault for fault in map(_fault_of, MUTANTS) if fault] == []


def test_mutants_have_names_of_their_own_and_are_in_every_package() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 66
    places = {"/".join(mutant.file.split("/")[:2]) for mutant in MUTANTS}
    packages = {"http", "loop", "proxy", "tcp", "tls", "udp", "files", "cli"}
    modules = {"dns.py", "events.py", "workers.py"}
    assert places >= {f"thor/{name}" for name in packages | modules}


@pytest.mark.parametrize("text", ["", "a = 1\na = 1\n"], ids=["absent", "twice"])
def test_mutant_whose_text_is_not_unique_is_named(text: str) -> None:
    mutant = Mutant("some-fault", "thor/a.py", "a = 1\n", "", (), "")
    with pytest.raises(MutantError, match="some-fault"):
        mutant.apply(text)


def test_outcomes_of_mutants_are_told_apart(tmp_path: Path) -> None:
    files = {
        "source/thor/__init__.py": "",  # else an installed Thor would be imported instead
        "source/thor/a.py": "tested = 1\nother = 1\n",
        "source/test/test_a.py": "from thor.a import tested\ndef test_a(): assert tested == 1\n",
        "source/test/test_b.py": "import absent\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "copy").mkdir()
    tree = mutate.Tree(tmp_path / "copy", tmp_path / "source")

    def outcome(old: str, test: str) -> str:
        mutant = Mutant("a", "thor/a.py", old, f"{old}0", (test,), "")
        return tree.try_mutant(mutant, LIMIT_S)[0]

    assert outcome("tested = 1", "test/test_a.py") == mutate.KILLED
    assert outcome("other = 1", "test/test_a.py") == mutate.SURVIVED
    assert outcome("nothing = 1", "test/test_a.py") == mutate.ERROR
    assert outcome("tested = 1", "test/test_absent.py") == mutate.ERROR
    assert (tmp_path / "copy/thor/a.py").read_text() == files["source/thor/a.py"]
