"""Process one task on any machine: download the photo, colorize it, upload the output."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from photochrom.batch.locations import is_url
from photochrom.batch.planning import Job
from photochrom.batch.ray.storage import download, exists, get_version, upload
from photochrom.batch.ray.tasks import Task
from photochrom.batch.report import Result
from photochrom.errors import PhotochromError


def run_task(task: Task, colorize: Callable[[Job], Result], *, overwrite: bool = False) -> Result:
    """Colorize the photo of a task; errors are reported in the result.

    An output written after the task was planned is from an earlier attempt whose machine died
    before it could report. The task is then done. `overwrite` replaces the output that existed at
    planning.
    """
    result = Result(task.input, task.output, "done", 0.0, hints=task.hints)
    locations: dict[Path, str] = {}
    error = None
    try:
        if _has_new_output(task):
            return result
        with tempfile.TemporaryDirectory(prefix="photochrom-") as scratch:
            photo = _local_path(task.input, Path(scratch, "photo"))
            output = _local_path(task.output, Path(scratch, "result"))
            job = Job(photo, output, task.replaces, hints=task.hints)
            locations = {job.input: task.input, job.output: task.output}
            if is_url(task.input):
                download(task.input, job.input)
            colorized = colorize(job)
            if colorized.status == "done" and is_url(task.output):
                is_replaced = overwrite or task.replaces is not None
                upload(job.output, task.output, overwrite=is_replaced)
            result, error = _with_versions(colorized, task), colorized.error
    except PhotochromError as failure:
        error = str(failure)
    except OSError as failure:
        error = f"cannot write a temporary copy of {task.input}: {failure.strerror or failure}"
    if error:
        with contextlib.suppress(PhotochromError):
            if _has_new_output(task):  # another attempt was faster
                error = None
    for path, location in locations.items():
        error = error and error.replace(str(path), location)
    return dataclasses.replace(
        result,
        input=task.input,
        output=task.output,
        status="failed" if error else result.status if result.status == "ignored" else "done",
        error=error,
    )


def _with_versions(result: Result, task: Task) -> Result:
    """Return a result with the versions of the files in object stores, not of their copies."""
    if is_url(task.input):
        result = dataclasses.replace(result, input_version=task.input_version)
    if is_url(task.output):
        version = get_version(task.output) if result.status == "done" else None
        result = dataclasses.replace(result, output_version=version)
    return result


def _local_path(location: str, scratch: Path) -> Path:
    """Return a path itself; for a URL, a scratch file with its suffix."""
    if is_url(location):
        return scratch.with_suffix(PurePosixPath(location).suffix)
    return Path(location)


def _has_new_output(task: Task) -> bool:
    """Return whether an output was written since the task was planned."""
    if task.planned_version is None:
        return exists(task.output)
    return get_version(task.output) not in (None, task.planned_version)
