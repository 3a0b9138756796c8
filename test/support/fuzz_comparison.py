"""Two readings of the same bytes, compared.

Owns: what it means that a parser frames a message in the same way. Must not know which differences
are accepted, but that there is a table of them.

What Thor refuses is compared with nobody: the rule is one reading or none. Of what Thor accepts,
each message must be the same message to the other parser: start, fields, body, trailers, where it
ends and the next one begins. Where it is not, an entry of the table must say so of just this case.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from fuzz_disagreements import TABLE, Case, Disagreement
from fuzz_readings import (
    REQUEST_ORACLES,
    RESPONSE_ORACLES,
    Reading,
    Said,
    thor_requests,
    thor_response,
)

#: How often each entry of the table was needed, by name: of refusals only.
excused: Counter[str] = Counter()


def compare_requests(data: bytes, table: Sequence[Disagreement] = TABLE) -> list[str]:
    """What other parsers make of a client's bytes, where they differ from Thor and no entry says
    so: a line for each."""
    ours = thor_requests([data])
    found = []
    for name, oracle in REQUEST_ORACLES.items():
        entries = [e for e in table if name in e.oracles and e.side != "response"]
        if what := difference(Case(data, b"", ours, oracle(data)), entries):
            found.append(f"{name}: {what}")
    return found


def compare_responses(
    data: bytes, method: bytes, table: Sequence[Disagreement] = TABLE
) -> list[str]:
    """The same of a server's bytes, which answer a request with this method."""
    ours = thor_response([data], method)
    found = []
    for name, oracle in RESPONSE_ORACLES.items():
        theirs = oracle(data, method)
        entries = [e for e in table if name in e.oracles and e.side != "request"]
        if theirs and (what := difference(Case(data, method, ours, theirs), entries)):
            found.append(f"{name}: {what}")
    return found


def difference(case: Case, entries: Sequence[Disagreement]) -> str | None:
    """What is not the same and not accepted by one of the entries; None if all is well."""
    case = case._replace(ours=_copy(case.ours), theirs=_copy(case.theirs))
    ours, theirs = case.ours, case.theirs
    if theirs.first_head_only:
        del ours.messages[1:]
        ours.refused = "not read"
    for entry in entries:
        if entry.amend is not None:
            entry.amend(case)
    for index, said in enumerate(ours.messages):
        other = theirs.messages[index] if index < len(theirs.messages) else None
        what = "is missing" if other is None else _unlike(case, said, other)
        if what is None:
            continue
        if theirs.refused is not None and (other is None or other is theirs.messages[-1]):
            if _is_excused(case, said, entries):
                return None
            what += f" ({theirs.refused})"
        return f"message {index + 1} {what}"
    if ours.refused is None and len(theirs.messages) > len(ours.messages):
        return f"message {len(theirs.messages)} is one too many"
    if None not in (ours.rest, theirs.rest) and ours.rest != theirs.rest:
        return f"leaves {theirs.rest!r} and not {ours.rest!r}"
    return None


def _copy(reading: Reading) -> Reading:
    return replace(reading, messages=[replace(said) for said in reading.messages])


def _is_excused(case: Case, said: Said, entries: Sequence[Disagreement]) -> bool:
    """Whether the table knows why this message is refused."""
    for entry in entries:
        known = entry.refusal and re.search(entry.refusal, case.theirs.refused or "")
        if known and entry.when(case, said):
            excused[entry.name] += 1
            return True
    return False


def _unlike(case: Case, ours: Said, theirs: Said) -> str | None:
    """How the other parser reads a message."""
    for mine, other in zip(ours.start, theirs.start, strict=True):
        if other not in (None, mine):
            return f"starts with {other!r} and not {mine!r}"
    if theirs.fields != ours.fields:
        return f"has {theirs.fields!r} and not {ours.fields!r}"
    if theirs.body is None:
        return None
    if ours.complete:
        if not theirs.complete:
            return "is incomplete"
        if theirs.trailers not in (None, ours.trailers):
            return f"ends with {theirs.trailers!r} and not {ours.trailers!r}"
        alike = theirs.body == ours.body
    elif case.ours.refused is not None:
        # What was read before is what matters; how much of it that is, is chance.
        shorter, longer = sorted([ours.body or b"", theirs.body], key=len)
        alike = longer.startswith(shorter)
    elif case.theirs.refused is not None:
        alike = theirs.body.startswith(ours.body or b"")
    elif theirs.complete:
        return "is complete"
    else:
        alike = theirs.body == ours.body
    return None if alike else f"has the body {theirs.body!r} and not {ours.body!r}"
