"""The pictures of a campaign: a page to look at, and a sheet that may be published."""

import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data as sample_photos

from photochrom.batch.folders import find_photos
from photochrom.colorize.colorizer import Colorizer
from photochrom.errors import DataError
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.imagefile.reading import open_photo
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.evaluation.image_grid import image_grid, spread_indices
from photochrom.training.evaluation.models import ConstantModel, RunModel
from photochrom.training.reproduction.claims import CLAIMS, judge
from photochrom.training.reproduction.experiments import SYSTEMS
from photochrom.training.reproduction.results import Results, Run

HEIGHT = 128
"""Of the photos on the page, in px."""
SHOWN = 8
"""How many photos of a set are shown, evenly spread over it."""
SHEET_HEIGHT = 192
"""Of the photos on the sheet of samples, in px."""

Pixels = NDArray[np.uint8]

_FIGURES = ("mse", "ssim", "ciede2000", "colorfulness_ratio", "fid")


def _of_height(image: Image.Image, height: int) -> Image.Image:
    width = max(1, round(image.width * height / image.height))
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def _strip(images: Sequence[Image.Image]) -> bytes:
    """Return a JPEG of photos in a row."""
    row = np.concatenate([np.asarray(_of_height(image, HEIGHT)) for image in images], axis=1)
    return _jpeg(Image.fromarray(row))


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88)
    return stream.getvalue()


def _some_photos(folder: Path) -> list[Image.Image]:
    """Return some photos of a folder.

    Raises:
        DataError: If there are none.
        PhotoError: If one cannot be read.
    """
    found = sorted(find_photos([folder]).values())
    return [open_photo(found[i]).to_image() for i in spread_indices(len(found), SHOWN)]


def write_page(results: Results, place: Path, historic: Path | None) -> Path:
    """Write place/index.html with every run's pictures in place/pictures, and return its path.

    Args:
        results: What was found.
        place: OUT/PROTOCOL.
        historic: A folder of old photos to colorize; None shows none.

    Raises:
        PhotochromError: If a photo or a run cannot be read, or the pictures cannot be written.
    """
    held_out = PackedPhotos(place / "data", "eval")
    photos = [
        Image.fromarray(np.array(held_out.photo(i))) for i in spread_indices(len(held_out), SHOWN)
    ]
    sets = {"eval": photos}
    if historic is not None:
        sets["historic"] = _some_photos(historic)
    make_folder(place / "pictures", DataError)
    rows: list[tuple[str, str, Run | None]] = [
        ("truth", "what the photos are", None),
        ("grey", "what the networks see", None),
    ]
    rows += [(f"{r.experiment}-seed{r.seed}", r.title, r) for r in results.runs]
    lines = []
    for name, title, run in rows:
        cells = []
        model = ConstantModel("grey") if run is None else RunModel(_directory(place, run))
        colorizer = Colorizer(model)
        for kind, images in sets.items():
            if name == "truth" and kind == "historic":
                continue  # there is none
            if name != "truth":
                images = [colorizer(_of_height(image, 2 * HEIGHT)) for image in images]
            path = place / "pictures" / f"{name}-{kind}.jpg"
            write_atomic(path, _strip(images))
            cells.append(f'<img loading="lazy" src="pictures/{path.name}" alt="{name}, {kind}">')
        lines.append(_row(name, title, run, cells))
    page = _PAGE.format(
        protocol=html.escape(results.protocol),
        date=html.escape(results.date),
        claims="\n".join(_claims(results)),
        rows="\n".join(lines),
    )
    write_atomic(place / "index.html", page.encode())
    return place / "index.html"


def _directory(place: Path, run: Run) -> Path:
    return place / "runs" / run.directory


def _row(name: str, title: str, run: Run | None, cells: Sequence[str]) -> str:
    figures = ""
    if run is not None:
        values = run.evaluation.values
        figures = ", ".join(f"{key} {values[key][0]:.4g}" for key in _FIGURES if key in values)
    pictures = "".join(f"<div>{cell}</div>" for cell in cells)
    return (
        f'<section><h2 id="{html.escape(name)}">{html.escape(name)}</h2>'
        f"<p>{html.escape(title)}</p><p>{html.escape(figures)}</p>{pictures}</section>"
    )


def _claims(results: Results) -> list[str]:
    return [
        f"<li><b>{html.escape(claim.title)}</b> {html.escape(str(judge(claim, results)))}</li>"
        for claim in CLAIMS
    ]


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The report's experiments, protocol {protocol}</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 1rem; max-width: 100rem; }}
h2 {{ font-size: 1rem; margin: 1.2rem 0 0; }}
p {{ margin: 0 0 .2rem; color: #444; }}
section div {{ overflow-x: auto; margin-bottom: .3rem; }}
img {{ height: 128px; }}
</style>
</head>
<body>
<h1>The report's experiments, protocol {protocol}, {date}</h1>
<ul>
{claims}
</ul>
{rows}
</body>
</html>
"""


def sample_sheet(results: Results, place: Path) -> bytes:
    """Return a JPEG of scikit-image's own photos, colorized by the systems of Table 1."""
    names = [*SYSTEMS, "lite0-unet-patchgan", "unet-l1"]
    runs = [run for name in names if (run := results.of(name)) is not None]
    photos = [
        _of_height(Image.fromarray(photo), SHEET_HEIGHT)
        for photo in (
            sample_photos.astronaut(),
            sample_photos.chelsea(),
            sample_photos.coffee(),
            sample_photos.rocket(),
        )
    ]
    columns = [[np.asarray(photo) for photo in photos]]
    for run in runs:
        colorizer = Colorizer(RunModel(_directory(place, run)))
        columns.append([np.asarray(colorizer(photo)) for photo in photos])
    rows: list[tuple[Pixels, ...]] = list(zip(*columns, strict=True))
    return _jpeg(image_grid(rows, ["truth", *(run.experiment for run in runs)]))
