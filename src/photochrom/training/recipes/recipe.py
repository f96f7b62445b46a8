"""`Recipe`: the settings of a training run, without the paths of its data and results.

Imports no torch, so that `photochrom recipes` starts fast.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from photochrom.errors import RecipeError

GanMode = Literal["bce", "lsgan", "hinge"]
Output = Literal["ab", "lab", "rgb"]
Phase = Literal["l1", "gan", "d", "g"]
Padding = Literal["zeros", "replicate"]
Init = Literal["normal", "he", "variance-scaling", "default"]
Optimizer = Literal["adam", "adamw"]
Schedule = Literal["constant", "cosine", "exponential", "plateau"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training run.

    Raises:
        RecipeError: If a number is out of range, or `quoted` names no field.
    """

    generator: str
    """A key of `photochrom.training.networks.generators.GENERATORS`."""
    discriminator: str | None = None
    """A key of `photochrom.training.networks.discriminators.DISCRIMINATORS`; None: L1 loss only."""
    base_channels: int = 64
    """Channels of the first layer of generator and discriminator; deeper layers have multiples."""
    discriminator_channels: int | None = None
    """Overrides `base_channels` for the discriminator."""
    depth: int = 8
    """`unet`, `nazeri_unet`: number of stride-2 stages; `residual`: number of residual blocks."""
    dilations: tuple[int, ...] = (1,)
    """`residual`: dilation of each block, repeated if there are more blocks."""
    patch_depth: int = 3
    """`patch`: number of stride-2 convolutions; 2, 3, 4 give receptive fields of 34, 70, 142 px."""
    output: Output = "ab"
    """What the generator predicts: ab for the photo's own L, Lab, or RGB. With `rgb` the
    discriminator and the L1 loss see RGB; otherwise the discriminator sees Lab, and L1 is over the
    predicted channels."""
    encoder: str = "resnet18"
    """`encoder_unet`: a segmentation-models-pytorch encoder, or any timm model as `tu-NAME`."""
    encoder_weights: str = "none"
    """`none`, `imagenet` (from an installed package or downloaded), or the path of a state dict."""
    encoder_channels: tuple[int, ...] | None = None
    """Channels of the stages of a timm ResNet; None: as published."""
    generator_weights: str = "none"
    """Initial weights: `none`, or the path of a run with the same generator or of an ONNX file
    exported from one."""
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    """`encoder_unet`: decoder channels, deepest first. With four values and an encoder of stride 32
    the output has half the size and is enlarged bilinearly."""
    encoder_padding: Padding = "zeros"
    """`encoder_unet`: padding mode of the encoder's stride-2 convolutions. On even sizes they use
    the padding at the top and left only; with zeros, a generator trained against a discriminator
    leaves specks in the top left corner."""
    margin: int = 0
    """`encoder_unet`: px of reflection padding on each side, cropped from the output."""
    bounded: bool = False
    """`encoder_unet`: tanh output. A linear output learns faster with L1, but may leave [-1, 1] in
    adversarial training."""

    gan_mode: GanMode = "bce"
    label_real: float = 1.0
    """The discriminator's target for real photos; 0.9 is one-sided label smoothing."""
    lambda_l1: float = 100.0
    """Weight of the L1 loss: the mean absolute error of the generator's output."""
    lambda_gan: float = 1.0
    """Weight of the adversarial loss."""
    lambda_perceptual: float = 0.0
    """Weight of the perceptual loss, a distance between `features` of generated and real photos.
    Not used in pretraining."""
    features: tuple[str, ...] = ("tu-efficientnet_lite0",)
    """Frozen ImageNet classifiers, for `projected` and the perceptual loss: keys of
    `photochrom.training.networks.encoders.PACKAGED_WEIGHTS` or `SHIFT_TOLERANT`. With several, the
    steps use them in turn."""
    view: float = 1.0
    """Side of the random crop that discriminator and perceptual loss see, as a fraction of the
    photo's side. Half of the crops are flipped; real and generated photos get the same crop
    (Zhao et al. 2020, differentiable augmentation). 1: no augmentation."""
    ema: float | None = None
    """Decay of the exponential moving average of the weights, which is evaluated, saved and
    exported; None: the last step's weights."""
    target_saturation: float = 1.0
    """Factor on the ab of training photos."""
    hints: float | None = None
    """`encoder_unet`: takes colour hints as second input; this fraction of the training photos gets
    some (see `photochrom.training.data.hints`). None: no such input."""
    aging: float = 0.0
    """Fraction of the training photos whose L is degraded (see
    `photochrom.training.data.degradation`)."""
    g_steps: int = 1
    """Generator steps for each discriminator step, on the same batch."""
    d_threshold: float | None = None
    """The discriminator is updated only if its loss is above this; None: always."""

    optimizer: Optimizer = "adam"
    lr_g: float = 2e-4
    lr_d: float = 2e-4
    lr_encoder: float | None = None
    """Learning rate of the encoder; 0 freezes it, batch normalization included. None: `lr_g`."""
    lr_pretrain: float | None = None
    """Learning rate of the generator in `pretrain_epochs`; None: `lr_g`."""
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    """Of all learning rates. `cosine`: to 0 at the last step; `exponential`: divided by 10 every
    500 000 steps; `plateau`: divided by 10 after more than 5 epochs without a lower L1 loss."""
    init: Init = "default"
    """Initial weights: `normal`: N(0, 0.02); `he`; `variance-scaling`: TensorFlow's default, half
    the variance of He; `default`: PyTorch's. Pretrained encoders are not initialized."""

    image_size: int = 256
    """Side in px of the square training crops."""
    min_side: int | None = None
    """Photos with a shorter side in px are not used for training; photos smaller than `image_size`
    are enlarged. None: photos smaller than `image_size` are an error."""
    crop_min: float | None = None
    """The side of a crop is drawn between this fraction of the photo's short side and all of it,
    and the crop is resized to `image_size`; None: crops of `image_size`, not resized."""
    feed_size: int | None = None
    """Short side in px of the generator's input at inference; None: `image_size`."""
    flip: bool = True
    """Flip half of the training photos horizontally."""
    batch_size: int = 16
    pretrain_epochs: int = 0
    """Epochs with the L1 loss only, before adversarial training."""
    d_only_epochs: int = 0
    """Epochs of the discriminator alone, after `pretrain_epochs`."""
    epochs: int = 20
    """Epochs with all losses, after `pretrain_epochs` and `d_only_epochs`."""
    turn_epochs: int | None = None
    """During `epochs`, discriminator and generator are trained alternately for this many epochs,
    the discriminator first; None: both in every step."""
    seed: int = 0

    source: str = ""
    """The publication or code that the recipe follows."""
    quoted: tuple[str, ...] = ()
    """The fields whose values `source` states; all others are our choice."""

    def __post_init__(self) -> None:
        """Check the ranges of all fields."""
        for names, is_valid, requirement in _RANGES:
            for name in names:
                value = getattr(self, name)
                if value is not None and not is_valid(value):
                    raise RecipeError(f"{name} is {value}; give {requirement}")
        if self.epochs + self.pretrain_epochs == 0:
            raise RecipeError("epochs and pretrain_epochs are both 0; set one of them above 0")
        unknown = set(self.quoted) - {f.name for f in dataclasses.fields(self)}
        if unknown:
            raise RecipeError(f"`quoted` names no field of a recipe: {', '.join(sorted(unknown))}")

    @property
    def total_epochs(self) -> int:
        """Return the number of epochs of all phases."""
        return self.pretrain_epochs + self.d_only_epochs + self.epochs

    def phase(self, epoch: int) -> Phase:
        """Return the phase of an epoch, counted from 0.

        Returns:
            `l1`: generator without discriminator; `gan`: both networks; `d`: discriminator only;
            `g`: generator only, with all losses.
        """
        if self.discriminator is None or epoch < self.pretrain_epochs:
            return "l1"
        epoch -= self.pretrain_epochs
        if epoch < self.d_only_epochs:
            return "d"
        if self.turn_epochs is None:
            return "gan"
        return "g" if (epoch - self.d_only_epochs) // self.turn_epochs % 2 else "d"

    @property
    def enlarge_small(self) -> bool:
        """Return whether photos smaller than `image_size` are enlarged or an error."""
        return self.min_side is not None

    @property
    def output_channels(self) -> int:
        """Return the number of channels of the generator's output."""
        return 2 if self.output == "ab" else 3

    @property
    def inference_size(self) -> int:
        """Return the short side in px of the generator's input at inference."""
        return self.feed_size or self.image_size

    def to_json(self) -> str:
        """Return the recipe as JSON, with all fields."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Recipe":
        """Parse the output of `to_json`; missing fields get their defaults.

        Raises:
            RecipeError: If the text is no JSON object, `generator` is missing, a key is unknown, or
                a value is of the wrong type or out of range.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise RecipeError(f"a recipe must be JSON: {error}") from None
        if not isinstance(values, dict):
            raise RecipeError(f"a recipe must be a JSON object, not {type(values).__name__}")
        if "generator" not in values:
            raise RecipeError("a recipe must have a generator")
        return cls(**{key: _convert(key, value) for key, value in values.items()})


_MAX = 1e35  # float32 ends at 3.4e38
_RANGES: tuple[tuple[Sequence[str], Callable[[Any], bool], str], ...] = (  # NaN fails all of them
    (
        (
            *("base_channels", "discriminator_channels", "depth", "patch_depth", "g_steps"),
            *("turn_epochs", "batch_size", "lr_g"),
        ),
        lambda x: 0 < x < _MAX,
        "a number above 0",
    ),
    (
        (
            *("epochs", "pretrain_epochs", "d_only_epochs", "lambda_l1", "lambda_gan"),
            *("lambda_perceptual", "weight_decay", "seed", "lr_d", "lr_encoder", "lr_pretrain"),
            "d_threshold",
        ),
        lambda x: 0 <= x < _MAX,
        "0 or more",
    ),
    (("seed",), lambda x: x < 2**32, "a whole number below 2^32"),
    (("image_size", "feed_size", "min_side"), lambda x: x >= 16, "16 px or more"),
    (("margin",), lambda x: 0 <= x <= 128, "0 to 128 px"),
    (("hints", "aging"), lambda x: 0 <= x <= 1, "a fraction from 0 to 1"),
    (("view", "crop_min"), lambda x: 0 < x <= 1, "a fraction above 0, up to 1"),
    (("label_real",), lambda x: 0 < x <= 1, "a number above 0, up to 1"),
    (("ema",), lambda x: 0 < x < 1, "a decay above 0 and below 1, or none"),
    (("target_saturation",), lambda x: 0 < x <= 2, "a factor above 0, up to 2"),
    (("betas",), lambda x: all(0 <= b < 1 for b in x), "two numbers from 0 to below 1"),
    (
        ("encoder_channels", "decoder_channels", "dilations"),
        lambda x: bool(x) and min(x) > 0,
        "one or more numbers above 0",
    ),
    (("features",), bool, "one or more image classifiers"),
)
_TYPES = typing.get_type_hints(Recipe)


def _convert(key: str, value: Any) -> Any:
    """Return `value` with the type of the field `key`, or raise RecipeError."""
    if key not in _TYPES:
        raise RecipeError(f"unknown recipe key {key!r}; choose from {', '.join(sorted(_TYPES))}")
    try:
        return _convert_to(_TYPES[key], value)
    except (TypeError, ValueError):
        raise RecipeError(f"{key} is {value!r}; give {_describe(_TYPES[key])}") from None


def _convert_to(kind: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # always `X | None`
        return None if value is None else _convert_to(arguments[0], value)
    if origin is Literal:
        if value not in arguments:
            raise ValueError
        return value
    if origin is tuple:
        if isinstance(value, str) and arguments[0] is str:
            value = (value,)  # `features` was one string in older recipes
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise ValueError
        return tuple(_convert_to(arguments[0], item) for item in value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:  # not isinstance: a bool is no int here
        raise TypeError
    return value


def _describe(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return f"{_describe(arguments[0])} or none"
    if origin is Literal:
        return "one of " + ", ".join(arguments)
    if origin is tuple:
        count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"{count}comma-separated values, each {_describe(arguments[0])}"
    words = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
    return words[kind]


def _parse(kind: Any, text: str) -> Any:
    """Parse a value from the command line; text that cannot be parsed is returned as it is."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if text.lower() == "none" else _parse(arguments[0], text)
    if origin is tuple:
        return tuple(_parse(arguments[0], part.strip()) for part in text.split(",") if part.strip())
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def apply_settings(recipe: Recipe, settings: Mapping[str, str]) -> Recipe:
    """Return a recipe with some fields replaced by values given as text; see `override`.

    Args:
        recipe: The recipe to start from.
        settings: Field name to value, as in `--set KEY=VALUE`: `lr_g` to `"1e-4"`.

    Raises:
        RecipeError: If a key is unknown, or a value is of the wrong type or out of range.
    """
    values = {
        key: _convert(key, _parse(_TYPES.get(key, str), text)) for key, text in settings.items()
    }
    return override(recipe, **values)


def override(recipe: Recipe, **values: Any) -> Recipe:
    """Return a recipe with some fields replaced; fields that differ are removed from `quoted`.

    Raises:
        RecipeError: If a value is out of range.
    """
    quoted = tuple(
        key for key in recipe.quoted if key not in values or values[key] == getattr(recipe, key)
    )
    return replace(recipe, **{"quoted": quoted, **values})
