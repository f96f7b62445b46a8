"""The U-Net of pix2pix."""

from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor, nn

from photochrom.training.networks.padding import concatenate, pad_to_multiple
from photochrom.training.recipes.registry import Count


class UNet(nn.Module):
    """The U-Net of pix2pix.

    4x4 convolutions of stride 2, transposed convolutions, a skip connection at every size, dropout
    in the deepest decoder stages but the innermost, tanh output. 54 409 858 parameters with
    the defaults.

    Args:
        out_channels: Channels of the output.
        base_channels: Channels of the first convolution, doubled per stage up to eight times.
        depth: Number of stages, 3 to 10; the input is padded to a multiple of 2^depth px.
        dropout_stages: Number of decoder stages with dropout, the deepest but the innermost; None:
            depth - 5, which is 3 in `unet_256` and 2 in `unet_128`.

    Reference:
        Isola et al. 2017, section 6.1.1; `unet_256` of pytorch-CycleGAN-and-pix2pix; Shariatnia's
        tutorial, `Unet(input_c=1, output_c=2, n_down=8)`.
    """

    def __init__(
        self,
        out_channels: int = 2,
        *,
        base_channels: Count = 64,
        depth: Annotated[int, Ge(3), Le(10)] = 8,
        dropout_stages: Annotated[int, Ge(0)] | None = None,
    ) -> None:
        super().__init__()
        if dropout_stages is None:
            dropout_stages = max(0, depth - 5)
        self.multiple = 2**depth
        widths = [base_channels * min(2**i, 8) for i in range(depth)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for i, width in enumerate(widths):
            outermost, innermost = i == 0, i == depth - 1
            down: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2)]
            down.append(nn.Conv2d(1 if outermost else widths[i - 1], width, 4, 2, 1, bias=False))
            if not (outermost or innermost):
                down.append(nn.BatchNorm2d(width))
            self.down.append(nn.Sequential(*down))

            up_in = width if innermost else 2 * width
            up_out = out_channels if outermost else widths[i - 1]
            up: list[nn.Module] = [
                nn.ReLU(),
                nn.ConvTranspose2d(up_in, up_out, 4, 2, 1, bias=outermost),
            ]
            up.append(nn.Tanh() if outermost else nn.BatchNorm2d(up_out))
            if depth - 1 - dropout_stages <= i < depth - 1 and not outermost:
                up.append(nn.Dropout(0.5))
            self.up.append(nn.Sequential(*up))

    def forward(self, L: Tensor) -> Tensor:
        """Predict ab (B, out_channels, H, W) in [-1, 1] from L (B, 1, H, W) in [-1, 1]."""
        height, width = L.shape[2:]
        x = pad_to_multiple(L, self.multiple)
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.up[-1](skips[-1])
        for skip, up in zip(reversed(skips[:-1]), reversed(self.up[:-1]), strict=True):
            x = up(concatenate(skip, x))
        ab: Tensor = x[..., :height, :width]
        return ab
