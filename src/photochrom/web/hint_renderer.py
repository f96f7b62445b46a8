"""The process that renders pictures with hints: its tasks, and the models that it loads.

New hints take a network each time, which sliders and other photos are not to wait for. They need no
decoding: what the network sees of a photo is kept with its first prediction.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photochrom.colorize.colorizer import Colorizer, PreparedPhoto
from photochrom.colorize.rendering import Prediction
from photochrom.colorize.suggestions import Suggestion, suggest_colors
from photochrom.cores import count_cores
from photochrom.errors import PhotochromError
from photochrom.web.renderer import (
    REMOVED,
    Colors,
    Renderer,
    TaskFailure,
    prediction_bytes,
    read_halved,
    write_halved,
)

MAX_MEMORY = 128_000_000
"""Bytes of photos and predictions that are kept: 14 of grey photos, for a mouse that hovers."""


@dataclass
class HintRenderer(Renderer):
    """A renderer whose predictions follow hints."""

    max_memory: int = MAX_MEMORY
    models: tuple[Path | None, ...] = ()
    """Of `Colors.model`; each is loaded when it is needed."""
    device: str = "auto"
    """As for `Colorizer`."""
    _colorizers: dict[int, Colorizer] = field(default_factory=dict)

    def load_colorizer(self, model: int) -> Colorizer:
        """Return the colorizer of a model.

        Raises:
            ModelError: If it cannot be loaded.
        """
        if model not in self._colorizers:
            self._colorizers[model] = Colorizer(self.models[model], device=self.device)
        return self._colorizers[model]

    def load_prediction(self, colors: Colors) -> Prediction:
        """Return a prediction for its photo of `PREVIEW_SIZE`; new hints take the network.

        Raises:
            OSError: If it was removed.
            PhotochromError: As `Colorizer.predict`.
        """
        if not colors.hints:
            return super().load_prediction(colors)
        return self.keep(colors, lambda: self._predict(colors), prediction_bytes)

    def load_prepared(self, folder: Path) -> PreparedPhoto:
        """Return what a model that takes hints needs of a photo, from the folder of a prediction.

        Raises:
            OSError: If it was removed.
        """
        return self.keep(folder / "prepared", lambda: read_prepared(folder), _prepared_bytes)

    def _predict(self, colors: Colors) -> Prediction:
        photo = self.load_prediction(Colors(colors.folder)).photo
        prepared = self.load_prepared(colors.folder)
        colorizer = self.load_colorizer(colors.model)
        return colorizer.predict(photo, hints=colors.hints, prepared=prepared)


@dataclass(frozen=True)
class SuggestColors:
    """Suggest colours for a place in a photo."""

    colors: Colors
    x: float
    """Place as a fraction of the width, 0 to 1."""
    y: float
    """Place as a fraction of the height, 0 to 1."""

    def __call__(self, renderer: HintRenderer) -> list[Suggestion] | TaskFailure:
        """Return the model's own colour there, and others."""
        try:
            prepared = renderer.load_prepared(self.colors.folder)
            ab = prepared.ab(renderer.load_prediction(self.colors).coefficients)
        except OSError:
            return TaskFailure(REMOVED)
        except PhotochromError as error:
            return TaskFailure(str(error))
        return suggest_colors(prepared, ab, self.x, self.y)


@dataclass(frozen=True)
class LoadModel:
    """Load a model, before the first hint needs it."""

    model: int

    def __call__(self, renderer: HintRenderer) -> None:
        """Keep it."""
        renderer.load_colorizer(self.model)


def start_hint_renderer(
    models: tuple[Path | None, ...], device: str
) -> Callable[[Callable[[HintRenderer], Any]], Any]:
    """Return the function that runs the tasks, also those of `renderer`."""
    renderer = HintRenderer(ThreadPoolExecutor(count_cores()), models=models, device=device)
    return lambda task: task(renderer)


def write_prepared(prepared: PreparedPhoto, folder: Path) -> None:
    """Write the argument of `Colorizer.predict`, so that hints need no decoding.

    Raises:
        OSError: If the disk is full.
    """
    write_halved(prepared, "L", folder / "prepared")


def read_prepared(folder: Path) -> PreparedPhoto:
    """Read a file of `write_prepared`.

    Raises:
        OSError: If it was removed.
    """
    prepared: PreparedPhoto = read_halved(folder / "prepared", "L")
    return prepared


def _prepared_bytes(prepared: PreparedPhoto) -> int:
    own = prepared.own_ab
    arrays = (prepared.L, prepared.small_L, prepared.unhinted_ab, *(() if own is None else (own,)))
    return sum(array.nbytes for array in arrays)
