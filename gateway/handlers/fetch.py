"""Fetch: durable batches as they are stored, at once where there are enough, else as soon as they come.

What lies in memory is answered inside `begin`; what must be read from storage, or waited for, makes a task. A
fetch that waits is woken by its streams and looks again from the start. What must hold: only durable entries
are seen, and an answer without records is given only after a proof that no other node had moved on when we
looked. What a look at the partitions finds is gateway/fetch_look.py's affair.

There are no fetch sessions: every answer has the session id 0, so clients go on to name all partitions.
"""

import asyncio

from gateway.context import Context
from gateway.dispatch import Answer, Begun, Call
from gateway.errors import ErrorCode, read_error_code
from gateway.fetch_look import Look, Wanted
from gateway.lookup import unproven
from gateway.state import GatewayState
from gateway.waiters import GrowthWait
from protocol.hot.fetch import FetchedPartition, FetchRequest, decode_request, encode_response
from wal.errors import WalError
from wal.log import Log

NO_SESSION_EPOCHS = (0, -1)
"""A request that begins a session, or wants none: it names all its partitions."""


def begin(call: Call, context: Context) -> Begun:
    """Answer from memory, or with a coroutine that reads and waits. Raises RemoteProtocolError."""
    header = call.header
    request = decode_request(header.version, call.body)
    if request.session_epoch not in NO_SESSION_EPOCHS:
        code = ErrorCode.fetch_session_id_not_found.value
        return encode_response(header.version, header.correlation_id, (), error_code=code)
    fetch = _Fetch(call, request, context)
    look = fetch.look()
    wanted = look.begin()
    if wanted is None and look.is_enough and (look.bytes_found or look.has_error):
        return fetch.answer(look)
    return fetch.run(look, wanted)


class _Fetch:
    """One request from its first look to its answer."""

    def __init__(self, call: Call, request: FetchRequest, context: Context) -> None:
        self._header = call.header
        self._request = request
        self._context = context
        self._bytes_max = max(0, min(request.max_bytes, context.settings.fetch_bytes_max))
        self._bytes_min = min(request.min_bytes, self._bytes_max)

    def look(self) -> "Look":
        """Begin to look at all partitions, in the order of the request."""
        return Look(self._request, self._context, self._bytes_min, self._bytes_max)

    def answer(self, look: "Look") -> Answer:
        """The response with what a look has found."""
        return encode_response(self._header.version, self._header.correlation_id, look.topics)

    async def run(self, look: "Look", wanted: Wanted | None) -> Answer:
        """Read what is not in memory, wait where too little is there, and answer."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._request.max_wait_ms / 1000
        while True:
            await _finish(look, wanted)
            seconds_left = deadline - loop.time()
            if look.is_enough or not look.tails or seconds_left <= 0:
                break
            wait = GrowthWait(self._bytes_min - look.bytes_found)
            try:
                for tail in look.tails:
                    wait.watch(tail.log, tail.stream, tail.end, tail.bytes_max)
                await wait.until(seconds_left)
            finally:
                wait.close()
            look = self.look()
            wanted = look.begin()
        if not look.bytes_found and not look.has_error:
            await _prove(look)
        return self.answer(look)


async def _finish(look: Look, wanted: Wanted | None) -> None:
    """Read what the look wants, one after the other, until it has seen everything."""
    while wanted is not None:
        try:
            found = await wanted.log.read(wanted.stream, wanted.position, wanted.bytes_max)
        except WalError as error:
            wanted = look.fail(error)
        else:
            wanted = look.give(found)


async def _prove(look: Look) -> None:
    """Make sure that the tails were the newest when they were looked at, or turn them into errors."""
    failures: dict[Log[GatewayState], WalError | None] = {}
    for tail in look.tails:
        if tail.log not in failures:
            failures[tail.log] = await unproven(tail.log)
        failure = failures[tail.log]
        if failure is not None:
            index = tail.results[tail.at].index
            tail.results[tail.at] = FetchedPartition(index, read_error_code(failure).value)
