"""THE table of settings, from which flags, variables, file keys, help, docs and validation are drawn.

Each field of `Settings` is one row: its default, its kind (what is allowed), its group and its help sentence.
The name gives the rest: `flush_bytes_max` is the flag `--flush-bytes-max`, the variable
`DRUMLOG_FLUSH_BYTES_MAX` and the key `flush_bytes_max` of the TOML file. Values are read by
gateway/settings_load.py. Nothing is in the table that nothing enforces (tests/test_architecture.py). No other
module reads the process's environment.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeVar

from gateway import setting_kinds as kinds
from gateway.logging_setup import FORMATS, LEVELS
from gateway.setting_kinds import Address, Kind, url_path
from wal.settings import GIB, KIB, MIB, LogSettings

__all__ = ["GROUPS", "PREFIX", "SETTINGS", "Address", "Setting", "Settings", "environment", "url_path"]

PREFIX = "DRUMLOG_"
INT64_MAX = 2**63 - 1
DAY_MS = 86_400_000

GROUPS = {
    "node": "Where the node listens and who it is",
    "storage": "Where data and metadata live",
    "topics": "What topics begin with",
    "requests": "Limits on connections and requests",
    "producers": "Idempotent producers",
    "groups": "Consumer groups",
    "log": "How the log writes, keeps and reads",
    "logging": "What the node writes to standard error",
}

T = TypeVar("T")


class Setting(NamedTuple):
    """One row of the table, as `--help` and the docs page show it."""

    name: str
    default: object
    kind: Kind[Any]
    group: str
    help: str
    unit: str
    default_words: str
    required: bool
    in_file: bool

    @property
    def flag(self) -> str:
        """The command line's flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment's variable."""
        return PREFIX + self.name.upper()

    @property
    def default_shown(self) -> str:
        """The default as text, or in words where no text would tell it."""
        return self.default_words or self.kind.show(self.default)


def _row(
    default: T,
    kind: Kind[T],
    group: str,
    help_sentence: str,
    *,
    unit: str = "",
    default_words: str = "",
    required: bool = False,
    in_file: bool = True,
) -> T:
    row = Setting("", default, kind, group, help_sentence, unit, default_words, required, in_file)
    return field(default=default, metadata={"row": row})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every number and address that a node is started with. Made by `load`; tests may make it by hand."""

    listen: Address = _row(  # noqa: RUF009
        Address("127.0.0.1", 9092),
        kinds.address(port_min=0),
        "node",
        "Address to take connections on; port 0 takes a free one, and the start-up line tells which.",
    )
    advertise: Address | None = _row(  # noqa: RUF009
        None,
        kinds.optional_address(port_min=1),
        "node",
        "Address that clients are told to connect to; it must reach this node from where they run.",
        default_words="as `listen`",
    )
    node_id: int = _row(
        1,
        kinds.integer(0, 2**31 - 1),
        "node",
        "Number of this node, which clients see as the broker's id.",
    )
    rack: str = _row(
        "",
        kinds.name(255),
        "node",
        "Name of the rack or zone the node stands in, told to clients.",
        default_words="none",
    )
    stop_ms_max: int = _row(
        30_000,
        kinds.integer(0, 3_600_000),
        "node",
        "How long a stop waits for what is in flight before it closes connections.",
        unit="ms",
    )
    config: str = _row(
        "",
        kinds.file_path(),
        "node",
        "TOML file with settings, one `name = value` a line.",
        default_words="none",
        in_file=False,
    )

    store: str = _row(
        "memory://",
        kinds.store_url("file", "absolute/directory"),
        "storage",
        "Where the data lives. The directory is created; what lies in memory is gone with the process.",
        default_words="must be given",
        required=True,
    )
    meta: str = _row(
        "memory://",
        kinds.store_url("sqlite", "absolute/file.db"),
        "storage",
        "Where the metadata lives. The file is created; in memory only together with data in memory.",
        default_words="must be given",
        required=True,
    )
    logs: int = _row(
        1,
        kinds.integer(1, 100),
        "storage",
        "How many logs a new cluster is created with; an existing one keeps its own.",
    )
    lease_ttl_s: int = _row(
        10,
        kinds.integer(2, 300),
        "storage",
        "How long a node that fell silent keeps its logs before another may take them.",
        unit="s",
    )

    auto_create_topics: bool = _row(
        True,
        kinds.boolean(),
        "topics",
        "Whether a topic comes into being when a client that allows it asks for it by name.",
    )
    num_partitions: int = _row(
        1,
        kinds.integer(1, 20_000),
        "topics",
        "Partitions of a topic that is created without saying how many.",
    )
    message_bytes_max: int = _row(
        1_048_588,
        kinds.size(1 * KIB, 1 * GIB),
        "topics",
        "Largest record batch, headers included, unless the topic sets `max.message.bytes`.",
        unit="bytes",
    )
    retention_ms: int = _row(
        7 * DAY_MS,
        kinds.integer(-1, INT64_MAX),
        "topics",
        "Records older than this may be removed, unless the topic sets `retention.ms`; -1 for never.",
        unit="ms",
    )
    retention_bytes: int = _row(
        -1,
        kinds.size_or_unlimited(INT64_MAX),
        "topics",
        "A partition keeps about this much, unless the topic sets `retention.bytes`.",
        unit="bytes",
    )
    retention_check_interval_ms: int = _row(
        300_000,
        kinds.integer(100, DAY_MS),
        "topics",
        "How often the node looks for records to remove.",
        unit="ms",
    )

    connections_max: int = _row(
        10_000,
        kinds.integer(1, 1_000_000),
        "requests",
        "Connections that are open at once; further ones are closed as they come.",
    )
    connection_idle_ms_max: int = _row(
        600_000,
        kinds.integer(1_000, DAY_MS),
        "requests",
        "A connection on which nothing happened for this long is closed.",
        unit="ms",
    )
    requests_in_flight_max: int = _row(
        100,
        kinds.integer(1, 10_000),
        "requests",
        "Requests of one connection that are worked on at once; further ones wait in its socket.",
    )
    request_bytes_max: int = _row(
        100 * MIB,
        kinds.size(1 * KIB, 1 * GIB),
        "requests",
        "Largest Produce request; a larger one closes the connection.",
        unit="bytes",
    )
    request_other_bytes_max: int = _row(
        1 * MIB,
        kinds.size(1 * KIB, 100 * MIB),
        "requests",
        "Largest request of any other kind; a larger one closes the connection.",
        unit="bytes",
    )
    fetch_bytes_max: int = _row(
        55 * MIB,
        kinds.size(1 * KIB, 1 * GIB),
        "requests",
        "Most bytes of records in one Fetch response, whatever the client asks; one batch always fits.",
        unit="bytes",
    )
    batch_open_bytes_max: int = _row(
        128 * MIB,
        kinds.size(1 * MIB, 1 * GIB),
        "requests",
        "Most bytes a compressed batch may grow to where it has to be opened, in look-ups by time.",
        unit="bytes",
    )

    producer_id_expiration_ms: int = _row(
        DAY_MS,
        kinds.integer(1_000, INT64_MAX),
        "producers",
        "An idempotent producer that was idle for this long is forgotten.",
        unit="ms",
    )
    producers_max: int = _row(
        100_000,
        kinds.integer(1, 10_000_000),
        "producers",
        "Idempotent producers that one log remembers; beyond it the longest idle is forgotten.",
    )

    group_session_timeout_ms_min: int = _row(
        6_000,
        kinds.integer(1, DAY_MS),
        "groups",
        "Shortest session timeout that a member may ask for.",
        unit="ms",
    )
    group_session_timeout_ms_max: int = _row(
        1_800_000,
        kinds.integer(1, DAY_MS),
        "groups",
        "Longest session timeout that a member may ask for.",
        unit="ms",
    )
    group_initial_rebalance_delay_ms: int = _row(
        0,
        kinds.integer(0, 300_000),
        "groups",
        "How long an empty group waits for more members before its first generation begins.",
        unit="ms",
    )
    offset_metadata_bytes_max: int = _row(
        4 * KIB,
        kinds.size(0, 1 * MIB),
        "groups",
        "Longest note that a client may store with a committed offset.",
        unit="bytes",
    )

    flush_bytes_max: int = _row(
        LogSettings().flush_bytes_max,
        kinds.size(64 * KIB, 64 * MIB),
        "log",
        "A block is written as soon as it holds this much.",
        unit="bytes",
    )
    flushes_in_flight_max: int = _row(
        LogSettings().flushes_in_flight_max,
        kinds.integer(1, 64),
        "log",
        "Writes of one log that run at once.",
    )
    buffer_bytes_max: int = _row(
        LogSettings().buffer_bytes_max,
        kinds.size(1 * MIB, 64 * GIB),
        "log",
        "Received and not yet durable bytes of the node; beyond it producers wait in their sockets.",
        unit="bytes",
    )
    cache_bytes_max: int = _row(
        LogSettings().cache_bytes_max,
        kinds.size(1 * MIB, 1024 * GIB),
        "log",
        "Memory for what was written last, from which consumers at the tail are served.",
        unit="bytes",
    )
    cold_cache_bytes_max: int = _row(
        LogSettings().cold_cache_bytes_max,
        kinds.size(1 * MIB, 1024 * GIB),
        "log",
        "Memory for older data that consumers read again.",
        unit="bytes",
    )
    segment_bytes: int = _row(
        LogSettings().segment_bytes,
        kinds.size(64 * KIB, 64 * GIB),
        "log",
        "A segment of the log is closed when it holds this much; retention removes whole segments.",
        unit="bytes",
    )
    segment_blocks: int = _row(
        LogSettings().segment_blocks,
        kinds.integer(1, 4_000),
        "log",
        "A segment is closed when it has this many blocks.",
    )
    segment_ms: int = _row(
        LogSettings().segment_ms,
        kinds.integer(100, DAY_MS),
        "log",
        "A segment that has blocks is closed at this age.",
        unit="ms",
    )

    log_level: str = _row(
        "info",
        kinds.choice(*LEVELS),
        "logging",
        "Least level that is written.",
    )
    log_format: str = _row(
        "logfmt",
        kinds.choice(*FORMATS),
        "logging",
        "How lines are written: `key=value`, or one JSON object a line.",
    )

    @property
    def listen_host(self) -> str:
        """The host of `listen`."""
        return self.listen.host

    @property
    def listen_port(self) -> int:
        """The port of `listen`; 0 asks for a free one."""
        return self.listen.port

    def advertised(self, listen_port: int) -> Address:
        """Where clients are told to connect, now that the listener is bound to `listen_port`."""
        return self.advertise or Address(self.listen.host, listen_port)

    def log_settings(self) -> LogSettings:
        """The log's numbers among these."""
        return LogSettings(
            flush_bytes_max=self.flush_bytes_max,
            flushes_in_flight_max=self.flushes_in_flight_max,
            buffer_bytes_max=self.buffer_bytes_max,
            cache_bytes_max=self.cache_bytes_max,
            cold_cache_bytes_max=self.cold_cache_bytes_max,
            segment_bytes=self.segment_bytes,
            segment_blocks=self.segment_blocks,
            segment_ms=self.segment_ms,
        )


SETTINGS: tuple[Setting, ...] = tuple(row.metadata["row"]._replace(name=row.name) for row in fields(Settings))


def environment() -> Mapping[str, str]:
    """The process's environment."""
    return os.environ
