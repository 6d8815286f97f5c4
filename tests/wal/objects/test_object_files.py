"""The file system store under a disk that loses whatever no flush covered (tests/support/crashing_files.py).

The law: every acknowledged put survives any crash, no object is ever seen in part, and what was deleted stays
away. It is checked at every system call, and each flush in turn is shown to be needed for it.
"""

import errno
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from tests.support.crashing_files import CrashingFiles, Flush, Killed
from wal.errors import Unavailable
from wal.objects.base import ObjectExists, ObjectMissing
from wal.objects.object_files import PINNED_MAX, PUT_ATTEMPTS, ObjectFiles

ROOT = Path("/srv/drumlog")
SEEDS = 12

BODIES = {
    "logs/1/s/7/0.block": b"a" * 50,
    "logs/1/s/7/1.block": b"b" * 70,
    "logs/1/c/chunk": b"c" * 30,
    "cluster": b"d" * 10,
    "logs/1/s/8/0.block": b"e" * 20,
}


@dataclass
class Acknowledged:
    """What the store has answered for so far."""

    present: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)


def put(objects: ObjectFiles, acknowledged: Acknowledged, key: str) -> None:
    body = BODIES[key]
    # Once it says that the object exists, its caller may find the body to be its own and rely on it.
    with suppress(ObjectExists):
        objects.put(key, [body[:7], b"", memoryview(body)[7:]])
    acknowledged.present.add(key)


def delete(objects: ObjectFiles, acknowledged: Acknowledged, key: str) -> None:
    acknowledged.present.discard(key)
    objects.delete([key])
    acknowledged.deleted.add(key)


def play(files: CrashingFiles, acknowledged: Acknowledged, *, to_the_end: bool = True) -> None:
    """A life of the store, up to its end, to its deletions or to the call at which it is killed."""
    with suppress(Killed):
        objects = ObjectFiles(files, ROOT)
        for key in BODIES:
            put(objects, acknowledged, key)
        if to_the_end:
            delete(objects, acknowledged, "logs/1/s/7/0.block")
            delete(objects, acknowledged, "logs/1/c/chunk")


def broken(files: CrashingFiles, acknowledged: Acknowledged) -> str | None:
    """How the disk after a crash breaks the law, None if it does not."""
    objects = ObjectFiles(files, ROOT)
    found = {}
    for row in objects.list("", ""):
        found[row.key] = objects.get(row.key)
        if found[row.key] != BODIES[row.key] or row.size != len(BODIES[row.key]):
            return f"{row.key} is torn"
    for key in acknowledged.present:
        if key not in found:
            return f"{key} is lost"
    for key in acknowledged.deleted:
        if key in found:
            return f"{key} has come back"
    objects.close()
    assert files.open_count == 0
    return None


def whole_life() -> CrashingFiles:
    files = CrashingFiles()
    play(files, Acknowledged())
    return files


FLUSHES = whole_life().flushes
CALLS = len(whole_life().calls)


def crashes(skip: int | None = None) -> Iterator[tuple[CrashingFiles, Acknowledged]]:
    """The disk after a crash at every call and by every seed."""
    for stop_at in range(CALLS + 1):
        files, acknowledged = (
            CrashingFiles(stop_at=stop_at, skip=() if skip is None else {skip}),
            Acknowledged(),
        )
        play(files, acknowledged)
        for seed in range(SEEDS):
            yield files.crash(seed), acknowledged


def test_what_was_acknowledged_survives_a_crash_at_any_call_and_nothing_is_torn() -> None:
    for files, acknowledged in crashes():
        assert broken(files, acknowledged) is None


@pytest.mark.parametrize(
    "ordinal", range(len(FLUSHES)), ids=lambda n: f"{n} {FLUSHES[n].kind} {FLUSHES[n].path}"
)
def test_no_flush_of_a_new_store_can_be_left_out(ordinal: int) -> None:
    assert any(broken(*crash) for crash in crashes(skip=ordinal))


def second_life(
    stop_at: int, skip: Collection[int] = (), *, to_the_end: bool = True
) -> tuple[CrashingFiles, Acknowledged]:
    """A first process is killed at a call; a second one does everything again."""
    acknowledged = Acknowledged()
    first = CrashingFiles(stop_at=stop_at)
    play(first, acknowledged)
    # What the first one deleted is put again.
    second = first.killed(skip=skip)
    acknowledged.deleted.clear()
    play(second, acknowledged, to_the_end=to_the_end)
    return second, acknowledged


def test_what_a_killed_process_left_unflushed_is_durable_once_its_successor_relies_on_it() -> None:
    for stop_at in range(CALLS + 1):
        for to_the_end in (False, True):
            files, acknowledged = second_life(stop_at, to_the_end=to_the_end)
            for seed in range(SEEDS // 2):
                assert broken(files.crash(seed), acknowledged) is None


def is_needed_in_second_life(flush: Flush) -> bool:
    for stop_at in range(CALLS + 1):
        for to_the_end in (False, True):
            flushes = second_life(stop_at, to_the_end=to_the_end)[0].flushes
            for ordinal in [n for n, other in enumerate(flushes) if other == flush]:
                files, acknowledged = second_life(stop_at, {ordinal}, to_the_end=to_the_end)
                if any(broken(files.crash(seed), acknowledged) for seed in range(SEEDS)):
                    return True
    return False


@pytest.mark.parametrize("flush", sorted(set(FLUSHES)), ids=lambda flush: f"{flush.kind} {flush.path}")
def test_no_flush_can_be_left_out_because_a_killed_process_may_have_done_it(flush: Flush) -> None:
    assert is_needed_in_second_life(flush)


def found_made(skip: Collection[int]) -> CrashingFiles:
    """A process is killed right after its link; another one is told that the object exists."""
    key = "logs/1/s/7/0.block"
    first = CrashingFiles(
        stop_at=next(n for n, call in enumerate(whole_life().calls) if call.startswith("link")) + 1
    )
    play(first, Acknowledged())
    second = first.beside(skip=skip)
    with pytest.raises(ObjectExists):
        ObjectFiles(second, ROOT).put(key, [BODIES[key]])
    return second


@pytest.mark.parametrize("kept", [True, False])
def test_that_an_object_exists_is_said_only_once_that_is_durable(kept: bool) -> None:
    last = len(found_made(()).flushes) - 1
    files = found_made(() if kept else {last})
    relied_on = Acknowledged({"logs/1/s/7/0.block"})
    assert kept == all(broken(files.crash(seed), relied_on) is None for seed in range(SEEDS))


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_failing_call_is_an_error_or_harmless_and_never_a_false_acknowledgement(code: int) -> None:
    for number in range(CALLS):
        files, acknowledged = CrashingFiles(fail={number: code}), Acknowledged()
        with suppress(OSError, Unavailable):
            play(files, acknowledged)
        for seed in range(3):
            assert broken(files.crash(seed), acknowledged) is None


def test_nothing_is_written_any_more_after_a_directory_could_not_be_flushed() -> None:
    number = [n for n, call in enumerate(whole_life().calls) if call == "fsync"][-4]
    objects = ObjectFiles(CrashingFiles(fail={number: errno.EIO}), ROOT)
    with pytest.raises(OSError, match="error"):
        for key in BODIES:
            put(objects, Acknowledged(), key)
    for _ in range(2):
        with pytest.raises(Unavailable, match="start the process again"):
            objects.put("cluster", [b"d" * 10])


def test_short_writes_and_more_parts_than_one_call_takes_make_the_same_object() -> None:
    files = CrashingFiles(short_writes=Random(5))
    objects = ObjectFiles(files, ROOT)
    parts = [bytes([n % 251]) * (n % 7) for n in range(3000)]
    objects.put("a/b", parts)
    assert objects.get("a/b") == b"".join(parts)


def test_a_link_that_was_done_but_answered_as_a_repetition_counts_as_ours() -> None:
    numbers = [n for n, call in enumerate(whole_life().calls) if call.startswith("link")]
    files = CrashingFiles(lie=numbers)
    objects = ObjectFiles(files, ROOT)
    for key, body in BODIES.items():
        objects.put(key, [body])
    with pytest.raises(ObjectExists):
        objects.put("cluster", [b"another"])
    assert objects.get("cluster") == BODIES["cluster"]


class Interrupted(CrashingFiles):
    """Lets something happen just before a link."""

    def __init__(self, before_link: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.before_link = before_link

    def link(self, source: str, source_directory: int, target: str, target_directory: int) -> None:
        if self.before_link is not None:
            self.before_link()
        super().link(source, source_directory, target, target_directory)


def test_a_put_whose_directory_is_removed_under_its_feet_makes_it_again() -> None:
    files = Interrupted()
    objects, other = ObjectFiles(files, ROOT), ObjectFiles(files.beside(), ROOT)
    objects.put("a/b/1", [b"one"])
    turns = iter(range(PUT_ATTEMPTS - 1))

    def remove() -> None:
        if next(turns, None) is not None:
            other.delete(["a/b/1"])

    files.before_link = remove
    objects.put("a/b/2", [b"two"])
    for seed in range(SEEDS):
        assert ObjectFiles(files.crash(seed), ROOT).get("a/b/2") == b"two"


def test_a_put_that_loses_its_directory_again_and_again_gives_up() -> None:
    files = Interrupted()
    objects, other = ObjectFiles(files, ROOT), ObjectFiles(files.beside(), ROOT)

    def remove() -> None:
        other.delete(["a/b/1"])

    files.before_link = remove
    with pytest.raises(FileNotFoundError):
        objects.put("a/b/2", [b"two"])


def test_directories_that_became_empty_are_removed_and_others_are_not() -> None:
    files = CrashingFiles()
    objects = ObjectFiles(files, ROOT)
    objects.put("a/b/1", [b"one"])
    objects.put("a/c/1", [b"one"])
    objects.delete(["a/b/1"])
    assert files.calls[-6:].count("rmdir a/b") == 1
    with pytest.raises(FileNotFoundError):
        files.size(str(ROOT / "objects/a/b"), None)  # type: ignore[arg-type]
    assert [row.key for row in objects.list("", "")] == ["a/c/1"]


def test_only_so_many_directories_are_kept_open() -> None:
    files = CrashingFiles()
    objects = ObjectFiles(files, ROOT)
    for n in range(PINNED_MAX * 2):
        objects.put(f"a/{n}/x", [b"one"])
    assert files.open_count < PINNED_MAX + 10
    objects.close()
    assert files.open_count == 0


def test_left_overs_of_dead_processes_are_swept_and_those_of_living_ones_are_not() -> None:
    calls = whole_life().calls
    number = next(n for n, call in enumerate(calls) if call.startswith("link"))
    dead = CrashingFiles(stop_at=number)
    play(dead, Acknowledged())
    assert len(dead.paths()) == 2
    living = dead.killed(stop_at=10_000)
    alive = ObjectFiles(living, ROOT)
    assert len(living.paths()) == 1

    other = living.beside()
    at_link: list[list[str]] = []

    class Watching(ObjectFiles):
        def _link(self, file: int, temporary: str, directory: int, name: str) -> bool:
            ObjectFiles(other, ROOT)
            at_link.append(other.paths())
            return super()._link(file, temporary, directory, name)

    alive.__class__ = Watching
    alive.put("cluster", [b"whole"])
    assert len(at_link[0]) == 3
    assert alive.get("cluster") == b"whole"


def test_a_directory_is_no_object() -> None:
    objects = ObjectFiles(CrashingFiles(), ROOT)
    objects.put("a/b/1", [b"one"])
    for key in ("a/b", "a/b/1/2", "a/x/1"):
        with pytest.raises(ObjectMissing):
            objects.get(key)
        objects.delete([key])
    assert objects.get("a/b/1") == b"one"


def test_hidden_and_foreign_files_are_not_listed() -> None:
    files = CrashingFiles()
    objects = ObjectFiles(files, ROOT)
    objects.put("a/1", [b"one"])
    for name in (".nfs0001", "naïve", "two\nlines"):
        files.close(files.open(str(ROOT / "objects/a" / name), 0o102))
    assert [row.key for row in objects.list("", "")] == ["a/1"]
