"""The networks of a recipe with their optimizers, ready to be trained."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from photochrom.errors import RecipeError
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.loop import runs
from photochrom.training.loop.distributed import synchronize_batch_norm
from photochrom.training.loop.steps import Networks, augmentation, discriminate
from photochrom.training.networks.discriminators import build_discriminator
from photochrom.training.networks.encoders import FeatureNetworks
from photochrom.training.networks.generators import build_generator
from photochrom.training.networks.initialization import initialize
from photochrom.training.onnx.importing import load_onnx_weights
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.tensors import to_L_ab

FITTED_TO = 64
"""How many photos norms are fitted to where training starts from an exported file."""


def build(recipe: Recipe, device: torch.device) -> Networks:
    """Build the networks and their optimizers, and put them where they are trained.

    Args:
        recipe: What to build.
        device: Where they are trained, once `set_up` has made them ready for it.

    Raises:
        RecipeError: If a network cannot be built as told.
    """
    generator = build_generator(recipe)
    pretrained = recipe.encoder_weights != "none" and hasattr(generator, "encoder")
    initialize(generator, recipe.init, skip=("encoder",) if pretrained else ())
    discriminator = build_discriminator(recipe)
    if discriminator is not None:
        initialize(discriminator, recipe.init)
    uses_features: bool = getattr(discriminator, "uses_features", False)
    features: nn.Module | None = None
    if uses_features or recipe.lambda_perceptual > 0:
        features = FeatureNetworks(recipe.features)
    for network in (generator, discriminator, features):
        if network is not None:
            network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    groups: list[dict[str, Any]] = [{"params": generator.parameters(), "lr": recipe.lr_g}]
    if recipe.lr_encoder is not None and hasattr(generator, "encoder"):
        encoder = cast(nn.Module, generator.encoder)
        own = {id(p) for p in encoder.parameters()}
        rest = [p for p in generator.parameters() if id(p) not in own]
        groups = [
            {"params": list(encoder.parameters()), "lr": recipe.lr_encoder},
            {"params": rest, "lr": recipe.lr_g},
        ]
    opt_d: Optimizer | None = None
    if discriminator is not None:
        opt_d = _optimizer(recipe, [{"params": discriminator.parameters(), "lr": recipe.lr_d}])
    return Networks(
        generator,
        _optimizer(recipe, groups),
        discriminator,
        opt_d,
        output=recipe.output,
        features=features,
        uses_features=uses_features,
    )


def set_up(
    networks: Networks, recipe: Recipe, fabric: Fabric, *, sync_batchnorm: bool = True
) -> Networks:
    """Make networks ready to be trained, by this process or by several as one.

    All processes have to do it at the same time; those but the first get the weights of the first.

    Args:
        networks: What `build` returned; they are changed.
        recipe: What they were built from.
        fabric: Which precision, and which processes.
        sync_batchnorm: Whether batch norms see the photos of all processes, or each its own.
    """
    parts = [networks.generator, networks.discriminator, networks.features]
    if fabric.world_size > 1:
        unused = _unused(networks, recipe, fabric)
        for part, names in zip(parts[:2], unused, strict=False):
            if part is not None:
                synchronize_batch_norm(part, device=fabric.device, sync_batchnorm=sync_batchnorm)
                # DDP would wait for their gradients; this is the attribute that it looks at.
                part._ddp_params_and_buffers_to_ignore = names  # type: ignore[assignment]
    generator, opt_g = fabric.setup(networks.generator, networks.opt_g)
    ready = replace(networks, generator=generator, opt_g=opt_g)
    if networks.features is not None:
        ready = replace(ready, features=fabric.setup_module(networks.features))
    if networks.discriminator is not None and networks.opt_d is not None:
        discriminator, opt_d = fabric.setup(networks.discriminator, networks.opt_d)
        ready = replace(ready, discriminator=discriminator, opt_d=opt_d)
    return ready


def bare(network: nn.Module) -> nn.Module:
    """Return a network that was set up without what Fabric has put around it."""
    return cast(nn.Module, network.module)


def start_from(weights: Path, networks: Networks, photos: PackedPhotos, recipe: Recipe) -> None:
    """Give the generator the weights of a run or of an exported file.

    Args:
        weights: A run directory, or an ONNX file.
        networks: What `set_up` returned; the generator is changed.
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
    size, enlarge = recipe.image_size, recipe.enlarge_small
    L, _ = to_L_ab(photos.batch(some, size, None, recipe.crop_min, enlarge=enlarge))
    generator = bare(networks.generator)  # Fabric's wrapper names layers anew
    load_onnx_weights(generator, weights, L.to(next(generator.parameters()).device))


def check_size(networks: Networks, recipe: Recipe, fabric: Fabric, *, sync_batchnorm: bool) -> None:
    """Refuse photos of a size or number that the networks do not take: before a run is made.

    Args:
        networks: What `build` returned; they stay as they are.
        recipe: What they were built from.
        fabric: Which precision, and how many processes share a batch.
        sync_batchnorm: As for `set_up`.

    Raises:
        RecipeError: If they do not take them.
    """
    count = recipe.batch_size if sync_batchnorm else recipe.batch_size // fabric.world_size
    try:
        with torch.no_grad():
            _try_out(networks, recipe, fabric, min(2, count))
    except (AssertionError, RuntimeError, ValueError) as error:  # timm asserts its sizes
        raise RecipeError(
            f"the networks cannot be trained on {count} photos of {recipe.image_size} px at a time "
            f"({str(error).splitlines()[0]}); give another image_size or batch_size"
        ) from error


def _unused(networks: Networks, recipe: Recipe, fabric: Fabric) -> tuple[list[str], list[str]]:
    """Return the names of parameters that nothing depends on, of generator and discriminator."""
    trial, outputs = _try_out(networks, recipe, fabric, 2)
    torch.autograd.backward([output.float().sum() for output in outputs])
    generator, discriminator = (
        [] if part is None else [name for name, p in part.named_parameters() if p.grad is None]
        for part in (trial.generator, trial.discriminator)
    )
    return generator, discriminator


def _try_out(
    networks: Networks, recipe: Recipe, fabric: Fabric, count: int
) -> tuple[Networks, list[Tensor]]:
    """Show black photos to copies of the networks, and return them with what they made of it."""
    side = recipe.image_size
    L = torch.zeros(count, 1, side, side, device=fabric.device)
    # copies: norms take note of what they see
    trial = replace(networks, generator=copy.deepcopy(networks.generator).train())
    with fabric.autocast():
        output = trial.generator(L)
        if networks.discriminator is None:
            return trial, [output]
        trial = replace(trial, discriminator=copy.deepcopy(networks.discriminator).train())
        logits = []
        for which in range(len(recipe.features) if trial.uses_features else 1):
            augment = augmentation(trial, L, recipe.view, which)
            logits.append(discriminate(trial, augment(output)))
        return trial, [output, *logits]


def _optimizer(recipe: Recipe, groups: list[dict[str, Any]]) -> Optimizer:
    kinds: dict[str, type[torch.optim.Adam]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    return kinds[recipe.optimizer](
        groups, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
    )


def describe(recipe: Recipe) -> str:
    """Return a recipe as JSON, followed by the number of parameters of its networks."""
    networks = {"generator": build_generator(recipe), "discriminator": build_discriminator(recipe)}
    lines = [
        f"{key}: {sum(p.numel() for p in network.parameters()):,} parameters"
        for key, network in networks.items()
        if network is not None
    ]
    return recipe.to_json() + "\n".join(lines)
