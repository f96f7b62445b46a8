"""Measures models photo by photo; docs/metrics.md defines what is measured.

Every model colorizes through `photochrom.Colorizer`, as `photochrom colorize` does: the model gets
the L* of a colour photo, and the 8-bit output is compared with the photo.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from photochrom.color import FloatArray, rgb_to_lab
from photochrom.colorize.colorizer import Colorizer
from photochrom.errors import DataError
from photochrom.imagefile.decoding import photo_from_image
from photochrom.progress import progress_bar
from photochrom.training.data.hints import make_hints, sample_patches
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.splits import Split
from photochrom.training.evaluation.bootstrap import Estimate, bootstrap, jackknife, mean, ratio
from photochrom.training.evaluation.faces import Face, Skin, find_faces, measure_skin
from photochrom.training.evaluation.feature_distances import (
    BATCH_SIZE,
    FeatureNetwork,
    NetworkName,
    find_fid_weights,
)
from photochrom.training.evaluation.metrics import (
    METRICS,
    SSIM_WINDOW,
    FeatureMetric,
    Lpips,
    PhotoMetric,
    StLpips,
    photo_metrics,
)

HINT_SIDE = 7 / 256
"""Side of the square that a hint covers, as a share of the photo's short side."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Measured:
    """What was measured of a model."""

    values: dict[str, Estimate]
    """By metric."""
    scores: dict[str, NDArray[np.float64]]
    """Of each photo, shape (N,), by metric; those of originals begin with `original_`."""
    outputs: list[Pixels]
    """The photos that are shown, as the model colorized them."""


class Measurement:
    """The metrics that are asked for, with the networks and the originals that they need."""

    def __init__(
        self,
        photos: PackedPhotos,
        count: int,
        *,
        skin: bool,
        fid_weights: Path | None,
        fid_ct2_weights: Path | None,
        lpips_weights: Path | None,
        device: str,
        progress: bool,
    ) -> None:
        """Load networks; measure features and faces of the originals.

        Args:
            photos: A split.
            count: Number of photos that are measured, the first ones.
            skin: As of `photochrom.training.evaluation.evaluate.evaluate`, like all that follow.
            fid_weights: Likewise.
            fid_ct2_weights: Likewise.
            lpips_weights: Likewise.
            device: Of the feature networks.
            progress: Show progress bars.

        Raises:
            PhotochromError: If weights cannot be used, or the photos are too few or have no face.
        """
        height, width = min(photos.shapes[:count].tolist(), key=min)
        if min(height, width) < SSIM_WINDOW:
            raise DataError(
                f"{photos.directory} has a photo of {width}x{height} px, and SSIM needs sides of "
                f"{SSIM_WINDOW} px or more; prepare the data without photos that are so small"
            )
        self._photos, self._count = photos, count
        self._device, self._progress = device, progress
        self._learned: dict[str, PhotoMetric] = {}
        if lpips_weights is not None:
            if str(lpips_weights) == "package":
                self._learned["st_lpips"] = StLpips()
            else:
                self._learned["lpips"] = Lpips(lpips_weights)
        weights: dict[NetworkName, Path] = {}
        if fid_weights is not None:
            weights["tensorflow"] = find_fid_weights(fid_weights)
        if fid_ct2_weights is not None:
            weights["ct2"] = fid_ct2_weights
        if weights and count < 2:
            raise DataError("FID and KID need 2 photos or more; leave them out or raise the limit")
        self._networks = {key: _load(path, device, key) for key, path in weights.items()}
        self._original_features = {
            key: _original_features(
                photos.fingerprint,
                photos.directory,
                photos.split,
                count,
                path,
                device,
                key,
                progress,
            )
            for key, path in weights.items()
        }
        self._faces = _find_all_faces(photos, count, progress) if skin else None

    def __call__(
        self,
        colorizer: Colorizer,
        name: str,
        *,
        hints: int,
        seed: int,
        shown: Container[int],
    ) -> Measured:
        """Colorize the photos, and measure the results.

        Args:
            colorizer: With the model.
            name: Of the model, for the progress bar.
            hints: Number of hints.
            seed: Of dropout. A photo has the same random numbers in every model.
            shown: Indices of photos whose outputs are returned.
        """
        scores: list[dict[str, float]] = []
        features: dict[NetworkName, list[FloatArray]] = {key: [] for key in self._networks}
        batch: list[Pixels] = []
        skins: list[Skin] = []
        outputs = []
        for i in progress_bar(range(self._count), name, disable=not self._progress, unit="photo"):
            original = self._photos.photo(i)
            with torch.random.fork_rng([0] if self._device == "cuda" else []):
                torch.manual_seed(seed * 1_000_003 + i)
                output = colorize(colorizer, original, hints, seed=i)
            scores.append(_score(output, original, self._learned))
            if self._faces is not None:
                skins += measure_skin(_as_float(output), _as_float(original), self._faces[i])
            batch.append(output)
            if len(batch) == BATCH_SIZE or i == self._count - 1:
                for key, network in self._networks.items():
                    features[key].append(network(batch))
                batch = []
            if i in shown:
                outputs.append(output)
        by_metric = {metric: np.array([photo[metric] for photo in scores]) for metric in scores[0]}
        values = estimate_photo_metrics(by_metric) | _estimate_skin(skins)
        for key, of_key in features.items():
            of_originals = self._original_features[key]
            values |= _estimate_distances(key, np.concatenate(of_key), of_originals)
        return Measured(values, by_metric, outputs)


@lru_cache(maxsize=2)
def _load(weights: Path, device: str, network: NetworkName) -> FeatureNetwork:
    """Return a feature network; cached, as consecutive calls often agree."""
    return FeatureNetwork(weights, device, network)


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
    return _load(weights, device, network)(bar)


def _as_float(photo: Pixels) -> FloatArray:
    return photo.astype(np.float32) / np.float32(255)


def colorize(colorizer: Colorizer, pixels: Pixels, hints: int = 0, seed: int = 0) -> Pixels:
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
            values[f"skin_error{suffix}"] = bootstrap(mean, [error])
            values[f"skin_chroma_ratio{suffix}"] = bootstrap(ratio, [chroma, original])
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
