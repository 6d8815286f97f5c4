"""Every task has a parent: a set of tasks that ends with its owner, and the pauses between tries."""

import asyncio
import random as random_module
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")


class TaskSet:
    """Tasks of one owner; `close` ends them all and waits for their end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run the coroutine as a task of this set."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> None:
        """Ask all tasks but the running one to end, without waiting."""
        current = asyncio.current_task()
        for task in tuple(self._tasks):
            if task is not current:
                task.cancel()

    async def close(self) -> None:
        """End all tasks and wait until they have ended. Not to be called by one of them."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def together(coroutines: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results of all coroutines, run at once; the first failure ends the others and is raised."""
    tasks = TaskSet()
    try:
        spawned: list[asyncio.Task[Result]] = [tasks.spawn(one, "one of several") for one in coroutines]
        return list(await asyncio.gather(*spawned))
    finally:
        await tasks.close()


class Backoff:
    """Growing pauses with jitter between two bounds, in milliseconds."""

    def __init__(self, ms_min: int, ms_max: int, random: random_module.Random) -> None:
        self._ms_min = ms_min
        self._ms_max = ms_max
        self._random = random
        self._ms_next = ms_min

    async def pause(self) -> None:
        """Wait for half to all of the next step, then double the step."""
        seconds = self._ms_next * self._random.uniform(0.5, 1.0) / 1000
        self._ms_next = min(self._ms_next * 2, self._ms_max)
        await asyncio.sleep(seconds)

    def reset(self) -> None:
        """A try succeeded: begin anew."""
        self._ms_next = self._ms_min
