"""Import of the weights of an exported ONNX file, to train them further or to blend them.

Export folds each batch normalization into the convolution before it: the weights are scaled, the
norm's shift becomes the bias. Import does not undo this. It chooses the norm's parameters so that,
with the mean and variance of real photos, it only adds the bias: exact at inference, and nearly
exact in training, where the statistics of each batch are used.
"""

from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from photochrom.errors import ModelError

_PREFIX = "generator."  # the attribute of `photochrom.training.onnx.export.CielabGenerator`


@torch.no_grad()
def load_onnx_weights(generator: nn.Module, path: Path, L: Tensor) -> None:
    """Load the weights of an exported file into a generator.

    Args:
        generator: Of the same architecture: convolutions, each with or without batch normalization,
            as in `encoder_unet`. Unchanged on an error.
        path: An output of `photochrom export`; its `saturation` is not part of the weights.
        L: Photos for the statistics of the norms, shape (B, 1, H, W), in [-1, 1].

    Raises:
        ModelError: If the file cannot be read, is of another architecture, or the generator has
            other layers.
    """
    folded = read_convolutions(path, generator)
    convolutions = _convolutions(generator)
    norms = _find_batch_norms(generator, L[:1, :, :64, :64], convolutions)
    known = {id(p) for m in (*convolutions.values(), *norms.values()) for p in m.parameters()}
    if any(id(p) not in known for p in generator.parameters()):
        raise ModelError(
            "this generator has layers other than convolutions and batch norms after them, which "
            f"cannot be imported from {path}; give the run that it was exported from"
        )
    for name, convolution in convolutions.items():
        weight, bias = folded[name]
        convolution.weight.copy_(weight)
        if convolution.bias is not None:
            convolution.bias.copy_(torch.zeros_like(bias) if name in norms else bias)
    _fit_batch_norms(generator, L, {norm: folded[name][1] for name, norm in norms.items()})


def read_convolutions(path: Path, generator: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Return weight and bias of every convolution in an exported file, by module name.

    Raises:
        ModelError: If the file cannot be read, or is of another architecture than `generator`.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # what protobuf raises depends on the damage
        raise ModelError(f"{path} is not a readable ONNX file") from error
    tensors = {tensor.name.removesuffix(".half"): tensor for tensor in model.graph.initializer}

    def values(name: str) -> Tensor:
        return torch.from_numpy(onnx.numpy_helper.to_array(tensors[name]).copy()).float()

    convolutions = {
        module_name(weight): (values(weight), values(bias))
        for weight, bias in list_convolution_tensors(model)
    }
    shapes = {name: weight.shape for name, (weight, _) in convolutions.items()}
    if shapes != {name: m.weight.shape for name, m in _convolutions(generator).items()}:
        raise ModelError(
            f"the layers of {path} are not those of the recipe's generator; give the recipe that "
            "it was exported from"
        )
    return convolutions


def _convolutions(generator: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: m for name, m in generator.named_modules() if isinstance(m, nn.Conv2d)}


def list_convolution_tensors(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """Return the names of weight and bias of every convolution of an exported generator.

    Raises:
        ModelError: If other layers have weights.
    """
    pairs = [
        (node.input[1], node.input[2])
        for node in model.graph.node
        if node.op_type == "Conv" and len(node.input) > 2
    ]
    names = {tensor.name.removesuffix(".half") for tensor in model.graph.initializer}
    others = {name for name in names if name.startswith(_PREFIX)} - {n for p in pairs for n in p}
    if others:
        raise ModelError(
            f"layer {module_name(min(others))} of the exported generator is not a convolution with "
            "a bias or a batch norm after it; only such generators can be imported"
        )
    return pairs


def module_name(weight: str) -> str:
    """Return the name of the convolution in the generator, for the name of its exported weight."""
    return weight.removeprefix(_PREFIX).removesuffix(".weight")


def _find_batch_norms(
    generator: nn.Module, L: Tensor, convolutions: Mapping[str, nn.Conv2d]
) -> dict[str, nn.BatchNorm2d]:
    """Return the batch norm that takes each convolution's output, by the convolution's name."""
    outputs: dict[int, tuple[str, Tensor]] = {}  # keeps the tensors, so that ids stay unique
    norms: dict[str, nn.BatchNorm2d] = {}
    handles = []
    for name, convolution in convolutions.items():

        def record_output(_m: nn.Module, _x: object, output: Tensor, name: str = name) -> None:
            outputs[id(output)] = name, output

        handles.append(convolution.register_forward_hook(record_output))
    for norm in generator.modules():
        if isinstance(norm, nn.BatchNorm2d):

            def record_input(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
                if id(inputs[0]) in outputs:
                    norms[outputs[id(inputs[0])][0]] = norm

            handles.append(norm.register_forward_pre_hook(record_input))
    _run(generator, L, handles)
    return norms


def _fit_batch_norms(
    generator: nn.Module, L: Tensor, biases: Mapping[nn.BatchNorm2d, Tensor]
) -> None:
    """Make each norm only add its bias, with the mean and variance of its inputs for `L`."""

    def fit(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(biases[norm] + mean)

    # The hook runs before the norm's forward pass, so that later norms get the right inputs.
    _run(generator, L, [norm.register_forward_pre_hook(fit) for norm in biases])


def _run(generator: nn.Module, L: Tensor, handles: list[RemovableHandle]) -> None:
    """Run the generator once in eval mode and remove the hooks."""
    training = generator.training
    generator.eval()
    try:
        generator(L)
    finally:
        generator.train(training)
        for handle in handles:
            handle.remove()
