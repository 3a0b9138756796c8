"""The bounded cache."""

from __future__ import annotations

import pytest

from thor.cache import BoundedCache


@pytest.mark.parametrize("evict_oldest", [False, True])
def test_bounded_cache_keeps_at_most_its_size(evict_oldest: bool) -> None:
    cache: BoundedCache[int, int] = BoundedCache(10, evict_oldest=evict_oldest)
    for i in range(100):
        cache[i] = -i
        assert len(cache) <= 10
        assert cache.get(i) == -i


def test_full_cache_is_emptied_for_a_new_key() -> None:
    cache: BoundedCache[int, int] = BoundedCache(2)
    cache[1] = cache[2] = cache[3] = 0
    assert cache == {3: 0}


def test_full_cache_evicts_its_oldest_entry_where_that_is_asked_for() -> None:
    cache: BoundedCache[int, int] = BoundedCache(2, evict_oldest=True)
    cache[1] = cache[2] = cache[3] = 0
    assert list(cache) == [2, 3]


@pytest.mark.parametrize("evict_oldest", [False, True])
def test_full_cache_replaces_the_value_of_a_key_it_has(evict_oldest: bool) -> None:
    cache: BoundedCache[int, int] = BoundedCache(2, evict_oldest=evict_oldest)
    cache[1] = cache[2] = 0
    cache[2] = 5
    assert cache == {1: 0, 2: 5}
