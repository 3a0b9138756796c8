"""State that other packages keep for a loop.

Owns: one value for each key. Must not know what the values are.

Theory of operation: pipes, pools, caches and lookups belong to one loop, and to the package that
uses them. A value with a `close()` method belongs to one run of the loop: it is closed and dropped
when the loop stops, and in a forked child. A value without one, a cache for example, is kept as
long as the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class LoopLocal:
    """The values of one loop."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable, factory: Callable[[], T]) -> T:
        """Return the value of `key`; make it with `factory()` if there is none.

        key: by convention the class of the value
        """
        try:
            value: T = self._values[key]
        except KeyError:
            value = self._values[key] = factory()
        return value

    def close(self) -> None:
        """Close and drop the values that have a `close()`."""
        for key, value in list(self._values.items()):
            if hasattr(value, "close"):
                del self._values[key]
                value.close()
