import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photochrom.training.losses.adversarial import AdversarialLoss, BinaryCrossEntropy
from photochrom.training.recipes.kinds import ADVERSARIAL_LOSSES

LOG_2 = math.log(2)


def make(kind: str, **settings: float) -> AdversarialLoss:
    loss: AdversarialLoss = ADVERSARIAL_LOSSES.parse({"kind": kind, **settings}).build()
    return loss


@pytest.mark.parametrize(
    ("kind", "real", "label_real", "logits", "expected"),
    [
        # -log sigmoid(0) = log 2; sigmoid(log 3) = 3/4
        ("bce", True, 1.0, [0.0], LOG_2),
        ("bce", False, 1.0, [0.0], LOG_2),
        ("bce", True, 1.0, [math.log(3)], math.log(4 / 3)),
        ("bce", False, 1.0, [math.log(3)], math.log(4)),
        ("bce", True, 1.0, [0.0, math.log(3)], (LOG_2 + math.log(4 / 3)) / 2),
        # label smoothing changes the loss of real photos only
        ("bce", True, 0.9, [math.log(3)], 0.9 * math.log(4 / 3) + 0.1 * math.log(4)),
        ("bce", False, 0.9, [math.log(3)], math.log(4)),
        ("lsgan", True, 1.0, [1.0, 3.0], 2.0),
        ("lsgan", False, 1.0, [1.0, 3.0], 5.0),
        ("lsgan", True, 0.9, [0.9, 1.9], 0.5),
        ("lsgan", False, 0.9, [0.0], 0.0),
        ("hinge", True, None, [2.0, 1.0, 0.0, -3.0], 1.25),
        ("hinge", False, None, [2.0, 1.0, 0.0, -3.0], 1.5),
        ("wasserstein", True, None, [2.0, -5.0], 1.5),
        ("wasserstein", False, None, [2.0, -5.0], -1.5),
    ],
)
def test_loss_of_the_discriminator(
    kind: str, real: bool, label_real: float | None, logits: list[float], expected: float
) -> None:
    loss = make(kind) if label_real is None else make(kind, label_real=label_real)
    value = (loss.real if real else loss.fake)(torch.tensor(logits))
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "logits", "expected"),
    [
        ("bce", [0.0, math.log(3)], (LOG_2 + math.log(4 / 3)) / 2),
        ("lsgan", [1.0, 3.0], 2.0),
        ("hinge", [1.0, -4.0], 1.5),
        ("wasserstein", [1.0, -4.0], 1.5),
    ],
)
def test_loss_of_the_generator(kind: str, logits: list[float], expected: float) -> None:
    assert make(kind).generator(torch.tensor(logits)).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ADVERSARIAL_LOSSES.names)
def test_loss_is_the_mean_over_logits_of_any_shape(kind: str) -> None:
    logits, loss = torch.linspace(-2, 2, 24), make(kind)
    for shape in [(24, 1), (2, 1, 3, 4)]:
        value = loss.real(logits.reshape(shape))
        assert value.shape == ()
        assert value.item() == pytest.approx(loss.real(logits).item())


@pytest.mark.parametrize("kind", ADVERSARIAL_LOSSES.names)
def test_losses_are_monotonic_in_the_logit(kind: str) -> None:
    low, high, loss = torch.tensor([0.1]), torch.tensor([0.7]), make(kind)
    assert loss.real(high) < loss.real(low)
    assert loss.fake(low) < loss.fake(high)
    assert loss.generator(high) < loss.generator(low)


@settings(max_examples=50, deadline=None)
@given(
    logits=st.lists(st.floats(-20, 20), min_size=1, max_size=6),
    target=st.sampled_from([0.0, 0.8, 0.9, 1.0]),
)
def test_bce_equals_its_formula(logits: list[float], target: float) -> None:
    x = np.array(logits)
    probability = 1 / (1 + np.exp(-x))
    formula = -(target * np.log(probability) + (1 - target) * np.log1p(-probability)).mean()
    bce = BinaryCrossEntropy(label_real=target) if target > 0 else BinaryCrossEntropy()
    loss = (bce.real if target > 0 else bce.fake)(torch.tensor(x))
    assert loss.item() == pytest.approx(formula, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_bce_is_finite_for_large_logits(logit: float) -> None:
    x = torch.tensor([logit], requires_grad=True)
    loss = BinaryCrossEntropy().real(x) + BinaryCrossEntropy().fake(x)
    loss.backward()
    assert loss.item() == pytest.approx(200.0)
    assert x.grad is not None
    assert x.grad.isfinite().all()
