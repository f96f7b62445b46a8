"""fastai's DynamicUnet, the generator of Shariatnia's tutorial."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from photochrom.errors import RecipeError
from photochrom.training.networks.encoders import build_encoder
from photochrom.training.networks.padding import concatenate, pad_to_multiple


class PixelShuffleUpsample(nn.Sequential):
    """A 1x1 convolution, ReLU and pixel shuffling, from (B, C, H, W) to (B, after, 2H, 2W).

    At first the four pixels of a group are equal, as after upsampling by nearest neighbour, which
    avoids checkerboard artefacts.

    Reference:
        Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution" (ICNR).
    """

    def __init__(self, before: int, after: int) -> None:
        convolution = nn.Conv2d(before, 4 * after, 1)
        kernel = nn.init.kaiming_normal_(torch.empty(after, before, 1, 1))
        convolution.weight = nn.Parameter(kernel.repeat_interleave(4, dim=0))
        _zero_bias(convolution)
        super().__init__(convolution, nn.ReLU(), nn.PixelShuffle(2))


class DecoderBlock(nn.Module):
    """Upsample, concatenate with the normalized skip connection, and convolve twice."""

    def __init__(self, before: int, skip: int, after: int) -> None:
        super().__init__()
        self.upsample = PixelShuffleUpsample(before, before // 2)
        self.norm = _batch_norm(skip)
        width = before // 2 + skip
        self.layers = nn.Sequential(nn.ReLU(), *_convolutions(width, after, after))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return (B, after, 2H, 2W) of x (B, before, H, W) and skip (B, skip, 2H, 2W)."""
        y: Tensor = self.layers(concatenate(self.upsample(x), self.norm(skip)))
        return y


class DynamicUNet(nn.Module):
    """A U-Net with a ResNet as encoder, as fastai's `DynamicUnet` builds it by default.

    The encoder's first convolution has one input channel. The decoder upsamples by pixel shuffling,
    has batch normalization on the skip connections only, and no blur or self-attention. At the end,
    L itself is concatenated (`last_cross`) and a residual block without normalization follows. The
    output is linear. 31 099 672 parameters with the defaults.

    Args:
        out_channels: 2 for ab, 3 for Lab or RGB, 313 for classes.
        encoder: A ResNet of segmentation-models-pytorch.
        encoder_weights: As for `photochrom.training.networks.encoders.build_encoder`. The input
            channels of pretrained weights are summed up.

    Raises:
        RecipeError: If there is no such encoder or no weights for it, or it is no ResNet.

    Reference:
        `DynamicUnet(create_body(resnet18, n_in=1, cut=-2), 2, (256, 256))` of fastai 2.4, in
        Shariatnia's tutorial.
    """

    def __init__(
        self,
        out_channels: int = 2,
        *,
        encoder: str = "resnet18",
        encoder_weights: str = "none",
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, encoder_weights)
        _take_one_channel(self.encoder, encoder, pretrained=encoder_weights != "none")
        self.multiple: int = self.encoder.output_stride
        *skips, width = self.encoder.out_channels[1:]
        self.bottleneck = nn.Sequential(
            _batch_norm(width), nn.ReLU(), *_convolutions(width, 2 * width, width)
        )
        self.decoder = nn.ModuleList()
        for i, skip in enumerate(reversed(skips), 1):
            joined = width // 2 + skip
            after = joined // 2 if i == len(skips) else joined
            self.decoder.append(DecoderBlock(width, skip, after))
            width = after
        self.upsample = PixelShuffleUpsample(width, width)
        self.residual = nn.Sequential(*_convolutions(width + 1, width + 1, width + 1)[:-1])
        self.head = nn.Conv2d(width + 1, out_channels, 1)
        assert self.head.bias is not None
        nn.init.normal_(self.head.bias, std=0.01)

    def forward(self, L: Tensor) -> Tensor:
        """Predict ab (B, out_channels, H, W), nominally in [-1, 1], from L (B, 1, H, W)."""
        height, width = L.shape[2:]
        L = pad_to_multiple(L, self.multiple)
        _, *skips, x = self.encoder(L)
        x = self.bottleneck(x)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        x = torch.cat([self.upsample(x), L], dim=1)
        ab: Tensor = self.head((x + self.residual(x)).relu())
        return ab[..., :height, :width]


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    nn.init.constant_(norm.bias, 1e-3)
    return norm


def _convolutions(*channels: int) -> list[nn.Module]:
    """Return 3x3 convolutions, each followed by ReLU, with fastai's initial weights."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        convolution = nn.Conv2d(before, after, 3, padding=1)
        nn.init.kaiming_normal_(convolution.weight)
        _zero_bias(convolution)
        layers += [convolution, nn.ReLU()]
    return layers


def _zero_bias(convolution: nn.Conv2d) -> None:
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)


def _take_one_channel(encoder: nn.Module, name: str, *, pretrained: bool) -> None:
    """Give an encoder's first convolution a single input channel."""
    first = getattr(encoder, "conv1", None)
    if not isinstance(first, nn.Conv2d):
        raise RecipeError(f"DynamicUnet takes no encoder {name!r}; give a ResNet, such as resnet18")
    first.in_channels = 1
    first.weight = nn.Parameter(first.weight.detach().sum(dim=1, keepdim=True))
    if not pretrained:
        first.reset_parameters()
