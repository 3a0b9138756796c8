"""What a mutant is: one fault in the source, and the tests that must notice it.

Owns: the shape of a row, how a mutant is applied, and the list of all tables. A row's text stands
exactly once in its file, so it is quoted with as much around it as that takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent


class MutantError(Exception):
    """A mutant does not apply to the source as it is."""


class Mutant(NamedTuple):
    """A fault in one file.

    file: relative to the checkout
    old, new: the text that stands there once, and what it is replaced with
    tests: what pytest runs, of which at least one test must fail; the likeliest first
    breaks: what goes wrong, as somebody outside would see it
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    breaks: str

    def apply(self, source: str) -> str:
        """Return `source` with the fault; MutantError if its text does not stand there once."""
        found = source.count(self.old)
        if found != 1:
            raise MutantError(f"{self.name}: its text stands {found} times in {self.file}")
        return source.replace(self.old, self.new)


def all_mutants() -> list[Mutant]:
    """Return the mutants of every table."""
    import loop_mutants
    import proxy_mutants
    import server_client_mutants
    import transport_mutants
    import wire_mutants

    tables = (
        wire_mutants,
        server_client_mutants,
        transport_mutants,
        loop_mutants,
        proxy_mutants,
    )
    return [mutant for table in tables for mutant in table.MUTANTS]
