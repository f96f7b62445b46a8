"""What of a TIFF page is dropped when the page is read."""

from collections.abc import Set

from PIL import TiffTags
from PIL.ExifTags import Base as Tag

from photochrom.imagefile.tiff.pages import ALPHAS, BLOCKS, NOT_EXIF, PIXEL_TAGS, SAMPLES, Page

_LAYERS = 37724
_LERC = 50674
_DIRECTORY_KIND = 13
_READ_DIRECTORIES = {Tag.SubIFDs, Tag.ExifOffset, Tag.GPSInfo}
_UNSAID = PIXEL_TAGS | BLOCKS | {Tag.NewSubfileType, Tag.SubIFDs, _LAYERS, _LERC, *range(512, 522)}
"""Kept otherwise, said by a sentence of its own, or of an old compression."""
_REDUCED, _MASK = 1, 4
_OLD_REDUCED = 2


def find_losses(page: Page, excluded: Set[int]) -> list[str]:
    """Return what of a page is not kept, each a phrase.

    Args:
        page: The page.
        excluded: Tags that are left out of its metadata, besides `NOT_EXIF`.
    """
    fields = page.directory.fields
    losses = []
    count = _count_dropped_samples(page)
    if count:
        losses.append(
            "extra channels that are no transparency, such as saved selections, are dropped: "
            f"{count} of {page.numbers(Tag.SamplesPerPixel)[0]}"
        )
    if _LAYERS in fields:
        losses.append("the layers are dropped")
    if Tag.SubIFDs in fields:
        losses.append("smaller copies or previews in SubIFDs are dropped")
    dropped = {
        tag
        for tag, field in fields.items()
        if tag in (NOT_EXIF | excluded) - _UNSAID
        or (field.kind == _DIRECTORY_KIND and tag not in _READ_DIRECTORIES)
    }
    if dropped:
        names = ", ".join(map(_name, sorted(dropped)))
        losses.append(f"TIFF tags that describe the stored pixels are dropped: {names}")
    damaged = page.tiff.find_damaged(page.directory) - PIXEL_TAGS
    if damaged:
        losses.append(f"damaged TIFF tags are dropped: {', '.join(map(_name, sorted(damaged)))}")
    return losses


def _name(tag: int) -> str:
    name = TiffTags.lookup(tag).name
    return f"tag {tag}" if name == "unknown" else name


def _count_dropped_samples(page: Page) -> int:
    """Return the number of extra samples; the first that is an alpha channel is kept."""
    (samples,) = page.numbers(Tag.SamplesPerPixel)[:1] or (1,)
    (color,) = page.numbers(Tag.PhotometricInterpretation)[:1] or (None,)
    if color not in SAMPLES:
        return 0
    has_alpha = any(kind in ALPHAS for kind in page.extra_samples)
    return max(0, samples - SAMPLES[color] - has_alpha)


def select_photos(pages: list[Page]) -> list[tuple[int, Page]]:
    """Return index and page of those that are no reduced copies and no masks of another page.

    All are returned if the first is one, which belongs to no page before it.
    """
    if _is_copy(pages[0]):
        return list(enumerate(pages))
    return [(index, page) for index, page in enumerate(pages) if not _is_copy(page)]


def _is_copy(page: Page) -> bool:
    """Follow NewSubfileType, bits 0 and 2, and SubfileType."""
    kinds = page.numbers(Tag.NewSubfileType)
    if kinds:
        return bool(kinds[0] & (_REDUCED | _MASK))
    return page.numbers(Tag.SubfileType)[:1] == (_OLD_REDUCED,)
