"""Samples of 1 to 16 bits, scaled to the full range of 8 or 16 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photochrom.color import Pixels
from photochrom.color.cie import FloatArray
from photochrom.imagefile.photo import Photo


def pixel_type(bits: int) -> type[np.uint8] | type[np.uint16]:
    """Return the type that holds samples of 1 to 16 bits."""
    return np.uint8 if bits <= 8 else np.uint16


def to_full_range(samples: NDArray[Any], bits: int, to_bits: int | None = None) -> Pixels:
    """Scale integers, so that 2^bits - 1 becomes the largest value of the result, rounded.

    Args:
        samples: Any shape, 0 to 2^bits - 1.
        bits: Of the samples, 1 to 16.
        to_bits: The result has the type that holds these; None: `bits`.
    """
    dtype = pixel_type(to_bits or bits)
    largest, range_ = int(np.iinfo(dtype).max), (1 << bits) - 1
    if largest == range_:
        scaled: NDArray[Any] = samples.astype(dtype, copy=False)
        return scaled
    values = np.arange(range_ + 1)
    table: NDArray[Any] = ((2 * largest * values + range_) // (2 * range_)).astype(dtype)
    return table.take(samples, mode="clip")


def from_unit_range(values: FloatArray, bits: int) -> Pixels:
    """Clip values to [0, 1] and round them to the type that holds `bits`."""
    dtype = pixel_type(bits)
    largest = np.float32(np.iinfo(dtype).max)
    rounded: NDArray[Any] = (np.clip(values, 0, 1) * largest + np.float32(0.5)).astype(dtype)
    return rounded


def to_photo(samples: NDArray[Any], bits: int, *, is_premultiplied: bool = False) -> Photo:
    """Split decoded samples into colours and alpha, and scale them to 8 or 16 bits.

    Args:
        samples: Shape (H, W) or (H, W, 1 to 4); the second and the fourth channel are alpha.
        bits: Of the samples, 1 to 16.
        is_premultiplied: The colours are multiplied by alpha.
    """
    samples = np.atleast_3d(samples)
    count = samples.shape[2]
    if count in (1, 3):
        return Photo(to_full_range(samples, bits))
    colors = np.ascontiguousarray(samples[..., :-1])
    alpha = np.ascontiguousarray(samples[..., -1])
    if is_premultiplied:
        straight = colors / np.maximum(alpha, 1).astype(np.float32)[..., None]
        return Photo(from_unit_range(straight, bits), to_full_range(alpha, bits))
    return Photo(to_full_range(colors, bits), to_full_range(alpha, bits))
