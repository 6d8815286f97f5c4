"""The crash test: real clients produce and read while the gateway is killed and started again, over and over.

    python -m tests.crash.driver --kills 300 --seed 7

The seed fixes when each kill strikes: so long after the gateway has acknowledged so many records since its
start, or, to hit recovery and what follows it, after it has opened its metadata or begun to listen. At the
end everything is read from a gateway that was killed once more, and tests.crash.checker judges.
"""

import argparse
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import kafka.admin

from tests.crash.checker import History, Outcome, check, report
from tests.crash.committer import Committer
from tests.crash.curtain import Curtain
from tests.crash.ledger import Ledger, Runs
from tests.crash.reader import Follower, read_all
from tests.crash.senders import FINISH_S_MAX, TOPIC, Sender, kinds
from tests.crash.worker import Worker
from tests.support.gateway import HOST, GatewayProcess, free_port

KILLS = 30
SHARED_PARTITIONS = 2
ACKED_MAX = 2_000
CHECKED_S = 0.002
RUN_S_MAX = 60.0
SETTINGS: dict[str, Any] = {
    "segment_blocks": 12,
    "segment_bytes": 128 * 1024,
    "log_level": "warning",
}
"""Segments so small that rolls, seals and checkpoints are always under way."""


class Moment(Enum):
    """What a kill waits for. The value: its share, and the longest wait that follows, in seconds."""

    ACKED = (0.2, 0.01)
    HELD = (0.4, 0.06)
    OPENING = (0.15, 0.08)
    LISTENING = (0.25, 0.2)


class Kill(NamedTuple):
    """When a run of the gateway ends: `wait_s` after the moment.

    ACKED, HELD: it has acknowledged `acked` records; HELD: no answer goes through while it waits.
    """

    moment: Moment
    acked: int
    wait_s: float


def schedule(kills: int, source: random.Random) -> list[Kill]:
    """When to kill. Few records as often as many."""
    moments = list(Moment)
    shares = [moment.value[0] for moment in moments]
    return [
        Kill(moment, round(ACKED_MAX ** source.random()), source.uniform(0.0, moment.value[1]))
        for moment in source.choices(moments, shares, k=kills)
    ]


class Summary(NamedTuple):
    """What a run found and did."""

    violations: str
    records: int
    acked: int
    unknown: int
    copies: int
    commits: int
    kills: int
    seconds: float

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.kills} kills, {self.records} records in the log, {self.acked} acknowledged,"
            f" {self.unknown} of unknown outcome, {self.copies} extra copies, {self.commits} commits,"
            f" {self.seconds:.0f} s"
        )


class Gateway(GatewayProcess):
    """A gateway that starts as quickly as where it is installed without the tools of its tests.

    kio looks for hypothesis, and takes a third of a second to import it where it is.
    """

    def __init__(self, directory: Path, **changes: Any) -> None:
        super().__init__(directory, **changes)
        program = (
            "import sys; sys.modules['hypothesis'] = None\nfrom gateway.cli import main\nsys.exit(main())"
        )
        self._command[1:3] = ["-c", program]

    @property
    def is_opening(self) -> bool:
        """Whether this run owns the metadata, the first thing it does with what the last one left."""
        return (self.directory / "meta.db.lock").read_text().strip() == str(self.pid)

    @property
    def is_listening(self) -> bool:
        """Whether this run takes connections."""
        return "bootstrap.servers" in self.output

    def assert_alive(self) -> None:
        """AssertionError with its last words if it ended by itself."""
        assert self._process is not None
        assert self._process.poll() is None, f"exit code {self._process.returncode}: {self.errors}"


class CrashTest:
    """One run, from the topic's creation to the verdict."""

    def __init__(self, directory: Path, *, kills: int, seed: int) -> None:
        source = random.Random(seed)
        self._schedule = schedule(kills, source)
        self._runs = Runs()
        self._nothing = threading.Event()
        port = free_port()
        address = f"{HOST}:{port}"
        self._gateway = Gateway(directory, advertise=address, **SETTINGS)
        self._curtain = Curtain(port, self._gateway.port)
        self._address = address
        clients = kinds()
        self._partitions = len(clients) + SHARED_PARTITIONS
        shared = range(len(clients), self._partitions)
        self._senders = [
            Sender(
                Ledger(name, self._runs, repeats=repeats),
                connect,
                address,
                (own, *shared),
                random.Random(source.random()),
            )
            for own, (name, (connect, repeats)) in enumerate(clients.items())
        ]
        self._follower = Follower(address, self._partitions)
        self._committer = Committer(port, self._partitions)
        self._workers: list[Worker] = [self._curtain, *self._senders, self._committer, self._follower]

    def run(self) -> Summary:
        """Kill as often as wanted, read, judge."""
        began = time.monotonic()
        with self._gateway:
            self._curtain.start()
            admin = kafka.admin.KafkaAdminClient(bootstrap_servers=self._address)
            admin.create_topics([kafka.admin.NewTopic(TOPIC, self._partitions, 1)])
            admin.close()
            for worker in (*self._senders, self._committer, self._follower):
                worker.start()
            for kill in self._schedule:
                self._until(kill)
                self._kill()
            self._finish(*self._senders, self._committer)
            self._kill()
            log, ends = read_all(self._address, self._partitions)
            self._committer.look_at_all()
            self._follower.finish(ends)
            self._finish(self._follower)
            self._finish(self._curtain)
        history = History(
            sent={sender.ledger.producer: sender.ledger.sent() for sender in self._senders},
            log=log,
            ends=ends,
            polls=self._follower.polls,
            commits=self._committer.commits,
        )
        return self._summary(history, time.monotonic() - began)

    def _until(self, kill: Kill) -> None:
        """Return when the kill is due."""
        deadline = time.monotonic() + RUN_S_MAX
        while not self._is_due(kill):
            self._gateway.assert_alive()
            self._no_failures()
            assert time.monotonic() < deadline, f"{kill}: {self._runs.acked} acknowledged, no more come"
        if kill.moment is Moment.HELD:
            self._curtain.hold()
        self._nothing.wait(kill.wait_s)

    def _is_due(self, kill: Kill) -> bool:
        match kill.moment:
            case Moment.ACKED | Moment.HELD:
                return self._runs.wait_acked(kill.acked, 0.1)
            case Moment.OPENING:
                self._nothing.wait(CHECKED_S)
                return self._gateway.is_opening
            case Moment.LISTENING:
                self._nothing.wait(CHECKED_S)
                return self._gateway.is_listening

    def _kill(self) -> None:
        self._gateway.assert_alive()
        self._runs.killed()
        self._gateway.kill()
        self._curtain.drop()
        self._gateway.spawn()
        self._runs.started()

    def _finish(self, *workers: Worker) -> None:
        for worker in workers:
            worker.ending.set()
        for worker in workers:
            worker.join(FINISH_S_MAX)
            assert not worker.is_alive(), f"{worker.name} stands still"
        self._no_failures()

    def _no_failures(self) -> None:
        for worker in self._workers:
            if worker.failure is not None:
                raise AssertionError(f"{worker.name} failed") from worker.failure

    def _summary(self, history: History, seconds: float) -> Summary:
        outcomes = [one.outcome for sends in history.sent.values() for one in sends]
        rows = [row.record for rows in history.log.values() for row in rows]
        return Summary(
            violations=report(check(history)),
            records=len(rows),
            acked=sum(1 for outcome in outcomes if not isinstance(outcome, Outcome)),
            unknown=outcomes.count(Outcome.UNKNOWN),
            copies=len(rows) - len(set(rows)),
            commits=sum(1 for one in history.commits if one.acked),
            kills=self._runs.kills,
            seconds=seconds,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run once, say what was found; exit code 1 for a violation. The data is kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.driver", description=__doc__)
    parser.add_argument("--kills", type=int, default=int(os.environ.get("DRUMLOG_CRASH_KILLS", KILLS)))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--directory", type=Path, help="where the gateway's data goes and stays")
    given = parser.parse_args(arguments)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    directory = given.directory or Path(tempfile.mkdtemp(prefix="drumlog-crash-"))
    sys.stdout.write(f"seed {given.seed}, data in {directory}\n")
    sys.stdout.flush()
    summary = CrashTest(directory, kills=given.kills, seed=given.seed).run()
    sys.stdout.write(f"{summary}\n{summary.violations or 'no violation'}\n")
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main())
