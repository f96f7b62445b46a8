"""Colorize photos at URLs: download to a temporary file, colorize, upload."""

import contextlib
import dataclasses
import itertools
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from threading import Thread

from photochrom.batch.locations import url_name
from photochrom.batch.planning import Job
from photochrom.batch.report import Result
from photochrom.batch.resuming import changed_output, skipped
from photochrom.batch.storage import download, get_version, upload
from photochrom.errors import PhotochromError, error_code

_GRACE = 5.0
"""Seconds for transfers in progress to end after an interrupt; a store may not answer."""


def colorize_anywhere(
    job: Job,
    colorize: Callable[[Job], Result],
    *,
    overwrite: bool = False,
    temporary: Path | None = None,
) -> Result:
    """Colorize the photo of a job at paths or URLs; errors are reported in the result.

    Args:
        job: A job. At a URL, an output of which the job knows no version is never replaced.
        colorize: `colorize_file` with its settings, called with a job at paths.
        overwrite: Whether an output at a URL may be replaced; `colorize` has its own setting.
        temporary: Folder for temporary files; None: the system's.
    """
    if isinstance(job.input, Path) and isinstance(job.output, Path):
        return colorize(job)
    if job.has_output() and not overwrite and job.replaces is None:
        return skipped(job)  # without a download
    try:
        with tempfile.TemporaryDirectory(prefix="photochrom-", dir=temporary) as folder:
            return _transfer(job, colorize, Path(folder), overwrite)
    except FileExistsError:  # written since the batch was planned
        return skipped(job)
    except PhotochromError as error:
        return job.failed(str(error), error_code(error))
    except OSError as error:
        text = f"cannot write a temporary copy of {job.input}: {error.strerror or error}"
        return job.failed(text, error_code(error))


def _transfer(job: Job, colorize: Callable[[Job], Result], folder: Path, overwrite: bool) -> Result:
    """Colorize by way of temporary files in a folder.

    Raises:
        FileExistsError: If there is an output by now, and it may not be replaced.
        PhotochromError: If a request to a store fails.
        OSError: If a temporary file cannot be written.
    """
    photo, output = _local(job.input, folder / "photo"), _local(job.output, folder / "result")
    if isinstance(job.input, str):
        download(job.input, photo)
    result = colorize(dataclasses.replace(job, input=photo, output=output))
    error, version = result.error, result.output_version
    if isinstance(job.output, str) and result.status == "done":
        if job.replaces is not None and get_version(job.output) != job.replaces:
            return changed_output(job)
        upload(output, job.output, overwrite=overwrite or job.replaces is not None)
        version = get_version(job.output)
    for path, location in ((photo, job.input), (output, job.output)):
        error = error and error.replace(str(path), str(location))
    return dataclasses.replace(
        result,
        input=job.input,
        output=job.output,
        error=error,
        input_version=job.input_version or result.input_version,
        output_version=version,
    )


def _local(location: Path | str, temporary: Path) -> Path:
    """Return a path itself; for a URL, a temporary file with its suffix."""
    if isinstance(location, Path):
        return location
    return temporary.with_suffix(PurePosixPath(url_name(location)).suffix)


@contextlib.contextmanager
def temporary_folder(jobs: Iterable[Job]) -> Iterator[Path | None]:
    """Make a folder for `colorize_anywhere`; None if no job has a URL.

    It is removed at the end even if a transfer hangs, which does not remove its own.
    """
    if not any(isinstance(where, str) for job in jobs for where in (job.input, job.output)):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="photochrom-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def map_in_threads(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    *,
    threads: int,
    on_stop: Callable[[], None],
) -> Generator[Result, None, None]:
    """Call a function with jobs in threads, and yield the results as they complete.

    When the generator is closed, `on_stop` is called, and calls in progress have some seconds to
    end. Then they are left in daemon threads, which do not keep the process from ending.

    Raises:
        Exception: Raised by `function`.
    """
    waiting: SimpleQueue[Job | None] = SimpleQueue()
    done: SimpleQueue[Future[Result]] = SimpleQueue()

    def work() -> None:
        while (job := waiting.get()) is not None:
            future: Future[Result] = Future()
            try:
                future.set_result(function(job))
            except Exception as error:  # noqa: BLE001 (raised again below)
                future.set_exception(error)
            done.put(future)

    workers = [Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    remaining = iter(jobs)
    try:
        count = 0
        for job in itertools.islice(remaining, threads):
            waiting.put(job)
            count += 1
        while count:
            future = done.get()
            for job in itertools.islice(remaining, 1):
                waiting.put(job)
                count += 1
            count -= 1
            yield future.result()
    finally:
        on_stop()
        for _ in workers:
            waiting.put(None)
        end = time.monotonic() + _GRACE
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))
