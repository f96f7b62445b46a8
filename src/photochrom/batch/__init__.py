"""Many photos: what becomes what, worker processes, and Ray clusters."""
