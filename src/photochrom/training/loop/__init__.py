"""The training loop: batches, steps, schedules, checkpoints, monitoring, several processes."""
