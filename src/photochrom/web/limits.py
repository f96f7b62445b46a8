"""The limits of a server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of a server."""

    max_bytes: int = 200_000_000
    """Of one upload."""
    max_pixels: int = 100_000_000
    """Of one photo."""
    max_waiting: int = 64
    """Photos that wait for a worker process."""
    timeout: float = 120
    """Seconds for one photo."""
    max_network_pixels: int = 300_000
    """Of the network's input, if a client asks for more than the model's own size: each takes 1 kB
    of memory. docs/web.md has the measurement."""
    max_photos: int = 500
    """In one session."""
    max_disk_bytes: int = 8_000_000_000
    """Of all sessions."""
    max_idle: float = 3600
    """Seconds after which an unused session is deleted."""
