"""Image sequences: TIFF, PNG and DPX, one file for each frame."""

import hashlib
import itertools
import re
import shutil
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from av.video.frame import VideoFrame

from photochrom.errors import MissingVideoError, PhotoError, UsageError
from photochrom.imagefile.atomic import rename, write_atomic
from photochrom.imagefile.losses import lost_metadata
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.writing import result_warnings, save_photo
from photochrom.video.reading import dpx

SUFFIXES = (".dpx", ".png", ".tif", ".tiff")
DEFAULT_RATE = Fraction(24)
"""Frames per second."""
_MAX_RATE = 1000
_NTSC_RATES = [Fraction(rate * 1000, 1001) for rate in (24, 30, 48, 60, 120)]
"""Rates that are written with two or three decimals."""
_PLACEHOLDER = re.compile(r"%(?:0(\d\d?))?d", re.ASCII)
_NUMBERED = re.compile(r"(|[^.].*?)(\d+)(\.\w+)", re.ASCII)
"""Prefix, number and suffix of a file that is not hidden."""
EXAMPLE = "reel_%06d.tif"
_LISTED = 5


@dataclass(frozen=True)
class Pattern:
    """The names of numbered files in a folder."""

    folder: Path
    prefix: str
    digits: int
    """At least; shorter numbers begin with zeros."""
    suffix: str
    """What follows the number, with the file's suffix."""

    def __str__(self) -> str:
        """Return the path with `%06d` for a number of six digits."""
        number = f"%0{self.digits}d" if self.digits > 1 else "%d"
        return str(self.folder / f"{self.prefix}{number}{self.suffix}")

    def path(self, number: int) -> Path:
        """Return the file of a number."""
        return self.folder / f"{self.prefix}{number:0{self.digits}}{self.suffix}"

    def find_numbers(self) -> list[int]:
        """Return the numbers of existing files, ascending.

        Raises:
            OSError: If the folder cannot be read.
        """
        numbers = map(self._parse_number, self.folder.iterdir())
        return sorted(number for number in numbers if number is not None)

    def has(self, path: Path) -> bool:
        """Return whether a path is that of a number."""
        is_in_folder = path.parent.resolve() == self.folder.resolve()
        return is_in_folder and self._parse_number(path) is not None

    def _parse_number(self, path: Path) -> int | None:
        regex = f"{re.escape(self.prefix)}(\\d+){re.escape(self.suffix)}"
        match = re.fullmatch(regex, path.name, re.ASCII)
        if match is None or match[1] != f"{int(match[1]):0{self.digits}}":
            return None
        return int(match[1])


@dataclass(frozen=True)
class PictureSequence:
    """An image sequence: consecutively numbered pictures."""

    pattern: Pattern
    first: int
    """Number of the first picture."""
    count: int
    rate: Fraction
    """Pictures per second."""

    @property
    def numbers(self) -> range:
        """The numbers of all pictures."""
        return range(self.first, self.first + self.count)

    @property
    def time_base(self) -> Fraction:
        """The unit of timestamps, in seconds. Containers support those with a numerator of 1."""
        return Fraction(1, self.rate.numerator)

    def fingerprint(self) -> str:
        """Return a digest of names, sizes and times of modification of all files.

        Raises:
            OSError: If one is missing.
        """
        digest = hashlib.sha256()
        for number in self.numbers:
            path = self.pattern.path(number)
            status = path.stat()
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def decode(self, width: int, height: int, start: int | None = None) -> Iterator[VideoFrame]:
        """Read the pictures from timestamp `start` on.

        Yields:
            Frames whose `opaque` is the photo; all are keyframes.

        Raises:
            PhotoError: If a picture cannot be read, or has another size.
        """
        step = self.rate.denominator
        for number in self.numbers[(start or 0) // step :]:
            photo = self.read(number)
            if photo.size != (width, height):
                raise PhotoError(
                    f"{self.pattern.path(number)} has {photo.size[0]}x{photo.size[1]} "
                    f"px and the first picture {width}x{height}; bring all to one size"
                )
            frame = _to_frame(photo)
            frame.pts, frame.duration = (number - self.first) * step, step
            frame.time_base = self.time_base
            yield frame

    def read(self, number: int) -> Photo:
        """Return a picture.

        Raises:
            PhotoError: If it cannot be read.
        """
        path = self.pattern.path(number)
        return dpx.read(path) if _is_dpx(path) else open_photo(path)


def parse_rate(text: str) -> Fraction:
    """Return frames per second of `24`, `23.976` or `24000/1001`.

    Raises:
        UsageError: If it is not a rate, or out of range.
    """
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= _MAX_RATE:
        raise UsageError(
            f"the rate is {text!r}; give frames per second up to {_MAX_RATE}, such as 24, 23.976 "
            "or 24000/1001"
        )
    return next((ntsc for ntsc in _NTSC_RATES if abs(ntsc - rate) < Fraction(1, 200)), rate)


def parse_pattern(path: Path) -> Pattern | None:
    """Return the pattern of a path such as scan/reel_%06d.tif, None if it has no `%d`.

    Raises:
        PhotoError: If the files are neither TIFF, PNG nor DPX.
    """
    match = _PLACEHOLDER.search(path.name)
    if match is None:
        return None
    prefix, suffix = path.name[: match.start()], path.name[match.end() :]
    if Path(f"0{suffix}").suffix.lower() not in SUFFIXES:
        raise PhotoError(f"{path} has to end in {', '.join(SUFFIXES)}: numbered TIFF, PNG or DPX")
    return Pattern(path.parent, prefix, int(match[1] or 1), suffix)


def find_sequence(path: Path, rate: Fraction = DEFAULT_RATE) -> PictureSequence | None:
    """Return the sequence that a pattern or a folder names, None if the path is neither.

    Raises:
        MissingVideoError: If there is no file of the pattern.
        PhotoError: If the folder has no sequence or several, or a number is missing.
    """
    if path.is_file():
        return None
    pattern = parse_pattern(path)
    if pattern is None and not path.is_dir():
        return None
    folder = path if pattern is None else pattern.folder
    try:
        patterns = find_patterns(folder)
        if pattern is None:
            pattern = _choose_pattern(folder, patterns)
        numbers = pattern.find_numbers()
    except OSError as error:
        raise PhotoError(f"cannot read {folder}: {error.strerror or error}") from error
    if not numbers:
        others = f"; the folder has {_list(patterns)}" if patterns else ""
        raise MissingVideoError(f"there is no file {pattern}{others}")
    _check_complete(pattern, numbers)
    return PictureSequence(pattern, numbers[0], len(numbers), rate)


def find_patterns(folder: Path) -> list[Pattern]:
    """Return the patterns of the image sequences in a folder, by name.

    Raises:
        OSError: If it cannot be read.
    """
    groups = defaultdict(list)
    for file in folder.iterdir():
        match = _NUMBERED.fullmatch(file.name)
        if match and match[3].lower() in SUFFIXES:
            groups[match[1], match[3]].append(match[2])
    return [
        Pattern(folder, prefix, digits, suffix)
        for (prefix, suffix), numbers in sorted(groups.items())
        for digits in _split_by_digits(numbers)
    ]


def _split_by_digits(numbers: list[str]) -> Iterator[int]:
    """Yield the least number of digits of each sequence in numbers as they are written."""
    while numbers:
        digits = min((len(text) for text in numbers if text[0] == "0"), default=1)
        yield digits
        numbers = [text for text in numbers if text != f"{int(text):0{digits}}"]


def _choose_pattern(folder: Path, patterns: list[Pattern]) -> Pattern:
    if not patterns:
        raise PhotoError(
            f"{folder} has no image sequence ({', '.join(SUFFIXES)}); give a video, or a "
            f"pattern such as {EXAMPLE}"
        )
    if len(patterns) > 1:
        raise PhotoError(
            f"{folder} has {len(patterns)} sequences: {_list(patterns)}; give one of them"
        )
    return patterns[0]


def _list(patterns: list[Pattern]) -> str:
    more = len(patterns) - _LISTED
    names = ", ".join(Path(str(pattern)).name for pattern in patterns[:_LISTED])
    return f"{names} and {more} more" if more > 0 else names


def _check_complete(pattern: Pattern, numbers: list[int]) -> None:
    gaps = [range(a + 1, b) for a, b in pairwise(numbers) if b > a + 1]
    if not gaps:
        return
    first, last = (pattern.path(number).name for number in (gaps[0][0], gaps[0][-1]))
    gap = f"{first} is" if first == last else f"{first} to {last} are"
    more = sum(map(len, gaps[1:]))
    others = f", and {more} more" if more else ""
    raise PhotoError(f"{gap} missing in {pattern.folder}{others}; number the pictures without gaps")


def _is_dpx(path: Path) -> bool:
    return path.suffix.lower() == ".dpx"


def _to_frame(photo: Photo) -> VideoFrame:
    """Return a frame with the photo's pixels, and the photo itself in `opaque`."""
    is_grey, is_deep = photo.pixels.shape[2] == 1, photo.pixels.itemsize > 1
    name = ("gray16le" if is_deep else "gray") if is_grey else ("rgb48le" if is_deep else "rgb24")
    frame = VideoFrame.from_ndarray(photo.pixels[..., 0] if is_grey else photo.pixels, format=name)
    frame.opaque = photo
    frame.key_frame = True  # type: ignore[misc]
    return frame


@contextmanager
def open_folder(folder: Path, suffix: str) -> Iterator[Callable[[Photo], None]]:
    """Make a folder of pictures that appears under its name once it is complete.

    Several processes may make the same folder: one remains. A kill leaves a folder NAME.*.part.

    Args:
        folder: Its name.
        suffix: Of the pictures; it decides their format.

    Yields:
        A function that writes the next picture.

    Raises:
        PhotoError: If the format cannot hold a photo, or it cannot be written.
        OSError: If the folder cannot be made.
    """
    part = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.part")
    part.mkdir()
    try:
        numbers = itertools.count()
        yield lambda photo: _write_picture(photo, part / f"{next(numbers)}{suffix}")
        try:
            part.rename(folder)
        except OSError:
            if not folder.exists():  # by another process
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_picture(photo: Photo, path: Path) -> None:
    if not _is_dpx(path):
        save_photo(photo, path)
        return
    try:
        write_atomic(path, dpx.encode(photo), overwrite=False)
    except OSError as error:
        raise PhotoError(f"cannot write {path}: {error.strerror or error}") from error


def find_warnings(source: PictureSequence, target: Pattern | None) -> list[str]:
    """Return what of the first picture is not kept in pictures or in a video, each a phrase.

    Raises:
        PhotoError: If it cannot be read.
    """
    photo = source.read(source.first)
    if target is None:
        return list(photo.warnings)
    if _is_dpx(target.path(0)):
        return [*photo.warnings, *lost_metadata(photo.metadata, dpx.FORMAT)]
    return result_warnings(photo, target.path(0))


def check_output(pattern: Pattern, source: PictureSequence | None, *, overwrite: bool) -> None:
    """Check that a sequence can be written without replacing other pictures.

    Args:
        pattern: Of the output.
        source: The sequence that is colorized; None: a video, whose length is not known yet.
        overwrite: Whether existing files may be replaced, except those of the source.

    Raises:
        PhotoError: If the output is the source, a picture exists and `overwrite` is not set, or the
            first picture has transparency, which a DPX cannot hold.
        OSError: If the folder cannot be read.
    """
    if source is not None and _is_dpx(pattern.path(0)):
        first = source.pattern.path(source.first)
        if source.read(source.first).alpha is not None:
            raise PhotoError(
                f"{first} has transparency, which a DPX cannot hold; write .tif or .png"
            )
    if not pattern.folder.exists():
        return
    if not pattern.folder.is_dir():
        raise PhotoError(f"{pattern.folder} is not a folder; choose another output")
    existing = pattern.find_numbers()
    if source is not None:
        existing = [number for number in existing if number in source.numbers]
        if any(pattern.path(n).samefile(source.pattern.path(n)) for n in existing):
            raise PhotoError(f"{pattern} is the source itself; choose another output")
    if existing and not overwrite:
        raise _exists_error(pattern.path(existing[0]))


def _exists_error(path: Path) -> PhotoError:
    return PhotoError(f"{path} exists already; use --overwrite, or choose another output")


def move_into_place(
    folders: Iterable[tuple[Path, int]],
    pattern: Pattern,
    first: int,
    *,
    overwrite: bool,
    keep: bool,
) -> None:
    """Give the pictures of consecutive folders their names; after a kill, the rest of them.

    Args:
        folders: As of `open_folder`, with the number of pictures each had; on the file system of
            the output.
        pattern: Of the output.
        first: Number of the first picture.
        overwrite: Whether existing files may be replaced.
        keep: Whether the pictures remain in their folders, as links if the file system has them.

    Raises:
        PhotoError: If a file exists and `overwrite` is not set, or a picture is missing.
        OSError: If a picture cannot be moved.
    """
    suffix = pattern.path(0).suffix.lower()
    pictures = (folder / f"{index}{suffix}" for folder, count in folders for index in range(count))
    for number, picture in enumerate(pictures, first):
        target = pattern.path(number)
        if picture.exists():
            _move(_copy(picture) if keep else picture, target, overwrite)
        elif not target.exists():
            raise PhotoError(f"{picture} is missing; start again with --restart")


def _move(picture: Path, target: Path, overwrite: bool) -> None:
    try:
        rename(picture, target, overwrite=overwrite)
    except FileExistsError as error:
        raise _exists_error(target) from error
    picture.unlink(missing_ok=True)


def _copy(picture: Path) -> Path:
    """Return a second name or a copy of a picture in its folder."""
    copy = picture.with_suffix(".copy")
    copy.unlink(missing_ok=True)
    try:
        copy.hardlink_to(picture)
    except OSError:  # a file system without hard links
        shutil.copyfile(picture, copy)
    return copy
