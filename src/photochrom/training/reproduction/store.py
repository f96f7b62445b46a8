"""A folder of finished runs that is small enough to be committed, so that no machine repeats them.

NAME-seedS.json.gz        a run as in results.json, and the scores by photo of its last networks
NAME-seedS.jpg            scikit-image's sample photos, colorized by it
baselines.json.gz
unfinished/NAME-seedS/    what a run with small networks is resumed from
"""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

from photochrom.errors import RecipeError, RunError
from photochrom.imagefile.atomic import make_folder, new_folder, write_atomic
from photochrom.training import runs
from photochrom.training.evaluation.results import Evaluation, metrics_path
from photochrom.training.reproduction.gallery import colorize_samples
from photochrom.training.reproduction.results import Run, Stored, day, read_run, rounded

STATE_LIMIT = 8_000_000
"""Largest state.pt, in bytes, of an unfinished run that is kept."""
_BASELINES = "baselines"
_RESUMED_FROM = ("recipe.json", "environment.json", "generator.safetensors")


def file_of(store: Path, task: str) -> Path:
    """Return the file of a run, by its name with the seed, or of `baselines`."""
    return store / f"{task}.json.gz"


def save_run(store: Path, run: Path) -> None:
    """Write a run that is trained and measured to the store.

    Raises:
        PhotochromError: If the run cannot be read, or the store not be written.
    """
    make_folder(store, RunError)
    read, scores = read_run(run)
    name = runs.bare_name(run.name)
    columns = [
        {
            column: rounded(values)
            for column, values in of_network.items()
            if of_network is scores[-1] or not column.startswith("original_")
        }
        for of_network in scores
    ]
    write_atomic(store / f"{name}.jpg", colorize_samples(run))
    date = day(metrics_path(run, "test").stat().st_mtime)
    _write(file_of(store, name), {"date": date, "run": read.to_json(), "photos": columns})


def save_baselines(store: Path, folder: Path) -> None:
    """Write the baselines to the store.

    Args:
        store: Its folder.
        folder: With metrics.json.
    """
    make_folder(store, RunError)
    path = folder / "metrics.json"
    content = {"date": day(path.stat().st_mtime), **json.loads(path.read_text("utf-8"))}
    _write(file_of(store, _BASELINES), content)


def read(store: Path, fingerprint: str) -> Stored:
    """Return everything that is in a store.

    Args:
        store: Its folder; need not exist.
        fingerprint: Of the data that runs are made with.

    Raises:
        RunError: If a file cannot be read, or is of other data.
        RecipeError: If a recipe cannot be read, such as one of a later version.
    """
    found, baselines, dates = [], [], []
    for path in sorted(store.glob("*.json.gz")):
        content = _read(path)
        try:
            dates.append(str(content["date"]))
            if path == file_of(store, _BASELINES):
                used = content["fingerprint"]
                baselines = [Evaluation.from_json(e) for e in content["evaluations"]]
            else:
                run = Run.from_json(content["run"])
                used = run.environment["data_fingerprint"]
                found.append(run)
        except RecipeError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from error
        if used != fingerprint:
            raise RunError(f"{path} was made with other photos; prepare the same, or remove it")
    return Stored(found, baselines, max(dates, default=""))


def _write(path: Path, content: Any) -> None:
    write_atomic(path, gzip.compress(json.dumps(content).encode(), mtime=0))


def _read(path: Path) -> Any:
    try:
        return json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(f"{path} is damaged ({error}); remove it, and run the same command again")


def save_unfinished(store: Path, run: Path) -> bool:
    """Write what a run is resumed from to the store, if its state is small.

    Args:
        store: Its folder.
        run: A run that may be in training; what is written fits together all the same.

    Returns:
        Whether it was written.
    """
    state = run / "state.pt"
    if not state.is_file() or state.stat().st_size > STATE_LIMIT:
        return False
    kept = store / "unfinished" / runs.bare_name(run.name)
    with new_folder(kept) as dest:
        shutil.copy(state, dest)  # first: a log and kept epochs beyond it are cut, not missing ones
        for name in _RESUMED_FROM:
            if (run / name).is_file():
                shutil.copy(run / name, dest)
        if (run / "epochs").is_dir():
            shutil.copytree(run / "epochs", dest / "epochs")
        if (run / "log.jsonl").is_file():  # not before the end of the first epoch
            shutil.copy(run / "log.jsonl", dest)
        shutil.rmtree(kept, ignore_errors=True)  # the earlier copy, once this one is complete
    return True


def copy_all(store: Path, folder: Path, dest: Path) -> None:
    """Copy a store to another folder, with the unfinished runs whose state is small.

    Args:
        store: Its folder.
        folder: OUT/PROTOCOL/runs.
        dest: A store, such as one in a repository. Its unfinished runs that are finished now are
            removed.
    """
    for path in [*store.glob("*.json.gz"), *store.glob("*.jpg")]:
        write_atomic(dest / path.name, path.read_bytes())
    for run in sorted(path for path in folder.glob("*") if runs.is_run(path)):
        if not file_of(store, runs.bare_name(run.name)).exists():
            save_unfinished(dest, run)
    for kept in (dest / "unfinished").glob("*"):
        if file_of(dest, kept.name).exists():
            shutil.rmtree(kept)


def restore_unfinished(store: Path, folder: Path) -> None:
    """Copy the unfinished runs of a store to a folder of runs, unless they are there.

    A copy appears when it is complete.

    Args:
        store: Its folder.
        folder: OUT/PROTOCOL/runs.
    """
    known = {runs.bare_name(path.name) for path in folder.glob("*") if runs.is_run(path)}
    for kept in sorted((store / "unfinished").glob("[!.]*")):
        if kept.name in known or file_of(store, kept.name).exists():
            continue
        with new_folder(folder / f"{len(known):04d}-{kept.name}") as dest:
            shutil.copytree(kept, dest, dirs_exist_ok=True)
            (dest / "samples").mkdir()
        known.add(kept.name)
