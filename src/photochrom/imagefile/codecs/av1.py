"""Colours of an AV1 bitstream, by its sequence header.

Follows the AV1 Bitstream & Decoding Process Specification, sections 5.3 to 5.5.
"""

from collections.abc import Iterator

_SEQUENCE_HEADER = 1
"""Type of an OBU."""


def read_code_points(obus: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer curve by ITU-T H.273; None: not described, or damaged."""
    try:
        header = next(_sequence_headers(obus), None)
        return None if header is None else _parse(_Bits(header))
    except ValueError:
        return None


def _sequence_headers(obus: bytes) -> Iterator[bytes]:
    """Yield the contents of OBUs that are sequence headers."""
    start = 0
    while start < len(obus):
        header = obus[start]
        start += 2 if header & 4 else 1  # with an extension
        size = len(obus) - start
        if header & 2:  # with a size, as leb128
            size = shift = 0
            while True:
                if start >= len(obus) or shift > 28:
                    return
                byte = obus[start]
                start += 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
        if header >> 3 & 15 == _SEQUENCE_HEADER:
            yield obus[start : start + size]
        start += size


class _Bits:
    """Reads numbers, highest bits first."""

    def __init__(self, data: bytes) -> None:
        self.number, self.left = int.from_bytes(data), 8 * len(data)

    def read(self, count: int) -> int:
        """Return the number of the next bits."""
        self.left -= count
        if self.left < 0:
            raise ValueError("the sequence header is cut off")
        return self.number >> self.left & ((1 << count) - 1)


def _parse(bits: _Bits) -> tuple[int, int] | None:
    """Read a sequence header up to its colours (sections 5.5.1 and 5.5.2)."""
    profile = bits.read(3)
    bits.read(1)  # still picture
    is_reduced = bits.read(1)
    if is_reduced:
        bits.read(5)  # level
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4), bits.read(4)
    bits.read(width_bits + height_bits + 2)
    if not is_reduced and bits.read(1):  # frame ids
        bits.read(4 + 3)
    bits.read(3)  # superblocks, intra filter, intra edge filter
    if not is_reduced:
        _skip_inter_tools(bits)
    bits.read(3)  # superresolution, CDEF, restoration
    is_deep = bits.read(1)
    if profile == 2 and is_deep:
        bits.read(1)  # 12 bits
    if profile != 1:
        bits.read(1)  # monochrome
    return (bits.read(8), bits.read(8)) if bits.read(1) else None


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = None
    if bits.read(1):  # timing
        bits.read(64)
        if bits.read(1):  # equal intervals, as uvlc
            zeros = 0
            while not bits.read(1):
                zeros += 1
            bits.read(zeros)
        if bits.read(1):  # decoder model
            delay_bits = bits.read(5) + 1
            bits.read(32 + 5 + 5)
    has_delays = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:  # level
            bits.read(1)  # tier
        if delay_bits is not None and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_delays and bits.read(1):
            bits.read(4)


def _skip_inter_tools(bits: _Bits) -> None:
    bits.read(4)
    has_order_hint = bits.read(1)
    if has_order_hint:
        bits.read(2)
    has_screen_content_tools = bits.read(1) or bits.read(1)
    if has_screen_content_tools and not bits.read(1):
        bits.read(1)  # integer motion vectors
    if has_order_hint:
        bits.read(3)
