import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from photochrom.training.loop.batches import Batch
from photochrom.training.loop.losses import Losses, gan_loss
from photochrom.training.loop.steps import Networks, augmentation
from photochrom.training.loop.steps import gan_step as take_gan_step
from photochrom.training.loop.steps import l1_step as take_l1_step
from photochrom.training.networks.discriminators import PatchDiscriminator, ProjectedDiscriminator
from photochrom.training.networks.encoders import FeatureNetworks, stage_channels
from photochrom.training.networks.generators import ResidualGenerator
from photochrom.training.recipes.recipe import GanMode, Output, Phase, Recipe
from photochrom.training.tensors import prediction_to_photo, target

MODES = pytest.mark.parametrize("mode", ["bce", "lsgan", "hinge"])


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def toy() -> tuple[Tensor, Tensor]:
    """Return photos whose ab are multiples of L: L (4, 1, 32, 32) and ab."""
    ramp = torch.linspace(-1, 1, 32)
    photos = [ramp.expand(32, 32), ramp.expand(32, 32).T, ramp.flip(0).expand(32, 32), ramp.abs()]
    L = torch.stack([p.expand(32, 32) for p in photos])[:, None]
    return L, torch.cat([0.5 * L, -0.3 * L], dim=1)


def small_generator() -> nn.Module:
    return ResidualGenerator(channels=8, blocks=1)  # no dropout, so that steps can be compared


def small_discriminator() -> nn.Module:
    return PatchDiscriminator(base_channels=4)


def make_networks(
    fabric: Fabric,
    *,
    generator: Callable[[], nn.Module] = small_generator,
    discriminator: Callable[[], nn.Module] | None = small_discriminator,
    lr_g: float = 1e-2,
    lr_d: float = 1e-3,
    output: Output = "ab",
) -> Networks:
    torch.manual_seed(0)
    g = generator()
    g, opt_g = fabric.setup(g, torch.optim.Adam(g.parameters(), lr=lr_g, betas=(0.5, 0.999)))
    if discriminator is None:
        return Networks(g, opt_g, output=output)
    d = discriminator()
    d, opt_d = fabric.setup(d, torch.optim.Adam(d.parameters(), lr=lr_d, betas=(0.5, 0.999)))
    return Networks(g, opt_g, d, opt_d, output)


def gan_step(
    fabric: Fabric,
    networks: Networks,
    L: Tensor,
    ab: Tensor,
    *,
    inputs: list[Tensor] | None = None,
    phase: Phase = "gan",
    which: int = 0,
    **settings: Any,
) -> Losses:
    recipe = Recipe(generator="unet", discriminator="patch", **settings)
    batch = Batch(L, ab, inputs or [L])
    return take_gan_step(fabric, networks, batch, recipe, phase=phase, which=which)


def l1_step(
    fabric: Fabric,
    networks: Networks,
    L: Tensor,
    ab: Tensor,
    *,
    inputs: list[Tensor] | None = None,
    **settings: Any,
) -> Losses:
    recipe = Recipe(generator="unet", **settings)
    return take_l1_step(fabric, networks, Batch(L, ab, inputs or [L]), recipe)


def weights(network: nn.Module | None) -> list[Tensor]:
    assert network is not None
    return [p.detach().clone() for p in network.parameters()]


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def steps_taken(optimizer: torch.optim.Optimizer | None) -> set[int]:
    assert optimizer is not None
    return {int(state["step"]) for state in optimizer.state_dict()["state"].values()}


def test_l1_step_reduces_l1(fabric: Fabric) -> None:
    networks = make_networks(fabric, discriminator=None)
    L, ab = toy()
    losses = [l1_step(fabric, networks, L, ab) for _ in range(30)]
    assert all(loss.keys() == {"g_l1", "g_updates"} for loss in losses)
    assert not losses[0]["g_l1"].requires_grad
    assert losses[-1]["g_l1"] < 0.4 * losses[0]["g_l1"]


def test_l1_step_does_not_change_the_discriminator(fabric: Fabric) -> None:
    networks = make_networks(fabric)
    before = weights(networks.discriminator)
    l1_step(fabric, networks, *toy())
    assert equal(before, weights(networks.discriminator))
    assert networks.discriminator is not None
    assert all(p.grad is None for p in networks.discriminator.parameters())


@MODES
def test_gan_step_reduces_l1(fabric: Fabric, mode: GanMode) -> None:
    networks = make_networks(fabric)
    L, ab = toy()
    losses = [gan_step(fabric, networks, L, ab, lambda_l1=100, gan_mode=mode) for _ in range(30)]
    assert losses[-1]["g_l1"] < 0.4 * losses[0]["g_l1"]


@MODES
def test_gan_step_trains_the_discriminator(fabric: Fabric, mode: GanMode) -> None:
    # The generator is not updated, and its colours are wrong.
    networks = make_networks(fabric, lr_g=0.0, lr_d=3e-3)
    L, ab = toy()
    losses = [gan_step(fabric, networks, L, ab, lambda_l1=1, gan_mode=mode) for _ in range(30)]
    assert losses[-1]["d_real"] < 0.5 * losses[0]["d_real"]
    assert losses[-1]["d_fake"] < 0.5 * losses[0]["d_fake"]
    assert losses[-1]["d_real_accuracy"] > 0.9
    assert losses[-1]["d_fake_accuracy"] > 0.9


@MODES
def test_gan_step_trains_the_generator_against_the_discriminator(
    fabric: Fabric, mode: GanMode
) -> None:
    # The discriminator is not updated, and only the adversarial loss has a weight.
    networks = make_networks(fabric, lr_d=0.0)
    L, ab = toy()
    losses = [gan_step(fabric, networks, L, ab, lambda_l1=0, gan_mode=mode) for _ in range(30)]
    assert losses[-1]["g_gan"] < losses[0]["g_gan"] - 0.05


def test_gan_step_returns_detached_finite_scalars(fabric: Fabric) -> None:
    losses = gan_step(fabric, make_networks(fabric), *toy(), lambda_l1=100, label_real=0.9)
    assert losses.keys() == {
        *("d_real", "d_fake", "g_gan", "g_l1", "d_real_accuracy", "d_fake_accuracy"),
        *("g_updates", "d_updates"),
    }
    for key, value in losses.items():
        assert value.shape == (), key
        assert not value.requires_grad, key
        assert value.isfinite(), key
    assert 0 <= losses["d_real_accuracy"] <= 1
    assert 0 <= losses["d_fake_accuracy"] <= 1


class ConstantDiscriminator(nn.Module):
    """Returns one logit for the first batch, the real photos, and another one for all others."""

    def __init__(self, real: float, fake: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([real, fake]))
        self.calls = 0

    def forward(self, L: Tensor, lab: Tensor) -> Tensor:
        logit = self.logits[min(self.calls, 1)]
        self.calls += 1
        return logit + 0 * lab.mean((1, 2, 3))[:, None]


@pytest.mark.parametrize(
    ("mode", "real", "fake", "right"),
    [
        ("bce", 0.2, -0.2, (1, 1)),
        ("bce", -0.2, 0.2, (0, 0)),
        ("bce", 0.2, 0.2, (1, 0)),
        ("bce", 0.0, 0.0, (0, 1)),
        ("hinge", 0.2, -0.2, (1, 1)),
        # The targets of least squares are 1 and 0, so the boundary is 0.5.
        ("lsgan", 0.2, -0.2, (0, 1)),
        ("lsgan", 0.6, 0.4, (1, 1)),
    ],
)
def test_discriminator_accuracy(
    fabric: Fabric, mode: GanMode, real: float, fake: float, right: tuple[int, int]
) -> None:
    networks = make_networks(fabric, discriminator=lambda: ConstantDiscriminator(real, fake))
    losses = gan_step(fabric, networks, *toy(), lambda_l1=1, gan_mode=mode)
    assert (losses["d_real_accuracy"], losses["d_fake_accuracy"]) == right


@MODES
def test_discriminator_gets_no_gradient_from_the_generators_step(
    fabric: Fabric, mode: GanMode
) -> None:
    networks = make_networks(fabric)
    assert networks.discriminator is not None
    L, ab = toy()
    generator = copy.deepcopy(networks.generator)
    discriminator = copy.deepcopy(networks.discriminator)
    with torch.no_grad():
        fake = prediction_to_photo(generator(L), L, "ab")
    real_logits = discriminator(L, torch.cat([L, ab], dim=1))
    loss = gan_loss(real_logits, True, mode, 0.9) + gan_loss(discriminator(L, fake), False, mode)
    (0.5 * loss).backward()

    gan_step(fabric, networks, L, ab, lambda_l1=100, gan_mode=mode, label_real=0.9, g_steps=2)
    pairs = zip(networks.discriminator.parameters(), discriminator.parameters(), strict=True)
    for actual, expected in pairs:
        assert actual.grad is not None
        assert expected.grad is not None
        assert torch.allclose(actual.grad, expected.grad, atol=1e-6)


def test_generator_gets_no_gradient_from_the_discriminators_step(fabric: Fabric) -> None:
    networks = make_networks(fabric)
    assert networks.discriminator is not None
    L, ab = toy()
    generator = copy.deepcopy(networks.generator)
    gan_step(fabric, networks, L, ab, lambda_l1=10)
    # The generator is updated with the updated discriminator.
    output = generator(L)
    logits = copy.deepcopy(networks.discriminator)(L, prediction_to_photo(output, L, "ab"))
    (gan_loss(logits, True) + 10 * (output - ab).abs().mean()).backward()
    pairs = zip(networks.generator.parameters(), generator.parameters(), strict=True)
    for actual, expected in pairs:
        assert actual.grad is not None
        assert expected.grad is not None
        assert torch.allclose(actual.grad, expected.grad, atol=1e-5)


def test_g_steps_updates_the_generator_twice(fabric: Fabric) -> None:
    one, two = make_networks(fabric), make_networks(fabric)
    gan_step(fabric, one, *toy(), lambda_l1=100)
    gan_step(fabric, two, *toy(), lambda_l1=100, g_steps=2)
    assert steps_taken(one.opt_g) == {1}
    assert steps_taken(two.opt_g) == {2}
    assert steps_taken(one.opt_d) == steps_taken(two.opt_d) == {1}
    assert equal(weights(one.discriminator), weights(two.discriminator))
    assert not equal(weights(one.generator), weights(two.generator))


def test_discriminator_is_updated_in_every_step(fabric: Fabric) -> None:
    networks = make_networks(fabric)
    gan_step(fabric, networks, *toy(), lambda_l1=100)
    before = weights(networks.discriminator)
    gan_step(fabric, networks, *toy(), lambda_l1=100)
    assert not equal(before, weights(networks.discriminator))


@pytest.mark.parametrize("output", ["lab", "rgb"])
def test_lab_and_rgb_generators_learn(fabric: Fabric, output: Output) -> None:
    networks = make_networks(
        fabric, generator=partial(ResidualGenerator, 8, 1, 3), lr_g=3e-3, output=output
    )
    L, ab = toy()
    losses = [gan_step(fabric, networks, L, ab, lambda_l1=100) for _ in range(20)]
    assert losses[-1]["g_l1"] < 0.7 * losses[0]["g_l1"]


@pytest.mark.parametrize("output", ["lab", "rgb"])
def test_discriminator_gets_the_real_photo_and_the_output(fabric: Fabric, output: Output) -> None:
    photos: list[Tensor] = []

    class Recorder(ConstantDiscriminator):
        def forward(self, L: Tensor, photo: Tensor) -> Tensor:
            photos.append(photo.detach())
            return super().forward(L, photo)

    networks = make_networks(
        fabric,
        generator=partial(ResidualGenerator, 8, 1, 3),
        discriminator=lambda: Recorder(1.0, -1.0),
        output=output,
    )
    L, ab = toy()
    with torch.no_grad():
        output_photos = copy.deepcopy(networks.generator)(L)
    gan_step(fabric, networks, L, ab, lambda_l1=1)
    assert torch.equal(photos[0], target(L, ab, output))
    assert torch.equal(photos[1], output_photos)


@pytest.mark.parametrize(("phase", "frozen", "trained"), [("d", 0, 1), ("g", 1, 0)])
def test_phase_updates_one_network_alone(
    fabric: Fabric, phase: Literal["d", "g"], frozen: int, trained: int
) -> None:
    networks = make_networks(fabric)
    both = (networks.generator, networks.discriminator)
    before = [weights(network) for network in both]
    losses = gan_step(fabric, networks, *toy(), lambda_l1=100, phase=phase)
    assert equal(before[frozen], weights(both[frozen]))
    assert not equal(before[trained], weights(both[trained]))
    assert (losses["g_updates"], losses["d_updates"]) == ((0, 1) if phase == "d" else (1, 0))
    assert losses["g_l1"] > 0
    assert not losses["g_gan"].requires_grad


def test_discriminator_is_updated_only_above_d_threshold(fabric: Fabric) -> None:
    L, ab = toy()
    loss = 0.6931  # of logits 0: log 2
    for threshold, learns in ((loss - 0.01, 1), (loss + 0.01, 0)):
        networks = make_networks(fabric, discriminator=lambda: ConstantDiscriminator(0.0, 0.0))
        before = weights(networks.discriminator)
        losses = gan_step(fabric, networks, L, ab, lambda_l1=1, d_threshold=threshold)
        assert losses["d_updates"] == learns
        assert losses["g_updates"] == 1
        assert equal(before, weights(networks.discriminator)) is not bool(learns)


class FakeFeatures(nn.Module):
    """Replaces a feature network: its features are the photo and a constant."""

    def forward(self, rgb: Tensor, which: int = 0) -> list[Tensor]:
        assert rgb.shape[1] == 3
        return [torch.cat([rgb, torch.full_like(rgb, 1.0 + which)], dim=1)]


def test_losses_are_weighted(fabric: Fabric) -> None:
    L, ab = toy()
    networks = replace(make_networks(fabric), features=FakeFeatures())
    losses = gan_step(fabric, networks, L, ab, lambda_l1=0, lambda_gan=0, lambda_perceptual=1)
    assert losses["g_perceptual"] > 0
    for _ in range(30):
        last = gan_step(fabric, networks, L, ab, lambda_l1=0, lambda_gan=0, lambda_perceptual=1)
    assert last["g_perceptual"] < 0.5 * losses["g_perceptual"]
    before = weights(networks.generator)
    still = make_networks(fabric)
    gan_step(fabric, still, L, ab, lambda_l1=0, lambda_gan=0)  # all weights are 0
    assert equal(weights(still.generator), weights(make_networks(fabric).generator))
    assert not equal(before, weights(still.generator))


def test_l1_step_with_perceptual_loss(fabric: Fabric) -> None:
    networks = replace(make_networks(fabric, discriminator=None), features=FakeFeatures())
    losses = [
        l1_step(fabric, networks, *toy(), lambda_l1=0, lambda_perceptual=1)["g_perceptual"]
        for _ in range(30)
    ]
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(ValueError, match="no features"):
        l1_step(fabric, make_networks(fabric, discriminator=None), *toy(), lambda_perceptual=1)


@pytest.mark.parametrize("adversarial", [True, False])
def test_generator_gets_degraded_photos_and_discriminator_clean_ones(
    fabric: Fabric, adversarial: bool
) -> None:
    L, ab = toy()
    aged = 0.5 * L + 0.3
    networks = make_networks(fabric, discriminator=small_discriminator if adversarial else None)
    generator_inputs, discriminator_inputs = [], []
    networks.generator.register_forward_pre_hook(lambda _, args: generator_inputs.append(args[0]))
    if networks.discriminator is None:
        l1_step(fabric, networks, L, ab, inputs=[aged])
    else:
        networks.discriminator.register_forward_pre_hook(
            lambda _, args: discriminator_inputs.append(args)
        )
        gan_step(fabric, networks, L, ab, lambda_l1=1, inputs=[aged])
    assert generator_inputs
    assert all(torch.equal(x, aged) for x in generator_inputs)
    assert all(torch.equal(x, L) and torch.equal(y[:, :1], L) for x, y in discriminator_inputs)


def projected(fabric: Fabric) -> Networks:
    """Return networks whose discriminator takes features from `FakeFeatures`."""
    return replace(
        make_networks(
            fabric, discriminator=lambda: ProjectedDiscriminator([[6], [6]], 4), lr_d=3e-3
        ),
        features=FakeFeatures(),
        uses_features=True,
    )


def test_projected_discriminator_learns(fabric: Fabric) -> None:
    networks = projected(fabric)
    networks.opt_g.param_groups[0]["lr"] = 0.0
    losses = [gan_step(fabric, networks, *toy(), lambda_l1=1, gan_mode="hinge") for _ in range(40)]
    first, last = (x["d_real"] + x["d_fake"] for x in (losses[0], losses[-1]))
    assert last < 0.8 * first
    assert losses[-1]["d_real_accuracy"] + losses[-1]["d_fake_accuracy"] > 1.4


def test_generator_learns_against_a_projected_discriminator(fabric: Fabric) -> None:
    networks = projected(fabric)
    assert networks.opt_d is not None
    networks.opt_d.param_groups[0]["lr"] = 0.0
    losses = [gan_step(fabric, networks, *toy(), lambda_l1=0, gan_mode="hinge") for _ in range(40)]
    assert losses[-1]["g_gan"] < losses[0]["g_gan"] - 0.01


def test_step_trains_the_heads_of_one_feature_network(fabric: Fabric) -> None:
    networks = projected(fabric)
    assert networks.discriminator is not None
    heads = networks.discriminator.module.heads
    for which in (1, 0):
        before = [weights(one) for one in heads]
        losses = gan_step(
            fabric,
            networks,
            *toy(),
            lambda_l1=1,
            lambda_perceptual=1,
            gan_mode="hinge",
            which=which,
        )
        assert losses["g_perceptual"] > 0
        changed = [not equal(*pair) for pair in zip(before, map(weights, heads), strict=True)]
        assert changed == [which == 0, which == 1]


def test_feature_networks_are_not_changed(fabric: Fabric) -> None:
    frozen = FeatureNetworks(["tu-efficientnet_lite0"])
    before = copy.deepcopy(frozen.state_dict())
    heads = ProjectedDiscriminator([stage_channels("tu-efficientnet_lite0")], base_channels=4)
    networks = replace(
        make_networks(fabric, discriminator=lambda: heads),
        features=fabric.setup_module(frozen),
        uses_features=True,
    )
    weights_before = weights(networks.discriminator)
    gan_step(fabric, networks, *toy(), lambda_l1=1, lambda_perceptual=1, gan_mode="hinge")
    assert not any(p.requires_grad for p in frozen.parameters())
    for key, value in frozen.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not equal(weights_before, weights(networks.discriminator))


def test_augmentation_is_the_same_for_real_and_fake_photos(fabric: Fabric) -> None:
    networks = make_networks(fabric)
    numbers = torch.arange(4 * 32 * 32).reshape(4, 1, 32, 32).float()
    torch.manual_seed(3)
    augment = augmentation(networks, numbers, 0.75)
    first, second = augment(numbers.repeat(1, 2, 1, 1)), augment(-numbers.repeat(1, 2, 1, 1))
    assert first.L.shape == (4, 1, 24, 24)
    assert torch.equal(first.photo, first.L.repeat(1, 3, 1, 1))
    assert torch.equal(second.photo[:, 1:], -first.photo[:, 1:])
    steps = first.L.diff(dim=3).unique(dim=3).flatten(1)
    assert set(steps.flatten().tolist()) == {1.0, -1.0}  # some of four are flipped, some are not
    assert (first.L.diff(dim=2) == 32).all()
    corners = first.L.flatten(1).amin(1) - 1024 * torch.arange(4)
    assert len(corners.unique()) > 1
    assert corners.max() <= 8 * 32 + 8


def test_augmentation_with_window_1_does_nothing(fabric: Fabric) -> None:
    L, ab = toy()
    seen = augmentation(make_networks(fabric), L)(ab)
    assert torch.equal(seen.L, L)
    assert torch.equal(seen.photo, torch.cat([L, ab], dim=1))
    assert seen.features == []


def test_gan_step_needs_a_discriminator(fabric: Fabric) -> None:
    networks = make_networks(fabric, discriminator=None)
    with pytest.raises(ValueError, match="needs a discriminator"):
        gan_step(fabric, networks, *toy(), lambda_l1=100)
