"""Discriminators: is this colour photo real?

The contract, tested for every entry of `DISCRIMINATORS`: a discriminator maps `L` (B, 1, H, W), the
photo that the generator was given, and `Lab` (B, 3, H, W), real or generated, or RGB where the
generator makes that, both in [-1, 1] (see `photochrom.training.tensors`), to logits of any spatial
shape: (B, 1, h, w) for one verdict a patch, (B, S, h, w) for one at each of S scales, (B, 1) for
one verdict a photo. H, W >= 32. So it is
conditioned on the input, as in equation (8) of the report: those of the report by the L in Lab,
which is the photo's where the generator makes ab; Nazeri's by the photo beside Lab, as their
generator makes L as well. One whose `uses_features` is true takes the photo's features, as of
`photochrom.training.networks.encoders.FeatureNetworks`, and the place of the network that gave
them, instead of Lab.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from photochrom.errors import RecipeError
from photochrom.training.networks.encoders import stage_channels
from photochrom.training.networks.generators import pad_to_multiple
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.tensors import L_to_grey


class PatchDiscriminator(nn.Module):
    """The PatchGAN of pix2pix: one logit for each patch of 70x70 px, 30x30 of them at 256 px.

    4x4 convolutions, `depth` of stride 2 and two of stride 1; batch norm on all but the first and
    the last; LeakyReLU 0.2. With the defaults it has 2 765 633 parameters.

    Args:
        base_channels: Channels after the first convolution; at most eight times as many deeper.
        depth: Convolutions of stride 2; with 2, 3, 4 of them a patch is 34, 70, 142 px.

    Reference:
        Isola et al. 2017, `NLayerDiscriminator`; the tutorial's `PatchDiscriminator`.
    """

    def __init__(self, base_channels: int = 64, depth: int = 3) -> None:
        super().__init__()
        widths = [base_channels * min(2**i, 8) for i in range(depth + 1)]
        strides = [2] * (depth - 1) + [1]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for (before, after), stride in zip(pairwise(widths), strides, strict=True):
            layers += [
                nn.Conv2d(before, after, 4, stride, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, L: Tensor, lab: Tensor) -> Tensor:
        """Return logits (B, 1, h, w) for L (B, 1, H, W) and Lab (B, 3, H, W) in [-1, 1]."""
        logits: Tensor = self.layers(lab)
        return logits


class NazeriPatchDiscriminator(nn.Module):
    """The discriminator of Nazeri et al.'s code: 32x32 logits at 256 px, receptive field 70.

    4x4 convolutions with bias and TensorFlow's "same" padding; batch norm, always with the
    statistics of the batch, on all but the first and the last; the input is the grey value in
    0..255 beside Lab, four channels. With the defaults it has 2 767 553 parameters.

    Reference:
        ImagingLab/Colorizing-with-GANs at 13bb4c4, `Discriminator`.
    """

    def __init__(self, base_channels: int = 64) -> None:
        super().__init__()
        widths = [base_channels * factor for factor in (1, 2, 4, 8)]
        layers: list[nn.Module] = [nn.Conv2d(4, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths[:3]):
            layers += [
                nn.Conv2d(before, after, 4, 2, 1),
                nn.BatchNorm2d(after, track_running_stats=False),
                nn.LeakyReLU(0.2),
            ]
        layers += [
            nn.ZeroPad2d((1, 2, 1, 2)),
            nn.Conv2d(widths[2], widths[3], 4),
            nn.BatchNorm2d(widths[3], track_running_stats=False),
            nn.LeakyReLU(0.2),
            nn.ZeroPad2d((1, 2, 1, 2)),
            nn.Conv2d(widths[3], 1, 4),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, L: Tensor, lab: Tensor) -> Tensor:
        """Return logits (B, 1, h, w) for L (B, 1, H, W) and Lab (B, 3, H, W) in [-1, 1]."""
        grey = L_to_grey(L) * 255.0
        logits: Tensor = self.layers(torch.cat([grey, lab], dim=1))
        return logits


class NazeriScalarDiscriminator(nn.Module):
    """The discriminator of Nazeri et al.'s paper: the contracting path, ending in one logit.

    The paper gives kernels, strides, norms and activations; the number of layers is filled in so
    that 256 px end in 4x4, which the last convolution takes whole. Photos of other sizes are padded
    by reflection to a multiple of 64 px, and their features brought to 4x4 by average pooling.

    Reference:
        arXiv 1803.05400, section 3.2. The sigmoid is part of the loss.
    """

    def __init__(self, base_channels: int = 64) -> None:
        super().__init__()
        widths = [base_channels * factor for factor in (1, 2, 4, 8, 8, 8)]
        self.multiple = 2 ** len(widths)
        layers: list[nn.Module] = [nn.Conv2d(4, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 4, 2, 1),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Conv2d(widths[-1], 1, 4)

    def forward(self, L: Tensor, lab: Tensor) -> Tensor:
        """Return logits (B, 1) for L (B, 1, H, W) and Lab (B, 3, H, W) in [-1, 1]."""
        x = self.layers(pad_to_multiple(torch.cat([L, lab], dim=1), self.multiple))
        logits: Tensor = self.head(self.pool(x)).flatten(1)
        return logits


class ClassifierDiscriminator(nn.Module):
    """The report's custom discriminator: convolution, batch norm, max-pooling; dropout; linear.

    The report names the layers; widths, order and dropout rate are filled in. At 256 px the linear
    layer takes 8x8 features; other sizes are brought there by average pooling.
    """

    def __init__(self, base_channels: int = 32) -> None:
        super().__init__()
        widths = [base_channels * factor for factor in (1, 2, 4, 8, 8)]
        layers: list[nn.Module] = []
        channels = 3
        for i, width in enumerate(widths):
            layers += [
                nn.Conv2d(channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.2),
                nn.MaxPool2d(2),
            ]
            if i in (1, 3):
                layers.append(nn.Dropout(0.25))
            channels = width
        self.layers = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(8)
        self.head = nn.Linear(channels * 8 * 8, 1)

    def forward(self, L: Tensor, lab: Tensor) -> Tensor:
        """Return logits (B, 1) for L (B, 1, H, W) and Lab (B, 3, H, W) in [-1, 1]."""
        logits: Tensor = self.head(self.pool(self.layers(lab)).flatten(1))
        return logits


class ProjectedDiscriminator(nn.Module):
    """A discriminator that judges a photo by the features of a frozen image classifier.

    What stands for an object in the features has the same colours all over or it does not look
    real; a network trained on nothing but this project's photos would have to learn objects first.
    Each scale of each classifier has a head of its own: two 3x3 convolutions with spectral norm,
    LeakyReLU 0.2 between and a 1x1 convolution. One classifier is used at a time. The fixed random
    mixing of the features in the paper is left out.

    Args:
        channels: For each classifier, those of the features of each scale, from fine to coarse.
        base_channels: Of the heads.

    Reference:
        Sauer, Chitta, Mueller and Geiger 2021, "Projected GANs Converge Faster", section 3; Miyato
        et al. 2018, spectral normalization.
    """

    uses_features = True

    def __init__(self, channels: Sequence[Sequence[int]], base_channels: int = 64) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(
                    spectral_norm(nn.Conv2d(width, base_channels, 3, padding=1)),
                    nn.LeakyReLU(0.2),
                    spectral_norm(nn.Conv2d(base_channels, base_channels, 3, padding=1)),
                    nn.LeakyReLU(0.2),
                    spectral_norm(nn.Conv2d(base_channels, 1, 1)),
                )
                for width in scales
            )
            for scales in channels
        )
        self.used_in_part = len(channels) > 1
        """Whether a step leaves parameters without gradients; DDP has to know."""

    def forward(self, L: Tensor, features: Sequence[Tensor], which: int = 0) -> Tensor:
        """Return logits (B, S, h, w), a channel for each scale, of the size of the finest.

        Args:
            L: Unused.
            features: (B, C, h, w) for each of the S scales, from fine to coarse.
            which: The classifier that they are of.
        """
        heads = cast(nn.ModuleList, self.heads[which])
        logits = [head(x.float()) for head, x in zip(heads, features, strict=True)]
        size = logits[0].shape[2:]  # repeated, the coarse verdicts weigh as much as the fine ones
        return torch.cat([F.interpolate(x, size=size) for x in logits], dim=1)


DISCRIMINATORS: dict[str, Callable[[Recipe], nn.Module]] = {
    "patch": lambda r: PatchDiscriminator(_channels(r), r.patch_depth),
    "nazeri_patch": lambda r: NazeriPatchDiscriminator(_channels(r)),
    "nazeri_scalar": lambda r: NazeriScalarDiscriminator(_channels(r)),
    "projected": lambda r: ProjectedDiscriminator(
        [stage_channels(name) for name in r.features], _channels(r)
    ),
    "classifier": lambda r: ClassifierDiscriminator(max(_channels(r) // 2, 1)),
}


def _channels(recipe: Recipe) -> int:
    return recipe.discriminator_channels or recipe.base_channels


def build_discriminator(recipe: Recipe) -> nn.Module | None:
    """Return the recipe's discriminator, freshly made, or None if it trains with L1 alone.

    Raises:
        RecipeError: If there is no discriminator of that name.
    """
    if recipe.discriminator is None:
        return None
    if recipe.discriminator not in DISCRIMINATORS:
        raise RecipeError(
            f"unknown discriminator {recipe.discriminator!r}; "
            f"choose from {', '.join(DISCRIMINATORS)}, or none"
        )
    return DISCRIMINATORS[recipe.discriminator](recipe)
