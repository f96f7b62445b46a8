"""Positions in XMP: faces and other regions, crops, and sizes, for the upright photo."""

from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation

from photochrom.imagefile.turning import Turn
from photochrom.imagefile.xmp.tree import Edit, Node, properties

_TIFF, _EXIF = b"http://ns.adobe.com/tiff/1.0/", b"http://ns.adobe.com/exif/1.0/"
_CAMERA_RAW = b"http://ns.adobe.com/camera-raw-settings/1.0/"
_IPTC = b"http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_SIDES = (
    (_TIFF + b"ImageWidth", _TIFF + b"ImageLength"),
    (_EXIF + b"PixelXDimension", _EXIF + b"PixelYDimension"),
    (_TIFF + b"XResolution", _TIFF + b"YResolution"),
    (_CAMERA_RAW + b"CropWidth", _CAMERA_RAW + b"CropHeight"),
)
"""Properties that are swapped with the sides; the first two count the photo's pixels."""
_CROP = tuple(_CAMERA_RAW + name for name in (b"CropLeft", b"CropTop", b"CropRight", b"CropBottom"))
_CROP_ANGLE = _CAMERA_RAW + b"CropAngle"
_REGIONS = {
    b"http://www.metadataworkinggroup.com/schemas/regions/Regions": (
        b"http://www.metadataworkinggroup.com/schemas/regions/AppliedToDimensions",
        b"http://ns.adobe.com/xap/1.0/sType/Dimensions#",
        b"http://ns.adobe.com/xmp/sType/Area#",
    ),
    b"http://ns.acdsee.com/regions/Regions": (
        b"http://ns.acdsee.com/regions/AppliedToDimensions",
        b"http://ns.acdsee.com/sType/Dimensions#",
        b"http://ns.acdsee.com/sType/Area#",
    ),
}
"""Regions given by their centre (MWG guidelines 2.0, section 5.9): their property, the size of the
photo that they are for, the namespace of its sides, and that of a region's position."""
_RECTANGLE = b"http://ns.microsoft.com/photo/1.2/t/Region#Rectangle"
"""Microsoft's: left, top, width and height, between 0 and 1."""
_SUBJECTS = (_EXIF + b"SubjectArea", _EXIF + b"SubjectLocation")
_ONE = Decimal(1)


def turn_regions(packet: bytes, root: Node, turn: Turn) -> list[Edit]:
    """Return edits that give positions and sizes in the upright photo; invalid ones are kept."""
    edits: list[Edit] = []
    found: dict[bytes, Node] = {}
    for node in properties(root):
        found.setdefault(node.name, node)
        if node.name in _REGIONS:
            edits += _turn_centres(packet, node, turn, *_REGIONS[node.name])
        elif node.name in _SUBJECTS:
            edits += _turn_subject(packet, node, turn)
        elif node.name == _IPTC + b"ImageRegion":
            edits += _turn_boundaries(packet, node, turn)
        else:
            for rectangle in node.walk():
                if rectangle.name == _RECTANGLE:
                    edits += _turn_rectangle(packet, rectangle, turn)
    if turn.swaps_sides:
        for names in _SIDES:
            width, height = map(found.get, names)
            edits += _swap(packet, width, height)
            if names in _SIDES[:2] and (width is None) != (height is None):
                edits += _set_all((width, height), (Decimal(turn.height), Decimal(turn.width)))
    edits += _turn_crop(packet, [found.get(name) for name in _CROP], turn)
    angle = found.get(_CROP_ANGLE)
    if angle is not None and turn.is_mirrored:
        edits += (_set(angle, -number) for number in _numbers(packet, [angle]))
    return edits


def _turn_centres(
    packet: bytes, regions: Node, turn: Turn, dimensions: bytes, sides: bytes, area: bytes
) -> Iterator[Edit]:
    size = regions.search(dimensions)
    if size is not None and turn.swaps_sides:
        pair = size.search(sides + b"w"), size.search(sides + b"h")
        numbers = _numbers(packet, pair)
        if numbers and _order(*numbers) == -_order(turn.width, turn.height) != 0:
            return  # they are for the upright photo
        yield from _swap(packet, *pair)
    for node in regions.walk():
        values = [node.find(area + name) for name in (b"x", b"y", b"w", b"h")]
        count = 2 if None in values else 4  # a point, or a circle
        if numbers := _numbers(packet, values[:count]):
            x, y, w, h = *numbers, *[Decimal(0)] * (4 - count)
            unit = node.find(area + b"unit")
            extents = _extents(packet, unit, turn)
            x, y, _, _ = turn.move_box(x, y, Decimal(0), Decimal(0), extents)
            if turn.swaps_sides:
                w, h = h, w
            yield from _set_all(values[:count], (x, y, w, h))


def _turn_rectangle(packet: bytes, rectangle: Node, turn: Turn) -> Iterator[Edit]:
    numbers = _parse(packet[rectangle.value_start : rectangle.value_end].split(b","))
    if len(numbers) == 4:
        x, y, w, h = numbers
        text = ", ".join(f"{number:f}" for number in turn.move_box(x, y, w, h, (_ONE, _ONE)))
        yield rectangle.value_start, rectangle.value_end, text.encode()


def _turn_boundaries(packet: bytes, regions: Node, turn: Turn) -> Iterator[Edit]:
    """Turn IPTC's image regions (Photo Metadata Standard 2019.1): corners, centres, vertices."""
    for boundary in regions.walk():
        if boundary.name != _IPTC + b"RegionBoundary":
            continue
        extents = _extents(packet, boundary.search(_IPTC + b"rbUnit"), turn)
        for node in boundary.walk():
            values = [node.find(_IPTC + name) for name in (b"rbX", b"rbY", b"rbW", b"rbH")]
            count = 2 if None in values else 4
            if numbers := _numbers(packet, values[:count]):
                x, y, w, h = *numbers, *[Decimal(0)] * (4 - count)
                yield from _set_all(values[:count], turn.move_box(x, y, w, h, extents))
        radius = boundary.search(_IPTC + b"rbRx")  # relative to the width
        if turn.swaps_sides and extents == (_ONE, _ONE) and turn.height:
            for number in _numbers(packet, [radius]):
                assert radius is not None
                yield _set(radius, round(number * turn.width / turn.height, 6))


def _turn_subject(packet: bytes, subject: Node, turn: Turn) -> Iterator[Edit]:
    items = [node for node in subject.walk() if not node.children and node is not subject]
    numbers = _numbers(packet, items)
    if len(numbers) in (2, 3, 4) and min(numbers) >= 0:
        area = turn.move_subject(tuple(map(int, numbers)))
        yield from _set_all(items, tuple(map(Decimal, area)))


def _turn_crop(packet: bytes, nodes: Sequence[Node | None], turn: Turn) -> Iterator[Edit]:
    numbers = _numbers(packet, nodes)
    if numbers:
        left, top, right, bottom = numbers
        x, y, w, h = turn.move_box(left, top, right - left, bottom - top, (_ONE, _ONE))
        yield from _set_all(nodes, (x, y, x + w, y + h))


def _extents(packet: bytes, unit: Node | None, turn: Turn) -> tuple[Decimal, Decimal]:
    """Return width and height of the stored photo in a unit: `pixel`, or relative to them."""
    if unit is None or packet[unit.value_start : unit.value_end].strip() != b"pixel":
        return _ONE, _ONE
    return Decimal(turn.width), Decimal(turn.height)


def _swap(packet: bytes, a: Node | None, b: Node | None) -> Iterator[Edit]:
    """Exchange the values of a pair."""
    if a is not None and b is not None:
        texts = [packet[node.value_start : node.value_end] for node in (a, b)]
        if not any(b"<" in text for text in texts):
            yield a.value_start, a.value_end, texts[1]
            yield b.value_start, b.value_end, texts[0]


def _numbers(packet: bytes, nodes: Sequence[Node | None]) -> list[Decimal]:
    """Return the numbers of nodes, none if not all are numbers."""
    present = [node for node in nodes if node is not None]
    numbers = _parse([packet[node.value_start : node.value_end] for node in present])
    return numbers if len(numbers) == len(nodes) else []


def _parse(texts: Sequence[bytes]) -> list[Decimal]:
    """Return numbers of a sensible size, none if one is not."""
    try:
        numbers = [Decimal(text.strip().decode()) for text in texts if len(text) < 40]
    except (UnicodeDecodeError, InvalidOperation):
        return []
    is_sensible = all(number.is_finite() and -30 < number.adjusted() < 9 for number in numbers)
    return numbers if len(numbers) == len(texts) and is_sensible else []


def _set_all(nodes: Sequence[Node | None], numbers: Sequence[Decimal]) -> Iterator[Edit]:
    for node, number in zip(nodes, numbers, strict=False):
        if node is not None:
            yield _set(node, number)


def _set(node: Node, number: Decimal) -> Edit:
    return node.value_start, node.value_end, f"{number:f}".encode()


def _order(a: Decimal | int, b: Decimal | int) -> int:
    return (a > b) - (a < b)
