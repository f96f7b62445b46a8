"""The report of a study as files: report.html, report.json, answers.csv and contact.png."""

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
from photochrom.errors import DataError
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.imagefile.photo import to_8_bits
from photochrom.imagefile.reading import open_photo
from photochrom.progress import progress_bar
from photochrom.study.analysis import LEAST_SYSTEMS, analyse, extremes
from photochrom.study.answers import Answer
from photochrom.study.design import ANSWERS, PICTURES, REAL, Study, load_study
from photochrom.study.exclusion import (
    check_answers,
    counted_answers,
    judge_people,
    judged_pictures,
    numbered,
)
from photochrom.study.results import Analysis, FoolingResult, PhotoResult, Scores
from photochrom.study.statistics import DRAWS, LEAST_CLUSTERS, SETTLING
from photochrom.study.store import Store

SHOWN = 8
"""Pictures on the contact sheet that fooled most, and as many that fooled least."""
THUMBNAIL = 256
"""The longer side of a picture on the contact sheet, in px."""

NO_METRICS = (
    "Correlations of fooling rates with the metrics of photochrom evaluate are missing, as the "
    "train extra is not installed; run pip install 'photochrom[train]' and make the report again."
)
_LEAST_SIDE = 11  # px, of SSIM's window
_ARROWS = {"up": " ↑", "down": " ↓", "target": ""}


@dataclass(frozen=True)
class _Shown:
    """A picture of the contact sheet beside the photo that it was made from."""

    photo: PhotoResult
    made: Image.Image
    real: Image.Image | None


_Sheets = dict[str, tuple[list[_Shown], list[_Shown]]]
"""By protocol, what fooled most and what fooled least."""


def write_report(
    folder: Path, out: Path | None = None, metrics: Path | None = None, *, progress: bool = False
) -> Path:
    """Write what came out of a study, in place of an older report. People may go on answering.

    The same answers give the same files.

    Args:
        folder: Of the study.
        out: Where report.html, report.json, answers.csv and contact.png go; None: `folder/report`.
        metrics: A metrics.json of `photochrom evaluate`, whose models have the systems' names.
        progress: Show a bar while pictures are measured.

    Returns:
        report.html.

    Raises:
        PhotochromError: If there is no study or no answer to a test yet, if metrics.json or a
            picture cannot be read, or the report cannot be written.
    """
    study = load_study(folder)
    with Store(folder / ANSWERS, read_only=True) as store:
        answers = numbered(store.answers())
    measured = None if metrics is None else read_measured(metrics)
    check_answers(study, answers)  # before pictures are measured
    kept = counted_answers(judge_people(study, answers), answers)
    headings = _headings()
    scores = None if headings is None else score_pictures(study, folder, kept, progress=progress)
    analysis = analyse(study, answers, scores=scores, measured=measured)
    sheets = _sheets(study, folder, analysis.fooling)
    content = to_content(analysis)
    page = to_html(content, sheets, headings or {}, metrics_measured=headings is not None)
    out = folder / "report" if out is None else out
    make_folder(out, DataError)
    for name, data in (
        ("answers.csv", to_csv(study, analysis, answers)),
        ("report.json", to_json(content)),
        ("contact.png", contact_sheet(sheets)),
        ("report.html", page),
    ):
        try:
            write_atomic(out / name, data)
        except OSError as error:
            raise DataError(f"cannot write {out / name}: {error.strerror or error}") from error
    return out / "report.html"


def read_measured(path: Path) -> dict[str, dict[str, float]]:
    """Return the means that `photochrom evaluate` wrote, by model and metric.

    Raises:
        DataError: If the file cannot be read, or is something else.
    """
    try:
        evaluations = json.loads(path.read_bytes())["evaluations"]
        measured = {
            str(found["name"]): {
                str(metric): float(mean) for metric, (mean, _, _) in found["values"].items()
            }
            for found in evaluations
        }
    except OSError as error:
        raise DataError(f"cannot read metrics {path}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is no metrics.json of `photochrom evaluate`; give the file that it wrote "
            "under --out"
        ) from error
    return measured


def _headings() -> dict[str, str] | None:
    """Return what metrics are called, with an arrow to the better side; None: no train extra."""
    try:
        from photochrom.training.evaluation.metrics import SCALES
    except ModuleNotFoundError:
        return None
    return {name: scale.title + _ARROWS[scale.direction] for name, scale in SCALES.items()}


def score_pictures(
    study: Study, folder: Path, answers: Iterable[Answer], *, progress: bool = False
) -> Scores:
    """Return what every metric says of the pictures that were judged, as they were shown.

    Args:
        study: Whose pictures they are.
        folder: Of the study.
        answers: Which pictures were judged; those without an original in colour are left out.
        progress: Show a bar.

    Returns:
        By picture; a metric is missing where it cannot be measured, as SSIM below 11 px.

    Raises:
        PhotochromError: If a picture cannot be read.
    """
    from photochrom.training.evaluation.metrics import METRICS

    pictures = {item.id: item.pictures for item in study.items}
    judged = [of for of in judged_pictures(answers) if REAL in pictures[of[0]]]
    scores = {}
    for item, system in progress_bar(judged, "metrics", disable=not progress, unit="picture"):
        target = _pixels(folder, pictures[item][REAL])
        made = _pixels(folder, pictures[item][system])
        if made.shape != target.shape:
            raise DataError(
                f"the pictures of {system} and {REAL} of photo {item} are of different sizes; "
                "make the study again"
            )
        scores[item, system] = {
            name: metric.function(made, target)
            for name, metric in METRICS.items()
            if name != "ssim" or min(made.shape[:2]) >= _LEAST_SIDE
        }
    return scores


def _pixels(folder: Path, picture: str) -> FloatArray:
    return np.asarray(_image(folder, picture), np.float32) / np.float32(255)


def _image(folder: Path, picture: str) -> Image.Image:
    """Return a picture of the study in RGB.

    Raises:
        PhotoError: If it is missing or damaged.
    """
    pixels = to_8_bits(open_photo(folder / PICTURES / f"{picture}.png").pixels)
    return Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy())


def _sheets(study: Study, folder: Path, results: Sequence[FoolingResult]) -> _Sheets:
    pictures = {item.id: item.pictures for item in study.items}

    def thumbnail(picture: str) -> Image.Image:
        image = _image(folder, picture)
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        return image

    def shown(photo: PhotoResult) -> _Shown:
        of = pictures[photo.item]
        real = thumbnail(of[REAL]) if REAL in of else None
        return _Shown(photo, thumbnail(of[photo.system]), real)

    sheets: _Sheets = {}
    for result in results:
        most, least = extremes(result.photos, SHOWN)
        sheets[result.protocol] = [shown(p) for p in most], [shown(p) for p in least]
    return sheets


def contact_sheet(sheets: _Sheets) -> bytes:
    """Return the photos that fooled most and least as a PNG, the real one left of each."""
    rows: list[tuple[str, list[_Shown]]] = []
    for protocol, (most, least) in sheets.items():
        rows += [(f"{protocol}: fooled most", most), (f"{protocol}: fooled least", least)]
    rows = [(title, shown) for title, shown in rows if shown]
    gap, line, columns = 8, 22, 4
    cell = 2 * THUMBNAIL + 2
    width = columns * cell + (columns + 1) * 2 * gap
    heights = [  # of each line of pictures
        [
            max(max(s.made.height, s.real.height if s.real else 0) for s in shown[i : i + columns])
            for i in range(0, len(shown), columns)
        ]
        for _, shown in rows
    ]
    height = sum(2 * line + sum(h + line + gap for h in of) for of in heights)
    sheet = Image.new("RGB", (width, max(height, line)), "white")
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(15), 0
    for (title, shown), of in zip(rows, heights, strict=True):
        draw.text((2 * gap, top + gap), title, fill="black", font=ImageFont.load_default(19))
        top += 2 * line
        for number, one in enumerate(shown):
            left = 2 * gap + number % columns * (cell + 2 * gap)
            if one.real:
                sheet.paste(one.real, (left, top))
            beside = one.real.width + 2 if one.real else 0
            sheet.paste(one.made, (left + beside, top))
            row = of[number // columns]
            draw.text((left, top + row + 1), _caption(one.photo), fill="black", font=font)
            if number % columns == columns - 1 or number == len(shown) - 1:
                top += row + line + gap
    data = io.BytesIO()
    sheet.save(data, "PNG")
    return data.getvalue()


def _caption(photo: PhotoResult) -> str:
    name = photo.name if len(photo.name) <= 32 else f"…{photo.name[-31:]}"
    return f"{photo.hits} of {photo.n}   {photo.system}   {name}"


def _data_uri(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def to_content(analysis: Analysis) -> dict[str, Any]:
    """Return all numbers as report.json has them: six significant digits."""
    return {"format": 1, **_rounded(dataclasses.asdict(analysis))}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(of) for key, of in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(of) for of in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def to_json(content: Mapping[str, Any]) -> bytes:
    """Return report.json."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def to_csv(study: Study, analysis: Analysis, answers: Iterable[Answer]) -> bytes:
    """Return a line for each answer to a test, those of excluded persons marked as such."""
    names = {item.id: item.name for item in study.items}
    excluded = {person.person for person in analysis.people if person.excluded is not None}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fields = [field.name for field in dataclasses.fields(Answer)]
    columns = ["photo", "system", "fooled", "right", "excluded"]
    writer.writerow([*fields, *columns])
    for a in sorted(answers, key=lambda a: (a.person, a.number)):
        if a.kind != "test":
            continue
        preference = a.protocol == "preference"
        row = dataclasses.asdict(a) | {"shown": " + ".join(a.shown)}
        said = ["", "", ""] if preference else [a.system, int(a.fooled), int(a.right)]
        writer.writerow([*row.values(), names[a.item], *said, int(a.person in excluded)])
    return text.getvalue().encode()


def to_html(
    content: Mapping[str, Any],
    sheets: _Sheets,
    headings: Mapping[str, str],
    *,
    metrics_measured: bool = True,
) -> bytes:
    """Return the page: whole in one file, without scripts.

    Args:
        content: As of `to_content`: the page shows the numbers of report.json.
        sheets: What fooled most and least, by protocol.
        headings: What metrics are called.
        metrics_measured: Whether there could be correlations at all.
    """
    environment = Environment(
        loader=PackageLoader("photochrom.study"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["interval"] = _interval
    environment.filters["ms"] = _ms
    environment.filters["signed"] = _signed
    pictures = {
        protocol: [
            [
                {
                    "photo": _rounded(dataclasses.asdict(shown.photo)),
                    "made": _data_uri(shown.made),
                    "real": _data_uri(shown.real) if shown.real else None,
                }
                for shown in row
            ]
            for row in rows
        ]
        for protocol, rows in sheets.items()
    }
    page = environment.get_template("report.html").render(
        report=content,
        pictures=pictures,
        headings=headings,
        no_metrics=None if metrics_measured else NO_METRICS,
        least_clusters=LEAST_CLUSTERS,
        least_systems=LEAST_SYSTEMS,
        settling=SETTLING,
        draws=DRAWS,
    )
    return page.encode()


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _interval(ends: Sequence[float] | None, factor: float = 100.0, digits: int = 1) -> str:
    return "-" if ends is None else f"[{', '.join(f'{factor * e:.{digits}f}' for e in ends)}]"


def _ms(time: float | None) -> str:
    return "-" if time is None else f"{time:.0f} ms"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
