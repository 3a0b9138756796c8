"""What it costs to import Thor, beside asyncio.

    python -m bench.importtime [--rounds N]

Each figure is the median of fresh processes, in which the statements take turns: milliseconds of
the imports alone, of the whole process with the interpreter's start, and the memory at its end.
Byte code is written before anything is measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from bench.harness import parse_pss_bytes, ratio, table

#: What the first is compared with, and programs of one kind each.
STATEMENTS = (
    "import asyncio",
    "import thor",
    "from thor import run",
    "from thor import TcpServer",
    "from thor import HttpServer",
    "from thor import HttpClient",
    "import thor.proxy",
)
#: Runs in each process; `argv[1]` is the statement.
MEASURE = """
import sys, time
statement = compile(sys.argv[1], "statement", "exec")
start = time.perf_counter()
exec(statement)
print(time.perf_counter() - start)
print(open("/proc/self/smaps_rollup").read())
"""


class Sample(NamedTuple):
    """One process: seconds of the import and of all, and bytes of memory."""

    import_s: float
    process_s: float
    pss_bytes: float


def measure(statement: str, folder: str) -> Sample:
    """Run `statement` in a process of its own, in `folder`."""
    environment = {key: value for key, value in os.environ.items() if key[:6] != "PYTHON"}
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, statement],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    process_s = time.perf_counter() - start
    import_s, _, memory = result.stdout.partition("\n")
    return Sample(float(import_s), process_s, parse_pss_bytes(memory))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all statements in turns, and print a table."""
    parser = argparse.ArgumentParser(
        prog="bench.importtime", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=41, help="processes for each (%(default)s)")
    args = parser.parse_args(argv)
    samples: dict[str, list[Sample]] = {statement: [] for statement in STATEMENTS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(-1, args.rounds):
            for statement, taken in samples.items():
                sample = measure(statement, folder)
                if turn >= 0:  # the one before writes byte code
                    taken.append(sample)
    peer = samples[STATEMENTS[0]]
    rows = []
    for statement, taken in samples.items():
        ours, theirs = ([sample.import_s for sample in each] for each in (taken, peer))
        rows.append(
            (
                statement,
                f"{median(ours) * 1e3:.1f}",
                f"{ratio(ours, theirs) or 0:.2f}",
                f"{median(sample.process_s for sample in taken) * 1e3:.1f}",
                f"{median(sample.pss_bytes for sample in taken) / 2**20:.1f}",
            )
        )
    header = ("statement", "import ms", "of asyncio's", "process ms", "PSS MiB")
    print(table(header, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
