"""Find the photos in folders."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from photochrom.colorize.hints import is_hints_file
from photochrom.errors import DataError
from photochrom.imagefile.formats import FORMATS, RAW_SUFFIXES, READ_ONLY

SUFFIXES = frozenset((*FORMATS, *READ_ONLY, *RAW_SUFFIXES))
"""Lower-case file suffixes of photos."""


@dataclass(frozen=True)
class Entry:
    """A file in a folder, or a folder that is not entered."""

    path: Path
    ignored: str | None = None
    """Why it is not taken for a photo; None if it is one."""
    error: OSError | None = None
    """Why it cannot be read."""


def has_photo_suffix(name: str | PurePath, suffixes: Collection[str] = SUFFIXES) -> bool:
    """Return whether a file is named like a photo."""
    return PurePath(name).suffix.lower() in suffixes


def classify(path: Path, suffixes: Collection[str] = SUFFIXES) -> Entry:
    """Tell whether what is at a path is taken for a photo: a file that is named like one."""
    if not has_photo_suffix(path, suffixes):
        return Entry(path, describe_suffix(path))
    try:
        if path.is_file():
            return Entry(path)
        return Entry(path, "a broken link" if path.is_symlink() else "not a regular file")
    except OSError as error:
        return Entry(path, error=error)


def is_sidecar(path: Path) -> bool:
    """Tell whether a file is an XMP sidecar, NAME.EXT.xmp or NAME.xmp, of a photo beside it."""
    if path.suffix.lower() != ".xmp":
        return False
    owner = path.with_suffix("")
    if has_photo_suffix(owner) and os.path.exists(owner):  # noqa: PTH110 (does not raise)
        return True
    suffixes = (other for suffix in SUFFIXES for other in (suffix, suffix.upper()))
    return any(os.path.exists(path.with_suffix(suffix)) for suffix in suffixes)  # noqa: PTH110


def _find_sidecars(names: Sequence[str]) -> set[str]:
    """Return which of the names in a folder are sidecars, as `is_sidecar`; it asks for no file."""
    photos = [name for name in names if has_photo_suffix(name)]
    owners = {owner for name in photos for owner in (name, PurePath(name).stem)}
    paths = map(PurePath, names)
    return {path.name for path in paths if path.suffix.lower() == ".xmp" and path.stem in owners}


def describe_suffix(path: PurePath) -> str:
    """Return why a file is not taken for a photo, by its name."""
    if is_hints_file(path.name):
        return "these hints are not in the folder of --hints, and not used"
    suffix = f"{path.suffix} is not the" if path.suffix else "it has no"
    return f"{suffix} suffix of a photo; give the file by name if it is one"


def walk_folder(
    folder: Path, suffixes: Collection[str] = SUFFIXES, *, skip: Path | None = None
) -> list[Entry]:
    """Return the files in a folder and its subfolders, sorted by path.

    Hidden files and folders and the sidecars of photos are left out. Links to folders are not
    followed, so links in a circle do no harm; they and folders that cannot be read are entries.

    Args:
        folder: The folder.
        suffixes: Of photos.
        skip: A folder below, which is left out.
    """
    entries: list[Entry] = []

    def add_unreadable(error: OSError) -> None:
        entries.append(Entry(Path(os.fsdecode(error.filename or folder)), error=error))

    for root, folders, names in os.walk(folder, onerror=add_unreadable):
        visible = [Path(root, name) for name in folders if not name.startswith(".")]
        entries += [
            Entry(path, "a link to a folder; give it by name to colorize what is in it")
            for path in visible
            if os.path.islink(path)  # noqa: PTH114 (does not raise if permission is denied)
        ]
        folders[:] = [path.name for path in visible if path != skip]
        sidecars = _find_sidecars(names)
        files = [Path(root, name) for name in names if not name.startswith(".")]
        entries += [classify(path, suffixes) for path in files if path.name not in sidecars]
    return sorted(entries, key=lambda entry: entry.path)


def walk_photos(folder: Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """Return the photos in a folder and its subfolders, sorted, without hidden ones.

    Raises:
        OSError: If a folder cannot be read. Skipping it would silently lose photos.
    """
    entries = walk_folder(folder, suffixes)
    for entry in entries:
        if entry.error is not None:
            raise entry.error
    return [entry.path for entry in entries if entry.ignored is None]


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
