"""From an ONNX file of `photochrom export` back to weights, to train further or to blend.

An exported convolution has the batch norm behind it folded in: its weights are scaled, its bias is
what is left of the norm. That cannot be taken apart again, but it need not be: any mean and
variance of what the convolution makes give a norm that does in use what the folded one did, and
those of real photos one that does nearly the same in training, where norms go by the batch.
"""

from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from photochrom.errors import ModelError

_PREFIX = "generator."  # its name in `photochrom.training.onnx.export.CielabGenerator`


@torch.no_grad()
def load_exported(generator: nn.Module, path: Path, L: Tensor) -> None:
    """Give a generator the weights of an exported one.

    Args:
        generator: Of the same layers, all of them convolutions with a batch norm behind them or
            none, as `encoder_unet` is; it is left as it was if this fails.
        path: What `photochrom export` wrote. Weights of 16 bits are what they are, and the
            `saturation` that it was exported with is not part of them.
        L: Photos to take the statistics of norms from, shape (B, 1, H, W), in [-1, 1].

    Raises:
        ModelError: If the file cannot be read, or is of another generator, or the generator has
            other layers.
    """
    folded = exported_convolutions(path, generator)
    convolutions = _convolutions(generator)
    norms = _norms_behind(generator, L[:1, :, :64, :64], convolutions)
    known = {id(p) for m in (*convolutions.values(), *norms.values()) for p in m.parameters()}
    if any(id(p) not in known for p in generator.parameters()):
        raise ModelError(
            "this generator has layers other than convolutions and the batch norms behind them, "
            f"which cannot be found again in {path}; give the run that it was exported from"
        )
    for name, convolution in convolutions.items():
        weight, bias = folded[name]
        convolution.weight.copy_(weight)
        if convolution.bias is not None:
            convolution.bias.copy_(torch.zeros_like(bias) if name in norms else bias)
    _fit_norms(generator, L, {norm: folded[name][1] for name, norm in norms.items()})


def exported_convolutions(path: Path, generator: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Return weight and bias of every convolution in a file, by the names of its modules.

    Raises:
        ModelError: If the file cannot be read, or its layers are not the generator's.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # what protobuf raises depends on the damage
        raise ModelError(f"{path} is no ONNX file that can be read") from error
    tensors = {tensor.name.removesuffix(".half"): tensor for tensor in model.graph.initializer}

    def values(name: str) -> Tensor:
        return torch.from_numpy(onnx.numpy_helper.to_array(tensors[name]).copy()).float()

    found = {
        module_name(weight): (values(weight), values(bias))
        for weight, bias in convolution_tensors(model)
    }
    shapes = {name: weight.shape for name, (weight, _) in found.items()}
    if shapes != {name: m.weight.shape for name, m in _convolutions(generator).items()}:
        raise ModelError(
            f"the layers of {path} are not those of the recipe's generator; give the recipe that "
            "it was exported from"
        )
    return found


def _convolutions(generator: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: m for name, m in generator.named_modules() if isinstance(m, nn.Conv2d)}


def convolution_tensors(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """Return the names of weight and bias of every convolution of an exported generator.

    Raises:
        ModelError: If other layers have weights as well.
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
            f"the exported generator's layer {module_name(min(others))} is no convolution with a "
            "bias or a batch norm behind it; weights are taken from files of such layers only"
        )
    return pairs


def module_name(weight: str) -> str:
    """Return the name that the convolution of an exported weight has in its generator."""
    return weight.removeprefix(_PREFIX).removesuffix(".weight")


def _norms_behind(
    generator: nn.Module, L: Tensor, convolutions: Mapping[str, nn.Conv2d]
) -> dict[str, nn.BatchNorm2d]:
    """Return the batch norm that takes a convolution's output, by the convolution's name."""
    made: dict[int, tuple[str, Tensor]] = {}  # with the output, so that no other gets its id
    behind: dict[str, nn.BatchNorm2d] = {}
    handles = []
    for name, convolution in convolutions.items():

        def note_output(_m: nn.Module, _x: object, output: Tensor, name: str = name) -> None:
            made[id(output)] = name, output

        handles.append(convolution.register_forward_hook(note_output))
    for norm in generator.modules():
        if isinstance(norm, nn.BatchNorm2d):

            def note_input(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
                if id(inputs[0]) in made:
                    behind[made[id(inputs[0])][0]] = norm

            handles.append(norm.register_forward_pre_hook(note_input))
    _run(generator, L, handles)
    return behind


def _fit_norms(generator: nn.Module, L: Tensor, biases: Mapping[nn.BatchNorm2d, Tensor]) -> None:
    """Make each norm add its bias and no more, with the mean and variance of what it gets."""

    def fit(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(biases[norm] + mean)

    # A norm is run right after it was fitted, so that the next one sees what it will see.
    _run(generator, L, [norm.register_forward_pre_hook(fit) for norm in biases])


def _run(generator: nn.Module, L: Tensor, handles: list[RemovableHandle]) -> None:
    """Show the generator photos in eval mode, once, and take the hooks off again."""
    training = generator.training
    generator.eval()
    try:
        generator(L)
    finally:
        generator.train(training)
        for handle in handles:
            handle.remove()
