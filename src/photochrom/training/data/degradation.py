"""What time does to photographs, done to the lightness that a generator is trained on.

A generator that has seen nothing but clean digital photos is at a loss with a faded print. So a
share of its training photos is shown to it aged, while what it should make of them stays the same.
Sepia needs no aging: a generator sees L alone, which has no tint.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Draw = torch.Generator


def age(L: Tensor, share: float, seeds: Sequence[int]) -> Tensor:
    """Return photos of which some look old; the others are as they were.

    An aged photo has gone through steps of `STEPS`, in that order, each with an even chance.

    Args:
        L: Shape (B, 1, H, W), in [-1, 1].
        share: How many of the photos are aged, 0..1; each is drawn for itself.
        seeds: Of each photo, below 2^32; everything random of a photo comes from its own, whatever
            photos are beside it.

    Returns:
        Shape (B, 1, H, W), in [-1, 1].
    """
    photos = []
    for photo, seed in zip(torch.split(L, 1), seeds, strict=True):
        draw = torch.Generator().manual_seed(seed)
        if _uniform(draw) < share:
            for step in STEPS:
                if _uniform(draw) < 0.5:
                    photo = step(photo, draw)
            photo = photo.clamp(-1.0, 1.0)
        photos.append(photo)
    return torch.cat(photos)


def _uniform(draw: Draw, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=draw))


def _noise(like: Tensor, size: tuple[int, int], draw: Draw) -> Tensor:
    """Return normal noise of some height and width, enlarged smoothly to that of a photo."""
    noise = torch.randn((1, 1, *size), generator=draw).to(like.device)
    return F.interpolate(noise, like.shape[2:], mode="bicubic", align_corners=False)


def blur(L: Tensor, draw: Draw) -> Tensor:
    """Return a photo (1, 1, H, W) as a soft lens or a coarse screen leaves it."""
    size = [max(8, round(side / _uniform(draw, 1.0, 2.5))) for side in L.shape[2:]]
    smaller = F.interpolate(L, size, mode="bilinear", antialias=True)
    return F.interpolate(smaller, L.shape[2:], mode="bicubic", align_corners=False)


def tone(L: Tensor, draw: Draw) -> Tensor:
    """Return a photo (1, 1, H, W) of another exposure: its lightness to a power of 0.6 to 1.6."""
    lightness = ((L + 1.0) / 2.0).clamp(0.0, 1.0)
    return 2.0 * torch.pow(lightness, 2.0 ** _uniform(draw, -0.7, 0.7)) - 1.0


def fade(L: Tensor, draw: Draw) -> Tensor:
    """Return a photo (1, 1, H, W) whose blacks have risen and whose whites have sunk."""
    black, white = _uniform(draw, 0.0, 0.35), _uniform(draw, 0.7, 1.0)
    return 2.0 * (black + (white - black) * (L + 1.0) / 2.0) - 1.0


def flatten(L: Tensor, draw: Draw) -> Tensor:
    """Return a photo (1, 1, H, W) of low contrast: its L* in a range of 35 to 80 units."""
    contrast = _uniform(draw, 0.35, 0.8)
    return contrast * L + _uniform(draw, contrast - 1.0, 1.0 - contrast)


def vignette(L: Tensor, draw: Draw) -> Tensor:
    """Return a photo (1, 1, H, W) with corners darker, or paler, than its middle."""
    height, width = L.shape[2:]
    y = torch.linspace(-1.0, 1.0, height, device=L.device)[:, None]
    x = torch.linspace(-1.0, 1.0, width, device=L.device)
    return L + _uniform(draw, -0.5, 0.25) * ((x**2 + y**2) / 2.0) ** 1.5


def stains(L: Tensor, draw: Draw) -> Tensor:
    """Return a photo (1, 1, H, W) on uneven paper: lightness that wanders over the photo."""
    cells = 2 + int(_uniform(draw, 0.0, 6.0))
    return L + _uniform(draw, 0.02, 0.12) * _noise(L, (cells, cells), draw)


def grain(L: Tensor, draw: Draw) -> Tensor:
    """Return a photo (1, 1, H, W) with the grain of film or paper, of one to two pixels."""
    coarseness = _uniform(draw, 1.0, 2.0)
    height, width = (max(1, round(side / coarseness)) for side in L.shape[2:])
    return L + _uniform(draw, 0.02, 0.15) * _noise(L, (height, width), draw)


def scratches(L: Tensor, draw: Draw) -> Tensor:
    """Return a photo (1, 1, H, W) with one to six straight scratches or creases across it."""
    height, width = L.shape[2:]
    y = torch.arange(height, device=L.device)[:, None].float()
    x = torch.arange(width, device=L.device).float()
    for _ in range(1 + int(_uniform(draw, 0.0, 6.0))):
        at_y, at_x = _uniform(draw, 0.0, height), _uniform(draw, 0.0, width)
        angle = torch.tensor(_uniform(draw, 0.0, torch.pi))
        distance = ((x - at_x) * angle.sin() - (y - at_y) * angle.cos()).abs()
        strength = (_uniform(draw, 0.6, 1.6) - distance).clamp(0.0, 1.0)
        L = torch.lerp(L, torch.full_like(L, 1.0 if _uniform(draw) < 0.7 else -1.0), strength)
    return L


STEPS: tuple[Callable[[Tensor, Draw], Tensor], ...] = (
    *(blur, tone, flatten, stains, grain, scratches, vignette, fade),
)
"""What can have happened to a photograph: in the camera, on the paper, in the album."""
