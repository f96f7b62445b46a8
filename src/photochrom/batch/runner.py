"""Many photos: each file into a file, on all cores, with a report from which to go on."""

import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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


@dataclass(frozen=True)
class Result:
    """What became of one photo."""

    input: Path | str
    """A string where it is a URL, or was on another machine."""
    output: Path | str
    status: Literal["done", "skipped", "failed"]
    """`skipped`: the output was there already."""
    seconds: float
    width: int | None = None
    """In px, of the first page; None where the photo was not read."""
    height: int | None = None
    model: str | None = None
    """The model's name; None where it was not asked."""
    error: str | None = None
    """Why it failed."""

    def to_json(self) -> str:
        """Return the result on one line; bytes of names that are no text are surrogates."""
        return json.dumps(dataclasses.asdict(self), default=str)


@dataclass(frozen=True)
class Settings:
    """How photos are colorized: all that a process has to know."""

    model: Path | None = None
    """An ONNX file; None: the model that comes with photochrom."""
    device: str = "auto"
    threads: int | None = None
    """None: one for each core."""
    look: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Keywords of `Colorizer.__call__`."""
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
            **self.look,
        )


def colorize_file(
    job: Job,
    colorizer: Colorizer,
    *,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    **look: Any,
) -> Result:
    """Colorize one file, page by page; what goes wrong with it is in the result.

    Args:
        job: The photo, and where its result goes.
        colorizer: With its model.
        overwrite: Whether a result that is there is made again; else it is skipped.
        max_pixels: A photo of more is refused.
        **look: Keywords of `Colorizer.__call__`.
    """
    start = time.perf_counter()
    size: tuple[int | None, int | None] = (None, None)

    def colored(photo: Photo) -> Photo:
        nonlocal size
        size = photo.size if size[0] is None else size
        _check_ending(job, photo)
        return colorizer(photo, **look)

    error = None
    try:
        if job.output.exists() and not overwrite:
            return Result(job.input, job.output, "skipped", 0.0)
        make_folder(job.output.parent, PhotoError)
        # Through map, as no page is to be in memory for longer than it takes.
        pages = map(colored, open_pages(job.input, max_pixels=max_pixels))
        save_pages(pages, job.output, overwrite=overwrite)
    except PhotochromError as refusal:
        error = str(refusal)
    except OSError as refusal:
        error = f"cannot write {job.output}: {refusal.strerror or refusal}"
    except MemoryError:
        error = f"{job.input} is too large for the memory of this computer"
    seconds = time.perf_counter() - start
    status: Literal["done", "failed"] = "failed" if error else "done"
    name = None if size[0] is None else colorizer.model.name
    return Result(job.input, job.output, status, seconds, *size, name, error)


def _check_ending(job: Job, photo: Photo) -> None:
    """Refuse a file whose name would make us throw away bits that its content has."""
    format_ = FORMATS[job.output.suffix.lower()]
    if photo.pixels.dtype.itemsize > 1 and format_ not in ("PNG", "TIFF"):
        raise PhotoError(
            f"{job.input} is a {photo.encoding.format} of 16 bits, which a {format_} cannot keep; "
            "give it its right ending"
        )


def colorize_all(
    jobs: Sequence[Job], settings: Settings, *, processes: int | None = None
) -> Generator[Result, None, None]:
    """Colorize all photos; one that fails, or kills its process, does not stop the rest.

    Args:
        jobs: From `plan`.
        settings: How.
        processes: How many work side by side; None: one for each core. A single photo is done
            right here, as starting a process takes longer.

    Yields:
        What became of each photo, as soon as it is known: with several processes not in order.

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


def done_before(report: Path) -> set[tuple[str, str]]:
    """Read a report, and return input and output of what was done or there already.

    A last line that was cut off, by a kill or a full disk, does not count.

    Raises:
        PhotochromError: If it cannot be read, or another line is no result.
    """
    done = set()
    try:
        lines = report.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise PhotochromError(f"cannot read report {report}: {reason}") from error
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            break
        try:
            entry = json.loads(line)
            if entry["status"] in ("done", "skipped"):
                done.add((entry["input"], entry["output"]))
        except (ValueError, TypeError, KeyError) as error:
            raise PhotochromError(
                f"line {number} of {report} is no line of a report; give a file that --report wrote"
            ) from error
    return done


def without_done(jobs: Iterable[Job], done: set[tuple[str, str]]) -> list[Job]:
    """Leave out the jobs that a report says are done, if their results are still there."""
    return [
        job
        for job in jobs
        if (str(job.input), str(job.output)) not in done or not job.output.exists()
    ]


@contextmanager
def report_to(path: Path, *, go_on: bool = False) -> Iterator[Callable[[Result], None]]:
    """Open a report: call what is yielded with each result, and it is a line of the file.

    Args:
        path: Where.
        go_on: Whether to add to a report that is there, less a last line that was cut off.

    Raises:
        PhotochromError: If the file is there and `go_on` is not set, or the disk refuses.
    """
    try:
        with path.open("r+b" if go_on else "xb") as stream:
            if go_on:
                stream.truncate(stream.read().rfind(b"\n") + 1)
                stream.seek(0, os.SEEK_END)

            def add(result: Result) -> None:
                stream.write(result.to_json().encode() + b"\n")
                stream.flush()  # a kill a moment later loses nothing

            yield add
    except FileExistsError as error:
        raise PhotochromError(
            f"report {path} exists already; go on with it (--resume) or name another"
        ) from error
    except OSError as error:
        raise PhotochromError(f"cannot write report {path}: {error.strerror or error}") from error
