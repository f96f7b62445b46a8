"""Simulated ageing of photos, as augmentation of the generator's input.

A generator trained on clean digital photos only fails on faded prints. Therefore a fraction of its
inputs is degraded, while the targets stay clean. Sepia is not simulated, as L has no tint.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def degrade(L: Tensor, fraction: float, seeds: Sequence[int]) -> Tensor:
    """Degrade some photos of a batch; each of `STEPS`, in order, has a probability of 0.5.

    Args:
        L: Shape (B, 1, H, W), in [-1, 1].
        fraction: Probability that a photo is degraded.
        seeds: One per photo, below 2^32; the result for a photo depends on no other photo.

    Returns:
        Shape (B, 1, H, W), in [-1, 1].
    """
    photos = []
    for photo, seed in zip(torch.split(L, 1), seeds, strict=True):
        rng = torch.Generator().manual_seed(seed)
        if _uniform(rng) < fraction:
            for step in STEPS:
                if _uniform(rng) < 0.5:
                    photo = step(photo, rng)
            photo = photo.clamp(-1.0, 1.0)
        photos.append(photo)
    return torch.cat(photos)


def _uniform(rng: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng))


def _noise(photo: Tensor, size: tuple[int, int], rng: torch.Generator) -> Tensor:
    """Return Gaussian noise of (height, width) `size`, enlarged bicubically to that of `photo`."""
    noise = torch.randn((1, 1, *size), generator=rng).to(photo.device)
    return F.interpolate(noise, photo.shape[2:], mode="bicubic", align_corners=False)


# The steps take and return L (1, 1, H, W).


def blur(L: Tensor, rng: torch.Generator) -> Tensor:
    """Simulate a soft lens or a coarse halftone screen."""
    size = [max(8, round(side / _uniform(rng, 1.0, 2.5))) for side in L.shape[2:]]
    smaller = F.interpolate(L, size, mode="bilinear", antialias=True)
    return F.interpolate(smaller, L.shape[2:], mode="bicubic", align_corners=False)


def change_exposure(L: Tensor, rng: torch.Generator) -> Tensor:
    """Raise the lightness in [0, 1] to a power of 0.6 to 1.6."""
    lightness = ((L + 1.0) / 2.0).clamp(0.0, 1.0)
    return 2.0 * torch.pow(lightness, 2.0 ** _uniform(rng, -0.7, 0.7)) - 1.0


def reduce_contrast(L: Tensor, rng: torch.Generator) -> Tensor:
    """Compress L* to a range of 35 to 80 units."""
    contrast = _uniform(rng, 0.35, 0.8)
    return contrast * L + _uniform(rng, contrast - 1.0, 1.0 - contrast)


def add_stains(L: Tensor, rng: torch.Generator) -> Tensor:
    """Add low-frequency noise, as of uneven paper."""
    cells = 2 + int(_uniform(rng, 0.0, 6.0))
    return L + _uniform(rng, 0.02, 0.12) * _noise(L, (cells, cells), rng)


def add_grain(L: Tensor, rng: torch.Generator) -> Tensor:
    """Add noise with grains of one to two pixels."""
    grain_size = _uniform(rng, 1.0, 2.0)
    height, width = (max(1, round(side / grain_size)) for side in L.shape[2:])
    return L + _uniform(rng, 0.02, 0.15) * _noise(L, (height, width), rng)


def add_scratches(L: Tensor, rng: torch.Generator) -> Tensor:
    """Draw one to six straight scratches, light or dark."""
    height, width = L.shape[2:]
    y = torch.arange(height, device=L.device)[:, None].float()
    x = torch.arange(width, device=L.device).float()
    for _ in range(1 + int(_uniform(rng, 0.0, 6.0))):
        center_y, center_x = _uniform(rng, 0.0, height), _uniform(rng, 0.0, width)
        angle = torch.tensor(_uniform(rng, 0.0, torch.pi))
        distance = ((x - center_x) * angle.sin() - (y - center_y) * angle.cos()).abs()
        strength = (_uniform(rng, 0.6, 1.6) - distance).clamp(0.0, 1.0)
        L = torch.lerp(L, torch.full_like(L, 1.0 if _uniform(rng) < 0.7 else -1.0), strength)
    return L


def add_vignette(L: Tensor, rng: torch.Generator) -> Tensor:
    """Darken or lighten the corners."""
    height, width = L.shape[2:]
    y = torch.linspace(-1.0, 1.0, height, device=L.device)[:, None]
    x = torch.linspace(-1.0, 1.0, width, device=L.device)
    return L + _uniform(rng, -0.5, 0.25) * ((x**2 + y**2) / 2.0) ** 1.5


def fade(L: Tensor, rng: torch.Generator) -> Tensor:
    """Raise the black point and lower the white point."""
    black, white = _uniform(rng, 0.0, 0.35), _uniform(rng, 0.7, 1.0)
    return 2.0 * (black + (white - black) * (L + 1.0) / 2.0) - 1.0


STEPS: tuple[Callable[[Tensor, torch.Generator], Tensor], ...] = (
    blur,
    change_exposure,
    reduce_contrast,
    add_stains,
    add_grain,
    add_scratches,
    add_vignette,
    fade,
)
