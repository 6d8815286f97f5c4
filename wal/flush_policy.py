"""When to cut the open block: pure policies, told the time and what is going on, answering yes or when to
ask again.

Two of them. `GroupCommit` is for stores where a PUT costs no money (file system, memory, quorum): cut as
soon as there is room for one more flush. `Budgeted` is for stores that bill each request: a block worth its
PUT goes as soon as there is room, a smaller one when the budget pays for it. What must hold for all budgeted
logs of a node together, whatever the number of streams, clients and logs:

    PUTs ≤ saved at the start + seconds × rate + bytes ÷ flush_overlap_bytes

It holds at every moment and not only on average, because a small flush is paid for before it is cut and a
larger one is paid by its bytes. An idle log never asks, so it costs nothing.
"""

from typing import NamedTuple, Protocol

from wal.settings import KIB, MIB

MONTH_S = 30 * 24 * 3600

PUT_USD = 5 / 1_000_000
"""Price of one PUT: S3 Standard, us-east-1."""

SAVED_S_MAX = 60.0
"""A budget saves up at most what this many seconds bring in."""


class Decision(NamedTuple):
    """cut: cut the block now. Else ask again when a flush has ended, and at the first of these:

    wait_until: this time, None for no time; wait_bytes: when the open block holds this much.
    """

    cut: bool
    wait_until: float | None
    wait_bytes: int


CUT = Decision(True, None, 0)


class FlushPolicy(Protocol):
    """One log's rule. Asked when a block is opened, when a flush has ended, and when it said."""

    def decide(
        self, now: float, open_bytes: int, opened_at: float, last_cut_at: float, flushes_running: int
    ) -> Decision:
        """Whether to cut the open block, which was opened at `opened_at`. Times are seconds of one clock."""

    def cut(self, now: float, open_bytes: int) -> None:
        """A block of this size was cut, for whatever reason. Must be told of every one."""


class GroupCommit:
    """Cut when the linger is over and fewer than `flushes_in_flight_max` flushes run; a full block at
    once."""

    def __init__(
        self, *, flush_bytes_max: int = 8 * MIB, flushes_in_flight_max: int = 8, linger_s: float = 0.0
    ) -> None:
        assert flushes_in_flight_max >= 1
        self._flush_bytes_max = flush_bytes_max
        self._flushes_in_flight_max = flushes_in_flight_max
        self._linger_s = linger_s

    def decide(
        self,
        now: float,
        open_bytes: int,
        opened_at: float,
        last_cut_at: float,  # noqa: ARG002
        flushes_running: int,
    ) -> Decision:
        """See FlushPolicy."""
        if open_bytes >= self._flush_bytes_max:
            return CUT
        if now < opened_at + self._linger_s:
            return Decision(False, opened_at + self._linger_s, self._flush_bytes_max)
        if flushes_running < self._flushes_in_flight_max:
            return CUT
        return Decision(False, None, self._flush_bytes_max)

    def cut(self, now: float, open_bytes: int) -> None:
        """See FlushPolicy; nothing to remember."""


class Budget:
    """Small flushes that a node may still pay for; shared by its logs.

    Fills at `flushes_per_s` up to a minute's worth (at least one flush), and begins full. A rate of 0 is no
    limit.
    """

    def __init__(self, flushes_per_s: float, now: float) -> None:
        assert flushes_per_s >= 0
        self.flushes_per_s = flushes_per_s
        self._interval_s = 1 / flushes_per_s if flushes_per_s else 0.0
        self._saved_s_max = max(SAVED_S_MAX, self._interval_s)
        self._empty_since = now - self._saved_s_max

    @classmethod
    def of_money(cls, request_budget_usd_month: float, now: float, put_usd: float = PUT_USD) -> "Budget":
        """The budget that a monthly sum buys at a price per PUT; 0 is no limit."""
        return cls(request_budget_usd_month / MONTH_S / put_usd, now)

    def saved(self, now: float) -> float:
        """Flushes that are paid for and not yet taken; below 0 where some were taken ahead of time."""
        if not self.flushes_per_s:
            return float("inf")
        return min(now - self._empty_since, self._saved_s_max) * self.flushes_per_s

    def next_at(self, now: float) -> float:
        """The earliest time, from now on, at which a flush is paid for."""
        return max(now, self._empty_since + self._interval_s)

    def take(self, now: float) -> float:
        """Take the next flush; the time from which on it is paid for, which may be still to come.

        Whoever takes first is served first.
        """
        if not self.flushes_per_s:
            return now
        self._empty_since = max(self._empty_since, now - self._saved_s_max) + self._interval_s
        return max(now, self._empty_since)


class Budgeted:
    """The rule for stores that bill requests. After a linger of `linger_s` a block is cut

    - at `flush_bytes_max`, at once;
    - when it holds `flush_overlap_bytes` (a PUT cheap for what it carries) and when it is smaller and the
      budget has a flush left: as soon as fewer than `flushes_in_flight_max` flushes run;
    - else, `flush_interval_s` after the last cut, it takes the next flush that the budget will earn, and is
      cut when that is paid for. Logs are served in the order in which they take, so none starves another.

    So a small block that savings do not pay for waits until `flush_interval_s` after the last cut or (number
    of waiting logs ÷ rate) for the budget, and no longer than the sum of both; one log at the default
    budget waits 1/19 s. Money wins over latency: where the logs' intervals together ask for more than the
    rate, the interval stretches, the bill does not grow.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        flush_bytes_max: int = 8 * MIB,
        flush_overlap_bytes: int = 64 * KIB,
        flush_interval_s: float = 0.1,
        flushes_in_flight_max: int = 8,
        linger_s: float = 0.001,
    ) -> None:
        assert flushes_in_flight_max >= 1
        assert 0 < flush_overlap_bytes <= flush_bytes_max
        self._budget = budget
        self._flush_bytes_max = flush_bytes_max
        self._flush_overlap_bytes = flush_overlap_bytes
        self._flush_interval_s = flush_interval_s
        self._flushes_in_flight_max = flushes_in_flight_max
        self._linger_s = linger_s
        self._taken_for: float | None = None

    def decide(
        self, now: float, open_bytes: int, opened_at: float, last_cut_at: float, flushes_running: int
    ) -> Decision:
        """See FlushPolicy."""
        if open_bytes >= self._flush_bytes_max:
            return CUT
        if now < opened_at + self._linger_s:
            return Decision(False, opened_at + self._linger_s, self._flush_bytes_max)
        if flushes_running >= self._flushes_in_flight_max:
            return Decision(False, None, self._flush_bytes_max)
        if open_bytes >= self._flush_overlap_bytes:
            return CUT
        return self._decide_small(now, last_cut_at)

    def cut(self, now: float, open_bytes: int) -> None:
        """See FlushPolicy. A small block uses up the flush taken for it, or takes one."""
        if open_bytes >= self._flush_overlap_bytes:
            return
        if self._taken_for is None:
            self._budget.take(now)
        self._taken_for = None

    def _decide_small(self, now: float, last_cut_at: float) -> Decision:
        paid_at = self._taken_for
        if paid_at is None:
            paid_at = self._budget.next_at(now)
            due_at = last_cut_at + self._flush_interval_s
            if paid_at > now:
                if now < due_at:
                    return Decision(False, min(paid_at, due_at), self._flush_overlap_bytes)
                paid_at = self._taken_for = self._budget.take(now)
        return CUT if paid_at <= now else Decision(False, paid_at, self._flush_overlap_bytes)
