"""What a recipe is: everything that defines a training run, except where data and results lie.

This module imports no torch, so that `photochrom recipes` answers at once.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from photochrom.errors import RecipeError

GanMode = Literal["bce", "lsgan", "hinge"]
Output = Literal["ab", "lab", "rgb"]
Phase = Literal["l1", "gan", "d", "g"]
Padding = Literal["zeros", "replicate"]
Init = Literal["normal", "he", "variance-scaling", "default"]
Optimizer = Literal["adam", "adamw"]
Schedule = Literal["constant", "cosine", "exponential", "plateau"]

_TOO_MUCH = 1e35  # float32 ends at 3.4e38


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that defines a training run, except where data and results lie."""

    generator: str
    """A key of `photochrom.training.networks.generators.GENERATORS`."""
    discriminator: str | None = None
    """A key of `photochrom.training.networks.discriminators.DISCRIMINATORS`; None trains with L1
    alone."""
    base_channels: int = 64
    """Channels of the first layer of generator and discriminator; deeper layers are multiples."""
    discriminator_channels: int | None = None
    """The same for the discriminator alone; None: `base_channels`."""
    depth: int = 8
    """`unet`, `nazeri_unet`: times that the size is halved; `residual`: residual blocks."""
    dilations: tuple[int, ...] = (1,)
    """`residual`: of the convolutions of each block, over again where there are more blocks."""
    patch_depth: int = 3
    """`patch`: convolutions of stride 2. With 2, 3, 4 it judges patches of 34, 70, 142 px."""
    output: Output = "ab"
    """What the generator makes: ab beside the photo's own L, all of Lab, or RGB. With `rgb` the
    discriminator sees RGB and L1 is taken over RGB, else Lab and the generator's own channels."""
    encoder: str = "resnet18"
    """`encoder_unet`: a segmentation-models-pytorch encoder, or any timm model as `tu-NAME`."""
    encoder_weights: str = "none"
    """`none`, `imagenet` (fetched, or from an installed package), or the path of a state dict."""
    encoder_channels: tuple[int, ...] | None = None
    """Of the stages of an encoder, for timm's ResNets; None: as published."""
    generator_weights: str = "none"
    """`none`, or the path of a run with the same generator, or of an ONNX file exported from one,
    whose weights training starts from."""
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    """`encoder_unet`: decoder channels, deepest first. With four values for an encoder of stride
    32 the network predicts ab at half the size and enlarges it bilinearly."""
    encoder_padding: Padding = "zeros"
    """`encoder_unet`: what the encoder's convolutions of stride 2 see beyond a photo's edge. They
    pad above and to the left alone, so with zeros the upper left corner is unlike all others, and
    a generator that plays against a discriminator leaves specks there."""
    margin: int = 0
    """`encoder_unet`: px of a photo's reflection that the network sees on each side of it, and cuts
    off again, so that no pixel that counts lies in a corner."""
    bounded: bool = False
    """`encoder_unet`: keep the output in [-1, 1] by tanh, as the other generators do. A linear one
    learns faster with L1; against a discriminator it may leave the range of colours."""

    gan_mode: GanMode = "bce"
    label_real: float = 1.0
    """What the discriminator should say of a real photo; 0.9 is one-sided label smoothing."""
    lambda_l1: float = 100.0
    """Weight of the mean absolute error of the generator's output."""
    lambda_gan: float = 1.0
    """Weight of the adversarial term."""
    lambda_perceptual: float = 0.0
    """Weight of the distance of `features` between the generated photo and the true one. Without
    a discriminator the generator learns from it and from L1; pretraining is L1 alone."""
    features: tuple[str, ...] = ("tu-efficientnet_lite0",)
    """Image classifiers with ImageNet weights, frozen, that see sRGB in [-1, 1]: keys of
    `photochrom.training.networks.encoders.PACKAGED_WEIGHTS`. The discriminator `projected` and
    `lambda_perceptual` use their features. With several, each step uses one, in turn."""
    view: float = 1.0
    """What discriminator and perceptual loss see of a photo: a square of this share of its side,
    placed at random and every other time mirrored, the same of the real and the generated photo
    (Zhao et al. 2020, differentiable augmentation). 1: the photo as it is."""
    ema: float | None = None
    """The weights that are watched, saved and exported are an exponential moving average over the
    steps with this decay; None: the last step's."""
    target_saturation: float = 1.0
    """Factor on the true ab in training, never in measuring."""
    hints: float | None = None
    """`encoder_unet`: share of the training photos that are shown with colour hints, the
    generator's second input (see `photochrom.training.data.hints`). None: it takes L alone."""
    aging: float = 0.0
    """Share of the training photos whose L the generator is shown as an old photograph's: see
    `photochrom.training.data.degradation`."""
    g_steps: int = 1
    """Generator steps for each discriminator step, on the same batch."""
    d_threshold: float | None = None
    """The discriminator learns only from batches on which its loss, the mean of that of real and
    of generated photos, is above this; None: from all."""

    optimizer: Optimizer = "adam"
    lr_g: float = 2e-4
    lr_d: float = 2e-4
    lr_encoder: float | None = None
    """Learning rate of a pretrained encoder; 0 freezes it, its norms included. None: `lr_g`."""
    lr_pretrain: float | None = None
    """Generator learning rate while it trains with L1 alone before a GAN; None: `lr_g`."""
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    """Of all learning rates. `cosine`: to 0 at the last step; `exponential`: a tenth every
    500 000 steps; `plateau`: a tenth when the epoch's L1 has not fallen for more than 5 epochs."""
    init: Init = "default"
    """Weights at the start: `normal` N(0, 0.02); `he`; `variance-scaling` (TensorFlow's default,
    half the variance of He); `default`: torch's. Pretrained encoders are left as they are."""

    image_size: int = 256
    """Side in px of the squares that the networks are trained on: crops of larger photos."""
    min_side: int | None = None
    """Photos whose short side in px is below this are left out of training; those between this and
    `image_size` are enlarged. None: photos smaller than `image_size` are refused."""
    crop_min: float | None = None
    """A crop's side is drawn between this share of the photo's short side and all of it, and the
    crop is brought to `image_size`; None: crops of `image_size` as they are."""
    feed_size: int | None = None
    """Short side in px at which the trained generator is shown photos; None: `image_size`."""
    flip: bool = True
    """Mirror half of the training photos, chosen at random."""
    batch_size: int = 16
    pretrain_epochs: int = 0
    """Epochs of L1 alone before the discriminator joins."""
    d_only_epochs: int = 0
    """Epochs of the discriminator alone, after `pretrain_epochs`."""
    epochs: int = 20
    """Epochs with the recipe's own loss, after `pretrain_epochs` and `d_only_epochs`."""
    turn_epochs: int | None = None
    """In `epochs`, discriminator and generator take turns of so many epochs, the discriminator
    first; None: both learn from every batch."""
    seed: int = 0

    source: str = ""
    """Where the recipe comes from."""
    quoted: tuple[str, ...] = field(default=())
    """The fields whose values the source states; every other value is filled in."""

    def __post_init__(self) -> None:
        """Refuse what no run could use.

        Raises:
            RecipeError: If a number is out of range, or `quoted` names no field.
        """
        for name in (
            *("base_channels", "discriminator_channels", "depth", "patch_depth"),
            *("g_steps", "turn_epochs", "batch_size", "lr_g"),
        ):
            value = getattr(self, name)
            if value is not None and not 0 < value < _TOO_MUCH:  # which also refuses nan
                raise RecipeError(f"{name} is {value}; give a number above 0")
        for name in (
            *("epochs", "pretrain_epochs", "d_only_epochs", "lambda_l1", "weight_decay", "seed"),
            *(
                "lr_d",
                "lr_encoder",
                "lr_pretrain",
                "d_threshold",
                "lambda_gan",
                "lambda_perceptual",
            ),
        ):
            value = getattr(self, name)
            if value is not None and not 0 <= value < _TOO_MUCH:
                raise RecipeError(f"{name} is {value}; give 0 or more")
        for name in ("image_size", "feed_size", "min_side"):
            size = getattr(self, name)
            if size is not None and size < 16:
                raise RecipeError(f"{name} is {size}; networks take 16 px or more")
        if not 0 <= self.margin <= 128:
            raise RecipeError(f"margin is {self.margin}; give a number of px from 0 to 128")
        if self.seed >= 2**32:
            raise RecipeError(f"seed is {self.seed}; give a whole number below 2^32")
        if self.hints is not None and not 0 <= self.hints <= 1:
            raise RecipeError(f"hints is {self.hints}; give a share from 0 to 1, or none")
        if not self.features:
            raise RecipeError("features is empty; give one image classifier or more")
        if not 0 <= self.aging <= 1:
            raise RecipeError(f"aging is {self.aging}; give a share from 0 to 1")
        if self.ema is not None and not 0 < self.ema < 1:
            raise RecipeError(f"ema is {self.ema}; give a decay above 0 and below 1, or none")
        if not 0 < self.target_saturation <= 2:
            raise RecipeError(
                f"target_saturation is {self.target_saturation}; give a factor above 0, up to 2"
            )
        if not 0 < self.label_real <= 1:
            raise RecipeError(f"label_real is {self.label_real}; give a number above 0, up to 1")
        if not 0 < self.view <= 1:
            raise RecipeError(f"view is {self.view}; give a share above 0, up to 1")
        if self.crop_min is not None and not 0 < self.crop_min <= 1:
            raise RecipeError(f"crop_min is {self.crop_min}; give a share above 0, up to 1")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RecipeError(f"betas is {self.betas}; give two numbers from 0 to below 1")
        for name in ("encoder_channels", "decoder_channels", "dilations"):
            numbers = getattr(self, name)
            if numbers is not None and (not numbers or min(numbers) <= 0):
                raise RecipeError(f"{name} is {numbers}; give one number above 0 or more")
        if self.epochs + self.pretrain_epochs == 0:
            raise RecipeError("epochs and pretrain_epochs are both 0; nothing would be trained")
        unknown = set(self.quoted) - {f.name for f in dataclasses.fields(self)}
        if unknown:
            raise RecipeError(f"`quoted` names no field of a recipe: {', '.join(sorted(unknown))}")

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole run: pretraining, the discriminator alone, the recipe's own loss."""
        return self.pretrain_epochs + self.d_only_epochs + self.epochs

    def phase(self, epoch: int) -> Phase:
        """Return what is trained in an epoch, the first being 0.

        Returns:
            `l1`: the generator with L1 alone; `gan`: both networks; `d`: the discriminator alone;
            `g`: the generator alone, with the recipe's own loss.
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
    def enlarges(self) -> bool:
        """Whether photos smaller than `image_size` are enlarged; they are refused otherwise."""
        return self.min_side is not None

    @property
    def output_channels(self) -> int:
        """How many channels the generator makes."""
        return 2 if self.output == "ab" else 3

    @property
    def size(self) -> int:
        """Short side in px at which the trained generator is shown photos."""
        return self.feed_size or self.image_size

    def to_json(self) -> str:
        """Return the recipe as JSON, every field written out."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Recipe":
        """Read what `to_json` wrote.

        Raises:
            RecipeError: If it is no JSON object, a key is unknown or missing, or a value has the
                wrong type.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise RecipeError(f"a recipe has to be JSON, and this is not: {error}") from None
        if not isinstance(values, dict):
            raise RecipeError(f"a recipe has to be a JSON object, not {type(values).__name__}")
        if "generator" not in values:
            raise RecipeError("a recipe has to name its generator")
        return cls(**{key: _checked(key, value) for key, value in values.items()})


_TYPES = typing.get_type_hints(Recipe)


def _checked(key: str, value: Any) -> Any:
    """Return `value` as the field `key` wants it, or say in one sentence why not."""
    if key not in _TYPES:
        raise RecipeError(f"unknown recipe key {key!r}; choose from {', '.join(sorted(_TYPES))}")
    try:
        return _as_type(value, _TYPES[key])
    except (TypeError, ValueError):
        raise RecipeError(f"{key} is {value!r}; it has to be {_in_words(_TYPES[key])}") from None


def _as_type(value: Any, wanted: Any) -> Any:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is types.UnionType:  # always "something or None" here
        return None if value is None else _as_type(value, arguments[0])
    if origin is Literal:
        if value not in arguments:
            raise ValueError
        return value
    if origin is tuple:
        if isinstance(value, str) and arguments[0] is str:
            value = (value,)  # `features` was one text in older recipes
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise ValueError
        return tuple(_as_type(item, arguments[0]) for item in value)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:  # exact: True is no int here
        raise TypeError
    return value


def _in_words(wanted: Any) -> str:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is types.UnionType:
        return f"{_in_words(arguments[0])} or none"
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        count = "some" if arguments[-1] is Ellipsis else str(len(arguments))
        return f"{count} values, each {_in_words(arguments[0])}, with commas between"
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return words[wanted]


def _parse(text: str, wanted: Any) -> Any:
    """Read one value from the command line by the type of its field."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is types.UnionType:
        return None if text.lower() == "none" else _parse(text, arguments[0])
    if origin is tuple:
        return tuple(_parse(part.strip(), arguments[0]) for part in text.split(",") if part.strip())
    if wanted is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if wanted in (int, float):
        try:
            return wanted(text)
        except ValueError:
            return text  # `_checked` says what is wrong with it
    return text


def with_settings(recipe: Recipe, settings: Mapping[str, str]) -> Recipe:
    """Return the recipe with some fields replaced by values written as text.

    Args:
        recipe: What to start from; it stays as it is.
        settings: Field name to value, as `--set KEY=VALUE` gives them: `lr_g` to `"1e-4"`.

    Returns:
        A recipe whose `quoted` no longer names the fields that now differ from their source.

    Raises:
        RecipeError: If a key is unknown or a value does not fit its field.
    """
    values = {
        key: _checked(key, _parse(text, _TYPES.get(key, str))) for key, text in settings.items()
    }
    return changed(recipe, **values)


def changed(recipe: Recipe, **values: Any) -> Recipe:
    """Return the recipe with some fields replaced; `quoted` no longer names those that differ.

    Raises:
        RecipeError: If a value is out of range.
    """
    differ = {key for key, value in values.items() if value != getattr(recipe, key)}
    quoted = tuple(key for key in recipe.quoted if key not in differ)
    return replace(recipe, **{"quoted": quoted, **values})
