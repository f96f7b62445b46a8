"""Errors that the user can fix."""


class PhotochromError(ValueError):
    """An input that is refused.

    The message says in one sentence what was given, what is allowed, and what to do. The command
    line prints it and exits with a code other than 0.
    """


class PhotoError(PhotochromError):
    """A photo that cannot be read or written."""


class ModelError(PhotochromError):
    """A file that is not a colorization model, or a model with invalid output."""


class DataError(PhotochromError):
    """A folder without the expected photos or data set."""


class RecipeError(PhotochromError):
    """An unknown recipe, an unknown key of a recipe, or a value of the wrong type."""


class RunError(PhotochromError):
    """A run directory that is incomplete, or does not match the request."""
