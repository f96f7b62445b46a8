"""JPEG files: segments, metadata, quantization tables, trailers, and more than 8 bits."""
