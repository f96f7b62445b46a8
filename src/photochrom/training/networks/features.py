"""Feature networks: frozen ImageNet classifiers for perceptual losses and discriminators."""

from functools import cache
from typing import Annotated

import torch
from annotated_types import MinLen
from torch import Tensor, nn

from photochrom.errors import RecipeError, first_line
from photochrom.training.networks.encoders import build_encoder, find_in_package
from photochrom.training.networks.shift_tolerant import (
    FEATURE_CHANNELS,
    Architecture,
    ShiftTolerantNetwork,
)

FeatureNetworks = Annotated[tuple[str, ...], MinLen(1)]
"""Names of feature networks, as `extract_features` takes them. Each step uses one, in turn."""

SHIFT_TOLERANT: dict[str, tuple[Architecture, str]] = {
    "stlpips-alexnet": ("alexnet", "weights/vST0.0/alex_shift_tolerant.pth"),
    "stlpips-vgg16": ("vgg16", "weights/vST0.0/vgg_shift_tolerant.pth"),
}
"""Networks that are no encoders: architecture, and file in the package below."""
_SHIFT_TOLERANT_PACKAGE = "stlpips_pytorch"


def extract_features(name: str, rgb: Tensor) -> list[Tensor]:
    """Return the features (B, C, h, w) of photos, from fine to coarse.

    Encoders give the features of strides 4 to 32.

    Args:
        name: A key of `SHIFT_TOLERANT`, or an encoder as in `build_encoder` that was trained on
            sRGB in [-1, 1], as the EfficientNet-Lites were.
        rgb: sRGB (B, 3, H, W) in [-1, 1].

    Raises:
        RecipeError: If there is no such network, or its weights are unavailable.
    """
    features: list[Tensor] = _feature_network(name, rgb.device)(rgb)
    return features if name in SHIFT_TOLERANT else features[2:]


def stage_channels(name: str) -> list[int]:
    """Return the channels of the features that `extract_features` returns.

    Raises:
        RecipeError: If there is no such network.
    """
    if name in SHIFT_TOLERANT:
        return FEATURE_CHANNELS[SHIFT_TOLERANT[name][0]]
    with torch.device("meta"):  # allocates no weights
        return list(build_encoder(name).out_channels[2:])


@cache
def _feature_network(name: str, device: torch.device) -> nn.Module:
    """Return a network in eval mode, without gradients of its weights."""
    network: nn.Module
    if name in SHIFT_TOLERANT:
        network, _ = load_shift_tolerant(name)
    else:
        network = build_encoder(name, "imagenet")
    network.eval().requires_grad_(False)
    network.to(device=device).to(memory_format=torch.channels_last)
    return network


def load_shift_tolerant(name: str) -> tuple[ShiftTolerantNetwork, dict[str, Tensor]]:
    """Return the network of a key of `SHIFT_TOLERANT`, and the whole state dict of its file.

    Raises:
        RecipeError: If the weights are unavailable or do not fit.
        ModelError: If the file differs from the known one.
    """
    architecture, file = SHIFT_TOLERANT[name]
    network = ShiftTolerantNetwork(architecture)
    path = find_in_package(_SHIFT_TOLERANT_PACKAGE, file)
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        network.load_packaged(state)
    except Exception as error:  # what unpickling raises depends on the damage
        raise RecipeError(
            f"{path} holds no weights of {name} ({first_line(error)}); "
            "reinstall stlpips-pytorch, or choose other networks"
        ) from error
    return network, state
