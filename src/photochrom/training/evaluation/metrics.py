"""Metrics that compare colorized photos with the originals; docs/metrics.md has the formulas.

To add a metric, write the function and one line in `METRICS`: `evaluate`, its files and the tables
then include it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000
from skimage.metrics import structural_similarity
from torch import Tensor
from torchmetrics.functional.image import lpips_models
from torchvision.models import alexnet  # type: ignore[import-untyped]

from photochrom.color import AB_SCALE, FloatArray, rgb_to_lab
from photochrom.training.evaluation.bootstrap import mean, ratio
from photochrom.training.evaluation.feature_distances import (
    NetworkName,
    fid,
    kid,
    load_torchvision_weights,
)
from photochrom.training.networks.lpips_network import ShiftTolerantLPIPS

PhotoMetric = Callable[[FloatArray, FloatArray], float]
"""A function of output and original, both sRGB in [0, 1], shape (H, W, 3)."""
_Value = TypeVar("_Value")
FeatureMetric = Callable[[NDArray[Any], NDArray[Any]], float]
"""A function of the features of outputs and originals, each (N, D), in the same order."""


@dataclass(frozen=True)
class Metric:
    """How a metric is computed and shown.

    It has `photo`, `scores` or `features`; one without is computed in `measurement.py`.
    """

    title: str
    direction: Literal["up", "down", "target"]
    """`up`: more is better; `down`: less is better; `target`: the original's value is the best."""
    unit: str
    digits: int
    """Decimals in tables."""
    photo: PhotoMetric | None = None
    """The score of one photo."""
    scores_originals: bool = False
    """Whether originals are scored too, under the name with `original_` before it."""
    scores: tuple[str, ...] = ()
    """Names of the scores that `statistic` is of; empty: that of the metric itself."""
    statistic: Callable[..., float] = mean
    """A function of the scores of a set of photos, an array (N,) for each name in `scores`."""
    features: FeatureMetric | None = None
    """A distance of two sets of photos."""
    network: NetworkName = "tensorflow"
    """The network that `features` are of."""
    factor: float = 1.0
    """Tables show values multiplied by this."""

    @property
    def arrow(self) -> str:
        """An arrow towards better values, with a space before it, or nothing."""
        return {"up": " ↑", "down": " ↓", "target": ""}[self.direction]


def mse(output: FloatArray, target: FloatArray) -> float:
    """Return the mean squared error over pixels and channels, in 0..1."""
    return float(np.mean(np.square(output.astype(np.float64) - target)))


def psnr(output: FloatArray, target: FloatArray) -> float:
    """Return 10 log10(1 / MSE) in dB; 100 for a perfect copy, which would be infinite."""
    return float(-10.0 * np.log10(max(mse(output, target), 1e-10)))


def mse_ab110(output: FloatArray, target: FloatArray) -> float:
    """Return the mean squared error of (a*, b*)/110, the scale that the networks are trained on."""
    ab, ab_target = rgb_to_lab(output)[..., 1:], rgb_to_lab(target)[..., 1:]
    return float(np.mean(np.square((ab.astype(np.float64) - ab_target) / AB_SCALE)))


SSIM_WINDOW = 11
"""Side in px, and the smallest side of a photo."""


def ssim(output: FloatArray, target: FloatArray) -> float:
    """Return the structural similarity on RGB: Gaussian 11x11, sigma 1.5, mean of the channels.

    In double precision: in single it is off by up to 1e-4. The 5 px at the border, where the window
    does not fit, are excluded as in Wang; torchmetrics' mean includes them, with the photo
    reflected. Sides must be `SSIM_WINDOW` or more.

    Reference:
        Wang et al. 2004, with K1 = 0.01, K2 = 0.03 and a data range of 1.
    """
    similarity = structural_similarity(
        output.astype(np.float64),
        target.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=-1,
    )
    return float(similarity)


def _as_batch(rgb: FloatArray) -> Tensor:
    """Return an image (H, W, 3) as a tensor (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()


def ciede2000(output: FloatArray, target: FloatArray) -> float:
    """Return the mean colour difference CIEDE2000 over pixels; about 1 is just visible.

    Reference:
        CIE 142-2001, as in scikit-image.
    """
    return float(np.mean(deltaE_ciede2000(rgb_to_lab(target), rgb_to_lab(output))))


def colorfulness(rgb: FloatArray) -> float:
    """Return the colourfulness of an image: 0 for grey, about 109 for "extremely colourful".

    Signed differences and variances over N; `colorfulness_abs` has absolute ones.

    Args:
        rgb: Shape (H, W, 3), in [0, 1]; the formula's scale is 0..255.

    Reference:
        Hasler and Suesstrunk 2003, M3.
    """
    return _colorfulness(*_opponent(rgb))


def colorfulness_abs(rgb: FloatArray) -> float:
    """Return the colourfulness with |R - G| and |(R + G)/2 - B|, as it is computed for some papers.

    Absolute values have a smaller deviation than signed ones and a larger mean.

    Args:
        rgb: Shape (H, W, 3), in [0, 1]; the formula's scale is 0..255.

    Reference:
        The evaluation code of CT2 (Weng et al. 2022), ColorFormer (Ji et al. 2022) and DDColor
        (Kang et al. 2023).
    """
    return _colorfulness(*map(np.abs, _opponent(rgb)))


def _opponent(rgb: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    R, G, B = np.moveaxis(rgb.astype(np.float64) * 255.0, -1, 0)  # noqa: N806 (the paper's symbols)
    return R - G, 0.5 * (R + G) - B


def _colorfulness(rg: NDArray[np.float64], yb: NDArray[np.float64]) -> float:
    deviation = np.hypot(rg.std(), yb.std())
    offset = np.hypot(rg.mean(), yb.mean())
    return float(deviation + 0.3 * offset)


METRICS: dict[str, Metric] = {
    "mse": Metric("MSE", "down", "of RGB in [0, 1]", 4, mse),
    "psnr": Metric("PSNR", "up", "dB", 2, psnr),
    "mse_ab110": Metric("MSE ab", "down", "of ab/110", 4, mse_ab110),
    "ssim": Metric("SSIM", "up", "-1..1", 4, ssim),
    "ciede2000": Metric("CIEDE2000", "down", "CIEDE2000", 2, ciede2000),
    "colorfulness": Metric(
        "Colourfulness",
        "target",
        "0..255",
        1,
        photo=lambda output, _target: colorfulness(output),
        scores_originals=True,
    ),
    "colorfulness_abs": Metric(
        "CF of CT2 and DDColor",
        "target",
        "0..255",
        2,
        photo=lambda output, _target: colorfulness_abs(output),
        scores_originals=True,
    ),
    "lpips": Metric("LPIPS", "down", "AlexNet", 4),
    "st_lpips": Metric("ST-LPIPS", "down", "AlexNet", 4),
    "colorfulness_ratio": Metric(
        "Colourfulness ratio",
        "target",
        "of the original's",
        2,
        scores=("colorfulness", "original_colorfulness"),
        statistic=ratio,
    ),
    "colorfulness_abs_difference": Metric(
        "ΔCF of DDColor",
        "down",
        "0..255",
        2,
        scores=("colorfulness_abs", "original_colorfulness_abs"),
        statistic=lambda scores, originals: abs(mean(scores) - mean(originals)),
    ),
    "fid": Metric("FID", "down", "", 1, features=fid),
    "fid_ct2": Metric("FID of CT2", "down", "", 2, features=fid, network="ct2"),
    "kid": Metric("KID", "down", "x 1000", 2, features=kid, factor=1000.0),
    "kid_paired": Metric(
        "KID without pairs",
        "down",
        "x 1000",
        2,
        features=partial(kid, paired=True),
        factor=1000.0,
    ),
    "skin_error": Metric("Skin error", "down", "ab", 2),
    "skin_chroma_ratio": Metric("Skin chroma ratio", "target", "of the original's", 2),
    "skin_error_dark": Metric("Dark skin error", "down", "ab", 2),
    "skin_chroma_ratio_dark": Metric("Dark skin chroma ratio", "target", "of the original's", 2),
}
"""Every metric, in the order of the tables."""


def rename_old(values: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return the values of a metrics.json under the names of today.

    Files of before 0.2 have one estimate of KID, `kid`, which is `kid_paired` today.
    """
    if "kid" not in values or "kid_paired" in values:
        return dict(values)
    return {"kid_paired" if name == "kid" else name: value for name, value in values.items()}


def photo_metrics() -> dict[str, PhotoMetric]:
    """Return the metrics of one photo that need no weights."""
    return {name: metric.photo for name, metric in METRICS.items() if metric.photo is not None}


class Lpips:
    """The learned perceptual distance LPIPS, version 0.1, on AlexNet.

    torchmetrics ships the five linear layers, but not the AlexNet below them.

    Args:
        path: The state dict of torchvision's AlexNet, trained on ImageNet.

    Raises:
        ModelError: If the file is not a state dict of an AlexNet.

    Reference:
        Zhang et al. 2018, arXiv 1801.03924.
    """

    _TAPS = (1, 4, 7, 9, 11)  # the ReLUs of torchvision's `alexnet().features`
    _MEAN = (-0.030, -0.088, -0.188)  # of inputs in [-1, 1]: ImageNet's mean and deviation
    _DEVIATION = (0.458, 0.448, 0.450)

    def __init__(self, path: Path) -> None:
        trunk = alexnet()
        load_torchvision_weights(
            trunk, path, "AlexNet, which LPIPS needs; give that file, or leave LPIPS out"
        )
        self._layers = trunk.eval().features
        linear = Path(lpips_models.__path__[0]) / "alex.pth"
        self._weights = list(torch.load(linear, map_location="cpu", weights_only=True).values())

    def __call__(self, output: FloatArray, target: FloatArray) -> float:
        """Return the distance between two sRGB images in [0, 1], shape (H, W, 3); 0 if equal."""
        mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (self._MEAN, self._DEVIATION))
        x = torch.cat([_as_batch(output), _as_batch(target)])
        distance = 0.0
        with torch.inference_mode():
            x = (x * 2 - 1 - mean) / deviation
            for i, layer in enumerate(self._layers):
                x = layer(x)
                if i in self._TAPS:
                    weights = self._weights[self._TAPS.index(i)]
                    unit = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10)
                    distance += float(((unit[:1] - unit[1:]).square() * weights).sum(1).mean())
        return distance


class StLpips:
    """The shift-tolerant ST-LPIPS on AlexNet, of which stlpips-pytorch has all weights.

    Raises:
        PhotochromError: If the package is not installed, or its weights are damaged.

    Reference:
        Ghildyal and Liu 2022, "Shift-tolerant Perceptual Similarity Metric".
    """

    def __init__(self) -> None:
        self._distance = ShiftTolerantLPIPS("stlpips-alexnet")

    def __call__(self, output: FloatArray, target: FloatArray) -> float:
        """Return the distance between two sRGB images in [0, 1], shape (H, W, 3); 0 if equal."""
        with torch.inference_mode():
            return float(self._distance(*(_as_batch(rgb) * 2 - 1 for rgb in (output, target))))
