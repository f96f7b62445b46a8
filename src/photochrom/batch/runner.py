"""Colorize many files on all cores."""

import dataclasses
import functools
import itertools
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import cv2

from photochrom.batch.planning import OUTPUT_FORMATS, Job
from photochrom.batch.process_pool import WorkerDiedError, WorkerKilledError, WorkerPool
from photochrom.batch.report import Result, read_version
from photochrom.batch.resuming import changed_output, skipped
from photochrom.batch.transfers import colorize_anywhere, map_in_threads, temporary_folder
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.detection import is_colored
from photochrom.colorize.hints import Hint, check_hints
from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.colorize.options import GEOMETRY_OPTIONS
from photochrom.cores import count_cores
from photochrom.errors import ErrorCode, PhotochromError, PhotoError, error_code
from photochrom.imagefile.atomic import make_folder
from photochrom.imagefile.formats import FORMATS
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import MAX_PIXELS, open_pages
from photochrom.imagefile.sidecar import apply_sidecar, find_sidecar, write_sidecar
from photochrom.imagefile.writing import save_pages

THREADS_PER_WORKER = 4
"""Photos that are downloaded, wait, are colorized or uploaded, for each worker process."""


@dataclass(frozen=True)
class Settings:
    """How a worker process colorizes photos."""

    model: Path | None = None
    """An ONNX file; None: the default model."""
    device: str = "auto"
    threads: int | None = None
    """None: one per core."""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of `Colorizer.__call__`."""
    format: str | None = None
    """Of outputs, as of `plan`."""
    truncated: bool = False
    """Whether photos that are cut off are colorized as far as they can be decoded."""
    max_pixels: int = MAX_PIXELS
    overwrite: bool = False
    checksum: bool = False
    """Whether the SHA-256 of inputs and outputs is in the results."""
    recolor: bool | None = None
    """Whether photos are colorized that are in colour already; None: yes, with a warning."""
    keep_times: bool = False
    """Whether outputs get the times of access and modification of their photos."""
    sidecar: bool = False
    """Whether the XMP of outputs is written beside them as well."""

    def for_batch(self, count: int) -> "Settings":
        """Return the settings for a number of photos: a batch leaves out what is in colour."""
        if self.recolor is None and count > 1:
            return dataclasses.replace(self, recolor=False)
        return self

    def load_model(self) -> Callable[..., Result]:
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
            checksum=self.checksum,
            max_pixels=self.max_pixels,
            recolor=self.recolor,
            keep_times=self.keep_times,
            sidecar=self.sidecar,
            format=self.format,
            truncated=self.truncated,
            **self.options,
        )

    def check_takes_hints(self) -> None:
        """Check that the model takes hints.

        Raises:
            NoHintsError: If it does not.
            ModelError: If it cannot be loaded.
        """
        OnnxModel(self.model or default_model_path(), device="cpu", threads=1).check_takes_hints()


def colorize_file(
    job: Job,
    colorizer: Colorizer,
    *,
    overwrite: bool = False,
    checksum: bool = False,
    max_pixels: int = MAX_PIXELS,
    recolor: bool | None = None,
    keep_times: bool = False,
    sidecar: bool = False,
    format: str | None = None,
    truncated: bool = False,
    **options: Any,
) -> Result:
    """Colorize all pages of a file, of a job at paths; errors are reported in the result.

    A photo with an existing output is skipped without `overwrite`; one of more than `max_pixels`
    fails; one whose first page is in colour is ignored if `recolor` is False, unless it has hints.
    The other arguments are those of `Settings`; `options` are those of `Colorizer.__call__`. A crop
    has to fit every page.

    The output gets the group and mode of the photo, as far as permitted, and the properties of an
    XMP sidecar.
    """
    start = time.perf_counter()
    photo, output = Path(job.input), Path(job.output)
    size: tuple[int, int] | None = None
    packet: bytes | None = None
    numbers = itertools.count(1)

    def colorize_page(page: Photo) -> Photo:
        nonlocal size, packet
        is_first = size is None
        hints = job.hints if is_first else ()
        size = size or page.size
        number = next(numbers)
        if format is None:
            _check_bit_depth(job, page)
        elif number > 1:
            raise several_pages_error(job, format)
        if properties is not None:
            page = apply_sidecar(page, properties)
        try:
            geometry.size(*page.size)
            check_hints(hints, page.size)
        except PhotochromError as failure:
            raise page_error(job, number, failure) from failure
        if recolor is not True and is_colored(page):
            if recolor is False and is_first and not hints:
                raise _InColorError
            warning = _warn_of_lost_colors(options.get("strength", 1.0), hints)
            if warning is not None:
                metadata = page.metadata.with_warning(warning)
                page = dataclasses.replace(page, metadata=metadata)
        page = colorizer(page, hints=hints, **options)
        if is_first:
            packet = page.metadata.xmp
        return page

    error = code = reason = input_version = output_version = None
    warnings: list[str] = []
    try:
        geometry = geometry_of(options)
        if format is not None and FORMATS[OUTPUT_FORMATS[format]] != _output_format(job):
            raise PhotoError(f"{job.output} is not named like a {format.upper()}; rename it")
        if not overwrite and job.has_output():
            if job.replaces is None:
                return skipped(job, checksum=checksum)
            if not job.is_output(job.replaces, checksum):  # changed since the batch was planned
                return changed_output(job)
        status = _read_status(photo)
        input_version = read_version(photo, checksum=checksum)
        properties = find_sidecar(photo)
        make_folder(output.parent, PhotoError)
        # Lazily, so that only one page is in memory.
        pages = map(colorize_page, open_pages(photo, max_pixels=max_pixels, truncated=truncated))
        is_replaced = overwrite or job.replaces is not None
        warnings = save_pages(
            pages,
            output,
            overwrite=is_replaced,
            like=status,
            keep_times=keep_times,
            flatten=format is not None,
        )
        if sidecar and packet is not None:
            try:
                write_sidecar(output, packet, overwrite=is_replaced, like=status)
            except PhotoError:
                if not is_replaced:  # or the next run would take the photo for done
                    output.unlink()
                raise
        output_version = read_version(output, checksum=checksum)
    except _InColorError:
        reason = "it is in colour already; --recolor colorizes it"
    except PhotochromError as failure:
        error, code = str(failure), error_code(failure)
    except OSError as failure:
        error = f"cannot write {job.output}: {failure.strerror or failure}"
        code = error_code(failure)
    except MemoryError as failure:
        error, code = f"there is not enough memory for {job.input}", error_code(failure)
    width, height = size or (None, None)
    return Result(
        job.input,
        job.output,
        status="failed" if error else "ignored" if reason else "done",
        seconds=time.perf_counter() - start,
        width=width,
        height=height,
        model=colorizer.model.name if size and not reason else None,
        error=error,
        reason=reason,
        warnings=warnings,
        input_version=input_version,
        output_version=output_version,
        hints=job.hints,
        error_code=code,
    )


def _warn_of_lost_colors(strength: float, hints: Sequence[Hint]) -> str | None:
    """Return what becomes of the colours of a photo in colour; None if they stay as they are."""
    if strength == 0:
        return None
    warning = "it is in colour; its own colours are "
    warning += "mixed with new ones" if strength < 1 else "lost"
    if any(hint.color == "original" for hint in hints):
        warning += ", except where a hint keeps them"
    return warning


def geometry_of(options: Mapping[str, Any]) -> Geometry:
    """Return the geometry in options of `Colorizer.__call__`.

    Raises:
        PhotochromError: If a value fits no photo.
    """
    return Geometry(**{o.name: options[o.name] for o in GEOMETRY_OPTIONS if o.name in options})


def several_pages_error(job: Job, format: str) -> PhotoError:
    """Return the error for a photo of several pages that a format cannot hold."""
    return PhotoError(
        f"{job.input} has several pages, which one {format.upper()} cannot hold; keep the format "
        "of the photo"
    )


def page_error(job: Job, number: int, failure: PhotochromError) -> PhotoError:
    """Return an error that names the page, counted from 1, which a geometry does not fit."""
    name = job.input if number == 1 else f"page {number} of {job.input}"
    return PhotoError(f"{name}: {failure}")


class _InColorError(Exception):
    """A photo is left out since it is in colour already."""


def _read_status(path: Path) -> os.stat_result:
    """Return size, times, group and mode of a file.

    Raises:
        PhotoError: If it cannot be read.
    """
    try:
        return path.stat()
    except OSError as error:
        raise PhotoError(f"cannot read {path}: {error.strerror or error}") from error


def _output_format(job: Job) -> str | None:
    """Return the format of the output, chosen by its suffix; None if that is unknown."""
    return FORMATS.get(PurePath(job.output).suffix.lower())


def _check_bit_depth(job: Job, page: Photo) -> None:
    """Check that the output format, chosen by the suffix, keeps the bit depth."""
    output_format = _output_format(job)
    if page.pixels.dtype.itemsize > 1 and output_format not in ("PNG", "TIFF"):
        raise PhotoError(
            f"{job.input} is a {page.encoding.format} of 16 bits, which a {output_format} cannot "
            "keep; rename it to the suffix of its format, or download it if it is at a URL"
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
        colorize = settings.load_model()
        for job in jobs:
            yield colorize_anywhere(job, colorize, overwrite=settings.overwrite)
        return
    processes, threads = divide_cores(len(jobs), processes)
    shared = dataclasses.replace(settings, threads=threads)
    with (
        temporary_folder(jobs) as folder,
        WorkerPool(shared.load_model, processes=processes, pin_cores=True) as pool,
    ):
        run = functools.partial(
            colorize_anywhere,
            colorize=functools.partial(colorize_in_worker, pool),
            overwrite=settings.overwrite,
            temporary=folder,
        )
        # While a worker has a photo, others are downloaded or uploaded.
        yield from map_in_threads(
            run, jobs, threads=THREADS_PER_WORKER * processes, on_stop=pool.close
        )


def divide_cores(count: int, processes: int | None = None) -> tuple[int, int]:
    """Return the number of processes for a number of photos, and of threads in each."""
    cores = count_cores()
    processes = max(1, min(processes or cores, count))
    return processes, max(1, cores // processes)


def colorize_in_worker(pool: WorkerPool[Job, Result], job: Job) -> Result:
    """Colorize the photo of a job at paths in a process of a pool, which may crash."""
    try:
        return pool.submit(job).result()
    except WorkerDiedError as error:
        code: ErrorCode | None = "too_large" if isinstance(error, WorkerKilledError) else None
        return job.failed(f"{job.input}: {error}", code)
