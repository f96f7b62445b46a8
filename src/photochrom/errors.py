"""Errors that the user can fix."""

import errno
from typing import Literal

ErrorCode = Literal["truncated", "too_large", "disk_full"]
"""What can be done about a photo that failed: take the part that is there, allow more pixels or use
a machine with more memory, or free disk space."""
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class PhotochromError(ValueError):
    """An input that is refused.

    The message says in one sentence what was given, what is allowed, and what to do. The command
    line prints it and exits with a code other than 0.
    """


class UsageError(PhotochromError):
    """A request that is wrong in itself, or that names nothing, whatever the files hold.

    The command line exits with code 2; with 1 for other errors.
    """


class PhotoError(PhotochromError):
    """A photo that cannot be read or written."""


class TruncatedError(PhotoError):
    """A photo that is cut off, of which a part can be decoded."""

    def __init__(self, message: str, share: float = 0.0) -> None:
        """Keep the share of the photo that can be decoded, 0 to 1; 1: all, but not all detail."""
        super().__init__(message)
        self.share = share


class TooLargeError(PhotoError):
    """A photo of more pixels than are allowed."""

    def __init__(self, message: str, size: tuple[int, int]) -> None:
        """Keep width and height in px."""
        super().__init__(message)
        self.size = size


class VideoError(PhotochromError):
    """A video that cannot be read, colorized or written."""


class MissingVideoError(VideoError, UsageError):
    """A video or an image sequence that does not exist."""


class ModelError(PhotochromError):
    """A file that is not a colorization model, or a model with invalid output."""


class MissingModelError(ModelError, UsageError):
    """A model file that does not exist."""


class NoHintsError(ModelError, UsageError):
    """Hints for a model that takes none."""


class DataError(PhotochromError):
    """A folder without the expected photos or data set."""


class RecipeError(PhotochromError):
    """An unknown recipe, an unknown key of a recipe, or a value of the wrong type."""


class RunError(PhotochromError):
    """A run directory that is incomplete, or does not match the request."""


def error_code(error: BaseException) -> ErrorCode | None:
    """Return what can be done about the error of a photo; None: something else, or nothing."""
    if isinstance(error, TruncatedError):
        return "truncated"
    if isinstance(error, TooLargeError | MemoryError):
        return "too_large"
    is_full = any(
        isinstance(reason, OSError) and reason.errno in _DISK_FULL
        for reason in (error, error.__cause__)
    )
    return "disk_full" if is_full else None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none."""
    message = error.args[0] if isinstance(error, KeyError) and error.args else error  # not quoted
    lines = str(message).splitlines()
    return lines[0] if lines else type(error).__name__
