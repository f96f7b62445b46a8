"""Count the frames that several processes have done."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FrameCounter:
    """A file that has a byte for each frame; unlike a shared integer, it can be pickled."""

    path: Path

    def reset(self) -> None:
        """Begin from 0."""
        self.path.write_bytes(b"")

    def add(self) -> None:
        """Count a frame."""
        with self.path.open("ab", buffering=0) as file:  # appending is atomic
            file.write(b".")

    def read(self) -> int:
        """Return the number of frames."""
        return self.path.stat().st_size
