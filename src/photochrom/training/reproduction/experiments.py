"""The experiments: the report's systems, claims and next steps, each with a recipe.

Recipes are defined at the report's scale; a `Protocol` defines how much smaller they are run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import log2
from typing import Any, Literal

from photochrom.errors import RecipeError
from photochrom.training.loop.distributed import Precision
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import Recipe, override

Part = Literal["table", "claim", "next step"]

REPORT_SIZE = 256
"""Side of the report's photos in px."""
EPOCHS = 5
"""The last epochs of a run that are measured and averaged."""
SYSTEMS = ("custom", "unet-patchgan", "resnet18-unet-patchgan", "unet-patchgan-l1pre")
"""The four systems of the report's Table 1."""
_SHOWN = (*SYSTEMS, "lite0-unet-patchgan", "unet-l1")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The scale of all experiments."""

    size: int
    """Side of the photos in px."""
    train: int
    """Number of training photos."""
    validation: int
    """Number of photos that are watched in training."""
    test: int
    """Number of photos that figures are reported of."""
    narrower: int
    """Divisor of the widths of networks; a pretrained encoder keeps its width."""
    scratch_encoder_narrower: int | None = None
    """Divisor of the widths of a ResNet18 that is trained from scratch; None: `narrower`."""
    batch_size: int
    most_epochs: int | None = None
    """Limit for each phase of training; None: as many as in the recipe."""
    precision: Precision = "bf16"
    """Unless another is asked for."""
    stem: str = "results"
    """Of the names of its pages and curves."""
    shown: tuple[str, ...] = _SHOWN
    """The experiments in the curves over training and in the published image grid."""
    planned: tuple[tuple[str, int], ...] = ()
    """Experiments and seeds that are run unless others are asked for, in this order; empty: every
    experiment once."""

    def covers(self, *names: str) -> bool:
        """Return whether all of some experiments are planned."""
        return not self.planned or set(names) <= dict(self.planned).keys()


_HALF = (
    *(("unet-patchgan-l1pre", seed) for seed in range(3)),
    *(("resnet18-unet-patchgan", seed) for seed in range(3)),
    *(("unet-patchgan", seed) for seed in range(3)),
    ("resnet18-lambda-100", 0),
    ("lite0-unet-patchgan", 0),
    ("unet-l1", 0),
    *(("custom", seed) for seed in range(3)),
    ("custom-no-l1", 0),
    ("unet-patchgan-full", 0),
)
"""Those whose state is too large to be kept elsewhere come first: they have to end in one go."""

_NEXT_STEPS = (
    *("unet-patchgan", "unet-lsgan", "unet-hinge", "unet-slow-d", "unet-narrow-d"),
    *("unet-ratio", "unet-phases", "unet-threshold", "unet-turns", "unet-rgb", "unet-lab"),
)
"""The report's next steps, after system 2, which they are compared with."""
_AFTER_NEXT_STEPS = (
    *("unet-l1", "resnet18-unet-patchgan", "resnet18-lambda-0", "resnet18-lambda-3"),
    *("resnet18-lambda-10", "resnet18-lambda-30", "resnet18-lambda-100"),
    *("custom", "custom-dilated"),
)
"""A positive control, the sweep over lambda, and the receptive field."""

_REDUCED = Protocol(size=128, train=1200, validation=64, test=300, narrower=4, batch_size=8)

PROTOCOLS: dict[str, Protocol] = {
    "report": Protocol(size=256, train=6400, validation=160, test=1600, narrower=1, batch_size=16),
    "half": Protocol(
        size=128,
        train=6400,
        validation=400,
        test=1600,
        narrower=2,
        scratch_encoder_narrower=1,
        batch_size=16,
        planned=_HALF,
    ),
    "reduced": _REDUCED,
    "next-steps": replace(
        _REDUCED,
        stem="next-steps",
        shown=_NEXT_STEPS,
        planned=tuple((name, 0) for name in (*_NEXT_STEPS, *_AFTER_NEXT_STEPS)),
    ),
    "smoke": Protocol(
        size=32,
        train=8,
        validation=4,
        test=12,
        narrower=16,
        batch_size=4,
        most_epochs=1,
        precision="32",
    ),
}


@dataclass(frozen=True)
class Experiment:
    """A training run."""

    title: str
    recipe: Recipe
    """At the report's scale."""
    part: Part
    """Table 1, a claim of the report, or one of its next steps."""
    full_width: bool = False
    """Keep the widths of the report at every scale, to show what narrower networks cost."""


GREY_PAIR = ("custom", "custom-no-l1")
"""The custom pair, which the report says is grey, with and without L1."""
BASELINES = ("grey", "mean-ab")
"""Models without training."""
LAMBDAS = (0, 1, 3, 10, 30, 100)
"""The sweep over lambda."""


def lambda_run(value: int) -> str:
    """Return the experiment of the sweep with this lambda; 1 is system 3 itself."""
    return "resnet18-unet-patchgan" if value == 1 else f"resnet18-lambda-{value}"


_CUSTOM, _UNET = named_recipe("custom"), named_recipe("unet-patchgan")
_RESNET18 = named_recipe("resnet18-unet-patchgan")
_DILATIONS = (1, 2, 4, 8, 16, 16, 8, 4)  # a receptive field of 241 of 256 px instead of 37


def _next(title: str, changes: dict[str, Any]) -> Experiment:
    return Experiment(title, override(_UNET, changes), "next step")


EXPERIMENTS: dict[str, Experiment] = {
    "custom": Experiment("custom residual generator and discriminator", _CUSTOM, "table"),
    "unet-patchgan": Experiment("U-Net, PatchGAN", _UNET, "table"),
    "unet-patchgan-full": Experiment(
        "U-Net, PatchGAN, at full width", _UNET, "table", full_width=True
    ),
    "resnet18-unet-patchgan": Experiment(
        "U-Net on ResNet18, PatchGAN, lambda 1", _RESNET18, "table"
    ),
    "unet-patchgan-l1pre": Experiment(
        "U-Net, PatchGAN, 20 epochs of L1 first", named_recipe("unet-patchgan-l1pre"), "table"
    ),
    "lite0-unet-patchgan": Experiment(
        "U-Net on pretrained EfficientNet-Lite0, PatchGAN, lambda 1",
        named_recipe("lite0-unet-patchgan"),
        "table",
    ),
    "unet-l1": Experiment("U-Net, L1 only", named_recipe("unet-l1"), "claim"),
    "custom-no-l1": Experiment(
        "custom pair without L1", override(_CUSTOM, {"objective.l1.weight": 0.0}), "claim"
    ),
    "custom-dilated": Experiment(
        "custom pair, dilated generator",
        override(_CUSTOM, {"generator.dilations": _DILATIONS}),
        "claim",
    ),
    **{
        lambda_run(value): Experiment(
            f"U-Net on ResNet18, PatchGAN, lambda {value}",
            override(_RESNET18, {"objective.l1.weight": value}),
            "claim",
        )
        for value in LAMBDAS
        if value != 1
    },
    "unet-lsgan": _next("U-Net, PatchGAN, least squares", {"adversarial.loss.kind": "lsgan"}),
    "unet-hinge": _next("U-Net, PatchGAN, hinge", {"adversarial.loss.kind": "hinge"}),
    "unet-slow-d": _next(
        "U-Net, PatchGAN with a tenth of the learning rate", {"adversarial.lr_d": 2e-5}
    ),
    "unet-narrow-d": _next(
        "U-Net, PatchGAN with a quarter of the width", {"discriminator.base_channels": 16}
    ),
    "unet-ratio": _next(
        "alternating by ratio: 2 generator steps for each PatchGAN step", {"adversarial.g_steps": 2}
    ),
    "unet-phases": _next(
        "alternating by phases: L1 only, PatchGAN only, both (NoGAN)",
        {
            "schedule.pretrain_epochs": 14,
            "adversarial.d_only_epochs": 2,
            "schedule.epochs": 4,
        },
    ),
    "unet-threshold": _next(
        "alternating by threshold: the PatchGAN learns while its loss is above 0.65",
        {"adversarial.d_threshold": 0.65},
    ),
    "unet-turns": _next(
        "alternating by epochs: first the PatchGAN, then the generator",
        {"adversarial.turn_epochs": 1},
    ),
    "unet-rgb": _next("U-Net with RGB output, PatchGAN", {"output.kind": "rgb"}),
    "unet-lab": _next("U-Net with Lab output, PatchGAN", {"output.kind": "lab"}),
}
"""By name, in the order in which they are run."""


def uses_resnet18_weights(recipe: Recipe) -> bool:
    """Return whether a recipe starts from the ImageNet weights of ResNet18, a download."""
    settings = recipe.generator.settings
    return (settings.get("encoder"), settings.get("encoder_weights")) == ("resnet18", "imagenet")


def at_scale(
    recipe: Recipe,
    protocol: Protocol,
    seed: int,
    *,
    resnet18_weights: str = "imagenet",
    full_width: bool = False,
) -> Recipe:
    """Return a recipe at the scale of a protocol.

    A U-Net keeps the size of its innermost feature map, a PatchGAN the share of the photo that a
    patch covers, and a residual generator the share that its receptive field covers.

    Args:
        recipe: At the report's scale.
        protocol: The scale.
        seed: Of the run.
        resnet18_weights: `none` trains ResNet18 from scratch where the recipe starts from ImageNet
            weights, with its width divided as the protocol says.
        full_width: Divide no widths.
    """
    divisor = 1 if full_width else protocol.narrower
    if uses_resnet18_weights(recipe) and resnet18_weights == "none":
        # Below 8 channels, the backward pass of a 1x1 convolution of stride 2 writes out of bounds
        # on processors with AVX2 only (oneDNN in torch 2.14.1, channels_last, 1 thread).
        of_encoder = protocol.scratch_encoder_narrower or divisor
        widths = tuple(max(channels // of_encoder, 8) for channels in (64, 128, 256, 512))
        scratch = {"encoder": "tu-resnet18", "encoder_weights": "none", "encoder_channels": widths}
        recipe = override(recipe, {f"generator.{key}": value for key, value in scratch.items()})
    factor = REPORT_SIZE // protocol.size
    halvings = round(log2(factor))

    def epochs(count: int) -> int:
        return count if protocol.most_epochs is None else min(count, protocol.most_epochs)

    def narrower(channels: int) -> int:
        return max(channels // divisor, 1)

    rules: dict[str, Callable[[Any], Any]] = {
        "base_channels": narrower,
        "channels": narrower,
        "decoder_channels": lambda widths: tuple(narrower(width) for width in widths),
        "blocks": lambda blocks: max(blocks // factor, 1),
        "depth": lambda depth: max(depth - halvings, 1),
        "dilations": lambda dilations: dilations[::factor],
    }
    changes: dict[str, Any] = {
        f"{name}.{key}": rules[key](value)
        for name, network in (
            ("generator", recipe.generator),
            ("discriminator", recipe.discriminator),
        )
        if network is not None
        for key, value in network.settings.items()
        if key in rules
    }
    changes |= {
        "data.image_size": protocol.size,
        "data.batch_size": protocol.batch_size,
        "schedule.pretrain_epochs": epochs(recipe.schedule.pretrain_epochs),
        "schedule.epochs": epochs(recipe.schedule.epochs),
        "seed": seed,
    }
    if recipe.adversarial is not None:
        changes["adversarial.d_only_epochs"] = epochs(recipe.adversarial.d_only_epochs)
    return override(recipe, changes)


def select_runs(
    only: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    planned: Sequence[tuple[str, int]] = (),
) -> list[tuple[str, int]]:
    """Return the experiments and seeds to run, the most important first.

    Args:
        only: Names of experiments; empty means all. Baselines are accepted and left out.
        seeds: The first is used for every experiment, the others for those in `only`, or if that is
            empty for the four systems. None: those of `planned`, and 0 for the others in `only`.
        planned: `Protocol.planned`.

    Raises:
        RecipeError: If an experiment is unknown or the seeds are invalid.
    """
    known = (*BASELINES, *EXPERIMENTS)
    for name in only:
        if name not in known:
            raise RecipeError(f"unknown experiment {name!r}; choose from {', '.join(known)}")
    if seeds is None and planned:
        found = [(name, seed) for name, seed in planned if not only or name in only]
        more = [name for name in EXPERIMENTS if name in only and name not in dict(planned)]
        return found + [(name, 0) for name in more]
    seeds = (0,) if seeds is None else seeds
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise RecipeError(
            f"the seeds are {','.join(map(str, seeds)) or 'none'}; give different whole numbers "
            "from 0, such as 0,1,2"
        )
    names = only or [name for name, e in EXPERIMENTS.items() if not e.full_width]
    first = [(name, seeds[0]) for name in EXPERIMENTS if name in names]
    more_seeds = [
        (name, seed) for seed in seeds[1:] for name in EXPERIMENTS if name in (only or SYSTEMS)
    ]
    return first + more_seeds
