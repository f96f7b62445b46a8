"""Model files and run directories for tests."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    from photochrom.training.recipes.recipe import Recipe


def write_model(
    path: Path,
    *,
    names: tuple[str, str] = ("L", "ab"),
    channels: int = 2,
    sides: tuple[int | str, int | str] = ("height", "width"),
    scale: float = 1.0,
    hints: int = 0,
    asymmetry: float = 0.0,
    **metadata: str,
) -> None:
    """Write a model file of one convolution; metadata of "" are omitted.

    Args:
        path: The file.
        names: Names of input and output.
        channels: Channels of the output.
        sides: Height and width of input and output, symbolic or fixed.
        scale: Factor on the weights.
        hints: Channels of a second input `hints`, whose first two are added to the output; 0: none.
        asymmetry: Factor on the sum of L* from the left, which is added to the output, so that a
            mirrored photo gets other colours.
        metadata: Overrides the default metadata.
    """
    import onnx
    from onnx import TensorProto, helper

    weight = np.resize(np.float32([0.2, -0.3]), (channels, 1, 1, 1)) * np.float32(scale)
    bias = np.resize(np.float32([5, 30]), channels)
    inputs = [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, ["batch", 1, *sides])]
    nodes = [helper.make_node("Conv", [names[0], "weight", "bias"], [names[1]])]
    constants = []
    if hints:
        shape = ["batch", hints, *sides]
        inputs.append(helper.make_tensor_value_info("hints", TensorProto.FLOAT, shape))
        nodes[0].output[0] = "unhinted"
        nodes.append(helper.make_node("Slice", ["hints", "zero", "two", "one"], ["known"]))
        nodes.append(helper.make_node("Add", ["unhinted", "known"], [names[1]]))
        for name, number in (("zero", 0), ("one", 1), ("two", 2)):
            constants.append(onnx.numpy_helper.from_array(np.array([number]), name))
    if asymmetry:
        nodes[0].output[0] = "own"
        nodes.insert(1, helper.make_node("CumSum", [names[0], "axis"], ["sum"]))
        nodes.insert(2, helper.make_node("Mul", ["sum", "asymmetry"], ["ramp"]))
        nodes.insert(
            3, helper.make_node("Add", ["own", "ramp"], ["unhinted" if hints else names[1]])
        )
        constants.append(onnx.numpy_helper.from_array(np.array(3), "axis"))
        constants.append(onnx.numpy_helper.from_array(np.float32(asymmetry), "asymmetry"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, ["batch", channels, *sides])],
        [
            onnx.numpy_helper.from_array(weight, "weight"),
            onnx.numpy_helper.from_array(bias, "bias"),
            *constants,
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    properties = {"photochrom_format": "1", "name": "tiny", "size": "32", **metadata}
    helper.set_model_props(model, {key: value for key, value in properties.items() if value})
    path.write_bytes(model.SerializeToString())


def write_run(path: Path, recipe: "Recipe", generator: "nn.Module") -> Path:
    """Write a run directory with recipe and weights."""
    from photochrom.training import runs

    path.mkdir(parents=True)
    (path / "recipe.json").write_text(recipe.to_json())
    runs.save_generator(path, generator)
    return path
