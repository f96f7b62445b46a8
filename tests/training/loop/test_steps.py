import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from photochrom.errors import RecipeError
from photochrom.training.loop.batches import Batch
from photochrom.training.loop.steps import Networks, augmentation
from photochrom.training.loop.steps import gan_step as take_gan_step
from photochrom.training.loop.steps import generator_step as take_generator_step
from photochrom.training.losses import views
from photochrom.training.losses.objective import Losses, Objective
from photochrom.training.losses.regularizers import r1
from photochrom.training.losses.views import DiscriminatorSample
from photochrom.training.networks.discriminators import PatchDiscriminator, ProjectedDiscriminator
from photochrom.training.networks.features import _feature_network
from photochrom.training.networks.residual import ResidualGenerator
from photochrom.training.recipes.kinds import ADVERSARIAL_LOSSES, OUTPUTS
from photochrom.training.recipes.recipe import Phase, Recipe

ADAM = partial(torch.optim.Adam, betas=(0.5, 0.999))
LOSSES = pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES.names)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def toy() -> tuple[Tensor, Tensor]:
    """Return photos whose ab are multiples of L: L (4, 1, 32, 32) and ab."""
    ramp = torch.linspace(-1, 1, 32)
    photos = [ramp.expand(32, 32), ramp.expand(32, 32).T, ramp.flip(0).expand(32, 32), ramp.abs()]
    L = torch.stack([p.expand(32, 32) for p in photos])[:, None]
    return L, torch.cat([0.5 * L, -0.3 * L], dim=1)


def small_generator(channels: int = 2) -> nn.Module:
    return ResidualGenerator(channels, channels=8, blocks=1)  # no dropout: steps can be compared


def small_discriminator() -> nn.Module:
    return PatchDiscriminator(base_channels=4)


def make_networks(
    fabric: Fabric,
    *,
    generator: Callable[[], nn.Module] = small_generator,
    discriminator: Callable[[], nn.Module] | None = small_discriminator,
    lr_g: float = 1e-2,
    lr_d: float = 1e-3,
    optimizer: Callable[..., Optimizer] = ADAM,
) -> Networks:
    torch.manual_seed(0)
    g = generator()
    g, opt_g = fabric.setup(g, optimizer(g.parameters(), lr=lr_g))
    if discriminator is None:
        return Networks(g, opt_g)
    d = discriminator()
    d, opt_d = fabric.setup(d, optimizer(d.parameters(), lr=lr_d))
    return Networks(g, opt_g, d, opt_d)


def make_objective(
    l1: float = 100.0,
    gan: float = 1.0,
    *,
    terms: Mapping[str, Any] | None = None,
    loss: str = "bce",
    output: str = "ab",
    **adversarial: Any,
) -> Objective:
    """Return an objective with the weights of l1 and gan, and more terms."""
    return Objective.of(
        Recipe.from_dict(
            {
                "generator": {"kind": "unet"},
                "output": {"kind": output},
                "discriminator": {"kind": "patch"},
                "adversarial": {"loss": {"kind": loss}, **adversarial},
                "objective": {"l1": {"weight": l1}, "gan": {"weight": gan}, **(terms or {})},
            }
        )
    )


def gan_step(
    fabric: Fabric,
    networks: Networks,
    L: Tensor,
    ab: Tensor,
    *settings: float,
    inputs: list[Tensor] | None = None,
    phase: Phase = "gan",
    step: int = 0,
    **more: Any,
) -> Losses:
    batch, objective = Batch(L, ab, inputs or [L]), make_objective(*settings, **more)
    return take_gan_step(fabric, networks, batch, objective, phase=phase, step=step)


def generator_step(
    fabric: Fabric,
    networks: Networks,
    L: Tensor,
    ab: Tensor,
    *,
    inputs: list[Tensor] | None = None,
    terms: Mapping[str, Any] | None = None,
    pretrain: bool = False,
) -> Losses:
    values = {"generator": {"kind": "unet"}, "objective": terms or {"l1": {"weight": 1.0}}}
    objective = Objective.of(Recipe.from_dict(values))
    batch = Batch(L, ab, inputs or [L])
    return take_generator_step(fabric, networks, batch, objective, pretrain=pretrain)


def weights(network: nn.Module | None) -> list[Tensor]:
    assert network is not None
    return [p.detach().clone() for p in network.parameters()]


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def steps_taken(optimizer: torch.optim.Optimizer | None) -> set[int]:
    assert optimizer is not None
    return {int(state["step"]) for state in optimizer.state_dict()["state"].values()}


def test_generator_step_reduces_l1(fabric: Fabric) -> None:
    networks = make_networks(fabric, discriminator=None)
    L, ab = toy()
    losses = [generator_step(fabric, networks, L, ab) for _ in range(30)]
    assert all(loss.keys() == {"g_l1", "g_total", "g_updates"} for loss in losses)
    assert not losses[0]["g_l1"].requires_grad
    assert losses[-1]["g_l1"] < 0.4 * losses[0]["g_l1"]


def test_generator_step_does_not_change_the_discriminator(fabric: Fabric) -> None:
    networks = make_networks(fabric)
    before = weights(networks.discriminator)
    generator_step(fabric, networks, *toy())
    assert equal(before, weights(networks.discriminator))
    assert networks.discriminator is not None
    assert all(p.grad is None for p in networks.discriminator.parameters())


@LOSSES
def test_gan_step_reduces_l1(fabric: Fabric, loss: str) -> None:
    networks = make_networks(fabric)
    L, ab = toy()
    losses = [gan_step(fabric, networks, L, ab, l1=100, loss=loss) for _ in range(30)]
    assert losses[-1]["g_l1"] < 0.4 * losses[0]["g_l1"]


@LOSSES
def test_gan_step_trains_the_discriminator(fabric: Fabric, loss: str) -> None:
    # The generator is not updated, and its colours are wrong.
    networks = make_networks(fabric, lr_g=0.0, lr_d=3e-3)
    L, ab = toy()
    losses = [gan_step(fabric, networks, L, ab, l1=1, loss=loss) for _ in range(30)]
    assert losses[-1]["d_real"] < 0.5 * losses[0]["d_real"]
    assert losses[-1]["d_fake"] < 0.5 * losses[0]["d_fake"]
    assert losses[-1]["d_real_accuracy"] > 0.9
    assert losses[-1]["d_fake_accuracy"] > 0.9


@LOSSES
def test_gan_step_trains_the_generator_against_the_discriminator(fabric: Fabric, loss: str) -> None:
    # The discriminator is not updated, and only the adversarial loss has a weight.
    networks = make_networks(fabric, lr_d=0.0)
    L, ab = toy()
    losses = [gan_step(fabric, networks, L, ab, l1=0, loss=loss) for _ in range(30)]
    assert losses[-1]["g_gan"] < losses[0]["g_gan"] - 0.05


def test_gan_step_returns_detached_finite_scalars(fabric: Fabric) -> None:
    losses = gan_step(fabric, make_networks(fabric), *toy(), l1=100)
    assert losses.keys() == {
        *("d_real", "d_fake", "g_gan", "g_l1", "g_total", "d_real_accuracy", "d_fake_accuracy"),
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
    ("loss", "real", "fake", "right"),
    [
        ("bce", 0.2, -0.2, (1, 1)),
        ("bce", -0.2, 0.2, (0, 0)),
        ("bce", 0.2, 0.2, (1, 0)),
        ("bce", 0.0, 0.0, (0, 1)),
        ("hinge", 0.2, -0.2, (1, 1)),
        ("wasserstein", 0.2, -0.2, (1, 1)),
        # The targets of least squares are 1 and 0, so the boundary is 0.5.
        ("lsgan", 0.2, -0.2, (0, 1)),
        ("lsgan", 0.6, 0.4, (1, 1)),
    ],
)
def test_discriminator_accuracy(
    fabric: Fabric, loss: str, real: float, fake: float, right: tuple[int, int]
) -> None:
    networks = make_networks(fabric, discriminator=lambda: ConstantDiscriminator(real, fake))
    losses = gan_step(fabric, networks, *toy(), l1=1, loss=loss)
    assert (losses["d_real_accuracy"], losses["d_fake_accuracy"]) == right


@LOSSES
def test_discriminator_gets_no_gradient_from_the_generators_step(fabric: Fabric, loss: str) -> None:
    networks = make_networks(fabric)
    assert networks.discriminator is not None
    L, ab = toy()
    generator = copy.deepcopy(networks.generator)
    discriminator = copy.deepcopy(networks.discriminator)
    with torch.no_grad():
        fake = torch.cat([L, generator(L)], dim=1)
    real_logits = discriminator(L, torch.cat([L, ab], dim=1))
    adversarial = ADVERSARIAL_LOSSES.parse({"kind": loss}).build()
    total = adversarial.real(real_logits) + adversarial.fake(discriminator(L, fake))
    (0.5 * total).backward()

    gan_step(fabric, networks, L, ab, l1=100, loss=loss, g_steps=2)
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
    gan_step(fabric, networks, L, ab, l1=10)
    # The generator is updated with the updated discriminator.
    output = generator(L)
    logits = copy.deepcopy(networks.discriminator)(L, torch.cat([L, output], dim=1))
    (-logits.sigmoid().log().mean() + 10 * (output - ab).abs().mean()).backward()
    pairs = zip(networks.generator.parameters(), generator.parameters(), strict=True)
    for actual, expected in pairs:
        assert actual.grad is not None
        assert expected.grad is not None
        assert torch.allclose(actual.grad, expected.grad, atol=1e-5)


def test_g_steps_updates_the_generator_twice(fabric: Fabric) -> None:
    one, two = make_networks(fabric), make_networks(fabric)
    gan_step(fabric, one, *toy(), l1=100)
    gan_step(fabric, two, *toy(), l1=100, g_steps=2)
    assert steps_taken(one.opt_g) == {1}
    assert steps_taken(two.opt_g) == {2}
    assert steps_taken(one.opt_d) == steps_taken(two.opt_d) == {1}
    assert equal(weights(one.discriminator), weights(two.discriminator))
    assert not equal(weights(one.generator), weights(two.generator))


def test_discriminator_is_updated_in_every_step(fabric: Fabric) -> None:
    networks = make_networks(fabric)
    gan_step(fabric, networks, *toy(), l1=100)
    before = weights(networks.discriminator)
    gan_step(fabric, networks, *toy(), l1=100)
    assert not equal(before, weights(networks.discriminator))


@pytest.mark.parametrize("output", ["lab", "rgb"])
def test_lab_and_rgb_generators_learn(fabric: Fabric, output: str) -> None:
    networks = make_networks(fabric, generator=partial(small_generator, 3), lr_g=3e-3)
    L, ab = toy()
    losses = [gan_step(fabric, networks, L, ab, l1=100, output=output) for _ in range(20)]
    assert losses[-1]["g_l1"] < 0.7 * losses[0]["g_l1"]


@pytest.mark.parametrize("output", ["lab", "rgb"])
def test_discriminator_gets_the_real_photo_and_the_output(fabric: Fabric, output: str) -> None:
    photos: list[Tensor] = []

    class Recorder(ConstantDiscriminator):
        def forward(self, L: Tensor, photo: Tensor) -> Tensor:
            photos.append(photo.detach())
            return super().forward(L, photo)

    networks = make_networks(
        fabric,
        generator=partial(small_generator, 3),
        discriminator=lambda: Recorder(1.0, -1.0),
    )
    L, ab = toy()
    with torch.no_grad():
        output_photos = copy.deepcopy(networks.generator)(L)
    gan_step(fabric, networks, L, ab, l1=1, output=output)
    assert torch.equal(photos[0], OUTPUTS.parse({"kind": output}).build().target(L, ab))
    assert torch.equal(photos[1], output_photos)


@pytest.mark.parametrize(("phase", "frozen", "trained"), [("d", 0, 1), ("g", 1, 0)])
def test_phase_updates_one_network_alone(
    fabric: Fabric, phase: Literal["d", "g"], frozen: int, trained: int
) -> None:
    networks = make_networks(fabric)
    both = (networks.generator, networks.discriminator)
    before = [weights(network) for network in both]
    losses = gan_step(fabric, networks, *toy(), l1=100, phase=phase)
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
        losses = gan_step(fabric, networks, L, ab, l1=1, d_threshold=threshold)
        assert losses["d_updates"] == learns
        assert losses["g_updates"] == 1
        assert equal(before, weights(networks.discriminator)) is not bool(learns)


@pytest.fixture
def fake_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace feature networks: the features are the photo and a constant, the network's name."""

    def extract(name: str, rgb: Tensor) -> list[Tensor]:
        assert rgb.shape[1] == 3
        return [torch.cat([rgb, torch.full_like(rgb, float(name))], dim=1)]

    monkeypatch.setattr(views, "extract_features", extract)
    monkeypatch.setattr(
        "photochrom.training.networks.discriminators.stage_channels", lambda name: [6]
    )


PERCEPTUAL = {"perceptual": {"weight": 1.0, "networks": ("1", "2")}}


def test_losses_are_weighted(fabric: Fabric, fake_features: None) -> None:
    L, ab = toy()
    networks = make_networks(fabric)
    losses = gan_step(fabric, networks, L, ab, 0, 0, terms=PERCEPTUAL)
    assert losses["g_perceptual"] > 0
    assert losses["g_total"] == losses["g_perceptual"]
    for _ in range(30):
        last = gan_step(fabric, networks, L, ab, 0, 0, terms=PERCEPTUAL)
    assert last["g_perceptual"] < 0.5 * losses["g_perceptual"]
    before = weights(networks.generator)
    still = make_networks(fabric)
    gan_step(fabric, still, L, ab, 0, 0)
    assert equal(weights(still.generator), weights(make_networks(fabric).generator))
    assert not equal(before, weights(still.generator))


def test_generator_step_with_perceptual_loss(fabric: Fabric, fake_features: None) -> None:
    networks = make_networks(fabric, discriminator=None)
    losses = [
        generator_step(fabric, networks, *toy(), terms=PERCEPTUAL)["g_perceptual"]
        for _ in range(30)
    ]
    assert losses[-1] < 0.5 * losses[0]


def test_pretraining_uses_its_terms_only(fabric: Fabric, fake_features: None) -> None:
    networks = make_networks(fabric, discriminator=None)
    terms = {"l1": {"weight": 10.0}, **PERCEPTUAL}
    losses = generator_step(fabric, networks, *toy(), terms=terms, pretrain=True)
    assert losses.keys() == {"g_l1", "g_total", "g_updates"}
    assert losses["g_total"] == 10 * losses["g_l1"]  # with the weight that it has later


def test_one_term_can_be_used_twice(fabric: Fabric, fake_features: None) -> None:
    terms = {
        "first": {"kind": "perceptual", "weight": 1.0, "networks": ("1",)},
        "second": {"kind": "perceptual", "weight": 2.0, "networks": ("5",)},
    }
    losses = generator_step(fabric, make_networks(fabric), *toy(), terms=terms)
    assert losses["g_total"] == pytest.approx(losses["g_first"] + 2 * losses["g_second"])
    assert losses["g_first"] != losses["g_second"]


def test_gan_term_without_a_discriminator_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"objective\.gan needs a discriminator"):
        Recipe.from_dict({"generator": {"kind": "unet"}, "objective": {"gan": {"weight": 1.0}}})


@pytest.mark.parametrize("name", ["r1", "gradient_penalty"])
def test_regularizers_flatten_the_discriminator(fabric: Fabric, name: str) -> None:
    gradients = {}
    for weight in (0.0, 100.0):
        networks = make_networks(fabric, lr_g=0.0, lr_d=3e-3)
        terms = {name: {"weight": weight}}
        for _ in range(20):
            losses = gan_step(fabric, networks, *toy(), 1, regularization=terms)
        gradients[weight] = losses[f"d_{name}"]
    assert gradients[100.0] < 0.5 * gradients[0.0]


def test_lazy_regularization(fabric: Fabric) -> None:
    networks = make_networks(fabric, lr_g=0.0, lr_d=0.0)
    every = {"r1": {"weight": 1.0}}
    lazy = {"r1": {"weight": 1.0, "interval": 4}}
    always = gan_step(fabric, networks, *toy(), 1, regularization=every)["d_r1"]
    sometimes = [
        gan_step(fabric, networks, *toy(), 1, regularization=lazy, step=step)["d_r1"]
        for step in range(8)
    ]
    assert [value > 0 for value in sometimes] == [True, *[False] * 4, True, False, False]
    assert sometimes[5] == pytest.approx(4 * float(always), rel=0.2)


@pytest.mark.parametrize(("interval", "count"), [(16, 4), (4, 2), (4, 3), (2, 2)])
def test_lazy_regularization_reaches_all_networks_alike(interval: int, count: int) -> None:
    output = OUTPUTS.parse({"kind": "ab"}).build()
    view = views.View(torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 2, 2), output)
    used = []
    for step in range(interval**2 * count):
        real = replace(view, step=step)
        if r1(DiscriminatorSample(real, real, lambda one: one.photo), interval=interval) > 0:
            used.append(real.index(["network"] * count))
    assert [used.count(i) for i in range(count)] == [interval] * count


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
        generator_step(fabric, networks, L, ab, inputs=[aged])
    else:
        networks.discriminator.register_forward_pre_hook(
            lambda _, args: discriminator_inputs.append(args)
        )
        gan_step(fabric, networks, L, ab, l1=1, inputs=[aged])
    assert generator_inputs
    assert all(torch.equal(x, aged) for x in generator_inputs)
    assert all(torch.equal(x, L) and torch.equal(y[:, :1], L) for x, y in discriminator_inputs)


def projected(fabric: Fabric) -> Networks:
    """Return networks whose discriminator takes the features of `fake_features`."""
    names = ("1", "2")
    networks = make_networks(
        fabric,
        discriminator=lambda: ProjectedDiscriminator(networks=names, base_channels=4),
        lr_d=3e-3,
    )
    return replace(networks, feature_networks=names)


def test_generator_alone_learns_from_a_projected_discriminator(
    fabric: Fabric, fake_features: None
) -> None:
    networks = projected(fabric)
    before = weights(networks.generator)
    gan_step(fabric, networks, *toy(), 0, loss="hinge", phase="g")
    assert not equal(weights(networks.generator), before)


def test_projected_discriminator_learns(fabric: Fabric, fake_features: None) -> None:
    networks = projected(fabric)
    networks.opt_g.param_groups[0]["lr"] = 0.0
    losses = [gan_step(fabric, networks, *toy(), 1, loss="hinge") for _ in range(40)]
    first, last = (x["d_real"] + x["d_fake"] for x in (losses[0], losses[-1]))
    assert last < 0.8 * first
    assert losses[-1]["d_real_accuracy"] + losses[-1]["d_fake_accuracy"] > 1.4


def test_generator_learns_against_a_projected_discriminator(
    fabric: Fabric, fake_features: None
) -> None:
    networks = projected(fabric)
    assert networks.opt_d is not None
    networks.opt_d.param_groups[0]["lr"] = 0.0
    losses = [gan_step(fabric, networks, *toy(), 0, loss="hinge") for _ in range(40)]
    assert losses[-1]["g_gan"] < losses[0]["g_gan"] - 0.01


def test_step_trains_the_heads_of_one_feature_network(fabric: Fabric, fake_features: None) -> None:
    networks = projected(fabric)
    assert networks.discriminator is not None
    heads = networks.discriminator.module.heads
    for step in (1, 2):
        before = [weights(one) for one in heads]
        losses = gan_step(fabric, networks, *toy(), 1, loss="hinge", terms=PERCEPTUAL, step=step)
        assert losses["g_perceptual"] > 0
        changed = [not equal(*pair) for pair in zip(before, map(weights, heads), strict=True)]
        assert changed == [step == 2, step == 1]


def test_features_of_a_photo_are_computed_once(
    fabric: Fabric, fake_features: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    extract = views.extract_features

    def counted(name: str, rgb: Tensor) -> list[Tensor]:
        calls.append(name)
        return extract(name, rgb)

    monkeypatch.setattr(views, "extract_features", counted)
    gan_step(fabric, projected(fabric), *toy(), 1, loss="hinge", terms=PERCEPTUAL)
    assert calls == ["1", "1"]  # real and generated


def test_feature_networks_are_not_changed(fabric: Fabric) -> None:
    name = "tu-efficientnet_lite0"
    frozen = _feature_network(name, torch.device("cpu"))
    before = copy.deepcopy(frozen.state_dict())
    networks = make_networks(fabric, discriminator=lambda: ProjectedDiscriminator(base_channels=4))
    networks = replace(networks, feature_networks=(name,))
    weights_before = weights(networks.discriminator)
    terms = {"perceptual": {"weight": 1.0}}
    gan_step(fabric, networks, *toy(), 1, loss="hinge", terms=terms)
    assert not any(p.requires_grad for p in frozen.parameters())
    for key, value in frozen.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not equal(weights_before, weights(networks.discriminator))


def test_augmentation_is_the_same_for_real_and_fake_photos(fabric: Fabric) -> None:
    numbers = torch.arange(4 * 32 * 32).reshape(4, 1, 32, 32).float()
    torch.manual_seed(3)
    batch = Batch(numbers, numbers.repeat(1, 2, 1, 1), [numbers])
    augment = augmentation(fabric, batch, make_objective(window=0.75), 0)
    first, second = augment(numbers.repeat(1, 3, 1, 1)), augment(-numbers.repeat(1, 3, 1, 1))
    assert first.L.shape == (4, 1, 24, 24)
    assert torch.equal(first.photo, first.L.repeat(1, 3, 1, 1))
    assert torch.equal(second.photo, -first.photo)
    steps = first.L.diff(dim=3).unique(dim=3).flatten(1)
    assert set(steps.flatten().tolist()) == {1.0, -1.0}  # some of four are flipped, some are not
    assert (first.L.diff(dim=2) == 32).all()
    corners = first.L.flatten(1).amin(1) - 1024 * torch.arange(4)
    assert len(corners.unique()) > 1
    assert corners.max() <= 8 * 32 + 8


def test_augmentation_with_window_1_does_nothing(fabric: Fabric) -> None:
    L, ab = toy()
    seen = augmentation(fabric, Batch(L, ab, [L]), make_objective(), 0)(torch.cat([L, ab], dim=1))
    assert torch.equal(seen.L, L)
    assert torch.equal(seen.photo, torch.cat([L, ab], dim=1))


def test_gan_step_needs_a_discriminator(fabric: Fabric) -> None:
    networks = make_networks(fabric, discriminator=None)
    with pytest.raises(ValueError, match="needs a discriminator"):
        gan_step(fabric, networks, *toy(), l1=100)


def without_norms(network: nn.Module) -> nn.Module:
    """Remove batch norms, so that the output for a photo does not depend on the other photos."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            owner, _, key = name.rpartition(".")
            setattr(network.get_submodule(owner), key, nn.Identity())
    return network


def make_networks_without_norms(fabric: Fabric, accumulate: int) -> Networks:
    networks = make_networks(
        fabric,
        generator=lambda: without_norms(small_generator()),
        discriminator=lambda: without_norms(small_discriminator()),
        optimizer=SGD,  # Adam makes a step of the rounding errors of small gradients
    )
    return replace(networks, accumulate=accumulate)


@pytest.mark.parametrize("settings", [{}, {"g_steps": 2}, {"d_threshold": 0.1}, {"d_threshold": 9}])
def test_accumulation_takes_the_steps_of_the_whole_batch(
    fabric: Fabric, settings: dict[str, Any]
) -> None:
    whole, parts = (make_networks_without_norms(fabric, count) for count in (1, 2))
    L, ab = toy()
    batch = torch.cat([L, 0.5 * L]), torch.cat([ab, 0.2 * ab])
    for phase in ("gan", "d", "g"):
        expected, losses = (
            gan_step(fabric, networks, *batch, 10, phase=phase, **settings)
            for networks in (whole, parts)
        )
        assert losses.keys() == expected.keys()
        for key, value in losses.items():
            torch.testing.assert_close(value, expected[key], msg=key)
    for one, other in [
        (whole.generator, parts.generator),
        (whole.discriminator, parts.discriminator),
    ]:
        for ours, theirs in zip(weights(other), weights(one), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_accumulation_without_a_discriminator(fabric: Fabric) -> None:
    whole, parts = (make_networks_without_norms(fabric, count) for count in (1, 4))
    for _ in range(3):
        expected = generator_step(fabric, whole, *toy())
        losses = generator_step(fabric, parts, *toy())
        torch.testing.assert_close(losses, expected)
    for ours, theirs in zip(weights(parts.generator), weights(whole.generator), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_accumulation_runs_one_micro_batch_at_a_time(fabric: Fabric) -> None:
    networks = replace(make_networks(fabric), accumulate=2)
    sizes: list[tuple[int, bool]] = []
    for network in (networks.generator, networks.discriminator):
        assert network is not None
        network.register_forward_hook(lambda _, i, o: sizes.append((len(i[0]), o.requires_grad)))
    gan_step(fabric, networks, *toy(), 1)
    d_updates, g_updates = [(2, False), (2, True), (2, True)], [(2, True), (2, True)]
    assert sizes == [*d_updates, *d_updates, *g_updates, *g_updates]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_clipping_bounds_the_norm_of_the_gradient_of_each_network(
    fabric: Fabric, accumulate: int
) -> None:
    def norms(clip_norm: float | None) -> list[float]:
        networks = make_networks(fabric)
        networks = replace(networks, clip_norm=clip_norm, accumulate=accumulate)
        gan_step(fabric, networks, *toy(), 100)
        return [
            torch.stack([p.grad.norm() for p in network.parameters()]).norm().item()
            for network in (networks.generator, networks.discriminator)
        ]

    free, clipped = norms(None), norms(0.1)
    assert min(free) > 0.5
    assert clipped == pytest.approx([0.1, 0.1], rel=1e-3)
    assert norms(1000.0) == pytest.approx(free)
