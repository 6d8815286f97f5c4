"""Consumer groups: what is stored of them, how they rebalance, and the shell around both."""
