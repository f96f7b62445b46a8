"""Synthetic photos."""

import colorsys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def draw(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Return smooth colours with edges and grain, shape (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 4, (height, width))
    red = 255 * x / width
    green = 255 * y / height
    blue = np.where((x // 16 + y // 16) % 2, 200, 60)
    return np.clip(np.dstack([red, green, blue]) + noise[..., None], 0, 255).astype(np.uint8)


def draw_cloths(height: int, width: int) -> NDArray[np.uint8]:
    """Return two grey rectangles on a light ground, shape (height, width, 3)."""
    pixels = np.full((height, width, 3), 215, np.uint8)
    pixels[height // 4 : -height // 5, width // 8 : 3 * width // 8] = 120
    pixels[height // 3 : -height // 5, 5 * width // 8 : 7 * width // 8] = 140
    return pixels


def write_photos(folder: Path, count: int, size: tuple[int, int] = (48, 40)) -> Path:
    """Write `count` different colour photos of size (width, height)."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / f"{i:02d}.png")
    return folder


def write_tinted_photos(folder: Path, count: int, *, size: tuple[int, int] = (60, 40)) -> Path:
    """Write photos with edges and grain, each in colours around another hue."""
    folder.mkdir(parents=True)
    grey = draw(size[1], size[0]).mean(axis=2, keepdims=True)
    for number in range(count):
        tint = np.array(colorsys.hsv_to_rgb(number / count, 0.4, 1))
        Image.fromarray((grey * tint).astype(np.uint8)).save(folder / f"{number:02}.png")
    return folder
