"""Data sets of synthetic photos."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

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


def write_format_2(folder: Path) -> None:
    """Write a data set as photochrom did before there was a test split: 2 photos and 1."""
    folder.mkdir()
    rows = [
        ("eval", "a.png", "aa", 3, 2),
        ("train", "b.png", "bb", 2, 2),
        ("train", "c", "cc", 1, 2),
    ]
    text = "split,source,sha256,width,height\n" + "".join(
        f"{','.join(map(str, r))}\n" for r in rows
    )
    (folder / "manifest.csv").write_text(text)
    np.save(folder / "eval.npy", np.arange(18, dtype=np.uint8))
    np.save(folder / "eval.index.npy", np.array([[0, 2, 3]]))
    np.save(folder / "train.npy", np.arange(100, 118, dtype=np.uint8))
    np.save(folder / "train.index.npy", np.array([[0, 2, 2], [12, 2, 1]]))
    content = {"format": 2, "size": 2, "train": 2, "eval": 1}
    content["manifest_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "data.json").write_text(json.dumps(content))
