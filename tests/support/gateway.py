"""Whole gateways for tests: one in the test's process, and one as a process that may be killed.

async with running() as gateway:                 # in memory
async with running(tmp_path) as gateway:         # files and SQLite below tmp_path
with GatewayProcess(tmp_path) as process:        # `drumlog serve`; kill() and start() again
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from gateway.runtime import Gateway, Parts, start
from gateway.setting_kinds import Address
from gateway.settings import Settings

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]


def settings_for(directory: Path | None, **changes: Any) -> Settings:
    """Settings of a node on a free loopback port, in memory or below `directory`."""
    stores = {} if directory is None else store_urls(directory)
    defaults: dict[str, Any] = {"listen": Address(HOST, 0), "stop_ms_max": 5_000, **stores}
    return Settings(**{**defaults, **changes})


def store_urls(directory: Path) -> dict[str, str]:
    """Where a node keeps its data and metadata below `directory`."""
    return {"store": f"file://{directory}/data", "meta": f"sqlite://{directory}/meta.db"}


@asynccontextmanager
async def running(
    directory: Path | None = None, *, parts: Parts | None = None, **changes: Any
) -> AsyncIterator[Gateway]:
    """A node in this process, stopped in order at the end. `changes` are settings."""
    gateway = await start(settings_for(directory, **changes), parts)
    try:
        yield gateway
    finally:
        await gateway.stop()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class GatewayProcess:
    """`drumlog serve` as a process, on one port for as long as the object lives.

    Made without being started; as a context manager it starts, and is killed at the end if it still runs.
    """

    def __init__(self, directory: Path, *, port: int | None = None, **changes: object) -> None:
        self.directory = directory
        self.port = free_port() if port is None else port
        self.address = f"{HOST}:{self.port}"
        urls = store_urls(directory)
        fields: Mapping[str, object] = {"listen": self.address, **urls, **changes}
        flags = [
            text for name, value in fields.items() for text in (f"--{name.replace('_', '-')}", str(value))
        ]
        self._command = [sys.executable, "-m", "gateway.cli", "serve", *flags]
        self._process: subprocess.Popen[bytes] | None = None
        self._runs = 0

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """What the current or last run wrote to standard output."""
        return self._file("out").read_text()

    @property
    def errors(self) -> str:
        """What the current or last run wrote to standard error."""
        return self._file("err").read_text()

    def start(self, seconds_max: float = 30.0) -> Self:
        """Start it and wait until it listens. AssertionError with its last words if it ends."""
        self.spawn()
        deadline = time.monotonic() + seconds_max
        while "bootstrap.servers" not in self.output:
            assert self._process is not None
            assert self._process.poll() is None, f"exit code {self._process.returncode}: {self.errors}"
            assert time.monotonic() < deadline, f"it does not listen: {self.errors}"
            time.sleep(0.01)
        return self

    def spawn(self) -> None:
        """Start it and wait for nothing."""
        self._runs += 1
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DRUMLOG_")}
        with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds_max: float = 30.0) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(seconds_max)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL), and wait for that."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """Stop it in order (SIGTERM) and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Kill it if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _file(self, kind: str) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / f"run-{self._runs}.{kind}"
