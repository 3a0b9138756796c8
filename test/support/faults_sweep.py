"""The sweep: a scenario, with each fault at each of its calls.

Owns: which scenario is run with what, and what is compared. Must not know any scenario, nor what is
promised.

Theory of operation: a scenario is run once as it should be, which counts its calls, and then once
for each fault at each call of that kind. A `World` says what is wrong after each. After a harmless
fault all was as without one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from faults_kernel import Fault
from faults_table import FAULTS
from faults_world import World

#: What happens in a world.
Scenario = Callable[[World], Any]


def noticing(*calls: str) -> Callable[[Scenario], Scenario]:
    """Of a scenario in which harmless faults of these kinds of calls may be noticed."""

    def mark(scenario: Scenario) -> Scenario:
        vars(scenario)["noticed"] = calls
        return scenario

    return mark


def only(*kinds: str) -> Callable[[Scenario], Scenario]:
    """Of a scenario that is costly, and is run with these kinds of faults alone."""

    def mark(scenario: Scenario) -> Scenario:
        vars(scenario)["kinds"] = kinds
        return scenario

    return mark


def sweep(scenario: Scenario, kinds: Iterable[str] = FAULTS) -> int:
    """Run `scenario` with each fault of these kinds at each call; return how often it was run.

    A scenario that is marked with `only` is run with those kinds alone. Raises: AssertionError,
    which says what was wrong after which fault.
    """
    usual = _usual(scenario)
    runs = 0
    wrong: list[str] = []
    for fault in [fault for kind in getattr(scenario, "kinds", kinds) for fault in FAULTS[kind]]:
        for nth in range(1, usual.calls[fault.call] + 1):
            runs += 1
            world = World((fault, nth))
            found = world.run(scenario) or _compare(scenario, fault, usual, world)
            wrong += [f"{fault.name} at {fault.call} {nth}: {what}" for what in found]
    assert not wrong, f"{len(wrong)} of {runs} runs:\n" + "\n".join(wrong[:40])
    return runs


class _Usual(NamedTuple):
    """A scenario as it should be: its calls by kind, what everybody heard, the whole bodies."""

    calls: Counter[str]
    outcome: dict[str, Any]
    bodies: set[tuple[str, bytes]]


def _usual(scenario: Scenario) -> _Usual:
    world = World()
    assert world.run(scenario) == [], "without a fault"
    return _Usual(world.kernel.calls, world.outcome(), world.whole_bodies())


def _compare(scenario: Scenario, fault: Fault, usual: _Usual, world: World) -> list[str]:
    """What is wrong about what was heard."""
    if fault.harmless and fault.call not in getattr(scenario, "noticed", ()):
        expected, found = usual.outcome, world.outcome()
        return [
            f"{name}: {found.get(name)!r} instead of {expected.get(name)!r}"
            for name in dict.fromkeys((*expected, *found))
            if found.get(name) != expected.get(name)
        ]
    known = usual.bodies
    if fault.does == "before interrupt":
        return []  # what the program would have sent then, it did not
    return [
        f"taken for whole: {body!r}"
        for what, body in world.whole_bodies() - known
        if any(what == kind for kind, _ in known)
    ]
