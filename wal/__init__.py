"""The write-ahead log: streams of entries in object storage, one writer at a time. It knows nothing of Kafka."""
