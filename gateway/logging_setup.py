"""How log lines look and where they go: one line per event on standard error, as logfmt or as JSON.

    2026-11-23T10:15:00.123Z level=info event=listening address=127.0.0.1:9092

Events of `gateway.events` and of the standard logger both end here: the message is the event's name, facts
come from `extra=`. A message that is not one word (asyncio's own, a library's) is written as `event=message`
with the logger's name beside it. Whatever a fact holds, a client's bytes included, it stays on its line and
within a limit.
"""

import json
import logging
import math
import sys
from datetime import UTC, datetime
from typing import TextIO

from gateway.events import describe

VALUE_CHARS_MAX = 1_000
TRACE_CHARS_MAX = 20_000

FORMATS = ("logfmt", "json")
LEVELS = ("debug", "info", "warning", "error")

_RECORD_KEYS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "facts", "taskName"}


class EventFormatter(logging.Formatter):
    """The shared half of both formats: a record as an ordered mapping of keys to values."""

    def pairs(self, record: logging.LogRecord) -> dict[str, object]:
        """Time, level, event, the facts, and the trace where there is one."""
        moment = datetime.fromtimestamp(record.created, UTC)
        pairs: dict[str, object] = {
            "time": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
        }
        message = record.getMessage()
        if message.isidentifier():
            pairs["event"] = message
        else:
            pairs |= {"event": "message", "logger": record.name, "message": message}
        pairs |= {key: value for key, value in vars(record).items() if key not in _RECORD_KEYS}
        pairs |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[1] is not None:
            pairs.setdefault("cause", describe(record.exc_info[1]))
            pairs["trace"] = self.formatException(record.exc_info)
        return pairs


class LogfmtFormatter(EventFormatter):
    """`time level=info event=… key=value …`; the time stands first and bare."""

    def format(self, record: logging.LogRecord) -> str:
        """One line without its line end."""
        pairs = self.pairs(record)
        time = pairs.pop("time")
        return f"{time} " + " ".join(f"{key}={_logfmt_value(key, value)}" for key, value in pairs.items())


class JsonFormatter(EventFormatter):
    """One JSON object per line; numbers and truth values stay what they are."""

    def format(self, record: logging.LogRecord) -> str:
        """One line without its line end."""
        return json.dumps({key: _json_value(key, value) for key, value in self.pairs(record).items()})


def configure(level: str, style: str, stream: TextIO | None = None) -> None:
    """Send everything at `level` and above to `stream` (standard error) in the given style, and nothing else.

    Replaces what was configured before. Levels are LEVELS, styles FORMATS.
    """
    assert level in LEVELS, level
    assert style in FORMATS, style
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if style == "json" else LogfmtFormatter())
    logging.captureWarnings(True)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _text(key: str, value: object) -> str:
    text = value.hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)
    chars_max = TRACE_CHARS_MAX if key == "trace" else VALUE_CHARS_MAX
    return text if len(text) <= chars_max else text[:chars_max] + "…"


def _json_value(key: str, value: object) -> object:
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _text(key, value)


def _logfmt_value(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = _text(key, value)
    if text and text.isprintable() and not any(char in ' "=\\' for char in text):
        return text
    return json.dumps(text)
