"""The models that clients can choose, and what a look may ask of them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from photochrom.colorize.colorizer import MAX_ASPECT_RATIO
from photochrom.colorize.hints import check_hints
from photochrom.colorize.onnx_model import OnnxModel, default_model_path, no_hints_error
from photochrom.colorize.options import MAX_SIZE, MIN_SIDE
from photochrom.errors import ModelError, PhotochromError
from photochrom.web.looks import Look


@dataclass(frozen=True)
class Model:
    """A model that clients can choose."""

    name: str
    note: str
    """The training data, from the model file; may be empty."""
    size: int
    """Short side in px of the network's input."""
    takes_hints: bool
    """Whether people can correct its colours."""


class Models(Sequence[Model]):
    """The models of a server, the default first."""

    def __init__(
        self, paths: Sequence[Path | None], *, device: str, max_network_pixels: int
    ) -> None:
        """Check the model files.

        Args:
            paths: ONNX files, the default first; None: the default model.
            device: As for `Colorizer`.
            max_network_pixels: As of `Limits`.

        Raises:
            ModelError: If a model cannot be loaded, or two have the same name.
        """
        self._models: list[Model] = []
        self._max_network_pixels = max_network_pixels
        for path in paths:
            model = OnnxModel(path or default_model_path(), device=device, threads=1)
            if model.name in [other.name for other in self]:
                raise ModelError(f"two models are called {model.name}; give each model once")
            note = model.metadata.get("data", "")
            self._models.append(Model(model.name, note, model.size, model.takes_hints))

    @overload
    def __getitem__(self, index: int) -> Model: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Model]: ...
    def __getitem__(self, index: int | slice) -> Model | Sequence[Model]:
        """Return a model."""
        return self._models[index]

    def __len__(self) -> int:
        """Return the number of models."""
        return len(self._models)

    def index_of(self, name: str) -> int:
        """Return the index of a model; that of the default if the name is empty.

        Raises:
            ModelError: If there is no such model.
        """
        names = [model.name for model in self]
        if not name:
            return 0
        if name not in names:
            raise ModelError(f"there is no model {name[:80]!r}; it has to be {', '.join(names)}")
        return names.index(name)

    def named(self, name: str) -> Model:
        """Return a model; the default if the name is empty.

        Raises:
            ModelError: If there is no such model.
        """
        return self[self.index_of(name)]

    def check_look(self, look: Look) -> Look:
        """Return a look with the name of its model.

        Raises:
            PhotochromError: If a value is out of range, there is no such model, or there are hints
                and it takes none.
        """
        look.check()
        model = self.named(look.model)
        if look.hints and not model.takes_hints:
            raise no_hints_error(model.name)
        return look.model_copy(update={"model": model.name})

    def check_fit(self, look: Look, sizes: Sequence[tuple[int, int]]) -> None:
        """Check a look for a photo: its hints, its crop, and the size of the network's input.

        Hints belong to the first page; a crop has to fit every page.

        Args:
            look: A look.
            sizes: Width and height in px of the photo's pages, upright.

        Raises:
            PhotochromError: If a hint lies outside of the photo, the crop reaches out of it, or the
                size is larger than `max_size`.
        """
        check_hints(look.hints, sizes[0])
        results = [look.geometry.size(*size) for size in sizes]
        largest = self.max_size(look.model, results)
        if look.size is not None and look.size > largest:
            width, height = results[0]
            raise PhotochromError(
                f"size is {look.size}; for this photo of {width}x{height} pixels it has to be from "
                f"{MIN_SIDE} to {largest}"
            )

    def max_size(self, model: str, sizes: Iterable[tuple[int, int]]) -> int:
        """Return the largest `size` for a photo: its short side, within the limit of memory.

        Args:
            model: The name of a model, whose own size is always allowed.
            sizes: Width and height in px of its pages, which may be turned.
        """
        own = self.named(model).size
        return max(own, min(self._max_page_size(*size) for size in sizes))

    def _max_page_size(self, width: int, height: int) -> int:
        aspect_ratio = min(MAX_ASPECT_RATIO, max(width, height) / min(width, height))
        in_memory = math.isqrt(int(self._max_network_pixels / aspect_ratio))
        return min(MAX_SIZE, width, height, in_memory)
