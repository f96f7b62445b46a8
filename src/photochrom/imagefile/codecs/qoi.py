"""QOI, the "Quite OK Image" format (specification of 2022)."""

import struct

import numpy as np

from photochrom.imagefile.decoding import check_size, finish, reader_errors
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo

_LINEAR = 1
_END = b"\0\0\0\0\0\0\0\1"


def read(data: bytes, name: str, max_pixels: int) -> Photo:
    """Read a QOI.

    Raises:
        PhotoError: If it has too many pixels.
        DamagedError: If it is damaged or cut off.
    """
    from imagecodecs import qoi_decode

    with reader_errors(name):
        width, height, _, color_space = struct.unpack_from(">4xIIBB", data)
        if not data.endswith(_END):
            raise ValueError("its end is missing")
    check_size(width, height, name, max_pixels)
    with reader_errors(name):
        values = np.atleast_3d(qoi_decode(data))
        metadata = Metadata()
        if color_space == _LINEAR:  # said by Pillow and others of all their files
            metadata = metadata.with_warning(
                "the header says linear values; they are taken for sRGB, as writers mean it"
            )
        alpha = values[..., 3].copy() if values.shape[2] == 4 else None
        return finish(Photo(values[..., :3].copy(), alpha), metadata, Encoding("QOI"))
