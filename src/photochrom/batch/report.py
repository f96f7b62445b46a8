"""Results of photos, and reports of a batch, from which a run resumes."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from photochrom.colorize.hints import Hint, hints_from_json
from photochrom.errors import ErrorCode, PhotochromError, UsageError

Status = Literal["done", "skipped", "failed", "ignored", "planned"]
_LINE_START = '{"input": '


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What tells whether a file was changed or replaced."""

    size: int
    """In bytes."""
    mtime_ns: int
    """Time of modification, in ns since 1970."""
    sha256: str | None = None
    """In hexadecimal; None if it was not asked for."""


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one photo; the fields are the keys of a report."""

    input: Path | str
    """A string if it is a URL, or a path on another machine."""
    output: Path | str | None
    """None if none was planned."""
    status: Status
    """`skipped`: the output existed. `ignored`: it is no photo by its name, or is in colour.
    `planned`: in a dry run, it would be done."""
    seconds: float
    width: int | None = None
    """Of the first page, upright, in px; None if the photo was not read. If `planned`, that of the
    pixels as they are stored, before an orientation turns them."""
    height: int | None = None
    model: str | None = None
    """Name of the model; None if the photo was not read."""
    error: str | None = None
    """Why it failed."""
    error_code: ErrorCode | None = None
    """What can be done about it, as of `photochrom.errors.error_code`."""
    reason: str | None = None
    """Why it was skipped or ignored."""
    warnings: list[str] = dataclasses.field(default_factory=list)
    """What of the file could not be kept, each a phrase."""
    input_version: FileVersion | str | None = None
    """Of the file that was read; a string if it is in an object store, None if it was not read."""
    output_version: FileVersion | str | None = None
    """Of the file that was written; None if none was."""
    hints: tuple[Hint, ...] = ()
    """That were given for the photo."""

    def to_json(self) -> str:
        """Return one line of JSON. Undecodable bytes of file names are surrogates."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, line: str) -> "Result":
        """Return the result of a line of JSON, also of earlier versions of photochrom.

        Raises:
            ValueError: If it is none.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        try:
            fields = {name: value for name, value in json.loads(line).items() if name in names}
            for name in ("input_version", "output_version"):
                if isinstance(fields.get(name), dict):
                    fields[name] = FileVersion(**fields[name])
            fields["hints"] = hints_from_json(fields.get("hints", []))
            return cls(**({"seconds": 0.0} | fields))
        except (AttributeError, TypeError, PhotochromError) as error:
            raise ValueError("it is not a result") from error


def ignored(location: str, reason: str) -> Result:
    """Return the result of a file that is not taken for a photo."""
    return Result(location, None, "ignored", 0.0, reason=reason)


def failed(location: str, error: str, output: str | None = None) -> Result:
    """Return the result of a photo that cannot be colorized."""
    return Result(location, output, "failed", 0.0, error=error)


def unreadable(path: Path, error: OSError) -> Result:
    """Return the result of a file or folder that the system does not let us read."""
    return failed(str(path), f"cannot read {error.filename or path}: {error.strerror or error}")


def read_version(path: Path, *, checksum: bool = False) -> FileVersion | None:
    """Return the version of a file, with its SHA-256 on request; None if it cannot be read."""
    try:
        status = path.stat()
        sha256 = None
        if checksum:
            import hashlib  # loads OpenSSL

            with path.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
    return FileVersion(status.st_size, status.st_mtime_ns, sha256)


def is_unchanged(path: Path, version: FileVersion | str, *, checksum: bool = False) -> bool:
    """Return whether a file is as it was.

    With equal size and time it is, unless `checksum` asks for its SHA-256 and `version` has one.
    With another time it is if its SHA-256 is known and the same. It never is if `version` is a
    string, which is that of a file in an object store.
    """
    current = read_version(path)
    if current is None or isinstance(version, str) or current.size != version.size:
        return False
    is_as_old = current.mtime_ns == version.mtime_ns
    if version.sha256 is None or (is_as_old and not checksum):
        return is_as_old
    current = read_version(path, checksum=True)
    return current is not None and current.sha256 == version.sha256


def read_report(path: Path) -> Iterator[Result]:
    """Yield the results in a report.

    An incomplete last line, left by a kill or a full disk, is left out.

    Raises:
        UsageError: If there is no report.
        PhotochromError: If the report cannot be read, or a line is not a result.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError as error:
        raise UsageError(f"there is no report {path}; start one with --report") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise PhotochromError(f"cannot read report {path}: {reason}") from error
    for number, line in enumerate(lines, 1):
        is_complete = line.endswith("\n")
        if not is_complete and line[: len(_LINE_START)] == _LINE_START[: len(line)]:
            break
        try:
            if not is_complete:
                raise ValueError("it does not begin as a result does")
            yield Result.from_json(line)
        except ValueError as error:
            raise PhotochromError(
                f"line {number} of {path} is not a line of a report; give a file that --report "
                "wrote"
            ) from error


@contextmanager
def open_report(path: Path, *, append: bool = False) -> Iterator[Callable[[Result], None]]:
    """Yield a function that writes a result as a line of a report.

    With `append`, the report must exist; an incomplete last line is removed. A new report without
    any line is removed if an exception is raised. The function raises a PhotochromError if it
    cannot write.

    Raises:
        PhotochromError: If the file exists and `append` is not set, or if it cannot be opened.
    """
    # The caller's own errors pass: a broken pipe of stdout is none of the report.
    with _naming(path):
        stream = _open(path, append)
    is_empty, is_complete = not append, False

    def write(result: Result) -> None:
        nonlocal is_empty
        is_empty = False
        with _naming(path):
            stream.write(result.to_json().encode() + b"\n")
            stream.flush()  # keeps the line if the process is killed

    try:
        yield write
        is_complete = True
    finally:
        with _naming(path):
            stream.close()
            if is_empty and not is_complete:  # or the corrected command would be refused
                path.unlink(missing_ok=True)


def _open(path: Path, append: bool) -> IO[bytes]:
    if not append:
        return path.open("xb")
    stream = path.open("r+b")
    stream.truncate(stream.read().rfind(b"\n") + 1)
    stream.seek(0, os.SEEK_END)
    return stream


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the report in errors.

    Raises:
        PhotochromError: In place of an OSError.
    """
    try:
        yield
    except FileExistsError as error:
        raise PhotochromError(
            f"report {path} exists already; continue it with --resume, or name another"
        ) from error
    except OSError as error:
        raise PhotochromError(f"cannot write report {path}: {error.strerror or error}") from error
