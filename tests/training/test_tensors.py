import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from photochrom import color
from photochrom.color import FloatArray
from photochrom.training.networks.color_classes import soft_encode
from photochrom.training.networks.outputs import AbOutput, LabOutput, Output, RgbOutput
from photochrom.training.tensors import (
    denormalize_lab,
    lab_to_rgb,
    rgb_to_lab,
    to_L_ab,
)


class _Copies(TorchDispatchMode):
    """Counts the copies of tensors from the CPU to another device."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        target = (kwargs or {}).get("device")
        if func is torch.ops.aten._to_copy.default and target not in (None, args[0].device):
            self.count += 1
        return func(*args, **(kwargs or {}))


def test_constants_are_copied_to_a_device_once() -> None:
    """A copy to a GPU waits for all that the GPU has to do."""
    photos = torch.zeros(2, 16, 16, 3, dtype=torch.uint8, device="meta")
    counts = []
    for _ in range(2):
        with _Copies() as copies:
            _, ab = to_L_ab(photos)
            soft_encode(ab)
        counts.append(copies.count)
    assert counts[1] == 0


OUTPUTS: dict[str, Output] = {"ab": AbOutput(), "lab": LabOutput(), "rgb": RgbOutput()}


def cube() -> FloatArray:
    """Return the RGB cube, with every third level from 0 to 255."""
    levels = np.arange(0, 256, 3, dtype=np.float32) / 255
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)


def dark() -> FloatArray:
    """Return all colours below 24/255, where sRGB and CIELAB are linear."""
    levels = np.arange(24, dtype=np.float32) / 255
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)


def random_colors() -> FloatArray:
    return np.random.default_rng(0).random((100_000, 3), dtype=np.float32)


def greys() -> FloatArray:
    return np.repeat(np.arange(256, dtype=np.float32)[:, None] / 255, 3, axis=1)


COLORS = pytest.mark.parametrize("colors", [cube, dark, random_colors, greys])


def as_image(colors: FloatArray) -> Tensor:
    """Return (N, 3) colours as one image (1, 3, N, 1)."""
    return torch.from_numpy(colors.T.copy())[None, :, :, None]


def as_colors(image: Tensor) -> FloatArray:
    array: FloatArray = image[0, :, :, 0].numpy().T
    return array


@COLORS
def test_rgb_to_lab_equals_photochrom_color(colors: Callable[[], FloatArray]) -> None:
    rgb = colors()
    found = as_colors(rgb_to_lab(as_image(rgb)))
    assert np.abs(found - color.rgb_to_lab(rgb)).max() < 1e-3


@COLORS
def test_lab_to_rgb_equals_photochrom_color(colors: Callable[[], FloatArray]) -> None:
    rgb = colors()
    lab = color.rgb_to_lab(rgb)
    found = as_colors(lab_to_rgb(as_image(lab)))
    assert np.abs(found - rgb).max() < 1e-3
    assert np.abs(found - color.lab_to_rgb(lab)).max() < 1e-3


def test_lab_to_rgb_clips_out_of_gamut_colours() -> None:
    lab = torch.tensor(list(itertools.product([0, 50, 100], [-110, 110], [-110, 110])))
    rgb = lab_to_rgb(lab.float().T[None, :, :, None])
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    assert rgb.isfinite().all()


def test_networks_range_holds_every_srgb_colour() -> None:
    L, ab = to_L_ab(torch.from_numpy(np.rint(255 * cube()).astype(np.uint8))[None, None])
    assert L.shape[1] == 1
    assert ab.shape[1] == 2
    # White is L* = 100 up to rounding in float32.
    assert L.min() >= -1 - 1e-6
    assert L.max() <= 1 + 1e-5
    assert ab.abs().max() < 1


def test_denormalize_lab_scales() -> None:
    lab = denormalize_lab(torch.tensor([[[[0.5]]]]), torch.tensor([[[[0.5]], [[-1.0]]]]))
    assert lab.flatten().tolist() == [75.0, 55.0, -110.0]


def test_denormalize_lab_inverts_the_conversion_of_packed_photos() -> None:
    levels = np.rint(255 * random_colors()).astype(np.uint8)
    lab = rgb_to_lab(as_image(levels / np.float32(255)))
    L, ab = to_L_ab(torch.from_numpy(levels)[None, :, None])
    assert (denormalize_lab(L, ab) - lab).abs().max() < 1e-3


def test_packed_photos_of_known_colours() -> None:
    rgb = torch.zeros(2, 3, 4, 3, dtype=torch.uint8)
    rgb[0, 1, 2] = torch.tensor([255, 0, 0])
    L, ab = to_L_ab(rgb)
    assert L.shape == (2, 1, 3, 4)
    assert ab.shape == (2, 2, 3, 4)
    assert L.dtype == ab.dtype == torch.float32
    red = torch.tensor([53.24 / 50 - 1, 80.09 / 110, 67.2 / 110])  # CIELAB of sRGB's red
    assert torch.allclose(torch.cat([L, ab], dim=1)[0, :, 1, 2], red, atol=1e-3)
    assert L[1].flatten().tolist() == pytest.approx([-1.0] * 12, abs=1e-6)
    assert ab[1].abs().max() < 1e-6


@COLORS
def test_packed_photos_equal_photochrom_color(colors: Callable[[], FloatArray]) -> None:
    levels = np.rint(255 * colors()).astype(np.uint8)
    L, ab = to_L_ab(torch.from_numpy(levels)[None, None])
    found = as_colors(denormalize_lab(L, ab).transpose(2, 3))
    assert np.abs(found - color.rgb_to_lab(levels / np.float32(255))).max() < 1e-3


def test_lightness_of_grey() -> None:
    lightness = rgb_to_lab(torch.full((1, 3, 1, 1), 0.5))[0, 0].item()
    assert lightness == pytest.approx(53.39, abs=0.01)


def test_lab_to_rgb_is_differentiable() -> None:
    lab = torch.rand(1, 3, 8, 8) * torch.tensor([100.0, 40.0, 40.0]).reshape(1, 3, 1, 1)
    lab.requires_grad_()
    lab_to_rgb(lab).sum().backward()
    assert lab.grad is not None
    assert lab.grad.isfinite().all()
    assert lab.grad.any()


def test_outputs_invert_their_targets() -> None:
    rgb = torch.randint(0, 256, (2, 6, 5, 3), dtype=torch.uint8)
    L, ab = to_L_ab(rgb)
    lab = torch.cat([L, ab], dim=1)
    spread = rgb.permute(0, 3, 1, 2) / 127.5 - 1
    assert torch.equal(OUTPUTS["ab"].target(L, ab), ab)
    assert torch.equal(OUTPUTS["lab"].target(L, ab), lab)
    torch.testing.assert_close(OUTPUTS["rgb"].target(L, ab), spread, rtol=0, atol=1e-3)
    for output in OUTPUTS.values():
        target = output.target(L, ab)
        assert target.shape[1] == output.channels
        values = output.values(target, L)
        torch.testing.assert_close(output.ab(values), ab, rtol=0, atol=1e-3)
        torch.testing.assert_close(output.rgb(output.photo(values, L)), spread, rtol=0, atol=2e-3)


def test_photos_of_outputs_are_what_the_discriminator_sees() -> None:
    L, ab = torch.rand(2, 1, 3, 4), torch.rand(2, 2, 3, 4)
    assert torch.equal(OUTPUTS["ab"].photo(ab, L), torch.cat([L, ab], dim=1))
    other = torch.rand(2, 3, 3, 4)
    assert OUTPUTS["lab"].photo(other, L) is other  # with the predicted L
    assert OUTPUTS["rgb"].photo(other, L) is other


def test_rgb_out_of_range_is_clipped() -> None:
    prediction = torch.tensor([3.0, -3.0, -1.0]).view(1, 3, 1, 1)
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1)
    assert torch.equal(OUTPUTS["rgb"].ab(prediction), OUTPUTS["rgb"].ab(red))
