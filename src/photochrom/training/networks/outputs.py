"""What a generator predicts, and how it becomes a photo.

Every entry of `photochrom.training.recipes.kinds.OUTPUTS` follows `Output`.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from photochrom.color import AB_SCALE
from photochrom.training.networks.color_classes import BINS, annealed_mean
from photochrom.training.recipes.registry import Positive
from photochrom.training.tensors import denormalize_lab, lab_to_rgb, rgb_to_lab


class Output(Protocol):
    """The meaning of a generator's output channels."""

    channels: int
    """Number of channels of the prediction, which is the generator's output."""

    def target(self, L: Tensor, ab: Tensor) -> Tensor:
        """Return the true values of a photo, (B, C, H, W) in [-1, 1], for the term `l1`."""

    def values(self, prediction: Tensor, L: Tensor) -> Tensor:
        """Convert a prediction to values, in the shape of the target."""

    def photo(self, values: Tensor, L: Tensor) -> Tensor:
        """Convert values to the discriminator's input: Lab or RGB, (B, 3, H, W) in [-1, 1]."""

    def rgb(self, photo: Tensor) -> Tensor:
        """Convert the result of `photo` to sRGB, (B, 3, H, W) in [-1, 1]."""

    def ab(self, values: Tensor) -> Tensor:
        """Convert values to ab, (B, 2, H, W), nominally in [-1, 1]."""


class AbOutput:
    """Regression of ab; the photo keeps its L. The discriminator sees Lab."""

    channels = 2

    def target(self, L: Tensor, ab: Tensor) -> Tensor:
        """Return ab."""
        return ab

    def values(self, prediction: Tensor, L: Tensor) -> Tensor:
        """Return the prediction."""
        return prediction

    def photo(self, values: Tensor, L: Tensor) -> Tensor:
        """Return Lab."""
        return torch.cat([L, values], dim=1)

    def rgb(self, photo: Tensor) -> Tensor:
        """Convert Lab to sRGB."""
        return 2.0 * lab_to_rgb(denormalize_lab(photo[:, :1], photo[:, 1:])) - 1.0

    def ab(self, values: Tensor) -> Tensor:
        """Return ab."""
        return values


class LabOutput(AbOutput):
    """Regression of Lab. The discriminator sees it; the result keeps the photo's own L."""

    channels = 3

    def target(self, L: Tensor, ab: Tensor) -> Tensor:
        """Return Lab."""
        return torch.cat([L, ab], dim=1)

    def photo(self, values: Tensor, L: Tensor) -> Tensor:
        """Return Lab."""
        return values

    def ab(self, values: Tensor) -> Tensor:
        """Return ab."""
        return values[:, 1:]


class RgbOutput:
    """Regression of sRGB. The discriminator sees it; the result keeps the photo's own L."""

    channels = 3

    def target(self, L: Tensor, ab: Tensor) -> Tensor:
        """Return sRGB."""
        return 2.0 * lab_to_rgb(denormalize_lab(L, ab)) - 1.0

    def values(self, prediction: Tensor, L: Tensor) -> Tensor:
        """Return the prediction."""
        return prediction

    def photo(self, values: Tensor, L: Tensor) -> Tensor:
        """Return sRGB."""
        return values

    def rgb(self, photo: Tensor) -> Tensor:
        """Return sRGB."""
        return photo

    def ab(self, values: Tensor) -> Tensor:
        """Convert sRGB, clipped to [-1, 1], to ab."""
        return rgb_to_lab((values.clamp(-1.0, 1.0) + 1.0) / 2.0)[:, 1:] / AB_SCALE


class ClassesOutput(AbOutput):
    """Classification of ab into 313 bins; the values are the annealed mean of the logits.

    The logits may be smaller than the photo; ab is enlarged bilinearly.

    Args:
        temperature: T of the annealed mean. 1 gives the mean; the limit at 0 is the mode.

    Reference:
        Zhang, Isola and Efros 2016, "Colorful Image Colorization", sections 2.1 and 2.3.
    """

    channels = BINS

    def __init__(self, *, temperature: Positive = 0.38) -> None:
        self.temperature = temperature

    def values(self, prediction: Tensor, L: Tensor) -> Tensor:
        """Return ab (B, 2, H, W) of logits (B, 313, h, w)."""
        ab = annealed_mean(prediction, self.temperature)
        if ab.shape[2:] != L.shape[2:]:
            ab = F.interpolate(ab, size=L.shape[2:], mode="bilinear")
        return ab
