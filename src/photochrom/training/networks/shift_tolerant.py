"""AlexNet and VGG16 with antialiased downsampling, with ImageNet weights of stlpips-pytorch.

Max pooling has stride 1 and is followed by blur pooling of stride 2, so that a shift by one pixel
hardly changes the features.

Reference:
    Ghildyal and Liu 2022, "Shift-tolerant Perceptual Similarity Metric";
    Zhang 2019, "Making Convolutional Networks Shift-Invariant Again".
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Architecture = Literal["alexnet", "vgg16"]

# of ImageNet, for sRGB in [-1, 1]
_MEAN, _STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class BlurPool(nn.Module):
    """A binomial 3x3 blur of stride 2 with 2 px of reflection padding on each side."""

    def __init__(self) -> None:
        super().__init__()
        kernel = torch.tensor([1.0, 2.0, 1.0]) / 4.0
        self.kernel: Tensor
        self.register_buffer("kernel", torch.outer(kernel, kernel)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, floor((H + 3) / 2), floor((W + 3) / 2)) for x (B, C, H, W)."""
        channels = x.shape[1]
        kernel = self.kernel.expand(channels, -1, -1, -1)
        return F.conv2d(F.pad(x, (2, 2, 2, 2), "reflect"), kernel, stride=2, groups=channels)


class ShiftTolerantNetwork(nn.Module):
    """The convolutional part of AlexNet or VGG16, with blur pooling.

    Features of AlexNet: after the second, third and fifth ReLU, strides 4, 8, 8. Features of VGG16:
    before the third, fourth and fifth pooling, strides 4, 8, 16. Strides are nominal: each blur
    pooling adds a border of about one pixel. `all_features` gives those of LPIPS: after every ReLU
    of AlexNet, or at the end of every block of VGG16.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.std: Tensor
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        self.stages = nn.ModuleList(_alexnet() if architecture == "alexnet" else _vgg16())
        self.selected = (1, 2, 4) if architecture == "alexnet" else (2, 3, 4)

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """Return features (B, C, h, w), from fine to coarse, of sRGB (B, 3, H, W) in [-1, 1]."""
        features = self.all_features(rgb)
        return [features[i] for i in self.selected]

    def all_features(self, rgb: Tensor) -> list[Tensor]:
        """Return the features of all five stages."""
        x = (rgb - self.mean) / self.std
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features

    def load_packaged(self, state: dict[str, Tensor]) -> None:
        """Load a state dict of stlpips-pytorch by order.

        Raises:
            ValueError: If the shapes do not fit.
        """
        tensors = [v for k, v in state.items() if k.startswith("net.") and not k.endswith("filt")]
        expected = self.state_dict()
        if [v.shape for v in tensors[: len(expected)]] != [v.shape for v in expected.values()]:
            raise ValueError("its tensors have other shapes")
        self.load_state_dict(dict(zip(expected, tensors, strict=False)))


FEATURE_CHANNELS: dict[Architecture, list[int]] = {
    "alexnet": [192, 384, 256],
    "vgg16": [256, 512, 512],
}
"""Channels of the features, from fine to coarse."""


def _conv_relu(before: int, after: int, kernel: int, padding: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, kernel, padding=padding), nn.ReLU()]


def _pool(kernel: int) -> list[nn.Module]:
    return [nn.MaxPool2d(kernel, stride=1), BlurPool()]


def _alexnet() -> list[nn.Sequential]:
    return [
        nn.Sequential(nn.Conv2d(3, 64, 11, padding=2), BlurPool(), nn.ReLU()),
        nn.Sequential(*_pool(3), *_conv_relu(64, 192, 5, 2)),
        nn.Sequential(*_pool(3), *_conv_relu(192, 384, 3, 1)),
        nn.Sequential(*_conv_relu(384, 256, 3, 1)),
        nn.Sequential(*_conv_relu(256, 256, 3, 1)),
    ]


def _vgg16() -> list[nn.Sequential]:
    blocks: list[nn.Sequential] = []
    before = 3
    for count, after in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        layers = _pool(2) if blocks else []
        for _ in range(count):
            layers += _conv_relu(before, after, 3, 1)
            before = after
        blocks.append(nn.Sequential(*layers))
    return blocks
