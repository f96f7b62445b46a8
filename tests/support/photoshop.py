"""Photoshop files, written byte by byte (Adobe Photoshop File Formats Specification)."""

import struct
import zlib
from collections.abc import Mapping

import imagecodecs
import numpy as np
from numpy.typing import NDArray

BITMAP, GREY, INDEXED, RGB, CMYK, MULTICHANNEL, DUOTONE, LAB = 0, 1, 2, 3, 4, 7, 8, 9
RAW, PACKBITS, ZIP, PREDICTED = range(4)


def encode_planes(planes: NDArray[np.generic], compression: int, version: int, pad: int) -> bytes:
    """Encode (channels, H, W): u1, u2, or bool for 1 bit; rows of PackBits get padding bytes."""
    kind = ">u2" if planes.dtype == np.uint16 else "u1"
    rows = np.packbits(planes, axis=-1) if planes.dtype == bool else planes.astype(kind)
    if compression == PACKBITS:
        encoded = [
            imagecodecs.packbits_encode(row.tobytes() + b"\xaa" * pad)
            for row in rows.reshape(-1, rows.shape[-1])
        ]
        lengths = struct.pack(f">{len(encoded)}{'H' if version == 1 else 'I'}", *map(len, encoded))
        return lengths + b"".join(encoded)
    if compression == PREDICTED:
        rows = np.diff(rows.astype(planes.dtype), axis=-1, prepend=planes.dtype.type(0)).astype(
            kind
        )
    content = rows.tobytes()
    return content if compression == RAW else zlib.compress(content)


def psd(
    planes: NDArray[np.generic],
    mode: int = RGB,
    *,
    compression: int = RAW,
    version: int = 1,
    resources: Mapping[int, bytes] | None = None,
    layer_count: int | None = None,
    blocks: Mapping[bytes, bytes] | None = None,
    palette: bytes = b"",
    pad: int = 0,
) -> bytes:
    """Return a file of planes of shape (channels, H, W).

    Args:
        planes: Of bool (1 bit), u1, u2 or f4.
        mode: Colour mode, such as `RGB`.
        compression: Such as `PACKBITS`.
        version: 1: PSD, 2: PSB.
        resources: Number to content.
        layer_count: As in the layer info; negative: there is transparency. None: no layer info.
        blocks: Key to content of blocks behind the layers.
        palette: The colour mode data.
        pad: Bytes behind each row of PackBits.
    """
    channels, height, width = planes.shape
    depth = 1 if planes.dtype == bool else planes.itemsize * 8
    size = "I" if version == 1 else "Q"
    resource_section = b"".join(
        struct.pack(">4sHHI", b"8BIM", number, 0, len(content)) + content + bytes(len(content) % 2)
        for number, content in (resources or {}).items()
    )
    layer_info = b"" if layer_count is None else struct.pack(">h", layer_count) + bytes(6)
    layer_section = struct.pack(f">{size}", len(layer_info)) + layer_info + bytes(4)
    for key, content in (blocks or {}).items():
        layer_section += b"8BIM" + key + struct.pack(f">{size}", len(content)) + content
        layer_section += bytes(-len(content) % 4)
    if layer_count is None and not blocks:
        layer_section = b""
    return b"".join(
        [
            struct.pack(">4sH6xHIIHH", b"8BPS", version, channels, height, width, depth, mode),
            struct.pack(">I", len(palette)) + palette,
            struct.pack(">I", len(resource_section)) + resource_section,
            struct.pack(f">{size}", len(layer_section)) + layer_section,
            struct.pack(">H", compression) + encode_planes(planes, compression, version, pad),
        ]
    )
