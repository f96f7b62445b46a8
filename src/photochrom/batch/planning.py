"""Decide which photos a batch colorizes and where each output goes."""

import glob
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from photochrom.batch.folders import SUFFIXES, has_photo_suffix, walk_photos
from photochrom.errors import PhotochromError
from photochrom.imagefile.formats import FORMATS, RAW_SUFFIXES, READ_ONLY
from photochrom.imagefile.heif_items import needs_png

OUTPUT_MARK = "-color"
"""Appended to the stem of an output that is written beside its photo."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_ADDED_SUFFIXES = {
    **dict.fromkeys(FORMATS, ""),
    **READ_ONLY,
    **dict.fromkeys(RAW_SUFFIXES, ".tif"),
}
"""Suffixes of photos to what their outputs append to it. All others append .png."""


@dataclass(frozen=True)
class Job:
    """One photo and its output."""

    input: Path
    output: Path

    def has_output(self) -> bool:
        """Return whether the output exists."""
        return self.output.exists()


@dataclass(frozen=True)
class FoundPhoto:
    """A photo named by an input."""

    location: str
    """A path or a URL."""
    relative: str
    """The path below the folder that was given, with forward slashes."""


def plan(inputs: Sequence[str], out: Path | None = None) -> list[Job]:
    """Find photos and decide where their outputs go.

    An input is a file, a folder (all photos below it, except hidden ones) or a pattern with `*`,
    `?`, `[...]` or `**`. Outputs of earlier runs are skipped: NAME-color.EXT if the photo NAME.EXT
    is an input as well, and everything in `out` for folders and patterns.

    Args:
        inputs: Paths and patterns.
        out: Folder for the outputs, created if needed. A photo keeps its name and its path below
            the folder that was given. None: beside the photo, as NAME-color.EXT.

    Returns:
        One job per photo, in the order of the inputs, then by name.

    Raises:
        PhotochromError: If an input does not exist, cannot be read or has no photo, if two photos
            would have the same output, if an output would replace an input, or if `out` is a file.
    """
    pairs = plan_outputs(inputs, None if out is None else str(out), find_on_disk)
    return [Job(Path(photo), Path(output)) for photo, output in pairs]


def plan_outputs(
    inputs: Sequence[str],
    out: str | None,
    find: Callable[[str, str | None], Iterable[FoundPhoto]],
) -> list[tuple[str, str]]:
    """Return pairs of photo and output, by the rules of `plan`, for paths and URLs.

    `find` returns the photos that one input names, without those in `out`.

    Raises:
        PhotochromError: As `plan`.
    """
    if out is not None and (
        Path(out).is_file() or (has_photo_suffix(out) and not Path(out).is_dir())
    ):
        raise PhotochromError(
            f"{out} is a file or named like a file; give a folder for the results"
        )
    photos: dict[str, FoundPhoto] = {}
    for text in inputs:
        try:
            found = list(find(text, out))
        except OSError as error:
            reason = error.strerror or error
            raise PhotochromError(f"cannot read {error.filename or text}: {reason}") from error
        if not found and glob.has_magic(text):
            raise PhotochromError(f"no photo matches {text}")
        if not found:
            raise PhotochromError(f"{text} has no photo ({', '.join(sorted(SUFFIXES))})")
        for photo in found:
            photos.setdefault(_resolve(photo.location), photo)
    earlier_outputs = {_resolve(_beside(photo.location)) for photo in photos.values()}
    pairs = [
        (photo.location, _beside(photo.location) if out is None else _below(out, photo))
        for resolved, photo in photos.items()
        if resolved not in earlier_outputs
    ]
    _check_collisions(pairs)
    return pairs


def find_on_disk(text: str, out: str | None) -> Iterator[FoundPhoto]:
    """Yield the photos that a path or a pattern names, without those in `out`.

    Raises:
        PhotochromError: If the path does not exist.
        OSError: If a folder cannot be read.
    """
    path = Path(text)
    if path.is_file():
        yield FoundPhoto(str(path), path.name)
        return
    if path.is_dir():
        root, matches = path, [path]
    elif path.exists():
        raise PhotochromError(f"{text} is neither a file nor a folder; give photos")
    elif glob.has_magic(text):
        parts = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        root = Path(*parts)
        # Path.glob takes no absolute patterns.
        matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207
    else:
        raise PhotochromError(f"there is no file or folder {text}")
    outputs = None if out is None or is_url(out) else Path(out).resolve()
    if outputs is not None and root.resolve() not in outputs.parents:
        outputs = None  # a folder that contains the photos does not make them outputs
    for match in matches:
        is_photo = has_photo_suffix(match) and match.is_file()
        for file in walk_photos(match) if match.is_dir() else [match] * is_photo:
            if outputs is None or outputs not in file.resolve().parents:
                yield FoundPhoto(str(file), file.relative_to(root).as_posix())


def is_url(location: str) -> bool:
    """Return whether a location is a URL, not a path."""
    return bool(_URL.match(location))


def output_name(name: str, mark: str = "", *, as_png: bool = False) -> str:
    """Return the file name of an output, in a format that can be written.

    Photos of other formats keep their suffix before that of the output, as NAME.jp2.png, so that
    the name depends on the photo alone and no other photo in its folder has the same output.

    Args:
        name: The file name of the photo.
        mark: Appended to the stem.
        as_png: Whether a suffix that can be written becomes .png all the same.
    """
    path = PurePath(name)
    added = _ADDED_SUFFIXES.get(path.suffix.lower(), ".png") or ".png" * as_png
    return f"{name}{mark}{added}" if added else f"{path.stem}{mark}{path.suffix}"


def becomes_png(location: str) -> bool:
    """Return whether a photo becomes a PNG although its suffix can be written.

    Only AVIFs on the disk are opened.
    """
    is_avif = location.lower().endswith(".avif") and not is_url(location)
    return is_avif and needs_png(Path(location))


def _resolve(location: str) -> str:
    return location if is_url(location) else str(Path(location).resolve())


def _beside(location: str) -> str:
    name = PurePath(location).name
    output = output_name(name, OUTPUT_MARK, as_png=becomes_png(location))
    return location.removesuffix(name) + output


def _below(out: str, photo: FoundPhoto) -> str:
    """Return the output of a photo in `out`.

    Raises:
        PhotochromError: If the name is not a path below a local folder. An object store allows
            every name.
    """
    if not is_url(out) and not {"", ".", ".."}.isdisjoint(photo.relative.split("/")):
        raise PhotochromError(
            f"{photo.location} cannot keep its name as a file under {out}; rename it, or give the "
            "URL of an object store for the results"
        )
    folder, slash, name = photo.relative.rpartition("/")
    output = output_name(name, as_png=becomes_png(photo.location))
    return f"{out.rstrip('/')}/{folder}{slash}{output}"


def _check_collisions(pairs: Iterable[tuple[str, str]]) -> None:
    """Check that no output replaces another output or a photo."""
    photos_by_output: dict[str, str] = {}
    for photo, output in pairs:
        other = photos_by_output.setdefault(_resolve(output), photo)
        if other != photo:
            raise PhotochromError(
                f"{other} and {photo} would both become {output}; rename one or colorize them "
                "separately"
            )
    for photo, _ in pairs:
        if _resolve(photo) in photos_by_output:
            raise PhotochromError(
                f"{photo} is an input and would be replaced by a result; give another folder for "
                "the results"
            )
