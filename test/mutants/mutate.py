"""Break Thor in one place after the other, and see whether its tests notice.

    python test/mutants/mutate.py [--jobs N] [--limit SECONDS] [FILTER ...]

A FILTER is a part of a mutant's name or file. Each mutant is applied to a copy of the source in a
temporary folder, and its tests run there without the native codec, whose twin would hide what is
broken in Python, and on the default poller alone. A mutant is killed if a test fails or the limit
is over. It is an error if its text does not stand in the source exactly once, or if pytest cannot
collect its tests; and so are tests that fail without any mutant. The exit status is 1 if a mutant
survives or an error occurs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from mutations import ROOT, Mutant, MutantError, all_mutants

COPIED = ("thor", "test", "bench", "examples", "pyproject.toml")
#: The exit status of pytest.
PASSED, FAILED = 0, 1
KILLED, SURVIVED, ERROR = "killed", "SURVIVED", "ERROR"


class Tree:
    """A copy of the checkout, in which one mutant at a time is applied."""

    def __init__(self, folder: Path, source: Path = ROOT) -> None:
        self.folder = folder
        self._stamp = 0
        self._process: subprocess.Popen[str] | None = None
        leave = shutil.ignore_patterns("__pycache__", "*.so")
        for name in COPIED:
            path = source / name
            if path.is_dir():
                shutil.copytree(path, folder / name, ignore=leave)
            elif path.exists():
                shutil.copy2(path, folder / name)

    def try_mutant(self, mutant: Mutant, limit_s: float) -> tuple[str, str]:
        """Apply `mutant`, run its tests, restore the file; return the outcome and its details."""
        path = self.folder / mutant.file
        try:
            source = path.read_text(encoding="utf-8")
            broken = mutant.apply(source)
        except (OSError, MutantError) as exc:
            return ERROR, str(exc)
        self._write(path, broken)
        try:
            status, output = self.run_tests(mutant.tests, limit_s)
        finally:
            self._write(path, source)
        if status is None:
            return KILLED, f"the limit of {limit_s:g} s"
        if status == PASSED:
            return SURVIVED, f"{mutant.breaks}; {' '.join(mutant.tests)}"
        if status != FAILED:
            return ERROR, output
        killer = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
        return KILLED, killer[1] if killer is not None else ""

    def run_tests(self, tests: Iterable[str], limit_s: float) -> tuple[int | None, str]:
        """Run `tests` in the copy; return pytest's status (None: out of time) and its output."""
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self.stop()
            process.communicate()
            return None, ""
        return process.returncode, output

    def stop(self) -> None:
        """Kill the tests that run here, and what they have started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _environment(self) -> dict[str, str]:
        # First of all paths, since an editable installation would put the checkout itself there.
        own = {"PYTHONPATH": str(self.folder), "THOR_NO_EXTENSIONS": "1"}
        return {**os.environ, **own, "THOR_TEST_POLLERS": "default"}

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        # Byte code is kept by the source's size and second: no two writes share their second.
        self._stamp += 1
        os.utime(path, (self._stamp, self._stamp))


def choose(filters: Sequence[str]) -> list[Mutant]:
    """Return the mutants of whose name or file one of `filters` is a part; all without filters."""
    return [
        mutant
        for mutant in all_mutants()
        if not filters or any(part in mutant.name or part in mutant.file for part in filters)
    ]


def run(mutants: Sequence[Mutant], trees: Sequence[Tree], limit_s: float) -> list[str]:
    """Try all `mutants`, as many at a time as there are trees; return what went wrong."""
    free: SimpleQueue[Tree] = SimpleQueue()
    for tree in trees:
        free.put(tree)

    def check_unbroken() -> str:
        tests = dict.fromkeys(path for mutant in mutants for path in mutant.tests)
        tree = free.get()
        try:
            status, output = tree.run_tests(tests, 30 * limit_s)
        finally:
            free.put(tree)
        return "" if status == PASSED else f"the tests fail without any mutant:\n{output}"

    def try_one(mutant: Mutant) -> str:
        tree = free.get()
        began = time.monotonic()
        try:
            outcome, details = tree.try_mutant(mutant, limit_s)
        finally:
            free.put(tree)
        took_s = time.monotonic() - began
        by = f" by {details}" if outcome == KILLED else ""
        print(f"{outcome:8} {took_s:5.1f} s  {mutant.name}{by}", flush=True)
        return "" if outcome == KILLED else f"{outcome}: {mutant.name} ({mutant.file}): {details}"

    with ThreadPoolExecutor(len(trees)) as pool:
        unbroken = pool.submit(check_unbroken)
        try:
            outcomes = list(pool.map(try_one, mutants))
        except BaseException:  # an interrupt, which the tests do not get: they have own sessions
            pool.shutdown(wait=False, cancel_futures=True)
            for tree in trees:
                tree.stop()
            raise
    return [problem for problem in (unbroken.result(), *outcomes) if problem]


def main(argv: Sequence[str] | None = None) -> int:
    """Try the mutants that are asked for; return 1 if not each was killed."""
    parser = ArgumentParser(prog="test/mutants/mutate.py", description=__doc__.partition("\n")[0])
    parser.add_argument("filters", metavar="FILTER", nargs="*", help="part of a name or a file")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (%(default)s)")
    parser.add_argument(
        "--limit", type=float, default=120, help="seconds for each mutant's tests (%(default)s)"
    )
    args = parser.parse_args(argv)
    mutants = choose(args.filters)
    if not mutants:
        parser.error("no mutant has this in its name or file")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="thor-mutants-") as folder:
        trees = []
        for number in range(args.jobs):
            place = Path(folder) / str(number)
            place.mkdir()
            trees.append(Tree(place))
        problems = run(mutants, trees, args.limit)
    print(*("", *problems), sep="\n")
    print(f"{len(mutants)} mutants in {time.monotonic() - began:.0f} s, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
