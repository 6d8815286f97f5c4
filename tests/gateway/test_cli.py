import subprocess
import sys
from types import ModuleType

import pytest

import gateway
from gateway import cli
from gateway.settings import SETTINGS, Settings
from gateway.settings_page import page


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that reach the runtime, in place of a node."""
    settings: list[Settings] = []
    runtime = ModuleType("gateway.runtime")

    def serve(given: Settings) -> int:
        settings.append(given)
        return 7

    runtime.serve = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gateway.runtime", runtime)
    monkeypatch.setattr(gateway, "runtime", runtime, raising=False)
    monkeypatch.setattr(cli, "environment", dict)
    return settings


def test_serve_runs_the_node_and_returns_its_exit_code(served: list[Settings]) -> None:
    flags = ["--store", "memory://", "--meta=memory://", "--node-id", "5", "--retention-bytes", "-1"]
    assert cli.main(["serve", *flags]) == 7
    assert [settings.node_id for settings in served] == [5]


def test_wrong_settings_are_one_line_and_exit_code_2(
    served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", "--store", "memory://", "--meta", "memory://", "--logs", "0"]) == 2
    assert served == []
    sentence = "logs is '0' (from --logs), but it must be a whole number from 1 to 100."
    assert capsys.readouterr() == ("", f"drumlog serve: {sentence}\n")


@pytest.mark.parametrize(
    "arguments", [[], ["srve"], ["serve", "--lgs", "3"], ["serve", "--log"], ["serve", "x"]]
)
def test_a_command_line_that_cannot_be_read_is_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)


def test_help_shows_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["serve", "--help"])
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for row in SETTINGS:
        assert f" {row.flag} " in shown
        assert f"Default: {row.default_shown}.".replace("`", "") in shown


def test_settings_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings"]) == 0
    assert capsys.readouterr().out == page()


def test_the_version_is_known_without_loading_what_a_node_needs() -> None:
    program = (
        "import sys\n"
        "from gateway import cli\n"
        "try:\n"
        "    cli.main(['--version'])\n"
        "finally:\n"
        "    assert 'kio' not in sys.modules and 'asyncio' not in sys.modules\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("drumlog ")
