"""Tell what a batch would do: what becomes what, what is refused, and an estimate of the cost.

Only headers of photos are read, except of one photo for each format of outputs. It is colorized in
a temporary folder to measure what a megapixel costs; a tiny photo, what every photo costs. Of
photos at URLs, nothing is read, and nothing is estimated if there is a URL.
"""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from photochrom.batch.planning import Job
from photochrom.batch.report import Result
from photochrom.batch.resuming import skipped
from photochrom.batch.runner import (
    Settings,
    divide_cores,
    geometry_of,
    page_error,
    several_pages_error,
)
from photochrom.colorize.hints import find_upright_size
from photochrom.errors import PhotochromError, PhotoError, error_code
from photochrom.imagefile.reading import read_sizes
from photochrom.progress import format_duration

_ATTEMPTS = 3
"""Photos of a format of outputs to try, until one can be colorized."""
_RUNS = 3
"""Of which the fastest counts: the first also allocates memory, others may be disturbed."""


@dataclass(frozen=True)
class Sample:
    """A photo that was colorized to measure it."""

    input: Path
    megapixels: float
    seconds: float
    """In one process."""
    bytes: int
    """Of the output."""


@dataclass(frozen=True)
class Estimate:
    """What the photos of a plan would cost, by their number and megapixels."""

    photos: int
    """Without those of formats of outputs of which no photo could be colorized."""
    megapixels: float
    seconds: float
    """In all processes, without their start."""
    bytes: int
    free_bytes: int
    """On the disk of the outputs."""
    processes: int
    seconds_per_photo: float
    """In one process, besides what its megapixels cost."""
    samples: list[Sample]
    left_out: int
    """Number of the other photos."""

    def describe(self) -> list[str]:
        """Return lines that say the cost and how it was estimated."""
        lines = [
            f"estimate for {self.photos} photos of {self.megapixels:.1f} megapixels: "
            f"{format_duration(self.seconds)} in {self.processes} processes, "
            f"{format_bytes(self.bytes)} of {format_bytes(self.free_bytes)} that are free",
            f"measured: {self.seconds_per_photo:.2f} s for any photo",
        ]
        lines += [
            f"measured: {sample.input}, {sample.megapixels:.1f} megapixels: "
            f"{sample.seconds:.2f} s, {format_bytes(sample.bytes)}"
            for sample in self.samples
        ]
        if self.left_out:
            lines.append(f"not in the estimate: {self.left_out} photos, as trials failed")
        lines.append("not looked at: damage and colour profiles, and which photos are in colour")
        return lines


class DryRun:
    """A batch that is not run."""

    def __init__(
        self, jobs: Sequence[Job], settings: Settings, *, processes: int | None = None
    ) -> None:
        """Take the arguments of `colorize_all`."""
        self._jobs = jobs
        self._processes, threads = divide_cores(len(jobs), processes)
        self._settings = dataclasses.replace(
            settings, threads=threads, overwrite=True, recolor=True, keep_times=False
        )
        self._overwrite = settings.overwrite
        self._planned: list[tuple[Job, float]] = []
        """Jobs and megapixels."""

    def run(self) -> Generator[Result, None, None]:
        """Yield what would become of each photo, `planned` instead of `done`."""
        for job in self._jobs:
            if not self._overwrite and job.replaces is None and job.has_output():
                yield skipped(job)
                continue
            if isinstance(job.input, str):
                yield Result(job.input, job.output, "planned", 0.0, hints=job.hints)
                continue
            try:
                sizes = read_sizes(job.input, max_pixels=self._settings.max_pixels)
                self._check_pages(job, sizes)
            except PhotoError as error:
                yield job.failed(str(error), error_code(error))
                continue
            self._planned.append((job, sum(width * height for width, height in sizes) / 1e6))
            yield Result(job.input, job.output, "planned", 0.0, *sizes[0], hints=job.hints)

    def _check_pages(self, job: Job, sizes: Sequence[tuple[int, int]]) -> None:
        """Check that format, crop and hints fit pages, of sizes before they are made upright.

        Raises:
            PhotoError: If they do not.
        """
        if self._settings.format is not None and len(sizes) > 1:
            raise several_pages_error(job, self._settings.format)
        geometry = geometry_of(self._settings.options)
        for number, size in enumerate(sizes, 1):
            hints = job.hints if number == 1 else ()
            try:
                find_upright_size(size, hints, geometry)
            except PhotochromError as failure:
                raise page_error(job, number, failure) from failure

    def estimate(self) -> Estimate | None:
        """Estimate the cost of what was planned; None if that is nothing, or there are URLs.

        Raises:
            ModelError: If the model cannot be loaded.
        """
        if not self._planned or any(
            isinstance(location, str) for job in self._jobs for location in (job.input, job.output)
        ):
            return None
        by_format: dict[str, list[tuple[Job, float]]] = {}
        for job, megapixels in self._planned:
            by_format.setdefault(Path(job.output).suffix.lower(), []).append((job, megapixels))
        colorize = self._settings.load_model()
        with tempfile.TemporaryDirectory(prefix="photochrom-") as folder:
            fixed = _measure_fixed(colorize, Path(folder))
            samples = {
                suffix: _measure(colorize, planned, Path(folder))
                for suffix, planned in by_format.items()
            }
        seconds = size = megapixels = 0.0
        photos = 0
        for suffix, planned in by_format.items():
            sample = samples[suffix]
            if sample is not None:
                total = sum(megapixels for _, megapixels in planned)
                photos += len(planned)
                megapixels += total
                seconds += len(planned) * fixed
                seconds += total * max(0, sample.seconds - fixed) / sample.megapixels
                size += total * sample.bytes / sample.megapixels
        return Estimate(
            photos,
            megapixels,
            seconds / self._processes,
            round(size),
            shutil.disk_usage(_existing_folder(Path(self._planned[0][0].output))).free,
            self._processes,
            fixed,
            [sample for sample in samples.values() if sample is not None],
            len(self._planned) - photos,
        )


def _measure_fixed(colorize: Callable[..., Result], folder: Path) -> float:
    """Return the seconds that a tiny photo takes."""
    photo = folder / "tiny.png"
    Image.new("L", (64, 64)).save(photo)
    job = Job(photo, folder / "tiny-color.png")
    # A crop would reach out of it, and its output is not named like one of the format.
    return min(colorize(job, crop=None, format=None).seconds for _ in range(_RUNS))


def _measure(
    colorize: Callable[..., Result], planned: list[tuple[Job, float]], folder: Path
) -> Sample | None:
    """Colorize a photo of about mean size; None if several cannot be colorized."""
    mean = sum(megapixels for _, megapixels in planned) / len(planned)
    ordered = sorted(planned, key=lambda item: abs(item[1] - mean))
    for job, megapixels in ordered[:_ATTEMPTS]:
        output = folder / f"trial{Path(job.output).suffix}"
        results = [colorize(dataclasses.replace(job, output=output)) for _ in range(_RUNS)]
        if all(result.status == "done" for result in results):
            seconds = min(result.seconds for result in results)
            return Sample(Path(job.input), megapixels, seconds, output.stat().st_size)
    return None


def _existing_folder(path: Path) -> Path:
    """Return the nearest folder above a path that exists."""
    return next(folder for folder in path.absolute().parents if folder.exists())


def format_bytes(count: int) -> str:
    """Return a size such as "3.1 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
