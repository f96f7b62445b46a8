"""The networks of a recipe with their optimizers, ready to be trained."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from photochrom.darkroom import runs
from photochrom.darkroom.data import PackedPhotos
from photochrom.darkroom.discriminators import build_discriminator
from photochrom.darkroom.encoders import FrozenEncoder
from photochrom.darkroom.exported import load_exported
from photochrom.darkroom.gan import Networks, judge, see
from photochrom.darkroom.generators import build_generator
from photochrom.darkroom.initialize import initialize
from photochrom.darkroom.recipe import Recipe
from photochrom.darkroom.tensors import to_L_ab
from photochrom.errors import RecipeError

FITTED_TO = 64
"""How many photos norms are fitted to where training starts from an exported file."""


def build(recipe: Recipe, fabric: Fabric) -> Networks:
    """Build the networks and their optimizers, and put them where they are trained.

    Args:
        recipe: What to build.
        fabric: Which device and precision.

    Raises:
        RecipeError: If a network cannot be built as told.
    """
    generator = build_generator(recipe)
    pretrained = recipe.encoder_weights != "none" and hasattr(generator, "encoder")
    initialize(generator, recipe.init, skip=("encoder",) if pretrained else ())
    discriminator = build_discriminator(recipe)
    if discriminator is not None:
        initialize(discriminator, recipe.init)
    judges_features: bool = getattr(discriminator, "judges_features", False)
    features: nn.Module | None = None
    if judges_features or recipe.lambda_perceptual > 0:
        features = FrozenEncoder(recipe.features)
    groups: list[dict[str, Any]] = [{"params": generator.parameters(), "lr": recipe.lr_g}]
    if recipe.lr_encoder is not None and hasattr(generator, "encoder"):
        encoder = cast(nn.Module, generator.encoder)
        own = {id(p) for p in encoder.parameters()}
        rest = [p for p in generator.parameters() if id(p) not in own]
        groups = [
            {"params": list(encoder.parameters()), "lr": recipe.lr_encoder},
            {"params": rest, "lr": recipe.lr_g},
        ]
    generator.to(memory_format=torch.channels_last)
    generator, opt_g = fabric.setup(generator, _optimizer(recipe, groups))
    if features is not None:
        features = fabric.setup_module(features.to(memory_format=torch.channels_last))
    if discriminator is None:
        return Networks(generator, opt_g, output=recipe.output, features=features)
    discriminator.to(memory_format=torch.channels_last)
    opt_d = _optimizer(recipe, [{"params": discriminator.parameters(), "lr": recipe.lr_d}])
    discriminator, opt_d = fabric.setup(discriminator, opt_d)
    return Networks(
        generator,
        opt_g,
        discriminator,
        opt_d,
        output=recipe.output,
        features=features,
        judges_features=judges_features,
    )


def start_from(weights: Path, networks: Networks, photos: PackedPhotos, recipe: Recipe) -> None:
    """Give the generator the weights of a run or of an exported file.

    Args:
        weights: A run directory, or an ONNX file.
        networks: Of which the generator is changed.
        photos: To which norms are fitted that an exported file does not have any more.
        recipe: That the networks were built from.

    Raises:
        RunError: If the run has no weights, or those of another generator.
        ModelError: If the file is of another generator.
    """
    if not weights.is_file():
        runs.load_weights(networks.generator, weights)
        return
    some = list(range(min(FITTED_TO, len(photos))))
    L, _ = to_L_ab(photos.batch(some, recipe.image_size, None, recipe.crop_min))
    generator = cast(nn.Module, networks.generator.module)  # Fabric's wrapper names layers anew
    load_exported(generator, weights, L.to(next(generator.parameters()).device))


@torch.no_grad()
def check_size(networks: Networks, recipe: Recipe, device: torch.device) -> None:
    """Refuse photos of a size or number that the networks do not take: before a run is made.

    Raises:
        RecipeError: If they do not.
    """
    side, count = recipe.image_size, min(2, recipe.batch_size)
    L = torch.zeros(count, 1, side, side, device=device)
    try:
        # copies: norms take note of what they see
        made = copy.deepcopy(networks.generator).train()(L)
        if networks.discriminator is not None:
            trial = replace(networks, discriminator=copy.deepcopy(networks.discriminator).train())
            judge(trial, see(trial, L, recipe.view)(made))
    except (AssertionError, RuntimeError, ValueError) as error:  # timm asserts its sizes
        raise RecipeError(
            f"the networks cannot be trained on {recipe.batch_size} photos of {side} px at a time "
            f"({str(error).splitlines()[0]}); give another image_size or batch_size"
        ) from error


def _optimizer(recipe: Recipe, groups: list[dict[str, Any]]) -> Optimizer:
    kinds: dict[str, type[torch.optim.Adam]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    return kinds[recipe.optimizer](groups, betas=recipe.betas, weight_decay=recipe.weight_decay)
