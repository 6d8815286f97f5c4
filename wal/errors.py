"""The log's errors: few, each telling the caller what to do."""


class WalError(Exception):
    """Base of all the log's errors."""


class Fenced(WalError):
    """Another writer owns the log, or may. Give the log up; ask who owns it now."""


class Unavailable(WalError):
    """The outcome is unknown, or a store does not answer.

    The same call may be repeated; it may have happened.
    """


class Closed(WalError):
    """The log or store was closed by its own process."""


class Trimmed(WalError):
    """The position lies below the stream's start; `start` is where it begins now."""

    def __init__(self, start: int) -> None:
        super().__init__(f"the stream begins at {start} now")
        self.start = start


class BeyondEnd(WalError):
    """The position lies above the stream's durable end; `end` is where it ends now."""

    def __init__(self, end: int) -> None:
        super().__init__(f"the stream ends at {end}")
        self.end = end


class Corrupt(WalError):
    """Stored bytes are not what was written. Says which and why."""


class StoreRefused(WalError):
    """A store does not keep what the log needs (create-if-absent, durability, the cluster's id); do not start
    on it.
    """
