"""What there is to do in an archive: photos at paths or URLs, and where their results go."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from photochrom.batch.planning import beside, ends_as_photo, find_photos, plan, renamed
from photochrom.batch.ray.storage import (
    is_url,
    kind_of,
    listed,
    matcher_of,
    stamp,
    without_file_scheme,
)
from photochrom.errors import PhotochromError


@dataclass(frozen=True)
class Task:
    """One photo and where its result goes, each a path or a URL."""

    input: str
    output: str
    before: str | None = None
    """The stamp of a result that was there when this was planned."""


@dataclass(frozen=True)
class _Seen:
    """What lies in the folders of a store that were listed."""

    stamps: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    def look_into(self, folder: str) -> dict[str, str]:
        names = listed(folder)
        self.stamps.update(names)
        self.folders.append(f"{folder}/")
        return names

    def stamp_of(self, place: str) -> str | None:
        """Return the stamp of what lies at a place, without asking where it must have been seen."""
        if place in self.stamps or any(map(place.startswith, self.folders)):
            return self.stamps.get(place)
        return stamp(place)


def open_tasks(tasks: Iterable[Task], done: set[tuple[str, str]]) -> list[Task]:
    """Leave out what a report says is done, if the results were there when this was planned."""
    return [e for e in tasks if (e.input, e.output) not in done or e.before is None]


@dataclass(frozen=True)
class _Item:
    """One photo, and its place under the folder that was named."""

    name: str
    place: str


def plan_tasks(inputs: Sequence[str], out: str | None = None) -> list[Task]:
    """Find the photos and decide where their results go, by the rules of `plan`.

    Args:
        inputs: Files, folders or patterns, each a path or a URL.
        out: A folder, as a path or a URL; None: beside the photos.

    Returns:
        One task for each photo, in the order of the inputs, then by name.

    Raises:
        PhotochromError: As `plan`, or if a store refuses.
    """
    inputs = [without_file_scheme(text) for text in inputs]
    out = None if out is None else without_file_scheme(out)
    for place in filter(is_url, [*inputs, out or ""]):
        if not place.partition("://")[2].strip("/"):
            raise PhotochromError(f"{place} names no bucket; give one, and a folder in it")
    out = out and (out.rstrip("/") or out)
    if not any(map(is_url, [*inputs, out or ""])):
        jobs = plan(inputs, None if out is None else Path(out))
        return [Task(str(j.input), str(j.output), stamp(str(j.output))) for j in jobs]
    if out is not None and is_url(out) and ends_as_photo(PurePosixPath(out)):
        raise PhotochromError(f"{out} is named like a file; give a folder for the results")
    seen = _Seen()
    found: dict[str, _Item] = {}
    for text in inputs:
        for item in _objects(text, out, seen) if is_url(text) else _files(text, out):
            identity = item.name if is_url(item.name) else str(Path(item.name).resolve())
            found.setdefault(identity, item)
    own = {_beside(identity) for identity in found}
    pairs = [
        (item.name, _beside(item.name) if out is None else _below(out, item))
        for identity, item in found.items()
        if identity not in own
    ]
    _check(pairs)
    if out is not None and is_url(out):
        seen.look_into(out)
    return [Task(*pair, seen.stamp_of(pair[1])) for pair in pairs]


def _files(text: str, out: str | None) -> Iterator[_Item]:
    try:
        for found in find_photos(text, None if out is None or is_url(out) else Path(out)):
            yield _Item(str(found.file), found.place.as_posix())
    except OSError as error:
        reason = error.strerror or error
        raise PhotochromError(f"cannot look into {error.filename}: {reason}") from error


def _objects(url: str, out: str | None, seen: _Seen) -> Iterator[_Item]:
    """Find the photos that a URL means, and keep what was seen on the way."""
    url = url.rstrip("/")
    if glob.has_magic(url.partition("://")[2].partition("/")[0]):
        raise PhotochromError(f"{url} is a pattern of buckets; name the bucket")
    kind = kind_of(url)
    if kind == "file":
        yield _Item(url, url.rpartition("/")[2])
        return
    pattern = kind is None and glob.has_magic(url)
    if kind is None and not pattern:
        raise PhotochromError(f"there is no file or folder {url}")
    folder = _fixed(url) if pattern else url
    names = seen.look_into(folder)
    matching = matcher_of(url) if pattern else None
    photos = 0
    for name in sorted(names):
        place = name.removeprefix(f"{folder}/")
        hidden = any(part.startswith(".") for part in place.split("/"))
        result = out is not None and out.startswith(f"{folder}/") and name.startswith(f"{out}/")
        if hidden or result or not ends_as_photo(PurePosixPath(place)):
            continue
        if matching is None or any(map(matching.fullmatch, _with_parents(name, folder))):
            photos += 1
            yield _Item(name, place)
    if not photos:
        reason = f"no photo matches {url}" if pattern else f"{url} has no photo"
        raise PhotochromError(reason)


def _fixed(url: str) -> str:
    """Return the folder that a pattern's fixed parts name."""
    scheme, _, rest = url.partition("://")
    parts = rest.split("/")
    count = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return f"{scheme}://{'/'.join(parts[:count])}"


def _with_parents(name: str, folder: str) -> Iterator[str]:
    """Return a name and the folders that it lies in, as a pattern may mean one of these."""
    while len(name) > len(folder):
        yield name
        name = name.rpartition("/")[0]


def _beside(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{beside(PurePosixPath(last))}"


def _below(out: str, item: _Item) -> str:
    """Return where in `out` a result goes.

    Raises:
        PhotochromError: If `out` is a folder here, and the photo's name would lead out of it or is
            none that a file can have: in an object store every name is allowed.
    """
    folder, slash, last = item.place.rpartition("/")
    if not is_url(out) and not {"", ".", ".."}.isdisjoint(item.place.split("/")):
        raise PhotochromError(
            f"{item.name} cannot keep its name as a file under {out}; rename it, or give the URL "
            "of an object store for the results"
        )
    return f"{out.rstrip('/')}/{folder}{slash}{renamed(PurePosixPath(last))}"


def _check(pairs: Iterable[tuple[str, str]]) -> None:
    """Refuse a plan in which one file would be lost to another."""
    pairs = list(pairs)
    outputs: dict[str, str] = {}
    for input_, output in pairs:
        other = outputs.setdefault(_identity(output), input_)
        if other is not input_:
            raise PhotochromError(
                f"{other} and {input_} would both become {output}; rename one or colorize them "
                "apart"
            )
    for input_, _ in pairs:
        if _identity(input_) in outputs:
            raise PhotochromError(
                f"{input_} is an input and would be replaced by a result; give another folder for "
                "the results"
            )


def _identity(place: str) -> str:
    return place if is_url(place) else str(Path(place).resolve())
