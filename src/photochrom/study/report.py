"""Writes the report of a study: report.html, report.json, answers.csv and contact.png."""

import base64
import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image, ImageDraw, ImageFont

from photochrom.color import FloatArray
from photochrom.errors import DataError, PhotochromError
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.imagefile.reading import open_photo
from photochrom.progress import progress_bar
from photochrom.study.analysis import analyse
from photochrom.study.answers import Response
from photochrom.study.design import (
    IMAGE_FOLDER,
    MIN_CHROMA,
    REAL,
    RESPONSE_FILE,
    Study,
    load_study,
)
from photochrom.study.exclusion import (
    apply_exclusion,
    check_responses,
    exclusion_criteria,
    is_early,
    number_participants,
    select_responses,
)
from photochrom.study.fooling import MIN_RESPONSES, MIN_SYSTEMS, select_extremes
from photochrom.study.results import Analysis, FoolingResult, ImageResult, Scores
from photochrom.study.statistics import BOOTSTRAP_SAMPLES, MIN_CLUSTERS, MIN_REVERSALS
from photochrom.study.store import Store

CONTACT_IMAGES = 8
"""Maximum number of images with the highest fooling rates on the contact sheet, and the lowest."""
THUMBNAIL_SIZE = 256
"""Long side of an image on the contact sheet in px."""

NO_METRICS = (
    "Correlations of fooling rates with the metrics of photochrom evaluate are missing, as the "
    "train extra is not installed; run pip install 'photochrom[train]' and create the report again."
)


@dataclass(frozen=True)
class _Thumbnails:
    """A generated image of the contact sheet and the real photo."""

    result: ImageResult
    generated: Image.Image
    real: Image.Image | None


_ContactSheet = dict[str, dict[str, list[_Thumbnails]]]
"""The images fooled `most` and fooled `least`, by protocol."""


def write_report(
    folder: Path,
    out: Path | None = None,
    metrics: Path | None = None,
    *,
    least_responses: int = MIN_RESPONSES,
    progress: bool = False,
) -> Path:
    """Write the report of a study, over an older one; the study may be running.

    The files depend on the responses only.

    Args:
        folder: The folder of the study.
        out: The folder of the report; None: `folder/report`.
        metrics: A metrics.json of `photochrom evaluate`, with models named like the systems.
        least_responses: The lists of the images with the highest and the lowest fooling rates leave
            out those with fewer responses; at least 1.
        progress: Show a progress bar.

    Returns:
        The path of report.html.

    Raises:
        PhotochromError: If there is no study or no response to a test trial, if a file cannot be
            read, or the report cannot be written.
    """
    if least_responses < 1:
        raise PhotochromError(f"least responses is {least_responses}; it has to be at least 1")
    study = load_study(folder)
    with Store(folder / RESPONSE_FILE, read_only=True) as store:
        enrolment, responses = store.read()
    responses = number_participants(responses)
    system_metrics = None if metrics is None else _read_metrics(metrics)
    check_responses(study, responses)  # before the slow metrics
    titles = _metric_titles()
    scores = None if titles is None else _score_images(study, folder, responses, progress=progress)
    analysis = analyse(
        study, responses, enrolment=enrolment, scores=scores, system_metrics=system_metrics
    )
    sheet = _load_contact_sheet(study, folder, analysis.fooling, least_responses)
    content = {
        "format": 2,
        "least_responses": least_responses,
        **_round(dataclasses.asdict(analysis)),
    }
    out = folder / "report" if out is None else out
    make_folder(out, DataError)
    for name, data in (
        ("answers.csv", _format_csv(study, analysis, responses)),
        ("report.json", json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"),
        ("contact.png", _draw_contact_sheet(sheet)),
        ("report.html", _render_html(study, content, sheet, titles)),
    ):
        try:
            write_atomic(out / name, data)
        except OSError as error:
            raise DataError(f"cannot write {out / name}: {error.strerror or error}") from error
    return out / "report.html"


def _read_metrics(path: Path) -> dict[str, dict[str, float]]:
    """Read the means in a metrics.json, by model and metric.

    Raises:
        DataError: If the file cannot be read, or is not a metrics.json.
    """
    try:
        return {
            str(evaluation["name"]): _rename_old(
                {str(metric): float(mean) for metric, (mean, _, _) in evaluation["values"].items()}
            )
            for evaluation in json.loads(path.read_bytes())["evaluations"]
        }
    except OSError as error:
        raise DataError(f"cannot read metrics {path}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is not a metrics.json of `photochrom evaluate`; give the file that it wrote "
            "under --out"
        ) from error


def _rename_old(values: dict[str, float]) -> dict[str, float]:
    """Return values under the names of today; as they are without the train extra."""
    try:
        from photochrom.training.evaluation.metrics import rename_old
    except ModuleNotFoundError:
        return values
    return rename_old(values)


def _metric_titles() -> dict[str, str] | None:
    """Return titles of metrics, with an arrow to the better side; None without the train extra."""
    try:
        from photochrom.training.evaluation.metrics import METRICS
    except ModuleNotFoundError:
        return None
    return {name: metric.title + metric.arrow for name, metric in METRICS.items()}


def _score_images(
    study: Study, folder: Path, responses: Sequence[Response], *, progress: bool
) -> Scores:
    """Compute all metrics of the generated images in the analysed responses.

    Historic photos, which have no reference, are left out; so is SSIM of images below its window.

    Raises:
        PhotochromError: If an image cannot be read.
    """
    from photochrom.training.evaluation.metrics import SSIM_WINDOW, photo_metrics

    images = {item.id: item.pictures for item in study.items}
    included = select_responses(apply_exclusion(study, responses), responses)
    keys = {(r.item, r.system) for r in included if r.protocol != "preference"}
    keys = {(item, system) for item, system in keys if system != REAL and REAL in images[item]}
    scores = {}
    for item, system in progress_bar(sorted(keys), "metrics", disable=not progress, unit="image"):
        real = _load_floats(folder, images[item][REAL])
        generated = _load_floats(folder, images[item][system])
        if generated.shape != real.shape:
            raise DataError(
                f"the images of {system} and {REAL} of photo {item} differ in size; create the "
                "study again"
            )
        scores[item, system] = {
            name: function(generated, real)
            for name, function in photo_metrics().items()
            if name != "ssim" or min(real.shape[:2]) >= SSIM_WINDOW
        }
    return scores


def _load_floats(folder: Path, id_: str) -> FloatArray:
    return np.asarray(_load_image(folder, id_), np.float32) / np.float32(255)


def _load_image(folder: Path, id_: str) -> Image.Image:
    """Load an image of the study in RGB.

    Raises:
        PhotoError: If it is missing or damaged.
    """
    return open_photo(folder / IMAGE_FOLDER / f"{id_}.png").to_image().convert("RGB")


def _load_contact_sheet(
    study: Study, folder: Path, results: Iterable[FoolingResult], least_responses: int
) -> _ContactSheet:
    images = {item.id: item.pictures for item in study.items}

    def load_thumbnail(id_: str) -> Image.Image:
        image = _load_image(folder, id_)
        image.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
        return image

    def load_thumbnails(result: ImageResult) -> _Thumbnails:
        ids = images[result.item]
        real = load_thumbnail(ids[REAL]) if REAL in ids else None
        return _Thumbnails(result, load_thumbnail(ids[result.system]), real)

    sheet: _ContactSheet = {}
    for result in results:
        extremes = select_extremes(result.images, CONTACT_IMAGES, least_responses)
        sheet[result.protocol] = {
            name: list(map(load_thumbnails, images))
            for name, images in zip(("most", "least"), extremes, strict=True)
        }
    return sheet


def _draw_contact_sheet(sheet: _ContactSheet) -> bytes:
    """Return the contact sheet as a PNG; real photos are left of generated images."""
    gap, line, columns = 8, 22, 4
    column_width = 2 * (THUMBNAIL_SIZE + 1 + gap)
    rows: list[str | list[_Thumbnails]] = []
    for protocol, groups in sheet.items():
        for name, images in groups.items():
            if images:
                rows.append(f"{protocol}: fooled {name}")
                rows += [images[i : i + columns] for i in range(0, len(images), columns)]
    max_height = line + len(rows) * (THUMBNAIL_SIZE + line + gap)
    canvas = Image.new("RGB", (columns * column_width + 2 * gap, max_height), "white")
    draw, top = ImageDraw.Draw(canvas), 0
    for row in rows:
        if isinstance(row, str):
            draw.text((2 * gap, top + gap), row, fill="black", font=ImageFont.load_default(19))
            top += 2 * line
            continue
        height = max(image.height for t in row for image in (t.generated, t.real) if image)
        for i, thumbnails in enumerate(row):
            left = 2 * gap + i * column_width
            caption = (left, top + height + 1)
            draw.text(
                caption, _caption(thumbnails.result), fill="black", font=ImageFont.load_default(15)
            )
            if thumbnails.real:
                canvas.paste(thumbnails.real, (left, top))
                left += thumbnails.real.width + 2
            canvas.paste(thumbnails.generated, (left, top))
        top += height + line + gap
    data = io.BytesIO()
    canvas.crop((0, 0, canvas.width, max(top, line))).save(data, "PNG")
    return data.getvalue()


def _caption(image: ImageResult) -> str:
    name = image.name if len(image.name) <= 32 else f"…{image.name[-31:]}"
    return f"{image.hits} of {image.n}   {image.system}   {name}"


def _round(value: Any) -> Any:
    """Round all numbers to six significant digits."""
    if isinstance(value, Mapping):
        return {key: _round(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_round(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _format_csv(study: Study, analysis: Analysis, responses: Iterable[Response]) -> bytes:
    """Return all responses to test trials, excluded participants included."""
    names = {item.id: item.name for item in study.items}
    excluded = {p.participant for p in analysis.participants if p.excluded is not None}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fields = [field.name for field in dataclasses.fields(Response)]
    writer.writerow([*fields, "photo", "system", "fooled", "right", "excluded", "early"])
    for r in sorted(responses, key=lambda r: (r.person, r.number)):
        if r.kind != "test":
            continue
        row = dataclasses.asdict(r) | {"shown": " + ".join(r.shown)}
        derived = [r.system, int(r.fooled), int(r.correct)]
        if r.protocol == "preference":
            derived = ["", "", ""]
        left_out = [int(r.person in excluded), int(is_early(study, r))]
        writer.writerow([*row.values(), names[r.item], *derived, *left_out])
    return text.getvalue().encode(errors="backslashreplace")  # file names of Linux are bytes


def _render_html(
    study: Study, content: Mapping[str, Any], sheet: _ContactSheet, titles: Mapping[str, str] | None
) -> bytes:
    """Return a self-contained page with the numbers of report.json, without scripts."""
    environment = Environment(
        loader=PackageLoader("photochrom.study"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "data_uri": _format_data_uri,
        "interval": _format_interval,
        "ms": lambda time: "-" if time is None else f"{time:.0f} ms",
        "percent": lambda share: "-" if share is None else f"{100 * share:.1f} %",
        "signed": lambda value: "-" if value is None else f"{value:+.2f}",
    }
    page = environment.get_template("report.html").render(
        report=content,
        sheet=sheet,
        titles=titles or {},
        excluding=exclusion_criteria(study),
        no_metrics=NO_METRICS if titles is None else None,
        min_clusters=MIN_CLUSTERS,
        min_systems=MIN_SYSTEMS,
        min_chroma=MIN_CHROMA,
        min_reversals=MIN_REVERSALS,
        bootstrap_samples=BOOTSTRAP_SAMPLES,
    )
    return page.encode(errors="backslashreplace")


def _format_data_uri(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def _format_interval(ends: Sequence[float] | None, factor: float = 100.0, digits: int = 1) -> str:
    return "-" if ends is None else f"[{', '.join(f'{factor * e:.{digits}f}' for e in ends)}]"
