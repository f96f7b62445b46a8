"""Photos that are made to look old, and weights that are averaged."""

import pytest
import torch
from torch import Tensor, nn

from photochrom.training.data.degradation import STEPS, age
from photochrom.training.loop.moving_average import MovingAverage


def photos(count: int = 8) -> Tensor:
    """Return smooth photos (count, 1, 40, 56) in [-1, 1], each different."""
    y, x = torch.meshgrid(torch.linspace(0, 3, 40), torch.linspace(0, 4, 56), indexing="ij")
    return torch.stack([torch.sin(x + i) * torch.cos(y - i) for i in range(count)])[:, None]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_each_step_changes_a_photo_and_not_its_shape(step) -> None:
    L = photos(1)
    before = L.clone()
    draw = torch.Generator().manual_seed(1)
    aged = step(L, draw)
    assert torch.equal(L, before)
    assert aged.shape == L.shape
    assert torch.isfinite(aged).all()
    assert (aged - L).abs().mean() > 1e-3
    assert torch.corrcoef(torch.stack([aged.flatten(), L.flatten()]))[0, 1] > 0.7  # still itself


def test_the_share_that_is_asked_for_is_aged() -> None:
    L = photos(1).expand(400, -1, -1, -1)
    aged = age(L, 0.25, range(400))
    changed = (aged != L).flatten(1).any(1).float().mean()
    assert 0.17 < changed < 0.33
    assert aged.abs().max() <= 1.0
    assert torch.equal(age(L[:4], 0.0, range(4)), L[:4])


def test_the_same_seed_ages_alike_whatever_is_beside_the_photo() -> None:
    L = photos()
    one, same, other = (age(L, 1.0, range(first, first + 8)) for first in (3, 3, 90))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(age(L[2:5], 1.0, range(5, 8)), one[2:5])


def test_a_faded_photo_has_less_contrast() -> None:
    fade = {step.__name__: step for step in STEPS}["fade"]
    L = photos(1)
    for seed in range(20):
        faded = fade(L, torch.Generator().manual_seed(seed))
        assert faded.std() <= L.std()
        assert faded.min() >= L.min()
        assert faded.max() <= L.max()


def test_the_average_follows_the_weights() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    average = MovingAverage(network, decay=0.5)
    first = network[0].weight.detach().clone()
    with torch.no_grad():
        network[0].weight += 1.0
        network[1].running_mean += 4.0
        network[1].num_batches_tracked += 7
    average.update(network)  # the first of all keeps a tenth
    torch.testing.assert_close(average.network[0].weight, first + 0.9)
    torch.testing.assert_close(average.network[1].running_mean, torch.full((2,), 3.6))
    assert average.network[1].num_batches_tracked == 7
    for _ in range(40):
        average.update(network)
    torch.testing.assert_close(average.network[0].weight, network[0].weight)
    assert not any(p.requires_grad for p in average.network.parameters())
    assert all(p.requires_grad for p in network.parameters())


def test_an_average_goes_on_where_another_was() -> None:
    network = nn.Conv2d(1, 1, 1)
    one, other = MovingAverage(network, 0.9), MovingAverage(network, 0.9)
    for i in range(6):
        with torch.no_grad():
            network.weight.fill_(float(i))
        if i == 3:
            other.load_state_dict(one.state_dict())
        one.update(network)
        if i >= 3:
            other.update(network)
    assert torch.equal(one.network.weight, other.network.weight)
