"""What the tests of all clients share: a gateway for each process that runs tests, and names of topics."""

import re
from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.support.compat", "tests.support.client_laws")

from tests.support.gateway import GatewayProcess  # noqa: E402 – what is registered must not be imported yet


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway on files and SQLite that many tests use, each with topics of its own."""
    with GatewayProcess(tmp_path_factory.mktemp("gateway")) as process:
        yield process


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic's name that no other test has."""
    folder = request.path.parent.name
    return re.sub(r"[^\w.-]", "-", f"{folder}-{request.node.name.removeprefix('test_')}")[:200]
