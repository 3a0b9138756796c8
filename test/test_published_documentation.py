"""Thor's published documentation holds: nothing of it is left out of the tests of it.

The tests are in `test/published/`, one for each heading and each example. The examples run as they
stand, but for two slips of the TCP and TLS examples: `sys.argv[1:2]` has one element too few, and
what is received is `bytes`.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from published_support import code_blocks, headings, need_text

SOURCES = [path.read_text() for path in sorted((Path(__file__).parent / "published").glob("*.py"))]

#: A part of each example, and of each block that is none.
EXAMPLES = [
    "def test_handler",
    "@on(my_event_emitter, 'blow_up')",
    "@on(my_event_emitter)\n",
    '("Content-Type", " text/plain")',
    "c = thor.TcpClient()",
    "c = thor.TlsClient()",
    's = TcpServer("localhost"',
]
NO_EXAMPLES = [
    "easy\\_install",
    "pip install",
    "setup.py",
    "Developer's Certificate",
    "Signed-off",
    ":alt:",
]


@pytest.fixture(autouse=True)
def _texts() -> None:
    need_text()


def headings_with_tests() -> set[str]:
    """The arguments of `@documents` in the tests."""
    return {
        argument.value
        for source in SOURCES
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "documents"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def test_every_heading_has_its_test() -> None:
    assert headings_with_tests() == set(headings())


def test_every_example_is_known() -> None:
    known = EXAMPLES + NO_EXAMPLES
    assert [block for block in code_blocks() if not any(part in block for part in known)] == []


@pytest.mark.parametrize("part", EXAMPLES)
def test_every_example_has_its_test(part: str) -> None:
    strings = {
        node.value
        for source in SOURCES
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert part in strings
