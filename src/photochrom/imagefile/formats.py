"""Which endings of files are photographs."""

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".bmp": "BMP",
}
"""The endings of the files that are written, and Pillow's names of their formats."""

READ_ONLY = (
    *(".gif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".qoi", ".psd"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".pcx", ".sgi", ".tga"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef"),  # refused by name
)
"""Further endings of what may be a folder's photographs; raw photos are listed as failed."""
