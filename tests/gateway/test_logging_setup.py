import io
import json
import logging
import shlex
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import logging_setup
from gateway.events import EventLog
from gateway.logging_setup import VALUE_CHARS_MAX, JsonFormatter, LogfmtFormatter

TIME = 1_795_428_900.1239


def record(message: str = "listening", facts: dict[str, object] | None = None) -> logging.LogRecord:
    attributes = {"msg": message, "levelname": "INFO", "created": TIME, "name": "asyncio"}
    return logging.makeLogRecord(attributes | ({} if facts is None else {"facts": facts}))


@pytest.fixture
def configured() -> Iterator[io.StringIO]:
    """A stream that everything logged goes to; what was set up before comes back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    stream = io.StringIO()
    logging_setup.configure("info", "logfmt", stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_time_level_event_and_facts() -> None:
    line = LogfmtFormatter().format(record(facts={"address": "127.0.0.1:9092", "n": 3, "ok": True}))
    assert line == "2026-11-23T10:15:00.123Z level=info event=listening address=127.0.0.1:9092 n=3 ok=true"


def test_a_line_of_json_keeps_numbers_and_truth_values() -> None:
    line = JsonFormatter().format(
        record(facts={"address": "127.0.0.1:9092", "n": 3, "ok": True, "none": None})
    )
    assert json.loads(line) == {
        "time": "2026-11-23T10:15:00.123Z",
        "level": "info",
        "event": "listening",
        "address": "127.0.0.1:9092",
        "n": 3,
        "ok": True,
        "none": None,
    }


def test_the_standard_loggers_extra_facts_are_facts(configured: io.StringIO) -> None:
    logging.getLogger("wal.log").warning("foreign_block", extra={"log": 3})
    assert configured.getvalue().endswith(" level=warning event=foreign_block log=3\n")


def test_a_librarys_sentence_is_a_message_with_its_logger() -> None:
    line = LogfmtFormatter().format(record("Task was destroyed"))
    assert line.endswith('level=info event=message logger=asyncio message="Task was destroyed"')


def test_an_error_and_its_trace_stay_on_one_line(configured: io.StringIO) -> None:
    try:
        raise ValueError("no\nway")
    except ValueError as error:
        EventLog("gateway.x").error("broke", cause=error)
    line = configured.getvalue()
    assert line.count("\n") == 1
    assert r'event=broke cause="ValueError: no\nway" trace="Traceback' in line


def test_what_lies_below_the_level_is_not_written(configured: io.StringIO) -> None:
    logging.getLogger("gateway.x").debug("request_begun")
    assert configured.getvalue() == ""


def test_a_long_value_is_cut() -> None:
    line = LogfmtFormatter().format(record(facts={"client": "x" * 100_000}))
    assert line.endswith(f" client={'x' * VALUE_CHARS_MAX}…")


@given(st.one_of(st.text(), st.binary()))
def test_no_value_breaks_its_line_or_looks_like_another_fact(value: str | bytes) -> None:
    line = LogfmtFormatter().format(record(facts={"client": value, "last": 1}))
    assert len(line.splitlines()) == 1
    assert line.endswith(" last=1")
    words = shlex.shlex(line, posix=True, punctuation_chars="")
    words.whitespace_split, words.commenters = True, ""
    assert [word.partition("=")[0] for word in words][1:] == ["level", "event", "client", "last"]


@given(st.one_of(st.text(), st.binary(), st.integers(), st.floats(allow_nan=False), st.none()))
def test_any_value_is_one_line_of_json(value: object) -> None:
    line = JsonFormatter().format(record(facts={"fact": value}))
    assert len(line.splitlines()) == 1
    assert "fact" in json.loads(line, parse_constant=pytest.fail)
