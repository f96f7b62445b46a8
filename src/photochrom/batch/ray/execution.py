"""One photo on whatever machine it is done: fetched, colorized as anywhere, and put."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from photochrom.batch.planning import Job
from photochrom.batch.ray.storage import fetch, is_there, is_url, put, stamp
from photochrom.batch.ray.tasks import Task
from photochrom.batch.runner import Result
from photochrom.errors import PhotochromError


def run_task(task: Task, colorize: Callable[[Job], Result], *, overwrite: bool = False) -> Result:
    """Colorize one photo, wherever it and its result lie; what goes wrong is in the result.

    A result that came after the task was planned is of an attempt before this one, of which
    nobody heard since its machine is gone: then this one is done already.

    Args:
        task: The photo, which has no result yet or is to have another.
        colorize: `colorize_file` with all that it needs, in this process or another; it may raise
            `PhotochromError`.
        overwrite: Whether the result that the task tells of is to be replaced.
    """
    names: dict[Path, str] = {}
    try:
        if _came(task):
            return Result(task.input, task.output, "done", 0.0)
        with tempfile.TemporaryDirectory(prefix="photochrom-") as scratch:
            for name, place in (("photo", task.input), ("result", task.output)):
                if is_url(place):
                    names[Path(scratch, name + PurePosixPath(place).suffix)] = place
                else:
                    names[Path(place)] = place
            source, target = names
            if is_url(task.input):
                fetch(task.input, source)
            result = colorize(Job(source, target))
            if result.status == "done" and is_url(task.output):
                put(target, task.output, overwrite=overwrite)
        error = result.error
    except PhotochromError as refusal:
        result, error = Result(task.input, task.output, "failed", 0.0), str(refusal)
    except OSError as refusal:
        result = Result(task.input, task.output, "failed", 0.0)
        error = f"cannot keep {task.input} for the while: {refusal.strerror or refusal}"
    if error and _came_meanwhile(task):
        error = None
    for path, place in names.items():
        error = error and error.replace(str(path), place)
    return dataclasses.replace(
        result,
        input=task.input,
        output=task.output,
        status="failed" if error else "done",
        error=error,
    )


def _came(task: Task) -> bool:
    """Tell whether there is a result that was not there when the task was planned."""
    if task.before is None:
        return is_there(task.output)
    return stamp(task.output) not in (None, task.before)


def _came_meanwhile(task: Task) -> bool:
    """Tell whether another attempt was faster: that of a machine which is only thought gone."""
    try:
        return _came(task)
    except PhotochromError:
        return False
