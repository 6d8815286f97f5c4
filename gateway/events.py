"""What happened, one line per event: the gateway's way to write to its log.

A module makes one `EventLog` and writes `log.event("listening", address=address)`: a name in snake case and
named facts, never a sentence with the facts inside. Nothing is written per request at the default level. What
may happen in bursts (refused connections, bad frames) goes through a `Throttle`, which lets one event per
interval and key through and tells on the next one how many it held back. How lines look is decided in
`gateway/logging_setup.py`; modules of wal/ and protocol/, which must not import this one, use the standard
logger with `extra=` facts.
"""

import logging
from collections import OrderedDict

from wal.clock import Clock

KEYS_RESERVED = frozenset({"time", "level", "event", "trace"})
"""Keys that every line has already; an event may not bring them."""


class EventLog:
    """Writes events under one logger's name, usually the module's `__name__`."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def event(self, name: str, /, **facts: object) -> None:
        """Something worth knowing on an ordinary day; the default level shows it."""
        self.write(logging.INFO, name, facts)

    def debug(self, name: str, /, **facts: object) -> None:
        """Something only a person hunting a fault wants to see; may be per connection or request."""
        self.write(logging.DEBUG, name, facts)

    def warning(self, name: str, /, **facts: object) -> None:
        """Something an operator should look at; the gateway copes."""
        self.write(logging.WARNING, name, facts)

    def error(self, name: str, /, *, cause: BaseException | None = None, **facts: object) -> None:
        """Something failed for good. With a cause, its class, words and trace stand on the same line."""
        if cause is not None:
            facts = {**facts, "cause": describe(cause)}
        self.write(logging.ERROR, name, facts, cause)

    def write(
        self, level: int, name: str, facts: dict[str, object], cause: BaseException | None = None
    ) -> None:
        """The general form of the others: a level of the `logging` module and the facts as a mapping."""
        if not self._logger.isEnabledFor(level):
            return
        assert name.isidentifier(), f"an event's name is one word in snake case, not {name!r}"
        assert not facts.keys() & KEYS_RESERVED, f"{name}: the keys {sorted(KEYS_RESERVED)} are taken"
        self._logger.log(level, name, extra={"facts": facts}, exc_info=cause)


class Throttle:
    """Lets at most one event per interval and (name, key) through; the next one says how many were held back.

    Keys are bounded: beyond `keys_max` the one longest unseen is forgotten, so an attacker who varies the key
    costs lines at worst, never memory.
    """

    def __init__(
        self, log: EventLog, clock: Clock, *, interval_s: float = 10.0, keys_max: int = 1_000
    ) -> None:
        self._log = log
        self._clock = clock
        self._interval_s = interval_s
        self._keys_max = keys_max
        self._seen: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def event(self, name: str, /, *, key: str = "", level: int = logging.WARNING, **facts: object) -> bool:
        """Write the event unless one with its name and key was written less than an interval ago.

        Returns whether it was written. `key` tells apart what is counted separately, a peer's host for
        instance; it is not written itself.
        """
        now = self._clock.boottime()
        written_at, held_back = self._seen.get((name, key), (None, 0))
        if written_at is not None and now - written_at < self._interval_s:
            self._remember((name, key), written_at, held_back + 1)
            return False
        self._remember((name, key), now, 0)
        self._log.write(level, name, {**facts, "held_back": held_back} if held_back else facts)
        return True

    def _remember(self, key: tuple[str, str], written_at: float, held_back: int) -> None:
        self._seen[key] = (written_at, held_back)
        self._seen.move_to_end(key)
        if len(self._seen) > self._keys_max:
            self._seen.popitem(last=False)


def describe(cause: BaseException) -> str:
    """The error's class and words, for a fact's value."""
    words = str(cause)
    return f"{type(cause).__name__}: {words}" if words else type(cause).__name__
