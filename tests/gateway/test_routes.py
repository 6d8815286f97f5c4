"""What is advertised is handled, and nothing else is."""

from gateway.routes import ROUTES
from protocol.versions import ACCEPTED, ADVERTISED


def test_every_accepted_request_has_a_handler_and_every_handler_is_accepted() -> None:
    assert set(ROUTES) == set(ACCEPTED) == set(ADVERTISED)
