"""What the native codec does with objects: it keeps none, loses none, and survives their lack."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from native_support import (
    CHUNKS,
    FIELDS,
    REQUESTS,
    RESPONSES,
    native_chunks,
    native_fields,
    native_request,
    native_response,
    native_response_head,
    request,
)

from thor import native
from thor_support import ROOT

if not native.loaded:
    pytest.skip("the native codec is not loaded", allow_module_level=True)

CALLS: dict[str, Callable[[], Any]] = {
    "request": lambda: native_request(REQUESTS[1]),
    "request that is not plain": lambda: native_request(request(b"A: b\tc")),
    "response": lambda: native_response(RESPONSES[0]),
    "response that is not plain": lambda: native_response(RESPONSES[0][:-2]),
    "fields": lambda: native_fields(FIELDS),
    "fields with Host": lambda: native_fields([("Host", "a"), *FIELDS], request=True),
    "fields that are not plain": lambda: native_fields([("A", "\u20ac")]),
    "head": lambda: native_response_head(FIELDS),
    "head that is not plain": lambda: native_response_head([("A", "\u20ac")]),
    "chunks": lambda: native_chunks(CHUNKS),
    "chunks that are not plain": lambda: native_chunks(b"1;\r\n"),
}


@pytest.mark.parametrize("name", CALLS)
def test_memory_in_use_stays(name: str) -> None:
    call = CALLS[name]
    for _ in range(50):
        call()
    before = sys.getallocatedblocks()
    for _ in range(1000):
        call()
    assert sys.getallocatedblocks() - before < 100


#: From here on a count says that an object is immortal (PEP 683), and nothing else.
IMMORTAL = 2**30


def references(data: Any) -> list[int]:
    """How often each object in a parsed head is referred to; IMMORTAL if nobody counts."""
    counts = [min(sys.getrefcount(data), IMMORTAL)]
    if isinstance(data, list | tuple):
        counts += [n for item in data for n in references(item)]
    return counts


@pytest.mark.parametrize("name", ["request", "response", "fields with Host", "head", "chunks"])
def test_shared_objects_are_counted_right(name: str) -> None:
    first = CALLS[name]()
    gc.collect()  # What others left in cycles refers to the same objects, and may go at any time.
    before = references(first)
    for _ in range(100):
        CALLS[name]()
    after = references(first)
    assert [b - a for a, b in zip(before, after, strict=True)] == [0] * len(before)


def test_arguments_are_counted_right() -> None:
    buf, start, value = REQUESTS[1] + b"x", b"start of the head", "a value of its own"
    fields = [("A", value)]
    before = [sys.getrefcount(item) for item in (buf, start, value, fields)]
    for _ in range(100):
        native_request(buf)
        native_chunks(buf)
        native_fields(fields, start)
        native_fields([*fields, ("A", 1)], start)
    assert [sys.getrefcount(item) for item in (buf, start, value, fields)] == before


#: Makes each allocation of a call fail in turn, until one call needs no more.
WITHOUT_MEMORY = """
import sys
sys.path[:0] = [{root!r}, {support!r}]
import _testcapi
import native_support as s
calls = [
    lambda: s.native_request(s.REQUESTS[1]),
    lambda: s.native_response(s.RESPONSES[0]),
    lambda: s.native_fields(s.FIELDS),
    lambda: s.native_fields([("Host", "a"), *s.FIELDS], request=True),
    lambda: s.native_fields([("A", "caf\\xe9" * 2)]),
    lambda: s.native_response_head(s.FIELDS),
    lambda: s.native_chunks(s.CHUNKS),
]
for call in calls:
    expected = repr(call())
    failures = 0
    for start in range(200):
        _testcapi.set_nomemory(start, start + 1)
        try:
            found = call()
        except MemoryError:
            found = MemoryError
        finally:
            _testcapi.remove_mem_hooks()
        if found is MemoryError:
            failures += 1
        elif found is not None:
            assert repr(found) == expected, found
    assert expected == "None" or 0 < failures < 100, (failures, expected)
print("survived")
"""


def test_memory_that_fails_anywhere_is_a_memory_error() -> None:
    pytest.importorskip("_testcapi")
    code = WITHOUT_MEMORY.format(root=str(ROOT), support=str(ROOT / "test" / "support"))
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout == "survived\n", result.stderr
