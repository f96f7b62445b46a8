"""Build the networks of a recipe and their optimizers."""

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
from photochrom.training.loop.steps import Networks, augmentation, discriminate
from photochrom.training.loop.synchronized_layers import synchronize_layers
from photochrom.training.networks.discriminators import build_discriminator
from photochrom.training.networks.encoders import FeatureNetworks
from photochrom.training.networks.generators import build_generator
from photochrom.training.networks.initialization import initialize
from photochrom.training.onnx.importing import load_onnx_weights
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.tensors import to_L_ab

CALIBRATION_PHOTOS = 64
"""Number of photos for the norm statistics that an exported file lacks."""


def build(recipe: Recipe, device: torch.device) -> Networks:
    """Build the networks and their optimizers on a device; `set_up` makes them trainable.

    Raises:
        RecipeError: If a network cannot be built.
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
        encoder_ids = {id(p) for p in encoder.parameters()}
        others = [p for p in generator.parameters() if id(p) not in encoder_ids]
        groups = [
            {"params": list(encoder.parameters()), "lr": recipe.lr_encoder},
            {"params": others, "lr": recipe.lr_g},
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
    """Wrap networks with Fabric, and with DDP if there are several processes.

    A collective: the other processes get the weights of rank 0.
    """
    if fabric.world_size > 1:
        unused = _find_unused_parameters(networks, recipe, fabric)
        for network, names in zip(
            (networks.generator, networks.discriminator), unused, strict=True
        ):
            if network is not None:
                synchronize_layers(network, device=fabric.device, sync_batchnorm=sync_batchnorm)
                # DDP reads this attribute; it would wait for gradients of these parameters.
                network._ddp_params_and_buffers_to_ignore = names  # type: ignore[assignment]
    generator, opt_g = fabric.setup(networks.generator, networks.opt_g)
    ready = replace(networks, generator=generator, opt_g=opt_g)
    if networks.features is not None:
        ready = replace(ready, features=fabric.setup_module(networks.features))
    if networks.discriminator is not None and networks.opt_d is not None:
        discriminator, opt_d = fabric.setup(networks.discriminator, networks.opt_d)
        ready = replace(ready, discriminator=discriminator, opt_d=opt_d)
    return ready


def bare(network: nn.Module) -> nn.Module:
    """Return a network without Fabric's wrapper."""
    return cast(nn.Module, network.module)


def start_from(weights: Path, networks: Networks, photos: PackedPhotos, recipe: Recipe) -> None:
    """Load the weights of a run directory or of an ONNX file into the generator.

    An ONNX file has no norms; their statistics are computed from `photos`.

    Raises:
        RunError: If the run has no weights, or they do not fit.
        ModelError: If the file does not fit.
    """
    if not weights.is_file():
        runs.load_weights(networks.generator, weights)
        return
    indices = list(range(min(CALIBRATION_PHOTOS, len(photos))))
    size, enlarge = recipe.image_size, recipe.enlarge_small
    L, _ = to_L_ab(photos.batch(indices, size, None, recipe.crop_min, enlarge=enlarge))
    generator = bare(networks.generator)  # Fabric's wrapper prefixes the names of layers
    load_onnx_weights(generator, weights, L.to(next(generator.parameters()).device))


def check_size(networks: Networks, recipe: Recipe, fabric: Fabric, *, sync_batchnorm: bool) -> None:
    """Check that the networks accept photos of the recipe's size and number.

    Raises:
        RecipeError: If they do not.
    """
    count = recipe.batch_size if sync_batchnorm else recipe.batch_size // fabric.world_size
    try:
        with torch.no_grad():
            _run_copies(networks, recipe, fabric, min(2, count))
    except (AssertionError, RuntimeError, ValueError) as error:  # timm asserts sizes
        raise RecipeError(
            f"the networks cannot be trained on {count} photos of {recipe.image_size} px at a time "
            f"({str(error).splitlines()[0]}); give another image_size or batch_size"
        ) from error


def _find_unused_parameters(
    networks: Networks, recipe: Recipe, fabric: Fabric
) -> tuple[list[str], list[str]]:
    """Return the parameters of generator and discriminator that do not affect their output."""
    copies, outputs = _run_copies(networks, recipe, fabric, 2)
    torch.autograd.backward([output.float().sum() for output in outputs])
    generator, discriminator = (
        [] if part is None else [name for name, p in part.named_parameters() if p.grad is None]
        for part in (copies.generator, copies.discriminator)
    )
    return generator, discriminator


def _run_copies(
    networks: Networks, recipe: Recipe, fabric: Fabric, count: int
) -> tuple[Networks, list[Tensor]]:
    """Run copies of the networks on black photos; return the copies and all outputs.

    Copies, as a forward pass changes the statistics of norms.
    """
    L = torch.zeros(count, 1, recipe.image_size, recipe.image_size, device=fabric.device)
    copies = replace(networks, generator=copy.deepcopy(networks.generator).train())
    with fabric.autocast():
        outputs = [copies.generator(L)]
        if networks.discriminator is not None:
            copies = replace(copies, discriminator=copy.deepcopy(networks.discriminator).train())
            for which in range(len(recipe.features) if copies.uses_features else 1):
                augment = augmentation(copies, L, recipe.view, which)
                outputs.append(discriminate(copies, augment(outputs[0])))
    return copies, outputs


def _optimizer(recipe: Recipe, groups: list[dict[str, Any]]) -> Optimizer:
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True)


def describe(recipe: Recipe) -> str:
    """Return a recipe as JSON, followed by the numbers of parameters of its networks."""
    networks = {"generator": build_generator(recipe), "discriminator": build_discriminator(recipe)}
    lines = [
        f"{key}: {sum(p.numel() for p in network.parameters()):,} parameters"
        for key, network in networks.items()
        if network is not None
    ]
    return recipe.to_json() + "\n".join(lines)
