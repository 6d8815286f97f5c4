"""Time as an argument: the wall clock for records, a monotonic clock that counts sleep for leases."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where the log gets its time from."""

    def now_ms(self) -> int:
        """Wall-clock time in milliseconds since 1970 (UTC)."""

    def boottime(self) -> float:
        """Seconds that never go back and go on while the machine sleeps; for leases and deadlines."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Wall-clock time in milliseconds since 1970 (UTC)."""
        return time.time_ns() // 1_000_000

    def boottime(self) -> float:
        """CLOCK_BOOTTIME where there is one, else the monotonic clock."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
