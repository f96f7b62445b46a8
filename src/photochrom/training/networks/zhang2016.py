"""The network of Zhang, Isola and Efros 2016, which predicts classes of ab."""

from torch import Tensor, nn

from photochrom.training.networks.color_classes import BINS
from photochrom.training.networks.padding import pad_to_multiple


class Zhang2016(nn.Module):
    """A VGG-style network of eight blocks, whose output has a quarter of the photo's size.

    3x3 convolutions with bias, each followed by ReLU; the last one of blocks 1 to 3 has stride 2,
    blocks 5 and 6 have dilation 2; batch normalization at the end of blocks 1 to 7. Block 8 doubles
    the size by a 4x4 transposed convolution. A 1x1 convolution gives the logits. 32 235 385
    parameters with 313 classes.

    The logits are compared by `photochrom.training.networks.color_classes.class_loss`, and decoded
    by `photochrom.training.networks.outputs.ClassesOutput`.

    Args:
        out_channels: 313 for classes of ab.

    Reference:
        arXiv 1603.08511, figure 2 and the table of layers in the appendix; `eccv16` of
        richzhang/colorization, whose weights `state_dict` takes in the same order.
    """

    stride = 4
    """Size of the photo over the size of the output."""

    def __init__(self, out_channels: int = BINS) -> None:
        super().__init__()
        upsample = nn.ConvTranspose2d(512, 256, 4, 2, 1)
        self.layers = nn.Sequential(
            *_block(1, (64, 64), stride=2),
            *_block(64, (128, 128), stride=2),
            *_block(128, (256, 256, 256), stride=2),
            *_block(256, (512, 512, 512)),
            *_block(512, (512, 512, 512), dilation=2),
            *_block(512, (512, 512, 512), dilation=2),
            *_block(512, (512, 512, 512)),
            *(upsample, nn.ReLU()),
            *_block(256, (256, 256))[:-1],
            nn.Conv2d(256, out_channels, 1),
        )

    def forward(self, L: Tensor) -> Tensor:
        """Return logits (B, out_channels, ceil(H/4), ceil(W/4)) of L (B, 1, H, W) in [-1, 1]."""
        height, width = ((size + 3) // 4 for size in L.shape[2:])
        x = pad_to_multiple(L, 8) / 2  # (L* - 50) / 100, as in the authors' PyTorch code
        logits: Tensor = self.layers(x)
        return logits[..., :height, :width]


def _block(
    before: int, channels: tuple[int, ...], stride: int = 1, dilation: int = 1
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i, after in enumerate(channels, 1):
        step = stride if i == len(channels) else 1
        convolution = nn.Conv2d(before, after, 3, step, padding=dilation, dilation=dilation)
        layers += [convolution, nn.ReLU()]
        before = after
    return [*layers, nn.BatchNorm2d(before)]
