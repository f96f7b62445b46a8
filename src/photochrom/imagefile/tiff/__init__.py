"""TIFF files: structure, pages, colours, and pixels that Pillow and OpenCV cannot decode."""
