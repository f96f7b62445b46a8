"""File formats of photographs: name suffixes and signatures."""

import re
from pathlib import PurePath

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".bmp": "BMP",
}
"""Suffixes that can be written, to Pillow's names of the formats."""

READ_ONLY = {
    **dict.fromkeys((".mpo", ".jps"), ".jpg"),
    **dict.fromkeys((".btf", ".tf8", ".ptif"), ".tif"),
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jpm", ".jph"), ".png"),
    **dict.fromkeys((".heic", ".heif", ".hif", ".heics", ".heifs", ".avifs", ".jxl"), ".png"),
    **dict.fromkeys((".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".pfm"), ".png"),
    **dict.fromkeys((".tga", ".vda", ".icb", ".vst", ".sgi", ".rgb", ".rgba", ".bw"), ".png"),
    **dict.fromkeys((".psd", ".psb", ".gif", ".dib", ".pcx", ".qoi", ".ras"), ".png"),
}
"""Further suffixes of photos in a folder, to those of their outputs."""

RAW_SUFFIXES = {
    **dict.fromkeys((".cr2", ".cr3", ".crw"), "Canon"),
    **dict.fromkeys((".bay",), "Casio"),
    **dict.fromkeys((".erf",), "Epson"),
    **dict.fromkeys((".raf",), "Fujifilm"),
    **dict.fromkeys((".gpr",), "GoPro"),
    **dict.fromkeys((".3fr", ".fff"), "Hasselblad"),
    **dict.fromkeys((".dcr", ".dcs", ".drf", ".k25", ".kdc"), "Kodak"),
    **dict.fromkeys((".mos",), "Leaf"),
    **dict.fromkeys((".rwl",), "Leica"),
    **dict.fromkeys((".mef",), "Mamiya"),
    **dict.fromkeys((".mdc", ".mrw"), "Minolta"),
    **dict.fromkeys((".nef", ".nrw"), "Nikon"),
    **dict.fromkeys((".orf", ".ori"), "Olympus"),
    **dict.fromkeys((".rw2",), "Panasonic"),
    **dict.fromkeys((".pef", ".ptx"), "Pentax"),
    **dict.fromkeys((".eip", ".iiq"), "Phase One"),
    **dict.fromkeys((".srw",), "Samsung"),
    **dict.fromkeys((".x3f",), "Sigma"),
    **dict.fromkeys((".arw", ".sr2", ".srf"), "Sony"),
    **dict.fromkeys((".dng", ".raw"), ""),
}
"""Suffixes of camera raw photos, to the maker of the camera; empty: of several makers."""

_SIGNATURES = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "BMP": (b"BM",),
    "PSD": (b"8BPS",),
    "JXL": (b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"),
    "JPEG2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "QOI": (b"qoif",),
    "GIF": (b"GIF87a", b"GIF89a"),
}
_PATTERNS = {
    "PNM": re.compile(rb"P(?:[1-6Ff][\s#]|7\s*\n)"),
    "PCX": re.compile(rb"\n[\0\2-\5][\0\1][\1\2\4\x08]"),
    "SGI": re.compile(rb"\x01\xda[\0\1][\1\2]"),
}
_RAW_SIGNATURES = {
    b"FUJIFILMCCD-RAW": ".raf",
    b"II\x1a\0\0\0HEAPCCDR": ".crw",
    b"FOVb": ".x3f",
    b"\0MRM": ".mrw",
    b"IIU\0": ".rw2",
    b"IIRO": ".orf",
    b"IIRS": ".orf",
    b"MMOR": ".orf",
}
"""First bytes of raw formats that are no plain TIFFs."""
CR3 = b"ftypcrx "
"""Bytes 4 to 12 of a CR3."""
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def detect_format(data: bytes) -> str | None:
    """Return the format by the first 64 bytes of a file, None if it has no known one."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        brands = _read_brands(data)
        if not _AVIF_BRANDS.isdisjoint(brands):
            return "AVIF"
        return None if _HEIC_BRANDS.isdisjoint(brands) else "HEIC"
    for format_, pattern in _PATTERNS.items():
        if pattern.match(data):
            return format_
    return next((name for name, starts in _SIGNATURES.items() if data.startswith(starts)), None)


def detect_raw(start: bytes, name: str) -> str | None:
    """Return what raw photo a file is, such as "Nikon raw photo (NEF)"; None: not known to be one.

    Args:
        start: At least 16 bytes.
        name: Of the file. Its suffix counts unless the file is a JPEG, a PNG and the like.
    """
    suffix = PurePath(name).suffix.lower()
    if start[4:12] == CR3:
        suffix = ".cr3"
    elif detect_format(start) not in (None, "TIFF"):
        return None
    else:
        found = (value for key, value in _RAW_SIGNATURES.items() if start.startswith(key))
        suffix = next(found, suffix)
    if suffix not in RAW_SUFFIXES:
        return None
    return f"{RAW_SUFFIXES[suffix]} raw photo ({suffix[1:].upper()})".lstrip()


def _read_brands(data: bytes) -> list[bytes]:
    """Return the brands of a FileTypeBox (ISO/IEC 14496-12, section 4.3)."""
    end = min(int.from_bytes(data[:4]), len(data))
    return [data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4))]
