"""Waiting for a condition instead of for a time."""

import asyncio
from collections.abc import Callable

STEP_S = 0.001


async def until(condition: Callable[[], bool], seconds_max: float = 10.0) -> None:
    """Return as soon as the condition holds; TimeoutError if that takes too long."""
    async with asyncio.timeout(seconds_max):
        while not condition():  # noqa: ASYNC110 – conditions of foreign objects have no event to wait for
            await asyncio.sleep(STEP_S)
