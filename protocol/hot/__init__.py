"""Hand-written codecs for the messages that carry records: views of the frame in, buffers out."""
