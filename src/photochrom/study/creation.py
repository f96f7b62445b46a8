"""Creates the folder of a study from photos and models."""

import dataclasses
import hashlib
import os
import random
import secrets
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
from photochrom.batch.folders import find_photos
from photochrom.colorize.colorizer import Colorizer
from photochrom.errors import DataError, ModelError, PhotochromError, PhotoError
from photochrom.imagefile.atomic import new_folder
from photochrom.imagefile.photo import Photo, to_8_bits
from photochrom.imagefile.reading import open_photo
from photochrom.progress import progress_bar
from photochrom.study.design import (
    IMAGE_FOLDER,
    MIN_CHROMA,
    OBVIOUS,
    REAL,
    RESPONSE_FILE,
    ColorVisionRule,
    Item,
    Protocol,
    Study,
    save_study,
)
from photochrom.study.store import Store
from photochrom.study.trials import count_obvious_items, count_tests

DEFAULT_COUNT = 100
"""Default for the maximum number of photos of each kind."""
DEFAULT_MODEL = "default"
"""Stands for the model that comes with photochrom."""
CONSENT = """\
You will see photographs. Some have the colours that the camera recorded; in others a program has \
guessed the colours. You are asked which are real, or which of two looks better.

Taking part is voluntary. You can stop at any time by closing this page; the responses you gave \
until then are kept. You can also withdraw at any time: all that is stored about you is then \
deleted. At the end you get a code with which you can have it deleted later.

These data are stored: your responses, your response times, the size and resolution of your \
browser's window, {color_vision}and when you took part, under a random number. A cookie in your \
browser holds that number, so that you can continue after an interruption. Nothing else about you \
is asked for or stored, neither your name nor your network address."""
"""The consent text; `{color_vision}` stands for `COLOR_VISION_CONSENT` or nothing."""
COLOR_VISION_CONSENT = (
    "whether you have a colour-vision deficiency (you will be asked, and need not say), "
)

_OBVIOUS_CHROMA = 30.0  # mean, before clipping to the sRGB gamut


Pixels8 = NDArray[np.uint8]
ImageFunction = Callable[[Pixels8], Pixels8]
"""Maps a photo's pixels to those of one of its images; both have shape (H, W, 3), sRGB."""


@dataclass(frozen=True, eq=False)
class _PreparedPhoto:
    """A photo of the size in which it will be shown."""

    name: str
    pixels: Pixels8
    """Shape (H, W, 3), sRGB."""
    chroma: float


def create_study(
    folder: Path,
    *,
    real: Sequence[Path] = (),
    models: Sequence[str],
    protocols: Sequence[Protocol] = ("pair",),
    historic: Sequence[Path] = (),
    title: str = "Real or generated?",
    consent: str | None = None,
    count: int | None = None,
    seed: int = 0,
    size: int = 256,
    trials: int = 40,
    practice: int = 10,
    checks: int = 4,
    seconds: float = 1.0,
    allowed_misses: int = 1,
    least_trials: int = 10,
    least_reaction_ms: float = 200.0,
    color_vision: ColorVisionRule = "exclude",
) -> Study:
    """Draw photos, shrink and colorize them, and write the folder of a study.

    Models get L* of the shrunk photos. The photos with the highest chroma are reserved for practice
    trials and attention checks, as many as one participant needs.

    Args:
        folder: A new folder.
        real: Folders of colour photos.
        models: ONNX files, or `default` for the model that comes with photochrom.
        protocols: Protocols for the photos of `real`.
        historic: Folders of photos without true colours; they add the protocol `preference`.
        title: Title of the page.
        consent: Consent text; paragraphs are separated by empty lines. None: `CONSENT`.
        count: Number of photos of each kind; None: all, but at most `DEFAULT_COUNT`.
        seed: Seed of the choice of photos; other random choices are not reproducible.
        size: Short side of the images in px; smaller photos are not enlarged.
        trials: This and all other arguments: as in `Study`.
        practice: As in `Study`.
        checks: As in `Study`.
        seconds: As in `Study`.
        allowed_misses: As in `Study`.
        least_trials: As in `Study`.
        least_reaction_ms: As in `Study`.
        color_vision: As in `Study`.

    Raises:
        DataError: If the folder exists, or there are too few photos.
        ModelError: If a model cannot be loaded, or two have the same name.
        PhotochromError: If an option is out of range.
    """
    for name, value, low, high in (
        ("count", DEFAULT_COUNT if count is None else count, 1, 100_000),
        ("size", size, 16, 4096),
        ("trials", trials, 1, 1000),
        ("practice", practice, 0, 100),
        ("checks", checks, 0, 100),
        ("seconds", seconds, 0.05, 60),
        ("allowed misses", allowed_misses, 0, 100),
        ("least trials", least_trials, 0, 1000),
        ("least reaction ms", least_reaction_ms, 0, 1000),
    ):
        if not low <= value <= high:
            raise PhotochromError(f"{name} is {value}; it has to be from {low} to {high}")
    if not (real or historic):
        raise DataError("there are no photos; give a folder with --real, or --historic, or both")
    if consent is None:
        asked = color_vision != "unasked"
        consent = CONSENT.format(color_vision=COLOR_VISION_CONSENT if asked else "")
    for name, text in (("title", title), ("consent", consent)):
        if not text.strip():
            raise PhotochromError(f"the {name} is empty; omit it, or give a text")
    if os.path.lexists(folder):
        raise DataError(f"{folder} exists already; give a new folder")
    colorizers = _load_colorizers(models, minimum=2 if historic else 1)
    used: tuple[Protocol, ...] = tuple(dict.fromkeys(protocols)) if real else ()
    used += ("preference",) if historic else ()
    if not real:
        practice = checks = 0
    created = datetime.now(UTC)
    skipped: Counter[str] = Counter()
    with new_folder(folder) as new:
        (new / IMAGE_FOLDER).mkdir()
        photos = (
            list(_draw_photos(real, count, seed, size, skipped, require_color=True)) if real else []
        )
        reserved = count_obvious_items(used, practice, checks)
        if photos and len(photos) <= reserved:
            raise DataError(
                f"practice and checks need {reserved} photos and tests at least one more, and "
                f"there are {len(photos)}{_format_counts(skipped)}; give more photos, or less "
                "--practice and --checks"
            )
        obvious = sorted(photos, key=lambda photo: photo.chroma, reverse=True)[:reserved]
        items = [
            _write_item(
                photo,
                {REAL: np.copy} | ({OBVIOUS: _invert_hues} if photo in obvious else colorizers),
                new / IMAGE_FOLDER,
            )
            for photo in progress_bar(photos, "colorizing", unit="photo")
        ]
        if historic:
            drawn = _draw_photos(historic, count, seed, size, skipped, require_color=False)
            items += [_write_item(photo, colorizers, new / IMAGE_FOLDER) for photo in drawn]
        study = Study(
            title=title,
            consent=consent,
            created=created.isoformat(timespec="seconds"),
            protocols=used,
            systems=tuple(colorizers),
            items=tuple(items),
            trials=trials,
            practice=practice,
            checks=checks,
            seconds=seconds,
            allowed_misses=allowed_misses,
            least_trials=least_trials,
            least_reaction_ms=least_reaction_ms,
            color_vision=color_vision,
            display=True,
            skipped=dict(sorted(skipped.items())),
        )
        if count_tests(study) < least_trials:
            raise DataError(
                f"every participant would be excluded: there are {count_tests(study)} test trials "
                f"for each{_format_counts(skipped)}, and the minimum is {least_trials}; give more "
                "photos, or a smaller --least-trials"
            )
        save_study(study, new)
        Store(new / RESPONSE_FILE).close()
        for file in (new / IMAGE_FOLDER).iterdir():  # the order of writing would reveal systems
            os.utime(file, (created.timestamp(),) * 2)
    return study


def _load_colorizers(models: Sequence[str], *, minimum: int) -> dict[str, ImageFunction]:
    """Load models, by name.

    Raises:
        ModelError: If there are too few, or two have the same name.
    """
    if len(models) < minimum:
        raise ModelError(
            "historic photos show two models side by side; give --model twice or more"
            if minimum > 1
            else "there is no model; give an ONNX file, or default, with --model"
        )
    colorizers: dict[str, ImageFunction] = {}
    for model in models:
        colorizer = Colorizer(None if model == DEFAULT_MODEL else model)
        # The names that `photochrom evaluate` uses.
        name = DEFAULT_MODEL if model == DEFAULT_MODEL else colorizer.model.name
        if name in colorizers or name in (REAL, OBVIOUS):
            raise ModelError(
                f"the name of model {model}, {name!r}, is already used in the study; export the "
                "model under another name"
            )
        colorizers[name] = partial(_colorize, colorizer)
    return colorizers


def _colorize(colorizer: Colorizer, pixels: Pixels8) -> Pixels8:
    return to_8_bits(colorizer(Photo(pixels)).pixels)


def _invert_hues(pixels: Pixels8) -> Pixels8:
    """Return an obvious fake: opposite hues with a higher chroma."""
    lab = color.rgb_to_lab(pixels.astype(np.float32) / np.float32(255))
    lab[..., 1:] *= -max(2, _OBVIOUS_CHROMA / color.mean_chroma(pixels))
    return np.round(color.lab_to_rgb(lab) * 255).astype(np.uint8)


def _draw_photos(
    sources: Sequence[Path],
    count: int | None,
    seed: int,
    size: int,
    skipped: Counter[str],
    *,
    require_color: bool,
) -> Iterator[_PreparedPhoto]:
    """Yield usable photos in random order, and count those that are not.

    Raises:
        DataError: If there are none, or fewer than `count`.
    """
    paths = find_photos(sources)
    names = sorted(paths)
    random.Random(seed).shuffle(names)
    wanted = min(count or DEFAULT_COUNT, len(names))
    digests: set[bytes] = set()
    reasons: Counter[str] = Counter()
    for name in progress_bar(names, "reading", unit="photo"):
        if len(digests) == wanted:
            break
        photo = _load_photo(name, paths[name], size)
        if isinstance(photo, str):
            reasons[photo] += 1
        elif require_color and photo.chroma < MIN_CHROMA:
            reasons["near-grey"] += 1
        elif (digest := hashlib.sha256(photo.pixels.data).digest()) in digests:
            reasons["given twice"] += 1
        else:
            digests.add(digest)
            yield photo
    skipped += reasons
    if len(digests) < (count or 1):
        raise DataError(
            f"{len(digests)} of {len(names)} photos in {', '.join(map(str, sources))} can be used"
            f"{_format_counts(reasons)}; the study needs at least {count or 1}; give more photos, "
            "or a smaller --count"
        )


def _load_photo(name: str, path: Path, size: int) -> _PreparedPhoto | str:
    """Load and shrink a photo; return the reason if it is not usable."""
    try:
        photo = open_photo(path)
    except PhotoError:
        return "unreadable"
    if photo.alpha is not None and photo.alpha.min() < np.iinfo(photo.alpha.dtype).max:
        return "transparent"
    width, height = photo.size
    scale = min(1, size / min(width, height))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(photo.pixels, shape, interpolation=cv2.INTER_AREA)
    small = small.reshape(*shape[::-1], -1)
    pixels = dataclasses.replace(photo, pixels=small, alpha=None).to_srgb()
    return _PreparedPhoto(name, pixels, color.mean_chroma(pixels))


def _format_counts(skipped: Counter[str]) -> str:
    parts = [f"{count} {reason}" for reason, count in sorted(skipped.items())]
    return f" ({', '.join(parts)})" if parts else ""


def _write_item(
    photo: _PreparedPhoto, functions: Mapping[str, ImageFunction], folder: Path
) -> Item:
    """Write the images of a photo by several systems."""
    ids = {system: secrets.token_hex(8) for system in functions}
    for system, function in functions.items():
        # Without compression and metadata, file sizes reveal nothing about the content.
        image = Image.fromarray(function(photo.pixels))
        image.save(folder / f"{ids[system]}.png", "PNG", compress_level=0)
    height, width = photo.pixels.shape[:2]
    return Item(secrets.token_hex(8), photo.name, ids, width, height)
