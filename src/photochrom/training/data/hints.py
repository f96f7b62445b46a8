"""Colour hints: a generator's optional second input, as training and measuring simulate them.

Hints are a tensor (B, 3, H, W): a and b of the colours that are known, in a network's range
[-1, 1], and a mask that is 1 where they are known and 0 elsewhere. Where the mask is 0, so are a
and b.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

Patch = tuple[int, int, int]
"""Top, left and side of a square, in px; it may reach beyond the photo."""

SUCCESS = 1 / 8
"""Parameter of the geometric distribution of the number of hints, whose mean is 8."""
MAX_SIDE = 9
"""Largest side of a patch in training, in px."""


def reveal(ab: Tensor, patches: Iterable[Patch]) -> Tensor:
    """Return hints (3, H, W) that give the mean colour of some patches of a photo.

    Args:
        ab: The photo's own colours, shape (2, H, W); hints have the same units.
        patches: Where they overlap, the last one counts.
    """
    height, width = ab.shape[1:]
    hints = ab.new_zeros(3, height, width)
    for top, left, side in patches:
        rows = slice(max(top, 0), min(top + side, height))
        columns = slice(max(left, 0), min(left + side, width))
        hints[:2, rows, columns] = ab[:, rows, columns].mean((1, 2), keepdim=True)
        hints[2, rows, columns] = 1.0
    return hints


def simulate(ab: Tensor, share: float, seeds: Sequence[int]) -> Tensor:
    """Return hints as a person might give them, for some photos of a batch.

    The number of hints is drawn from a geometric distribution, their places from a normal
    distribution around the photo's centre with a standard deviation of a quarter of each side, and
    their sides evenly from 1 to 9 px.

    Args:
        ab: Shape (B, 2, H, W).
        share: How many of the photos get hints, 0..1; each is drawn for itself.
        seeds: Of each photo; everything random of a photo comes from its own.

    Returns:
        Shape (B, 3, H, W).

    Reference:
        Zhang et al. 2017, "Real-Time User-Guided Image Colorization with Learned Deep Priors",
        section 3.2. Its one photo in a hundred that shows all of its colours is left out.
    """
    height, width = ab.shape[2:]
    hints = []
    for photo, seed in zip(ab, seeds, strict=True):
        draw = torch.Generator().manual_seed(seed)
        patches = []
        if torch.rand((), generator=draw) < share:
            count = int(torch.empty(()).geometric_(SUCCESS, generator=draw))
            sides = torch.randint(1, MAX_SIDE + 1, (count,), generator=draw).tolist()
            places = 0.5 + 0.25 * torch.randn((count, 2), generator=draw)
            for side, (y, x) in zip(sides, places.clamp(0.0, 1.0).tolist(), strict=True):
                patches.append((round(y * (height - side)), round(x * (width - side)), side))
        hints.append(reveal(photo, patches))
    return torch.stack(hints)


def evenly(height: int, width: int, count: int, side: int, seed: int) -> list[Patch]:
    """Return `count` patches whose places are drawn evenly from those inside a photo.

    Args:
        height: Of the photo, in px.
        width: Of the photo, in px.
        count: How many patches.
        side: Of a patch, in px; at most the photo's shorter one is used.
        seed: Same seed, same places; the first patches of a larger count are those of a smaller.

    Reference:
        The protocol of iColoriT (Yun et al. 2023): places drawn evenly.
    """
    side = min(side, height, width)
    places = torch.rand((count, 2), generator=torch.Generator().manual_seed(seed))
    rooms = torch.tensor([height - side + 1, width - side + 1])
    return [(top, left, side) for top, left in (places * rooms).int().tolist()]
