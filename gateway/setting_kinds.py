"""The kinds of values that settings have: from text to value, in words what is allowed, and back to text.

A kind is a frozen table row; `parse` takes the text of a flag, a variable or a file and raises ValueError for
what is not allowed, without words of its own: the sentence is made in gateway/settings.py from `allowed`.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

_SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?")


class Address(NamedTuple):
    """A host, which may be a name, an IPv4 or a bare IPv6 address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_wildcard(self) -> bool:
        """Whether it means every address of the machine, so that no client could connect to it."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How one kind of value is read and shown.

    parse: text to value; raises ValueError for what is not allowed.
    allowed: what is allowed, fitting after "must be".
    show: value to text that `parse` takes back.
    """

    parse: Callable[[str], T]
    allowed: str
    show: Callable[[T], str] = str


def integer(lowest: int, highest: int) -> Kind[int]:
    """A whole number within bounds, both included."""

    def parse(text: str) -> int:
        return _bounded(_digits(text), lowest, highest)

    return Kind(parse, f"a whole number from {lowest} to {highest}")


def size(lowest: int, highest: int) -> Kind[int]:
    """A number of bytes within bounds, with or without one of the suffixes KiB, MiB, GiB and TiB."""

    def parse(text: str) -> int:
        for suffix, factor in _SIZES.items():
            if text.endswith(suffix):
                return _bounded(_digits(text.removesuffix(suffix).rstrip(" ")) * factor, lowest, highest)
        return _bounded(_digits(text), lowest, highest)

    return Kind(parse, f"a number of bytes from {show_size(lowest)} to {show_size(highest)}", show_size)


def size_or_unlimited(highest: int) -> Kind[int]:
    """A number of bytes, or -1 for no limit."""
    limited = size(0, highest)
    return Kind(
        lambda text: -1 if text == "-1" else limited.parse(text),
        f"-1 for no limit, or {limited.allowed}",
        show_size,
    )


def choice(*words: str) -> Kind[str]:
    """One of the words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return Kind(parse, "one of " + ", ".join(words))


def boolean() -> Kind[bool]:
    """`true` or `false`."""
    words = {"true": True, "false": False}

    def parse(text: str) -> bool:
        if text not in words:
            raise ValueError(text)
        return words[text]

    return Kind(parse, "true or false", lambda value: "true" if value else "false")


def name(chars_max: int) -> Kind[str]:
    """A word of letters, digits, dots, dashes and underscores; empty for none."""
    pattern = re.compile(rf"[A-Za-z0-9._-]{{0,{chars_max}}}")

    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return text

    return Kind(parse, f"at most {chars_max} letters, digits, dots, dashes and underscores")


def address(port_min: int) -> Kind[Address]:
    """`HOST:PORT`, an IPv6 host in brackets."""

    def parse(text: str) -> Address:
        host, colon, port = text.rpartition(":")
        if not colon:
            raise ValueError(text)
        if host.startswith("[") and host.endswith("]"):
            host = str(ipaddress.IPv6Address(host[1:-1]))
        elif not _HOST_NAME.fullmatch(host):
            raise ValueError(text)
        return Address(host, _bounded(_digits(port), port_min, 65_535))

    return Kind(parse, f"HOST:PORT with a port from {port_min} to 65535, an IPv6 host in brackets")


def optional_address(port_min: int) -> Kind[Address | None]:
    """`HOST:PORT`, or nothing."""
    given = address(port_min)
    return Kind(given.parse, given.allowed, lambda value: "" if value is None else str(value))


def store_url(scheme: str, path_is: str) -> Kind[str]:
    """A store's address: `memory://`, or `scheme:///` with an absolute path.

    The path is taken as it stands: no escapes are undone, and `?` and `#` mean nothing (see `url_path`).
    """
    start = f"{scheme}:///"

    def parse(text: str) -> str:
        is_path = text.startswith(start) and text.isprintable() and text.removeprefix(start).strip("/")
        if text != "memory://" and not is_path:
            raise ValueError(text)
        return text

    return Kind(parse, f"{start}{path_is} or memory://")


def url_path(url: str) -> Path:
    """The absolute path of a store's address that has one."""
    _, _, path = url.partition("://")
    assert path.startswith("/"), url
    return Path(path)


def file_path() -> Kind[str]:
    """A file's path, absolute or below the working directory; empty for none."""

    def parse(text: str) -> str:
        if "\0" in text:
            raise ValueError(text)
        return text

    return Kind(parse, "the path of a file")


def show_size(count: int) -> str:
    """Bytes in the largest unit that divides them: 1024 gives `1KiB`, 1000 gives `1000`."""
    if count > 0:
        for suffix, factor in reversed(_SIZES.items()):
            if count % factor == 0:
                return f"{count // factor}{suffix}"
    return str(count)


def _digits(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,20}", text):
        raise ValueError(text)
    return int(text)


def _bounded(value: int, lowest: int, highest: int) -> int:
    if not lowest <= value <= highest:
        raise ValueError(value)
    return value
