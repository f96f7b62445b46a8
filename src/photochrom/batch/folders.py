"""Find the photos in folders."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath

from photochrom.errors import DataError
from photochrom.imagefile.formats import FORMATS, RAW_SUFFIXES, READ_ONLY

SUFFIXES = frozenset((*FORMATS, *READ_ONLY, *RAW_SUFFIXES))
"""Lower-case file suffixes of photos."""


def has_photo_suffix(name: str | PurePath, suffixes: Collection[str] = SUFFIXES) -> bool:
    """Return whether a file is named like a photo."""
    return PurePath(name).suffix.lower() in suffixes


def walk_photos(folder: Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """Return the photos in a folder and its subfolders, sorted, without hidden ones.

    Raises:
        OSError: If a folder cannot be read. Skipping it would silently lose photos.
    """

    def fail(error: OSError) -> None:
        raise error

    photos = []
    for root, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = [Path(root, name) for name in names if not name.startswith(".")]
        photos += [path for path in visible if has_photo_suffix(path, suffixes) and path.is_file()]
    return sorted(photos)


def find_photos(
    folders: Sequence[Path], suffixes: Collection[str] = frozenset(FORMATS)
) -> dict[str, Path]:
    """Return the photos in folders by name, independent of where the folders are.

    A name is the path below the folder, with forward slashes. With several folders, it starts with
    the name of the folder.

    Raises:
        DataError: If a folder does not exist or has no photo, or two folders have the same name.
        OSError: If a folder cannot be read.
    """
    photos: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; give a folder of photos")
        paths = walk_photos(folder, suffixes)
        if not paths:
            raise DataError(f"{folder} has no photo ({', '.join(sorted(suffixes))})")
        prefix = f"{folder.resolve().name}/" if len(folders) > 1 else ""
        named = {prefix + path.relative_to(folder).as_posix(): path for path in paths}
        if photos.keys() & named.keys():
            raise DataError(f"two of the folders are called {folder.name}; rename one of them")
        photos |= named
    return photos
