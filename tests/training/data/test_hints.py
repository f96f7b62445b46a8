import pytest
import torch
from torch import Tensor

from photochrom.errors import RecipeError
from photochrom.training.data.hints import (
    MAX_PATCH_SIDE,
    make_hints,
    sample_patches,
    simulate_hints,
)
from photochrom.training.networks.encoders import add_input_channels, build_encoder
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.runs import build_generator

HINTED = Recipe.from_dict(
    {
        "generator": {
            "kind": "encoder_unet",
            "encoder": "tu-mobilenetv3_small_050",
            "decoder_channels": [16, 8, 8, 4],
            "hints": True,
        }
    }
)


def colours(count: int = 1, height: int = 40, width: int = 60) -> Tensor:
    return torch.rand(count, 2, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_hints_have_the_mean_colours_of_patches() -> None:
    ab = colours()[0]
    hints = make_hints(ab, [(3, 5, 4), (38, 57, 7)])  # the second one extends beyond the corner
    assert hints.shape == (3, 40, 60)
    assert hints[2].sum() == 16 + 2 * 3
    assert set(hints[2].unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(hints[:2, 5, 7], ab[:, 3:7, 5:9].mean((1, 2)))
    torch.testing.assert_close(hints[:2, 39, 59], ab[:, 38:, 57:].mean((1, 2)))
    assert not hints[:2, hints[2] == 0].any()


def test_number_and_positions_of_simulated_hints() -> None:
    ab = colours().expand(600, -1, -1, -1)
    hints = simulate_hints(ab, 0.5, range(600))
    assert hints.shape == (600, 3, 40, 60)
    covered = hints[:, 2].flatten(1).sum(1)
    assert 0.42 < (covered > 0).float().mean() < 0.58
    # A geometric distribution with mean 8; patches overlap on such a small photo.
    assert covered[covered > 0].min() >= 1
    assert covered.max() > 8 * MAX_PATCH_SIDE
    density = hints[:, 2].sum(0)
    assert density[15:25, 20:40].mean() > 2 * density[:5, :8].mean()  # denser in the middle
    assert not simulate_hints(ab[:3], 0.0, range(3)).any()
    assert simulate_hints(ab[:3], 1.0, range(3))[:, 2].flatten(1).any(1).all()


def test_simulated_hints_depend_on_the_seed_of_the_photo_only() -> None:
    ab = colours(6)
    some = simulate_hints(ab, 0.5, range(6))
    assert torch.equal(simulate_hints(ab[2:4], 0.5, range(2, 4)), some[2:4])
    assert not torch.equal(simulate_hints(ab, 0.5, range(90, 96)), some)


def test_sampled_patches_have_uniform_positions() -> None:
    patches = sample_patches(30, 50, 2000, 7, seed=1)
    tops, lefts, sides = zip(*patches, strict=True)
    assert set(sides) == {7}
    assert (set(tops), set(lefts)) == (set(range(24)), set(range(44)))
    assert sample_patches(30, 50, 5, 7, seed=1) == patches[:5]
    assert sample_patches(5, 50, 1, 7, seed=1)[0][::2] == (0, 5)  # the side is reduced to fit


def test_added_input_channels_do_not_change_the_features() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("tu-mobilenetv3_small_050").eval()
    photo, more = torch.rand(2, 2, 3, 32, 32)
    with torch.no_grad():
        before = encoder(photo)[1:]
        add_input_channels(encoder, 3)
        after = encoder(torch.cat([photo, more], dim=1))[1:]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_missing_hints_are_zeros() -> None:
    torch.manual_seed(0)
    network = build_generator(HINTED).eval()
    L = torch.rand(1, 1, 33, 47)
    with torch.no_grad():
        without_hints = network(L, torch.zeros(1, 3, 33, 47))
        assert torch.equal(network(L), without_hints)
        first = next(m for m in network.modules() if isinstance(m, torch.nn.Conv2d))
        first.weight[:, 3:] = 0.1  # initially 0
        hints = make_hints(torch.ones(2, 33, 47), [(9, 9, 5)])[None]
        assert torch.equal(network(L), without_hints)
        assert not torch.equal(network(L, hints), without_hints)


def test_generators_without_hints_reject_them() -> None:
    network = build_generator(override(HINTED, {"generator.hints": False}))
    with pytest.raises(ValueError, match="takes no hints"):
        network(torch.rand(1, 1, 32, 32), torch.zeros(1, 3, 32, 32))
    with pytest.raises(RecipeError, match=r"generator takes no hints; set generator\.hints=true"):
        override(HINTED, {"generator.hints": False, "data.hints": 0.5})
