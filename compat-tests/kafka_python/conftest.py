"""Warnings that are kafka-python 3.0.12's own.

It reads its schemas by functions of importlib.resources that Python 3.11 deprecated, and it forgets to close
the sockets with which it could not connect.
"""

import gc
import socket
import warnings
from collections.abc import Iterator

import pytest

READS = r"(open|read)_text is deprecated"

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", READS, DeprecationWarning)
    import kafka  # noqa: F401 – here once, so that no test module meets the warnings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Some schemas are read when they are first used."""
    for item in items:
        if item.path.parent.name == "kafka_python":
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{READS}:DeprecationWarning"))


@pytest.fixture
def forgotten_sockets() -> Iterator[None]:
    """For tests that kill the gateway: closes what the client did not, lest a later test be warned of it."""
    before = {id(one) for one in open_sockets()}
    yield
    for one in open_sockets():
        if id(one) not in before:
            one.close()


def open_sockets() -> list[socket.socket]:
    """Every socket of this process that has a Python object and was not closed."""
    return [one for one in gc.get_objects() if type(one) is socket.socket and one.fileno() != -1]
