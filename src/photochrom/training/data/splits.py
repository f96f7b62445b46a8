"""The splits of a data set.

`train` is for training. `validation` is watched in training, and choices (a blend, a factor, an
epoch to stop at) are made on it. `test` is evaluated once, for the figures that are reported.
"""

import csv
import hashlib
from pathlib import Path
from typing import Literal, get_args

from photochrom.errors import DataError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
OLD_NAMES: dict[Split, str] = {"train": "train", "validation": "eval"}
"""Splits of data format 2, which had no test split, to their names there."""


def find_split(name: str) -> Split:
    """Return the split of a name; `eval`, the name in data format 2, is `validation`.

    Raises:
        DataError: If there is no such split.
    """
    for split in SPLITS:
        if name in (split, OLD_NAMES.get(split, split)):
            return split
    raise DataError(f"the split is {name!r}; give train, validation or test")


def draw_split(sha256: str, seed: int, validation_fraction: float, test_fraction: float) -> Split:
    """Return the split of a photo by the hash of its content.

    It depends on nothing else, so a photo is in the same split of every data set of the same seed
    and fractions, whatever its name, its size, and the other photos. A larger validation fraction
    takes photos from training only.

    Args:
        sha256: Of the file, hexadecimal.
        seed: Another one gives other splits.
        validation_fraction: Expected fraction of the photos, 0 to 1.
        test_fraction: Expected fraction of the photos, 0 to 1.
    """
    digest = hashlib.sha256(f"{seed}:{sha256}".encode()).digest()
    position = int.from_bytes(digest[:6]) / 2**48  # exact, and below 1
    if position < test_fraction:
        return "test"
    return "validation" if position < test_fraction + validation_fraction else "train"


def read_split_file(path: Path) -> dict[str, Split]:
    """Read a CSV file with the columns `name` and `split`, a photo in each row.

    Raises:
        DataError: If it cannot be read, has other columns or splits, or gives a photo two splits.
    """
    splits: dict[str, Split] = {}
    try:
        # Spreadsheets write a byte order mark.
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = csv.DictReader(file, strict=True)
            if not {"name", "split"} <= {*(rows.fieldnames or ())}:
                raise DataError(
                    f"the first line of {path} is {','.join(rows.fieldnames or ())!r}; it has to "
                    "have the columns name,split"
                )
            for row in rows:
                try:
                    split = find_split(row["split"] or "")
                except DataError as error:
                    raise DataError(f"{path}, line {rows.line_num}: {error}") from None
                if splits.setdefault(row["name"], split) != split:
                    raise DataError(
                        f"{path} gives {row['name']} the splits {splits[row['name']]} and {split}; "
                        "give it one"
                    )
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a valid CSV file: {error}; write it again") from error
    return splits
