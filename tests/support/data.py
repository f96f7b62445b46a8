"""Data sets of synthetic photos."""

from pathlib import Path
from typing import Any

from photochrom.batch.folders import find_photos
from photochrom.training.data.prepare import prepare
from photochrom.training.data.splits import Split


def pack(photos: Path, dest: Path, *, validation: int, test: int = 0, **options: Any) -> Path:
    """Pack a folder of photos, the first ones by name as validation and test; return `dest`."""
    found = find_photos([photos])
    named: list[Split] = ["validation"] * validation + ["test"] * test
    splits = dict(zip(sorted(found), named, strict=False))
    prepare(found, dest, splits=splits, progress=False, **options)
    return dest
