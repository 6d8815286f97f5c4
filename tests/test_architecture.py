"""The house rules that a machine can check. What is small may not become large, and borders stay closed.

Import rules between whole packages are import-linter's (pyproject.toml); here are those for single modules,
for sizes, and for what may lie in the repository. A rule that has to give way is changed here, in the open.
"""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.settings import SETTINGS
from protocol.versions import ACCEPTED, ADVERTISED

ROOT = Path(__file__).parents[1]
PACKAGES = ("gateway", "protocol", "wal")

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
HANDLER_LINES_MAX = 149

ALONE = {
    "kio": r"(protocol|gateway)/.*",
    "kio.serial": r"protocol/messages\.py",
    "aiobotocore": r"wal/objects/s3\.py",
    "aetcd": r"wal/meta/etcd\.py",
    "sqlite3": r"wal/meta/sqlite\.py",
}
"""Who alone may import a library."""

NO_IO = {"asyncio", "logging", "selectors", "signal", "socket", "ssl", "subprocess", "threading", "time"}
"""What protocol/ does without: bytes in, events out."""

STORE_SUPPORT = {"base", "keys", "metered", "retrying"}
"""Modules beside the stores that are no store, which others than the composition root may name."""

TASK_PARENTS = {
    "gateway/connection.py",
    "gateway/runtime.py",
    "gateway/server.py",
    "wal/meta/memory.py",
    "wal/session.py",
    "wal/tasks.py",
}
"""Modules that start tasks and answer for their end; all others ask one of these."""

WAITERS = {"tests/support/gateway.py", "tests/support/until.py"}
"""Test tools that look for a condition again and again; all other tests use these and never sleep."""

TOP_LEVEL = {
    *{".ci", ".gitignore", ".dockerignore"},
    *{"Dockerfile", "Makefile", "README.md", "LICENSE", "CHANGELOG.md", "compose.yaml"},
    *{"pyproject.toml", "requirements.lock", "requirements-dev.lock", "requirements-build.lock"},
    *{"benchmarks", "compat-tests", "docs", "gateway", "protocol", "tests", "wal"},
}


class Module(NamedTuple):
    """One source file, read once."""

    path: str
    text: str
    tree: ast.Module

    def imports(self) -> Iterator[str]:
        """Every module that it names in an import, and every name that it takes from one, in full."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}: imports are absolute"
                yield str(node.module)
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Every call with the text of what is called."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node


@cache
def tracked() -> tuple[str, ...]:
    """Every file that is, or would be, in the repository."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("only a clone knows which files belong to the repository")
    command = [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
    return tuple(path for path in listed.split("\0") if path and (ROOT / path).is_file())


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    """The Python sources below the folders."""
    found = []
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text()
        found.append(Module(path.relative_to(ROOT).as_posix(), text, ast.parse(text)))
    return tuple(found)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def broken(rule: Iterator[str]) -> list[str]:
    return sorted(set(rule))


def test_modules_are_small() -> None:
    sizes = {module.path: module.text.count("\n") for module in modules(*PACKAGES, "tests")}
    assert {path: size for path, size in sizes.items() if size > MODULE_LINES_MAX} == {}


def test_functions_are_small() -> None:
    large = {}
    for module in modules(*PACKAGES, "tests"):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    large[f"{module.path}::{node.name}"] = lines
    assert large == {}


def test_handlers_are_small() -> None:
    sizes = {module.path: module.text.count("\n") for module in modules("gateway/handlers")}
    assert {path: size for path, size in sizes.items() if size > HANDLER_LINES_MAX} == {}


@pytest.mark.parametrize("library", ALONE)
def test_a_library_is_named_in_one_place_alone(library: str) -> None:
    assert (
        broken(
            module.path
            for module in modules(*PACKAGES)
            if any(is_within(name, library) for name in module.imports())
            and not re.fullmatch(ALONE[library], module.path)
        )
        == []
    )


def test_the_protocol_does_no_io() -> None:
    assert (
        broken(
            f"{module.path} imports {name}"
            for module in modules("protocol")
            for name in module.imports()
            if name.partition(".")[0] in NO_IO
        )
        == []
    )


def test_only_the_composition_root_picks_stores() -> None:
    stores = {
        f"wal.{kind}.{path.stem}"
        for kind in ("objects", "meta")
        for path in (ROOT / "wal" / kind).glob("*.py")
        if path.stem not in STORE_SUPPORT | {"__init__"}
    }
    assert (
        broken(
            f"{module.path} imports {name}"
            for module in modules(*PACKAGES)
            for name in module.imports()
            if name in stores
            and module.path != "gateway/runtime.py"
            and not module.path.startswith(("wal/objects/", "wal/meta/"))
        )
        == []
    )


def test_only_the_command_starts_the_composition_root() -> None:
    assert (
        broken(
            module.path
            for module in modules(*PACKAGES)
            if "gateway.runtime" in module.imports() and module.path != "gateway/cli.py"
        )
        == []
    )


def test_only_the_settings_read_the_environment() -> None:
    pattern = re.compile(r"\bos\.(environb?|getenvb?)\b|from os import .*\b(environ|getenv)")
    assert [module.path for module in modules(*PACKAGES) if pattern.search(module.text)] == [
        "gateway/settings.py"
    ]


@pytest.mark.parametrize("setting", [row.name for row in SETTINGS if row.name != "config"])
def test_every_setting_is_used(setting: str) -> None:
    table = {"gateway/settings.py", "gateway/settings_load.py", "gateway/settings_page.py"}
    name = {"listen": "listen_host", "advertise": "advertised"}.get(setting, setting)
    reads = re.compile(rf"settings\.{name}\b|\b(node|high)_setting=\"{name}\"")
    readers = [
        one.path for one in modules("gateway", "wal") if one.path not in table and reads.search(one.text)
    ]
    assert readers, f"nothing enforces {setting}: it is no setting yet"


def test_every_task_has_a_parent_that_is_known() -> None:
    starters = re.compile(r"(asyncio|\w*loop)\.(create_task|ensure_future)|(create_task|ensure_future)")
    assert (
        broken(
            f"{module.path}: {called}"
            for module in modules(*PACKAGES)
            for called, _ in module.calls()
            if starters.fullmatch(called.removeprefix("self.").removeprefix("_"))
            and module.path not in TASK_PARENTS
        )
        == []
    )


def test_nothing_sleeps_in_a_test() -> None:
    assert (
        broken(
            f"{module.path}:{call.lineno}"
            for module in modules("tests", "compat-tests")
            for called, call in module.calls()
            if re.fullmatch(r"((time|asyncio|trio)\.)?sleep", called)
            and ast.unparse(call) != "asyncio.sleep(0)"
            and module.path not in WAITERS
        )
        == []
    )


def test_what_is_advertised_has_a_handler_and_what_has_a_handler_is_advertised() -> None:
    from gateway.routes import (
        ROUTES,
    )  # every handler with all that it imports; the other rules need none of it

    assert set(ROUTES) == set(ADVERTISED) == set(ACCEPTED)


def test_advertised_and_accepted_versions_differ_for_produce_alone() -> None:
    assert [key.name for key in ADVERTISED if ADVERTISED[key] != ACCEPTED[key]] == ["PRODUCE"]


def test_the_repository_holds_nothing_else() -> None:
    assert {path.partition("/")[0] for path in tracked()} <= TOP_LEVEL


def test_no_file_names_a_machines_path_or_a_registry() -> None:
    hosts = ("pypi-org", "pythonhosted-org", "npmjs-org", "npmjs-com", "crates-io", "golang-org", "maven-org")
    words = [host.replace("-", ".") for host in hosts] + ["".join(("/", "work/")), "".join(("/", "root/"))]
    pattern = re.compile("|".join(map(re.escape, words)))
    assert (
        broken(
            f"{path}: {found.group()}"
            for path in tracked()
            for found in pattern.finditer((ROOT / path).read_bytes().decode("utf-8", "replace"))
        )
        == []
    )
