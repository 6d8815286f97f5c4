"""Does the store keep its promises? Asked once at start, before the first byte that matters.

Fencing rests on create-if-absent. Some S3 look-alikes and gateways ignore the condition, or check it and
write in two steps; on those two writers could both believe they own a log. The probe finds out with real
calls, a race among them.
"""

import asyncio
import random as random_module

from wal.errors import StoreRefused
from wal.objects.base import ObjectExists, ObjectMissing, ObjectStore

RACERS = 16
"""Concurrent puts to one key."""


async def probe(
    store: ObjectStore, key_prefix: str, random: random_module.Random, *, timeout_s: float = 60.0
) -> None:
    """Try every promise the log needs, on keys of its own below `key_prefix`, and remove them again.

    Raises StoreRefused with a sentence naming the promise that was broken, Unavailable if the store does not
    answer.
    """
    prefix = f"{key_prefix}{random.getrandbits(128):032x}"
    one, raced = f"{prefix}-one", f"{prefix}-raced"
    bodies = [random.randbytes(4096) for _ in range(RACERS)]
    try:
        async with asyncio.timeout(timeout_s):
            await _check_condition(store, one, bodies)
            await _check_race(store, raced, bodies)
            await _check_reading(store, prefix, {one: bodies[0], raced: await store.get(raced)})
            await _check_deletion(store, prefix, [one, raced])
    except TimeoutError:
        raise StoreRefused(f"the object store did not finish its probe within {timeout_s:g} s") from None


async def _check_condition(store: ObjectStore, key: str, bodies: list[bytes]) -> None:
    await _demand_missing(store, key, "returned an object that was never put")
    await store.put_if_absent(key, [bodies[0][:1000], bodies[0][1000:]])
    if await _won(store, key, bodies[1]):
        raise StoreRefused(
            "the object store ignores create-if-absent: a second put to an existing key was accepted"
        )
    if await store.get(key) != bodies[0]:
        raise StoreRefused("the object store does not return what was put")


async def _check_race(store: ObjectStore, key: str, bodies: list[bytes]) -> None:
    # Gathered one and all: a racer left behind by a failure would write after the probe has cleaned up.
    outcomes = await asyncio.gather(*(_won(store, key, body) for body in bodies), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    winners = [body for body, won in zip(bodies, outcomes, strict=True) if won]
    if len(winners) != 1:
        raise StoreRefused(
            f"the object store does not keep create-if-absent under a race: of {RACERS} concurrent puts"
            f" to one key {len(winners)} were accepted"
        )
    if await store.get(key) != winners[0]:
        raise StoreRefused(
            "the object store accepted one of several racing puts, but kept the body of another"
        )


async def _check_reading(store: ObjectStore, prefix: str, expected: dict[str, bytes]) -> None:
    rows = [(row.key, row.size) async for row in store.list(prefix)]
    if rows != [(key, len(expected[key])) for key in sorted(expected)]:
        raise StoreRefused("the object store's listing does not show, in order, what was just put")
    for key, body in expected.items():
        for start in (100, len(body) - 10):
            if await store.get_range(key, start, 50) != body[start : start + 50]:
                raise StoreRefused(
                    "the object store does not answer ranged reads with the bytes of the range"
                )


async def _check_deletion(store: ObjectStore, prefix: str, keys: list[str]) -> None:
    for _ in range(2):
        await store.delete(keys)
    for key in keys:
        await _demand_missing(store, key, "still returns an object that was deleted")
    async for row in store.list(prefix):
        raise StoreRefused(f"the object store still lists {row.key}, which was deleted")


async def _won(store: ObjectStore, key: str, body: bytes) -> bool:
    try:
        await store.put_if_absent(key, [body])
    except ObjectExists:
        return False
    return True


async def _demand_missing(store: ObjectStore, key: str, broken: str) -> None:
    try:
        await store.get(key)
    except ObjectMissing:
        return
    raise StoreRefused(f"the object store {broken}")
