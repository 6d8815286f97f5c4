"""The write-ahead log: streams of entries in object storage, one writer at a time. Not aware of Kafka."""
