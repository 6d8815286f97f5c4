"""The gateway: where the meaning of Kafka's requests meets the log's storage."""
