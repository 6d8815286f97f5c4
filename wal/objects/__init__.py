"""Object stores: where blocks, fences and checkpoints lie."""
