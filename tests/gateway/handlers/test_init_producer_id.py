"""Who gets a producer id, and who is refused for good."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.dispatch import Call, Peer
from gateway.errors import ErrorCode
from gateway.handlers import init_producer_id
from gateway.producer_ids import ProducerIds
from protocol.messages import RequestHeader
from tests.support.kio_messages import request as entity
from wal.clock import SystemClock
from wal.errors import Corrupt, Unavailable
from wal.meta.memory import MemoryMetaStore

KEY = 22


class Ids:
    """Hands out numbers, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.next = 7

    async def take(self) -> int:
        if self.failure is not None:
            raise self.failure
        self.next += 1
        return self.next


async def ask(version: int, ids: Any = None, **fields: object) -> dict[str, Any]:
    body = entity(KEY, version, **{"transactional_id": None, **fields})
    call = Call(RequestHeader(KEY, version, 1, "test"), body, Peer("127.0.0.1", 1))
    context = cast(Any, SimpleNamespace(producer_ids=ids or Ids()))
    return dict(await init_producer_id.handle(call, context))


@pytest.mark.parametrize("version", range(6))
async def test_a_new_producer_gets_an_id_at_epoch_zero(version: int) -> None:
    answer = await ask(version, ProducerIds(MemoryMetaStore(SystemClock())))
    assert answer == {"error_code": ErrorCode.none, "producer_id": 0, "producer_epoch": 0}


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_known_producer_gets_a_new_id_as_from_kafka(version: int) -> None:
    answer = await ask(version, producer_id=5, producer_epoch=3)
    assert answer == {"error_code": ErrorCode.none, "producer_id": 8, "producer_epoch": 0}


@pytest.mark.parametrize(("number", "epoch"), [(-1, 0), (5, -1)])
async def test_half_an_identity_is_invalid(number: int, epoch: int) -> None:
    answer = await ask(3, producer_id=number, producer_epoch=epoch)
    assert answer == {"error_code": ErrorCode.invalid_request, "producer_id": -1, "producer_epoch": -1}


@pytest.mark.parametrize("version", range(6))
async def test_a_transactional_producer_is_refused_for_good(version: int) -> None:
    answer = await ask(version, transactional_id="payments")
    assert answer["error_code"] is ErrorCode.transactional_id_authorization_failed
    assert not answer["error_code"].retriable
    assert (answer["producer_id"], answer["producer_epoch"]) == (-1, -1)


async def test_an_empty_transactional_id_is_invalid() -> None:
    assert (await ask(0, transactional_id=""))["error_code"] is ErrorCode.invalid_request


async def test_while_the_metadata_store_is_away_producers_ask_again() -> None:
    answer = await ask(0, Ids(Unavailable("away")))
    assert answer["error_code"].retriable


async def test_a_counter_that_cannot_be_read_is_an_error_and_no_end_of_the_connection() -> None:
    answer = await ask(0, Ids(Corrupt("counters/producers holds something else")))
    assert answer == {"error_code": ErrorCode.kafka_storage_error, "producer_id": -1, "producer_epoch": -1}
