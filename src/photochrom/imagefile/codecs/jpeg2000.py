"""JPEG 2000: JP2 and JPX files, and bare codestreams.

Follows ISO/IEC 15444-1, annexes A (codestream) and I (JP2), and 15444-2, annex M (JPX). OpenJPEG
decodes the components; palette, channel definitions and colour are applied here.
"""

import dataclasses
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photochrom.color import cicp, icc
from photochrom.color.cie import FloatArray
from photochrom.errors import PhotoError
from photochrom.imagefile.codecs.boxes import find_box, iterate_boxes
from photochrom.imagefile.codecs.jpeg2000_metadata import read_metadata
from photochrom.imagefile.decoding import (
    DamagedError,
    check_size,
    convert_cmyk,
    finish,
    reader_errors,
)
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.samples import (
    from_unit_range,
    pixel_type,
    to_full_range,
)

_CODESTREAM = b"\xff\x4f\xff\x51"
_OTHER_BRANDS = {b"jpm ": "a JPEG 2000 document (JPM)", b"mjp2": "a Motion JPEG 2000 video"}
_ENUMERATED, _ICC_METHODS, _CODE_POINTS = 1, (2, 3), 5
_BILEVEL, _BILEVEL_2, _CMYK, _LAB, _SRGB, _GREY, _SYCC = 0, 15, 12, 14, 16, 17, 18
_COLOR_COUNTS: dict[int | bytes, int] = {
    **{_BILEVEL: 1, _BILEVEL_2: 1, _SRGB: 3, _GREY: 1, _SYCC: 3},
    **{_CMYK: 4, _LAB: 3, b"GRAY": 1, b"RGB ": 3, b"CMYK": 4},
}
"""Channels of colour spaces: numbers (15444-2, table M.25), and those of profiles."""
_COLOR_NAMES: dict[int | bytes, str] = {
    **{1: "YCbCr(1)", 3: "YCbCr(2)", 4: "YCbCr(3)", 9: "PhotoYCC", 11: "CMY"},
    **{13: "YCCK", 19: "CIEJab", 20: "e-sRGB", 21: "ROMM-RGB", 22: "YPbPr", 24: "e-sYCC"},
}
"""Those that are refused."""
_COLOR, _OPACITY, _PREMULTIPLIED_OPACITY = 0, 1, 2


@dataclass(frozen=True)
class _Component:
    """A component by the header of the codestream (15444-1, section A.5.1)."""

    bits: int
    is_signed: bool
    steps: tuple[int, int]
    """Horizontal and vertical distance of samples; 1 unless it is subsampled."""


@dataclass(frozen=True)
class _Channel:
    samples: NDArray[Any]
    """Shape (H, W), 0 to 2^bits - 1."""
    bits: int


@dataclass(frozen=True)
class _Color:
    """A colour specification: an enumerated colour space or a profile."""

    space: int | bytes
    """The number, or the profile's name of it."""
    icc: bytes | None = None
    ranges: tuple[int, ...] = ()
    """Of CIELab: ranges and offsets of L*, a* and b* in turns; empty: the defaults."""


def read(data: bytes, name: str, max_pixels: int) -> Photo:
    """Read a JPEG 2000 file or codestream.

    Args:
        data: The file.
        name: Names it in errors.
        max_pixels: A larger image is refused before it is decoded.

    Raises:
        PhotoError: If it is damaged, or of a kind that cannot be read.
    """
    is_bare = data.startswith(_CODESTREAM)
    codestream = data if is_bare else find_box(data, b"jp2c")
    if codestream is None:
        brand = (find_box(data, b"ftyp") or b"")[:4]
        if brand in _OTHER_BRANDS:
            raise PhotoError(f"{name} is {_OTHER_BRANDS[brand]}, which cannot be read")
        raise DamagedError(f"{name} is a JPEG 2000 file without an image; it may be cut off")
    with reader_errors(name):
        header = b"" if is_bare else _join_headers(data)
        width, height, components = _read_size(codestream)
        is_ycc = _is_subsampled(components)
        color = _read_color(header, _channel_bits(components, header), is_ycc=is_ycc)
    check_size(width, height, name, max_pixels)
    with reader_errors(name):
        metadata = read_metadata(b"" if is_bare else data, header, codestream)
        depth = max(component.bits for component in components)
        if depth > 16:
            metadata = metadata.with_warning(f"samples of {depth} bits are reduced to 16")
        channels = _apply_palette(_decode(codestream, components), header)
        photo, metadata = _to_photo(channels, color, header, metadata, is_bare=is_bare)
        return finish(photo, metadata, Encoding("JPEG2000"))


def _join_headers(data: bytes) -> bytes:
    """Return the boxes in jp2h, then those of the first codestream and layer of a JPX."""
    paths = [(b"jp2h",), (b"jpch",), (b"jplh",), (b"jplh", b"cgrp")]
    return b"".join(find_box(data, *path) or b"" for path in paths)


def _read_size(codestream: bytes) -> tuple[int, int, list[_Component]]:
    """Return width, height and components by the marker segment SIZ."""
    right, bottom, left, top = struct.unpack_from(">4I", codestream, 8)
    (count,) = struct.unpack_from(">H", codestream, 40)
    parts = codestream[42 : 42 + 3 * count]
    components = [
        _Component((depth & 0x7F) + 1, bool(depth & 0x80), (across, down))
        for depth, across, down in zip(parts[::3], parts[1::3], parts[2::3], strict=False)
    ]
    if right <= left or bottom <= top or not components:
        raise DamagedError("it has no pixels")
    return right - left, bottom - top, components


def _channel_bits(components: list[_Component], header: bytes) -> list[int]:
    """Return the bits of the channels, with those of a palette."""
    bits = [component.bits for component in components]
    palette = find_box(header, b"pclr")
    if palette is None:
        return bits
    return [
        (palette[3 + column] & 0x7F) + 1 if is_palette else bits[component]
        for component, is_palette, column in _read_mapping(header, palette)
    ]


def _read_mapping(header: bytes, palette: bytes) -> list[tuple[int, int, int]]:
    """Return component, whether it is an index, and column of each channel (section I.5.3.5)."""
    mapping = find_box(header, b"cmap")
    if mapping is None:  # the first component is an index
        return [(0, 1, column) for column in range(palette[2])]
    return list(struct.iter_unpack(">HBB", mapping))


def _is_subsampled(components: Sequence[_Component]) -> bool:
    return any(component.steps != (1, 1) for component in components)


def _decode(codestream: bytes, components: list[_Component]) -> list[_Channel]:
    """Decode the components; those of subsampled YCbCr become R, G and B."""
    bits = [component.bits for component in components]
    is_uniform = len({(part.bits, part.is_signed) for part in components}) == 1
    if _is_subsampled(components) and not (is_uniform and _is_subsampled_ycc(components)):
        raise PhotoError(
            "its channels are subsampled in a way that cannot be read; save it without subsampling"
        )
    try:
        if is_uniform:
            import imagecodecs  # slow to import

            decoded = np.atleast_3d(imagecodecs.jpeg2k_decode(codestream))
        elif max(bits) <= 8 and len(components) <= 4:
            decoded = _decode_mixed_depths(codestream, bits)
        else:
            raise PhotoError(
                f"its channels have different bit depths, {', '.join(map(str, bits))}; save it "
                f"with {'8' if max(bits) <= 8 else '16'} bits for each"
            )
    except (RuntimeError, OSError, SyntaxError) as error:
        raise DamagedError(f"it is damaged or cut off: {error}") from error
    if decoded.shape[2] != len(components):
        raise DamagedError("it has another number of channels than it says")
    channels = []
    for index, component in enumerate(components):
        samples = decoded[..., index]
        if component.is_signed and is_uniform:
            samples = samples.astype(np.int64) + (1 << component.bits - 1)
        excess = max(0, component.bits - 16)
        channels.append(_Channel(samples >> excess, component.bits - excess))
    return channels


def _is_subsampled_ycc(components: list[_Component]) -> bool:
    """Tell whether it is YCbCr of 4:2:0 or 4:2:2, which OpenJPEG's tools convert to RGB."""
    luma, *chroma = (component.steps for component in components)
    return luma == (1, 1) and chroma in ([(2, 1), (2, 1)], [(2, 2), (2, 2)])


def _decode_mixed_depths(codestream: bytes, bits: list[int]) -> NDArray[Any]:
    """Decode up to 4 components of 1 to 8 bits by Pillow, which shifts them to 8."""
    with Image.open(BytesIO(codestream), formats=["JPEG2000"]) as image:
        shifted: NDArray[Any] = np.atleast_3d(np.asarray(image)) >> (8 - np.array(bits))
        return shifted


def _apply_palette(components: list[_Channel], header: bytes) -> list[_Channel]:
    """Return the channels of components by the boxes pclr and cmap (sections I.5.3.4, I.5.3.5)."""
    palette = find_box(header, b"pclr")
    if palette is None:
        return components
    count, columns = struct.unpack_from(">HB", palette)
    bits = [(depth & 0x7F) + 1 for depth in palette[3 : 3 + columns]]
    if max(bits) > 16 or any(depth & 0x80 for depth in palette[3 : 3 + columns]):
        raise PhotoError("it has a palette of signed values or more than 16 bits; save it as RGB")
    row = np.dtype([(str(n), ">u2" if depth > 8 else ">u1") for n, depth in enumerate(bits)])
    entries = np.frombuffer(palette, row, count, 3 + columns)
    channels = []
    for component, is_palette, column in _read_mapping(header, palette):
        channel = components[component]
        if is_palette:
            values = entries[str(column)].astype(np.uint16)
            channel = _Channel(values.take(channel.samples, mode="clip"), bits[column])
        channels.append(channel)
    return channels


def _read_color(header: bytes, bits: list[int], *, is_ycc: bool) -> _Color:
    """Return the first colour specification that can be used (section I.5.3.3).

    Raises:
        PhotoError: If there are some, and none of them can.
    """
    specifications = list(_read_color_specifications(header, is_grey=len(bits) < 3))
    usable = [s for s in specifications if s.space in _COLOR_COUNTS]
    if specifications and not usable:
        space = specifications[0].space
        known = repr(space) if isinstance(space, bytes) else f"number {space}"
        name = _COLOR_NAMES.get(space, known)
        raise PhotoError(
            f"its colours are {name}, which cannot be read in JPEG 2000; "
            "save it as grey or RGB with a colour profile"
        )
    default = _Color(_GREY if len(bits) < 3 else _SRGB)
    color = usable[0] if usable else default
    if color.space == _SRGB and len(bits) < 3:
        return default
    if color.space in (_BILEVEL, _BILEVEL_2) and bits[0] > 1:
        return default  # OpenJPEG writes 0 where it is unspecified
    # OpenJPEG's tools take subsampled channels for YCbCr, and `_decode` converts them.
    return _Color(_SRGB) if is_ycc and color.space == _SYCC else color


def _read_color_specifications(header: bytes, *, is_grey: bool) -> Iterator[_Color]:
    for kind, content in iterate_boxes(header):
        if kind != b"colr" or len(content) < 7:
            continue
        method, value = content[0], content[3:]
        if method == _ENUMERATED:
            space = int.from_bytes(value[:4])
            has_ranges = space == _LAB and len(value) >= 28
            yield _Color(space, None, struct.unpack_from(">6I", value, 4) if has_ranges else ())
        elif method in _ICC_METHODS:
            yield _Color(value[16:20], value)
        elif method == _CODE_POINTS and len(value) >= 7:
            primaries, transfer, matrix, is_full = struct.unpack_from(">3HB", value)
            if matrix or not is_full & 0x80:
                yield _Color(b"YCbCr")
                continue
            try:
                profile = cicp.cicp_profile(primaries, transfer, is_grey=is_grey)
            except icc.ProfileError as error:
                raise PhotoError(str(error)) from error
            yield _Color(_GREY if is_grey else _SRGB, profile)


def _to_photo(
    channels: list[_Channel], color: _Color, header: bytes, metadata: Metadata, *, is_bare: bool
) -> tuple[Photo, Metadata]:
    """Assign channels to colours and opacity, and scale them."""
    count = _COLOR_COUNTS[color.space]
    if len(channels) < count:
        raise DamagedError(f"it has {len(channels)} channels, fewer than its colours need")
    colors, opacity, is_premultiplied = _read_definitions(header, len(channels), count)
    if is_bare and len(channels) == count + 1:  # it has no definitions
        opacity = count
    extra = len(channels) - count - (opacity is not None)
    if extra > 0:
        metadata = metadata.with_warning(f"{_count(extra, 'extra channel')} dropped")
    parts = [channels[index] for index in colors]
    bits = max(part.bits for part in parts)
    alpha = None
    if opacity is not None:
        alpha = to_full_range(channels[opacity].samples, channels[opacity].bits, bits)
    if color.space == _LAB:
        pixels = icc.lab_to_srgb(_encode_lab(parts, color.ranges), pixel_type(bits))
        metadata = metadata.with_warning("Lab is converted to sRGB")
        return Photo(pixels, alpha), dataclasses.replace(metadata, icc=icc.srgb_profile())
    if color.space == _SYCC or is_premultiplied:
        values = _stack([_to_unit_range(part) for part in parts])
        if color.space == _SYCC:
            values = _ycc_to_rgb(values, parts[1].bits)
        if is_premultiplied and opacity is not None:
            values /= np.maximum(_to_unit_range(channels[opacity]), np.float32(1e-6))[..., None]
        pixels = from_unit_range(values, bits)
    else:
        pixels = _stack([to_full_range(part.samples, part.bits, bits) for part in parts])
    metadata = dataclasses.replace(metadata, icc=color.icc)
    if color.space == _BILEVEL:  # 0 is white
        pixels = ~pixels
    if count == 4:
        photo = convert_cmyk(pixels, alpha, metadata)
        return photo, photo.metadata
    return Photo(pixels, alpha), metadata


def _read_definitions(header: bytes, total: int, count: int) -> tuple[list[int], int | None, bool]:
    """Read the box cdef (section I.5.3.6).

    Args:
        header: Content of the box jp2h.
        total: Number of channels.
        count: Number of colours.

    Returns:
        The channel of each colour; that of opacity, if there is one; whether it is multiplied.
    """
    definitions = find_box(header, b"cdef")
    if definitions is None:
        return list(range(count)), None, False
    colors: dict[int, int] = {}
    opacity, is_premultiplied = None, False
    for channel, kind, color in struct.iter_unpack(">3H", definitions[2:][: 6 * total]):
        if channel >= total:
            raise DamagedError("its channel definitions name a channel that does not exist")
        if kind == _COLOR:
            colors[color - 1] = channel
        elif kind in (_OPACITY, _PREMULTIPLIED_OPACITY) and opacity is None:
            opacity, is_premultiplied = channel, kind == _PREMULTIPLIED_OPACITY
    if set(range(count)) <= colors.keys():
        return [colors[index] for index in range(count)], opacity, is_premultiplied
    # Some writers number no colours.
    others = [channel for channel in range(total) if channel != opacity]
    if len(others) < count:
        raise DamagedError("its channel definitions leave out a colour")
    return others[:count], opacity, is_premultiplied


def _to_unit_range(channel: _Channel) -> FloatArray:
    return channel.samples.astype(np.float32) / np.float32((1 << channel.bits) - 1)


def _ycc_to_rgb(values: FloatArray, chroma_bits: int) -> FloatArray:
    """Convert sYCC (IEC 61966-2-1, annex F) in [0, 1] to R'G'B'."""
    zero = np.float32((1 << chroma_bits - 1) / ((1 << chroma_bits) - 1))
    y, cb, cr = values[..., 0], values[..., 1] - zero, values[..., 2] - zero
    red, blue = y + np.float32(1.402) * cr, y + np.float32(1.772) * cb
    return _stack([red, y - np.float32(0.344136) * cb - np.float32(0.714136) * cr, blue])


def _encode_lab(parts: list[_Channel], ranges: tuple[int, ...]) -> NDArray[np.uint16]:
    """Return CIELab (15444-2, section M.11.7.4.1) as `icc.lab_to_srgb` takes it."""
    planes = []
    for index, part in enumerate(parts):
        n = part.bits
        defaults = ((100, 0), (170, 1 << n >> 1), (200, (1 << n >> 2) + (1 << n >> 3)))[index]
        range_, offset = ranges[2 * index : 2 * index + 2] or defaults
        values = (part.samples - np.float32(offset)) * np.float32(range_ / ((1 << n) - 1))
        planes.append(values / 100 if index == 0 else (values + 128) / 255)
    encoded: NDArray[np.uint16] = from_unit_range(_stack(planes), 16).astype(np.uint16)
    return encoded


def _stack(planes: list[Any]) -> NDArray[Any]:
    return np.stack(planes, axis=-1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}s are" if number > 1 else f"{number} {noun} is"
