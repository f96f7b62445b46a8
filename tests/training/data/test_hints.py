"""Colour hints as training and measuring simulate them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from photochrom.errors import RecipeError
from photochrom.training.data.hints import MAX_SIDE, evenly, reveal, simulate
from photochrom.training.networks.encoders import add_input_channels, build_encoder
from photochrom.training.networks.generators import build_generator
from photochrom.training.recipes.recipe import Recipe

HINTED = Recipe(
    generator="encoder_unet",
    encoder="tu-mobilenetv3_small_050",
    decoder_channels=(16, 8, 8, 4),
    hints=0.5,
)


def colours(count: int = 1, height: int = 40, width: int = 60) -> Tensor:
    return torch.rand(count, 2, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_patch_gives_its_mean_colour() -> None:
    ab = colours()[0]
    hints = reveal(ab, [(3, 5, 4), (38, 57, 7)])  # the second one reaches beyond the corner
    assert hints.shape == (3, 40, 60)
    assert hints[2].sum() == 16 + 2 * 3
    assert set(hints[2].unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(hints[:2, 5, 7], ab[:, 3:7, 5:9].mean((1, 2)))
    torch.testing.assert_close(hints[:2, 39, 59], ab[:, 38:, 57:].mean((1, 2)))
    assert not hints[:2, hints[2] == 0].any()


def test_number_and_places_of_simulated_hints() -> None:
    ab = colours().expand(600, -1, -1, -1)
    hints = simulate(ab, 0.5, range(600))
    assert hints.shape == (600, 3, 40, 60)
    covered = hints[:, 2].flatten(1).sum(1)
    assert 0.42 < (covered > 0).float().mean() < 0.58
    # A geometric law of mean 8; on so small a photo patches overlap.
    assert covered[covered > 0].min() >= 1
    assert covered.max() > 8 * MAX_SIDE
    at = hints[:, 2].sum(0)
    assert at[15:25, 20:40].mean() > 2 * at[:5, :8].mean()  # around the middle
    assert not simulate(ab[:3], 0.0, range(3)).any()
    assert simulate(ab[:3], 1.0, range(3))[:, 2].flatten(1).any(1).all()


def test_simulated_hints_depend_on_a_photos_own_seed_alone() -> None:
    ab = colours(6)
    some = simulate(ab, 0.5, range(6))
    assert torch.equal(simulate(ab[2:4], 0.5, range(2, 4)), some[2:4])
    assert not torch.equal(simulate(ab, 0.5, range(90, 96)), some)


def test_places_drawn_evenly() -> None:
    patches = evenly(30, 50, 2000, 7, seed=1)
    tops, lefts, sides = zip(*patches, strict=True)
    assert set(sides) == {7}
    assert (set(tops), set(lefts)) == (set(range(24)), set(range(44)))
    assert evenly(30, 50, 5, 7, seed=1) == patches[:5]
    assert evenly(5, 50, 1, 7, seed=1)[0][::2] == (0, 5)  # a patch fits into the photo


def test_an_encoder_with_more_channels_is_what_it_was() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("tu-mobilenetv3_small_050").eval()
    photo, more = torch.rand(2, 2, 3, 32, 32)
    with torch.no_grad():
        before = encoder(photo)[1:]
        add_input_channels(encoder, 3)
        after = encoder(torch.cat([photo, more], dim=1))[1:]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_generator_without_hints_is_one_with_none() -> None:
    torch.manual_seed(0)
    network = build_generator(HINTED).eval()
    L = torch.rand(1, 1, 33, 47)
    with torch.no_grad():
        nothing = network(L, torch.zeros(1, 3, 33, 47))
        assert torch.equal(network(L), nothing)
        first = next(m for m in network.modules() if isinstance(m, torch.nn.Conv2d))
        first.weight[:, 3:] = 0.1  # untrained, the weights of hints are 0
        hints = reveal(torch.ones(2, 33, 47), [(9, 9, 5)])[None]
        assert torch.equal(network(L), nothing)
        assert not torch.equal(network(L, hints), nothing)


def test_generators_that_take_no_hints() -> None:
    network = build_generator(replace(HINTED, hints=None))
    with pytest.raises(ValueError, match="takes no hints"):
        network(torch.rand(1, 1, 32, 32), torch.zeros(1, 3, 32, 32))
    with pytest.raises(RecipeError, match="generator unet takes no hints; set hints=none, or"):
        build_generator(Recipe(generator="unet", hints=0.5))
