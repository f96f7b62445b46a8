import pytest
import torch
from torch import Tensor, nn

from photochrom.training.data.degradation import STEPS, degrade, fade
from photochrom.training.loop.moving_average import MovingAverage


def photos(count: int = 8) -> Tensor:
    """Return smooth photos (count, 1, 40, 56) in [-1, 1], each different."""
    y, x = torch.meshgrid(torch.linspace(0, 3, 40), torch.linspace(0, 4, 56), indexing="ij")
    return torch.stack([torch.sin(x + i) * torch.cos(y - i) for i in range(count)])[:, None]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_each_step_changes_the_photo_but_not_its_shape(step) -> None:
    L = photos(1)
    before = L.clone()
    degraded = step(L, torch.Generator().manual_seed(1))
    assert torch.equal(L, before)
    assert degraded.shape == L.shape
    assert torch.isfinite(degraded).all()
    assert (degraded - L).abs().mean() > 1e-3
    assert torch.corrcoef(torch.stack([degraded.flatten(), L.flatten()]))[0, 1] > 0.7


def test_the_given_fraction_of_photos_is_degraded() -> None:
    L = photos(1).expand(400, -1, -1, -1)
    degraded = degrade(L, 0.25, range(400))
    changed = (degraded != L).flatten(1).any(1).float().mean()
    assert 0.17 < changed < 0.33
    assert degraded.abs().max() <= 1.0
    assert torch.equal(degrade(L[:4], 0.0, range(4)), L[:4])


def test_degradation_depends_on_the_seed_of_the_photo_only() -> None:
    L = photos()
    one, same, other = (degrade(L, 1.0, range(first, first + 8)) for first in (3, 3, 90))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(degrade(L[2:5], 1.0, range(5, 8)), one[2:5])


def test_fading_reduces_contrast() -> None:
    L = photos(1)
    for seed in range(20):
        faded = fade(L, torch.Generator().manual_seed(seed))
        assert faded.std() <= L.std()
        assert faded.min() >= L.min()
        assert faded.max() <= L.max()


def test_moving_average_follows_weights_and_statistics() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    average = MovingAverage(network, decay=0.5)
    first = network[0].weight.detach().clone()
    with torch.no_grad():
        network[0].weight += 1.0
        network[1].running_mean += 4.0
        network[1].num_batches_tracked += 7
    average.update(network)  # the first update has a decay of 0.1
    torch.testing.assert_close(average.network[0].weight, first + 0.9)
    torch.testing.assert_close(average.network[1].running_mean, torch.full((2,), 3.6))
    assert average.network[1].num_batches_tracked == 7
    for _ in range(40):
        average.update(network)
    torch.testing.assert_close(average.network[0].weight, network[0].weight)
    assert not any(p.requires_grad for p in average.network.parameters())
    assert all(p.requires_grad for p in network.parameters())


def test_moving_average_resumes_from_its_state() -> None:
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
