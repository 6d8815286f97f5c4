"""The shell around the groups' machines: requests in, answers out, timers, and records made durable.

A group is coordinated where the log of its slot is owned. For each owned log there is a *host* with the
machines of its groups that have members or are about to; all other groups are only what the log's durable
view holds of them. A machine is made from there when it is first needed, and given up again when nothing
would be lost by that. When the log is lost the host dies with it: whoever waits is told to look for the
coordinator anew, and the next owner goes on from the durable records.

What must hold: nothing is answered before the log has proved to be ours after the request came; a commit is
answered when it is durable, and offsets are shown only then; records are appended in the order in which the
machine made them.
"""

import asyncio
import random as random_module
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Protocol, TypeVar

from gateway.cluster_record import SLOTS
from gateway.errors import ErrorCode, Refused, coordinator_error
from gateway.groups.group import Group
from gateway.groups.member import (
    UNKNOWN_MEMBER,
    Answer,
    GroupRules,
    Identity,
    Join,
    Joined,
    Store,
    Sync,
    Synced,
    Ticket,
)
from gateway.groups.offsets import GroupData, GroupStates
from gateway.groups.records import Committed, OffsetsCommitted, PlaceId, TimedCommit, encode_record
from gateway.groups.slots import slot_of, stream_of
from gateway.lookup import unproven
from gateway.settings import Settings
from gateway.state import GatewayState
from wal.clock import Clock
from wal.durability import Flush
from wal.errors import WalError
from wal.log import Log
from wal.tasks import TaskSet
from wal.types import Entry, LogId, StreamId

GatewayLog = Log[GatewayState]
ResultT = TypeVar("ResultT", Joined, Synced)

NOBODY = -1
STORE_S_MAX = 5.0
"""How long a commit or a generation may take to become durable before its client is asked to try again."""
GROUP_NAME_BYTES_MAX = 32_767
GROUPS_MAX = 100_000
"""Groups of one log, with members or without."""
OFFSETS_MAX = 1_000_000
"""Committed offsets of one log."""
LATE_S = 1.0
"""A timer this late shows that the process stood still, and could hear of nobody."""
RESTORED_AT_ONCE = 50


class OwnedLogs(Protocol):
    """What is asked of the node's logs."""

    def get(self, log_id: LogId) -> GatewayLog:
        """The log. Raises Refused where this node does not own it now."""

    def slot_log(self, slot: int) -> LogId:
        """The log that holds a slot."""

    def leader_of(self, log_id: LogId) -> int:
        """The node that owns the log, -1 for none."""


@dataclass(slots=True, eq=False)
class _Live:
    """A machine with its timer, the number of its records under way, and the flush of the last one."""

    group: Group
    stream: StreamId
    timer: asyncio.TimerHandle | None = None
    stores: int = 0
    flush: Flush | None = None


@dataclass(slots=True, eq=False)
class _Host:
    """The machines of one owned log, by the names of their groups."""

    log: GatewayLog
    states: GroupStates
    live: dict[str, _Live] = field(default_factory=dict)
    is_gone: bool = False


def states_of(state: GatewayState) -> GroupStates:
    """The groups that ride on a log."""
    assert isinstance(state.slots, GroupStates)
    return state.slots


class Groups:
    """All groups that this node coordinates.

    Every method but `coordinator` raises Refused with the code for the whole request.
    """

    def __init__(
        self, logs: OwnedLogs, *, settings: Settings, clock: Clock, random: random_module.Random
    ) -> None:
        self._logs = logs
        self._clock = clock
        self._random = random
        self._rules = GroupRules(
            session_ms_min=settings.group_session_timeout_ms_min,
            session_ms_max=settings.group_session_timeout_ms_max,
            initial_delay_ms=settings.group_initial_rebalance_delay_ms,
        )
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskSet()
        self._hosts: dict[LogId, _Host] = {}
        self._tickets = count(1)
        self._waiting: dict[Ticket, asyncio.Future[Joined] | asyncio.Future[Synced]] = {}
        self._stopping = False

    def coordinator(self, name: str) -> int:
        """The node that coordinates the group, -1 while there is none."""
        return NOBODY if self._stopping else self._logs.leader_of(self._logs.slot_log(slot_of(name)))

    # -- members

    async def join(self, name: str, ask: Join) -> Joined:
        """Join the group; returns when its next generation begins, or at once with an error."""
        _check_name(name)
        host = await self._host(name)
        live = self._live(host, name) or self._new(host, name)
        ticket, future = self._ticket(Joined)
        try:
            live.group.join(ticket, ask, self._member_id(ask), self._loop.time())
            self._carry_out(host, live)
            return await future
        finally:
            del self._waiting[ticket]

    async def sync(self, name: str, ask: Sync) -> Synced:
        """Bring or fetch the generation's assignments; returns when they are durable."""
        _check_name(name)
        host = await self._host(name)
        live = self._live(host, name)
        if live is None:
            return Synced(ErrorCode.unknown_member_id)
        ticket, future = self._ticket(Synced)
        try:
            live.group.sync(ticket, ask, self._loop.time())
            self._carry_out(host, live)
            return await future
        finally:
            del self._waiting[ticket]

    async def heartbeat(self, name: str, who: Identity, generation: int) -> ErrorCode:
        """The member lives."""
        _check_name(name)
        host = await self._host(name)
        live = self._live(host, name)
        if live is None:
            return ErrorCode.unknown_member_id
        return live.group.heartbeat(who, generation, self._loop.time())

    async def leave(self, name: str, leaving: Sequence[Identity]) -> list[ErrorCode]:
        """Members leave the group; a code for each.

        That the last one has left is durable then, lest the next one wait for it after a crash.
        """
        _check_name(name)
        host = await self._host(name)
        live = self._live(host, name)
        if live is None:
            return [ErrorCode.unknown_member_id] * len(leaving)
        errors = live.group.leave(leaving, self._loop.time())
        self._carry_out(host, live)
        if live.flush is not None:
            with suppress(WalError, TimeoutError):
                async with asyncio.timeout(STORE_S_MAX):
                    await live.flush.wait()
        return errors

    # -- offsets

    async def commit(
        self, name: str, who: Identity, generation: int, offsets: Mapping[PlaceId, Committed]
    ) -> None:
        """Commit offsets of partitions that exist; returns when they are durable.

        What is already durable just so is not written again. Raises Refused; after COORDINATOR_NOT_AVAILABLE
        they may be committed or not.
        """
        _check_length(name)
        try:
            async with asyncio.timeout(STORE_S_MAX):
                host = await self._host(name)
                await host.log.room()
                self._check_commit(host, name, who, generation)
                await self._write_offsets(host, name, offsets)
        except TimeoutError:
            raise Refused(
                ErrorCode.coordinator_not_available, f"not durable within {STORE_S_MAX} s"
            ) from None
        except WalError as error:
            raise Refused(coordinator_error(error), str(error)) from error

    async def offsets(self, name: str) -> Mapping[PlaceId, TimedCommit]:
        """The group's durable offsets, not older than the call; not to be kept or changed."""
        _check_length(name)
        host = await self._host(name)
        return host.states.offsets(stream_of(slot_of(name)), name)

    def _check_commit(self, host: _Host, name: str, who: Identity, generation: int) -> None:
        live = self._live(host, name)
        if live is not None:
            error = live.group.commit_error(who, generation, self._loop.time())
        else:
            error = ErrorCode.illegal_generation if generation >= 0 else ErrorCode.none
        if error != ErrorCode.none:
            raise Refused(error, f"the group {name!r:.300} takes no offsets from this member")

    async def _write_offsets(self, host: _Host, name: str, offsets: Mapping[PlaceId, Committed]) -> None:
        """Append what is not durable already, and wait. Raises WalError, Refused.

        Only while nothing of the slot is under way does the durable view say what the next one will be.
        """
        log, stream = host.log, stream_of(slot_of(name))
        if log.appended_end(stream) == log.durable_end(stream):
            durable = host.states.offsets(stream, name)
            offsets = {
                place: committed
                for place, committed in offsets.items()
                if place not in durable or durable[place].committed != committed
            }
        if not offsets:
            return
        known = states_of(log.appended)
        more = len(offsets.keys() - known.offsets(stream, name).keys())
        if more and known.offsets_count + more > OFFSETS_MAX:
            raise Refused(ErrorCode.invalid_commit_offset_size, f"log {log.id} keeps {OFFSETS_MAX} offsets")
        now_ms = self._clock.now_ms()
        timed = {place: TimedCommit(committed, now_ms) for place, committed in offsets.items()}
        tag, payload = encode_record(OffsetsCommitted(name, timed))
        await log.append(stream, Entry(payload, 1, tag=tag)).flush.wait()

    # -- the end

    def release(self) -> None:
        """The node stops: whoever waits is told to look for another coordinator, and no one waits again."""
        self._stopping = True
        for host in tuple(self._hosts.values()):
            self._lose(host)

    async def close(self) -> None:
        """As `release`, and nothing of the groups runs any more."""
        self.release()
        await self._tasks.close()

    # -- hosts and machines

    async def _host(self, name: str) -> _Host:
        """The host of the group, whose log was proved to be ours. Raises Refused."""
        log_id = self._logs.slot_log(slot_of(name))
        try:
            log = self._logs.get(log_id)
        except Refused as refusal:
            raise Refused(ErrorCode.not_coordinator, refusal.message) from refusal
        host = self._hosts.get(log_id)
        if host is None or host.log is not log:
            host = self._new_host(log)
        failure = await unproven(log)
        if failure is not None:
            raise Refused(coordinator_error(failure), str(failure)) from failure
        if host.is_gone or self._stopping:
            raise Refused(ErrorCode.not_coordinator, f"log {log_id} is not this node's any more")
        return host

    def _new_host(self, log: GatewayLog) -> _Host:
        former = self._hosts.get(log.id)
        if former is not None:
            self._lose(former)
        host = self._hosts[log.id] = _Host(log, states_of(log.durable))
        log.lost.add_done_callback(lambda _: self._lose(host))
        self._tasks.spawn(self._restore_all(host), f"groups of log {log.id} restored")
        return host

    async def _restore_all(self, host: _Host) -> None:
        """Make the machines of all groups that had members, so that members who are gone are noticed."""
        restored = 0
        for slot in range(SLOTS):
            stream = stream_of(slot)
            for name, data in host.states.groups(stream):
                if host.is_gone:
                    return
                if data.stored is not None and data.stored.members:
                    self._live(host, name)
                    restored += 1
                    if restored % RESTORED_AT_ONCE == 0:
                        await asyncio.sleep(0)

    def _lose(self, host: _Host) -> None:
        """The log is not ours any more, nor are its groups."""
        if host.is_gone:
            return
        host.is_gone = True
        if self._hosts.get(host.log.id) is host:
            del self._hosts[host.log.id]
        for live in tuple(host.live.values()):
            live.group.die(ErrorCode.not_coordinator)
            self._carry_out(host, live)
        host.live.clear()

    def _live(self, host: _Host, name: str) -> _Live | None:
        """The group's machine, made from the durable record if need be; None where there is no group."""
        live = host.live.get(name)
        if live is not None:
            return live
        stream = stream_of(slot_of(name))
        data: GroupData | None = host.states.group(stream, name)
        if data is None or data.stored is None:
            return None
        live = _Live(Group.restored(data.stored, self._rules, self._loop.time()), stream)
        if not live.group.is_idle:
            host.live[name] = live
            self._arm(host, live)
        return live

    def _new(self, host: _Host, name: str) -> _Live:
        """A machine for a group that never had members. Raises Refused where there are too many groups."""
        stream = stream_of(slot_of(name))
        is_new = host.states.group(stream, name) is None
        if is_new and max(host.states.groups_count, len(host.live)) >= GROUPS_MAX:
            raise Refused(ErrorCode.group_max_size_reached, f"log {host.log.id} keeps {GROUPS_MAX} groups")
        return _Live(Group(name, self._rules), stream)

    # -- what machines want done

    def _carry_out(self, host: _Host, live: _Live) -> None:
        """Carry out all outputs, set the timer, and keep the machine only as long as it knows more than the
        log.
        """
        while outputs := live.group.outputs():
            for output in outputs:
                if isinstance(output, Answer):
                    self._answer(output)
                else:
                    self._store(host, live, output)
        if host.is_gone or (live.group.is_idle and not live.stores):
            host.live.pop(live.group.name, None)
            if live.timer is not None:
                live.timer.cancel()
                live.timer = None
        else:
            host.live[live.group.name] = live
            self._arm(host, live)

    def _answer(self, answer: Answer) -> None:
        """Whoever waits under the ticket is answered; nobody does where its connection is gone."""
        future = self._waiting.get(answer.ticket)
        if future is not None and not future.done():
            future.set_result(answer.result)  # type: ignore[arg-type]

    def _store(self, host: _Host, live: _Live, store: Store) -> None:
        tag, payload = encode_record(store.record._replace(time_ms=self._clock.now_ms()))
        live.stores += 1
        try:
            live.flush = host.log.append(live.stream, Entry(payload, 1, tag=tag)).flush
        except WalError as error:
            self._stored(host, live, store, coordinator_error(error))
            return

        self._tasks.spawn(self._await_stored(host, live, store, live.flush), "group stored")

    async def _await_stored(self, host: _Host, live: _Live, store: Store, flush: Flush) -> None:
        """Tell the machine of the outcome; where that takes too long, that it is unknown, and later what it
        was.
        """
        try:
            try:
                async with asyncio.timeout(STORE_S_MAX):
                    await flush.wait()
            except TimeoutError:
                self._tell(host, live, store, ErrorCode.coordinator_not_available)
                await flush.wait()
                store = store._replace(held=None)
        except WalError as error:
            self._stored(host, live, store, coordinator_error(error))
        else:
            self._stored(host, live, store, ErrorCode.none)

    def _stored(self, host: _Host, live: _Live, store: Store, error: ErrorCode) -> None:
        """The record's outcome is final."""
        live.stores -= 1
        self._tell(host, live, store, error)

    def _tell(self, host: _Host, live: _Live, store: Store, error: ErrorCode) -> None:
        """Answer what was held back for the record, and let the machine go on."""
        if store.held is not None:
            held = store.held
            if error != ErrorCode.none:
                held = Answer(held.ticket, Joined(error, UNKNOWN_MEMBER))
            self._answer(held)
        if not host.is_gone:
            live.group.stored(store.record.generation, error, self._loop.time())
            self._carry_out(host, live)

    def _arm(self, host: _Host, live: _Live) -> None:
        """Have the timer fire no later than the machine wants it; earlier does no harm."""
        due = live.group.deadline()
        if due is None or (live.timer is not None and live.timer.when() <= due):
            return
        if live.timer is not None:
            live.timer.cancel()
        live.timer = self._loop.call_at(due, partial(self._tick, host, live))

    def _tick(self, host: _Host, live: _Live) -> None:
        assert live.timer is not None
        now, due = self._loop.time(), live.timer.when()
        live.timer = None
        if now - due > LATE_S:
            live.group.postpone(now - due)
        live.group.tick(now)
        self._carry_out(host, live)

    def _ticket(self, _: type[ResultT]) -> tuple[Ticket, asyncio.Future[ResultT]]:
        ticket = Ticket(next(self._tickets))
        future: asyncio.Future[ResultT] = self._loop.create_future()
        self._waiting[ticket] = future
        return ticket, future

    def _member_id(self, ask: Join) -> str:
        """A new id, readable by whoever looks at the group: by instance or client, and never given twice."""
        return f"{ask.instance_id or ask.client_id or 'member'}-{self._random.getrandbits(128):032x}"


def _check_name(name: str) -> None:
    """Raise Refused for what cannot be the name of a group with members."""
    if not name:
        raise Refused(ErrorCode.invalid_group_id, "the name of a group with members cannot be empty")
    _check_length(name)


def _check_length(name: str) -> None:
    """Raise Refused for what cannot be the name of a group. The empty one is, for offsets alone."""
    if len(name.encode("utf-8", "surrogatepass")) > GROUP_NAME_BYTES_MAX:
        raise Refused(ErrorCode.invalid_group_id, f"a group's name has at most {GROUP_NAME_BYTES_MAX} bytes")
