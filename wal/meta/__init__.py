"""Metadata stores: small records under compare-and-set, with leases and watches."""
