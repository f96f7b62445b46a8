"""Photoshop's image resources, which hold IPTC, paths and more.

Follows Adobe's Photoshop File Formats Specification (2019), sections "Image Resource Blocks" and
"Path resource format".
"""

import struct
from collections.abc import Iterator

from photochrom.imagefile.turning import Crop, Turn

IPTC = 0x0404
_RESOLUTION, _GUIDES, _WORKING_PATH = 1005, 1032, 1025
_PATHS = (_WORKING_PATH, *range(2000, 2998))
_THUMBNAILS = (1033, 1036)
_KNOTS = (1, 2, 4, 5)
"""Selectors of the records of a path that hold points."""
_FRACTION = 1 << 24
"""Width and height of the photo in a path."""
_GUIDE_STEPS = 32
"""Positions of guides in a pixel."""


def iterate_resources(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield number, block and content of image resources; a damaged rest has number -1.

    A block ends with the padding of its content to an even size, which the last one may lack.
    """
    offset = 0
    while offset + 12 <= len(data):
        (number, name_length) = struct.unpack_from(">HB", data, offset + 4)
        start = offset + 6 + name_length + 2 - name_length % 2 + 4
        size = int.from_bytes(data[start - 4 : start])
        end = start + size + size % 2
        if start + size > len(data):
            break
        yield number, data[offset:end].ljust(end - offset, b"\0"), data[start : start + size]
        offset = end
    yield -1, data[offset:], b""


def find_iptc(data: bytes) -> bytes | None:
    """Return the IPTC in image resources, None if there is none."""
    return next((content for number, _, content in iterate_resources(data) if number == IPTC), None)


def make_upright(data: bytes, turn: Turn) -> bytes:
    """Return image resources for the upright photo: paths and guides turned, no thumbnails."""
    blocks = []
    for number, block, content in iterate_resources(data):
        if number in _THUMBNAILS:
            continue
        turned = content
        if number == _RESOLUTION and turn.swaps_sides and len(content) == 16:
            turned = content[8:] + content[:8]
        elif number in _PATHS:
            turned = _turn_path(content, turn)
        elif number == _GUIDES:
            turned = _turn_guides(content, turn)
        start = len(block) - len(content) - len(content) % 2
        blocks.append(block[:start] + turned + block[start + len(content) :])
    return b"".join(blocks)


def crop(data: bytes, crop: Crop) -> tuple[bytes, list[str]]:
    """Return image resources with paths and guides moved, and what is lost, each a phrase."""
    blocks, lost = [], []
    for number, block, content in iterate_resources(data):
        moved: bytes | None = content
        if number in _PATHS:
            moved = _crop_path(content, crop)
            if moved is None:
                lost.append("a path of Photoshop is dropped: it reaches too far out of the photo")
        elif number == _GUIDES:
            moved = None if crop.angle else _crop_guides(content, crop)
            if moved is None:
                lost.append("the guides of Photoshop are dropped: the photo is straightened")
        if moved is not None:
            header = block[: len(block) - len(content) - len(content) % 2]
            size = len(moved).to_bytes(4)
            blocks.append(
                block if moved == content else header[:-4] + size + moved + bytes(len(moved) % 2)
            )
    return b"".join(blocks), lost


def _turn_path(content: bytes, turn: Turn) -> bytes:
    """Turn the points of a path: records of 26 bytes, those of a knot with three points."""
    output = bytearray(content)
    for start in range(0, len(content) - 25, 26):
        selector, *numbers = struct.unpack_from(">H6i", content, start)
        if selector in _KNOTS:
            points = zip(numbers[1::2], numbers[::2], strict=True)
            moved = (turn.move_box(x, y, 0, 0, (_FRACTION, _FRACTION)) for x, y in points)
            turned = [number for x, y, _, _ in moved for number in (y, x)]
            if all(-(2**31) <= number < 2**31 for number in turned):
                struct.pack_into(">6i", output, start + 2, *turned)
    return bytes(output)


def _turn_guides(content: bytes, turn: Turn) -> bytes:
    """Turn guides: a header of 16 bytes, then position and direction (0: vertical) of each."""
    output = bytearray(content)
    extents = turn.width * _GUIDE_STEPS, turn.height * _GUIDE_STEPS
    for start in range(16, len(content) - 4, 5):
        position, direction = struct.unpack_from(">iB", content, start)
        x, y, _, _ = turn.move_box(position, position, 0, 0, extents)
        is_vertical = (direction == 0) != turn.swaps_sides
        position = x if is_vertical else y
        if -(2**31) <= position < 2**31:
            struct.pack_into(">iB", output, start, position, 0 if is_vertical else 1)
    return bytes(output)


def _crop_path(content: bytes, crop: Crop) -> bytes | None:
    """Move the points of a path, which may lie outside; None if one is too far out."""
    output = bytearray(content)
    for start in range(0, len(content) - 25, 26):
        selector, *numbers = struct.unpack_from(">H6i", content, start)
        if selector not in _KNOTS:
            continue
        moved: list[int] = []
        for y, x in zip(numbers[::2], numbers[1::2], strict=True):
            new_x, new_y = crop.move_point(x * crop.width / _FRACTION, y * crop.height / _FRACTION)
            moved += (round(new_y * _FRACTION / crop.new_height),)
            moved += (round(new_x * _FRACTION / crop.new_width),)
        if not all(-(2**31) <= number < 2**31 for number in moved):
            return None
        struct.pack_into(">6i", output, start + 2, *moved)
    return bytes(output)


def _crop_guides(content: bytes, crop: Crop) -> bytes:
    """Move guides, and leave out those that are cut off."""
    guides = []
    for start in range(16, len(content) - 4, 5):
        position, direction = struct.unpack_from(">iB", content, start)
        is_vertical = direction == 0
        position -= _GUIDE_STEPS * (crop.left if is_vertical else crop.top)
        extent = _GUIDE_STEPS * (crop.new_width if is_vertical else crop.new_height)
        if 0 <= position <= extent:
            guides.append(struct.pack(">iB", position, direction))
    return content[:12] + len(guides).to_bytes(4) + b"".join(guides) if content[15:] else content
