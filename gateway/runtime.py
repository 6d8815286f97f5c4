"""The composition root: which concrete parts a node is made of, and the order in which they start and stop.

Start: the address is reserved, the stores are opened and probed, the cluster's record is read or made, a
session is opened, the logs are acquired and replayed, the topics are read; only then are connections taken.
Stop is the same list backwards: what is in flight is answered, then the logs are flushed, sealed and given
up, then the session ends, then the stores close. A start that fails undoes what it has done.
"""

import asyncio
import gc
import os
import random as random_module
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata

import msgpack

from gateway.catalog import Catalog
from gateway.cluster_record import ClusterRecord, join
from gateway.connection import Connection
from gateway.context import Context, Node
from gateway.events import EventLog, Throttle, describe
from gateway.groups.coordinator import Groups
from gateway.groups.offsets import GroupStates
from gateway.groups.sweep import keep_sweeping
from gateway.logs import GatewayLog, Logs, Stores
from gateway.producer_ids import ProducerIds
from gateway.producers import ProducerWindows
from gateway.retention import keep_trimming
from gateway.routes import ROUTES
from gateway.server import Server
from gateway.service import ConnectionLimits, Service
from gateway.setting_kinds import url_path
from gateway.settings import Settings
from gateway.state import GatewayState
from gateway.truncation import keep_truncating
from protocol.frames import Limits
from wal.budget import ByteBudget
from wal.cache import ColdCache, HotCache
from wal.clock import Clock, SystemClock
from wal.errors import StoreRefused, WalError
from wal.flush_policy import GroupCommit
from wal.log import Log, NodeParts
from wal.meta.memory import MemoryMetaStore
from wal.meta.sqlite import SqliteMetaStore
from wal.objects.filesystem import FileSystemObjectStore
from wal.objects.memory import MemoryObjectStore
from wal.objects.probe import probe
from wal.objects.syscalls import OsFiles
from wal.session import Session
from wal.tasks import TaskSet
from wal.types import LogId

LOG = EventLog(__name__)

EXIT_STOPPED = 0
EXIT_FAILED = 1

PROBE_PREFIX = "probe/"
REQUESTS_OTHER_BYTES_MAX = 64 * 1024 * 1024
"""Memory for requests other than Produce, of all connections together."""
LOST_DRAIN_S_MAX = 1.0
"""How long a node that lost its place still answers; it has nothing to say but errors."""


class StartFailed(Exception):
    """The node cannot start; the message is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a node stands on. `close` ends what `open_parts` opened; tests bring their own and keep them."""

    stores: Stores
    clock: Clock
    random: random_module.Random


@dataclass(slots=True)
class Gateway:
    """A node that runs. `lost` is done when it cannot go on, with the reason."""

    context: Context
    server: Server
    lost: asyncio.Future[WalError]
    settings: Settings
    undo: AsyncExitStack

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self.settings.listen_host, self.server.port

    async def stop(self, drain_s_max: float | None = None) -> None:
        """Stop in order: answer what is in flight, flush, give the logs up, close. Takes a bounded time."""
        bound = self.settings.stop_ms_max / 1000 if drain_s_max is None else drain_s_max
        self.context.groups.release()
        await self.server.stop(bound)
        await self.undo.aclose()


async def start(settings: Settings, parts: Parts | None = None) -> Gateway:
    """A node that takes connections when this returns; with `parts`, on these instead of what the settings
    name.

    Raises StartFailed with one sentence; what had been started is stopped.
    """
    async with AsyncExitStack() as undo:
        try:
            gateway = await _start(settings, parts, undo)
        except StoreRefused as failure:
            raise StartFailed(str(failure)) from failure
        except WalError as failure:
            raise StartFailed(f"the stores cannot be used: {describe(failure)}.") from failure
        gateway.undo = undo.pop_all()
        return gateway
    raise AssertionError("an exit stack without callbacks swallows nothing")


async def _start(settings: Settings, parts: Parts | None, undo: AsyncExitStack) -> Gateway:
    server = await _bind(settings)
    undo.push_async_callback(server.stop, 0.0)
    if parts is None:
        parts = await open_parts(settings, undo)
    objects, meta = parts.stores
    await probe(objects, PROBE_PREFIX, parts.random)
    where = (settings.meta, settings.store)
    record = await join(meta, objects, logs=settings.logs, random=parts.random, where=where)
    node = _node(settings, server.port)
    session = await Session.open(
        meta,
        settings.node_id,
        ttl_s=settings.lease_ttl_s,
        clock=parts.clock,
        random=parts.random,
        info=_session_info(node),
    )
    undo.push_async_callback(session.close)
    budget = ByteBudget(settings.buffer_bytes_max)
    logs = await _open_logs(settings, parts, record, session, budget, undo)
    tasks = TaskSet()
    undo.push_async_callback(tasks.close)
    catalog = Catalog(meta, logs=record.logs, settings=settings, random=parts.random)
    await catalog.load()
    tasks.spawn(catalog.keep_current(), "catalog follows the store")
    tasks.spawn(catalog.keep_dropping(logs), "catalog drops deleted topics")
    groups = Groups(logs, settings=settings, clock=parts.clock, random=parts.random)
    undo.push_async_callback(groups.close)
    context = Context(
        settings=settings,
        node=node,
        cluster_id=record.id,
        catalog=catalog,
        logs=logs,
        groups=groups,
        producer_ids=ProducerIds(meta),
        clock=parts.clock,
        random=parts.random,
    )
    tasks.spawn(keep_sweeping(logs, catalog), "groups swept")
    tasks.spawn(keep_trimming(context), "retention")
    tasks.spawn(keep_truncating(logs, settings.retention_check_interval_ms / 1000), "truncation")
    await server.serve(_service(settings, context, budget, parts.clock))
    lost = tasks.spawn(_first_of(session.lost, logs.lost), "node watches its session")
    return Gateway(context, server, lost, settings, undo)


async def _bind(settings: Settings) -> Server:
    try:
        return await Server.bind(settings.listen_host, settings.listen_port)
    except OSError as failure:
        raise StartFailed(f"cannot listen on {settings.listen}: {failure.strerror or failure}.") from failure


async def open_parts(settings: Settings, undo: AsyncExitStack) -> Parts:
    """The stores that the settings name, opened; `undo` closes them. Raises StartFailed and StoreRefused."""
    random = random_module.SystemRandom()
    clock = SystemClock()
    meta: MemoryMetaStore | SqliteMetaStore
    objects: MemoryObjectStore | FileSystemObjectStore
    if settings.meta == "memory://":
        meta = MemoryMetaStore(clock)
    else:
        meta = await SqliteMetaStore.open(url_path(settings.meta), clock)
    undo.push_async_callback(meta.close)
    if settings.store == "memory://":
        objects = MemoryObjectStore()
    else:
        objects = await FileSystemObjectStore.open(url_path(settings.store), OsFiles())
    undo.push_async_callback(objects.close)
    return Parts(Stores(objects, meta), clock, random)


def _node(settings: Settings, port: int) -> Node:
    advertised = settings.advertised(port)
    return Node(settings.node_id, advertised.host, advertised.port, settings.rack or None)


def _session_info(node: Node) -> bytes:
    fields = {"format": 1, "node": node.id, "host": node.host, "port": node.port, "rack": node.rack or ""}
    return bytes(msgpack.packb(fields))


async def _open_logs(
    settings: Settings,
    parts: Parts,
    record: ClusterRecord,
    session: Session,
    budget: ByteBudget,
    undo: AsyncExitStack,
) -> Logs:
    objects, meta = parts.stores
    cold = ColdCache(settings.cold_cache_bytes_max)
    undo.push_async_callback(cold.close)
    node_parts = NodeParts(
        objects=objects,
        meta=meta,
        session=session,
        hot=HotCache(settings.cache_bytes_max),
        cold=cold,
        budget=budget,
        clock=parts.clock,
        random=parts.random,
        settings=settings.log_settings(),
    )

    async def opener(log_id: LogId) -> GatewayLog:
        policy = GroupCommit(
            flush_bytes_max=settings.flush_bytes_max, flushes_in_flight_max=settings.flushes_in_flight_max
        )
        return await Log.open(log_id, node_parts, state=partial(_new_state, settings), policy=policy)

    logs = Logs(
        record,
        node_id=settings.node_id,
        stores=parts.stores,
        session=session,
        opener=opener,
        random=parts.random,
    )
    undo.push_async_callback(_bounded, logs.close, settings.stop_ms_max / 1000)
    await logs.open(2 * settings.lease_ttl_s)
    return logs


def _new_state(settings: Settings) -> GatewayState:
    """An empty state machine, as every log has two of."""
    producers = ProducerWindows(
        expiration_ms=settings.producer_id_expiration_ms, producers_max=settings.producers_max
    )
    return GatewayState(producers, GroupStates())


def _service(settings: Settings, context: Context, budget: ByteBudget, clock: Clock) -> Service:
    return Service(
        routes=ROUTES,
        context=context,
        frame_limits=Limits(settings.request_bytes_max, settings.request_other_bytes_max),
        limits=ConnectionLimits(
            requests_in_flight_max=settings.requests_in_flight_max,
            idle_s_max=settings.connection_idle_ms_max / 1000,
        ),
        budget=budget,
        budget_other=ByteBudget(REQUESTS_OTHER_BYTES_MAX),
        throttle=Throttle(EventLog(Connection.__module__), clock),
        connections_max=settings.connections_max,
    )


async def _bounded(close: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Close, or give up after a while: what is not flushed by then was acknowledged to nobody."""
    try:
        async with asyncio.timeout(seconds):
            await close()
    except TimeoutError:
        LOG.warning("logs_not_closed", waited_s=seconds)


async def _first_of(*futures: asyncio.Future[WalError]) -> WalError:
    done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    return done.pop().result()


def serve(settings: Settings) -> int:
    """Run a node until SIGTERM or SIGINT; the process's exit code. A second signal ends the process at
    once."""
    return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stopping = _signals()
    stopped = asyncio.ensure_future(stopping.wait())
    starting = asyncio.ensure_future(start(settings))
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    try:
        gateway = await starting
    except asyncio.CancelledError:
        return EXIT_STOPPED
    except StartFailed as failure:
        stopped.cancel()
        return _fail(f"cannot start: {failure}")
    # What is here now stays for good; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    _announce(gateway)
    await asyncio.wait((gateway.lost, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if gateway.lost.done():
        cause = gateway.lost.result()
        await gateway.stop(LOST_DRAIN_S_MAX)
        return _fail(f"cannot go on: {cause}.")
    LOG.event("stopping")
    await gateway.stop()
    LOG.event("stopped")
    return EXIT_STOPPED


def _signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second one ends the process."""
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(EXIT_FAILED)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stopping


def _announce(gateway: Gateway) -> None:
    """Tell a person, on standard output, and the log, what was started and how to use it."""
    settings, node = gateway.settings, gateway.context.node
    listening = settings.listen._replace(port=gateway.server.port)
    advertised = f"{node.host}:{node.port}"
    LOG.event(
        "listening",
        address=str(listening),
        advertised=advertised,
        node=node.id,
        cluster=gateway.context.cluster_id,
        store=settings.store,
        meta=settings.meta,
    )
    passing = ", gone when this process ends" if settings.store == "memory://" else ""
    _say(
        f"drumlog {metadata.version('drumlog')} listens on {listening}: "
        f"node {node.id} of cluster {gateway.context.cluster_id}\n"
        f"data in {settings.store}, metadata in {settings.meta}{passing}\n"
        f"connect with bootstrap.servers={advertised}, for example: kcat -b {advertised} -L\n"
    )


def _say(text: str) -> None:
    """Nobody needs to listen: a closed standard output is no reason to fail."""
    with suppress(OSError, ValueError):
        sys.stdout.write(text)
        sys.stdout.flush()


def _fail(sentence: str) -> int:
    LOG.error("failed", reason=sentence)
    with suppress(OSError, ValueError):
        sys.stderr.write(f"drumlog serve: {sentence}\n")
    return EXIT_FAILED
