"""Simulated colour hints, the optional second input of a generator.

Hints have shape (B, 3, H, W): a and b of known colours in [-1, 1], and a mask that is 1 where they
are known. Where the mask is 0, a and b are 0.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

Patch = tuple[int, int, int]
"""Top, left and side of a square in px; it may extend beyond the photo."""

GEOMETRIC_P = 1 / 8
"""Parameter of the geometric distribution of the number of hints in training; its mean is 8."""
MAX_PATCH_SIDE = 9
"""Largest side in px of a patch in training."""


def make_hints(ab: Tensor, patches: Iterable[Patch]) -> Tensor:
    """Return hints (3, H, W) with the mean colours of patches of `ab` (2, H, W).

    Later patches overwrite earlier ones.
    """
    height, width = ab.shape[1:]
    hints = ab.new_zeros(3, height, width)
    for top, left, side in patches:
        rows = slice(max(top, 0), min(top + side, height))
        columns = slice(max(left, 0), min(left + side, width))
        hints[:2, rows, columns] = ab[:, rows, columns].mean((1, 2), keepdim=True)
        hints[2, rows, columns] = 1.0
    return hints


def simulate_hints(ab: Tensor, fraction: float, seeds: Sequence[int]) -> Tensor:
    """Return random hints for a batch of photos.

    The number of patches has a geometric distribution. Their positions have a normal distribution
    around the centre with a standard deviation of a quarter of each side of the photo, their sides
    a uniform distribution over 1 to 9 px.

    Args:
        ab: Shape (B, 2, H, W).
        fraction: Probability that a photo gets hints.
        seeds: One per photo; the hints of a photo depend on no other photo.

    Returns:
        Shape (B, 3, H, W).

    Reference:
        Zhang et al. 2017, "Real-Time User-Guided Image Colorization with Learned Deep Priors",
        section 3.2. Unlike there, no photos with all colours revealed.
    """
    height, width = ab.shape[2:]
    hints = []
    for photo, seed in zip(ab, seeds, strict=True):
        rng = torch.Generator().manual_seed(seed)
        patches = []
        if torch.rand((), generator=rng) < fraction:
            count = int(torch.empty(()).geometric_(GEOMETRIC_P, generator=rng))
            sides = torch.randint(1, MAX_PATCH_SIDE + 1, (count,), generator=rng).tolist()
            positions = 0.5 + 0.25 * torch.randn((count, 2), generator=rng)
            for side, (y, x) in zip(sides, positions.clamp(0.0, 1.0).tolist(), strict=True):
                patches.append((round(y * (height - side)), round(x * (width - side)), side))
        hints.append(make_hints(photo, patches))
    return torch.stack(hints)


def sample_patches(height: int, width: int, count: int, side: int, seed: int) -> list[Patch]:
    """Return patches at uniformly distributed positions inside a photo, for evaluation.

    Args:
        height: Of the photo, in px.
        width: Of the photo, in px.
        count: Number of patches; a larger count starts with the patches of a smaller one.
        side: Side of the patches in px, reduced to the photo's shorter side if larger.
        seed: Seed of the positions.

    Reference:
        Yun et al. 2023, "iColoriT", whose protocol draws positions uniformly.
    """
    side = min(side, height, width)
    positions = torch.rand((count, 2), generator=torch.Generator().manual_seed(seed))
    ranges = torch.tensor([height - side + 1, width - side + 1])
    return [(top, left, side) for top, left in (positions * ranges).int().tolist()]
