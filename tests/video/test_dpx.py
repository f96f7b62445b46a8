import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.context import CodecContext

from photochrom.color.icc import BT709, build_profile, read_profile
from photochrom.errors import PhotoError
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Photo
from photochrom.video.reading import dpx


def write_dpx(path: Path, samples: np.ndarray, pixel_format: str) -> Path:
    """Write a picture by FFmpeg, whose header has 1664 bytes."""
    frame = av.VideoFrame.from_ndarray(samples, format=pixel_format)
    encoder = CodecContext.create("dpx", "w")
    encoder.width, encoder.height = frame.width, frame.height  # type: ignore[attr-defined]
    encoder.pix_fmt, encoder.time_base = pixel_format, Fraction(1, 24)  # type: ignore[attr-defined]
    frame.pts = 0
    packets = [*encoder.encode(frame), *encoder.encode(None)]  # type: ignore[attr-defined]
    path.write_bytes(b"".join(map(bytes, packets)))
    return path


def change(path: Path, offset: int, fields: str, *values: object) -> None:
    """Write fields of the header in the byte order of the file."""
    data = bytearray(path.read_bytes())
    struct.pack_into((">" if data[:4] == b"SDPX" else "<") + fields, data, offset, *values)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("pixel_format", "bits", "channels"),
    [
        ("gray", 8, 1),
        ("gray16be", 16, 1),
        ("rgb24", 8, 3),
        ("gbrp10be", 10, 3),
        ("gbrp10le", 10, 3),
        ("gbrp12be", 12, 3),
        ("rgb48le", 16, 3),
    ],
)
def test_depth_is_kept(pixel_format: str, bits: int, channels: int, tmp_path: Path):
    dtype = np.uint8 if bits == 8 else np.uint16
    samples = np.random.default_rng(0).integers(0, 1 << bits, (5, 7, channels)).astype(dtype)
    samples[0, 0] = (1 << bits) - 1
    path = write_dpx(tmp_path / "a.dpx", samples.squeeze(), pixel_format)
    photo = dpx.read(path)
    assert photo.pixels.dtype == dtype
    assert (photo.pixels[0, 0] == np.iinfo(dtype).max).all()
    rgb = np.broadcast_to(photo.pixels, (5, 7, 3))
    (tmp_path / "b.dpx").write_bytes(dpx.encode(replace(photo, pixels=rgb)))
    again = dpx.read(tmp_path / "b.dpx")
    assert (again.pixels == rgb).all()
    assert again.encoding.options["bits"] == bits
    with av.open(str(tmp_path / "b.dpx")) as container:
        frame = next(container.decode(video=0))
        assert (frame.to_ndarray() == np.broadcast_to(samples, (5, 7, 3))).all()


def test_header_is_kept(tmp_path: Path):
    path = write_dpx(tmp_path / "a.dpx", np.zeros((4, 6, 3), np.uint16), "gbrp10be")
    data = path.read_bytes()
    path.write_bytes(data[:1664] + b"\xff" * 6528 + data[1664:])
    for offset in (4, 808):
        change(path, offset, "I", 8192)
    change(path, 801, "2B", 5, 7)
    change(path, 260, "200s", b"Reel 7")
    change(path, 1556, "32s", b"Scanner")
    change(path, 1724, "f", 18.0)
    change(path, 1920, "I", 0x01020304)
    change(path, 1940, "f", 18.0)
    photo = dpx.read(path)
    marked = replace(photo, metadata=Metadata().with_mark("colours added"))
    data = dpx.encode(marked)
    assert data[:4] == b"SDPX"
    assert struct.unpack_from(">I8sI3I", data, 4) == (
        2048,
        b"V1.0\0\0\0\0",
        len(data),
        1,
        1664,
        384,
    )
    assert data[160:173] == b"colours added"
    assert data[260:266] == b"Reel 7"
    assert data[801:804] == bytes((5, 7, 10))
    assert data[1556:1563] == b"Scanner"
    assert struct.unpack_from(">fIf", data[1724:1728] + data[1920:1924] + data[1940:1944]) == (
        *(18.0, 0x01020304, 18.0),
    )
    # The same in the other byte order.
    little = Photo(photo.pixels.astype(np.uint8), encoding=photo.encoding)
    little.encoding.options["bits"] = 8
    data = dpx.encode(little)
    assert data[:4] == b"XPDS"
    assert struct.unpack_from("<I", data, 1920) == (0x01020304,)
    assert data[260:266] == b"Reel 7"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_photo_of_another_format(dtype: type, tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (5, 7, 3)).astype(dtype)
    data = dpx.encode(Photo(pixels))
    (tmp_path / "a.dpx").write_bytes(data)
    assert (dpx.read(tmp_path / "a.dpx").pixels == pixels).all()
    assert data[801:803] == b"\6\6"
    assert data[1724:1728] == data[1920:1924] == b"\xff" * 4
    linear = Photo(pixels, space=read_profile(build_profile(1.0, BT709)))
    (tmp_path / "a.dpx").write_bytes(dpx.encode(linear))
    assert (dpx.read(tmp_path / "a.dpx").pixels == linear.to_srgb(keep_bits=True)).all()
    with pytest.raises(PhotoError, match="no transparency"):
        dpx.encode(Photo(pixels, pixels[..., 0]))


def test_film_densities_are_warned_of(tmp_path: Path):
    path = write_dpx(tmp_path / "a.dpx", np.zeros((4, 6, 3), np.uint8), "rgb24")
    assert dpx.read(path).warnings == ()
    for transfer, name in ((1, "printing density"), (3, "logarithmic")):
        change(path, 801, "B", transfer)
        (warning,) = dpx.read(path).warnings
        assert warning.startswith(f"the header says {name}, but the values are taken as encoded")


def test_pictures_are_upright(tmp_path: Path):
    samples = np.random.default_rng(0).integers(0, 255, (4, 6, 3)).astype(np.uint8)
    path = write_dpx(tmp_path / "a.dpx", samples, "rgb24")
    for orientation, upright in enumerate(
        (samples, samples[:, ::-1], samples[::-1], samples[::-1, ::-1])
    ):
        change(path, 768, "H", orientation)
        photo = dpx.read(path)
        assert (photo.pixels == upright).all()
        (tmp_path / "b.dpx").write_bytes(dpx.encode(photo))
        assert (dpx.read(tmp_path / "b.dpx").pixels == upright).all()


def test_what_is_refused(tmp_path: Path):
    path = write_dpx(tmp_path / "a.dpx", np.zeros((4, 6, 3), np.uint8), "rgb24")
    complete = path.read_bytes()
    change(path, 768, "H", 4)
    with pytest.raises(PhotoError, match=r"a.dpx is stored turned"):
        dpx.read(path)
    for data in (b"", complete[:1000], complete[:-20], b"text" * 1000):
        path.write_bytes(data)
        with pytest.raises(PhotoError, match=r"a.dpx is not a DPX that can be read"):
            dpx.read(path)
    write_dpx(path, np.zeros((4, 6, 4), np.uint8), "rgba")
    with pytest.raises(PhotoError, match="pixel format rgba; convert it to grey or RGB"):
        dpx.read(path)
    with pytest.raises(PhotoError, match=r"cannot read .*missing"):
        dpx.read(tmp_path / "missing.dpx")
