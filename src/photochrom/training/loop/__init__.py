"""The training loop: steps, losses, schedules, run directories, several processes."""
