"""The tables themselves, and the page that is made from them."""

from __future__ import annotations

import re
from collections import Counter

import page

from thor_support import ROOT

SIDES = ("server", "client", "proxy")
RULES = [rule for rules in page.CHAPTERS.values() for rule in rules]


def test_the_page_is_what_the_tables_say() -> None:
    written = page.PAGE.read_text()
    assert written == page.page(), "run: make conformance"


def test_no_two_cases_have_the_same_name() -> None:
    names = Counter((case.rule, case.id) for case in page.CASES)
    assert [name for name, count in names.items() if count > 1] == []
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", case.id) for case in page.CASES)


def test_no_two_rules_have_the_same_name() -> None:
    assert [key for key, count in Counter(rule.key for rule in RULES).items() if count > 1] == []


def test_every_case_shows_a_rule() -> None:
    assert {case.rule for case in page.CASES} <= {rule.key for rule in RULES}


def test_rule_is_shown_by_cases_or_by_a_test() -> None:
    shown = {case.rule for case in page.CASES}
    assert [rule.key for rule in RULES if (rule.key in shown) is bool(rule.test)] == []
    assert [rule.key for rule in RULES if rule.test and not _is_there(rule.test)] == []


def _is_there(named: str) -> bool:
    file, _, test = named.partition("::")
    return f"def {test}(" in (ROOT / "test" / file).read_text()


def test_rule_names_code_that_is_there() -> None:
    missing = [rule.key for rule in RULES if not (ROOT / "thor" / rule.where).is_file()]
    assert missing == []


def test_the_tests_run_every_table() -> None:
    told = "".join((ROOT / "test/conformance" / f"test_{side}.py").read_text() for side in SIDES)
    tables = {path.stem for path in (ROOT / "test/conformance").glob("*_cases.py")}
    assert {table for table in tables if f"    {table},\n" not in told} == set()
