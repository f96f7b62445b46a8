"""Samples of 1 to 16 bits, scaled to the full range of 8 or 16 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photochrom.color import Pixels
from photochrom.color.cie import FloatArray


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
