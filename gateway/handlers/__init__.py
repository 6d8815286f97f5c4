"""One module per API: what is done and answered for a request of its kind."""
