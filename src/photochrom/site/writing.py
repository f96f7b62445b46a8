"""Writing the static site into a folder."""

import json
from pathlib import Path, PurePosixPath

from photochrom.errors import DataError
from photochrom.imagefile.atomic import make_folder, new_folder, write_atomic
from photochrom.site.files import LISTING, make_files


def write_site(folder: Path, model: Path | None = None) -> None:
    """Write the site, or replace a former one.

    A new folder appears once it is complete. A former site is replaced file by file, the service
    worker and the listing last: a kill leaves one that can be replaced again.

    Args:
        folder: It does not exist, is empty, or holds a former site.
        model: An ONNX file; None: the default model.

    Raises:
        DataError: If the folder holds something else, or cannot be made.
        ModelError: If `model` is not a colorization model.
        PhotochromError: If the bundle is not built.
    """
    former = _read_listing(folder)
    files = make_files(model)
    if former is None:
        with new_folder(folder) as new:
            _write(new, files)
        return
    _write(folder, files)
    for path in former - files.keys():
        (folder / path).unlink(missing_ok=True)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        target = folder / path
        make_folder(target.parent, DataError)
        write_atomic(target, content)


def _read_listing(folder: Path) -> set[str] | None:
    """Return the paths of a former site's files, or None if there is no file in the folder.

    Raises:
        DataError: If the folder holds something else.
    """
    if not folder.is_dir():
        if folder.exists():
            raise DataError(f"{folder} is a file; give a folder for the site")
        return None
    if not any(folder.iterdir()):
        return None
    try:
        listing = json.loads((folder / LISTING).read_text("utf-8"))
        paths = {PurePosixPath(path) for path in listing["files"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} is not empty and holds no site of photochrom; give a new folder"
        ) from error
    return {str(path) for path in paths if not path.is_absolute() and ".." not in path.parts}
