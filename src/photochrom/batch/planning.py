"""Decide which photos a batch colorizes and where each output goes."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from photochrom.batch.clashes import find_clashes
from photochrom.batch.folders import has_photo_suffix
from photochrom.batch.inputs import FoundPhoto, Stores, find_on_disk
from photochrom.batch.locations import is_read_only, is_url, new_resolver, parse_location
from photochrom.batch.report import (
    FileVersion,
    Result,
    failed,
    ignored,
    is_unchanged,
    read_version,
    unreadable,
)
from photochrom.colorize.hints import Hint
from photochrom.errors import ErrorCode, PhotochromError, UsageError
from photochrom.file_names import is_refused
from photochrom.imagefile.formats import FORMATS, RAW_SUFFIXES, READ_ONLY

STEM_SUFFIX = "-color"
"""Appended to the stem of an output that is written beside its photo."""

_ADDED_SUFFIXES = {
    **dict.fromkeys(FORMATS, ""),
    **READ_ONLY,
    **dict.fromkeys(RAW_SUFFIXES, ".tif"),
}
"""Suffixes of photos to what their outputs append to it. All others append .png."""
OUTPUT_FORMATS = {"jpeg": ".jpg"}
"""Formats that all outputs may have, to what names of photos of other formats append."""


@dataclass(frozen=True)
class Job:
    """One photo and its output, each a path, or a URL as a string."""

    input: Path | str
    output: Path | str
    replaces: FileVersion | str | None = None
    """An earlier version of the output that may be replaced."""
    name: str = ""
    """Of the photo: its path below the folder that was given, with forward slashes."""
    hints: tuple[Hint, ...] = ()
    """Of the first page."""
    input_version: str | None = None
    """Of a photo at a URL, when the batch was planned."""
    output_version: FileVersion | str | None = None
    """Of an output at a URL, when the batch was planned; None if there was none."""

    def has_output(self) -> bool:
        """Return whether the output exists; at a URL, whether it did at planning."""
        if isinstance(self.output, Path):
            return os.path.exists(self.output)  # noqa: PTH110 (does not raise for a long name)
        return bool(self.output_version)

    def read_input_version(self, checksum: bool = False) -> FileVersion | str | None:
        """Return the version of the photo, None if it cannot be read; at a URL, at planning."""
        if isinstance(self.input, Path):
            return read_version(self.input, checksum=checksum)
        return self.input_version

    def is_input(self, version: FileVersion | str, checksum: bool = False) -> bool:
        """Return whether the photo is as it was; at a URL, at planning, whatever `checksum`."""
        if isinstance(self.input, Path):
            return is_unchanged(self.input, version, checksum=checksum)
        return self.input_version == version

    def is_output(self, version: FileVersion | str, checksum: bool = False) -> bool:
        """Return whether the output is as it was; at a URL, at planning, whatever `checksum`."""
        if isinstance(self.output, Path):
            return is_unchanged(self.output, version, checksum=checksum)
        return self.output_version == version

    def failed(self, error: str, code: ErrorCode | None = None) -> Result:
        """Return the result of a photo that cannot be colorized."""
        return Result(
            self.input,
            self.output,
            "failed",
            0.0,
            error=error,
            hints=self.hints,
            error_code=code,
        )

    def is_outdated(self) -> bool:
        """Return whether the photo is newer than its output; not known of URLs."""
        if isinstance(self.input, str) or isinstance(self.output, str):
            return False
        photo, output = read_version(self.input), read_version(self.output)
        return photo is not None and output is not None and photo.mtime_ns > output.mtime_ns


@dataclass(frozen=True)
class Plan:
    """What a batch does."""

    jobs: list[Job]
    """One per photo, in the order of the inputs, then by name."""
    results: list[Result]
    """Of what is not colorized: ignored files, folders that cannot be read, clashes of names."""


def plan(
    inputs: Sequence[str], out: Path | str | None = None, *, format: str | None = None
) -> Plan:
    """Find photos and decide where their outputs go.

    An input is a file, a folder (all photos below it, except hidden ones) or a pattern with `*`,
    `?`, `[...]` or `**`, at a path or a URL. Outputs of earlier runs are skipped: NAME-color.EXT if
    the photo NAME.EXT is an input as well, and everything in `out` for folders and patterns. Each
    path is a photo of its own, even if it is a link to another.

    Args:
        inputs: Paths, URLs and patterns.
        out: Folder for the outputs, created if needed, or a URL. A photo keeps its name and its
            path below the folder that was given. None: beside the photo, as NAME-color.EXT.
        format: Of the outputs, a key of `OUTPUT_FORMATS`; None: that of each photo.

    Returns:
        The jobs, and results of what is not colorized. Photos fail that cannot be read, that would
        have the same output, or whose output would replace an input. Files in folders that are not
        named like photos are ignored.

    Raises:
        UsageError: If an input does not exist or has no photo, or if `out` is a file.
        PhotochromError: If a request to a store fails.
    """
    inputs = [text.removeprefix("file://") for text in inputs]
    if "" in inputs:
        raise UsageError("an input is empty; give a photo, or . for the current folder")
    if out is not None:
        out = str(out).removeprefix("file://")
        out = out.rstrip("/") if is_url(out) else out
        if not out:
            raise UsageError("the name of the folder for the results is empty; give one, such as .")
        if Path(out).is_file() or (has_photo_suffix(out) and not Path(out).is_dir()):
            raise UsageError(f"{out} is a file or named like a file; give a folder for the results")
    for location in filter(is_url, [*inputs, out or ""]):
        if not location.partition("://")[2].strip("/"):
            raise UsageError(f"{location} names no bucket; give one, and a folder in it")
    if any(map(is_read_only, inputs if out is None else [out])):
        raise UsageError("http:// and https:// are only read; give a folder or a store by --out")
    stores = Stores()
    found = _find(inputs, out, stores)
    pairs, results = _plan_outputs(found, out, format)
    if out is not None and is_url(out) and pairs:
        stores.list_folder(out)
    jobs = [
        Job(
            parse_location(photo.location),
            parse_location(output),
            name=photo.relative,
            input_version=stores.get_version(photo.location),
            output_version=stores.get_version(output),
        )
        for photo, output in pairs
    ]
    return Plan(jobs, results)


def _find(inputs: Sequence[str], out: str | None, stores: Stores) -> dict[str, FoundPhoto | Result]:
    """Return what inputs name by resolved locations: photos, and results of what is none.

    Raises:
        UsageError: If an input does not exist or has no photo.
        PhotochromError: If a request to a store fails.
    """
    resolve = new_resolver()
    found: dict[str, FoundPhoto | Result] = {}
    for text in inputs:
        for item in _find_some(text, out, stores):
            key = resolve(str(item.input) if isinstance(item, Result) else item.location)
            # Each once, but what a folder ignores may be given by name as well.
            if key not in found or isinstance(found[key], Result):
                found[key] = item
    return found


def _plan_outputs(
    found: dict[str, FoundPhoto | Result], out: str | None, format: str | None
) -> tuple[list[tuple[FoundPhoto, str]], list[Result]]:
    """Return pairs of photo and output, and other results, by the rules of `plan`."""
    resolve = new_resolver()
    photos = {key: item for key, item in found.items() if isinstance(item, FoundPhoto)}
    results = [item for item in found.values() if isinstance(item, Result)]
    as_png = {key: becomes_png(photo.location) for key, photo in photos.items()}
    sources = {
        resolve(_beside(photo.location, as_png[key], name)): photo.location
        for key, photo in photos.items()
        for name in (None, *OUTPUT_FORMATS)
    }
    pairs = []
    for key, photo in photos.items():
        if key in sources:
            if out is not None:  # otherwise it is the output in the result of its photo
                reason = f"it is named like a result of {sources[key]}; colorize it on its own"
                results.append(ignored(photo.location, reason))
            continue
        try:
            if out is None:
                output = _beside(photo.location, as_png[key], format)
            else:
                output = _below(out, photo, as_png[key], format)
        except PhotochromError as error:
            results.append(failed(photo.location, str(error)))
        else:
            pairs.append((photo, output))
    clashes = find_clashes([(photo.location, output) for photo, output in pairs], resolve)
    results += [
        failed(photo.location, clashes[photo.location], output)
        for photo, output in pairs
        if photo.location in clashes
    ]
    return [pair for pair in pairs if pair[0].location not in clashes], results


def _find_some(text: str, out: str | None, stores: Stores) -> list[FoundPhoto | Result]:
    """Return what an input names, at least one photo or a reason why there is none.

    Raises:
        UsageError: If there is nothing, or nothing that is named like a photo.
        PhotochromError: If a request to a store fails.
    """
    find = stores.find if is_url(text) else find_on_disk
    try:
        found = list(find(text, out))
    except OSError as error:
        return [unreadable(Path(text), error)]
    if all(isinstance(item, Result) and item.status == "ignored" for item in found):
        start = f"no photo matches {text}" if glob.has_magic(text) else f"{text} has no photo"
        advice = "; give files without the suffix of a photo by name" if found else ""
        raise UsageError(start + advice)
    return found


def output_name(
    name: str, stem_suffix: str = "", *, as_png: bool = False, format: str | None = None
) -> str:
    """Return the file name of an output, in a format that can be written.

    Photos of other formats keep their suffix before that of the output, as NAME.jp2.png, so that
    the name depends on the photo alone and no other photo in its folder has the same output.

    Args:
        name: The file name of the photo.
        stem_suffix: Appended to the stem.
        as_png: Whether a suffix that can be written becomes .png all the same.
        format: As of `plan`.
    """
    path = PurePath(name)
    suffix = path.suffix.lower()
    if format is None:
        added = _ADDED_SUFFIXES.get(suffix, ".png") or ".png" * as_png
    else:
        added = OUTPUT_FORMATS[format]
        if FORMATS.get(suffix) == FORMATS[added]:
            added = ""
    return f"{name}{stem_suffix}{added}" if added else f"{path.stem}{stem_suffix}{path.suffix}"


def becomes_png(location: str) -> bool:
    """Return whether a photo becomes a PNG although its suffix can be written.

    Only AVIFs and JPEGs on the disk are opened.
    """
    format_ = FORMATS.get(PurePath(location).suffix.lower())
    if is_url(location) or format_ not in ("AVIF", "JPEG"):
        return False
    if format_ == "AVIF":
        from photochrom.imagefile.codecs.heif_items import needs_png
    else:
        from photochrom.imagefile.jpeg.deep import needs_png
    return needs_png(Path(location))


def _beside(location: str, as_png: bool, format: str | None) -> str:
    name = PurePath(location).name
    output = output_name(name, STEM_SUFFIX, as_png=as_png, format=format)
    return location.removesuffix(name) + output


def _below(out: str, photo: FoundPhoto, as_png: bool, format: str | None) -> str:
    """Return the output of a photo in `out`.

    Raises:
        PhotochromError: If the name is not a path below a local folder. An object store allows
            every name.
    """
    if not is_url(out) and any(map(is_refused, photo.relative.split("/"))):
        raise PhotochromError(
            f"{photo.location} cannot keep its name as a file under {out}; rename it, or give the "
            "URL of an object store for the results"
        )
    folder, slash, name = photo.relative.rpartition("/")
    return f"{out.rstrip('/')}/{folder}{slash}{output_name(name, as_png=as_png, format=format)}"
