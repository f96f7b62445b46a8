"""The images of all runs: a web page of image grids, and an image grid that may be published."""

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
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
from photochrom.training.reproduction.claims import find_claims
from photochrom.training.reproduction.results import Results, Run
from photochrom.training.runs import bare_name

PAGE_HEIGHT = 128
"""Height of the photos on the page, in px."""
PAGE_PHOTOS = 12
"""Number of photos of each set, evenly spread over it."""
SAMPLES_HEIGHT = 192
"""Height of the photos in the published grid, in px."""

_METRICS = ("mse", "ssim", "ciede2000", "colorfulness_ratio", "fid")


def _resize(image: Image.Image, height: int) -> Image.Image:
    width = max(1, round(image.width * height / image.height))
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=92)
    return stream.getvalue()


def write_page(results: Results, folder: Path, historic: Sequence[Path] = ()) -> Path:
    """Write index.html with images of every run whose weights are here, and return its path.

    The default model is beside them. A photo's input is its L*, so a folder of photos that another
    system colorized shows what that made of them and what the runs make of them.

    Args:
        results: All runs.
        folder: OUT/PROTOCOL. Images go to its folder `pictures`.
        historic: Folders of photos to colorize as well, with different names.

    Raises:
        PhotochromError: If a photo or a run cannot be read, or the folder cannot be made.
    """
    packed = PackedPhotos(folder / "data", "test")
    indices = spread_indices(len(packed), PAGE_PHOTOS)
    photos = {"test": [Image.fromarray(np.array(packed.photo(i))) for i in indices]}
    for source in historic:
        paths = sorted(find_photos([source]).values())
        indices = spread_indices(len(paths), PAGE_PHOTOS)
        photos[source.resolve().name] = [
            Image.fromarray(open_photo(paths[i]).to_srgb()) for i in indices
        ]
    make_folder(folder / "pictures", DataError)
    sections = []

    def add_section(name: str, title: str, colorizer: Colorizer | None, values: str = "") -> None:
        images = ""
        for kind, originals in photos.items():
            row = originals
            if colorizer is not None:
                row = [colorizer(_resize(image, 2 * PAGE_HEIGHT)) for image in originals]
            strip = np.concatenate([np.asarray(_resize(image, PAGE_HEIGHT)) for image in row], 1)
            path = folder / "pictures" / f"{name}-{kind}.jpg"
            write_atomic(path, _jpeg(Image.fromarray(strip)))
            images += f'<div><img loading="lazy" src="pictures/{path.name}" alt="{name}, {kind}">'
            images += "</div>"
        sections.append(
            f'<section><h2 id="{escape(name)}">{escape(name)}</h2>'
            f"<p>{escape(title)}</p><p>{escape(values)}</p>{images}</section>"
        )

    add_section("original", "as the files are", None)
    add_section("grey", "input of the networks", Colorizer(ConstantModel("grey")))
    add_section("default", "the model that photochrom ships", Colorizer())
    for run in results.runs:
        if not (folder / "runs" / run.directory).is_dir():
            continue  # trained on another machine, which has its weights
        measured = run.evaluation.values
        values = ", ".join(f"{key} {measured[key][0]:.4g}" for key in _METRICS if key in measured)
        add_section(f"{run.experiment}-seed{run.seed}", run.title, _load(folder, run), values)
    claims = [
        f"<li><b>{escape(claim.title)}</b> {escape(str(claim.conclude(results)))}</li>"
        for claim in find_claims(results)
    ]
    page = _PAGE.format(
        protocol=escape(results.protocol),
        date=escape(results.date),
        claims="\n".join(claims),
        sections="\n".join(sections),
    )
    write_atomic(folder / "index.html", page.encode())
    return folder / "index.html"


def _load(folder: Path, run: Run) -> Colorizer:
    return Colorizer(RunModel(folder / "runs" / run.directory))


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
{sections}
</body>
</html>
"""


def _samples() -> list[Image.Image]:
    """Return scikit-image's sample photos."""
    names = ("astronaut", "chelsea", "coffee", "rocket")
    return [_resize(Image.fromarray(getattr(sample_photos, n)()), SAMPLES_HEIGHT) for n in names]


def colorize_samples(run: Path) -> bytes:
    """Return a JPEG of scikit-image's sample photos, colorized by a run, side by side."""
    colorizer = Colorizer(RunModel(run))
    return _jpeg(Image.fromarray(np.concatenate([np.asarray(colorizer(x)) for x in _samples()], 1)))


def sample_grid(results: Results, folder: Path, store: Path | None = None) -> bytes:
    """Return a JPEG of scikit-image's sample photos, colorized by some of the experiments.

    Args:
        results: All runs.
        folder: OUT/PROTOCOL.
        store: With the colorized photos of the runs that are not in the folder.
    """
    runs = results.shown_runs()
    columns: list[list[Image.Image]] = [_samples()]
    widths = [photo.width for photo in columns[0]]
    for run in runs:
        path = folder / "runs" / run.directory
        if path.is_dir():
            strip = colorize_samples(path)
        else:
            assert store is not None  # where else would the run come from?
            strip = (store / f"{bare_name(run.directory)}.jpg").read_bytes()
        image = Image.open(io.BytesIO(strip))
        ends = np.cumsum(widths).tolist()
        columns.append(
            [
                image.crop((end - width, 0, end, SAMPLES_HEIGHT))
                for end, width in zip(ends, widths, strict=True)
            ]
        )
    rows = [[np.asarray(image) for image in row] for row in zip(*columns, strict=True)]
    return _jpeg(image_grid(rows, ["original", *(run.experiment for run in runs)]))
