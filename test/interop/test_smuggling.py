"""Messages that two parsers may read in two ways: whatever is behind or in front of Thor, no
request comes through that nobody made, and nobody gets an answer that is not his."""

from __future__ import annotations

from pathlib import Path

import pytest
from interop_support import interop
from smuggling_cases import REQUESTS
from smuggling_chains import chain, send

pytestmark = [interop, pytest.mark.deadline_s(300)]

IN_FRONT = [
    ("thor-proxy", "nginx"),
    ("thor-proxy", "node"),
    ("thor-proxy", "node-lenient"),
    ("thor-proxy", "aiohttp"),
    ("thor-proxy", "thor-server"),
    ("thor-proxy", "sloppy-about-lengths"),
    ("thor-proxy", "sloppy-about-codings"),
    ("thor-proxy", "haproxy", "node"),
    ("thor-proxy", "thor-proxy", "node"),
]
BEHIND_OTHERS = [
    ("haproxy", "thor-proxy", "node"),
    ("haproxy-lenient", "thor-proxy", "node-lenient"),
    ("haproxy-lenient", "thor-server"),
    ("nginx", "thor-proxy", "node"),
    ("nginx", "thor-proxy", "sloppy-about-codings"),
    ("nginx", "thor-server"),
]


@pytest.mark.parametrize("hops", [*IN_FRONT, *BEHIND_OTHERS], ids=" - ".join)
def test_no_request_is_smuggled(hops: tuple[str, ...], tmp_path: Path) -> None:
    wrong = []
    with chain(tmp_path, *hops) as at:
        for number, case in enumerate(REQUESTS):
            wrong += send(at, case, number)
    assert not wrong, "\n".join(wrong)
