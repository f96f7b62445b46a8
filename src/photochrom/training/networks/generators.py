"""Generators predict the colours of a photo from its lightness.

Contract, tested for every entry of `GENERATORS`: a generator maps `L` (B, 1, H, W) in [-1, 1] to
its recipe's `output`, `ab` (B, 2, H, W), Lab or RGB (B, 3, H, W), in the same range (see
`photochrom.training.tensors`), for any H, W >= 16. It pads the input by reflection and crops the
output where its layers need a certain size. With `Recipe.hints` it takes hints (B, 3, H, W) as an
optional second argument (see `photochrom.training.data.hints`).

To add a generator, write the class and an entry in `GENERATORS`, at the end of this file.
"""

from collections.abc import Callable
from itertools import cycle, islice, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photochrom.errors import RecipeError
from photochrom.training.networks.encoders import (
    add_input_channels,
    build_encoder,
    pad_strided_convolutions,
)
from photochrom.training.recipes.recipe import Padding, Recipe
from photochrom.training.tensors import L_to_grey

MAX_DEPTH = 10
"""A U-Net pads photos to a multiple of 2^depth px, here 1024."""


def pad_to_multiple(x: Tensor, multiple: int, margin: int = 0) -> Tensor:
    """Pad images by reflection, by `margin` on each side, then on the right and bottom.

    Unlike `F.pad`, this reflects repeatedly, so that 16 px can become 256.

    Args:
        x: Shape (B, C, H, W), H and W at least 2.
        multiple: The new height and width are divisible by this.
        margin: Padding in px on each side.

    Returns:
        Shape (B, C, H', W'), with H' = ceil((H + 2 margin) / multiple) * multiple, W' likewise.
    """
    for dim in (2, 3):
        size = x.shape[dim]
        padded = (size + 2 * margin + multiple - 1) // multiple * multiple
        period = 2 * (size - 1)  # 0 1 2 ... size-1 ... 2 1, repeated
        position = torch.arange(-margin, padded - margin, device=x.device)
        # a tensor: the ONNX exporter does not support the remainder by a symbolic integer
        position = position % torch.full_like(position, period)
        x = x.index_select(dim, torch.minimum(position, period - position))
    return x


def concatenate_skip(skip: Tensor, x: Tensor) -> Tensor:
    """Concatenate a skip connection with decoder features, both (B, C, H, W).

    The gradient of `x` is copied to contiguous memory: on a CPU, the backward pass of batch
    normalization is several times slower on a slice.
    """
    if x.requires_grad:
        x.register_hook(_make_contiguous)  # type: ignore[no-untyped-call]
    return torch.cat([skip, x], dim=1)


def _make_contiguous(gradient: Tensor) -> Tensor:
    channels_last = gradient.stride(1) == 1
    return gradient.contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )


class UNet(nn.Module):
    """The U-Net of pix2pix.

    4x4 convolutions of stride 2, transposed convolutions, a skip connection at every size, dropout
    in the three deepest decoder stages but the innermost, tanh output. 54 409 858 parameters with
    the defaults.

    Args:
        base_channels: Channels of the first convolution, doubled per stage up to eight times.
        depth: Number of stages, 3 to 10; the input is padded to a multiple of 2^depth px.
        out_channels: 2 for ab, 3 for Lab or RGB.

    Raises:
        RecipeError: If `depth` is out of range.

    Reference:
        Isola et al. 2017, section 6.1.1; `unet_256` of pytorch-CycleGAN-and-pix2pix; Shariatnia's
        tutorial, `Unet(input_c=1, output_c=2, n_down=8)`.
    """

    def __init__(self, base_channels: int = 64, depth: int = 8, out_channels: int = 2) -> None:
        super().__init__()
        if not 3 <= depth <= MAX_DEPTH:
            raise RecipeError(f"depth is {depth}; give 3 to {MAX_DEPTH} for a U-Net")
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
            if max(1, depth - 4) <= i < depth - 1:
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
            x = up(concatenate_skip(skip, x))
        ab: Tensor = x[..., :height, :width]
        return ab


class NazeriUNet(nn.Module):
    """The U-Net of Nazeri et al. 2018, which predicts Lab.

    4x4 convolutions with bias and TensorFlow's "same" padding: one of stride 1, then `depth` of
    stride 2, each followed by batch normalization and activation; transposed convolutions, skip
    connections taken after the activation, a 1x1 convolution and tanh output.

    Args:
        base_channels: Channels of the first two convolutions, doubled per stage up to eight times.
        depth: Number of stages, 1 to 10; 7 is the Places365 network.
        out_channels: 3 as published; 2 for ab.
        published_code: True follows the code: batch normalization after the first convolution too,
            batch statistics also at inference, grey values in 0..255 as input (the code feeds the
            luma of the colour photo; we only have L, and feed the neutral grey of the same L*);
            42 023 811 parameters. False follows the paper: no batch normalization after the first
            convolution, running statistics at inference, L as input.

    Raises:
        RecipeError: If `depth` is out of range.

    Reference:
        arXiv 1803.05400, section 3; ImagingLab/Colorizing-with-GANs at 13bb4c4.
    """

    def __init__(
        self,
        base_channels: int = 64,
        depth: int = 7,
        out_channels: int = 3,
        *,
        published_code: bool = True,
    ) -> None:
        super().__init__()
        if depth > MAX_DEPTH:
            raise RecipeError(f"depth is {depth}; give up to {MAX_DEPTH} for a U-Net")
        # Batch statistics need more than one value per channel, even for one photo: the bottleneck
        # gets at least 2x2 px, as in the published network at 256 px.
        self.multiple = 2 ** (depth + 1) if published_code else 2**depth
        self.published_code = published_code

        def norm(channels: int) -> nn.Module:
            return nn.BatchNorm2d(channels, track_running_stats=not published_code)

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
            x = concatenate_skip(skip, up(x))
        lab: Tensor = self.head(x)
        return lab[..., :height, :width]


class EncoderUNet(nn.Module):
    """A U-Net whose encoder is an image classifier.

    The encoder gets L as all three channels. The decoder upsamples by nearest neighbour, which
    avoids checkerboard artefacts; the output is linear, as in fastai's DynamicUnet, or bounded by
    tanh. Colour hints are three additional input channels with initial weights of 0.

    The arguments are the fields of `Recipe` with the same names, except `out_channels` (2 for ab, 3
    for Lab or RGB), `hints` (whether to take hints) and `frozen` (whether the encoder gets no
    gradients and keeps its batch normalization statistics).

    Raises:
        RecipeError: If there is no such encoder or no weights for it, or the decoder has more
            stages than the encoder.

    Reference:
        Ronneberger et al. 2015; decoder of segmentation_models.pytorch's `Unet`, without its
        segmentation head.
    """

    def __init__(
        self,
        encoder: str = "resnet18",
        encoder_weights: str = "none",
        encoder_channels: tuple[int, ...] | None = None,
        decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16),
        out_channels: int = 2,
        encoder_padding: Padding = "zeros",
        margin: int = 0,
        bounded: bool = False,
        *,
        hints: bool = False,
        frozen: bool = False,
    ) -> None:
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        super().__init__()
        self.encoder = build_encoder(encoder, encoder_weights, encoder_channels)
        pad_strided_convolutions(self.encoder, encoder_padding)
        self.takes_hints = hints
        if hints:
            add_input_channels(self.encoder, 3)
        self.frozen = frozen
        if frozen:
            self.encoder.requires_grad_(False)
        stages = len(self.encoder.out_channels) - 1
        if not 1 <= len(decoder_channels) <= stages:
            raise RecipeError(
                f"decoder_channels has {len(decoder_channels)} values; {encoder} has {stages} "
                f"stages, so give 1 to {stages}"
            )
        self.decoder = UnetDecoder(
            encoder_channels=self.encoder.out_channels,
            decoder_channels=decoder_channels,
            n_blocks=len(decoder_channels),
        )
        self.head = nn.Conv2d(decoder_channels[-1], out_channels, 3, padding=1)
        self.last: nn.Module = nn.Tanh() if bounded else nn.Identity()
        self.multiple: int = self.encoder.output_stride
        self.margin = margin

    def train(self, mode: bool = True) -> "EncoderUNet":
        """Set training mode; a frozen encoder stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, L: Tensor, hints: Tensor | None = None) -> Tensor:
        """Predict ab (B, out_channels, H, W), nominally in [-1, 1], from L (B, 1, H, W).

        Args:
            L: Lightness, in [-1, 1].
            hints: Shape (B, 3, H, W), see `photochrom.training.data.hints`; None: zeros.

        Raises:
            ValueError: If hints are given to a network without hints.
        """
        height, width = L.shape[2:]
        x = L
        if self.takes_hints:
            x = torch.cat([L, L.new_zeros(len(L), 3, height, width) if hints is None else hints], 1)
        elif hints is not None:
            raise ValueError("this generator takes no hints")
        x = pad_to_multiple(x, self.multiple, self.margin)
        x = torch.cat([x[:, :1].expand(-1, 3, -1, -1), x[:, 1:]], dim=1)
        ab: Tensor = self.last(self.head(self.decoder(self.encoder(x))))
        if ab.shape[2:] != x.shape[2:]:
            ab = F.interpolate(ab, size=x.shape[2:], mode="bilinear")
        return ab[..., self.margin : self.margin + height, self.margin : self.margin + width]


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
        channels: Channels of every layer but the last.
        blocks: Number of residual blocks.
        out_channels: 2 for ab, 3 for Lab or RGB.
        dilations: Dilation of each block, repeated if there are more blocks.
    """

    def __init__(
        self,
        channels: int = 64,
        blocks: int = 8,
        out_channels: int = 2,
        dilations: tuple[int, ...] = (1,),
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


GENERATORS: dict[str, Callable[[Recipe], nn.Module]] = {
    "unet": lambda r: UNet(r.base_channels, r.depth, r.output_channels),
    "nazeri_unet": lambda r: NazeriUNet(r.base_channels, r.depth, r.output_channels),
    "nazeri_unet_paper": lambda r: NazeriUNet(
        r.base_channels, r.depth, r.output_channels, published_code=False
    ),
    "encoder_unet": lambda r: EncoderUNet(
        r.encoder,
        r.encoder_weights,
        r.encoder_channels,
        r.decoder_channels,
        r.output_channels,
        r.encoder_padding,
        r.margin,
        r.bounded,
        hints=r.hints is not None,
        frozen=r.lr_encoder == 0,
    ),
    "residual": lambda r: ResidualGenerator(
        r.base_channels, r.depth, r.output_channels, r.dilations
    ),
}

GENERATORS_WITH_HINTS = {"encoder_unet"}


def build_generator(recipe: Recipe) -> nn.Module:
    """Return the recipe's generator; weights other than pretrained ones are PyTorch's defaults.

    Raises:
        RecipeError: If there is no generator of this name, or it cannot be built.
    """
    if recipe.generator not in GENERATORS:
        raise RecipeError(
            f"unknown generator {recipe.generator!r}; choose from {', '.join(GENERATORS)}"
        )
    if recipe.hints is not None and recipe.generator not in GENERATORS_WITH_HINTS:
        raise RecipeError(
            f"the generator {recipe.generator} takes no hints; set hints=none, or choose "
            f"{', '.join(sorted(GENERATORS_WITH_HINTS))}"
        )
    return GENERATORS[recipe.generator](recipe)
