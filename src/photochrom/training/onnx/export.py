"""From a run directory to one ONNX file that `photochrom colorize` takes.

The file maps "L", L* in 0..100, float32 (N, 1, H, W), to "ab", a* and b* in CIELAB units, float32
(N, 2, H, W), for any N, H and W, H and W at least 16. That of a generator with hints has a second
input, "hints", float32 (N, 3, H, W): a* and b* of the colours that are known, in CIELAB units, and
a mask that is 1 where they are known and 0 elsewhere; zeros everywhere mean that none are. What a
file is, is in its metadata.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from skimage import data as sample_photos
from torch import Tensor, nn

from photochrom.color import AB_SCALE, L_SCALE, FloatArray, lab_to_rgb, rgb_to_lab
from photochrom.colorize.onnx_model import FORMAT
from photochrom.errors import ModelError
from photochrom.imagefile.atomic import write_atomic
from photochrom.training.data.hints import make_hints, sample_patches
from photochrom.training.loop.runs import load_generator
from photochrom.training.onnx.importing import (
    convolution_tensors,
    exported_convolutions,
    module_name,
)
from photochrom.training.recipes.recipe import Output
from photochrom.training.tensors import prediction_to_ab

OPSET = 18
TOLERANCE = 1e-3
"""How far the file may be from torch: times the largest |a*| or |b*|, but at least 1 unit."""
HALF_LEVELS = 1
"""How many levels of 255 a rendered pixel may change through weights of 16 bits."""
TEST_SIZES = ((192, 256), (131, 97))
"""Heights and widths in px at which every export is checked; one is odd, and pads everywhere."""

CHANNELS = {"L": 1, "hints": 3}
"""Of the inputs that a file can have."""
Inputs = dict[str, FloatArray]

_MANY = 1024  # elements: smaller tensors stay float32, they are not what makes a file large


class CielabGenerator(nn.Module):
    """A generator in the units of the outside: L* in 0..100 to a* and b* in CIELAB units.

    Args:
        generator: Any of `photochrom.training.networks.generators`; of one that makes more than
            ab, its own lightness is dropped.
        output: What the generator makes.
        saturation: Factor on ab.
    """

    def __init__(
        self, generator: nn.Module, output: Output = "ab", saturation: float = 1.0
    ) -> None:
        super().__init__()
        self.generator = generator
        self.output = output
        self.scale = AB_SCALE * saturation

    def forward(self, L: Tensor, hints: Tensor | None = None) -> Tensor:
        """Return ab (N, 2, H, W) for L* (N, 1, H, W) and, if there are any, hints (N, 3, H, W)."""
        inputs = [L / L_SCALE - 1.0]
        if hints is not None:
            # Divided by all of the scale, saturation included: a hinted colour comes out as it is.
            inputs.append(torch.cat([hints[:, :2] / self.scale, hints[:, 2:]], dim=1))
        return prediction_to_ab(self.generator(*inputs), self.output) * self.scale


def export(
    run: Path,
    path: Path,
    *,
    licence: str = "Apache-2.0",
    half: bool = True,
    saturation: float = 1.0,
    blend: Path | None = None,
    blend_share: float = 0.5,
    metrics: Path | None = None,
    data_note: str = "",
    overwrite: bool = False,
) -> Path:
    """Write the generator of a run as an ONNX file, if it does what it does in torch.

    Args:
        run: A run directory.
        path: Where the file goes; it appears whole and checked, or not at all.
        licence: Of the weights, for the metadata.
        half: Store the weights with 16 bits, which halves the file; computed is with 32 all the
            same. Where that would change a rendered pixel by more than a level, they keep 32, and
            the metadata says so under `weights`.
        saturation: Factor on the ab that the generator makes, above 0. An L1 loss makes them
            duller than the truth; what the factor costs in fidelity, `photochrom evaluate` tells.
        blend: An exported file of the same layers, one that training started from or ended at:
            every convolution becomes the weighted mean of the two, its norm folded in. Between a
            generator trained with L1 and one that went on against a discriminator lie generators
            with less of the blotches of the second and more of its colours than the first (network
            interpolation: Wang et al. 2018, ESRGAN, section 3.4).
        blend_share: Share of `blend` in the mean, in 0..1.
        metrics: A metrics.json of `photochrom evaluate` for the metadata. None: the one in the
            run, unless `saturation` or `blend` make a model of its own, which was not measured.
        data_note: What the model was trained on, for the metadata.
        overwrite: Replace a file that is there.

    Returns:
        `path`.

    Raises:
        RunError: If the run has no weights, or they do not fit its recipe.
        ModelError: If the file exists or cannot be written, the saturation or the share is out of
            range, `blend` has other layers, or the file's output differs from torch's.
    """
    if path.exists() and not overwrite:
        raise ModelError(f"{path} exists already; remove it or give another name")
    if metrics is not None and not metrics.is_file():
        raise ModelError(f"there is no {metrics}; give a metrics.json of `photochrom evaluate`")
    as_measured = saturation == 1 and blend is None
    if metrics is None and as_measured and (run / "metrics.json").is_file():
        metrics = run / "metrics.json"
    measured = "{}" if metrics is None else _json_text(metrics)
    if not 0 < saturation < 10:
        raise ModelError(f"the saturation is {saturation:g}; give a factor above 0 and below 10")
    if not 0 <= blend_share <= 1:
        raise ModelError(f"the share of the blend is {blend_share:g}; give a number from 0 to 1")
    generator, recipe = load_generator(run)
    other = None if blend is None else exported_convolutions(blend, generator)
    module = CielabGenerator(generator, recipe.output, saturation).eval()
    tests = _test_inputs(hints=recipe.hints is not None)
    expected = []
    with torch.inference_mode():
        for inputs in tests:
            expected.append(module(*(torch.from_numpy(x) for x in inputs.values())).numpy())

    model = _to_onnx(module, list(tests[0]))
    outputs = _run(model, tests)
    difference = _difference(outputs, expected)
    if not difference <= TOLERANCE:
        raise ModelError(
            f"the exported {run} differs from torch by {difference:.2g} of its largest value, more "
            f"than {TOLERANCE:g}, so {path} was not written; report this with the recipe"
        )
    if other is not None:
        _blend(model, other, blend_share)
        outputs = _run(model, tests)
    weights = "float32"
    if half:
        smaller = _with_half_weights(model)
        levels = _levels(tests, outputs, _run(smaller, tests))
        if levels <= HALF_LEVELS:
            model, weights = smaller, "float16"
        else:
            weights = f"float32; float16 would change a rendered pixel by {levels} levels"

    properties = {
        "photochrom_format": FORMAT,
        "name": run.resolve().name,
        "size": str(recipe.inference_size),
        "recipe": recipe.to_json(),
        "hints": "a*, b*, mask" if recipe.hints is not None else "none",
        "data": data_note,
        "metrics": measured,
        "licence": licence,
        "weights": weights,
        "saturation": f"{saturation:g}",
        "blend": "none" if blend is None else f"{blend_share:g} of {blend.name}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    onnx.helper.set_model_props(model, properties)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, model.SerializeToString())
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _json_text(path: Path) -> str:
    try:
        text = path.read_text()
        json.loads(text)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} is not JSON that can be read; give a metrics.json of `photochrom evaluate`"
        ) from error
    return text


def _to_onnx(module: nn.Module, inputs: list[str]) -> onnx.ModelProto:
    """Return the network as ONNX, of any batch size, height and width.

    Args:
        module: A `CielabGenerator`.
        inputs: The names of those that it takes.
    """
    count = torch.export.Dim("N", min=1)
    height, width = (torch.export.Dim(name, min=16) for name in ("H", "W"))
    with warnings.catch_warnings():
        # Both inputs have the same sizes, which the exporter remarks on.
        warnings.filterwarnings("ignore", ".*shares the same shape constraints")
        program = torch.onnx.export(
            module,
            tuple(torch.full((2, CHANNELS[name], 72, 88), 50.0) for name in inputs),
            input_names=inputs,
            output_names=["ab"],
            opset_version=OPSET,
            dynamic_shapes=tuple({0: count, 2: height, 3: width} for _ in inputs),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None  # None only where torch writes a file itself
    model: onnx.ModelProto = program.model_proto
    # What the exporter notes on every node are paths and lines of code of this machine.
    for holder in (*model.graph.node, *model.graph.initializer, *model.graph.input, model.graph):
        holder.doc_string = ""
        del holder.metadata_props[:]
    del model.graph.value_info[:]
    # The exporter writes Min(H, 16*(...)) for a height that is cropped to H again.
    for axis, name in enumerate(("N", None, "H", "W")):
        if name is not None:
            model.graph.output[0].type.tensor_type.shape.dim[axis].dim_param = name
    return model


def _blend(
    model: onnx.ModelProto, other: Mapping[str, tuple[Tensor, Tensor]], share: float
) -> None:
    """Give every convolution the mean of its own weight and bias and those of the other's."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for names in convolution_tensors(model):
        for name, theirs in zip(names, other[module_name(names[0])], strict=True):
            mine = onnx.numpy_helper.to_array(tensors[name])
            mean = (1.0 - share) * mine + share * theirs.numpy()
            tensors[name].CopyFrom(onnx.numpy_helper.from_array(mean.astype(np.float32), name))


def _with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose large weights are float16, each with a Cast to float32 behind it.

    ONNX Runtime applies the casts once, when it loads the file.
    """
    smaller = onnx.ModelProto()
    smaller.CopyFrom(model)
    graph = smaller.graph
    casts = []
    for tensor in graph.initializer:
        values: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _MANY:
            continue
        name = tensor.name
        with np.errstate(over="ignore"):  # infinite weights are found by comparing pixels
            halved = values.astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(halved, f"{name}.half"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return smaller


def _test_inputs(*, hints: bool) -> list[Inputs]:
    """Return L*, and hints if asked, of two of scikit-image's photos, of sizes `TEST_SIZES`."""
    found = []
    photos = (sample_photos.astronaut(), sample_photos.coffee())
    for (height, width), photo in zip(TEST_SIZES, photos, strict=True):
        rgb = np.asarray(photo[: 2 * height : 2, : 2 * width : 2], np.float32) / np.float32(255)
        lab = rgb_to_lab(rgb)
        inputs = {"L": lab[None, None, ..., 0]}
        if hints:
            ab = torch.from_numpy(lab[..., 1:].transpose(2, 0, 1).copy())
            patches = sample_patches(height, width, 5, 7, seed=0)
            inputs["hints"] = make_hints(ab, patches)[None].numpy()
        found.append(inputs)
    return found


def _run(model: onnx.ModelProto, inputs: Sequence[Inputs]) -> list[FloatArray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [
        session.run(["ab"], {name: np.ascontiguousarray(x) for name, x in some.items()})[0]
        for some in inputs
    ]


def _difference(found: Sequence[FloatArray], expected: Sequence[FloatArray]) -> float:
    """Return the largest difference, divided by the largest value or by 1 unit; NaN if any is."""
    worst = [
        np.abs(a - b).max() / max(1.0, np.abs(b).max())
        for a, b in zip(found, expected, strict=True)
    ]
    return float(np.max(worst))


def _levels(
    inputs: Sequence[Inputs], before: Sequence[FloatArray], after: Sequence[FloatArray]
) -> int:
    """Return by how many levels of 255 a pixel changes at most, in the picture that people get."""
    worst = 0
    for some, ab, ab_after in zip(inputs, before, after, strict=True):
        L = some["L"]
        if not np.isfinite(ab_after).all():
            return 255
        pixels = [
            lab_to_rgb(np.concatenate([L, x], axis=1)[0].transpose(1, 2, 0)) for x in (ab, ab_after)
        ]
        levels = [np.rint(rgb * 255).astype(int) for rgb in pixels]
        worst = max(worst, int(np.abs(levels[0] - levels[1]).max()))
    return worst
