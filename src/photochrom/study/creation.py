"""From photos and models to a study in a folder, whose pictures do not say which is which."""

import contextlib
import dataclasses
import hashlib
import os
import random
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photochrom import color
from photochrom.colorize.colorizer import Colorizer
from photochrom.errors import DataError, ModelError, PhotochromError, PhotoError
from photochrom.imagefile.photo import Photo, to_8_bits
from photochrom.imagefile.reading import open_photo
from photochrom.progress import progress_bar
from photochrom.study.design import (
    ANSWERS,
    OBVIOUS,
    PICTURES,
    REAL,
    Item,
    Protocol,
    Study,
    save_study,
)
from photochrom.study.store import Store
from photochrom.study.trials import easy_photos, most_tests
from photochrom.training.data.prepare import find_photos, mean_chroma

MOST = 100
"""Photos that are drawn of each kind if nothing else is asked for."""
DEFAULT = "default"
"""Stands for the model that comes with photochrom."""
MIN_CHROMA = 4.0
"""A photo with less mean chroma, in CIELAB units, is no colour photo."""
CONSENT = """\
You will see photographs. Some are as the camera took them; of others a program has guessed the \
colours. You are asked which is which, or which of two looks better.

Taking part is voluntary, and you can stop at any time by closing this page; what you answered up \
to then is kept.

What is kept: your answers, how long they took, and when you took part, under a random number. \
Your browser holds that number in a cookie, so that you can go on after an interruption. Nothing \
else about you is asked for or stored, neither your name nor your address on the network."""

_OBVIOUS_CHROMA = 30.0  # mean, before colours that sRGB lacks lose some


Pixels8 = NDArray[np.uint8]
Look = Callable[[Pixels8], Pixels8]


@dataclass(frozen=True)
class Made:
    """What became of the photos that were given."""

    study: Study
    left_out: Counter[str]
    """Photos not used, by why: `unreadable`, `near-grey`, `transparent`, `given twice`."""


@dataclass(frozen=True, eq=False)
class _Drawn:
    """One photo, ready to be shown."""

    name: str
    pixels: Pixels8
    """Shape (H, W, 3), sRGB."""
    chroma: float


def make_study(
    folder: Path,
    *,
    real: Sequence[Path] = (),
    models: Sequence[str],
    protocols: Sequence[Protocol] = ("pair",),
    historic: Sequence[Path] = (),
    title: str = "Real or generated?",
    consent: str = CONSENT,
    count: int | None = None,
    seed: int = 0,
    size: int = 256,
    trials: int = 40,
    practice: int = 10,
    checks: int = 4,
    seconds: float = 1.0,
    allowed_misses: int = 1,
    least_trials: int = 10,
) -> Made:
    """Make a study: draw photos, colorize them, and write pictures and key.

    Photos are shrunk, and colorized from their L* alone. Those with the strongest colours are set
    apart for practice and checks, as many as one person needs.

    Args:
        folder: Where; it must not exist.
        real: Folders of colour photos; without any, only `historic` are shown.
        models: ONNX files, or `default` for the model that comes with photochrom.
        protocols: How people are asked about `real`.
        historic: Folders of photos of which nobody knows the colours; they add `preference`.
        title: For people.
        consent: What people agree to, in paragraphs with an empty line between.
        count: How many photos are drawn, of each kind; None: all, and 100 at most.
        seed: Decides which; the rest of chance is not to be known.
        size: Short side of the pictures in px; smaller photos keep theirs.
        trials: As in `Study`, and so is what follows.
        practice: As in `Study`.
        checks: As in `Study`.
        seconds: As in `Study`.
        allowed_misses: As in `Study`.
        least_trials: As in `Study`.

    Raises:
        DataError: If the folder exists, or the photos are none or too few.
        ModelError: If a model cannot be loaded, or two have the same name.
        PhotochromError: If an option is out of range.
    """
    _check_numbers(
        ("count", 1 if count is None else count, 1, 100_000),
        ("size", size, 16, 4096),
        ("trials", trials, 1, 1000),
        ("practice", practice, 0, 100),
        ("checks", checks, 0, 100),
        ("seconds", seconds, 0.05, 60),
        ("allowed misses", allowed_misses, 0, 100),
        ("least trials", least_trials, 0, 1000),
    )
    if not (real or historic):
        raise DataError("there are no photos; give a folder with --real, or --historic, or both")
    for name, text in (("title", title), ("consent", consent)):
        if not text.strip():
            raise PhotochromError(f"the {name} is empty; leave it out or write something")
    if os.path.lexists(folder):
        raise DataError(f"{folder} exists already; give a new folder")
    colorizers = _colorizers(models, at_least=2 if historic else 1)
    asked: tuple[Protocol, ...] = tuple(dict.fromkeys(protocols)) if real else ()
    asked += ("preference",) if historic else ()
    if not real:
        practice = checks = 0
    created = datetime.now(UTC)
    left_out: Counter[str] = Counter()
    with _building(folder) as place:
        (place / PICTURES).mkdir()
        photos = list(_drawn(real, count, seed, size, left_out, in_colour=True)) if real else []
        easy = _most_colourful(photos, easy_photos(asked, practice, checks), left_out)
        items = [
            _item(photo, {OBVIOUS: _spoilt} if photo in easy else colorizers, place, real=True)
            for photo in progress_bar(photos, "colorizing", unit="photo")
        ]
        if historic:
            old = _drawn(historic, count, seed, size, left_out, in_colour=False)
            items += [_item(photo, colorizers, place, real=False) for photo in old]
        study = Study(
            title=title,
            consent=consent,
            created=created.isoformat(timespec="seconds"),
            protocols=asked,
            systems=tuple(colorizers),
            items=tuple(items),
            trials=trials,
            practice=practice,
            checks=checks,
            seconds=seconds,
            allowed_misses=allowed_misses,
            least_trials=least_trials,
        )
        if most_tests(study) < least_trials:
            raise DataError(
                f"nobody could answer {least_trials} tests, the least that count, as there are "
                f"{most_tests(study)} for one person{_why(left_out)}; give more photos, or ask for "
                "fewer with --least-trials"
            )
        save_study(study, place)
        Store(place / ANSWERS).close()
        for file in (place / PICTURES).iterdir():
            os.utime(file, (created.timestamp(),) * 2)
    return Made(study, left_out)


def _check_numbers(*numbers: tuple[str, float, float, float]) -> None:
    for name, value, least, most in numbers:
        if not least <= value <= most:
            raise PhotochromError(f"{name} is {value}; it has to be from {least} to {most}")


def _colorizers(models: Sequence[str], *, at_least: int) -> dict[str, Look]:
    """Load the models.

    Returns:
        By name, what turns a photo's pixels into those of the generated one.

    Raises:
        ModelError: If there are too few, or names that cannot be told apart.
    """
    if len(models) < at_least:
        raise ModelError(
            "historic photos show two models side by side; give --model twice or more"
            if at_least > 1
            else "there is no model; give an ONNX file, or default, with --model"
        )
    looks: dict[str, Look] = {}
    for model in models:
        colorizer = Colorizer(None if model == DEFAULT else model)
        name = DEFAULT if model == DEFAULT else colorizer.model.name  # as `evaluate` calls it
        if name in looks or name in (REAL, OBVIOUS):
            raise ModelError(
                f"model {model} is called {name!r}, as is another of this study; export it under "
                "another name"
            )
        looks[name] = partial(_colorized, colorizer)
    return looks


def _colorized(colorizer: Colorizer, pixels: Pixels8) -> Pixels8:
    return to_8_bits(colorizer(Photo(pixels)).pixels)


def _unchanged(pixels: Pixels8) -> Pixels8:
    return pixels


def _spoilt(pixels: Pixels8) -> Pixels8:
    """Return a photo whose hues are turned round, and stronger."""
    lab = color.rgb_to_lab(pixels.astype(np.float32) / np.float32(255))
    lab[..., 1:] *= -max(2, _OBVIOUS_CHROMA / mean_chroma(pixels))
    return np.round(color.lab_to_rgb(lab) * 255).astype(np.uint8)


@contextlib.contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """Give a hidden folder to build in, which becomes `folder`, or vanishes on an error."""
    place = folder.absolute().with_name(f".photochrom-{secrets.token_hex(8)}.tmp")
    place.mkdir(parents=True)
    try:
        yield place
        place.rename(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _drawn(
    sources: Sequence[Path],
    count: int | None,
    seed: int,
    size: int,
    left_out: Counter[str],
    *,
    in_colour: bool,
) -> Iterator[_Drawn]:
    """Draw photos until there are enough, and count those that cannot be used.

    Raises:
        DataError: If none can be, or fewer than were asked for.
    """
    found = find_photos(sources)
    names = sorted(found)
    random.Random(seed).shuffle(names)
    wanted = min(count or MOST, len(names))
    seen: set[bytes] = set()
    dropped: Counter[str] = Counter()
    for name in progress_bar(names, "reading", unit="photo"):
        if len(seen) == wanted:
            break
        photo = _load(name, found[name], size)
        if isinstance(photo, str):
            dropped[photo] += 1
        elif in_colour and photo.chroma < MIN_CHROMA:
            dropped["near-grey"] += 1
        elif (digest := hashlib.sha256(photo.pixels.data).digest()) in seen:
            dropped["given twice"] += 1
        else:
            seen.add(digest)
            yield photo
    left_out += dropped
    if len(seen) < (count or 1):
        raise DataError(
            f"{count or 'some'} photos were asked for and {len(seen)} of {len(names)} in "
            f"{', '.join(map(str, sources))} can be used{_why(dropped)}; give more photos, or a "
            "smaller --count"
        )


def _load(name: str, path: Path, size: int) -> _Drawn | str:
    """Return a photo as it will be shown, or why it cannot be."""
    try:
        photo = open_photo(path)
    except PhotoError:
        return "unreadable"
    if photo.alpha is not None and photo.alpha.min() < np.iinfo(photo.alpha.dtype).max:
        return "transparent"
    width, height = photo.size
    scale = min(1, size / min(width, height))
    sides = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(photo.pixels, sides, interpolation=cv2.INTER_AREA)
    pixels = _srgb(dataclasses.replace(photo, pixels=small.reshape(*sides[::-1], -1), alpha=None))
    return _Drawn(name, pixels, mean_chroma(pixels))


def _srgb(photo: Photo) -> Pixels8:
    """Return a photo in sRGB with 8 bits, by the way that generated pictures go as well."""
    height, width, channels = photo.pixels.shape
    pixels = photo.pixels.reshape(-1, channels)
    Y, y = color.luminance(pixels, photo.space)
    a, b = color.scaled_ab(pixels, photo.space) if channels == 3 else (0 * y, 0 * y)
    painted = np.empty((height, width, 3), np.uint8)
    color.encode_pixels(color.SRGB, y + a, y, y - b, Y, painted.reshape(-1, 1, 3))
    return painted


def _most_colourful(photos: list[_Drawn], count: int, left_out: Counter[str]) -> list[_Drawn]:
    """Set photos apart for practice and checks.

    Raises:
        DataError: If none would be left.
    """
    if photos and len(photos) <= count:
        raise DataError(
            f"practice and checks need {count} photos and tests at least one more, and there are "
            f"{len(photos)}{_why(left_out)}; give more photos, or less --practice and --checks"
        )
    return sorted(photos, key=lambda photo: photo.chroma, reverse=True)[:count]


def _why(left_out: Counter[str]) -> str:
    """Say in brackets what was left out."""
    parts = [f"{count} {reason}" for reason, count in sorted(left_out.items())]
    return f" ({', '.join(parts)})" if parts else ""


def _item(photo: _Drawn, looks: Mapping[str, Look], place: Path, *, real: bool) -> Item:
    """Write the pictures of a photo."""
    looks = ({REAL: _unchanged} if real else {}) | dict(looks)
    pictures = {name: secrets.token_hex(8) for name in looks}
    for name, look in looks.items():
        # Without compression and metadata, a file's size says nothing about its colours.
        Image.fromarray(look(photo.pixels)).save(
            place / PICTURES / f"{pictures[name]}.png", "PNG", compress_level=0
        )
    height, width = photo.pixels.shape[:2]
    return Item(secrets.token_hex(8), photo.name, pictures, width, height)
