"""The models that `photochrom evaluate` accepts: runs, ONNX files and baselines."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from photochrom.color import FloatArray, rgb_to_lab
from photochrom.colorize.onnx_model import ColorModel, OnnxModel, default_model_path
from photochrom.errors import DataError, ModelError, first_line
from photochrom.progress import progress_bar
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.onnx.export import CielabGenerator
from photochrom.training.runs import check_inference, is_run, load_generator, run_name


class ConstantModel:
    """A baseline that returns the same ab for every pixel of every photo.

    Args:
        name: For tables.
        ab: a* and b* in CIELAB units.
    """

    size = 16  # the photo is ignored

    def __init__(self, name: str, ab: tuple[float, float] = (0.0, 0.0)) -> None:
        self.name = name
        self._ab = np.array(ab, np.float32).reshape(1, 2, 1, 1)

    def __call__(self, L: FloatArray, /) -> FloatArray:
        """Return ab (N, 2, H, W) for L* (N, 1, H, W)."""
        return np.broadcast_to(self._ab, (len(L), 2, *L.shape[2:]))


class RunModel:
    """The generator of a run directory, in PyTorch.

    Args:
        run: The run directory.
        device: Where it is computed.
        inference: Values of `Recipe.inference` other than the recipe's: `batch_statistics`,
            `dropout`. The name of the model says them.

    Raises:
        RunError: If the run has no weights, or they do not fit its recipe.
        RecipeError: If the generator has no layers of the kind that `inference` turns on.
    """

    def __init__(
        self, run: Path, device: str = "cpu", inference: Mapping[str, bool] = MappingProxyType({})
    ) -> None:
        generator, recipe = load_generator(run, inference)
        check_inference(generator, inference)
        self.name = run_name(run)
        if inference:
            words = (
                ("" if value else "no ") + key.replace("_", " ") for key, value in inference.items()
            )
            self.name += f" ({', '.join(words)})"
        self.size = recipe.inference_size
        self.takes_hints = recipe.takes_hints
        self._network = CielabGenerator(generator, recipe.output.build()).to(device)
        self._device = device

    def __call__(self, L: FloatArray, /, hints: FloatArray | None = None) -> FloatArray:
        """Return ab (N, 2, H, W) in CIELAB units for L* (N, 1, H, W) and hints, if any.

        Raises:
            ModelError: If the input is too small for the statistics of one photo.
        """
        inputs = [L] if hints is None else [L, hints]
        tensors = [torch.from_numpy(np.ascontiguousarray(x)).to(self._device) for x in inputs]
        try:
            with torch.inference_mode():
                ab = self._network(*tensors)
        except ValueError as error:  # of batch norms
            raise ModelError(
                f"{self.name} cannot colorize {L.shape[3]}x{L.shape[2]} px ({first_line(error)}); "
                "give a larger inference.size, or no inference.batch_statistics"
            ) from error
        output: FloatArray = ab.cpu().numpy()
        return output


def mean_ab(photos: PackedPhotos, *, progress: bool = False) -> tuple[float, float]:
    """Return the mean a* and b* over all pixels of all photos, in CIELAB units.

    Raises:
        DataError: If there are no photos.
    """
    if len(photos) == 0:
        raise DataError(
            "mean-ab needs training photos, and the data has none; "
            "give mean-ab=DIR with a data set that has some"
        )
    total, pixels = np.zeros(2), 0
    for i in progress_bar(range(len(photos)), "mean-ab", disable=not progress, unit="photo"):
        ab = rgb_to_lab(photos.photo(i).astype(np.float32) / np.float32(255))[..., 1:]
        total += ab.sum(axis=(0, 1), dtype=np.float64)
        pixels += ab.shape[0] * ab.shape[1]
    a, b = total / pixels
    return float(a), float(b)


def load_model(
    model: str,
    data: Path,
    *,
    device: str = "cpu",
    inference: Mapping[str, bool] = MappingProxyType({}),
    progress: bool = False,
) -> ColorModel:
    """Load a model by its name or path.

    Args:
        model: `default`, `grey`, `mean-ab`, `mean-ab=DIR`, a run directory, or an ONNX file.
        data: A prepared data set. `mean-ab` takes its training photos; `mean-ab=DIR` takes those of
            another.
        device: Device of the generators of runs; ONNX files run on the CPU.
        inference: As of `RunModel`; other models are then refused.
        progress: Show a progress bar for mean-ab.

    Raises:
        PhotochromError: If there is no such model.
    """
    name, equals, other_data = model.partition("=")
    path = Path(model)
    if name not in ("default", "grey", "mean-ab") and is_run(path):
        return RunModel(path, device, inference)
    if inference:
        raise ModelError(
            f"{model} is not a run, and {' and '.join(inference)} can be chosen for runs only; "
            "evaluate it separately"
        )
    if model == "default":
        default = OnnxModel(default_model_path())
        default.name = "default"
        return default
    if model == "grey":
        return ConstantModel("grey")
    if name == "mean-ab":
        photos = PackedPhotos(Path(other_data) if equals else data, "train")
        return ConstantModel("mean-ab", mean_ab(photos, progress=progress))
    if path.is_file():
        return OnnxModel(path)
    raise ModelError(
        f"{model} is not a model; give a run directory, an .onnx file, default, grey or mean-ab"
    )
