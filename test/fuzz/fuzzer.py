"""Coverage-guided fuzzing of Thor's HTTP, with atheris: `make fuzz TIME=600`.

Owns: a run: seeds, time, what was found and its report. What has to hold is in `fuzz_checks`.

Theory of operation: atheris instruments Thor and changes inputs so that they reach more of it; the
first byte of an input chooses the check that it is for. An input that fails a check is a find: it
is made smaller, written to a file, and the run goes on, since one failure hides others. Finds that
fail in the same place are one. With files as arguments each is run once, without atheris.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import logging
import os
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "test" / "support")]

#: Where a run keeps its inputs and its finds; not part of the source.
BUILD = ROOT / "build" / "fuzz"
#: An input takes milliseconds: one that takes so long, or so much, is a find of its own.
INPUT_LIMIT_S = 20
MEMORY_LIMIT_MB = 2048
#: Inputs tried to make a find smaller.
SHRINKING_STEPS = 2000
PROGRESS_S = 60

NO_ATHERIS = (
    "atheris, which coverage-guided fuzzing needs, is not installed for this Python"
    f" ({sys.version.split()[0]}).\nIt has no build for every Python and machine; where it has one:"
    " pip install '.[fuzz]'"
)


def atheris_or_none() -> ModuleType | None:
    """The fuzzing engine, if it is installed."""
    try:
        import atheris  # type: ignore[import-untyped]
    except ImportError:
        return None
    module: ModuleType = atheris
    return module


def load_checks(engine: ModuleType | None) -> ModuleType:
    """Import the checks, and Thor with them, instrumented where there is an engine."""
    instrumenting: Any = contextlib.nullcontext()
    if engine is not None:
        instrumenting = engine.instrument_imports(
            include=["thor.http.wire", "thor.proxy.forwarding"]
        )
    with instrumenting, contextlib.redirect_stderr(io.StringIO()):  # each module would be named
        import fuzz_checks
    return fuzz_checks


def signature(error: BaseException) -> str:
    """Where and how it failed, without what was in the input."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    words = re.sub(r"(b?'(\\.|[^'])*'|b?\"(\\.|[^\"])*\"|\d+)", "*", str(error))[:120]
    return f"{type(error).__name__} in {frame.name}: {words}"


class Run:
    """One run: counts, finds, and when it ends."""

    def __init__(self, checks: ModuleType, seconds: float) -> None:
        self.checks = checks
        self.began = time.monotonic()
        self.seconds = seconds
        self.executions: Counter[str] = Counter()
        self.finds: dict[str, Path] = {}
        self._next_progress = self.began + min(PROGRESS_S, seconds)

    def one_input(self, data: bytes) -> None:
        """What the engine calls, with what it made up."""
        name, error = self._try(data)
        self.executions[name] += 1
        if error is not None and (what := signature(error)) not in self.finds:
            self._keep(data, what)
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_S
            self._say_progress(now)
            if now - self.began >= self.seconds:
                self.end()

    def _try(self, data: bytes) -> tuple[str, BaseException | None]:
        try:
            return self.checks.run(data), None
        except Exception as error:
            return "finds", error

    def _keep(self, data: bytes, what: str) -> None:
        data = self._smaller(data, what)
        path = BUILD / "finds" / hashlib.sha1(data).hexdigest()[:12]
        path.write_bytes(data)
        self.finds[what] = path
        print(f"FIND {path}: {what}\n     {data!r}", flush=True)

    def _smaller(self, data: bytes, what: str) -> bytes:
        """The same find with fewer bytes; the first, which chooses the check, stays."""
        steps, size = 0, len(data) // 2
        while size and steps < SHRINKING_STEPS:
            at = 1
            while at < len(data) and steps < SHRINKING_STEPS:
                steps += 1
                shorter = data[:at] + data[at + size :]
                error = self._try(shorter)[1]
                if error is not None and signature(error) == what:
                    data = shorter
                else:
                    at += size
            size //= 2
        return data

    def _say_progress(self, now: float) -> None:
        total = sum(self.executions.values())
        rate = total / (now - self.began)
        print(f"{now - self.began:6.0f} s  {total} inputs, {rate:.0f}/s", flush=True)

    def end(self) -> None:
        """Report, and end the process: the engine would go on."""
        for name, count in self.executions.items():
            print(f"  {name}: {count}")
        for name, count in sorted(self.checks.excused.items()):
            print(f"  accepted: {name}: {count}")
        print(f"finds: {len(self.finds)}")
        for what, path in self.finds.items():
            print(f"  {path.name}: {what}")
        sys.stdout.flush()
        os._exit(1 if self.finds else 0)


def seed(checks: ModuleType) -> Path:
    """Write what the run starts from, beside what earlier runs have found interesting."""
    corpus = BUILD / "corpus"
    for folder in (corpus, BUILD / "finds"):
        folder.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(_seeds(checks)):
        (corpus / f"seed-{index:04}").write_bytes(data)
    words = [re.sub(r"[^A-Za-z0-9]", lambda m: f"\\x{ord(m[0]):02x}", w.decode("latin-1"))
             for w in checks.WORDS]  # fmt: skip
    dictionary = BUILD / "words.dict"
    dictionary.write_text("".join(f'"{word}"\n' for word in words))
    return dictionary


def _seeds(checks: ModuleType) -> Iterator[bytes]:
    for index, name in enumerate(checks.CHECKS):
        choice = bytes([index])
        if name in ("requests", "way up"):
            yield from (choice + data for data in checks.REQUESTS.values())
        elif name in ("response", "way down"):
            prefix = choice + bytes(checks.PREFIX_BYTES[name])
            yield from (prefix + data for data in checks.RESPONSES.values())
        else:
            yield from (choice + hashlib.shake_128(bytes([n])).digest(96) for n in range(40))


def replay(checks: ModuleType, paths: list[str]) -> int:
    """Run each file once. Returns: how many fail"""
    failures = 0
    for path in paths:
        try:
            name = checks.run(Path(path).read_bytes())
        except Exception:
            failures += 1
            print(f"{path}: fails\n{traceback.format_exc()}")
        else:
            print(f"{path}: passes ({name})")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--time", type=float, default=60, help="how long, in seconds (60)")
    parser.add_argument("--seed", type=int, default=0, help="of the engine; 0: another each time")
    parser.add_argument(
        "file", nargs="*", help="inputs to run once, instead of looking for new ones"
    )
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.file:
        return 1 if replay(load_checks(None), options.file) else 0
    engine = atheris_or_none()
    if engine is None:
        print(NO_ATHERIS, file=sys.stderr)
        return 2
    run = Run(load_checks(engine), options.time)
    dictionary = seed(run.checks)
    arguments = [
        sys.argv[0],
        f"-dict={dictionary}",
        f"-timeout={INPUT_LIMIT_S}",
        f"-rss_limit_mb={MEMORY_LIMIT_MB}",
        f"-artifact_prefix={BUILD}/finds/",
        f"-seed={options.seed}",
        "-max_len=600",
        "-verbosity=0",
        str(BUILD / "corpus"),
    ]
    engine.Setup(arguments, run.one_input)
    engine.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
