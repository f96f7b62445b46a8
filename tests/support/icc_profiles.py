"""ICC profiles, built byte by byte."""

import struct

import numpy as np

ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))


SRGB_COLUMNS = (
    (0.43607, 0.22249, 0.01392),
    (0.38515, 0.71687, 0.09708),
    (0.14307, 0.06061, 0.7141),
)


def fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def curve(*points: int) -> bytes:
    return b"curv" + bytes(4) + struct.pack(f">I{len(points)}H", len(points), *points)


def gamma(value: float) -> bytes:
    return curve(round(value * 256))


def parametric(kind: int, *numbers: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + fixed(*numbers)


SRGB_CURVE = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(space: bytes = b"RGB ", **tags: bytes) -> bytes:
    """Return an ICC profile of version 4 with these tags."""
    header = bytearray(128)
    header[8:12] = b"\x04\x30\0\0"
    header[12:24] = b"mntr" + space + b"XYZ "
    header[36:40] = b"acsp"
    header[68:80] = fixed(0.9642, 1.0, 0.8249)
    tags = {"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249), **tags}
    start = 128 + 4 + 12 * len(tags)
    directory, content = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        directory += struct.pack(">4sII", name.encode(), start + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    header[:4] = struct.pack(">I", start + len(content))
    return bytes(header) + directory + content


def rgb(columns: tuple[tuple[float, ...], ...], trc: bytes) -> bytes:
    names = zip("rgb", columns, strict=True)
    colorants = {f"{name}XYZ": b"XYZ " + bytes(4) + fixed(*column) for name, column in names}
    return profile(**colorants, **{f"{name}TRC": trc for name in "rgb"})


def grey(trc: bytes) -> bytes:
    return profile(b"GRAY", kTRC=trc)


def to_lab(profile: bytes) -> bytes:
    """Return the profile with Lab, not XYZ, as its connection space."""
    return profile[:20] + b"Lab " + profile[24:]


DISPLAY_P3 = rgb(
    ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)),
    SRGB_CURVE,
)


SPACES = {
    "adobe": rgb(ADOBE, gamma(2.2)),
    "prophoto": rgb(PROPHOTO, gamma(1.8)),
    "linear": rgb(SRGB_COLUMNS, curve()),
}


GREYS = {
    "gamma 2.2": grey(gamma(2.2)),
    "dot gain": grey(curve(*(np.linspace(0, 1, 256) ** 1.75 * 65535).astype(int))),
}


def table_profile(space: bytes = b"RGB ", gamma: float = 1.8) -> bytes:
    """Return a profile of a table (lut16Type) from RGB, grey or CMYK to Lab, without colour.

    L* is 100 times the mean of the channels, or of the light that CMYK leaves, to the power of
    1 / `gamma`.
    """
    channels = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}[space]
    points = 9
    axes = np.meshgrid(*[np.linspace(0, 1, points)] * channels, indexing="ij")
    light = (1 - axes[3]) * (3 - sum(axes[:3])) / 3 if channels == 4 else sum(axes) / channels
    L = 65280 * light ** (1 / gamma)
    table = np.stack([L, np.full_like(L, 32768), np.full_like(L, 32768)], axis=-1)
    linear = struct.pack(">2H", 0, 65535)
    lut = b"mft2" + bytes(4) + struct.pack(">4B", channels, 3, points, 0)
    lut += fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">2H", 2, 2)
    lut += linear * channels + table.round().astype(">u2").tobytes() + linear * 3
    block = bytearray(to_lab(profile(space, A2B0=lut)))
    block[8:16] = b"\x02\x40\0\0prtr" if space == b"CMYK" else b"\x02\x40\0\0scnr"
    return bytes(block)
