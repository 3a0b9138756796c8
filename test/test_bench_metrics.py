"""The figures that describe the source, counted in small packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import metrics
from bench.metrics import Source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a checkout of two packages, whose classes know too much of each other."""
    files = {
        "thor/__init__.py": "",
        "thor/a/__init__.py": '"""Documented."""\nfrom thor.a.base import Base\n',
        "thor/a/base.py": """
            from typing import Any
            class Base:
                "Documented."
                __slots__ = ("_slot",)
                _setting: Any = 1
                def __init__(self, other: Any) -> None:
                    self._state, other._state = 1, 2        # private: defined here
                    self._state = super()._state
                def run(self) -> None:
                    raise NotImplementedError
                def stop(self) -> None:
                    "Documented."
                    raise AssertionError("no")
        """,
        "thor/a/middle.py": """
            from thor.a import Base
            class Middle(Base):
                def run(self) -> None:
                    self._peer._slot = self._peer._setting  # 2 private: of another module
                    self._record._replace(a=1).__class__
        """,
        "thor/b.py": """
            from thor.a import middle
            class Top(middle.Middle):
                def _use(self, other):
                    return other._slot, other._own, other._state, other._unknown
                def __init__(self):
                    self._own = 1
            class BadError(ValueError): "Documented."
            class WorseError(BadError): pass
            class WorstError(WorseError): pass
            class FinalError(WorstError): pass
        """,
        "test/test_a.py": "\n" * 10,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.split("\n")
        path.write_text("\n".join(line.removeprefix(" " * 12) for line in lines))
    return tmp_path


def test_private_accesses_are_counted_by_where_the_name_is_defined(root: Path) -> None:
    accesses = Source.read(root).private_accesses()
    # All but those of self and super(); but those that stand in the same file; but those of `a`.
    assert accesses == (7, 5, 2)


def test_hierarchy_is_followed_across_modules_and_leaves_exceptions_out(root: Path) -> None:
    assert Source.read(root).deepest_hierarchy() == ["Base", "Middle", "Top"]


def test_stubs_are_counted_where_a_subclass_is_in_another_file_of_the_package(root: Path) -> None:
    assert Source.read(root).stubs_of_split_classes() == {"Base": 2}


def test_any_and_docstrings_are_counted(root: Path) -> None:
    source = Source.read(root)
    assert source.uses_of_any() == 2
    # Five modules, seven classes, three methods; not `__init__` and `_use`.
    assert source.documented() == (4, 15)


def test_checkouts_stand_side_by_side(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert metrics.main([str(root), str(root)]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].split() == ["thor/", str(root), str(root)]
    assert ["lines", "of", "test/", "10", "10"] in [line.split() for line in lines]


def test_folder_without_the_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no package thor"):
        metrics.main([str(tmp_path)])


def test_collected_tests_are_counted(tmp_path: Path) -> None:
    text = "import pytest\n@pytest.mark.parametrize('a', range(3))\ndef test_a(a): pass\n"
    (tmp_path / "test_a.py").write_text(text)
    assert metrics.collect(tmp_path) == 3
