"""Fuzz test: damaged photos are read, colorized, written and read again.

    # prints the table of docs/reliability.md
    PYTHONPATH=tests python tests/support/fuzzing.py --count 20000

Each file is mutated from one or two valid files. Its number is the seed of the mutations, so that
`--start 1234 --count 1` reproduces it.
"""

import argparse
import collections
import itertools
import os
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pillow_heif
import tifffile
from numpy.random import Generator
from PIL import Image, ImageCms

from photochrom.batch.process_pool import WorkerPool
from photochrom.color import FloatArray
from photochrom.colorize.colorizer import Colorizer
from photochrom.errors import PhotochromError
from photochrom.imagefile.reading import open_pages
from photochrom.imagefile.writing import FORMATS, save_pages
from support import photoshop
from support.boxes import HeifItem, box, channel_definitions, enumerated, heif, jp2

TIMEOUT = 10.0
"""Seconds for one file."""
MEMORY = 3 << 30
"""Limit of address space of a process in bytes, libraries included."""
MAX_PIXELS = 20_000_000

XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF>'
    b'</x:xmpmeta><?xpacket end="w"?>'
)
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)


def exif() -> bytes:
    """Return an EXIF block with orientation 6 and subdirectories."""
    block = Image.Exif()
    block.update({0x0112: 6, 0x010F: "maker", 0x010E: "a caption", 0x011A: 300.0, 0x8298: "me"})
    block.get_ifd(0x8769).update({0x9003: "1930:01:01 00:00:00", 0x927C: b"maker's own" * 9})
    block.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 3.0)})
    return block.tobytes()


def seeds() -> dict[str, bytes]:
    """Return a valid file of every kind that is read."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :56]
    grey = Image.fromarray(np.clip(4 * x + rng.normal(0, 5, x.shape), 0, 255).astype(np.uint8))
    color = Image.merge("RGB", [grey, grey.rotate(180), grey.transpose(0)])
    transparent = color.copy()
    transparent.putalpha(grey)
    deep = (np.dstack([x * 1000, y * 1500, x * y * 20]) % 65536).astype(np.uint16)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    metadata: dict[str, Any] = {"exif": exif(), "xmp": XMP, "icc_profile": icc}
    files = {}

    def add(name: str, image: Image.Image, format_: str, **options: Any) -> None:
        buffer = BytesIO()
        image.save(buffer, format_, **options)
        files[name] = buffer.getvalue()

    add("jpeg", color, "JPEG", quality=80, comment=b"comment", **metadata)
    add("jpeg-grey", grey, "JPEG", dpi=(300, 300))
    add("jpeg-progressive", color, "JPEG", progressive=True)
    add("jpeg-cmyk", color.convert("CMYK"), "JPEG")
    add("png", color, "PNG", exif=exif(), icc_profile=icc, dpi=(300, 300))
    add("png-grey", grey, "PNG")
    add("png-palette", color.convert("P"), "PNG", transparency=3)
    add("png-16", Image.fromarray(deep[..., 0]), "PNG")
    add("apng", grey, "PNG", save_all=True, append_images=[grey.rotate(90)])
    add("tiff", color, "TIFF", exif=exif(), icc_profile=icc)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        add(f"tiff-{compression}", color, "TIFF", compression=compression)
    add("tiff-fax", grey.convert("1"), "TIFF", compression="group4")
    add("tiff-pages", grey, "TIFF", save_all=True, append_images=[color, grey], icc_profile=icc)
    add("tiff-alpha", transparent, "TIFF")
    add("tiff-cmyk", color.convert("CMYK"), "TIFF")
    add("tiff-ycbcr", color.convert("YCbCr"), "TIFF")
    add("tiff-16", Image.fromarray(deep[..., 0]), "TIFF")
    add("webp", color, "WEBP", **metadata)
    add("webp-lossless", transparent, "WEBP", lossless=True)
    add("avif", color, "AVIF", exif=exif())
    add("bmp", color, "BMP")
    add("gif", grey, "GIF")
    add("jp2", color, "JPEG2000")
    add("ppm", color, "PPM")
    add("tga", color, "TGA", compression="tga_rle")
    add("pcx", color, "PCX")
    add("sgi", color, "SGI")
    add("ico", transparent.resize((32, 32)), "ICO")
    add("qoi", color, "QOI")
    add("dds", color, "DDS")
    add("sgi-16", color, "SGI", bpc=2)
    resources = {1005: struct.pack(">IHHIHH", 300 << 16, 1, 1, 300 << 16, 1, 1), 1039: icc}
    resources |= {1058: exif()[6:], 1060: XMP}
    planes = np.moveaxis(np.asarray(transparent), -1, 0)
    files["psd"] = photoshop.psd(planes, resources=resources, layer_count=-1)
    files["psd-packbits"] = photoshop.psd(
        np.moveaxis(deep, -1, 0), compression=photoshop.PACKBITS, resources=resources
    )
    files["psb-cmyk"] = photoshop.psd(planes, photoshop.CMYK, version=2)
    for suffix in (".png", ".tiff", ".ppm"):
        files[f"opencv{suffix}"] = cv2.imencode(suffix, deep)[1].tobytes()
    four = np.dstack([deep, deep[..., 0]])
    files["opencv-alpha.tiff"] = cv2.imencode(".tiff", four)[1].tobytes()
    return files | _tifffile_seeds(deep) | _box_seeds(deep)


def _box_seeds(deep: np.ndarray) -> dict[str, bytes]:
    """Return files of boxes that imagecodecs and pillow-heif decode, from RGB of 16 bits."""
    shallow = (deep >> 8).astype(np.uint8)
    codestream = imagecodecs.jpeg2k_encode(deep, codecformat="J2K", reversible=True)
    index = imagecodecs.jpeg2k_encode(shallow[..., 0] & 1, codecformat="J2K", bitspersample=1)
    palette = box(b"pclr", b"\0\2\3\7\7\7", b"abcdef")
    mapping = box(b"cmap", b"".join(bytes([0, 0, 1, column]) for column in range(3)))
    block = box(b"uuid", b"JpgTiffExif->JP2", exif()[6:])
    jpeg = BytesIO()
    Image.fromarray(shallow).save(jpeg, "JPEG", exif=exif())
    avif = imagecodecs.avif_encode(deep >> 6, bitspersample=10, speed=10)
    turned = [box(b"irot", b"\1"), box(b"clap", struct.pack(">8I", 32, 1, 32, 1, 0, 1, 0, 1))]
    items = [HeifItem(b"Exif", bytes(4) + exif()[6:], reference=b"cdsc")]
    heic = BytesIO()
    pillow_heif.from_bytes("RGB;16", deep.shape[1::-1], deep.tobytes()).save(heic)
    return {
        "j2k": codestream,
        "jp2-palette": jp2(index, enumerated(16), palette, mapping, after=block),
        "jp2-16": jp2(codestream, enumerated(18), channel_definitions((0, 0, 1), (1, 0, 2))),
        "jxl": imagecodecs.jpegxl_encode(shallow, level=90),
        "jxl-16": imagecodecs.jpegxl_encode(deep),
        "jxl-jpeg": imagecodecs.jpegxl_encode_jpeg(jpeg.getvalue()),
        "avif-10": heif(avif, *turned, items=items),
        "heic-10": heif(heic.getvalue(), *turned, items=items),
    }


def _tifffile_seeds(deep: np.ndarray) -> dict[str, bytes]:
    """Return TIFFs of kinds that tifffile and imagecodecs decode, from RGB of 16 bits."""
    shallow = (deep >> 8).astype(np.uint8)
    inks = np.dstack([deep, deep[..., :2]])
    kinds: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "planar-16": (np.moveaxis(deep, -1, 0), {"planarconfig": "separate"}),
        "cmyk-alpha-16": (inks, {"photometric": "separated", "extrasamples": [1]}),
        "lab-16": (deep, {"photometric": "cielab", "compression": "lzw", "predictor": True}),
        "12": (deep >> 4, {"bitspersample": 12}),
        "float": (deep / np.float32(65535), {"compression": "zlib", "predictor": 3}),
        "zstd": (deep, {"compression": "zstd", "tile": (16, 16)}),
        "lerc": (deep, {"compression": "lerc"}),
        "jpeg2000": (deep, {"compression": "jpeg2000"}),
        "jpegxl": (shallow, {"compression": "jpegxl"}),
        "webp": (shallow, {"compression": "webp"}),
    }
    files = {}
    for name, (samples, options) in kinds.items():
        stream = BytesIO()
        tifffile.imwrite(stream, samples, metadata=None, **{"photometric": "rgb"} | options)
        files[f"tifffile-{name}"] = stream.getvalue()
    return files


def mutate(data: bytes, other: bytes, rng: Generator) -> bytes:
    """Mutate a file in one to six positions; foreign bytes come from `other`."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 7)):
        if not changed:
            break
        # Half of the mutations are in the header, on which decoders depend most.
        reach = len(changed) if rng.random() < 0.5 else min(len(changed), 400)
        index = int(rng.integers(reach))
        length = int(rng.integers(1, 40))
        match int(rng.integers(9)):
            case 0:
                changed[index] ^= 1 << int(rng.integers(8))
            case 1:
                changed[index] = int(rng.integers(256))
            case 2:
                form = str(rng.choice(["<H", ">H", "<L", ">L"]))
                number = int(rng.choice(_NUMBERS)) % (1 << 8 * struct.calcsize(form))
                changed[index : index + struct.calcsize(form)] = struct.pack(form, number)
            case 3:
                del changed[index:]
            case 4:
                del changed[index : index + length]
            case 5:
                changed[index:index] = changed[index : index + length]
            case 6:
                changed[index : index + length] = rng.bytes(length)
            case 7:
                start = int(rng.integers(len(other)))
                changed[index : index + length] = other[start : start + length]
            case _:
                changed[index:] = other[index:]
    return bytes(changed)


def fix_checksums(data: bytes) -> bytes:
    """Correct the checksums of a PNG, so that the content of its chunks is parsed."""
    parts = [data[:8]]
    start = 8
    while start + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        chunk = data[start + 4 : start + 8 + length]
        parts.append(data[start : start + 8 + length] + struct.pack(">I", zlib.crc32(chunk)))
        start += length + 12
    return b"".join([*parts, data[start:]])


def cases(numbers: Iterator[int] | range) -> Iterator[tuple[int, str, bytes]]:
    """Yield number, name of the valid file, and bytes of damaged files."""
    valid = seeds()
    names = sorted(valid)
    for number in numbers:
        rng = np.random.default_rng(number)
        name = names[number % len(names)]
        other = valid[names[int(rng.integers(len(names)))]]
        data = mutate(valid[name], other, rng)
        yield number, name, fix_checksums(data) if "png" in name and number % 4 else data


@dataclass(frozen=True)
class ConstantModel:
    """A model that predicts the same colour everywhere."""

    name: str = "flat"
    size: int = 16

    def __call__(self, L: FloatArray, /) -> FloatArray:
        return np.repeat(np.full_like(L, 9), 2, axis=1)


@dataclass(frozen=True)
class Outcome:
    number: int
    seed: str
    result: str
    """`colorized`, `refused`, or an error."""
    seconds: float = 0.0
    peak: int = 0
    """Peak memory of the process so far, in bytes."""


def run_case(case: tuple[int, str, bytes], colorizer: Callable[..., Any], folder: Path) -> Outcome:
    """Read, colorize, write and read again one file."""
    number, seed, data = case
    start = time.monotonic()
    path = folder / f"{number}.tif"
    try:
        photos = list(open_pages(BytesIO(data), max_pixels=MAX_PIXELS))
        format_ = photos[0].encoding.format
        suffix = next((s for s, name in FORMATS.items() if name == format_), ".png")
        path = path.with_suffix(suffix)
        save_pages((colorizer(photo) for photo in photos), path)
        again = list(open_pages(path))
        if [photo.size for photo in again] != [photo.size for photo in photos]:
            result = "error: the output has another size"
        else:
            result = "colorized"
    except PhotochromError as error:
        result = "refused"
        if path.exists():
            result = f"error: the output cannot be read: {error}"
    except Exception as error:  # noqa: BLE001 (the bugs to find)
        result = f"{type(error).__name__}: {error}"
    path.unlink(missing_ok=True)
    peak = peak_memory()
    return Outcome(number, seed, result, time.monotonic() - start, peak)


def peak_memory() -> int:
    """Return the peak memory of this process in bytes; 0 on other systems than Linux."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_memory() -> None:
    """Limit the memory of this process; only Linux keeps such a limit."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@dataclass(frozen=True)
class CaseRunner:
    """Sets up a worker process with limited memory."""

    folder: Path
    """Parent of the folders that the processes write to."""

    def __call__(self) -> Callable[[tuple[int, str, bytes]], Outcome]:
        limit_memory()
        cv2.setNumThreads(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where libtiff and libjpeg print warnings
        colorizer = Colorizer(ConstantModel(), threads=1)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        return lambda case: run_case(case, colorizer, folder)


def fuzz(numbers: range, processes: int) -> Iterator[Outcome]:
    """Run damaged files in worker processes."""
    with (
        tempfile.TemporaryDirectory(prefix="photochrom-fuzz-") as folder,
        WorkerPool(
            CaseRunner(Path(folder)), processes=processes, timeout=TIMEOUT, pin_cores=True
        ) as pool,
    ):
        yield from pool.map(
            cases(numbers),
            on_death=lambda case, error: Outcome(case[0], case[1], str(error)),
        )


def main() -> None:
    """Print every error, and a table by kind of file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    table: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    slowest, peak, bad = 0.0, 0, 0
    for outcome in fuzz(range(options.start, options.start + options.count), options.processes):
        kind = outcome.result if outcome.result in ("colorized", "refused") else "wrong"
        table[outcome.seed][kind] += 1
        slowest, peak = max(slowest, outcome.seconds), max(peak, outcome.peak)
        if kind == "wrong":
            bad += 1
            print(f"{outcome.number} ({outcome.seed}): {outcome.result}", flush=True)
    print("| seed | files | colorized | refused | wrong |\n| --- | --- | --- | --- | --- |")
    for seed, counts in sorted(table.items()):
        kinds = " | ".join(str(counts[kind]) for kind in ("colorized", "refused", "wrong"))
        print(f"| {seed} | {counts.total()} | {kinds} |")
    total = sum(itertools.chain.from_iterable(c.values() for c in table.values()))
    print(f"\n{total} files, {bad} wrong; slowest {slowest:.2f} s; peak {peak / 1e6:.0f} MB")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
