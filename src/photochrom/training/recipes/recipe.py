"""`Recipe`: the settings of a training run, without the paths of its data and results."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from photochrom.errors import RecipeError
from photochrom.training.recipes.kinds import (
    ADVERSARIAL_LOSSES,
    DISCRIMINATORS,
    GENERATORS,
    OUTPUTS,
    REGULARIZERS,
    TERMS,
)
from photochrom.training.recipes.registry import (
    Component,
    Count,
    Fraction,
    NonNegative,
    Positive,
    PositiveFraction,
    Registry,
    Settings,
    Side,
    Term,
)
from photochrom.training.recipes.upgrade import FORMAT, RENAMED, upgrade

Phase = Literal["pretrain", "gan", "d", "g"]
Decay = Annotated[float, Ge(0), Lt(1)]


def _parsed_by(registry: Registry, path: str) -> BeforeValidator:
    return BeforeValidator(lambda values: registry.parse(values, path))


def _terms_of(registry: Registry, path: str) -> BeforeValidator:
    def parse(values: Any) -> dict[str, Term]:
        if not isinstance(values, Mapping):
            raise RecipeError(f"{path} is {values!r}; give {path}.NAME.weight for each term")
        return {
            name: registry.parse_term(name, term, f"{path}.{name}") for name, term in values.items()
        }

    return BeforeValidator(parse)


_AS_DICT = PlainSerializer(lambda component: component.to_dict())
Terms = Annotated[
    dict[str, Term],
    PlainSerializer(lambda terms: {name: term.to_dict() for name, term in terms.items()}),
]


class Data(Settings):
    """How photos become batches."""

    image_size: Side = 256
    """Side of the square training crops in px."""
    batch_size: Count = 16
    flip: bool = True
    """Flip half of the photos horizontally."""
    crop_min: PositiveFraction | None = None
    """The side of a crop is random, from this fraction of the photo's short side to the whole of
    it, and the crop is resized to `image_size`. None: crops of `image_size`, not resized."""
    min_side: Side | None = None
    """Photos whose short side is below this, in px, are not used for training; of the others,
    those smaller than `image_size` are enlarged. None: photos smaller than `image_size` are an
    error."""
    saturation: Annotated[float, Gt(0), Lt(10)] = 1.0
    """Factor on the ab of training photos."""
    degradation: Fraction = 0.0
    """Fraction of the photos whose L is degraded (`photochrom.training.data.degradation`)."""
    hints: Fraction = 0.0
    """Fraction of the photos with colour hints (`photochrom.training.data.hints`), for a generator
    that takes them."""

    @property
    def enlarge_small(self) -> bool:
        """Return whether photos smaller than `image_size` are enlarged; else they are an error."""
        return self.min_side is not None


class Adversarial(Settings):
    """Training against a discriminator."""

    loss: Annotated[Component, _parsed_by(ADVERSARIAL_LOSSES, "adversarial.loss"), _AS_DICT] = (
        Field(default={"kind": "bce"}, validate_default=True)
    )
    """The loss of both networks, a function of the discriminator's logits."""
    regularization: Annotated[Terms, _terms_of(REGULARIZERS, "adversarial.regularization")] = Field(
        default_factory=dict
    )
    """Further terms of the discriminator's loss."""
    window: PositiveFraction = 1.0
    """The discriminator and all terms of the objective but `l1` and `classes` get a random crop of
    the photo, of this fraction of its side and flipped with a probability of 1/2; it is the same
    for a real photo and its generated one (Zhao et al. 2020, differentiable augmentation). 1: no
    augmentation."""
    lr_d: NonNegative = 2e-4
    """Learning rate of the discriminator."""
    g_steps: Count = 1
    """Generator updates for each discriminator update, on the same batch."""
    d_threshold: NonNegative | None = None
    """The discriminator is updated only if its loss is above this; None: always."""
    d_only_epochs: Annotated[int, Ge(0)] = 0
    """Epochs of the discriminator alone, after `schedule.pretrain_epochs`."""
    turn_epochs: Count | None = None
    """During `schedule.epochs`, discriminator and generator are trained in turn, each for this many
    epochs, the discriminator first. None: both in every step."""


Scheme = Literal["normal", "he", "variance-scaling", "default"]


class Initialization(Settings):
    """The weights before the first step."""

    scheme: Scheme = "default"
    """`normal`: normally distributed with a standard deviation of 0.02; `he`: He et al. 2015;
    `variance-scaling`: TensorFlow's default, half the variance of `he`; `default`: PyTorch's.
    Pretrained encoders keep their weights."""
    discriminator_scheme: Scheme | None = None
    """That of the discriminator; None: `scheme`."""
    generator_weights: str = "none"
    """`none`, or the path of a run with the same generator or of an ONNX file exported from one."""


class Optimization(Settings):
    """Optimizers, learning rates, and the average of the weights."""

    optimizer: Literal["adam", "adamw"] = "adam"
    """Of both networks, with the same betas and weight decay."""
    lr_g: Positive = 2e-4
    """Learning rate of the generator."""
    lr_encoder: Positive | None = None
    """Learning rate of a generator's encoder; None: `lr_g`."""
    lr_pretrain: Positive | None = None
    """Learning rate of the generator in `schedule.pretrain_epochs`; None: `lr_g`."""
    beta1: Decay = 0.5
    beta2: Decay = 0.999
    weight_decay: NonNegative = 0.0
    clip_norm: Positive | None = None
    """Largest L2 norm of the gradient of each network; a larger gradient is scaled down to it
    (Pascanu et al. 2013). None: gradients are not clipped."""
    accumulate: Count = 1
    """Number of equal micro-batches that a batch is computed in, to need less memory. Their
    gradients are averaged for one update, so steps and learning rates stay those of
    `data.batch_size`; batch norms see one micro-batch, and dropout and random windows are drawn for
    each."""
    lr_schedule: Literal["constant", "cosine", "exponential", "plateau"] = "constant"
    """Of all learning rates. `cosine`: to 0 at the last step; `exponential`: divided by 10 every
    500 000 steps; `plateau`: divided by 10 after more than 5 epochs without a lower loss, that of
    the term `l1` if there is one, in the epochs that train the generator."""
    ema: Annotated[float, Gt(0), Lt(1)] | None = None
    """Decay of the exponential moving average of the weights, which is validated, saved and
    exported; None: the last step's weights."""


class Schedule(Settings):
    """The phases of training."""

    pretrain_epochs: Annotated[int, Ge(0)] = 0
    """Epochs with `pretrain_terms` only, without a discriminator. The generator's optimizer starts
    afresh after them."""
    pretrain_terms: tuple[str, ...] = ("l1",)
    """Terms of the objective in these epochs."""
    epochs: Annotated[int, Ge(0)] = 20
    """Epochs with all terms."""


class Inference(Settings):
    """How the trained generator is used, by `evaluate` and in exported files."""

    size: Side | None = None
    """Short side of the generator's input in px; None: `data.image_size`."""
    batch_statistics: bool = False
    """Normalize with the statistics of the photo instead of the running averages of training, as
    pix2pix does (Isola et al. 2017, section 3.3)."""
    dropout: bool = False
    """Keep dropout, as pix2pix does. Colours are then random, so the run cannot be exported."""


class Recipe(Settings):
    """The settings of a training run.

    The kinds of generator, output, discriminator and terms are in
    `photochrom.training.recipes.kinds`; the settings of a kind are the keyword-only parameters of
    its class or function.
    """

    format: Literal[2] = FORMAT
    source: str = ""
    """The publication or code that the recipe follows."""
    quoted: tuple[str, ...] = ()
    """Dotted keys of the values that `source` states; all others are our choice."""
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    data: Data = Data()
    generator: Annotated[Component, _parsed_by(GENERATORS, "generator"), _AS_DICT]
    output: Annotated[Component, _parsed_by(OUTPUTS, "output"), _AS_DICT] = Field(
        default={"kind": "ab"}, validate_default=True
    )
    """What the generator predicts."""
    discriminator: (
        Annotated[Component, _parsed_by(DISCRIMINATORS, "discriminator"), _AS_DICT] | None
    ) = None
    adversarial: Adversarial | None = None
    """None without a discriminator."""
    objective: Annotated[Terms, _terms_of(TERMS, "objective")] = Field(
        default={"l1": {"weight": 1.0}}, validate_default=True
    )
    """The terms of the generator's loss, by name."""
    initialization: Initialization = Initialization()
    optimization: Optimization = Optimization()
    schedule: Schedule = Schedule()
    inference: Inference = Inference()

    @model_validator(mode="after")
    def _check_combination(self) -> "Recipe":
        """Refuse settings that have no effect, and recipes that cannot be trained."""
        schedule, optimization, generator = self.schedule, self.optimization, self.generator
        if schedule.epochs + schedule.pretrain_epochs == 0:
            raise RecipeError(
                "schedule.epochs and schedule.pretrain_epochs are both 0; set one above 0"
            )
        if self.data.batch_size % optimization.accumulate:
            raise RecipeError(
                f"optimization.accumulate is {optimization.accumulate} and cannot divide "
                f"data.batch_size={self.data.batch_size}; give a divisor of it"
            )
        if self.discriminator is None:
            if self.adversarial is not None:
                raise RecipeError("adversarial needs a discriminator; set discriminator.kind")
            needing = [name for name, term in self.objective.items() if term.kind == "gan"]
            if needing:
                raise RecipeError(
                    f"objective.{needing[0]} needs a discriminator; set discriminator.kind, or "
                    f"objective.{needing[0]}=none"
                )
            if self.initialization.discriminator_scheme is not None:
                raise RecipeError(
                    "initialization.discriminator_scheme needs a discriminator; set "
                    "discriminator.kind, or initialization.discriminator_scheme=none"
                )
        elif all(
            term.kind in TERMS.names and term.kind != "gan" for term in self.objective.values()
        ):
            raise RecipeError(
                "the discriminator has no effect, as no term of the objective reads its logits; "
                "set objective.gan.weight, or discriminator=none"
            )
        if schedule.pretrain_epochs > 0:
            missing = [name for name in schedule.pretrain_terms if name not in self.objective]
            if missing or not schedule.pretrain_terms:
                raise RecipeError(
                    f"schedule.pretrain_terms is {','.join(schedule.pretrain_terms) or 'empty'}; "
                    f"give terms of the objective, which are {', '.join(self.objective)}"
                )
            for name in schedule.pretrain_terms:
                if self.objective[name].kind == "gan":
                    raise RecipeError(
                        f"schedule.pretrain_terms has {name}, but pretraining has no "
                        "discriminator; leave it out"
                    )
        elif optimization.lr_pretrain is not None:
            raise RecipeError(
                "optimization.lr_pretrain has no effect without pretraining; set "
                "schedule.pretrain_epochs, or optimization.lr_pretrain=none"
            )
        if self.data.hints > 0 and not generator.settings.get("hints", False):
            raise RecipeError(
                f"data.hints is {self.data.hints} and the generator takes no hints; set "
                "generator.hints=true of encoder_unet, or data.hints=0"
            )
        trained = "encoder" in generator.settings and not generator.settings.get(
            "freeze_encoder", False
        )
        if optimization.lr_encoder is not None and not trained:
            raise RecipeError(
                "optimization.lr_encoder has no effect, as the generator has no encoder that is "
                "trained; set optimization.lr_encoder=none"
            )
        unknown = set(self.quoted) - set(flatten(self.to_dict()))
        if unknown:
            raise RecipeError(f"`quoted` names no key of the recipe: {', '.join(sorted(unknown))}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _add_adversarial(cls, values: Any) -> Any:
        """Give a recipe with a discriminator the defaults of `adversarial`."""
        if isinstance(values, Mapping) and values.get("discriminator") is not None:
            return {**values, "adversarial": values.get("adversarial") or {}}
        return values

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as JSON, as parts outside photochrom cannot always be pickled."""
        return Recipe.from_json, (self.to_json(),)

    @property
    def total_epochs(self) -> int:
        """Return the number of epochs of all phases."""
        d_only = 0 if self.adversarial is None else self.adversarial.d_only_epochs
        return self.schedule.pretrain_epochs + d_only + self.schedule.epochs

    def phase(self, epoch: int) -> Phase:
        """Return the phase of an epoch, counted from 0.

        Returns:
            `pretrain`: the generator with `pretrain_terms`; `gan`: both networks; `d`: the
            discriminator only; `g`: the generator only, with all terms.
        """
        if epoch < self.schedule.pretrain_epochs:
            return "pretrain"
        if self.adversarial is None:
            return "g"
        epoch -= self.schedule.pretrain_epochs
        if epoch < self.adversarial.d_only_epochs:
            return "d"
        turns = self.adversarial.turn_epochs
        if turns is None:
            return "gan"
        return "g" if (epoch - self.adversarial.d_only_epochs) // turns % 2 else "d"

    @property
    def inference_size(self) -> int:
        """Return the short side in px of the generator's input at inference."""
        return self.inference.size or self.data.image_size

    @property
    def takes_hints(self) -> bool:
        """Return whether the generator takes colour hints."""
        return bool(self.generator.settings.get("hints", False))

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as nested dicts, with all values."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """Return the recipe as JSON, with all values."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Any) -> "Recipe":
        """Parse nested dicts; missing values get their defaults, and old formats are upgraded.

        Raises:
            RecipeError: If a key is missing or unknown, or a value is invalid.
        """
        if not isinstance(values, Mapping):
            raise RecipeError(f"a recipe must be an object, not {type(values).__name__}")
        values = upgrade(values)
        if "generator" not in values:
            raise RecipeError("a recipe must have a generator; give generator.kind")
        for key in values:
            if key in RENAMED and key not in cls.model_fields:
                raise RecipeError(f"a recipe has no key {key!r}; it is {RENAMED[key]} now")
        return cls.parse("", values)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Recipe":
        """Parse JSON, as `from_dict`.

        Raises:
            RecipeError: As `from_dict`, or if the text is no JSON.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise RecipeError(f"a recipe must be JSON: {error}") from None
        return cls.from_dict(values)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as one dict with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested dicts with changes.

    A section whose `kind` changes loses its other values, except for `weight`. A section that is
    set to None or `none` is removed.
    """
    merged = dict(values)
    for key, change in changes.items():
        before = merged.get(key)
        if isinstance(change, Mapping):
            section = before if isinstance(before, Mapping) else {}
            if "kind" in change and "kind" in section and change["kind"] != section["kind"]:
                section = {k: v for k, v in section.items() if k == "weight"}
            merged[key] = merge(section, change)
        elif isinstance(before, Mapping) and (change is None or str(change).lower() == "none"):
            del merged[key]
        else:
            merged[key] = change
    return merged


def override(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return a recipe with some values replaced; those that differ are removed from `quoted`.

    Args:
        recipe: The recipe to start from.
        settings: Dotted key to value or text, as in `--set KEY=VALUE`: `generator.depth` to 7,
            `objective.l1.weight` to "0.5", `discriminator` to None.

    Raises:
        RecipeError: If a key is unknown or a value is invalid.
    """
    changes: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        place = changes
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise RecipeError(f"{key} and {section} are both set; set one of them")
        place[name] = value
    result = derive(recipe, changes)
    if "quoted" in changes:
        return result
    old, new = flatten(recipe.to_dict()), flatten(result.to_dict())
    quoted = tuple(key for key in recipe.quoted if key in new and old[key] == new[key])
    return result.model_copy(update={"quoted": quoted})


def derive(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe with changes, as nested dicts; `quoted` is not inherited.

    If the discriminator is removed, its settings and the terms of the kind `gan` are as well.

    Raises:
        RecipeError: If a key is unknown or a value is invalid.
    """
    values = merge({**recipe.to_dict(), "quoted": ()}, changes)
    if recipe.discriminator is not None and values.get("discriminator") is None:
        values.pop("adversarial", None)
        if isinstance(initialization := values.get("initialization"), dict):
            initialization.pop("discriminator_scheme", None)
        if isinstance(objective := values.get("objective"), dict):
            values["objective"] = {k: v for k, v in objective.items() if not _is_gan(v)}
    return Recipe.from_dict(values)


def _is_gan(term: Any) -> bool:
    return isinstance(term, Mapping) and term.get("kind") == "gan"
