import pytest
import torch
from skimage import data
from torch import Tensor

from photochrom.errors import RecipeError
from photochrom.training.losses.terms import feature_distance
from photochrom.training.losses.views import Sample, View
from photochrom.training.networks.features import extract_features
from photochrom.training.networks.outputs import AbOutput, ClassesOutput, Output
from photochrom.training.recipes.kinds import TERMS

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


def make_sample(prediction: Tensor, L: Tensor, ab: Tensor, output: Output) -> Sample:
    values, target = output.values(prediction, L), output.target(L, ab)
    fake, real = (View(L, output.photo(x, L), output) for x in (values, target))
    return Sample(prediction, L, ab, output, values, target, fake, real)


def photos() -> tuple[Tensor, Tensor]:
    """Return L and ab (2, ., 48, 48) of smooth photos."""
    coarse = torch.rand(2, 3, 3, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    smooth = torch.nn.functional.interpolate(coarse, (48, 48), mode="bilinear")
    return smooth[:, :1], smooth[:, 1:]


@pytest.mark.parametrize("name", [name for name in TERMS.names if name != "gan"])
def test_every_term_is_reduced_by_its_gradient(name: str) -> None:
    L, ab = photos()
    output = ClassesOutput() if name == "classes" else AbOutput()
    prediction = torch.zeros(2, output.channels, 48, 48)
    term = TERMS.parse_term(name, {"weight": 1.0}, name)
    losses = []
    for _ in range(12):
        prediction = prediction.detach().requires_grad_()
        loss = term(make_sample(prediction, L, ab, output))
        (gradient,) = torch.autograd.grad(loss, prediction)
        assert gradient.isfinite().all()
        losses.append(loss.item())
        prediction = prediction - 0.03 * gradient / gradient.abs().max()
    assert losses[-1] < 0.98 * losses[0]


def test_classes_need_an_output_of_classes() -> None:
    L, ab = photos()
    sample = make_sample(torch.zeros_like(ab), L, ab, AbOutput())
    with pytest.raises(RecipeError, match=r"set output\.kind=classes"):
        TERMS.parse_term("classes", {"weight": 1.0}, "classes")(sample)
