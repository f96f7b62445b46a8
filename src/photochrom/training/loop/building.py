"""Build the networks of a recipe and their optimizers."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from photochrom.errors import PhotochromError, RecipeError, first_line
from photochrom.training import runs
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.loop.batches import Batch
from photochrom.training.loop.steps import Networks, augmentation, make_sample
from photochrom.training.loop.synchronized_layers import synchronize_layers
from photochrom.training.losses.objective import Objective
from photochrom.training.losses.views import DiscriminatorSample
from photochrom.training.networks.initialization import initialize
from photochrom.training.networks.outputs import Output
from photochrom.training.onnx.importing import load_onnx_weights
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.tensors import to_L_ab

CALIBRATION_PHOTOS = 64
"""Number of photos for the norm statistics that an exported file lacks."""


def build_discriminator(recipe: Recipe) -> nn.Module | None:
    """Return the recipe's discriminator with PyTorch's default weights, or None if it has none.

    Raises:
        RecipeError: If it cannot be built.
    """
    return None if recipe.discriminator is None else recipe.discriminator.build()


def build(recipe: Recipe, device: torch.device) -> Networks:
    """Build the networks and their optimizers on a device; `wrap` makes them trainable.

    Raises:
        RecipeError: If a network cannot be built.
    """
    scheme, optimization = recipe.initialization.scheme, recipe.optimization
    generator = runs.build_generator(recipe)
    pretrained = recipe.generator.settings.get("encoder_weights", "none") != "none"
    initialize(generator, scheme, skip=("encoder",) if pretrained else ())
    discriminator = build_discriminator(recipe)
    if discriminator is not None:
        initialize(discriminator, recipe.initialization.discriminator_scheme or scheme)
    for network in (generator, discriminator):
        if network is not None:
            network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    groups: list[dict[str, Any]] = [{"params": generator.parameters(), "lr": optimization.lr_g}]
    if optimization.lr_encoder is not None:
        encoder = cast(nn.Module, generator.encoder)
        encoder_ids = {id(p) for p in encoder.parameters()}
        others = [p for p in generator.parameters() if id(p) not in encoder_ids]
        groups = [
            {"params": list(encoder.parameters()), "lr": optimization.lr_encoder},
            {"params": others, "lr": optimization.lr_g},
        ]
    opt_d: Optimizer | None = None
    if discriminator is not None and recipe.adversarial is not None:
        group = {"params": discriminator.parameters(), "lr": recipe.adversarial.lr_d}
        opt_d = _optimizer(recipe, [group])
    return Networks(
        generator,
        _optimizer(recipe, groups),
        discriminator,
        opt_d,
        feature_networks=getattr(discriminator, "networks", ()),
        accumulate=optimization.accumulate,
        clip_norm=optimization.clip_norm,
    )


def wrap(
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
    if networks.discriminator is not None and networks.opt_d is not None:
        discriminator, opt_d = fabric.setup(networks.discriminator, networks.opt_d)
        ready = replace(ready, discriminator=discriminator, opt_d=opt_d)
    return ready


def unwrap(network: nn.Module) -> nn.Module:
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
    data = recipe.data
    rgb = photos.batch(indices, data.image_size, None, data.crop_min, enlarge=data.enlarge_small)
    L, _ = to_L_ab(rgb)
    generator = unwrap(networks.generator)  # Fabric's wrapper prefixes the names of layers
    load_onnx_weights(generator, weights, L.to(next(generator.parameters()).device))


def check_size(networks: Networks, recipe: Recipe, fabric: Fabric, *, sync_batchnorm: bool) -> None:
    """Check that networks and losses accept photos of the recipe's size and number.

    Raises:
        RecipeError: If they do not.
    """
    data = recipe.data
    if fabric.world_size > 1 and sync_batchnorm:
        check_second_derivatives(networks, recipe)
    count = data.batch_size // recipe.optimization.accumulate
    if not sync_batchnorm:
        count //= fabric.world_size
    runs.check_inference(networks.generator, recipe.inference.model_dump())
    try:
        _run_copies(networks, recipe, fabric, min(2, count))
        if recipe.inference.batch_statistics:
            generator = copy.deepcopy(networks.generator)
            runs.prepare_inference(generator, recipe.inference)
            L = torch.zeros(1, 1, data.image_size, data.image_size, device=fabric.device)
            generator(L)
    except PhotochromError:
        raise
    except (AttributeError, TypeError) as error:
        raise RecipeError(
            f"the networks or losses do not fit each other ({first_line(error)}); see the "
            "contracts in photochrom.training.networks, losses.terms and losses.adversarial"
        ) from error
    except (AssertionError, RuntimeError, ValueError) as error:  # timm asserts sizes
        raise RecipeError(
            f"the networks cannot be trained on {count} photos of {data.image_size} px at a time "
            f"({first_line(error)}); give another data.image_size or data.batch_size"
        ) from error


def check_second_derivatives(networks: Networks, recipe: Recipe) -> None:
    """Check that regularizers are not used with batch norms over several processes.

    Regularizers of gradients need second derivatives, which these norms lack.

    Raises:
        RecipeError: If they are.
    """
    if recipe.adversarial is None or not recipe.adversarial.regularization:
        return
    assert networks.discriminator is not None
    if any(isinstance(layer, nn.BatchNorm2d) for layer in networks.discriminator.modules()):
        raise RecipeError(
            "adversarial.regularization cannot be trained by several processes with batch norms "
            "over all of them in the discriminator; give --local-batchnorm, or a discriminator "
            "without batch norms, such as projected"
        )


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
    """Run copies of the networks, and the losses, on black photos; return copies and outputs.

    Copies, as a forward pass changes the statistics of norms.
    """
    objective, size = Objective.of(recipe), recipe.data.image_size
    L = torch.zeros(count, 1, size, size, device=fabric.device)
    batch = Batch(L, torch.zeros(count, 2, size, size, device=fabric.device), [L])
    copies = replace(networks, generator=copy.deepcopy(networks.generator).train())
    with fabric.autocast():
        prediction = copies.generator(L)
        _check_shape(prediction.float(), batch, objective.output)
        outputs = [prediction]
        if networks.discriminator is not None:
            copies = replace(copies, discriminator=copy.deepcopy(networks.discriminator).train())
        for step in range(max(1, len(networks.feature_networks))):
            augment = augmentation(fabric, batch, objective, step)
            sample = make_sample(prediction.float(), batch, objective, augment)
            if copies.discriminator is not None:
                logits = copies.logits(sample.fake)
                outputs.append(logits)
                sample = replace(sample, fake_logits=logits)
                d_sample = DiscriminatorSample(sample.fake.detach(), sample.real, copies.logits)
                objective.discriminator_loss(logits, logits, d_sample)
            objective.generator_loss(sample)
    return copies, outputs


def _check_shape(prediction: Tensor, batch: Batch, output: Output) -> None:
    """Check that a generator returns what the output takes.

    Raises:
        RecipeError: If not.
    """
    values, target = output.values(prediction, batch.L), output.target(batch.L, batch.ab)
    if values.shape != target.shape:
        raise RecipeError(
            f"the generator returns {tuple(prediction.shape)} for L of {tuple(batch.L.shape)}, and "
            f"the output makes {tuple(values.shape)} of it; {tuple(target.shape)} is needed"
        )


def _optimizer(recipe: Recipe, groups: list[dict[str, Any]]) -> Optimizer:
    settings = recipe.optimization
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    betas = (settings.beta1, settings.beta2)
    fused = settings.clip_norm is None  # Fabric does not clip for those that unscale gradients
    return kind(groups, betas=betas, weight_decay=settings.weight_decay, fused=fused)


def describe(recipe: Recipe) -> str:
    """Return a recipe as JSON, followed by the numbers of parameters of its networks."""
    networks = {
        "generator": runs.build_generator(runs.without_pretrained_weights(recipe)),
        "discriminator": build_discriminator(recipe),
    }
    lines = [
        f"{key}: {sum(p.numel() for p in network.parameters()):,} parameters"
        for key, network in networks.items()
        if network is not None
    ]
    return recipe.to_json() + "\n".join(lines)
