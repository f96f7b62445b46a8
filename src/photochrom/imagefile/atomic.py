"""Files that appear whole or not at all, and the folders for them."""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from photochrom.errors import PhotochromError


@contextlib.contextmanager
def whole_file(path: Path, *, overwrite: bool = True) -> Iterator[IO[bytes]]:
    """Open a new file that gets its name once all of it is on the disk.

    Whatever happens on the way, the disk being full or the process being killed, `path` is
    afterwards as it was before, or whole. On Linux the file has no name till then, so that a kill
    leaves nothing behind either; elsewhere it has another name in the same folder.

    Args:
        path: Where; its folder has to be there.
        overwrite: Whether a file that is there may be replaced.

    Yields:
        A binary stream that can be written, read and rewound.

    Raises:
        FileExistsError: If there is a file and `overwrite` is not set.
        OSError: If the disk refuses.
    """
    # A name of its own length, as the file's may be as long as the file system allows.
    aside = path.with_name(f".photochrom-{uuid.uuid4().hex}.tmp")
    try:
        with _nameless(path.parent) or aside.open("x+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if os.fstat(stream.fileno()).st_nlink == 0:
                _link_nameless(stream, aside)
        _give_name(aside, path, overwrite)
    except OSError as error:
        error.filename = str(path)  # the name that was given, not the one aside, or none at all
        raise
    finally:
        with contextlib.suppress(OSError):  # the first error is the one to tell of
            aside.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | memoryview, *, overwrite: bool = True) -> None:
    """Write a file that appears whole or not at all; the errors are those of `whole_file`."""
    with whole_file(path, overwrite=overwrite) as stream:
        stream.write(content)


def make_folder(folder: Path, refusal: type[PhotochromError]) -> None:
    """Make a folder, and those that it lies in, unless it is there.

    Raises:
        PhotochromError: A `refusal`, if the disk refuses or there is a file of that name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(f"cannot make folder {folder}: {error.strerror or error}") from error


def _nameless(folder: Path) -> IO[bytes] | None:
    """Open a file that has no name yet, None where the system knows no such thing."""
    if not hasattr(os, "O_TMPFILE") or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            return None  # the file system does not; if the folder is the trouble, that shows next
        raise


def _link_nameless(stream: IO[bytes], path: Path) -> None:
    descriptors = os.open("/proc/self/fd", os.O_RDONLY)
    try:
        os.link(str(stream.fileno()), path, src_dir_fd=descriptors, follow_symlinks=True)
    finally:
        os.close(descriptors)


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
