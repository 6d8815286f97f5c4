"""Kafka on the wire: bytes to requests, responses to bytes, record batches as header views. No I/O."""
