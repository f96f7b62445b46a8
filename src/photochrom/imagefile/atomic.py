"""Atomic writes of files and folders."""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from photochrom.errors import DataError, PhotochromError

TEMPORARY = ".photochrom-*.tmp"
"""Names of what a kill may leave behind."""


@contextlib.contextmanager
def open_atomic(
    path: Path,
    *,
    overwrite: bool = True,
    like: os.stat_result | None = None,
    keep_times: bool = False,
) -> Iterator[IO[bytes]]:
    """Open a new file that appears under its name once it is complete and on the disk.

    After an error, a kill or a full disk, `path` is as it was before. On Linux the new file has no
    name until then, so a kill leaves nothing behind; elsewhere, and for a moment where it replaces
    a file, it has a hidden name in the same folder.

    Args:
        path: Its folder has to exist.
        overwrite: Whether an existing file may be replaced.
        like: Of a file whose group and mode the new one gets as far as permitted, and never more
            open; None: those of the process.
        keep_times: Whether it gets the times of access and modification of that file as well.

    Yields:
        A binary stream to write, read and seek in.

    Raises:
        FileExistsError: If the file exists and `overwrite` is not set.
        OSError: If writing fails.
    """
    # Not based on the file's name, which may be as long as the file system allows.
    temporary = path.with_name(f".photochrom-{uuid.uuid4().hex}.tmp")
    times = None if like is None or not keep_times else (like.st_atime_ns, like.st_mtime_ns)
    try:
        unnamed = _open_unnamed(path.parent)
        with unnamed or temporary.open("x+b") as stream:
            if like is not None:
                _copy_group_and_mode(stream.fileno(), like)
            yield stream
            stream.flush()
            if unnamed is not None and times is not None:
                os.utime(unnamed.fileno(), ns=times)
            os.fsync(stream.fileno())
            if unnamed is not None:
                _name(stream, path, temporary, overwrite)
        if unnamed is None:
            if times is not None:  # Windows sets the time again when a file is closed
                os.utime(temporary, ns=times)
            rename(temporary, path, overwrite=overwrite)
    except OSError as error:
        error.filename = str(path)  # not the temporary name
        raise
    finally:
        with contextlib.suppress(OSError):  # the first error is the one to report
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes | memoryview, *, overwrite: bool = True) -> None:
    """Write a file atomically; arguments and errors are those of `open_atomic`."""
    with open_atomic(path, overwrite=overwrite) as stream:
        stream.write(content)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty hidden folder that is renamed to `folder` at the end, or deleted on an error.

    It is beside `folder`, and no other call ever has the same one. A kill leaves it behind.

    Args:
        folder: Must not exist, or be an empty folder; its parents are made.

    Raises:
        DataError: If the folder cannot be made, or has been filled meanwhile.
    """
    # Not by `tempfile`, whose folders only their owner may read.
    hidden = folder.absolute().with_name(f".photochrom-{uuid.uuid4().hex}.tmp")
    make_folder(hidden, DataError)
    try:
        yield hidden
        try:
            if folder.is_dir():
                folder.rmdir()  # an empty one; Windows does not replace it
            hidden.rename(folder)
        except OSError as error:
            raise DataError(
                f"cannot make folder {folder}: {error.strerror or error}; give a new one"
            ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def make_folder(folder: Path, error_type: type[PhotochromError]) -> None:
    """Create a folder and its parents unless they exist.

    Raises:
        PhotochromError: An `error_type`, if that fails or a file of that name exists.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise error_type(f"cannot make folder {folder}: {error.strerror or error}") from error


def _copy_group_and_mode(descriptor: int, like: os.stat_result) -> None:
    """Give an open file the group and the mode of another, as far as permitted."""
    if not hasattr(os, "fchown"):  # Windows
        return
    mode = like.st_mode & 0o777
    try:
        os.fchown(descriptor, -1, like.st_gid)
    except OSError:  # the group remains another, which may do what everybody may
        mode &= ~0o070 | (mode & 0o007) << 3
    with contextlib.suppress(OSError):  # a file system without modes
        os.fchmod(descriptor, mode)


def _open_unnamed(folder: Path) -> IO[bytes] | None:
    """Open a file without a name, None if the system or the file system does not support it."""
    if not hasattr(os, "O_TMPFILE") or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            return None  # if the folder is the cause, opening the temporary file fails next
        raise


def _name(stream: IO[bytes], path: Path, temporary: Path, overwrite: bool) -> None:
    """Give an unnamed file its name; it has another for a moment only to replace a file."""
    try:
        _link_unnamed(stream, path)  # unlike a rename it never replaces a file
    except FileExistsError:
        if not overwrite:
            raise
        _link_unnamed(stream, temporary)
        temporary.replace(path)


def _link_unnamed(stream: IO[bytes], path: Path) -> None:
    descriptors = os.open("/proc/self/fd", os.O_RDONLY)
    try:
        os.link(str(stream.fileno()), path, src_dir_fd=descriptors, follow_symlinks=True)
    finally:
        os.close(descriptors)


def rename(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Rename a complete file; unless it replaces one, it may keep its first name as well.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is not set.
        OSError: If that fails.
    """
    if not overwrite:
        try:
            os.link(temporary, path)  # unlike a rename it never replaces a file
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if path.exists():
                raise FileExistsError from None
        else:
            return
    temporary.replace(path)
