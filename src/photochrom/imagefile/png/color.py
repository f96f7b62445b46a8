"""Colours of a PNG without a profile: its chunks cICP, gAMA and cHRM become one."""

import dataclasses
import struct

from photochrom.color import cicp, icc
from photochrom.errors import PhotoError
from photochrom.imagefile.metadata import Metadata

_CICP_RGB, _CICP_FULL_RANGE = 0, 1
_PRIMARY_CHUNKS = (b"cHRM", b"cICP")


def with_color_profile(metadata: Metadata, *, is_grey: bool) -> Metadata:
    """Return the metadata of a PNG with the profile that its chunks describe, if they do.

    cICP comes before a profile, sRGB and a profile before gAMA and cHRM (PNG, third edition,
    section 4.3).

    Raises:
        PhotoError: If cICP names colours that cannot be used, such as those of HDR.
    """
    chunks = {chunk[4:8]: chunk[8:-4] for chunk in metadata.png_chunks}
    try:
        code_points = chunks.get(b"cICP", b"")
        if len(code_points) == 4:
            color_primaries, transfer, matrix, value_range = code_points
            if (matrix, value_range) != (_CICP_RGB, _CICP_FULL_RANGE):
                raise PhotoError("its chunk cICP says YCbCr or video range; give full-range RGB")
            if (color_primaries, transfer) != (cicp.UNSPECIFIED, cicp.UNSPECIFIED):
                profile = cicp.cicp_profile(color_primaries, transfer, is_grey=is_grey)
                return _replace_profile(metadata, profile, is_grey=is_grey)
    except icc.ProfileError as error:
        raise PhotoError(str(error)) from error
    if metadata.icc is not None or b"sRGB" in chunks:
        return metadata
    try:
        exponent, primaries = _read_calibration(chunks.get(b"gAMA"), chunks.get(b"cHRM"))
        profile = icc.calibrated_profile(exponent, primaries, is_grey=is_grey)
    except (icc.ProfileError, struct.error):
        return metadata.with_profile(None).with_warning(
            "the colours in gAMA and cHRM are not plausible and are dropped"
        )
    return _replace_profile(metadata, profile, is_grey=is_grey)


def _replace_profile(metadata: Metadata, profile: bytes | None, *, is_grey: bool) -> Metadata:
    """Set the profile; grey loses the chunks of primaries, which its colours will not have."""
    chunks = tuple(c for c in metadata.png_chunks if not is_grey or c[4:8] not in _PRIMARY_CHUNKS)
    return dataclasses.replace(metadata, icc=profile, png_chunks=chunks)


def _read_calibration(
    gamma: bytes | None, colors: bytes | None
) -> tuple[float | None, icc.Primaries | None]:
    """Return exponent and primaries by gAMA and cHRM (sections 11.3.2.1 and 11.3.2.2).

    Raises:
        struct.error: If they have a wrong length.
    """
    exponent = primaries = None
    if gamma is not None and any(gamma):  # 0 has no meaning
        exponent = 100_000 / struct.unpack(">I", gamma)[0]
    if colors is not None:
        numbers = [number / 100_000 for number in struct.unpack(">8I", colors)]
        white, red, green, blue = zip(numbers[::2], numbers[1::2], strict=True)
        primaries = icc.Primaries(red, green, blue, white)
    return exponent, primaries
