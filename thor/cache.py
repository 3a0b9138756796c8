"""The one bounded cache.

Owns: `BoundedCache`. Must not know what is kept in it.
"""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(dict[K, V]):
    """A dict of at most `max_size` entries, so that no peer can fill memory through its keys.

    Assigning one more entry empties a full cache, which threads may share; with `evict_oldest`,
    it removes the entry that was added first. Only `cache[key] = value` keeps to the bound:
    `setdefault` and `update` do not. Reading is what a dict does, in C.

    A hot path looks `cache.get` up once, at import: CPython specialises `cache.get(key)` for a
    dict, but not for a subclass, and a call of the bound method costs less than either.
    """

    __slots__ = ("evict_oldest", "max_size")

    def __init__(self, max_size: int, *, evict_oldest: bool = False) -> None:
        super().__init__()
        self.max_size = max_size
        self.evict_oldest = evict_oldest

    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= self.max_size and key not in self:
            if self.evict_oldest:
                del self[next(iter(self))]
            else:
                self.clear()
        super().__setitem__(key, value)
