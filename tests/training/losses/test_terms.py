import torch
from skimage import data
from torch import Tensor

from photochrom.training.losses.terms import feature_distance
from photochrom.training.networks.features import extract_features

LITE0 = "tu-efficientnet_lite0"


def test_feature_distance_grows_with_the_difference() -> None:
    def distance(fake: Tensor, real: Tensor) -> float:
        return feature_distance(extract_features(LITE0, fake), extract_features(LITE0, real)).item()

    photo = torch.from_numpy(data.astronaut()[::4, ::4].copy()).permute(2, 0, 1)[None].float()
    photo = photo / 127.5 - 1.0
    grey = photo.mean(1, keepdim=True).expand_as(photo)
    assert distance(photo, photo) == 0.0
    other = photo.roll(32, dims=3)
    slightly = photo + 0.02 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    assert 0 < distance(slightly, photo) < distance(grey, photo) < distance(other, photo)


def test_feature_distance_has_gradients_only_for_the_fake_photo() -> None:
    fake = torch.zeros(1, 3, 32, 32, requires_grad=True)
    real = torch.ones(1, 3, 32, 32, requires_grad=True)
    feature_distance(extract_features(LITE0, fake), extract_features(LITE0, real)).backward()
    assert fake.grad is not None
    assert fake.grad.any()
    assert real.grad is None
