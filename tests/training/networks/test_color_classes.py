"""Classes of ab against the paper's equations, worked out by hand."""

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photochrom.color import AB_SCALE, rgb_to_lab
from photochrom.errors import DataError
from photochrom.training.networks.color_classes import (
    BINS,
    annealed_mean,
    bin_centres,
    bin_shares,
    class_loss,
    rebalancing_weights,
    smooth_prior,
    soft_encode,
)
from photochrom.training.networks.outputs import ClassesOutput


def index_of(a: int, b: int) -> int:
    return bin_centres().tolist().index([a, b])


def as_ab(*colors: tuple[float, float]) -> Tensor:
    """Return a row of colours, given in CIELAB units: (1, 2, 1, W)."""
    return torch.tensor(colors).T[None, :, None] / AB_SCALE


def random_colors(height: int, width: int) -> Tensor:
    """Return ab (1, 2, H, W) of random sRGB colours."""
    rgb = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
    return torch.from_numpy(rgb_to_lab(rgb)[..., 1:] / AB_SCALE).permute(2, 0, 1)[None]


def test_bins_are_the_published_313() -> None:
    """Counted in the authors' pts_in_hull.npy, as printed in OpenCV's samples/dnn."""
    centres = bin_centres()
    assert centres.shape == (BINS, 2) == (313, 2)
    a, counts = np.unique(centres[:, 0], return_counts=True)
    assert a.tolist() == list(range(-90, 101, 10))
    per_a = [5, 8, 10, 12, 14, 15, 16, 16, 17, 18, 18, 18, 19, 20, 19, 20, 20, 19, 19, 10]
    assert counts.tolist() == per_a
    lowest = [centres[centres[:, 0] == value, 1].min() for value in a]
    assert lowest == [
        *(50, 20, 0, -20, -30, -40, -50, -50, -60, -70),
        *(-80, -80, -90, -100, -100, -110, -110, -110, -110, -90),
    ]
    assert centres.tolist() == sorted(centres.tolist())


def test_a_colour_on_a_bin_is_shared_with_its_four_neighbours() -> None:
    indices, weights = soft_encode(as_ab((0, 0)))
    assert indices.shape == weights.shape == (1, 5, 1, 1)
    assert indices[0, 0] == index_of(0, 0)
    neighbours = {index_of(*ab) for ab in ((10, 0), (-10, 0), (0, 10), (0, -10))}
    assert set(indices[0, 1:, 0, 0].tolist()) == neighbours
    side = math.exp(-2)  # of the distance 10: exp(-100 / 50)
    expected = [1 / (1 + 4 * side)] + 4 * [side / (1 + 4 * side)]
    assert weights.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_neighbours_are_those_of_an_exhaustive_search(scale: float) -> None:
    ab = (random_colors(60, 50) * scale).clamp(-1, 1)
    indices, weights = soft_encode(ab)
    points = ab[0].flatten(1).T * AB_SCALE
    distances = torch.cdist(points, torch.from_numpy(bin_centres()))
    nearest = distances.topk(5, largest=False).values
    found = distances.gather(1, indices[0].flatten(1).T)
    assert torch.allclose(found, nearest, atol=1e-3)
    gaussian = torch.exp(-nearest.double().square() / 50)
    expected = (gaussian / gaussian.sum(1, keepdim=True)).float()
    assert torch.allclose(weights[0].flatten(1).T, expected, atol=1e-4)


def test_the_mean_of_an_encoding_is_near_the_colour() -> None:
    ab = random_colors(64, 64)
    indices, weights = soft_encode(ab)
    dense = torch.zeros(1, BINS, 64, 64).scatter(1, indices, weights)
    decoded = annealed_mean(dense.log(), 1.0)
    error = (decoded - ab).square().sum(1).sqrt() * AB_SCALE
    assert error.mean() < 1.5
    assert error.max() < 6


def test_annealed_mean_of_two_bins() -> None:
    """With T = 1/2, odds of 3 become 9: the mean is 9/10 (20, 0) + 1/10 (0, 10)."""
    logits = torch.full((1, BINS, 1, 1), -1e4)
    logits[0, index_of(20, 0)] = math.log(3)
    logits[0, index_of(0, 10)] = 0
    ab = annealed_mean(logits, 0.5) * AB_SCALE
    assert ab.flatten().tolist() == pytest.approx([18, 1], abs=1e-4)
    mean = annealed_mean(logits, 1.0) * AB_SCALE
    assert mean.flatten().tolist() == pytest.approx([15, 2.5], abs=1e-4)
    L = torch.zeros(1, 1, 4, 4)
    assert ClassesOutput().values(logits, L).shape == (1, 2, 4, 4)


def test_class_loss_by_hand() -> None:
    # Uniform logits: every pixel costs log 313.
    ab = as_ab((0, 0), (50, 50))
    uniform = torch.zeros(1, BINS, 1, 2)
    assert class_loss(uniform, ab).item() == pytest.approx(math.log(313), rel=1e-6)
    # Only the pixel's nearest bin selects its weight: (2 + 4) / 2 times log 313.
    weights = torch.ones(BINS)
    weights[index_of(0, 0)], weights[index_of(50, 50)] = 2, 4
    assert class_loss(uniform, ab, weights).item() == pytest.approx(3 * math.log(313), rel=1e-6)
    # One bin with probability 1/2, the others share the rest: 0.6488 log 2 + 0.3512 log 624.
    logits = torch.zeros(1, BINS, 1, 1)
    logits[0, index_of(0, 0)] = math.log(312)
    center = 1 / (1 + 4 * math.exp(-2))
    expected = center * math.log(2) + (1 - center) * math.log(2 * 312)
    assert class_loss(logits, as_ab((0, 0))).item() == pytest.approx(expected, rel=1e-5)


def test_class_loss_is_the_cross_entropy_of_pytorch_with_dense_targets() -> None:
    ab = random_colors(12, 9)
    logits = torch.randn(1, BINS, 12, 9, generator=torch.Generator().manual_seed(1))
    weights = torch.rand(BINS, generator=torch.Generator().manual_seed(2))
    squared = (
        (ab[:, None] * AB_SCALE - torch.from_numpy(bin_centres())[None, :, :, None, None]) ** 2
    ).sum(2)
    fifth = squared.kthvalue(5, dim=1, keepdim=True).values
    target = torch.exp(-squared / 50) * (squared <= fifth)
    target /= target.sum(1, keepdim=True)
    expected = F.cross_entropy(logits, target, reduction="none")
    assert class_loss(logits, ab).item() == pytest.approx(expected.mean().item(), rel=1e-5)
    weighted = (weights[squared.argmin(1)] * expected).mean()
    assert class_loss(logits, ab, weights).item() == pytest.approx(weighted.item(), rel=1e-5)


def test_class_loss_is_least_for_the_encoding_itself() -> None:
    """Its gradient by the logits is softmax minus target, which is 0 there."""
    ab = random_colors(4, 4)
    indices, weights = soft_encode(ab)
    dense = torch.full((1, BINS, 4, 4), 1e-9).scatter(1, indices, weights)
    logits = dense.log().requires_grad_()
    (gradient,) = torch.autograd.grad(class_loss(logits, ab), logits)
    assert gradient.abs().max() < 1e-6
    (gradient,) = torch.autograd.grad(
        class_loss(logits + 0.1 * torch.randn_like(logits), ab), logits
    )
    assert gradient.abs().max() > 1e-4


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 30), (33, 21)])
def test_class_loss_compares_every_fourth_pixel_with_smaller_logits(
    height: int, width: int
) -> None:
    ab = torch.ones(1, 2, height, width)
    ab[..., ::4, ::4] = 0
    h, w = -(-height // 4), -(-width // 4)
    logits = torch.zeros(1, BINS, h, w)
    logits[:, index_of(0, 0)] = 5
    alone = class_loss(logits, torch.zeros(1, 2, h, w))
    assert class_loss(logits, ab).item() == pytest.approx(alone.item())


def test_prior_counts_the_nearest_bins() -> None:
    prior = bin_shares([as_ab((1, 2), (-3, 4), (12, 0)), as_ab((48, 53))])
    assert prior[index_of(0, 0)] == 0.5
    assert prior[index_of(10, 0)] == prior[index_of(50, 50)] == 0.25
    assert prior.sum() == 1
    with pytest.raises(DataError, match="no photos"):
        bin_shares([])


def test_weights_average_to_one_over_the_prior() -> None:
    prior = bin_shares([random_colors(64, 64) * 0.5])
    weights = rebalancing_weights(prior)
    smooth = smooth_prior(prior)
    assert smooth.sum().item() == pytest.approx(1)
    assert (smooth * weights).sum().item() == pytest.approx(1)
    # eq. (4): weights of two bins are inverse to their mixed priors
    mixed = 0.5 * smooth + 0.5 / 313
    assert torch.allclose(weights.double() * mixed, (weights.double() * mixed)[0], rtol=1e-5)
    assert weights[index_of(80, -100)] > 3 * weights[index_of(0, 0)]
    assert torch.allclose(rebalancing_weights(prior, uniform=1.0), torch.ones(BINS))


def test_smoothing_spreads_a_bin_by_a_gaussian() -> None:
    prior = torch.zeros(BINS)
    prior[index_of(0, 0)] = 1
    smooth = smooth_prior(prior)
    ratio = (smooth[index_of(10, 0)] / smooth[index_of(0, 0)]).item()
    assert ratio == pytest.approx(math.exp(-2), rel=1e-6)
    # 1 / (sum over the grid of exp(-i^2 / (2 (1/2)^2)))^2, far from the border
    line = sum(math.exp(-2 * i * i) for i in range(-6, 7))
    assert smooth[index_of(0, 0)].item() == pytest.approx(line**-2, rel=1e-6)


class Decoder(nn.Module):
    """Decodes logits to ab of four times the size."""

    def forward(self, logits: Tensor) -> Tensor:
        height, width = logits.shape[2:]
        return ClassesOutput().values(logits, logits.new_zeros(1, 1, 4 * height, 4 * width))


def test_annealed_mean_in_onnx_equals_pytorch(tmp_path: Path) -> None:
    network = Decoder().eval()
    assert not network.state_dict()
    logits = torch.randn(1, BINS, 5, 7, generator=torch.Generator().manual_seed(0)) * 3
    path = tmp_path / "decode.onnx"
    torch.onnx.export(
        network,
        (logits,),
        path,
        input_names=["logits"],
        dynamic_shapes=({2: torch.export.Dim("h"), 3: torch.export.Dim("w")},),
        dynamo=True,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path)
    other = torch.randn(1, BINS, 6, 4)
    for x in (logits, other):
        (ab,) = session.run(None, {"logits": x.numpy()})
        assert ab == pytest.approx(network(x).numpy(), abs=1e-5)
