"""Runs each test of this folder with both implementations, as [py] and as [c].

Where the native codec is not loaded there is [py] alone. What looks at a table that only the
Python code keeps is marked `pure_python`, and runs with that.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from native_support import IMPLEMENTATIONS, implementation


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "pure_python: looks at what only the Python code keeps")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    pure = metafunc.definition.get_closest_marker("pure_python") is not None
    metafunc.parametrize("codec", ("py",) if pure else IMPLEMENTATIONS, indirect=True)


@pytest.fixture(autouse=True)
def codec(request: pytest.FixtureRequest) -> Iterator[None]:
    """Bytes are read and written by the one implementation or with the help of the other."""
    with implementation(request.param):
        yield
