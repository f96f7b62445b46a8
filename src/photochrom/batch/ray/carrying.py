"""One photo on whatever machine it is done: fetched, colorized as anywhere, and put."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from photochrom.batch.planning import Job
from photochrom.batch.ray.errands import Errand
from photochrom.batch.ray.places import fetch, is_there, is_url, put, stamp
from photochrom.batch.runner import Result
from photochrom.errors import PhotochromError


def carry_out(
    errand: Errand, colorize: Callable[[Job], Result], *, overwrite: bool = False
) -> Result:
    """Colorize one photo, wherever it and its result lie; what goes wrong is in the result.

    A result that came after the errand was planned is of an attempt before this one, of which
    nobody heard since its machine is gone: then this one is done already.

    Args:
        errand: The photo, which has no result yet or is to have another.
        colorize: `colorize_file` with all that it needs, in this process or another; it may raise
            `PhotochromError`.
        overwrite: Whether the result that the errand tells of is to be replaced.
    """
    names: dict[Path, str] = {}
    try:
        if _came(errand):
            return Result(errand.input, errand.output, "done", 0.0)
        with tempfile.TemporaryDirectory(prefix="photochrom-") as scratch:
            for name, place in (("photo", errand.input), ("result", errand.output)):
                if is_url(place):
                    names[Path(scratch, name + PurePosixPath(place).suffix)] = place
                else:
                    names[Path(place)] = place
            source, target = names
            if is_url(errand.input):
                fetch(errand.input, source)
            result = colorize(Job(source, target))
            if result.status == "done" and is_url(errand.output):
                put(target, errand.output, overwrite=overwrite)
        error = result.error
    except PhotochromError as refusal:
        result, error = Result(errand.input, errand.output, "failed", 0.0), str(refusal)
    except OSError as refusal:
        result = Result(errand.input, errand.output, "failed", 0.0)
        error = f"cannot keep {errand.input} for the while: {refusal.strerror or refusal}"
    if error and _came_meanwhile(errand):
        error = None
    for path, place in names.items():
        error = error and error.replace(str(path), place)
    return dataclasses.replace(
        result,
        input=errand.input,
        output=errand.output,
        status="failed" if error else "done",
        error=error,
    )


def _came(errand: Errand) -> bool:
    """Tell whether there is a result that was not there when the errand was planned."""
    if errand.before is None:
        return is_there(errand.output)
    return stamp(errand.output) not in (None, errand.before)


def _came_meanwhile(errand: Errand) -> bool:
    """Tell whether another attempt was faster: that of a machine which is only thought gone."""
    try:
        return _came(errand)
    except PhotochromError:
        return False
