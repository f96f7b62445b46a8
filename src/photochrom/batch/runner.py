"""Colorize many files on all cores, with a report from which a run resumes."""

import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import cv2

from photochrom.batch.planning import Job
from photochrom.batch.process_pool import WorkerDiedError, WorkerPool, available_cores
from photochrom.colorize.colorizer import Colorizer
from photochrom.errors import PhotochromError, PhotoError
from photochrom.imagefile.atomic import make_folder
from photochrom.imagefile.formats import FORMATS
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import MAX_PIXELS, open_pages
from photochrom.imagefile.writing import save_pages

if TYPE_CHECKING:
    from photochrom.batch.ray.tasks import Task

AnyJob = TypeVar("AnyJob", Job, "Task")


@dataclass(frozen=True)
class Result:
    """Result of one photo; the fields are the keys of a report."""

    input: Path | str
    """A string if it is a URL, or a path on another machine."""
    output: Path | str
    status: Literal["done", "skipped", "failed"]
    """`skipped`: the output existed."""
    seconds: float
    width: int | None = None
    """Of the first page, in px; None if the photo was not read."""
    height: int | None = None
    model: str | None = None
    """Name of the model; None if the photo was not read."""
    error: str | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    """What of the file could not be kept, each a phrase."""

    def to_json(self) -> str:
        """Return one line of JSON. Undecodable bytes of file names are surrogates."""
        return json.dumps(dataclasses.asdict(self), default=str)


@dataclass(frozen=True)
class Settings:
    """How a worker process colorizes photos."""

    model: Path | None = None
    """An ONNX file; None: the default model."""
    device: str = "auto"
    threads: int | None = None
    """None: one per core."""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Rendering options of `Colorizer.__call__`."""
    max_pixels: int = MAX_PIXELS
    overwrite: bool = False

    def load_model(self) -> Callable[[Job], Result]:
        """Load the model and return `colorize_file` with these settings.

        Raises:
            ModelError: If the model cannot be loaded.
        """
        if self.threads is not None:
            cv2.setNumThreads(self.threads)
        return functools.partial(
            colorize_file,
            colorizer=Colorizer(self.model, device=self.device, threads=self.threads),
            overwrite=self.overwrite,
            max_pixels=self.max_pixels,
            **self.options,
        )


def colorize_file(
    job: Job,
    colorizer: Colorizer,
    *,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    **options: Any,
) -> Result:
    """Colorize all pages of a file; errors are reported in the result.

    A photo with an existing output is skipped without `overwrite`; a photo of more than
    `max_pixels` fails. `options` are the rendering options of `Colorizer.__call__`.
    """
    start = time.perf_counter()
    size: tuple[int, int] | None = None

    def colorize_page(page: Photo) -> Photo:
        nonlocal size
        size = size or page.size
        _check_bit_depth(job, page)
        return colorizer(page, **options)

    error = None
    warnings: list[str] = []
    try:
        if job.has_output() and not overwrite:
            return Result(job.input, job.output, "skipped", 0.0)
        make_folder(job.output.parent, PhotoError)
        # Lazily, so that only one page is in memory.
        pages = map(colorize_page, open_pages(job.input, max_pixels=max_pixels))
        warnings = save_pages(pages, job.output, overwrite=overwrite)
    except PhotochromError as failure:
        error = str(failure)
    except OSError as failure:
        error = f"cannot write {job.output}: {failure.strerror or failure}"
    except MemoryError:
        error = f"{job.input} is too large for the memory of this computer"
    width, height = size or (None, None)
    return Result(
        job.input,
        job.output,
        status="failed" if error else "done",
        seconds=time.perf_counter() - start,
        width=width,
        height=height,
        model=colorizer.model.name if size else None,
        error=error,
        warnings=warnings,
    )


def _check_bit_depth(job: Job, page: Photo) -> None:
    """Check that the output format, chosen by the suffix, keeps the bit depth."""
    output_format = FORMATS[job.output.suffix.lower()]
    if page.pixels.dtype.itemsize > 1 and output_format not in ("PNG", "TIFF"):
        raise PhotoError(
            f"{job.input} is a {page.encoding.format} of 16 bits, which a {output_format} cannot "
            "keep; rename it to the suffix of its format"
        )


def colorize_all(
    jobs: Sequence[Job], settings: Settings, *, processes: int | None = None
) -> Generator[Result, None, None]:
    """Colorize photos in worker processes. A crash fails only the photo in progress.

    The results are yielded as they complete, in any order. The cores are divided among the
    processes, one per core by default. A single photo is colorized in this process, which is faster
    than to start another.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    if len(jobs) <= 1:
        yield from map(settings.load_model(), jobs)
        return
    cores = len(available_cores())
    processes = min(processes or cores, len(jobs))
    shared = dataclasses.replace(settings, threads=max(1, cores // processes))
    with WorkerPool(shared.load_model, processes=processes, pin_cores=True) as pool:
        yield from pool.map(jobs, on_death=failed_by_death)


def failed_by_death(job: Job, error: WorkerDiedError) -> Result:
    """Return the result of a photo whose worker process died."""
    return Result(job.input, job.output, "failed", 0.0, error=f"{job.input}: {error}")


def read_finished(report: Path) -> set[tuple[str, str]]:
    """Return input and output of the photos that a report lists as done or skipped.

    An incomplete last line, left by a kill or a full disk, is ignored.

    Raises:
        PhotochromError: If the report cannot be read, or another line is not a result.
    """
    finished = set()
    try:
        lines = report.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise PhotochromError(f"cannot read report {report}: {reason}") from error
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            break
        try:
            entry = json.loads(line)
            if entry["status"] in ("done", "skipped"):
                finished.add((entry["input"], entry["output"]))
        except (ValueError, TypeError, KeyError) as error:
            raise PhotochromError(
                f"line {number} of {report} is not a line of a report; give a file that --report "
                "wrote"
            ) from error
    return finished


def skip_finished(jobs: Iterable[AnyJob], finished: Container[tuple[str, str]]) -> list[AnyJob]:
    """Return the jobs that are not finished, and those whose output no longer exists."""
    return [
        job
        for job in jobs
        if (str(job.input), str(job.output)) not in finished or not job.has_output()
    ]


@contextmanager
def open_report(path: Path, *, append: bool = False) -> Iterator[Callable[[Result], None]]:
    """Yield a function that writes a result as a line of a report.

    With `append`, the report must exist; an incomplete last line is removed.

    Raises:
        PhotochromError: If the file exists and `append` is not set, or if it cannot be written.
    """
    try:
        with path.open("r+b" if append else "xb") as stream:
            if append:
                stream.truncate(stream.read().rfind(b"\n") + 1)
                stream.seek(0, os.SEEK_END)

            def write(result: Result) -> None:
                stream.write(result.to_json().encode() + b"\n")
                stream.flush()  # keeps the line if the process is killed

            yield write
    except FileExistsError as error:
        raise PhotochromError(
            f"report {path} exists already; continue it with --resume, or name another"
        ) from error
    except OSError as error:
        raise PhotochromError(f"cannot write report {path}: {error.strerror or error}") from error
