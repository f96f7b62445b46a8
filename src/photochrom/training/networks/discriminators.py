"""Discriminators tell real from generated colour photos.

The contract is in `photochrom.training.networks`.

All are conditional, as in equation (8) of the report: those of the report by the L channel of Lab,
Nazeri's by a separate L, as their generator also predicts L.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from photochrom.training.networks.features import FeatureNetworks, stage_channels
from photochrom.training.networks.padding import pad_to_multiple
from photochrom.training.recipes.registry import Count, Positive
from photochrom.training.tensors import L_to_grey


class PatchDiscriminator(nn.Module):
    """The PatchGAN of pix2pix: one logit per patch of 70x70 px, 30x30 logits at 256 px.

    4x4 convolutions, `depth` of stride 2 and two of stride 1; batch normalization except after the
    first and the last; LeakyReLU 0.2. 2 765 633 parameters with the defaults.

    Args:
        base_channels: Channels of the first convolution, doubled per layer up to eight times.
        depth: Number of stride-2 convolutions; 2, 3, 4 give receptive fields of 34, 70, 142 px.

    Reference:
        Isola et al. 2017, section 6.1.2; `NLayerDiscriminator` of pytorch-CycleGAN-and-pix2pix;
        Shariatnia's `PatchDiscriminator`.
    """

    def __init__(self, *, base_channels: Count = 64, depth: Count = 3) -> None:
        super().__init__()
        widths = [base_channels * min(2**i, 8) for i in range(depth + 1)]
        strides = [2] * (depth - 1) + [1]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for (before, after), stride in zip(pairwise(widths), strides, strict=True):
            convolution = nn.Conv2d(before, after, 4, stride, 1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, L: Tensor, photo: Tensor) -> Tensor:
        """Return logits (B, 1, h, w)."""
        logits: Tensor = self.layers(photo)
        return logits


class NazeriPatchDiscriminator(nn.Module):
    """The discriminator of Nazeri et al.'s code: 32x32 logits at 256 px, receptive field 70 px.

    4x4 convolutions with bias and TensorFlow's "same" padding; batch normalization, always with
    batch statistics, except after the first and the last; the input is the grey value in 0..255
    and Lab, four channels. 2 767 553 parameters with the defaults.

    Reference:
        ImagingLab/Colorizing-with-GANs at 13bb4c4, `Discriminator`.
    """

    def __init__(self, *, base_channels: Count = 64, norm_eps: Positive = 1e-3) -> None:
        super().__init__()
        widths = [base_channels * factor for factor in (1, 2, 4, 8)]
        layers: list[nn.Module] = [nn.Conv2d(4, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            if after < widths[-1]:
                layers.append(nn.Conv2d(before, after, 4, 2, 1))
            else:
                layers += [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(before, after, 4)]
            norm = nn.BatchNorm2d(after, norm_eps, track_running_stats=False)
            layers += [norm, nn.LeakyReLU(0.2)]
        layers += [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(widths[-1], 1, 4)]
        self.layers = nn.Sequential(*layers)

    def forward(self, L: Tensor, photo: Tensor) -> Tensor:
        """Return logits (B, 1, h, w)."""
        grey = L_to_grey(L) * 255.0
        logits: Tensor = self.layers(torch.cat([grey, photo], dim=1))
        return logits


class NazeriScalarDiscriminator(nn.Module):
    """The discriminator of Nazeri et al.'s paper: the U-Net's contracting path and one logit.

    The paper states kernels, strides, normalization and activations. The number of layers is our
    choice: 256 px become 4x4, which the last convolution reduces to one logit. Other sizes are
    padded by reflection to a multiple of 64 px and pooled to 4x4 features.

    Reference:
        arXiv 1803.05400, section 3.2. The sigmoid is part of the loss.
    """

    def __init__(self, *, base_channels: Count = 64, norm_eps: Positive = 1e-3) -> None:
        super().__init__()
        widths = [base_channels * factor for factor in (1, 2, 4, 8, 8, 8)]
        self.multiple = 2 ** len(widths)
        layers: list[nn.Module] = [nn.Conv2d(4, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            convolution = nn.Conv2d(before, after, 4, 2, 1)
            layers += [convolution, nn.BatchNorm2d(after, norm_eps), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Conv2d(widths[-1], 1, 4)

    def forward(self, L: Tensor, photo: Tensor) -> Tensor:
        """Return logits (B, 1)."""
        x = self.layers(pad_to_multiple(torch.cat([L, photo], dim=1), self.multiple))
        logits: Tensor = self.head(self.pool(x)).flatten(1)
        return logits


class ClassifierDiscriminator(nn.Module):
    """The report's custom discriminator: convolutions, batch normalization, max pooling, dropout.

    The report names the layers; channels, order and dropout rate are our choice. The linear layer
    takes the 8x8 features of 256 px; those of other sizes are pooled to 8x8.
    """

    def __init__(self, *, base_channels: Count = 32) -> None:
        super().__init__()
        widths = [3, *(base_channels * factor for factor in (1, 2, 4, 8, 8))]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.LeakyReLU(0.2), nn.MaxPool2d(2)]
            if i in (1, 3):
                layers.append(nn.Dropout(0.25))
        self.layers = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(8)
        self.head = nn.Linear(widths[-1] * 8 * 8, 1)

    def forward(self, L: Tensor, photo: Tensor) -> Tensor:
        """Return logits (B, 1)."""
        logits: Tensor = self.head(self.pool(self.layers(photo)).flatten(1))
        return logits


class ProjectedDiscriminator(nn.Module):
    """A projected discriminator: small heads on features of frozen image classifiers.

    Classifiers recognize objects, which a network trained on this project's photos only would have
    to learn first. Each scale of each classifier has its own head: two 3x3 convolutions and a 1x1
    convolution with spectral normalization, LeakyReLU 0.2. Each step uses one classifier. Unlike in
    the paper, there is no random cross-channel or cross-scale mixing.

    Args:
        networks: The classifiers, feature networks of `photochrom.training.networks.features`.
        base_channels: Channels of the heads.

    Raises:
        RecipeError: If there is no such classifier.

    Reference:
        Sauer et al. 2021, "Projected GANs Converge Faster", section 3; Miyato et al. 2018,
        "Spectral Normalization for Generative Adversarial Networks".
    """

    def __init__(
        self,
        *,
        networks: FeatureNetworks = ("tu-efficientnet_lite0",),
        base_channels: Count = 64,
    ) -> None:
        super().__init__()
        self.networks = networks
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
            for scales in map(stage_channels, networks)
        )
        self.find_unused_parameters = len(networks) > 1
        """For DDP: a step with one of several classifiers leaves parameters without gradients."""

    def forward(self, L: Tensor, features: Sequence[Tensor], index: int = 0) -> Tensor:
        """Return logits (B, S, h, w), one channel per scale, at the size of the finest scale.

        Args:
            L: Unused.
            features: (B, C, h, w) for each of the S scales, from fine to coarse.
            index: Index of the classifier.
        """
        heads = cast(nn.ModuleList, self.heads[index])
        logits = [head(x.float()) for head, x in zip(heads, features, strict=True)]
        size = logits[0].shape[2:]  # all scales at the finest size, so that they weigh the same
        return torch.cat([F.interpolate(x, size=size) for x in logits], dim=1)
