"""Export of a run to an ONNX file for `photochrom colorize`.

The file maps "L", L* in 0..100, float32 (N, 1, H, W), to "ab", a* and b* in CIELAB units, float32
(N, 2, H, W), for any N and any H, W >= 16. With hints it has a second input "hints", float32
(N, 3, H, W): a* and b* of known colours in CIELAB units, and a mask that is 1 where they are known.
Without hints, all zeros. The metadata describe the model.
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
from photochrom.training.networks.outputs import Output
from photochrom.training.onnx.importing import (
    list_convolution_tensors,
    module_name,
    read_convolutions,
)
from photochrom.training.runs import load_generator, run_name

OPSET = 18
TOLERANCE = 1e-3
"""Maximum difference from torch, relative to the largest |a*| or |b*|, which is at least 1 unit."""
MAX_FLOAT16_LEVELS = 1
"""Maximum difference of a rendered pixel by float16 weights, in levels of 255."""
TEST_SIZES = ((192, 256), (131, 97))
"""Heights and widths in px of the test inputs of every export; odd sizes need padding."""

CHANNELS = {"L": 1, "hints": 3}
"""Channels of the inputs."""
Inputs = dict[str, FloatArray]

MIN_FLOAT16_SIZE = 20_000
"""Elements; smaller tensors stay float32. They hardly affect the size of the file, and among them
is the first convolution of an encoder, whose large weights for three equal channels cancel out
(18 816 elements in a ResNet with hints)."""


class CielabGenerator(nn.Module):
    """A generator with inputs and outputs in CIELAB units.

    Args:
        generator: Any of `photochrom.training.recipes.kinds.GENERATORS`; a predicted L is dropped.
        output: What the generator predicts.
        saturation: Factor on ab.
    """

    def __init__(self, generator: nn.Module, output: Output, saturation: float = 1.0) -> None:
        super().__init__()
        self.generator = generator
        self.output = output
        self.scale = AB_SCALE * saturation

    def forward(self, L: Tensor, hints: Tensor | None = None) -> Tensor:
        """Predict a* and b* (N, 2, H, W) from L* (N, 1, H, W) and optional hints (N, 3, H, W)."""
        inputs = [L / L_SCALE - 1.0]
        if hints is not None:
            # Divided by the saturation too, so that hinted colours are not changed by it.
            inputs.append(torch.cat([hints[:, :2] / self.scale, hints[:, 2:]], dim=1))
        values = self.output.values(self.generator(*inputs), inputs[0])
        return self.output.ab(values) * self.scale


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
    """Write the generator of a run as an ONNX file, after comparing it with torch.

    Args:
        run: A run directory.
        path: The file, written atomically.
        licence: Licence of the weights, for the metadata.
        half: Store large weights as float16, which halves the file; computation is in float32. If
            that changes a rendered pixel by more than `MAX_FLOAT16_LEVELS`, they stay float32.
        saturation: Factor on ab, above 0, as L1 losses give desaturated colours.
        blend: An exported file of the same architecture, such as the one that training started
            from. All weights become the weighted mean of the two (network interpolation: Wang et
            al. 2018, ESRGAN, section 3.4): between a generator trained with L1 and one trained
            further against a discriminator there are some with fewer blotches than the second and
            more colour than the first.
        blend_share: Weight of `blend` in the mean, 0 to 1.
        metrics: A metrics.json of `photochrom evaluate` for the metadata. None: that of the run, if
            neither `saturation` nor `blend` changes the model.
        data_note: Description of the training data, for the metadata.
        overwrite: Whether to replace an existing file.

    Returns:
        `path`.

    Raises:
        RunError: If the run has no weights, or they do not fit its recipe.
        ModelError: If the file exists or cannot be written, an argument is out of range, `blend`
            has another architecture, or the output differs from torch's.
    """
    if path.exists() and not overwrite:
        raise ModelError(f"{path} exists already; remove it or give another name")
    if metrics is not None and not metrics.is_file():
        raise ModelError(f"{metrics} does not exist; give a metrics.json of `photochrom evaluate`")
    is_unchanged = saturation == 1 and blend is None
    if metrics is None and is_unchanged and (run / "metrics.json").is_file():
        metrics = run / "metrics.json"
    metrics_json = "{}" if metrics is None else _read_json(metrics)
    if not 0 < saturation < 10:
        raise ModelError(f"the saturation is {saturation:g}; give a factor above 0 and below 10")
    if not 0 <= blend_share <= 1:
        raise ModelError(f"the blend share is {blend_share:g}; give a number from 0 to 1")
    generator, recipe = load_generator(run)
    if recipe.inference.dropout:
        raise ModelError(
            f"{run} keeps dropout at inference, which makes colours random, and a file cannot; set "
            "inference.dropout to false in its recipe.json"
        )
    other = None if blend is None else read_convolutions(blend, generator)
    module = CielabGenerator(generator, recipe.output.build(), saturation).eval()
    tests = _test_inputs(hints=recipe.takes_hints)
    with torch.inference_mode():
        expected = [module(*map(torch.from_numpy, x.values())).numpy() for x in tests]

    model = _to_onnx(module, list(tests[0]))
    outputs = _run(model, tests)
    difference = _relative_difference(outputs, expected)
    if not difference <= TOLERANCE:  # or NaN
        raise ModelError(
            f"the output of the exported {run} differs from torch by {difference:.2g} of the "
            f"largest value, more than {TOLERANCE:g}; {path} was not written; report this with the "
            "recipe"
        )
    if other is not None:
        _blend(model, other, blend_share)
        outputs = _run(model, tests)
    weights = "float32"
    if half:
        smaller = _to_float16_weights(model)
        levels = _max_level_difference(tests, outputs, _run(smaller, tests))
        if levels <= MAX_FLOAT16_LEVELS:
            model, weights = smaller, "float16"
        else:
            weights = f"float32; float16 would change a rendered pixel by {levels} levels"

    properties = {
        "photochrom_format": FORMAT,
        "name": run_name(run),
        "size": str(recipe.inference_size),
        "recipe": recipe.to_json(),
        "hints": "a*, b*, mask" if recipe.takes_hints else "none",
        "data": data_note,
        "metrics": metrics_json,
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


def _read_json(path: Path) -> str:
    try:
        text = path.read_text("utf-8")
        json.loads(text)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} is not readable JSON; give a metrics.json of `photochrom evaluate`"
        ) from error
    return text


def _to_onnx(module: nn.Module, inputs: list[str]) -> onnx.ModelProto:
    """Convert a `CielabGenerator` with the named inputs to ONNX, for any N, H and W."""
    count = torch.export.Dim("N", min=1)
    height, width = (torch.export.Dim(name, min=16) for name in ("H", "W"))
    with warnings.catch_warnings():
        # The exporter warns that both inputs have the same sizes.
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
    assert program is not None  # None only if torch writes the file
    model: onnx.ModelProto = program.model_proto
    # The exporter annotates every node with paths and source lines of this machine.
    for holder in (*model.graph.node, *model.graph.initializer, *model.graph.input, model.graph):
        holder.doc_string = ""
        del holder.metadata_props[:]
    del model.graph.value_info[:]
    # The exporter writes Min(H, 16*(...)) for an output cropped to H.
    for axis, name in enumerate(("N", None, "H", "W")):
        if name is not None:
            model.graph.output[0].type.tensor_type.shape.dim[axis].dim_param = name
    return model


def _blend(
    model: onnx.ModelProto, other: Mapping[str, tuple[Tensor, Tensor]], share: float
) -> None:
    """Replace all weights and biases by the weighted mean with those of another model."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for names in list_convolution_tensors(model):
        for name, other_tensor in zip(names, other[module_name(names[0])], strict=True):
            values = onnx.numpy_helper.to_array(tensors[name])
            mean = (1.0 - share) * values + share * other_tensor.numpy()
            tensors[name].CopyFrom(onnx.numpy_helper.from_array(mean.astype(np.float32), name))


def _to_float16_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose large weights are float16, each followed by a Cast to float32.

    ONNX Runtime applies the casts when it loads the file (constant folding).
    """
    smaller = onnx.ModelProto()
    smaller.CopyFrom(model)
    graph = smaller.graph
    casts = []
    for tensor in graph.initializer:
        values: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < MIN_FLOAT16_SIZE:
            continue
        name = tensor.name
        with np.errstate(over="ignore"):  # `_max_level_difference` finds infinities
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
    """Return L*, and optionally hints, of two photos of scikit-image, in `TEST_SIZES`."""
    tests = []
    photos = (sample_photos.astronaut(), sample_photos.coffee())
    for (height, width), photo in zip(TEST_SIZES, photos, strict=True):
        rgb = np.asarray(photo[: 2 * height : 2, : 2 * width : 2], np.float32) / np.float32(255)
        lab = rgb_to_lab(rgb)
        inputs = {"L": lab[None, None, ..., 0]}
        if hints:
            ab = torch.from_numpy(lab[..., 1:].transpose(2, 0, 1).copy())
            patches = sample_patches(height, width, 5, 7, seed=0)
            inputs["hints"] = make_hints(ab, patches)[None].numpy()
        tests.append(inputs)
    return tests


def _run(model: onnx.ModelProto, inputs: Sequence[Inputs]) -> list[FloatArray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as well
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [
        session.run(["ab"], {name: np.ascontiguousarray(x) for name, x in some.items()})[0]
        for some in inputs
    ]


def _relative_difference(outputs: Sequence[FloatArray], expected: Sequence[FloatArray]) -> float:
    """Return the largest difference, relative to the largest value or 1; NaN if any value is."""
    worst = [
        np.abs(a - b).max() / max(1.0, np.abs(b).max())
        for a, b in zip(outputs, expected, strict=True)
    ]
    return float(np.max(worst))


def _max_level_difference(
    tests: Sequence[Inputs], before: Sequence[FloatArray], after: Sequence[FloatArray]
) -> int:
    """Return the largest difference of a rendered pixel, in levels of 255."""
    worst = 0
    for inputs, *outputs in zip(tests, before, after, strict=True):
        if not np.isfinite(outputs[1]).all():
            return 255
        levels = []
        for ab in outputs:
            rgb = lab_to_rgb(np.concatenate([inputs["L"], ab], axis=1)[0].transpose(1, 2, 0))
            levels.append(np.rint(rgb * 255).astype(int))
        worst = max(worst, int(np.abs(levels[0] - levels[1]).max()))
    return worst
