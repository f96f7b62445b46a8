"""What can go wrong through no fault of the program, each said in one sentence."""


class PhotochromError(ValueError):
    """An input that photochrom refuses.

    The message is one sentence for the person who gave the input: what was given, what is
    allowed, what to do. The command line prints it as it is and exits with a code other than 0.
    """


class PhotoError(PhotochromError):
    """A file that is not a photograph which can be read, or one that cannot be written."""


class ModelError(PhotochromError):
    """A file that is not a colorization model, or a model that does not work as one."""


class DataError(PhotochromError):
    """A folder that does not hold what it should: photographs, or a prepared data set."""


class RecipeError(PhotochromError):
    """An unknown recipe, an unknown key of a recipe, or a value of the wrong type."""


class RunError(PhotochromError):
    """A run directory that is incomplete, or does not match what is asked of it."""
