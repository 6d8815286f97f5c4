"""Work behind the writer's back, one step at a time: sealing and truncation."""
