"""Header of a JPEG XL codestream: size, depth, channels and colours.

Follows ISO/IEC 18181-1, annex D: SizeHeader, ImageMetadata and ColourEncoding.
"""

from dataclasses import dataclass

SIGNATURE = b"\xff\x0a"
ALPHA, BLACK = 0, 4
"""Kinds of extra channels."""
RGB, GREY = 0, 1
"""Colour spaces; 2 is XYB, 3 unknown."""
_SPOT, _COLOR_FILTER = 2, 5
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_CUSTOM = 2
_SRGB, _D65 = 1, 1
_SRGB_TRANSFER = 13

# Choices of a U32: each is added to the number of as many bits.
_SIZE = ((1, 9), (1, 13), (1, 18), (1, 30))
_ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
_BITS = ((8, 0), (10, 0), (12, 0), (1, 6))
_FLOAT_BITS = ((32, 0), (16, 0), (24, 0), (1, 6))
_CHANNELS = ((0, 0), (1, 0), (2, 4), (1, 12))
_SHIFT = ((0, 0), (3, 0), (4, 0), (1, 3))
_NAME_LENGTH = ((0, 0), (0, 4), (16, 5), (48, 10))
_FILTER = ((1, 0), (0, 2), (3, 4), (19, 8))
_PREVIEW_EIGHTHS = ((16, 0), (32, 0), (1, 5), (33, 9))
_PREVIEW_SIZE = ((1, 6), (65, 8), (321, 10), (1345, 12))
_COORDINATE = ((0, 19), (524_288, 19), (1_048_576, 20), (2_097_152, 21))


@dataclass(frozen=True)
class ColorEncoding:
    """Colours by code points; the defaults are sRGB."""

    has_profile: bool = False
    """An ICC profile, compressed, follows the header; all else but `space` is void."""
    space: int = RGB
    white: int | tuple[float, float] = _D65
    """A code point (1 D65, 10 E, 11 DCI), or x and y."""
    primaries: int | tuple[tuple[float, float], ...] = _SRGB
    """A code point (1 sRGB, 9 BT.2100, 11 P3), or x and y of red, green and blue."""
    transfer: int | float = _SRGB_TRANSFER
    """A code point of ITU-T H.273 (2 unknown, 17 DCI), or the exponent of encoding."""


@dataclass(frozen=True)
class JpegXlHeader:
    """What the header says of an image."""

    width: int
    height: int
    orientation: int = 1
    """As in EXIF. Width and height are those before it is applied."""
    is_animation: bool = False
    """Animations are parsed no further."""
    bits: int = 8
    is_float: bool = False
    extra_channels: tuple[int, ...] = ()
    """Their kinds."""
    is_premultiplied: bool = False
    color: ColorEncoding = ColorEncoding()


def parse_header(codestream: bytes) -> JpegXlHeader:
    """Parse the header of a codestream.

    Raises:
        ValueError: If it is damaged or cut off.
    """
    if not codestream.startswith(SIGNATURE):
        raise ValueError("it has no codestream")
    bits = _Bits(codestream[2:])
    width, height = bits.read_size(_SIZE, ((1, 5),) * 4)
    if bits.read_bool():  # all default
        return JpegXlHeader(width, height)
    orientation, is_animation = 1, False
    if bits.read_bool():
        orientation = 1 + bits.read(3)
        if bits.read_bool():  # intrinsic size
            bits.read_size(_SIZE, ((1, 5),) * 4)
        if bits.read_bool():  # preview
            bits.read_size(_PREVIEW_SIZE, _PREVIEW_EIGHTHS)
        if bits.read_bool():
            return JpegXlHeader(width, height, orientation, is_animation=True)
    is_float, depth = bits.read_depth()
    bits.read_bool()  # buffers of 16 bits are enough
    kinds, is_premultiplied = [], False
    for _ in range(bits.read_choice(_CHANNELS)):
        kind, is_associated = bits.read_extra_channel()
        is_premultiplied = is_premultiplied or is_associated
        kinds.append(kind)
    bits.read_bool()  # XYB
    return JpegXlHeader(
        *(width, height, orientation, is_animation, depth, is_float),
        *(tuple(kinds), is_premultiplied, bits.read_color()),
    )


class _Bits:
    """Reads numbers, lowest bits first."""

    def __init__(self, data: bytes) -> None:
        self.number = int.from_bytes(data[:65536], "little")
        self.left = 8 * min(len(data), 65536)

    def read(self, count: int) -> int:
        """Return the number of the next bits."""
        if count > self.left:
            raise ValueError("the header is cut off")
        number = self.number & ((1 << count) - 1)
        self.number >>= count
        self.left -= count
        return number

    def read_bool(self) -> bool:
        return self.read(1) == 1

    def read_choice(self, choices: tuple[tuple[int, int], ...]) -> int:
        """Return a U32."""
        base, count = choices[self.read(2)]
        return base + self.read(count)

    def read_size(
        self, sizes: tuple[tuple[int, int], ...], eighths: tuple[tuple[int, int], ...]
    ) -> tuple[int, int]:
        """Return width and height of a SizeHeader or PreviewHeader."""
        is_divided = self.read_bool()

        def read_side() -> int:
            if not is_divided:
                return self.read_choice(sizes)
            if eighths[0] == eighths[1]:  # no choice
                return 8 * (eighths[0][0] + self.read(eighths[0][1]))
            return 8 * self.read_choice(eighths)

        height = read_side()
        ratio = self.read(3)
        if ratio == 0:
            return read_side(), height
        numerator, denominator = _RATIOS[ratio]
        return height * numerator // denominator, height

    def read_depth(self) -> tuple[bool, int]:
        """Return whether samples are floating-point, and their bits."""
        if not self.read_bool():
            return False, self.read_choice(_BITS)
        depth = self.read_choice(_FLOAT_BITS)
        self.read(4)  # bits of the exponent
        return True, depth

    def read_extra_channel(self) -> tuple[int, bool]:
        """Return the kind of an extra channel, and whether it is multiplied into the colours."""
        if self.read_bool():  # all default
            return ALPHA, False
        kind = self.read_choice(_ENUM)
        self.read_depth()
        self.read_choice(_SHIFT)
        self.read(8 * self.read_choice(_NAME_LENGTH))
        if kind == ALPHA:
            return kind, self.read_bool()
        if kind == _SPOT:
            self.read(64)
        elif kind == _COLOR_FILTER:
            self.read_choice(_FILTER)
        return kind, False

    def read_color(self) -> ColorEncoding:
        if self.read_bool():  # all default
            return ColorEncoding()
        has_profile, space = self.read_bool(), self.read_choice(_ENUM)
        if has_profile or space > GREY:
            return ColorEncoding(has_profile, space)
        white: int | tuple[float, float] = self.read_choice(_ENUM)
        if white == _CUSTOM:
            white = self.read_chromaticity()
        primaries: int | tuple[tuple[float, float], ...] = _SRGB
        if space == RGB:
            primaries = self.read_choice(_ENUM)
            if primaries == _CUSTOM:
                primaries = tuple(self.read_chromaticity() for _ in range(3))
        is_power = self.read_bool()
        transfer = self.read(24) / 1e7 if is_power else self.read_choice(_ENUM)
        return ColorEncoding(False, space, white, primaries, transfer)

    def read_chromaticity(self) -> tuple[float, float]:
        numbers = (self.read_choice(_COORDINATE) for _ in range(2))
        # Even numbers are positive, odd ones negative.
        x, y = (((n >> 1) ^ -(n & 1)) / 1e6 for n in numbers)
        return x, y
