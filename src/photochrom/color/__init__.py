"""Colour: RGB spaces, CIELAB, gamut mapping, ICC profiles."""

from photochrom.color.cie import FloatArray
from photochrom.color.gamut import limit_chroma
from photochrom.color.lab import AB_SCALE, L_SCALE, lab_to_hex, lab_to_rgb, mean_chroma, rgb_to_lab
from photochrom.color.pixels import Pixels, encode_pixels, lightness, luminance, scaled_ab
from photochrom.color.spaces import SRGB, ColorSpace

__all__ = [
    "AB_SCALE",
    "L_SCALE",
    "SRGB",
    "ColorSpace",
    "FloatArray",
    "Pixels",
    "encode_pixels",
    "lab_to_hex",
    "lab_to_rgb",
    "lightness",
    "limit_chroma",
    "luminance",
    "mean_chroma",
    "rgb_to_lab",
    "scaled_ab",
]
