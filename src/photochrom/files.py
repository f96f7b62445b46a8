"""Files that appear whole or not at all, and the folders for them."""

import contextlib
import os
import uuid
from pathlib import Path

from photochrom.errors import PhotochromError


def write_whole(path: Path, content: bytes | memoryview, *, overwrite: bool = True) -> None:
    """Write a file under another name in its folder, and then give it its own.

    Whatever happens on the way, the disk being full or the process being interrupted, `path` is
    afterwards as it was before, or whole.

    Args:
        path: Where; its folder has to be there.
        content: What.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        FileExistsError: If there is a file and `overwrite` is not set.
        OSError: If the disk refuses.
    """
    # A name of its own length, as the file's may be as long as the file system allows.
    aside = path.with_name(f".photochrom-{uuid.uuid4().hex}.tmp")
    try:
        with aside.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        _give_name(aside, path, overwrite)
    except OSError as error:
        error.filename = str(path)  # the name that was given, not the one aside, or none at all
        raise
    finally:
        with contextlib.suppress(OSError):  # the first error is the one to tell of
            aside.unlink(missing_ok=True)


def make_folder(folder: Path, refusal: type[PhotochromError]) -> None:
    """Make a folder, and those that it lies in, unless it is there.

    Raises:
        PhotochromError: A `refusal`, if the disk refuses or there is a file of that name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(f"cannot make folder {folder}: {error.strerror or error}") from error


def _give_name(aside: Path, path: Path, overwrite: bool) -> None:
    if not overwrite:
        try:
            os.link(aside, path)  # unlike a rename it never replaces a file
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if path.exists():
                raise FileExistsError from None
        else:
            return
    aside.replace(path)
