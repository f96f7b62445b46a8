"""Colour as classes: ab quantized into 313 bins, instead of a regression of ab.

A network gives one logit per bin and pixel. `class_loss` compares them with the true ab;
`annealed_mean` makes ab of them. `rebalancing_weights` lets rare, saturated colours weigh more.

Reference:
    Zhang, Isola and Efros 2016, "Colorful Image Colorization", arXiv 1603.08511, section 2.
"""

from collections.abc import Iterable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from photochrom.color import AB_SCALE, rgb_to_lab
from photochrom.errors import DataError

GRID = 10
"""Distance between neighbouring bins, in CIELAB units."""
BINS = 313
"""Number of bins; `Q` in the paper."""
NEIGHBOURS = 5
"""Bins that share a pixel in `soft_encode`; the authors' code takes 10."""
SIGMA = 5.0
"""Standard deviation, in CIELAB units, of the Gaussians of encoding and smoothing."""


@cache
def bin_centres() -> NDArray[np.float32]:
    """Return a* and b* of the bins, in the order of the authors' `pts_in_hull.npy`.

    The paper calls them in gamut. The published ones are the corners of all cells of the grid that
    the convex hull of sRGB's a* and b* touches, which this computes.

    Returns:
        Shape (313, 2), multiples of 10, sorted by a*, then b*.
    """
    from scipy.spatial import ConvexHull

    levels = np.linspace(0, 1, 33, dtype=np.float32)
    ab = rgb_to_lab(np.stack(np.meshgrid(levels, levels, levels), axis=-1))[..., 1:].reshape(-1, 2)
    sides = ConvexHull(ab.astype(np.float64)).equations  # normal n and offset c; inside: nx + c < 0
    steps = np.arange(-120, 120, GRID)
    cells = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    # A square and a convex polygon are disjoint exactly if a side of one of them separates them.
    innermost = cells @ sides[:, :2].T + GRID * np.minimum(sides[:, :2], 0).sum(1) + sides[:, 2]
    touched = cells[
        (innermost < 0).all(1)
        & (cells < ab.max(axis=0)).all(1)
        & (cells + GRID > ab.min(axis=0)).all(1)
    ]
    corners = [touched + np.array((da, db)) for da in (0, GRID) for db in (0, GRID)]
    return np.unique(np.concatenate(corners), axis=0).astype(np.float32)


def soft_encode(ab: Tensor) -> tuple[Tensor, Tensor]:
    """Encode colours as distributions over their nearest bins.

    Weights are proportional to exp(-d^2 / (2 sigma^2)), with d the distance to the bin.

    Args:
        ab: Shape (B, 2, H, W), in [-1, 1].

    Returns:
        Indices of the five nearest bins, from near to far, and their weights, which sum to 1, both
        of shape (B, 5, H, W).

    Reference:
        Section 2.1: 5 neighbours, sigma = 5.
    """
    squared, indices = _nearest_bins(ab, NEIGHBOURS)
    return indices, (squared / (-2.0 * SIGMA**2)).softmax(dim=1)


def class_loss(logits: Tensor, ab: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean over pixels of the rebalanced cross-entropy.

    -v(Z) sum_q Z_q log softmax(logits)_q, with Z the soft encoding of ab and v(Z) the weight of its
    largest entry. The paper writes the sum over pixels.

    Args:
        logits: Shape (B, 313, h, w), h = ceil(H / s), w = ceil(W / s) with a whole s.
        ab: Shape (B, 2, H, W), in [-1, 1]; every s-th pixel is compared, as in the authors' code.
        weights: Shape (313,), from `rebalancing_weights`; None: all 1.

    Reference:
        Equations (2) and (3).
    """
    stride = -(-ab.shape[2] // logits.shape[2])
    indices, target = soft_encode(ab[..., ::stride, ::stride])
    log_likelihood = logits.float().log_softmax(dim=1).gather(1, indices)
    loss = -(target * log_likelihood).sum(dim=1)
    if weights is not None:
        loss = weights.to(loss.device)[indices[:, 0]] * loss
    return loss.mean()


def bin_shares(photos: Iterable[Tensor]) -> Tensor:
    """Return the prior: the share of the pixels of some photos that is nearest to each bin.

    Args:
        photos: ab, each (B, 2, H, W), in [-1, 1]; sizes may differ.

    Returns:
        Shape (313,), float64, sum 1.

    Raises:
        DataError: If there are no photos.
    """
    counts = torch.zeros(BINS, dtype=torch.int64)
    for ab in photos:
        _, indices = _nearest_bins(ab, 1)
        counts += indices.flatten().bincount(minlength=BINS).cpu()
    if not counts.any():
        raise DataError("no photos to count colours in; give at least one")
    return counts.double() / counts.sum()


def uniform_prior() -> Tensor:
    """Return the prior (313,) in which all bins are equally likely."""
    return torch.full((BINS,), 1.0 / BINS, dtype=torch.float64)


def rebalancing_weights(prior: Tensor, uniform: float = 0.5) -> Tensor:
    """Return the weight of each bin, larger for rare ones.

    w_q is proportional to 1 / ((1 - lambda) p_q + lambda / 313), and sum_q p_q w_q = 1, with p the
    prior after smoothing by a Gaussian of sigma = 5 CIELAB units.

    Args:
        prior: Shape (313,), from `bin_shares`.
        uniform: lambda, in (0, 1]; 1 gives equal weights.

    Returns:
        Shape (313,), float32.

    Reference:
        Equation (4), with lambda = 1/2.
    """
    smooth = smooth_prior(prior)
    weights = 1.0 / ((1.0 - uniform) * smooth + uniform / BINS)
    return (weights / (smooth * weights).sum()).float()


def smooth_prior(prior: Tensor) -> Tensor:
    """Spread the share of each bin (313,) over all bins by a Gaussian; the sum stays."""
    centres = torch.from_numpy(bin_centres()).double()
    kernel = (torch.cdist(centres, centres).square() / (-2.0 * SIGMA**2)).softmax(dim=0)
    return kernel @ prior.double().cpu()


def annealed_mean(logits: Tensor, temperature: float = 0.38) -> Tensor:
    """Return ab (B, 2, h, w), in [-1, 1]: the mean of the bins after softmax with a temperature.

    Args:
        logits: Shape (B, 313, h, w).
        temperature: From 1, the mean, dull but consistent, to near 0, the mode, vivid but patchy.

    Reference:
        Equation (5), with T = 0.38.
    """
    centres = torch.from_numpy(bin_centres() / AB_SCALE).float().T[:, :, None, None]
    return F.conv2d((logits.float() / temperature).softmax(dim=1), centres.to(logits.device))


def _nearest_bins(ab: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return squared distances, in CIELAB units, and indices of the nearest bins.

    Args:
        ab: Shape (B, 2, H, W), in [-1, 1].
        count: Number of bins, up to `NEIGHBOURS`.

    Returns:
        Both of shape (B, count, H, W), from near to far.
    """
    centres, candidates = _bins_on(ab.device)
    last = len(candidates) // 2
    points = ab.detach().movedim(1, -1).float() * AB_SCALE
    cells = (points / GRID).round().long().clamp(-last, last) + last
    near = candidates[cells[..., 0], cells[..., 1]]
    squared = (centres[near] - points[..., None, :]).square().sum(-1)
    squared, order = squared.topk(count, largest=False)
    return squared.movedim(-1, 1), near.gather(-1, order).movedim(-1, 1)


@cache
def _bins_on(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return `bin_centres` and `_candidates`; cached, as a copy to a GPU waits for its kernels."""
    return torch.from_numpy(bin_centres()).to(device), torch.from_numpy(_candidates()).to(device)


@cache
def _candidates() -> NDArray[np.int64]:
    """Return the bins that can be among the nearest ones of a point, by the point's cell.

    Four times as fast as the distances to all bins.

    Returns:
        Shape (23, 23, K); cell [i, j] is the square of side 10 around (10 i - 110, 10 j - 110).
    """
    steps = np.arange(-110, 111, GRID)
    middles = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)[:, :, None]
    offsets = np.abs(bin_centres() - middles)
    nearest = np.square(np.maximum(offsets - GRID / 2, 0)).sum(-1)
    farthest = np.square(offsets + GRID / 2).sum(-1)
    bound = np.sort(farthest, axis=-1)[..., NEIGHBOURS - 1 : NEIGHBOURS]
    count = int((nearest <= bound).sum(-1).max())
    return np.argsort(nearest, axis=-1, kind="stable")[..., :count].astype(np.int64)
