"""The generator of Nazeri et al. 2018."""

from itertools import pairwise
from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor, nn

from photochrom.training.networks.padding import concatenate, pad_to_multiple
from photochrom.training.recipes.registry import Count, Positive
from photochrom.training.tensors import L_to_grey


class NazeriUNet(nn.Module):
    """The U-Net of Nazeri et al. 2018, which predicts Lab.

    4x4 convolutions with bias and TensorFlow's "same" padding: one of stride 1, then `depth` of
    stride 2, each followed by batch normalization and activation; transposed convolutions, skip
    connections taken after the activation, a 1x1 convolution and tanh output.

    Args:
        out_channels: 3 as published; 2 for ab.
        base_channels: Channels of the first two convolutions, doubled per stage up to eight times.
        depth: Number of stages, 1 to 10; 7 is the Places365 network.
        published_code: True follows the code: batch normalization after the first convolution too,
            batch statistics also at inference, grey values in 0..255 as input (the code feeds the
            luma of the colour photo; we only have L, and feed the neutral grey of the same L*);
            42 023 811 parameters. False follows the paper: no batch normalization after the first
            convolution, running statistics at inference, L as input.
        norm_eps: Epsilon of batch normalization; TensorFlow's default.

    Reference:
        arXiv 1803.05400, section 3; ImagingLab/Colorizing-with-GANs at 13bb4c4.
    """

    def __init__(
        self,
        out_channels: int = 3,
        *,
        base_channels: Count = 64,
        depth: Annotated[int, Ge(1), Le(10)] = 7,
        published_code: bool = True,
        norm_eps: Positive = 1e-3,
    ) -> None:
        super().__init__()
        # Batch statistics need more than one value per channel, even for one photo: the bottleneck
        # gets at least 2x2 px, as in the published network at 256 px.
        self.multiple = 2 ** (depth + 1) if published_code else 2**depth
        self.published_code = published_code

        def norm(channels: int) -> nn.Module:
            return nn.BatchNorm2d(channels, norm_eps, track_running_stats=not published_code)

        widths = [base_channels] + [base_channels * min(2**i, 8) for i in range(depth)]
        self.first = nn.Sequential(
            nn.ZeroPad2d((1, 2, 1, 2)),  # "same" for an even kernel of stride 1
            nn.Conv2d(1, base_channels, 4),
            norm(base_channels) if published_code else nn.Identity(),
            nn.LeakyReLU(0.2),
        )
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 4, 2, 1), norm(after), nn.LeakyReLU(0.2))
            for before, after in pairwise(widths)
        )
        self.up = nn.ModuleList()
        channels = widths[-1]
        for skip in reversed(widths[:-1]):
            self.up.append(
                nn.Sequential(nn.ConvTranspose2d(channels, skip, 4, 2, 1), norm(skip), nn.ReLU())
            )
            channels = 2 * skip
        self.head = nn.Sequential(nn.Conv2d(channels, out_channels, 1), nn.Tanh())

    def forward(self, L: Tensor) -> Tensor:
        """Predict Lab (B, out_channels, H, W) in [-1, 1] from L (B, 1, H, W) in [-1, 1]."""
        height, width = L.shape[2:]
        x = pad_to_multiple(L, self.multiple)
        x = self.first(L_to_grey(x) * 255.0 if self.published_code else x)
        skips = [x]
        for down in self.down:
            x = down(x)
            skips.append(x)
        for skip, up in zip(reversed(skips[:-1]), self.up, strict=True):
            x = concatenate(skip, up(x))
        lab: Tensor = self.head(x)
        return lab[..., :height, :width]
