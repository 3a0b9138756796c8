"""Paths that stay below a prefix, and those that do not."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thor.proxy.paths import leaves_prefix

INSIDE = [
    b"/",
    b"/a/b?c",
    b"//a//b/",
    b"/a/../b",
    b"/a/b/../../c",
    b"/%41/../b",
    b"/a%2fb/../c",
    b"/a/b%20c/../d",
    b"/a/b/%2e%2e%2fc",
    b"/a/%2e%2e/b",
    b"/..a/...",
    b"/a..b/c..",
    b"/%41%2fb",
    b"/a?../../b",
    b"/a?%2e%2e/%2e%2e/",
    b"/caf%C3%A9/100%",
    b"/a;b/c;d=e",
    b"*",
]

OUTSIDE = [
    b"/../b",
    b"/..",
    b"/a/../../b",
    b"/a/../../app/b",
    b"//../b",
    b"/a//../../b",
    b"/./../b",
    b"/%2e%2e/b",
    b"/.%2E/b",
    b"/%2E./b",
    b"/..%2fb",
    b"/..%2Fb",
    b"/%2e%2e%2fb",
    b"/%252e%252e/b",
    b"/%252e%252e%252fb",
    b"/%2%65%2%65/b",
    b"/..\\b",
    b"/..%5cb",
    b"/..%255Cb",
    b"/\\../b",
    b"/..;/b",
    b"/..;x=y/b",
    b"/%2e%2e;x/b",
    b"/..%3bx/b",
    b"/..%253bx/b",
    b"/;x/../b",
    b"/a;%2f..%2f../../b",
    b"/..%00x/b",
    b"/..%3fx",
    b"/..%23x",
    b"/a%2f../../b",
    b"/a%2fb/%2e%2e/%2e%2e/c",
    b"/a%2Fb/%2e%2e%2f%2e%2e/c",
    b"/a%3b%2fb/..%3bx/..%3bx/c",
]


@pytest.mark.parametrize("target", INSIDE, ids=repr)
def test_path_stays_inside(target: bytes) -> None:
    assert not leaves_prefix(target)


@pytest.mark.parametrize("target", OUTSIDE, ids=repr)
def test_path_that_leaves_the_prefix_is_recognized(target: bytes) -> None:
    assert leaves_prefix(target)


PIECES = [b"..", b".", b"a", b"", b"%2e", b"%252e", b";p", b"%3bp"]
SEPARATORS = [b"/", b"\\", b"%2f", b"%5C", b"%252F"]


def server_reading(
    path: bytes, decodings: int, cuts: bool, merges: bool, slashes: bool, backslashes: bool
) -> list[bytes] | None:
    """The segments below the prefix as one kind of server has them; None: it is not below."""
    if cuts:
        path = b"/".join(segment.partition(b";")[0] for segment in path.split(b"/"))
    for _ in range(decodings):
        path = _decode(path, slashes)
    if backslashes:
        path = path.replace(b"\\", b"/")
    stack: list[bytes] = []
    for segment in path.split(b"/")[1:]:
        if segment == b"..":
            if not stack:
                return None
            stack.pop()
        elif segment != b"." and not (merges and not segment):
            stack.append(segment)
    return stack


def _decode(path: bytes, slashes: bool) -> bytes:
    for octet in b"%./\\;" if slashes else b"%.\\;":
        for form in (b"%%%02x" % octet, b"%%%02X" % octet):
            path = path.replace(form, b"\0" if octet == 0x25 else bytes((octet,)))
    return path.replace(b"\0", b"%")


@given(st.lists(st.tuples(st.sampled_from(SEPARATORS), st.sampled_from(PIECES)), max_size=6))
def test_accepted_path_is_inside_for_every_server(parts: list[tuple[bytes, bytes]]) -> None:
    path = b"/" + b"".join(itertools.chain.from_iterable(parts))
    if not leaves_prefix(path):
        ways: Any
        for decodings, *ways in itertools.product((0, 1, 2), *[(False, True)] * 4):
            assert server_reading(path, decodings, *ways) is not None, (decodings, ways)
