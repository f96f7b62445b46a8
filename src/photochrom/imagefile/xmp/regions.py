"""Positions in XMP: faces and other regions, crops, and sizes, for the upright photo."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation

from photochrom.imagefile.turning import Crop, Turn
from photochrom.imagefile.xmp.tree import RDF, Edit, Node, properties

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
_ALL_OF_CROP = (
    *(*_CROP, *_SIDES[3], _CROP_ANGLE),
    *(_CAMERA_RAW + name for name in (b"HasCrop", b"CropUnit", b"CropUnits")),
)
_OF_WHOLE_PHOTOS = {
    b"http://ns.google.com/photos/1.0/depthmap/": "the depth map in XMP is dropped",
    b"http://ns.google.com/photos/1.0/panorama/": "the angles of the panorama in XMP are dropped",
}
"""Namespaces of properties that do not fit a part of the photo, to what is said."""
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
_ITEM, _BOUNDARY = RDF + b"li", _IPTC + b"RegionBoundary"
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


def crop_regions(packet: bytes, root: Node, crop: Crop) -> tuple[list[Edit], list[str]]:
    """Return edits that give positions and sizes after a crop, and what is lost, each a phrase.

    Invalid ones are kept, and those whose centre is cut off are removed.
    """
    edits: list[Edit] = []
    lost: list[str] = []
    sides = {
        name: side
        for pair in _SIDES[:2]
        for name, side in zip(pair, (crop.new_width, crop.new_height), strict=True)
    }
    for node in properties(root):
        if node.name in sides:
            if _numbers(packet, [node]):
                edits.append(_set(node, Decimal(sides[node.name])))
        elif node.name in _ALL_OF_CROP and node.end:
            edits.append((node.start, node.end, b""))
            lost.append("the crop in the settings of Camera Raw is dropped")
        elif (namespace := node.name[: node.name.rfind(b"/") + 1]) in _OF_WHOLE_PHOTOS and node.end:
            edits.append((node.start, node.end, b""))
            lost.append(_OF_WHOLE_PHOTOS[namespace])
        elif node.name in _SUBJECTS:
            edits += _crop_items(packet, [node], _crop_subject, crop)
        elif node.name == _IPTC + b"ImageRegion":
            edits += _crop_items(packet, _outermost(node, _ITEM), _crop_boundaries, crop)
        else:
            if node.name in _REGIONS:
                edits += _crop_dimensions(packet, node, crop, *_REGIONS[node.name][:2])
            edits += _crop_items(packet, _outermost(node, _ITEM), _crop_areas, crop)
    return edits, list(dict.fromkeys(lost))


def _outermost(root: Node, name: bytes) -> Iterator[Node]:
    """Yield the descendants of a name that are in no other one."""
    nodes = root.children[::-1]
    while nodes:
        node = nodes.pop()
        if node.name == name:
            yield node
        else:
            nodes += reversed(node.children)


def _crop_items(
    packet: bytes,
    items: Iterable[Node],
    move: Callable[[bytes, Node, Crop], list[Edit] | None],
    crop: Crop,
) -> Iterator[Edit]:
    """Yield edits that move the positions in items, and remove those that are cut off (None)."""
    for item in items:
        edits = move(packet, item, crop)
        if edits is not None:
            yield from edits
        elif item.end:
            yield item.start, item.end, b""


def _crop_dimensions(
    packet: bytes, regions: Node, crop: Crop, dimensions: bytes, sides: bytes
) -> Iterator[Edit]:
    size = regions.search(dimensions)
    for name, old, new in (
        (b"w", crop.width, crop.new_width),
        (b"h", crop.height, crop.new_height),
    ):
        side = None if size is None else size.search(sides + name)
        for number in _numbers(packet, [side]):
            assert side is not None
            yield _set(side, Decimal(round(number * new / old)))


def _crop_areas(packet: bytes, item: Node, crop: Crop) -> list[Edit] | None:
    """Move areas given by their centre, and Microsoft's rectangles."""
    edits: list[Edit] = []
    for node in item.walk():
        if node.name == _RECTANGLE:
            numbers = _parse(node.value(packet).split(b","))
            if len(numbers) != 4:
                continue
            box = _crop_box(numbers, crop, is_pixels=False)
            if box is None:
                return None
            text = ", ".join(f"{number:f}" for number in box)
            edits.append((node.value_start, node.value_end, text.encode()))
        for *_, area in _REGIONS.values():
            values = [node.find(area + name) for name in (b"x", b"y", b"w", b"h")]
            count = 2 if None in values else 4  # a point, or a circle
            if not (numbers := _numbers(packet, values[:count])):
                continue
            is_pixels = _is_pixels(packet, node.find(area + b"unit"))
            x, y, w, h = *numbers, *[Decimal(0)] * (4 - count)
            box = _crop_box((x - w / 2, y - h / 2, w, h), crop, is_pixels=is_pixels)
            if box is None:
                return None
            x, y, w, h = box
            edits += _set_all(values[:count], (x + w / 2, y + h / 2, w, h))
            diameter = node.find(area + b"d")
            for number in [] if is_pixels else _numbers(packet, [diameter]):
                assert diameter is not None
                edits.append(_set(diameter, _round(float(number) * crop.width / crop.new_width)))
    return edits


def _crop_boundaries(packet: bytes, item: Node, crop: Crop) -> list[Edit] | None:
    """Move IPTC's boundaries: a rectangle, a circle, or the vertices of a polygon."""
    edits: list[Edit] = []
    for boundary in _outermost(item, _BOUNDARY):
        is_pixels = _is_pixels(packet, boundary.search(_IPTC + b"rbUnit"))
        points: list[tuple[list[Node | None], Decimal, Decimal]] = []
        for node in boundary.walk():
            values = [node.find(_IPTC + name) for name in (b"rbX", b"rbY", b"rbW", b"rbH")]
            if numbers := _numbers(packet, values):
                box = _crop_box(numbers, crop, is_pixels=is_pixels)
                if box is None:
                    return None
                edits += _set_all(values, box)
            elif numbers := _numbers(packet, values[:2]):
                points.append((values[:2], numbers[0], numbers[1]))
        if points:
            moved = _crop_polygon([(x, y) for _, x, y in points], crop, is_pixels=is_pixels)
            if moved is None:
                return None
            for (nodes, _, _), point in zip(points, moved, strict=True):
                edits += _set_all(nodes, point)
        radius = boundary.search(_IPTC + b"rbRx")  # relative to the width
        for number in [] if is_pixels else _numbers(packet, [radius]):
            assert radius is not None
            edits.append(_set(radius, _round(float(number) * crop.width / crop.new_width)))
    return edits


def _crop_subject(packet: bytes, subject: Node, crop: Crop) -> list[Edit] | None:
    items = [node for node in subject.walk() if not node.children and node is not subject]
    numbers = _numbers(packet, items)
    if len(numbers) not in (2, 3, 4) or min(numbers) < 0:
        return []
    area = crop.move_subject(tuple(map(int, numbers)))
    return None if area is None else list(_set_all(items, tuple(map(Decimal, area))))


def _crop_box(
    numbers: Sequence[Decimal], crop: Crop, *, is_pixels: bool
) -> tuple[Decimal, ...] | None:
    """Return left, top, width and height after a crop, in px or relative; None if it is cut off."""
    old, new = _units(crop, is_pixels=is_pixels)
    scaled = [float(number) * unit for number, unit in zip(numbers, old * 2, strict=True)]
    box = crop.move_box(*scaled)
    if box is None:
        return None
    return tuple(_round(value / unit) for value, unit in zip(box, new * 2, strict=True))


def _crop_polygon(
    points: Sequence[tuple[Decimal, Decimal]], crop: Crop, *, is_pixels: bool
) -> list[tuple[Decimal, Decimal]] | None:
    """Return vertices after a crop, at its sides if they are cut off; None if the middle is."""
    old, new = _units(crop, is_pixels=is_pixels)
    moved = [crop.move_point(float(x) * old[0], float(y) * old[1]) for x, y in points]
    (left, right), (top, bottom) = ((min(v), max(v)) for v in zip(*moved, strict=True))
    if not crop.contains((left + right) / 2, (top + bottom) / 2):
        return None
    return [
        (
            _round(min(max(x, 0), crop.new_width) / new[0]),
            _round(min(max(y, 0), crop.new_height) / new[1]),
        )
        for x, y in moved
    ]


def _units(crop: Crop, *, is_pixels: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the px of a unit horizontally and vertically, before a crop and after it."""
    if is_pixels:
        return (1, 1), (1, 1)
    return (crop.width, crop.height), (crop.new_width, crop.new_height)


def _round(value: float) -> Decimal:
    return Decimal(f"{value:.6f}").normalize()


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
    numbers = _parse(rectangle.value(packet).split(b","))
    if len(numbers) == 4:
        x, y, w, h = numbers
        text = ", ".join(f"{number:f}" for number in turn.move_box(x, y, w, h, (_ONE, _ONE)))
        yield rectangle.value_start, rectangle.value_end, text.encode()


def _turn_boundaries(packet: bytes, regions: Node, turn: Turn) -> Iterator[Edit]:
    """Turn IPTC's image regions (Photo Metadata Standard 2019.1): corners, centres, vertices."""
    for boundary in _outermost(regions, _BOUNDARY):
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
    if _is_pixels(packet, unit):
        return Decimal(turn.width), Decimal(turn.height)
    return _ONE, _ONE


def _is_pixels(packet: bytes, unit: Node | None) -> bool:
    """Tell whether positions are in a unit of pixels, and not relative to the photo."""
    return unit is not None and unit.value(packet).strip() == b"pixel"


def _swap(packet: bytes, a: Node | None, b: Node | None) -> Iterator[Edit]:
    """Exchange the values of a pair."""
    if a is not None and b is not None:
        texts = [node.value(packet) for node in (a, b)]
        if not any(b"<" in text for text in texts):
            yield a.value_start, a.value_end, texts[1]
            yield b.value_start, b.value_end, texts[0]


def _numbers(packet: bytes, nodes: Sequence[Node | None]) -> list[Decimal]:
    """Return the numbers of nodes, none if not all are numbers."""
    present = [node for node in nodes if node is not None]
    numbers = _parse([node.value(packet) for node in present])
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
