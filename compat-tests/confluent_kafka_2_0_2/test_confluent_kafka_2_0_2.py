"""confluent-kafka of 2023 against a gateway, in a process of its own beside today's."""

import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from tests.support.client_driver import SECONDS_MAX
from tests.support.client_laws import AdminLaws, ClientLaws
from tests.support.gateway import ROOT

PYTHON = ROOT / ".venv-old" / "bin" / "python"
PROGRAM = Path(__file__).with_name("program.py")


class Remote:
    """The same driver as that of today's release, called in a process of the old environment."""

    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    sends_timestamps = True
    sends_null_header_values = True

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *arguments, **named: self._call(method, arguments, named)

    def _call(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        with subprocess.Popen(
            [PYTHON, PROGRAM],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            written, _ = process.communicate(pickle.dumps((method, arguments, named)), 2 * SECONDS_MAX)
        assert written, f"the program ended with {process.returncode}"
        returned, what = pickle.loads(written)
        if not returned:
            raise what
        return what


class TestConfluentKafka202(ClientLaws, AdminLaws):
    driver: ClassVar[Any] = Remote()

    def test_the_releases_are_those_of_2023(self) -> None:
        assert self.driver.versions() == ("2.0.2", "2.0.2")
