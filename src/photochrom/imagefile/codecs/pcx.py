"""PCX: palettes of 1 to 8 bits, and RGB.

Follows the PCX Technical Reference Manual of ZSoft (revision 5).
"""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photochrom.errors import PhotoError
from photochrom.imagefile.decoding import check_size, finish, reader_errors
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo

_HEADER_SIZE = 128
_NO_PALETTE = 3
"""Version without a palette, whose colours are the default ones."""
_EGA = np.array(
    [
        *((0, 0, 0), (0, 0, 170), (0, 170, 0), (0, 170, 170)),
        *((170, 0, 0), (170, 0, 170), (170, 85, 0), (170, 170, 170)),
        *((85, 85, 85), (85, 85, 255), (85, 255, 85), (85, 255, 255)),
        *((255, 85, 85), (255, 85, 255), (255, 255, 85), (255, 255, 255)),
    ],
    np.uint8,
)
_BLACK_AND_WHITE = np.array([(0, 0, 0), (255, 255, 255)], np.uint8)
_LAYOUTS = {(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (4, 1), (8, 1), (8, 3)}
"""Bits and planes."""


class _Header(NamedTuple):
    version: int
    is_compressed: int
    bits: int
    left: int
    top: int
    right: int
    bottom: int
    x_density: int
    y_density: int
    palette: bytes
    planes: int
    row_size: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.right - self.left + 1, self.bottom - self.top + 1


def read(data: bytes, name: str, max_pixels: int) -> Photo:
    """Read a PCX, with its resolution.

    Raises:
        PhotoError: If it has too many pixels, or is of a kind that cannot be used.
        DamagedError: If it is damaged or cut off.
    """
    with reader_errors(name):
        header = _Header(*struct.unpack_from("<xBBB4H2H48sxBH", data))
        width, height = header.size
        if width < 1 or height < 1:
            raise ValueError("it has no pixels")
        layout = header.bits, header.planes
        if layout not in _LAYOUTS or (layout == (2, 1) and header.version < _NO_PALETTE):
            raise PhotoError(
                f"a PCX of {header.planes} planes of {header.bits} bits and version "
                f"{header.version} cannot be read; save it as PNG"
            )
    check_size(width, height, name, max_pixels)
    with reader_errors(name):
        values = _unpack(data, header)
        if layout != (8, 3):
            colors = _palette(data, header)
            if (colors == colors[:, :1]).all():
                colors = colors[:, :1]
            values = colors[values]
        density = None
        resolution = header.x_density, header.y_density
        if min(resolution) > 0 and resolution != header.size:  # old writers give the size
            density = (*resolution, "inch")
        return finish(Photo(values), Metadata(density=density), Encoding("PCX"))


def _unpack(data: bytes, header: _Header) -> NDArray[np.uint8]:
    """Return RGB, shape (H, W, 3), or indices of the palette, shape (H, W)."""
    width, height = header.size
    row_size = (width * header.bits + 7) // 8
    row_size = header.row_size if header.row_size >= row_size else row_size + row_size % 2
    content = data[_HEADER_SIZE:]
    count = height * header.planes * row_size
    if header.is_compressed:  # decoded as one row, as runs may cross the ends of rows
        image = Image.frombytes("L", (count, 1), content, "pcx", "L", count)
        rows = np.asarray(image)
    else:
        rows = np.frombuffer(content, np.uint8, count)
    rows = rows.reshape(height, header.planes, row_size)
    if header.bits == 8:
        rows = rows[..., :width]
        return rows[:, 0] if header.planes == 1 else np.ascontiguousarray(rows.swapaxes(1, 2))
    bits = np.unpackbits(rows, axis=-1).reshape(height, header.planes, -1, header.bits)
    weights = 1 << np.arange(header.bits)[::-1]
    planes = (bits[:, :, :width] * weights).sum(axis=-1, dtype=np.uint8)
    shifts = header.bits * np.arange(header.planes)
    indices: NDArray[np.uint8] = (planes << shifts[:, None]).sum(axis=1, dtype=np.uint8)
    return indices


def _palette(data: bytes, header: _Header) -> NDArray[np.uint8]:
    """Return the colours of all indices, shape (n, 3)."""
    count = 1 << header.bits * header.planes
    if count == 256:
        if len(data) >= _HEADER_SIZE + 769 and data[-769] == 12:
            return np.frombuffer(data[-768:], np.uint8).reshape(256, 3)
        return np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    colors = np.frombuffer(header.palette, np.uint8).reshape(16, 3)[:count]
    if header.version == _NO_PALETTE or (colors == colors[0]).all():
        return _BLACK_AND_WHITE if count == 2 else _EGA[:count]
    return colors
