"""Quantization tables for the result of a JPEG (ISO/IEC 10918-1, section A.3.4).

Coefficients that are quantized again with their own steps lose next to nothing. That needs the
same blocks of about the same grey values; where they differ, the steps have to be finer.
"""

from PIL import Image

BLOCK = 8
"""Side of a block in px."""
_MAX_STEP = 255  # in a baseline JPEG
_OTHER_BLOCKS, _OTHER_VALUES = 98, 75
"""Quality of the coarsest table. Then mean |dL*| is .1 to .3, as of an upright photo."""
_COARSE = 8000
"""Sum of the steps from which their errors grow with new colours: quality 20 and less."""
_FLIPPED = {2: (0,), 3: (0, 1), 4: (1,), 6: (1,), 7: (0, 1), 8: (0,)}
"""EXIF orientation to the sides of the file, width 0 and height 1, that are reversed."""
_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
"""ISO/IEC 10918-1, table K.1."""


def result_table(image: Image.Image, orientation: int, *, keeps_values: bool) -> list[int]:
    """Return 64 steps, row by row, for luma and chroma of the upright result in colour.

    The file's own chrominance table may be coarse.

    Args:
        image: A JPEG that Pillow opened.
        orientation: By EXIF, 1 to 8.
        keeps_values: Whether the result has the colour space of the file.

    Returns:
        The steps; of a lossless JPEG, which has no table, 1.
    """
    components = getattr(image, "layer", ())
    tables = getattr(image, "quantization", {})
    own = tables.get(components[0][3]) if components else None
    if not own:
        return [1] * BLOCK**2
    table = [min(step, _MAX_STEP) for step in own]
    table = turned_table(table, orientation)
    if not keeps_blocks(orientation, image.size):
        return finer_table(table)
    if not (keeps_values and _has_luma(image)) or sum(table) > _COARSE:
        return _at_least(table, _OTHER_VALUES)
    return table


def keeps_blocks(orientation: int, size: tuple[int, int]) -> bool:
    """Tell whether the upright photo has the blocks of the file, of a width and height in px."""
    return not any(size[side] % BLOCK for side in _FLIPPED.get(orientation, ()))


def turned_table(table: list[int], orientation: int) -> list[int]:
    """Return the steps for the upright photo."""
    if orientation < 5:
        return table
    return [table[column * BLOCK + row] for row in range(BLOCK) for column in range(BLOCK)]


def finer_table(table: list[int]) -> list[int]:
    """Return steps for a result whose blocks are not those of the file."""
    return _at_least(table, _OTHER_BLOCKS)


def _at_least(table: list[int], quality: int) -> list[int]:
    """Return a table of the smaller steps of this and of libjpeg's for a quality above 50."""
    scale = 200 - 2 * quality
    standard = ((step * scale + 50) // 100 for step in _LUMINANCE)
    return [max(1, min(pair)) for pair in zip(table, standard, strict=True)]


def _has_luma(image: Image.Image) -> bool:
    """Tell whether the first component is luma, as opposed to red or cyan.

    Decides as libjpeg does, by the markers of JFIF and Adobe and the components' names.
    """
    if image.mode not in ("L", "RGB"):
        return False
    if image.mode == "L" or "jfif" in image.info:
        return True
    if "adobe_transform" in image.info:
        return bool(image.info["adobe_transform"])
    return bytes(component[0] for component in getattr(image, "layer", ())) != b"RGB"
