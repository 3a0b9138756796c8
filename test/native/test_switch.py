"""Which implementation runs, and that a program need not know."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from thor import native
from thor_support import ROOT

FUNCTIONS = (
    "parse_request",
    "parse_response",
    "render_fields",
    "render_response",
    "decode_chunks",
)

#: Reads a request and answers it, and says who has done so.
PROGRAM = """
import sys
{before}
import thor.native
from thor.http.wire.limits import Limits
from thor.http.wire.reader import RequestReader
from thor.http.wire.writer import response_head
reader = RequestReader(Limits())
reader.feed(b"GET /x HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
head = reader.read_head()
out = response_head(200, "OK", [("Content-Length", "0")], head.method, True, True, b"")
print(thor.native.loaded, (head.method, head.target, head.version), out.data)
"""
SAID = r"(b'GET', b'/x', b'1.1') b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'"


def run(before: str = "", **environment: str) -> str:
    """What PROGRAM prints in an interpreter of its own."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(before=before)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **{key: os.environ[key] for key in os.environ if not key.startswith("THOR_")},
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        },
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_is_there_or_none(name: str) -> None:
    assert callable(getattr(native, name)) is native.loaded
    assert native.loaded or getattr(native, name) is None


@pytest.mark.parametrize("value", ["1", "yes"])
def test_environment_turns_the_codec_off(value: str) -> None:
    assert run(THOR_NO_EXTENSIONS=value) == f"False {SAID}"


@pytest.mark.parametrize("value", ["", "0"])
def test_environment_that_says_no_leaves_the_codec_on(value: str) -> None:
    compiled = run()
    assert compiled.partition(" ")[2] == SAID
    assert run(THOR_NO_EXTENSIONS=value) == compiled


def test_codec_that_cannot_be_loaded_leaves_pure_python() -> None:
    before = "sys.modules['thor.native._codec'] = None"
    assert run(before) == f"False {SAID}"


def test_native_loads_nothing_else_of_thor() -> None:
    code = (
        "import importlib.util, sys\n"
        "sys.modules['thor'] = thor = type(sys)('thor')\n"
        f"thor.__path__ = [{str(ROOT / 'thor')!r}]\n"
        "import thor.native\n"
        "print(*sorted(name for name in sys.modules if name.startswith('thor.')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert set(result.stdout.split()) <= {"thor.native", "thor.native._codec"}
