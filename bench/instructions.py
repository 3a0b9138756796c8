"""How many instructions of the processor a request takes, in Python alone, by valgrind.

    python -m bench.instructions

The figure repeats within a hundredth whatever else the machine does, so that small changes show on
a busy one. It is not time: a call that misses the cache costs more than one that does not.

Theory of operation: `bench.inprocess` runs under cachegrind twice, with few requests and with many;
what is made once falls out of the difference.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from bench.harness import ROOT, BenchError
from bench.peers import PURE, program
from bench.tables import Table, as_text
from thor import native

NAME = "instructions"
FEW, MANY = 640, 1920
LIMIT_S = 600

KINDS = {
    "the server, 1 field": ("server", "--fields", "1"),
    "the server, 12 fields": ("server", "--fields", "12"),
    "the reverse proxy, 1 field": ("proxy", "--fields", "1"),
    "the reverse proxy, 12 fields": ("proxy", "--fields", "12"),
}


def parse_count(text: str) -> int:
    """Read cachegrind's summary: the instructions in all. Raises: ValueError"""
    found = re.search(r"I\s+refs:\s+([\d,]+)", text)
    if found is None:
        raise ValueError("no count of instructions")
    return int(found[1].replace(",", ""))


def count(args: tuple[str, ...], env: dict[str, str], requests: int) -> int:
    """Instructions of a process that has so many requests answered. Raises: BenchError"""
    argv = [program("valgrind") or "valgrind", "--tool=cachegrind", "--cache-sim=no"]
    argv += ["--cachegrind-out-file=/dev/null", sys.executable, "-m", "bench.inprocess"]
    argv += [*args, "--requests", str(requests), "--repeat", "1"]
    # Hashes decide how often a table's slots collide: the same in both runs.
    env = {**os.environ, "PYTHONHASHSEED": "0", **env}
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT, env=env, check=False
        )
        return parse_count(done.stderr)
    except subprocess.TimeoutExpired:
        raise BenchError("valgrind did not end in time") from None
    except ValueError:
        raise BenchError(f"valgrind failed: {done.stderr.strip()[-200:]}") from None


def per_request(args: tuple[str, ...], env: dict[str, str]) -> float:
    """Thousands of instructions for one request. Raises: BenchError"""
    return (count(args, env, MANY) - count(args, env, FEW)) / (MANY - FEW) / 1e3


def make_table() -> Table:
    """All kinds, with the native codec and without."""
    variants = {"thor": {}, "thor (pure Python)": dict(PURE)} if native.loaded else {"thor": {}}
    header = ["", *variants]
    title = "Thousands of instructions for one request, in Python"
    if program("valgrind") is None:
        exc = "missing: valgrind is not installed (apt-get install valgrind)"
        return Table(NAME, title, header, [], [exc])
    rows, absent = [], []
    for kind, args in KINDS.items():
        try:
            figures = [f"{per_request(args, env):.1f}" for env in variants.values()]
        except BenchError as exc:
            absent.append(f"{kind}: {exc}")
        else:
            rows.append([kind, *figures])
    return Table(NAME, title, header, rows, absent)


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(__doc__)
    print(as_text(make_table()))
