"""The rules of records, against a plain dictionary."""

from hypothesis import given, settings
from hypothesis import strategies as st

from wal.meta.base import Change, Compare, Delete, KeyValue, Operation, Put, RevisionIs
from wal.meta.records import Records, check_txn

keys = st.sampled_from(["a", "a/b", "a/c", "b"])
operations = st.lists(
    st.builds(Put, keys, st.binary(max_size=3), st.integers(0, 3)) | st.builds(Delete, keys),
    max_size=3,
    unique_by=lambda operation: operation.key,
)
steps = st.lists(
    st.tuples(
        st.just("txn"), st.lists(st.builds(RevisionIs, keys, st.integers(0, 3)), max_size=1), operations
    )
    | st.tuples(st.sampled_from(["keep", "end"]), st.integers(1, 3), st.none())
    | st.tuples(st.just("wait"), st.integers(1, 9), st.none()),
    max_size=40,
)


class Model:
    """What should be there."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[bytes, int, int]] = {}
        self.revision = 0
        self.changes: list[Change] = []

    def apply(self, changes: list[tuple[str, tuple[bytes, int] | None]]) -> None:
        if changes:
            self.revision += 1
        for key, row in changes:
            if row is None:
                del self.rows[key]
            else:
                self.rows[key] = (row[0], self.revision, row[1])
            self.changes.append(Change(key, None if row is None else row[0], self.revision))

    def end(self, leases: set[int]) -> None:
        self.apply([(key, None) for key in sorted(self.rows) if self.rows[key][2] in leases])


def transact(records: Records, compares: list[Compare], operations: list[Operation], now: float) -> bool:
    check_txn(compares, operations)
    plan = records.plan(compares, operations, now)
    if plan is not None:
        records.commit(plan)
    return plan is not None


@settings(deadline=None, max_examples=200)
@given(steps)
def test_records_are_what_a_dictionary_would_be(steps: list[tuple[str, object, object]]) -> None:
    records, model, now = Records(), Model(), 0.0
    deadlines = {records.grant(10, now): now + 10 for _ in range(2)}
    for kind, first, second in steps:
        dead = set(records.expired(now))
        assert dead == {lease for lease, deadline in deadlines.items() if deadline <= now}
        records.commit(records.plan_end_of_leases(sorted(dead)))
        model.end(dead)
        for lease in dead:
            del deadlines[lease]
        if kind == "wait":
            assert isinstance(first, int)
            now += first
        elif kind == "keep":
            assert isinstance(first, int)
            assert records.keep_alive(first, now) == (first in deadlines)
            if first in deadlines:
                deadlines[first] = now + 10
        elif kind == "end":
            assert isinstance(first, int)
            if first in deadlines:
                records.commit(records.plan_end_of_leases([first]))
                model.end({first})
                del deadlines[first]
        else:
            assert isinstance(first, list)
            assert isinstance(second, list)
            puts = [operation for operation in second if isinstance(operation, Put)]
            possible = all(
                compare.revision == (model.rows[compare.key][1] if compare.key in model.rows else 0)
                for compare in first
            ) and all(not put.lease or put.lease in deadlines for put in puts)
            assert transact(records, first, second, now) == possible
            if possible:
                model.apply(
                    [
                        (
                            operation.key,
                            (operation.value, operation.lease) if isinstance(operation, Put) else None,
                        )
                        for operation in second
                        if isinstance(operation, Put) or operation.key in model.rows
                    ]
                )
        assert records.revision == model.revision
        assert records.next_deadline() == min(deadlines.values(), default=None)
        assert records.list("") == tuple(
            KeyValue(key, model.rows[key][0], model.rows[key][1]) for key in sorted(model.rows)
        )
    for after in range(model.revision + 2):
        assert list(records.changes_after(after, "a/")) == [
            change for change in model.changes if change.revision > after and change.key.startswith("a/")
        ]
