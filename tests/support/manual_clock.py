"""A clock that stands still until a test moves it."""


class ManualClock:
    """Both of `wal.clock.Clock`'s clocks, moved by hand."""

    def __init__(self, now_ms: int = 1_700_000_000_000, boottime: float = 1000.0) -> None:
        self._now_ms = now_ms
        self._boottime = boottime

    def now_ms(self) -> int:
        return self._now_ms

    def boottime(self) -> float:
        return self._boottime

    def advance(self, seconds: float) -> None:
        """Both clocks go on by this much."""
        self._now_ms += round(seconds * 1000)
        self._boottime += seconds
