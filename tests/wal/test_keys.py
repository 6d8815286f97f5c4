"""Keys: both ways, in the order of their numbers, none in another's way."""

from hypothesis import given
from hypothesis import strategies as st

from wal import keys
from wal.types import LogId

logs = st.integers(0, keys.LOG_MAX).map(LogId)
numbers = st.one_of(st.integers(0, 20), st.integers(0, keys.NUMBER_MAX))
ids = st.text(sorted(keys.ID_CHARACTERS), min_size=1, max_size=30)
object_keys = st.one_of(
    st.builds(keys.BlockKey, logs, numbers, numbers),
    st.builds(keys.MergedKey, logs, ids, numbers),
    st.builds(keys.CheckpointKey, logs, ids),
)


def text(key: keys.ObjectKey) -> str:
    match key:
        case keys.BlockKey():
            return keys.block_key(*key)
        case keys.MergedKey():
            return keys.merged_key(*key)
        case keys.CheckpointKey():
            return keys.checkpoint_key(*key)


@given(object_keys)
def test_an_object_key_says_what_it_was_made_of(key: keys.ObjectKey) -> None:
    parsed = keys.parse_object_key(text(key))
    assert parsed == key
    assert type(parsed) is type(key)


@given(st.text(max_size=60) | st.text("logsmc/0123456789.block-", max_size=80))
def test_any_other_text_is_no_key(key: str) -> None:
    parsed = keys.parse_object_key(key)
    assert parsed is None or text(parsed) == key


@given(object_keys, st.integers(0, 100), st.sampled_from("0x/ -٣"))
def test_a_changed_key_is_no_key_or_another(key: keys.ObjectKey, at: int, character: str) -> None:
    whole = text(key)
    at %= len(whole)
    changed = whole[:at] + character + whole[at + 1 :]
    parsed = keys.parse_object_key(changed)
    assert parsed is None or text(parsed) == changed


@given(st.tuples(logs, numbers, numbers), st.tuples(logs, numbers, numbers))
def test_listing_order_is_log_order(a: tuple[LogId, int, int], b: tuple[LogId, int, int]) -> None:
    assert (keys.block_key(*a) < keys.block_key(*b)) == (a < b)
    assert (keys.segment_key(*a[:2]) < keys.segment_key(*b[:2])) == (a[:2] < b[:2])
    assert (keys.garbage_key(*a[:2]) < keys.garbage_key(*b[:2])) == (a[:2] < b[:2])
    assert (keys.log_key(a[0]) < keys.log_key(b[0])) == (a[0] < b[0])


@given(object_keys, object_keys)
def test_no_object_is_a_directory_of_another(a: keys.ObjectKey, b: keys.ObjectKey) -> None:
    assert not text(a).startswith(text(b) + "/")


@given(logs, numbers, numbers, ids, logs)
def test_prefixes_hold_exactly_their_own(
    log: LogId, segment: int, n: int, attempt: str, other: LogId
) -> None:
    block = keys.block_key(log, segment, n)
    for prefix in (keys.segment_prefix(log, segment), keys.blocks_prefix(log), keys.objects_prefix(log)):
        assert block.startswith(prefix)
    for key in (keys.merged_key(log, attempt, n), keys.checkpoint_key(log, attempt)):
        assert key.startswith(keys.objects_prefix(log))
        assert not key.startswith(keys.blocks_prefix(log))
    assert keys.segment_key(log, segment).startswith(keys.segments_prefix(log))
    assert keys.garbage_key(log, segment).startswith(keys.garbage_prefix(log))
    assert not keys.segment_key(log, segment).startswith(keys.garbage_prefix(log))
    if other != log:
        assert not block.startswith(keys.objects_prefix(other))
        assert not keys.segment_key(log, segment).startswith(keys.log_key(other))


@given(logs, numbers, numbers, ids)
def test_keys_are_printable_ascii_without_empty_parts(log: LogId, segment: int, n: int, attempt: str) -> None:
    made = (
        keys.block_key(log, segment, n),
        keys.merged_key(log, attempt, n),
        keys.checkpoint_key(log, attempt),
        keys.log_key(log),
        keys.segment_key(log, segment),
        keys.garbage_key(log, segment),
    )
    for key in made:
        assert key.isascii()
        assert key.isprintable()
        assert all(key.split("/"))


def test_keys_look_as_they_always_did() -> None:
    assert (
        keys.block_key(LogId(3), 4, 5) == "logs/0000000003/s/00000000000000000004/00000000000000000005.block"
    )
    assert keys.merged_key(LogId(3), "a1", 5) == "logs/0000000003/m/a1/00000000000000000005.block"
    assert keys.checkpoint_key(LogId(3), "a1") == "logs/0000000003/c/a1"
    assert keys.log_key(LogId(3)) == "logs/0000000003"
    assert keys.segment_key(LogId(3), 4) == "logs/0000000003/segments/00000000000000000004"
    assert keys.garbage_key(LogId(3), 4) == "logs/0000000003/garbage/00000000000000000004"
