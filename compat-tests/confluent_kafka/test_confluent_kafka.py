"""confluent-kafka of today against a gateway."""

from pathlib import Path

import confluent_kafka

from tests.support.client_driver import SECONDS_MAX
from tests.support.client_laws import AdminLaws, ClientLaws
from tests.support.compat import create_topic, stored_batches
from tests.support.confluent_driver import Confluent, consumed, consumer
from tests.support.gateway import GatewayProcess


class TestConfluentKafka(ClientLaws, AdminLaws):
    driver = Confluent()

    def test_a_producer_and_a_consumer_live_through_a_killed_gateway(
        self, tmp_path: Path, topic: str
    ) -> None:
        with GatewayProcess(tmp_path) as gateway:
            create_topic(gateway.address, topic)
            common = {"bootstrap.servers": gateway.address}
            producer = confluent_kafka.Producer(common | {"enable.idempotence": True})
            settings = {"group.id": "group", "auto.offset.reset": "earliest"}
            with consumer(gateway.address, settings) as reader:
                reader.subscribe([topic])
                producer.produce(topic, b"before")
                assert producer.flush(SECONDS_MAX) == 0
                assert [one.value for one in consumed(reader, 1)] == [b"before"]
                reader.commit(asynchronous=False)
                gateway.kill()
                producer.produce(topic, b"meanwhile")
                gateway.start()
                assert producer.flush(SECONDS_MAX) == 0
                assert [one.value for one in consumed(reader, 1)] == [b"meanwhile"]
                reader.commit(asynchronous=False)
                assert [one.base_sequence for one in stored_batches(gateway.address, topic)] == [0, 1]
