import logging

import pytest

from gateway.events import KEYS_RESERVED, EventLog, Throttle, describe
from tests.support.manual_clock import ManualClock

NAME = "gateway.some_module"


def written(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    return [(record.message, vars(record)["facts"]) for record in caplog.records]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> EventLog:
    caplog.set_level(logging.INFO, NAME)
    return EventLog(NAME)


def test_an_event_is_a_name_and_facts_under_the_modules_logger(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.event("listening", name="a fact may be called name", port=9092)
    (record,) = caplog.records
    assert (record.name, record.levelname) == (NAME, "INFO")
    assert written(caplog) == [("listening", {"name": "a fact may be called name", "port": 9092})]


def test_what_lies_below_the_level_is_not_written(log: EventLog, caplog: pytest.LogCaptureFixture) -> None:
    log.debug("request_begun", api="Fetch")
    assert caplog.records == []


def test_an_error_brings_its_cause(log: EventLog, caplog: pytest.LogCaptureFixture) -> None:
    cause = ValueError("too large")
    log.error("accept_failed", cause=cause, peer="h")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is cause
    assert written(caplog) == [("accept_failed", {"peer": "h", "cause": "ValueError: too large"})]


def test_an_error_without_words_is_described_by_its_class() -> None:
    assert describe(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize("key", sorted(KEYS_RESERVED))
def test_no_fact_may_hide_what_every_line_has(log: EventLog, key: str) -> None:
    with pytest.raises(AssertionError, match="are taken"):
        log.event("listening", **{key: 1})


def test_a_sentence_is_no_event(log: EventLog) -> None:
    with pytest.raises(AssertionError, match="one word"):
        log.event("we are listening")


def test_a_throttle_writes_once_an_interval_and_tells_what_it_held_back(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    throttle = Throttle(log, clock, interval_s=10)
    assert throttle.event("bad_frame", size=1)
    assert not throttle.event("bad_frame", size=2)
    assert not throttle.event("bad_frame", size=3)
    clock.advance(9.9)
    assert not throttle.event("bad_frame", size=4)
    clock.advance(0.1)
    assert throttle.event("bad_frame", size=5)
    clock.advance(10)
    assert throttle.event("bad_frame", size=6)
    assert written(caplog) == [
        ("bad_frame", {"size": 1}),
        ("bad_frame", {"size": 5, "held_back": 3}),
        ("bad_frame", {"size": 6}),
    ]


def test_a_throttle_counts_each_name_and_key_apart(log: EventLog) -> None:
    throttle = Throttle(log, ManualClock())
    assert throttle.event("bad_frame", key="a")
    assert throttle.event("bad_frame", key="b")
    assert throttle.event("refused", key="a")
    assert not throttle.event("bad_frame", key="a")


def test_a_throttle_forgets_the_key_longest_unseen(log: EventLog) -> None:
    throttle = Throttle(log, ManualClock(), keys_max=2)
    throttle.event("bad_frame", key="a")
    throttle.event("bad_frame", key="b")
    throttle.event("bad_frame", key="a")
    throttle.event("bad_frame", key="c")
    assert not throttle.event("bad_frame", key="a")
    assert throttle.event("bad_frame", key="b")
