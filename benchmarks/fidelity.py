"""Colorize a folder of photos, and print by format what of them was lost.

    python benchmarks/fidelity.py SCANS                                  # the table
    python benchmarks/fidelity.py SCANS --list --results NEW --recolor   # and every loss

Needs exiftool, which compares metadata, and ImageMagick, which decodes pixels independently of
photochrom (without it they are not compared). Nothing is written into SCANS.

Tags: sizes, encodings and thumbnails are not counted. A tag is kept if the result has its value,
under any name, or if the turn of a photo has to change it. Otherwise it is lost: "warned" if a
warning of its file names it or its kind, else "silent". |dL*|: the mean difference in lightness
between a photo and its result. A JPEG's is a few tenths, as it is encoded again; a format without
loss should have less than 0.25, the rounding of 8 bits.

**"silent" and "inputs changed" should be 0.** If not, --list names the files and tags.
"""

import argparse
import collections
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

Tags = list[tuple[str, str, Any]]
"""Groups such as `EXIF:IFD0`, name and value of each tag of a file."""

COUNTS = ("files", "done", "refused", "left out", "tags", "kept", "silent", "warned")
COLUMNS = (*COUNTS, "mean dL*", "highest dL*", "compared", "inputs changed")
NOT_COUNTED = re.compile(
    r"SourceFile|(File:System|ExifTool|Composite|APP14|MPF:MPF0):.*"
    r"|MPF:MPImage\d+:(MPImage(Flags|Format|Type|Length|Start)|DependentImage\w+)"
    r"|.*(Thumbnail|PreviewImage|PreviewTIFF|PageInfo|JpgFromRaw|IPTCDigest|XMPToolkit"
    r"|DigitalSourceType|HasExtendedXMP).*"
    r"|(File|QuickTime|RIFF|Jpeg2000|GIF|JFIF):(?!.*(Comment|[XY]Resolution|PixelsPer|Auxiliary)).*"
    r"|PNG:(Image(Width|Height)|BitDepth|ColorType|Compression|Filter|Interlace|Palette"
    r"|Transparency|BackgroundColor|SuggestedPalette|DigitalSignature|ProfileName|Gamma"
    r"|SRGBRendering|(White|Red|Green|Blue)\w+)"
    r"|Photoshop:(NumChannels|Image(Width|Height)|BitDepth|ColorMode|Compression|LayerCount"
    r"|HasRealMergedData|WriterName|ReaderName)"
    r"|EXIF:(IFD|SubIFD)\d*:(Image(Width|Height)|BitsPerSample|SamplesPerPixel|Compression"
    r"|SampleFormat|PhotometricInterpretation|PlanarConfiguration|RowsPerStrip|(Strip|Tile)\w+"
    r"|Predictor|FillOrder|YCbCr\w+|ReferenceBlackWhite|T[46]Options|JPEG\w+|(Old)?SubfileType"
    r"|Free\w+|ColorMap|InkSet|S?M(ax|in)SampleValue|Exif_0xc5f2|GrayResponse\w+|Thresholding)"
)
"""How the pixels are encoded, what exiftool computes, previews, and the mark."""
CHANGED_BY_TURN = re.compile(
    r"Rotation|Subject(Area|Location)|Region\w*|\w*(Width|Height)|ImageLength|Pixel[XY]Dimension"
    r"|[XY]Resolution|PixelsPerUnit[XY]"
)
RESOLUTION = re.compile(r"([XY]Resolution|PixelsPer(Unit|Meter)[XY])$")
RESOLUTION_UNIT = re.compile(r"ResolutionUnit$|PixelUnits$|(Capture|Display)\w+Units?")
TURNS = {
    "Mirror horizontal": "top-right",
    "Rotate 180": "bottom-right",
    "Mirror vertical": "bottom-left",
    "Mirror horizontal and rotate 270 CW": "left-top",
    "Rotate 90 CW": "right-top",
    "Mirror horizontal and rotate 90 CW": "right-bottom",
    "Rotate 270 CW": "left-bottom",
}
"""EXIF's orientations, as exiftool and ImageMagick name them."""
INCHES = {"cm": 1 / 2.54, "meters": 1 / 0.0254, "m": 1 / 0.0254}
WARNED_BY = {
    "EXIF|MakerNotes|GeoTiff|PrintIM": "exif",
    "GeoTiff|EXIF:IFD0:(PixelScale|ModelT)": "map",
    "MakerNotes": "maker note",
    "XMP": "xmp",
    "XMP:XMP-(hdrgm|Container|GContainer)": "gain map",
    "IPTC": "iptc",
    "ICC_Profile": "profile",
    "Photoshop": "photoshop|image resource",
    "Photoshop:Layer": "layer",
    "APP8:SPIFF": "SPIFF",
    "APP11:JPEG-HDR": "JPEG-HDR",
    "JUMBF|JSON": "content credentials",
    "MPF|QuickTime": "gain map|(second|other|further) (picture|image)|auxiliary|depth",
    "EXIF:SubIFD": "reduced|smaller|pyramid",
    "XML": "xml",
    "PNG": "chunks",
    "AFCP|FotoStation|PhotoMechanic|Samsung|IPTC:IPTC2": "trailer|behind the end",
    ".*(Resolution|PixelsPer|PixelUnits)": "resolution",
    ".*Comment": "comment",
    ".*ExtraSamples|Photoshop:.*Alpha|Photoshop:DisplayInfo": "channel",
    ".*": "metadata",
}
"""Starts of tags to the words by which a warning names them."""


def read_tags(folder: Path) -> dict[Path, Tags]:
    """Return the tags of all files in a folder by exiftool."""
    options = ["-json", "-a", "-u", "-G0:1:4", "-s", "-struct", "-b", "-r", "-ext", "*"]
    printed = subprocess.run(["exiftool", *options, "."], cwd=folder, capture_output=True).stdout
    files = {}
    for values in json.loads(printed.decode(errors="surrogateescape") or "[]"):
        tags = files[folder / values["SourceFile"]] = []
        for key, value in values.items():
            *groups, name = (part for part in key.split(":") if not re.fullmatch(r"Copy\d+", part))
            tags.append((":".join(groups), name, value))
    return files


def counted(tags: Tags) -> Tags:
    """Return the tags that a result should have."""
    is_tiff = ("File", "FileType", "TIFF") in tags
    return [
        (groups, name, value)
        for groups, name, value in tags
        if not NOT_COUNTED.fullmatch(f"{groups}:{name}".lstrip(":"))
        and (is_tiff or groups != "EXIF:IFD1")  # of the thumbnail
    ]


def densities(tags: Tags) -> list[float]:
    """Return all resolutions in px per inch; without a unit as they are, but for 0 and 1."""
    factors = {g: 1 / INCHES.get(v, 1) for g, n, v in tags if RESOLUTION_UNIT.search(n)}
    factors |= {g: 1 / INCHES["m"] for g, n, _ in tags if n.startswith("PixelsPerMeter")}
    found = [(g, str(v)) for g, n, v in tags if RESOLUTION.search(n)]
    numbers = [(g, float(v)) for g, v in found if re.fullmatch(r"[\d.]+", v)]
    return [number * factors.get(g, 1) for g, number in numbers if number > 1]


def find_losses(before: Tags, after: Tags) -> Iterator[tuple[str, str]]:
    """Yield each counted tag that a result lacks, and what it became."""
    orientations = {str(v) for _, n, v in before if n == "Orientation"}
    is_turned = bool(orientations - {"Horizontal (normal)"})
    new, old_densities, new_densities = counted(after), densities(before), densities(after)
    is_density_kept = all(any(abs(x - y) < x / 100 for y in new_densities) for x in old_densities)
    is_tagged = any(groups.startswith("ICC_Profile") for groups, _, _ in new)
    named = {(name, json.dumps(value)) for _, name, value in new}
    texts = {value for _, _, value in new if isinstance(value, str) and len(value) > 5}
    for groups, name, value in counted(before):
        is_kept = (
            (name, json.dumps(value)) in named
            or (isinstance(value, str) and value in texts)
            or name == "Orientation"
            or (name in ("ExtraSamples", "AuxiliaryImageType") and is_alpha_kept(value, after))
            or (is_turned and CHANGED_BY_TURN.fullmatch(name))
            or (is_density_kept and (RESOLUTION.search(name) or RESOLUTION_UNIT.search(name)))
            or (is_tagged and groups.startswith("ICC_Profile"))  # converted, as dL* confirms
        )
        if not is_kept:
            values = [str(v)[:40] for g, n, v in new if (g, n) == (groups, name)]
            yield f"{groups}:{name}", f" {str(value)[:40]!r} became {values}" if values else ""


def is_alpha_kept(value: Any, after: Tags) -> bool:
    """Tell whether a channel is alpha, which the result has as well."""
    is_alpha = re.search("(?i)alpha$|auxid:1$", str(value))
    return bool(is_alpha) and any("alpha" in str(v).lower() for _, _, v in after)


def is_warned(tag: str, warnings: str) -> bool:
    """Tell whether warnings name a tag or its kind."""
    words = [words for start, words in WARNED_BY.items() if re.match(start, tag)]
    return bool(re.search("|".join([*words, tag.rpartition(":")[2]]), warnings, re.IGNORECASE))


def decode(path: Path, turn: str, *options: str) -> NDArray[np.float32] | None:
    """Return a plane of values from 0 to 1, upright; None if ImageMagick cannot read the file."""
    command = ["convert", f"{path}[0]", *(["-orient", turn] if turn else []), "-auto-orient"]
    command += [*options, "+set", "comment", "-depth", "16", "pgm:-"]
    image = subprocess.run(command, capture_output=True).stdout
    match = re.match(rb"P5\s(\d+) (\d+)\s65535\s", image)
    if match is None:
        return None
    width, height = int(match[1]), int(match[2])
    if len(image) != match.end() + 2 * width * height:  # it failed after the header
        return None
    values = np.frombuffer(image, ">u2", width * height, match.end())
    return values.reshape(height, width) / np.float32(65535)


def read_lightness(
    path: Path, tags: Tags, profiles: Path, *, on_white: bool
) -> NDArray[np.float32] | None:
    """Return L* by ImageMagick and littleCMS, None if it cannot read the file."""
    identify = ["identify", "-format", "%[orientation]\n%A\n%[profile:icc]", f"{path}[0]"]
    found = subprocess.run(identify, capture_output=True, text=True, errors="replace").stdout
    orientation, alpha, profile = (*found.split("\n", 2), "", "", "")[:3]
    turns = [TURNS.get(value) for _, name, value in tags if name == "Orientation"]
    turn = (turns[0] or "") if turns and orientation == "Undefined" else ""  # such as of a PNG
    to_lab = [] if profile.strip() else ["-colorspace", "sRGB", "-profile", f"{profiles}/sRGB.icc"]
    to_lab += ["-intent", "relative", "-black-point-compensation", "-profile"]
    to_lab += [f"{profiles}/LAB.icc", "-channel", "R", "-separate"]
    L = decode(path, turn, "-alpha", "off", *to_lab)
    if L is not None and on_white and alpha in ("True", "Blend"):
        opacity = decode(path, turn, "-alpha", "extract")
        L = None if opacity is None else L * opacity + 1 - opacity
    return None if L is None else L * 100


def lightness_difference(
    files: tuple[Path, Path], tags: tuple[Tags, Tags], profiles: Path
) -> float | None:
    """Return the mean |dL*| of a photo and its result.

    It is infinite if the sizes differ, None if they were not compared.
    """
    if not shutil.which("convert"):
        return None
    on_white = all(groups != "QuickTime" for groups, _, _ in tags[0])  # HEIC's alpha is not read
    a, b = (
        read_lightness(file, t, profiles, on_white=on_white)
        for file, t in zip(files, tags, strict=True)
    )
    if a is None or b is None:
        return None
    return float(np.abs(a - b).mean()) if a.shape == b.shape else float("inf")


def read_checksums(folder: Path) -> dict[Path, str]:
    """Return the SHA-256 of every file, without hidden ones."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def colorize(folder: Path, out: Path, options: list[str]) -> dict[Path, dict[str, Any]]:
    """Colorize a folder by the command line, and return its JSON by input."""
    command = [sys.executable, "-P", "-m", "photochrom", "colorize", folder, "-o", out, "--json"]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1):
        sys.exit(done.returncode)
    return {Path(line["input"]): line for line in map(json.loads, done.stdout.splitlines())}


def compare(folder: Path, out: Path, options: list[str], *, is_listed: bool) -> list[str]:
    """Colorize a folder into `out`, print losses if they are listed, and return the table."""
    checksums, tags = read_checksums(folder), read_tags(folder)
    lines = colorize(folder, out, options)
    new_tags, new_checksums = read_tags(out), read_checksums(folder)
    rows: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    differences: dict[str, list[float]] = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as profiles:
        for name in ("sRGB", "LAB"):
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(name))
            Path(profiles, f"{name}.icc").write_bytes(profile.tobytes())
        for path, checksum in checksums.items():
            before = tags.get(path, [])
            format_ = next((v for _, n, v in before if n == "FileType"), f"unknown {path.suffix}")
            line = lines.get(path, {"status": "no line in the report"})
            status = {"done": "done", "failed": "refused"}.get(line["status"], "left out")
            row, notes = rows[format_], []
            row.update(["files", status])
            row["inputs changed"] += new_checksums.get(path) != checksum
            if status == "done":
                result, warnings = Path(line["output"]), "; ".join(line["warnings"])
                after = new_tags.get(result, [])
                losses = list(find_losses(before, after))
                row["tags"] += len(counted(before))
                row["kept"] += len(counted(before)) - len(losses)
                for tag, change in losses:
                    kind = "warned" if is_warned(tag, warnings) else "silent"
                    row[kind] += 1
                    notes.append(f"{kind}: {tag}{change}")
                difference = lightness_difference((path, result), (before, after), Path(profiles))
                if difference is not None:
                    differences[format_].append(difference)
                    notes.append(f"|dL*|: {difference:.2f}")
                notes += [f"warning: {warning}" for warning in line["warnings"]]
            else:
                notes.append(f"{line['status']}: {line.get('error') or line.get('reason')}")
            for note in notes if is_listed else ():
                print(f"{path.relative_to(folder)}: {note}")
    table = [f"| format | {' | '.join(COLUMNS)} |", f"| --- |{' ---: |' * len(COLUMNS)}"]
    for format_, row in sorted(rows.items()):
        dL = differences[format_]  # noqa: N806
        means = [f"{np.mean(dL):.2f}", f"{max(dL):.2f}"] if dL else ["-", "-"]
        cells = [*(row[name] for name in COUNTS), *means, len(dL), row["inputs changed"]]
        table.append(f"| {format_} | {' | '.join(map(str, cells))} |")
    return table


def main() -> None:
    """Print the table, and the losses if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Other options are passed to `photochrom colorize`, such as --recolor or --model.",
    )
    parser.add_argument("folder", type=Path, help="photos, also in subfolders")
    parser.add_argument("--out", type=Path, metavar="TABLE.md", help="write the table there too")
    parser.add_argument("--list", action="store_true", help="print every loss by file and tag")
    parser.add_argument("--results", type=Path, metavar="NEW", help="keep the results there")
    arguments, options = parser.parse_known_args()
    if shutil.which("exiftool") is None:
        print("exiftool is missing; install it, see https://exiftool.org", file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory(prefix="photochrom-fidelity-") as temporary:
        out = arguments.results or Path(temporary)
        out.mkdir(exist_ok=True)
        table = compare(arguments.folder, out, options, is_listed=arguments.list)
    print("\n".join(table))
    if arguments.out:
        arguments.out.write_text("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
