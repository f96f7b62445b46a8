"""What is run: the report's systems, its claims and its next steps, each as a recipe.

Recipes are written at the report's own scale; a `Protocol` says how much smaller they are run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Literal

from photochrom.errors import RecipeError
from photochrom.training.recipes.named import RECIPES
from photochrom.training.recipes.recipe import Recipe, override

Part = Literal["table", "claim", "next step"]

REPORT_SIZE = 256
"""Side in px of the report's photos."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """At what scale everything is run. What depends on the photos' size shrinks with it."""

    size: int
    """Side of the photos in px."""
    train: int
    """How many photos are trained on."""
    held_out: int
    """How many photos are measured on."""
    narrower: int
    """By what the widths of networks are divided; a pretrained encoder keeps that of its weights.
    """
    batch_size: int
    most_epochs: int | None = None
    """Of each phase of training; None: as many as the recipe says."""
    precision: Literal["32", "bf16"] = "bf16"


PROTOCOLS: dict[str, Protocol] = {
    "report": Protocol(size=256, train=6400, held_out=1600, narrower=1, batch_size=16),
    "reduced": Protocol(size=128, train=1200, held_out=300, narrower=4, batch_size=8),
    "smoke": Protocol(
        size=32,
        train=8,
        held_out=12,
        narrower=16,
        batch_size=4,
        most_epochs=1,
        precision="32",
    ),
}


@dataclass(frozen=True)
class Experiment:
    """One training run of the campaign."""

    title: str
    recipe: Recipe
    """At the report's own scale."""
    part: Part
    """What it is there for: Table 1, a claim of the report, or one of its next steps."""


_CUSTOM, _UNET = RECIPES["custom"], RECIPES["unet-patchgan"]
_RESNET18 = RECIPES["resnet18-unet-patchgan"]
_WIDER_VIEW = (1, 2, 4, 8, 16, 16, 8, 4)  # each pixel sees 241 of 256 px instead of 37

SYSTEMS = ("custom", "unet-patchgan", "resnet18-unet-patchgan", "unet-patchgan-l1pre")
"""The four systems of the report's Table 1."""
BASELINES = ("grey", "mean-ab")
"""What needs no training."""
LAMBDAS = (0, 1, 3, 10, 30, 100)
"""Of the sweep over lambda."""


def lambda_run(value: int) -> str:
    """Return the name of the run of the sweep with this lambda; 1 is system 3 itself."""
    return "resnet18-unet-patchgan" if value == 1 else f"resnet18-lambda-{value}"


EXPERIMENTS: dict[str, Experiment] = {
    "custom": Experiment("custom residual generator and discriminator", _CUSTOM, "table"),
    "unet-patchgan": Experiment("U-Net, PatchGAN", _UNET, "table"),
    "resnet18-unet-patchgan": Experiment(
        "U-Net on ResNet18, PatchGAN, lambda 1", _RESNET18, "table"
    ),
    "unet-patchgan-l1pre": Experiment(
        "U-Net, PatchGAN, 20 epochs of L1 first", RECIPES["unet-patchgan-l1pre"], "table"
    ),
    "lite0-unet-patchgan": Experiment(
        "U-Net on pretrained EfficientNet-Lite0, PatchGAN, lambda 1",
        RECIPES["lite0-unet-patchgan"],
        "table",
    ),
    "unet-l1": Experiment("U-Net, L1 alone", RECIPES["unet-l1"], "claim"),
    "custom-no-l1": Experiment("custom pair without L1", override(_CUSTOM, lambda_l1=0.0), "claim"),
    "custom-dilated": Experiment(
        "custom pair, generator dilated", override(_CUSTOM, dilations=_WIDER_VIEW), "claim"
    ),
    **{
        lambda_run(value): Experiment(
            f"U-Net on ResNet18, PatchGAN, lambda {value}",
            override(_RESNET18, lambda_l1=float(value)),
            "claim",
        )
        for value in LAMBDAS
        if value != 1
    },
    "unet-lsgan": Experiment(
        "U-Net, PatchGAN, least squares", override(_UNET, gan_mode="lsgan"), "next step"
    ),
    "unet-hinge": Experiment(
        "U-Net, PatchGAN, hinge", override(_UNET, gan_mode="hinge"), "next step"
    ),
    "unet-slow-d": Experiment(
        "U-Net, PatchGAN that learns at a tenth of the rate",
        override(_UNET, lr_d=2e-5),
        "next step",
    ),
    "unet-narrow-d": Experiment(
        "U-Net, PatchGAN of a quarter of the width",
        override(_UNET, discriminator_channels=16),
        "next step",
    ),
    "unet-ratio": Experiment(
        "alternating by ratio: 2 generator steps for each of the PatchGAN",
        override(_UNET, g_steps=2),
        "next step",
    ),
    "unet-phases": Experiment(
        "alternating by phases: L1 alone, PatchGAN alone, both (NoGAN)",
        override(_UNET, pretrain_epochs=14, d_only_epochs=2, epochs=4),
        "next step",
    ),
    "unet-threshold": Experiment(
        "alternating by threshold: the PatchGAN learns while its loss is above 0.65",
        override(_UNET, d_threshold=0.65),
        "next step",
    ),
    "unet-turns": Experiment(
        "alternating by epochs: the PatchGAN's, then the generator's",
        override(_UNET, turn_epochs=1),
        "next step",
    ),
    "unet-rgb": Experiment(
        "U-Net that makes RGB, PatchGAN", override(_UNET, output="rgb"), "next step"
    ),
    "unet-lab": Experiment(
        "U-Net that makes all of Lab, PatchGAN", override(_UNET, output="lab"), "next step"
    ),
}
"""By the name of the run, in the order in which they are run."""


def on_resnet18(recipe: Recipe) -> bool:
    """Return whether a recipe starts from the ImageNet weights of ResNet18, which are fetched."""
    return recipe.encoder == "resnet18" and recipe.encoder_weights == "imagenet"


def at_scale(
    recipe: Recipe, protocol: Protocol, seed: int, *, resnet18_weights: str = "imagenet"
) -> Recipe:
    """Return a recipe as a protocol runs it.

    A U-Net halves the size as often as it takes to end at the same number of px, a PatchGAN judges
    and a residual generator sees about the same share of the photo.

    Args:
        recipe: At the report's scale.
        protocol: How much smaller.
        seed: Of the run.
        resnet18_weights: `none` trains a ResNet18 from scratch, as narrow as everything else, where
            the recipe starts it from ImageNet weights.
    """
    if on_resnet18(recipe) and resnet18_weights == "none":
        # Below 8 channels, the backward pass of a 1x1 convolution of stride 2 writes beyond its
        # memory on processors with AVX2 alone (oneDNN in torch 2.14.1, channels_last, 1 thread).
        widths = tuple(max(channels // protocol.narrower, 8) for channels in (64, 128, 256, 512))
        recipe = override(
            recipe, encoder="tu-resnet18", encoder_weights="none", encoder_channels=widths
        )
    smaller = REPORT_SIZE // protocol.size
    halvings = round(log2(smaller))
    depth = recipe.depth // smaller if recipe.generator == "residual" else recipe.depth - halvings
    most = protocol.most_epochs

    def epochs(count: int) -> int:
        return count if most is None else min(count, most)

    def narrower(channels: int) -> int:
        return max(channels // protocol.narrower, 1)

    wider_d = recipe.discriminator_channels
    return override(
        recipe,
        image_size=protocol.size,
        batch_size=protocol.batch_size,
        base_channels=narrower(recipe.base_channels),
        discriminator_channels=None if wider_d is None else narrower(wider_d),
        decoder_channels=tuple(narrower(channels) for channels in recipe.decoder_channels),
        depth=max(depth, 1),
        dilations=recipe.dilations[::smaller],
        patch_depth=max(recipe.patch_depth - halvings, 1),
        pretrain_epochs=epochs(recipe.pretrain_epochs),
        d_only_epochs=epochs(recipe.d_only_epochs),
        epochs=epochs(recipe.epochs),
        seed=seed,
    )


def plan(only: Sequence[str] = (), seeds: Sequence[int] = (0,)) -> list[tuple[str, int]]:
    """Return the runs of a campaign, name and seed, the most important first.

    Args:
        only: Experiments; of none, all. Baselines need no run and are left out.
        seeds: The first is that of every experiment; further ones are for what `only` names, or
            else for the four systems.

    Raises:
        RecipeError: If there is no such experiment, or no seed.
    """
    known = {*BASELINES, *EXPERIMENTS}
    for name in only:
        if name not in known:
            raise RecipeError(
                f"unknown experiment {name!r}; choose from {', '.join((*BASELINES, *EXPERIMENTS))}"
            )
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise RecipeError(
            f"the seeds are {','.join(map(str, seeds)) or 'none'}; give different whole numbers "
            "from 0, such as 0,1,2"
        )
    first = [(name, seeds[0]) for name in EXPERIMENTS if not only or name in only]
    more = [(name, seed) for seed in seeds[1:] for name in EXPERIMENTS if name in (only or SYSTEMS)]
    return first + more
