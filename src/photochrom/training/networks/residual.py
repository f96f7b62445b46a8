"""The report's custom generator."""

from itertools import cycle, islice
from typing import Annotated

from annotated_types import MinLen
from torch import Tensor, nn

from photochrom.training.recipes.registry import Count


class ResidualBlock(nn.Module):
    """x + BN(conv(ReLU(BN(conv(x))))), with dilated 3x3 convolutions.

    Reference:
        He et al. 2016, figure 2; here without the ReLU after the sum.
    """

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()

        def conv() -> nn.Module:
            return nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)

        self.layers = nn.Sequential(
            conv(),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            conv(),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`."""
        y: Tensor = x + self.layers(x)
        return y


class ResidualGenerator(nn.Module):
    """The report's custom generator: residual blocks at full resolution.

    The report states neither channels nor depth; these are our choice. The receptive field is
    5 px plus 4 px per block and unit of dilation: 37 px with 8 blocks, too small to recognize
    objects. Dilations enlarge it without more parameters.

    Args:
        out_channels: Channels of the output.
        channels: Channels of every layer but the last.
        blocks: Number of residual blocks.
        dilations: Dilation of each block, repeated if there are more blocks.
    """

    def __init__(
        self,
        out_channels: int = 2,
        *,
        channels: Count = 64,
        blocks: Count = 8,
        dilations: Annotated[tuple[Count, ...], MinLen(1)] = (1,),
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            *(ResidualBlock(channels, d) for d in islice(cycle(dilations), blocks)),
            nn.Conv2d(channels, out_channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, L: Tensor) -> Tensor:
        """Predict ab (B, out_channels, H, W) in [-1, 1] from L (B, 1, H, W) in [-1, 1]."""
        ab: Tensor = self.layers(L)
        return ab
