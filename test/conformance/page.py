"""`doc/conformance.rst`, made from the tables.

Owns: how the page looks. Must not know Thor: what the page says is in the tables. `make
conformance` writes it; a test compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import client_body_cases
import client_connection_cases
import client_head_cases
import client_request_cases
import client_rules
import proxy_connection_cases
import proxy_ending_cases
import proxy_request_cases
import proxy_response_cases
import proxy_rules
import server_answer_cases
import server_chunk_cases
import server_connection_cases
import server_framing_cases
import server_head_cases
import server_rules
import server_switch_cases
import server_target_cases
from shapes import (
    Answer,
    Ask,
    Case,
    ClientCase,
    ProxyCase,
    Rule,
    Seen,
    ServerCase,
    Step,
    Wait,
)

PAGE = Path(__file__).resolve().parents[2] / "doc" / "conformance.rst"
INTRODUCTION = Path(__file__).with_name("introduction.rst")
CONCLUSION = Path(__file__).with_name("conclusion.rst")

CHAPTERS: dict[str, list[Rule]] = {
    **server_rules.CHAPTERS,
    **client_rules.CHAPTERS,
    **proxy_rules.CHAPTERS,
}
CASES: list[Case] = [
    *server_head_cases.CASES,
    *server_target_cases.CASES,
    *server_framing_cases.CASES,
    *server_chunk_cases.CASES,
    *server_connection_cases.CASES,
    *server_switch_cases.CASES,
    *server_answer_cases.CASES,
    *client_request_cases.CASES,
    *client_head_cases.CASES,
    *client_body_cases.CASES,
    *client_connection_cases.CASES,
    *proxy_request_cases.CASES,
    *proxy_response_cases.CASES,
    *proxy_ending_cases.CASES,
    *proxy_connection_cases.CASES,
]

#: Longer bytes are cut in the middle.
MOST_BYTES = 200


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from INTRODUCTION.read_text().replace("COUNT", str(len(CASES))).splitlines()
    by_rule: dict[str, list[Case]] = {}
    for case in CASES:
        by_rule.setdefault(case.rule, []).append(case)
    for chapter, rules in CHAPTERS.items():
        yield from ("", chapter, "-" * len(chapter), "")
        yield from _sources((12, 54, 18, 16), ("Section", "What", "Where", "Shown by"))
        for rule in rules:
            count = len(by_rule.get(rule.key, ()))
            cases = f"{count} case{'s' * (count > 1)}: `{rule.key}`_"
            shown = f"``{rule.test}``" if rule.test else cases
            yield _row(rule.section, rule.what, f"``{rule.where}``", shown)
    yield from CONCLUSION.read_text().splitlines()
    for rules in CHAPTERS.values():
        for rule in rules:
            if rule.key in by_rule:
                yield from ("", rule.key, "~" * len(rule.key), "")
                yield from _sources((20, 45, 35), ("Case", "In", "Reaction"))
                yield from (_row(case.id, *_told(case)) for case in by_rule[rule.key])


def _sources(widths: Iterable[int], titles: Iterable[str]) -> Iterator[str]:
    yield ".. csv-table::"
    yield "   :header-rows: 1"
    yield f"   :widths: {', '.join(map(str, widths))}"
    yield "   :delim: |"
    yield ""
    yield _row(*titles)


def _row(*cells: str) -> str:
    return "   " + " | ".join(cells)


# -- cases ----------------------------------------------------------------------------------------


def _told(case: Case) -> tuple[str, str]:
    """What comes in, and what is required."""
    if isinstance(case, ServerCase):
        return _server_input(case), _server_reaction(case)
    if isinstance(case, ClientCase):
        return _client_input(case), _client_reaction(case)
    return _proxy_story(case)


def _server_input(case: ServerCase) -> str:
    told = [_steps(case.sends)]
    if isinstance(case.program, Answer):
        told.append(f"the program answers {_answer(case.program)}")
    elif case.program != "answer":
        told.append(f"the program: {case.program}")
    return _joined([*told, *_settings(case.settings)])


def _server_reaction(case: ServerCase) -> str:
    told = []
    if isinstance(case.gets, bytes):
        told.append(_octets(case.gets + case.rest) if case.gets else "nothing")
    elif case.gets:
        told.append(_statuses(case.gets))
    told.append(case.then)
    told += [f"``{name}``" for name in (case.error, case.raises) if name]
    if case.seen and not case.error and case.program == "answer":
        told.append(f"the program gets {_requests(case.seen)}")
    return _joined(told)


def _client_input(case: ClientCase) -> str:
    told = []
    if case.ask != Ask():
        told.append(f"the program asks {_ask(case.ask)}")
    if case.pauses:
        told.append("the program pauses at the head")
    if case.early:
        told.append(f"before the request {_octets(case.early)}")
    if case.sends:
        told.append(_steps(case.sends))
    if case.again:
        told.append(f"on the next connection {_steps(case.again)}")
    return _joined([*told, *_settings(case.settings)])


def _client_reaction(case: ClientCase) -> str:
    told = []
    if case.sent is not None:
        told.append(f"sends {_octets(case.sent)}" if case.sent else "sends nothing")
    told += map(str, case.nonfinal)
    if case.status is not None:
        told.append(str(case.status))
    if case.body:
        told.append(_octets(case.body))
    if case.trailers:
        told.append(f"trailers {_fields(case.trailers)}")
    if case.error:
        told.append(f"``{case.error}``")
    return _joined([*told, case.then])


def _proxy_story(case: ProxyCase) -> tuple[str, str]:
    come, go = [], []
    for turn in case.turns:
        if turn.does == "sends":
            come.append(f"{turn.who}: {_steps(turn.what)}")
        elif turn.does == "gets":
            go.append(f"{turn.who}: {_octets(turn.what)}")
        else:
            go.append(f"{turn.who} {turn.what}")
    if case.down:
        come.append(f"refused by {', '.join(case.down)}")
    return _joined([*come, *_settings({**case.settings, **case.client})]), _joined(go)


# -- words ----------------------------------------------------------------------------------------


def _joined(told: Iterable[str]) -> str:
    return "; ".join(told)


def _steps(steps: Iterable[Step]) -> str:
    told: list[str] = []
    for step in steps:
        if isinstance(step, bytes):
            told.append(_octets(step))
        elif isinstance(step, Wait):
            told.append(f"{step.seconds:g} s pass")
        else:
            told.append(step.value)
    if len(told) > 12:
        told[6:-3] = ["..."]
    return ", ".join(told)


def _octets(octets: bytes) -> str:
    r"""Bytes as an inline literal, in which `|` would end the cell."""
    if len(octets) > MOST_BYTES:
        shown = f"{_escaped(octets[: MOST_BYTES // 2])} ... {_escaped(octets[-20:])}"
        return f"``{shown}`` ({len(octets)} bytes)"
    return f"``{_escaped(octets)}``" if octets else "nothing"


def _escaped(octets: bytes) -> str:
    text = "".join(
        chr(octet) if 0x20 <= octet < 0x7F and octet not in b"`|" else _escape(octet)
        for octet in octets
    )
    if text[:1] == " ":
        text = "\\x20" + text[1:]
    return text[:-1] + "\\x20" if text[-1:] == " " else text


def _escape(octet: int) -> str:
    return {0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t", 0: "\\0"}.get(octet, f"\\x{octet:02x}")


def _text(text: str) -> str:
    return _octets(text.encode("unicode_escape" if not text.isascii() else "ascii"))


def _statuses(statuses: tuple[int, ...]) -> str:
    if len(statuses) > 9:
        return f"{len(statuses)} times {statuses[0]}"
    return ", ".join(map(str, statuses))


def _requests(requests: tuple[Seen, ...]) -> str:
    told = []
    for request in requests[:3]:
        words = [_octets(request.method + b" " + request.target)]
        if request.fields and len(request.fields) < 5:
            words.append(f"fields {_fields(request.fields)}")
        if request.body:
            words.append(f"body {_octets(request.body)}")
        if request.trailers:
            words.append(f"trailers {_fields(request.trailers)}")
        told.append(" ".join(words))
    return " and ".join(told) + (" and so on" if len(requests) > 3 else "")


def _fields(fields: Iterable[tuple[bytes, bytes]]) -> str:
    return _octets(b", ".join(b"%b: %b" % field for field in fields))


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return _text(", ".join(f"{name}: {value}" for name, value in pairs))


def _answer(answer: Answer) -> str:
    told = [*map(str, answer.nonfinal), _text(f"{answer.status} {answer.phrase}")]
    if answer.fields:
        told.append(_pairs(answer.fields))
    told += map(_octets, answer.body)
    if answer.trailers:
        told.append(f"trailers {_pairs(answer.trailers)}")
    return ", ".join(told)


def _ask(ask: Ask) -> str:
    told = [_text(f"{ask.method} {ask.uri}")]
    if ask.fields:
        told.append(_pairs(ask.fields))
    told += map(_octets, ask.body)
    if ask.trailers:
        told.append(f"trailers {_pairs(ask.trailers)}")
    told += [_text(f"{name}={value!r}") for name, value in ask.options]
    return ", ".join(told) + ("" if ask.done else ", and so on")


def _settings(settings: object) -> list[str]:
    assert isinstance(settings, dict)
    return [f"``{name} = {value!r}``" for name, value in settings.items()]


if __name__ == "__main__":
    PAGE.write_text(page())
