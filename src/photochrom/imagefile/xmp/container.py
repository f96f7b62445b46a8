"""What XMP says of further images and of a video in the file: gain maps, motion photos.

Follows Google's Ultra HDR Image Format and Motion Photo format.
"""

from photochrom.imagefile.xmp.tree import RDF, Node, apply_edits, parse, properties, to_utf8

GAIN_MAP_NAMESPACES = (
    b"http://ns.adobe.com/hdr-gain-map/1.0/",
    b"http://ns.apple.com/HDRGainMap/1.0/",
)
_CONTAINER = b"http://ns.google.com/photos/1.0/container/"
_DIRECTORY, _SEMANTIC = _CONTAINER + b"Directory", _CONTAINER + b"item/Semantic"
_CAMERA = b"http://ns.google.com/photos/1.0/camera/"
_VIDEO = (_CAMERA + b"MotionPhoto", _CAMERA + b"MicroVideo")
_PRIMARY, _MOTION_PHOTO = b"Primary", b"MotionPhoto"


def drop_contained(packet: bytes, *, images: bool, video: bool) -> bytes:
    """Return the packet of a file from which all further images are dropped, or the video."""
    packet = to_utf8(packet)
    removed: list[Node] = []
    for node in properties(parse(packet)):
        if node.name == _DIRECTORY:
            items = [item for item in node.walk() if item.name == RDF + b"li" and item.end]
            semantics = {id(item): _semantic(packet, item) for item in items}
            kept = {_PRIMARY} | (set() if video else {_MOTION_PHOTO})
            if not images:
                kept |= set(semantics.values()) - {_MOTION_PHOTO}
            dropped = [item for item in items if semantics[id(item)] not in kept]
            is_empty = {semantics[id(item)] for item in items} & kept <= {_PRIMARY}
            removed += [node] if is_empty else dropped
        elif (images and node.name.startswith(GAIN_MAP_NAMESPACES)) or (
            video and node.name.startswith(_VIDEO)
        ):
            removed.append(node)
    return apply_edits(packet, [(node.start, node.end, b"") for node in removed if node.end])


def _semantic(packet: bytes, item: Node) -> bytes:
    """Return what an item of a container is, such as `GainMap`."""
    node = item.search(_SEMANTIC)
    return node.value(packet).strip() if node else b""
