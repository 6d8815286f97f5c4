"""A bound on buffered bytes that a whole node shares: taken at once, waited for before taking more.

Taking never fails, since an append must not wait; whoever brings more bytes waits for room first. So the
bound may be passed by what arrived at once, and by no more than that.
"""

import asyncio
from collections import deque


class ByteBudget:
    """Counts bytes against a limit and wakes those who wait for room, first come, first served."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.used = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def full(self) -> bool:
        """Nothing more should be brought in now."""
        return self.used >= self.bytes_max

    def take(self, size: int) -> None:
        """Count `size` bytes in."""
        self.used += size

    def give(self, size: int) -> None:
        """Count `size` bytes out and wake who waits."""
        self.used -= size
        while self._waiters and not self.full:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def room(self) -> None:
        """Return as soon as the budget is not full."""
        while self.full:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
