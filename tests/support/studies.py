"""Small human studies."""

from pathlib import Path
from typing import Any

from photochrom.study.creation import create_study
from support.models import write_model
from support.photos import write_tinted_photos


def write_models(folder: Path) -> list[str]:
    """Two model files, `a` and `b`, of which the first is stronger."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, scale in (("a", 1.0), ("b", 0.5)):
        write_model(folder / f"{name}.onnx", name=name, scale=scale)
    return [str(folder / f"{name}.onnx") for name in ("a", "b")]


def write_study(folder: Path, **options: Any) -> Path:
    """Make a study of 12 photos and 4 historic ones in a folder."""
    photos = write_tinted_photos(folder / "photos", 12)
    old = write_tinted_photos(folder / "old", 4)
    options = {"practice": 2, "checks": 2, "trials": 8, "least_trials": 1} | options
    create_study(
        folder / "study",
        real=[photos],
        historic=[old],
        models=write_models(folder / "m"),
        **options,
    )
    return folder / "study"
