"""What a part of a request came to, as responses tell it: an error code and a sentence."""

from typing import NamedTuple

from gateway.errors import ErrorCode, Refused, error_code
from wal.errors import Unavailable, WalError


class Outcome(NamedTuple):
    """The code, and for a failure the sentence."""

    code: ErrorCode
    message: str | None


DONE = Outcome(ErrorCode.none, None)


def outcome(failure: Refused | WalError) -> Outcome:
    """What a failure is told as. Unavailable leaves open whether the change was made, and says so."""
    if isinstance(failure, Refused):
        return Outcome(failure.code, failure.message)
    if isinstance(failure, Unavailable):
        return Outcome(
            error_code(failure), f"{failure}; the change may have been made or not, look before trying again"
        )
    return Outcome(error_code(failure), str(failure))
