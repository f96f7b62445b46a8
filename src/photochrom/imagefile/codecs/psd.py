"""Photoshop files, PSD and PSB: the merged image and its metadata.

Follows Adobe's Photoshop File Formats Specification (2019). Layers are not read.
"""

import dataclasses
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photochrom.color import Pixels, icc
from photochrom.errors import PhotoError
from photochrom.imagefile import exif
from photochrom.imagefile.decoding import check_size, convert_cmyk, finish, reader_errors
from photochrom.imagefile.metadata import DAMAGED_EXIF, Density, Metadata
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.photoshop import IPTC, iterate_resources

_BITMAP, _GREY, _INDEXED, _RGB, _CMYK, _MULTICHANNEL, _DUOTONE, _LAB = 0, 1, 2, 3, 4, 7, 8, 9
_CHANNELS = {_BITMAP: 1, _GREY: 1, _INDEXED: 1, _RGB: 3, _CMYK: 4, _DUOTONE: 1, _LAB: 3}
"""Colour mode to its number of channels; further ones are transparency or something else."""
_DEPTHS = {_BITMAP: (1,), _INDEXED: (8,)}

_RESOLUTION, _PROFILE, _EXIF, _EXIF_3, _XMP = 1005, 1039, 1058, 1059, 1060
_TRANSPARENT_INDEX, _ALPHA_IDENTIFIERS, _VERSION_INFO = 1047, 1053, 1057
_DROPPED_RESOURCES = {
    *(_PROFILE, _EXIF, _EXIF_3, _XMP, _TRANSPARENT_INDEX, _ALPHA_IDENTIFIERS, _VERSION_INFO),
    *(1006, 1007, 1045, 1046, 1067, 1077),  # of extra channels and the palette
    *(1024, 1026, 1065, 1069, 1072),  # of layers
    *(1033, 1036),  # thumbnails
    -1,  # a damaged rest
}
"""Those that `Metadata` holds elsewhere, or that only fit the original pixels."""

_RAW, _PACKBITS, _ZIP, _ZIP_WITH_PREDICTION = range(4)
_MERGED_TRANSPARENCY = (b"Mtrn", b"Mt16", b"Mt32")
_LAYER_BLOCKS = (b"Lr16", b"Lr32", b"Layr")
_LONG_BLOCKS = {
    *(b"LMsk", b"Lr16", b"Lr32", b"Layr", b"Mt16", b"Mt32", b"Mtrn", b"Alph"),
    *(b"FMsk", b"lnk2", b"FEid", b"FXid", b"PxSD", b"lnkE", b"cinf"),
}
"""Blocks of a PSB whose length has 8 bytes."""


class _Header(NamedTuple):
    """The file header section."""

    version: int
    """1: PSD, 2: PSB."""
    channels: int
    height: int
    width: int
    depth: int
    mode: int

    @property
    def row_size(self) -> int:
        """Bytes of a row of a channel."""
        return (self.width * self.depth + 7) // 8


@dataclasses.dataclass(frozen=True)
class _Layers:
    """What the layer and mask section says of the merged image."""

    count: int
    is_transparent: bool
    """The first channel beyond those of the colours is transparency."""


def read(data: bytes, name: str, max_pixels: int) -> Photo:
    """Read the merged image of a PSD or PSB, upright, with its metadata.

    Raises:
        PhotoError: If it has none, too many pixels, or a colour mode that cannot be used.
        DamagedError: If it is damaged or cut off.
    """
    with reader_errors(name):
        header = _Header(*struct.unpack_from(">4xH6xHIIHH", data))
        _check_kind(header)
    check_size(header.width, header.height, name, max_pixels)
    with reader_errors(name):
        return _read_merged(data, header)


def _read_merged(data: bytes, header: _Header) -> Photo:
    palette, offset = _read_section(data, 26, 4)
    resource_blocks, offset = _read_section(data, offset, 4)
    layer_section, offset = _read_section(data, offset, 4 * header.version)
    resources: dict[int, bytes] = {}
    for number, _, content in iterate_resources(resource_blocks):
        resources.setdefault(number, content)
    layers = _read_layers(layer_section, header.version)
    has_merged_image = resources.get(_VERSION_INFO, b"\0\0\0\1\1")[4:5] != b"\0"
    has_merged_image &= offset + 2 < len(data)
    if layers.count and not has_merged_image:  # without layers, it is the only image
        raise PhotoError(
            "it has layers only and no merged image; save it in Photoshop with "
            "Maximize Compatibility"
        )
    color_channels = _CHANNELS[header.mode]
    transparency = _transparency_channel(header, layers, resources.get(_ALPHA_IDENTIFIERS, b""))
    wanted = [*range(color_channels), *([] if transparency is None else [transparency])]
    values = _decode_channels(data[offset:], header, wanted)
    pixels, alpha = values, None
    if transparency is not None:
        pixels, alpha = values[..., :-1].copy(), values[..., -1].copy()
    if header.mode == _INDEXED:
        pixels, alpha = _apply_palette(pixels[..., 0], palette, resources, alpha)
    elif alpha is not None and header.mode in (_GREY, _RGB, _DUOTONE):
        _remove_white(pixels, alpha)
    metadata = _read_metadata(resource_blocks, resources)
    for warning in _losses(header, layers, header.channels - len(wanted)):
        metadata = metadata.with_warning(warning)
    photo = Photo(pixels, alpha, metadata=metadata)
    if header.mode == _CMYK:  # without ink, values are the largest
        photo = convert_cmyk(np.invert(pixels), alpha, metadata)
    elif header.mode == _LAB:
        photo = _convert_lab(photo)
    return finish(photo, photo.metadata, Encoding("PSD"))


def _check_kind(header: _Header) -> None:
    """Raise `PhotoError` if the merged image is of a kind that cannot be used."""
    if header.version not in (1, 2) or min(header[1:4]) < 1:
        raise ValueError("the header is not one of a PSD or PSB")
    if header.depth == 32:
        raise PhotoError(
            "a PSD with floating-point channels of 32 bits (HDR) has no defined white; convert it "
            "to 16 bits"
        )
    if header.mode not in _CHANNELS:
        mode = "multichannel mode" if header.mode == _MULTICHANNEL else f"mode {header.mode}"
        raise PhotoError(
            f"a PSD of {mode} cannot be read; convert it to Grayscale or RGB with the same bits"
        )
    if (
        header.depth not in _DEPTHS.get(header.mode, (8, 16))
        or header.channels < _CHANNELS[header.mode]
    ):
        raise ValueError(f"{header.channels} channels of {header.depth} bits do not fit its mode")


def _read_section(data: bytes, offset: int, size: int) -> tuple[bytes, int]:
    """Return the section whose length of `size` bytes is at an offset, and the offset of the next.

    Raises:
        ValueError: If it is cut off.
    """
    start = offset + size
    end = start + int.from_bytes(data[offset:start])
    if end > len(data):
        raise ValueError("a section is longer than the file")
    return data[start:end], end


def _read_layers(section: bytes, version: int) -> _Layers:
    """Read the count of layers, negative if there is transparency, and what global blocks say."""
    size = 4 * version
    length = int.from_bytes(section[:size])
    count = int.from_bytes(section[size : size + 2], signed=True) if length else 0
    is_transparent = False
    offset = size + length
    offset += 4 + int.from_bytes(section[offset : offset + 4])  # the global mask
    while section[offset : offset + 4] in (b"8BIM", b"8B64"):
        key = section[offset + 4 : offset + 8]
        start = offset + (16 if version == 2 and key in _LONG_BLOCKS else 12)
        length = int.from_bytes(section[offset + 8 : start])
        if key in _LAYER_BLOCKS and length:
            count = int.from_bytes(section[start : start + 2], signed=True)
        is_transparent |= key in _MERGED_TRANSPARENCY
        offset = start + length + -length % 4
    return _Layers(abs(count), is_transparent or count < 0)


def _transparency_channel(header: _Header, layers: _Layers, identifiers: bytes) -> int | None:
    """Return the channel that is transparency; others are spot colours and saved selections."""
    first = _CHANNELS[header.mode]
    if header.mode == _BITMAP or header.channels <= first:
        return None
    if layers.is_transparent:
        return first
    numbers = [
        number for (number,) in struct.iter_unpack(">I", identifiers[: len(identifiers) & ~3])
    ]
    if 0 in numbers:  # the number of transparency
        return max(first, header.channels - len(numbers) + numbers.index(0))
    return None


def _decode_channels(data: bytes, header: _Header, channels: Sequence[int]) -> NDArray[Any]:
    """Decode channels of the merged image, shape (H, W, len(channels)), 1 bit as 0 and 255.

    Raises:
        ValueError, RuntimeError, zlib.error: If it is damaged or cut off.
    """
    size = header.height * header.row_size
    compression = int.from_bytes(data[:2])
    parts: Iterable[bytes]
    if compression == _PACKBITS:
        parts = _decode_packbits(data[2:], header, channels)
    else:
        if compression == _RAW:
            content = data[2:]
        elif compression in (_ZIP, _ZIP_WITH_PREDICTION):
            content = zlib.decompressobj().decompress(data[2:], size * header.channels)
        else:
            raise ValueError(f"the compression has the unknown number {compression}")
        parts = (content[size * channel : size * (channel + 1)] for channel in channels)
    dtype = np.uint16 if header.depth == 16 else np.uint8
    values = np.empty((header.height, header.width, len(channels)), dtype)
    for index, part in enumerate(parts):
        rows = np.frombuffer(part, np.uint8).reshape(header.height, header.row_size)
        if header.depth == 1:  # 1 is black
            bits = np.unpackbits(rows, axis=1, count=header.width)
            values[..., index] = np.where(bits, 0, 255)
            continue
        plane: NDArray[Any] = rows.view(">u2") if header.depth == 16 else rows
        if compression == _ZIP_WITH_PREDICTION:
            np.cumsum(plane, axis=1, dtype=dtype, out=values[..., index])
        else:
            values[..., index] = plane
    return values


def _decode_packbits(data: bytes, header: _Header, channels: Sequence[int]) -> Iterator[bytes]:
    """Decode rows that are compressed one by one; what a row has beyond its width is padding."""
    from imagecodecs import packbits_decode

    kind = ">u2" if header.version == 1 else ">u4"
    counts = np.frombuffer(data, kind, header.channels * header.height)
    ends = counts.nbytes + np.cumsum(counts, dtype=np.int64)
    for channel in channels:
        part = slice(channel * header.height, (channel + 1) * header.height)
        rows = []
        for end, count in zip(ends[part].tolist(), counts[part].tolist(), strict=True):
            row = packbits_decode(data[end - count : end])
            if len(row) < header.row_size or end > len(data):
                raise ValueError("a row is too short")
            rows.append(row[: header.row_size])
        yield b"".join(rows)


def _apply_palette(
    indices: Pixels, palette: bytes, resources: Mapping[int, bytes], alpha: Pixels | None
) -> tuple[Pixels, Pixels | None]:
    """Return colours, and alpha where a colour of the palette is transparent."""
    colors = np.frombuffer(palette, np.uint8, 768).reshape(3, 256).T
    number = resources.get(_TRANSPARENT_INDEX, b"")
    if alpha is None and len(number) == 2:
        alpha = np.where(indices == int.from_bytes(number), 0, 255).astype(np.uint8)
    return colors[indices], alpha


def _remove_white(pixels: Pixels, alpha: Pixels) -> None:
    """Undo, in place, that Photoshop blends the merged image with white where it is transparent."""
    white = np.iinfo(alpha.dtype).max
    is_blended = (alpha > 0) & (alpha < white)
    opacity = alpha[is_blended, None].astype(np.float64) / white
    color = white - (white - pixels[is_blended]) / opacity
    pixels[is_blended] = np.clip(color + 0.5, 0, white).astype(pixels.dtype)


def _convert_lab(photo: Photo) -> Photo:
    """Convert Lab to sRGB; a* and b* of 0 are 128 in 8 bits, 0x8000 in 16 bits."""
    values = photo.pixels.astype(np.uint32)
    if photo.pixels.dtype == np.uint8:
        values *= 257
    else:
        values[..., 1:] = np.minimum((values[..., 1:] * 257 + 128) // 256, 65535)
    pixels = icc.lab_to_srgb(values.astype(np.uint16), photo.pixels.dtype)
    metadata = photo.metadata.with_profile(icc.srgb_profile())
    return dataclasses.replace(
        photo, pixels=pixels, metadata=metadata.with_warning("Lab is converted to sRGB")
    )


def _read_metadata(blocks: bytes, resources: Mapping[int, bytes]) -> Metadata:
    exif_blocks = [resources[number] for number in (_EXIF, _EXIF_3) if number in resources]
    exif_block = next(filter(exif.is_valid, exif_blocks), None)
    others = [b for number, b, _ in iterate_resources(blocks) if number not in _DROPPED_RESOURCES]
    return Metadata(
        exif_block,
        resources.get(_XMP) or None,
        resources.get(_PROFILE) or None,
        b"".join(others) or None,
        resources.get(IPTC) or None,
        _read_density(resources.get(_RESOLUTION, b"")),
        warnings=(DAMAGED_EXIF,) if exif_block is None and any(exif_blocks) else (),
    )


def _read_density(content: bytes) -> Density | None:
    """Read ResolutionInfo: fixed-point numbers per inch, whatever unit is displayed."""
    if len(content) < 12:
        return None
    x, y = (number / 65536 for number in struct.unpack_from(">I4xI", content))
    return (x, y, "inch") if min(x, y) >= 1 else None


def _losses(header: _Header, layers: _Layers, extra_channels: int) -> list[str]:
    """Return warnings of what the merged image lacks."""
    losses = []
    if layers.count:
        losses.append("the layers are dropped, the merged image is kept")
    if extra_channels:
        losses.append(
            f"{extra_channels} extra channels (spot colours, saved selections) are dropped"
            if extra_channels > 1
            else "an extra channel (spot colour, saved selection) is dropped"
        )
    if header.mode == _DUOTONE:
        losses.append("the inks of a duotone are dropped, its grey values are kept")
    return losses
