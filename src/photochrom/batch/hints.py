"""Give the photos of a batch the hints that are in files."""

import dataclasses
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from photochrom.batch.folders import walk_folder
from photochrom.batch.locations import is_url, new_resolver
from photochrom.batch.planning import Job, Plan
from photochrom.batch.report import Result, ignored
from photochrom.batch.storage import download, get_kind, list_files
from photochrom.colorize.hints import FILE_SUFFIX, Hint, check_hints, is_hints_file, read_hints
from photochrom.errors import PhotochromError, UsageError

_ADVICE = (
    f"give --hints a folder in which the hints of a photo sub/a.jpg are sub/a.jpg{FILE_SUFFIX}"
)


def give_hints(plan: Plan, source: str | None, more: Sequence[Hint] = ()) -> Plan:
    """Return a plan whose jobs have their hints.

    A photo fails whose file of hints cannot be used. A file that belongs to no photo is ignored,
    with a result that says so.

    Args:
        plan: Of the whole batch.
        source: A path or URL: a file with the hints of the only photo, or a folder of files
            NAME.EXT.hints.json, named like the photos below the folders that were given. None: no
            file.
        more: Further hints of the only photo.

    Raises:
        UsageError: If there are several photos, and `more` or a file that is not a folder is given;
            or if there are no hints at the source.
        PhotochromError: If the source cannot be read.
    """
    if more:
        _check_single(plan, "--hint")
    if source is not None:
        if not source:
            raise UsageError("--hints has no name; give a file or a folder of hints")
        source = source.removeprefix("file://")
        files = _find_files(source)
        if files is not None:
            return _give(_give_files(plan, files), more)
        _check_single(plan, source)
        return _give(plan, _read(source) + tuple(more))
    return _give(plan, more)


def _give(plan: Plan, hints: Sequence[Hint]) -> Plan:
    """Return a plan whose jobs have further hints.

    Raises:
        PhotochromError: If a job has too many.
    """
    jobs = [
        dataclasses.replace(job, hints=check_hints(chain(job.hints, hints))) for job in plan.jobs
    ]
    return Plan(jobs, plan.results)


def _check_single(plan: Plan, source: str) -> None:
    """Check that there is one photo.

    Raises:
        UsageError: If there are several.
    """
    count = len(plan.jobs) + sum(result.status == "failed" for result in plan.results)
    if count > 1:
        raise UsageError(f"{source} is for one photo, and there are {count}; {_ADVICE}")


def _give_files(plan: Plan, files: dict[str, str]) -> Plan:
    """Return a plan whose jobs have the hints of files, by names of photos."""
    counts = Counter(job.name for job in plan.jobs)
    files = _rename(files, counts)
    wanted = [files[name] for name, count in counts.items() if name in files and count == 1]
    with ThreadPoolExecutor() as pool:  # as a store takes some time to answer
        found = dict(zip(wanted, pool.map(_try_read, wanted), strict=True))
    resolve = new_resolver()
    locations = {resolve(location) for location in files.values()}
    # Those beside the photos are listed as no photos.
    results = [r for r in plan.results if resolve(str(r.input)) not in locations]
    jobs: list[Job] = []
    for job in plan.jobs:
        location = files.get(job.name)
        hints = () if location is None else found.get(location, _ambiguous(location, job))
        if isinstance(hints, PhotochromError):
            results.append(job.failed(str(hints)))
        else:
            jobs.append(dataclasses.replace(job, hints=hints))
    return Plan(
        jobs, results + [_unused(files[name], name) for name in files if name not in counts]
    )


def _rename(files: dict[str, str], photos: Collection[str]) -> dict[str, str]:
    """Return files by names as those of photos are written.

    Accented letters may be composed in another way: systems differ in it.
    """
    composed = {unicodedata.normalize("NFC", photo): photo for photo in photos}

    def rename(name: str) -> str:
        photo = composed.get(unicodedata.normalize("NFC", name), name)
        return name if name in photos or photo in files else photo

    return {rename(name): location for name, location in files.items()}


def _ambiguous(location: str, job: Job) -> PhotochromError:
    return PhotochromError(
        f"{job.input}: the hints {location} may belong to it or to another photo called "
        f"{job.name}; colorize them separately"
    )


def _unused(location: str, name: str) -> Result:
    return ignored(location, f"these hints are not used: no photo {name} is colorized")


def _find_files(source: str) -> dict[str, str] | None:
    """Return the files of hints in a folder by the names of their photos; None for a file.

    Raises:
        UsageError: If there are none.
        PhotochromError: If the folder cannot be read.
    """
    if is_url(source):
        source = source.rstrip("/")
        kind = get_kind(source)
        names = sorted(list_files(source)) if kind == "folder" else []
        found = {name.removeprefix(f"{source}/"): name for name in names}
    else:
        folder = Path(source)
        kind = "folder" if folder.is_dir() else "file" if folder.exists() else None
        found = {}
        for entry in walk_folder(folder, (".json",)) if kind == "folder" else []:
            if entry.error is not None:
                raise PhotochromError(f"cannot read {entry.path}: {entry.error.strerror}")
            found[entry.path.relative_to(folder).as_posix()] = str(entry.path)
    if kind == "file":
        return None
    files = {
        name[: -len(FILE_SUFFIX)]: location
        for name, location in found.items()
        if is_hints_file(name) and not any(part.startswith(".") for part in name.split("/"))
    }
    if kind is None:
        raise UsageError(f"there are no hints {source}; give a file or a folder of hints")
    if not files:
        raise UsageError(f"{source} has no hints; {_ADVICE}")
    return files


def _try_read(location: str) -> tuple[Hint, ...] | PhotochromError:
    try:
        return _read(location)
    except PhotochromError as error:
        return error


def _read(location: str) -> tuple[Hint, ...]:
    """Read a file of hints.

    Raises:
        PhotochromError: If it cannot be read, or is wrong.
    """
    if not is_url(location):
        return read_hints(Path(location))
    with tempfile.TemporaryDirectory(prefix="photochrom-") as folder:
        copy = Path(folder, "hints.json")
        download(location, copy)
        try:
            return read_hints(copy)
        except PhotochromError as error:
            raise PhotochromError(str(error).replace(str(copy), location)) from None
