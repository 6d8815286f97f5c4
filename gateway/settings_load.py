"""From flags, environment and file to one `Settings`, or to one sentence that says what is wrong.

A flag wins over the environment, that over the file, that over the default. Whatever is given is checked,
also where something else wins over it; a name that is no setting is an error wherever it stands, since a
misspelt limit that is silently ignored is no limit.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.settings import PREFIX, SETTINGS, Setting, Settings

_BY_NAME = {row.name: row for row in SETTINGS}
_BY_VARIABLE = {row.variable: row for row in SETTINGS}

_KUBERNETES = re.compile(r"DRUMLOG_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
"""What Kubernetes sets in every pod beside a Service whose name begins with `drumlog`; nobody's setting."""


class SettingsError(Exception):
    """The settings cannot be used; its one sentence says which, what it is and what is allowed."""


def load(flags: Mapping[str, str], variables: Mapping[str, str]) -> Settings:
    """The settings of a node from its command line and environment, and from the file that they name.

    `flags` maps settings' names to text. Raises SettingsError for what is not a setting or not allowed.
    """
    given: dict[str, Any] = {**_from_environment(variables), **_from_flags(flags)}
    if given.get("config"):
        given = {**_from_file(given["config"]), **given}
    for row in SETTINGS:
        if row.required and row.name not in given:
            raise SettingsError(
                f"{row.name} is not set: give {row.flag}, {row.variable} or, in the file of --config, "
                f"{row.name}; it must be {row.kind.allowed}."
            )
    settings = Settings(**given)
    for sentence in _contradictions(settings):
        raise SettingsError(sentence)
    return settings


def _from_flags(flags: Mapping[str, str]) -> dict[str, object]:
    return {name: _parse(_BY_NAME[name], text, _BY_NAME[name].flag) for name, text in flags.items()}


def _from_environment(variables: Mapping[str, str]) -> dict[str, object]:
    found = {}
    for variable, text in sorted(variables.items()):
        if row := _BY_VARIABLE.get(variable):
            found[row.name] = _parse(row, text, variable)
        elif variable.startswith(PREFIX) and not _set_by_kubernetes(variable, text):
            raise SettingsError(f"{variable} is no setting{_nearest(variable, _BY_VARIABLE)}")
    return found


def _from_file(path: str) -> dict[str, object]:
    found = {}
    for name, value in _read_toml(path).items():
        row = _BY_NAME.get(name)
        if row is None or not row.in_file:
            allowed = [row.name for row in SETTINGS if row.in_file]
            raise SettingsError(f"{name}, found in {path}, is no setting{_nearest(name, allowed)}")
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str | int):
            raise _not_allowed(row, value, path)
        found[name] = _parse(row, str(value), path)
    return found


def _read_toml(path: str) -> dict[str, object]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"config is {path!r}, but that file cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise SettingsError(f"config is {path!r}, but that file is not TOML: {error}.") from None


def _parse(row: Setting, text: str, source: str) -> object:
    try:
        value: object = row.kind.parse(text)
    except ValueError:
        raise _not_allowed(row, text, source) from None
    return value


def _not_allowed(row: Setting, value: object, source: str) -> SettingsError:
    return SettingsError(f"{row.name} is {value!r} (from {source}), but it must be {row.kind.allowed}.")


def _contradictions(settings: Settings) -> Iterator[str]:
    if settings.advertise is None and settings.listen.is_wildcard:
        yield (
            f"listen is '{settings.listen}', to which no client can connect, so advertise must be set to the "
            "HOST:PORT by which clients reach this node."
        )
    if settings.advertise is not None and settings.advertise.is_wildcard:
        yield f"advertise is '{settings.advertise}', but it must be the HOST:PORT that clients connect to."
    if (settings.store == "memory://") != (settings.meta == "memory://"):
        yield (
            f"store is '{settings.store}' and meta is '{settings.meta}', but both or neither must be "
            "memory://, since neither is of use without the other at the next start."
        )
    low, high = settings.group_session_timeout_ms_min, settings.group_session_timeout_ms_max
    if low > high:
        yield f"group_session_timeout_ms_min is {low}, but group_session_timeout_ms_max is less: {high}."
    batch, request = settings.message_bytes_max, settings.request_bytes_max
    if batch >= request:
        yield f"message_bytes_max is {batch}, but it must be less than request_bytes_max ({request})."


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean {near[0]}?" if near else "; `drumlog settings` lists them all."


def _set_by_kubernetes(variable: str, text: str) -> bool:
    is_link = re.fullmatch(r"DRUMLOG_(\w+_)?PORT", variable) and re.match(r"(tcp|udp|sctp)://", text)
    return bool(is_link or _KUBERNETES.fullmatch(variable))
