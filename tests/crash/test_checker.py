from collections.abc import Sequence

import pytest

from tests.crash.checker import Commit, History, Outcome, Read, Record, Sent, check, report


def record(serial: int, producer: str = "p") -> Record:
    return Record(producer, serial)


def acked(serial: int, offset: int, *, copies_max: int = 1, partition: int = 0) -> Sent:
    return Sent(record(serial), partition, offset, copies_max)


def told(serial: int, outcome: Outcome, *, copies_max: int = 1) -> Sent:
    return Sent(record(serial), 0, outcome, copies_max)


def history(sent: Sequence[Sent], serials: Sequence[int], *, polls: Sequence[Read] = ()) -> History:
    """One producer, one partition that holds `serials` in this order."""
    rows = [Read(0, offset, record(serial)) for offset, serial in enumerate(serials)]
    return History(sent={"p": sent}, log={0: rows}, ends={0: len(rows)}, polls=polls)


def names(events: History) -> set[str]:
    return {violation.name for violation in check(events)}


def test_a_log_that_keeps_its_promises_has_no_violations() -> None:
    sent = [
        acked(0, 0),
        acked(1, 1, copies_max=2),
        told(2, Outcome.UNKNOWN),
        told(3, Outcome.UNKNOWN),
        told(4, Outcome.FAILED),
        acked(5, 4),
    ]
    polls = [Read(0, 0, record(0)), Read(0, 1, record(1))]
    assert check(history(sent, [0, 1, 1, 3, 5], polls=polls)) == []


def test_an_acknowledged_record_that_is_nowhere_is_lost() -> None:
    assert names(history([acked(0, 0), acked(1, 1)], [0])) == {"lost-write"}


def test_an_acknowledged_record_at_another_offset_is_inconsistent() -> None:
    assert names(history([acked(0, 1), told(1, Outcome.UNKNOWN)], [0, 1])) == {"inconsistent-offsets"}


def test_an_acknowledged_offset_that_holds_another_record_loses_the_record() -> None:
    assert names(history([acked(0, 0), acked(1, 0)], [0])) == {"lost-write"}


def test_a_second_copy_that_nobody_sent_is_a_duplicate() -> None:
    assert names(history([acked(0, 0)], [0, 0])) == {"duplicate"}


def test_a_copy_too_many_is_a_duplicate() -> None:
    assert names(history([acked(0, 0, copies_max=2)], [0, 0, 0])) == {"duplicate"}


def test_a_record_of_unknown_outcome_is_there_at_most_as_often_as_it_was_sent() -> None:
    assert names(history([told(0, Outcome.UNKNOWN)], [0, 0])) == {"duplicate"}


def test_a_missing_offset_is_a_gap() -> None:
    events = history([acked(0, 0), acked(1, 2)], [0])
    events.log[0].append(Read(0, 2, record(1)))  # type: ignore[attr-defined]
    events.ends = {0: 3}
    assert names(events) == {"offset-gap"}


@pytest.mark.parametrize("offsets", [(1, 0), (0, 0, 1), (0, 1, 2)])
def test_offsets_read_out_of_order_twice_or_beyond_the_end_are_a_gap(offsets: tuple[int, ...]) -> None:
    rows = [Read(0, offset, record(offset)) for offset in offsets]
    sent = [told(serial, Outcome.UNKNOWN, copies_max=2) for serial in range(3)]
    events = History(sent={"p": sent}, log={0: rows}, ends={0: 2})
    assert "offset-gap" in names(events)


def test_a_partition_that_nobody_could_read_is_a_gap() -> None:
    assert names(History(sent={}, log={}, ends={0: 1})) == {"offset-gap"}


def test_a_record_that_nobody_sent_is_found() -> None:
    assert names(history([acked(0, 0)], [0, 7])) == {"never-sent"}


def test_a_record_in_a_partition_that_it_was_not_sent_to_is_found() -> None:
    sent = [Sent(record(0), 1, Outcome.UNKNOWN, 1)]
    assert names(history(sent, [0])) == {"never-sent"}


def test_a_refused_record_that_is_read_all_the_same_is_found() -> None:
    assert names(history([told(0, Outcome.FAILED)], [0])) == {"G1a"}


def test_records_of_one_producer_in_another_order_are_found() -> None:
    sent = [acked(0, 1), acked(1, 0)]
    assert names(history(sent, [1, 0])) == {"nonmonotonic-send"}


def test_a_late_second_copy_is_no_disorder() -> None:
    assert check(history([acked(0, 0, copies_max=2), acked(1, 1)], [0, 1, 0])) == []


def test_a_record_read_once_and_gone_later_was_read_too_early() -> None:
    polls = [Read(0, 0, record(0)), Read(0, 1, record(1))]
    sent = [acked(0, 0), told(1, Outcome.UNKNOWN)]
    assert names(history(sent, [0], polls=polls)) == {"precommitted-read"}


def test_a_record_read_once_and_another_later_is_inconsistent() -> None:
    sent = [told(0, Outcome.UNKNOWN), told(1, Outcome.UNKNOWN)]
    assert names(history(sent, [1], polls=[Read(0, 0, record(0))])) == {"inconsistent-offsets"}


def test_a_consumer_that_jumps_or_goes_back_is_found() -> None:
    sent = [acked(0, 0), acked(1, 1)]
    skip, back = [Read(0, 1, record(1))], [Read(0, 0, record(0))] * 2
    assert names(history(sent, [0, 1], polls=skip)) == {"poll-skip"}
    assert names(history(sent, [0, 1], polls=back)) == {"nonmonotonic-poll"}


def committed(*commits: Commit) -> set[str]:
    return names(History(sent={}, log={}, ends={}, commits=commits))


def test_commits_that_only_grow_are_fine_and_those_without_an_answer_may_count() -> None:
    assert not committed(
        Commit(0, -1, told=True),
        Commit(0, 5, acked=True),
        Commit(0, 5, told=True),
        Commit(0, 8),
        Commit(0, 8, told=True),
        Commit(0, 9),
        Commit(0, 8, told=True),
    )


def test_a_committed_offset_that_goes_back_is_found() -> None:
    assert committed(Commit(0, 5, acked=True), Commit(0, 4), Commit(0, 4, told=True)) == {"offset-regression"}
    assert committed(Commit(0, 5, acked=True), Commit(0, -1, told=True)) == {"offset-regression"}


def test_an_unanswered_commit_that_was_seen_once_does_not_go_back() -> None:
    assert committed(Commit(0, 5), Commit(0, 5, told=True), Commit(0, -1, told=True)) == {"offset-regression"}


def test_a_committed_offset_that_nobody_asked_for_is_found() -> None:
    assert committed(Commit(0, 5, acked=True), Commit(0, 6, told=True)) == {"never-sent"}


def test_the_report_counts_and_shows_violations() -> None:
    text = report(check(history([acked(0, 0), acked(1, 1)], [0, 0, 0])))
    assert text.startswith("1 × ") and "duplicate: Record(producer='p', serial=0)" in text
