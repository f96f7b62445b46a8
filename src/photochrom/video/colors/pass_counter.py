"""Count what several processes have done."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PassCounter:
    """A file that has a byte for each pass over a frame; unlike a shared integer, it is pickled."""

    path: Path

    def reset(self) -> None:
        """Begin from 0."""
        self.path.write_bytes(b"")

    def add(self, count: int) -> None:
        """Count passes over frames."""
        with self.path.open("ab", buffering=0) as file:  # appending is atomic
            file.write(count * b".")

    def read(self) -> int:
        """Return the number of passes."""
        return self.path.stat().st_size
