"""What the interop tests run against; a module's origin and proxy serve all of its tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cli_support import Running, running
from interop_support import Served, ends_well, node_origin

ANYWHERE = ("--listen", "127.0.0.1:0")


@pytest.fixture(scope="module")
def node() -> Iterator[Served]:
    """An origin on Node."""
    with node_origin() as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(node: Served) -> Iterator[Running]:
    """`thor proxy` in front of it, a process of its own."""
    with running("proxy", "--to", node.url, *ANYWHERE) as proxy:
        yield proxy
        ends_well(proxy)
