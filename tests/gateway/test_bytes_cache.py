"""Laws of the cache of encoded bytes: bounded, and what was used last stays longest."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.bytes_cache import BytesCache


def test_the_longest_unused_goes_first() -> None:
    cache = BytesCache(3 * (100 + BytesCache.ENTRY_BYTES))
    for key in "abc":
        assert cache.put(key, key.encode() * 100) == key.encode() * 100
    assert cache.get("a") == b"a" * 100
    cache.put("d", b"d" * 100)
    assert cache.get("b") is None
    assert {key for key in "abcd" if cache.get(key)} == {"a", "c", "d"}


def test_what_is_larger_than_the_cache_is_not_kept_and_drives_nothing_out() -> None:
    cache = BytesCache(1000)
    cache.put("a", b"a")
    assert cache.put("b", b"b" * 1000) == b"b" * 1000
    assert cache.get("a") == b"a"
    assert cache.get("b") is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 900)), max_size=60))
def test_it_never_holds_more_than_its_bound_and_never_tells_wrong(puts: list[tuple[int, int]]) -> None:
    cache = BytesCache(3000)
    last: dict[int, bytes] = {}
    for key, size in puts:
        last[key] = cache.put(key, bytes(size))
        kept = {one: cache.get(one) for one in last}
        assert all(data is None or data == last[one] for one, data in kept.items())
        held = [data for data in kept.values() if data is not None]
        assert sum(len(data) + BytesCache.ENTRY_BYTES for data in held) <= 3000
        assert cache.get(key) == last[key]
