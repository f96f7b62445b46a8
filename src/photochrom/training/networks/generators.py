"""Generators: from the lightness of a photo to its colours.

The contract, tested for every entry of `GENERATORS`: a generator maps `L` (B, 1, H, W) in [-1, 1]
to what its recipe's `output` says, `ab` (B, 2, H, W), `Lab` or RGB (B, 3, H, W), on the same scale
(see `photochrom.training.tensors`), for any H, W >= 16. It pads itself by reflection where its
layers need a certain size, and crops the result. One of a recipe with `hints` takes them, shape
(B, 3, H, W), as an optional second argument (see `photochrom.training.data.hints`). To add a
generator, write the class and one line in `GENERATORS`; a recipe can name it from then on.
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
"""A U-Net pads photos to a multiple of 2^depth, here 1024 px: more would only cost memory."""


def pad_to_multiple(x: Tensor, multiple: int, margin: int = 0) -> Tensor:
    """Extend images by reflection: to all sides by `margin`, and on as far as `multiple` asks.

    What `multiple` asks for is added to the right and downwards.

    Unlike `F.pad`, this reflects as often as it takes, so that 16 px can become 256.

    Args:
        x: Shape (B, C, H, W), H and W at least 2.
        multiple: What the new height and width are divisible by.
        margin: By how much they are extended to the left and upwards, and at least to the right
            and downwards.

    Returns:
        Shape (B, C, ceil((H + 2 margin) / multiple) * multiple, and so for the width).
    """
    for dim in (2, 3):
        size = x.shape[dim]
        padded = (size + 2 * margin + multiple - 1) // multiple * multiple
        period = 2 * (size - 1)  # 0 1 2 ... size-1 ... 2 1, again and again
        position = torch.arange(-margin, padded - margin, device=x.device)
        # a tensor: the ONNX exporter takes no remainder by a number that depends on the size
        position = position % torch.full_like(position, period)
        x = x.index_select(dim, torch.minimum(position, period - position))
    return x


def join(skip: Tensor, x: Tensor) -> Tensor:
    """Put the channels of two tensors (B, C, H, W) beside each other.

    The gradient of `x` is a slice of the result's, with which torch's batch norm takes several
    times as long on a CPU: so it gets memory of its own.
    """
    if x.requires_grad:
        x.register_hook(_dense)  # type: ignore[no-untyped-call]
    return torch.cat([skip, x], dim=1)


def _dense(gradient: Tensor) -> Tensor:
    channels_last = gradient.stride(1) == 1
    return gradient.contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )


class UNet(nn.Module):
    """The U-Net of pix2pix, as in Shariatnia's tutorial: ab from L.

    Strided 4x4 convolutions down to a bottleneck, transposed ones up, a skip at every size, tanh
    at the end. With the defaults it has 54 409 858 parameters.

    Args:
        base_channels: Channels after the first convolution; at most eight times as many deeper.
        depth: How often the size is halved, 3 to 10 times.
        out_channels: 2 for ab, 3 for Lab or RGB.

    Raises:
        RecipeError: If `depth` is out of range.

    Reference:
        Isola et al. 2017, `unet_256`; the tutorial's `Unet(input_c=1, output_c=2, n_down=8)`.
    """

    def __init__(self, base_channels: int = 64, depth: int = 8, out_channels: int = 2) -> None:
        super().__init__()
        if not 3 <= depth <= MAX_DEPTH:
            raise RecipeError(f"depth is {depth}; a U-Net halves the size 3 to {MAX_DEPTH} times")
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
            if max(1, depth - 4) <= i < depth - 1:  # the three deepest but the innermost
                up.append(nn.Dropout(0.5))
            self.up.append(nn.Sequential(*up))

    def forward(self, L: Tensor) -> Tensor:
        """Return ab (B, out_channels, H, W) in [-1, 1] for L (B, 1, H, W) in [-1, 1]."""
        height, width = L.shape[2:]
        x = pad_to_multiple(L, self.multiple)
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.up[-1](skips[-1])
        for skip, up in zip(reversed(skips[:-1]), reversed(self.up[:-1]), strict=True):
            x = up(join(skip, x))
        ab: Tensor = x[..., :height, :width]
        return ab


class NazeriUNet(nn.Module):
    """The U-Net of Nazeri et al. 2018: the whole Lab from grey.

    4x4 convolutions with bias and TensorFlow's "same" padding, one of stride 1 and then `depth` of
    stride 2; convolution, batch norm, activation; the skip is taken after the activation; a 1x1
    convolution and tanh at the end.

    Args:
        base_channels: Channels of the first two convolutions; at most eight times as many deeper.
        depth: How often the size is halved, 1 to 10 times; 7 gives the Places365 network.
        out_channels: 3 as published; 2 for ab.
        published_code: True follows the code: batch norm on the first layer as well, statistics of
            the batch at test time too, and a grey value in 0..255 as input (the code's luma of the
            colour photo; here of the neutral grey with the same L*, which is all that L tells).
            42 023 811 parameters. False follows the paper: no batch norm on the first layer,
            running statistics at test time, L as input.

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
            raise RecipeError(f"depth is {depth}; a U-Net halves the size up to {MAX_DEPTH} times")
        # Statistics of the batch need two values a channel, so even one small photo is padded until
        # 2x2 px are left at the bottom: what the published network has there at its 256 px.
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
        """Return Lab (B, out_channels, H, W) in [-1, 1] for L (B, 1, H, W) in [-1, 1]."""
        height, width = L.shape[2:]
        x = pad_to_multiple(L, self.multiple)
        x = self.first(L_to_grey(x) * 255.0 if self.published_code else x)
        skips = [x]
        for down in self.down:
            x = down(x)
            skips.append(x)
        for skip, up in zip(reversed(skips[:-1]), self.up, strict=True):
            x = join(skip, up(x))
        made: Tensor = self.head(x)
        return made[..., :height, :width]


class EncoderUNet(nn.Module):
    """A U-Net on an image classifier's encoder: ab from L.

    The decoder enlarges by nearest neighbour and convolves, so there is no checkerboard; the
    output is linear, as in fastai's DynamicUnet, or bounded by tanh. The encoder sees L three times
    over.

    Args:
        encoder: A segmentation-models-pytorch encoder such as `resnet18`, or `tu-` and the name of
            any timm model.
        encoder_weights: `none`, `imagenet`, or the path of a state dict.
        encoder_channels: Of the encoder's stages, for timm's ResNets; None: as published.
        decoder_channels: Deepest first. One value fewer than the encoder halves the size ends the
            decoder at half the size; the last step is then bilinear.
        out_channels: 2 for ab, 3 for Lab or RGB.
        encoder_padding: What the encoder's convolutions of stride 2 see beyond the edge: `zeros`,
            or `replicate`, the nearest pixel.
        margin: Px of a photo's reflection that the network sees on each side of it.
        bounded: Keep the output in [-1, 1] by tanh.
        hints: Take colour hints as well: three more channels beside L, with weights that are 0 at
            first.
        frozen: Keep the encoder as it is: no gradients, norms with the statistics they came with.

    Raises:
        RecipeError: If there is no such encoder, its weights cannot be had, or the decoder has more
            steps than the encoder.
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
        steps = len(self.encoder.out_channels) - 1
        if not 1 <= len(decoder_channels) <= steps:
            raise RecipeError(
                f"decoder_channels has {len(decoder_channels)} values; {encoder} halves the size "
                f"{steps} times, so give 1 to {steps}"
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
        """Switch to training mode; a frozen encoder stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, L: Tensor, hints: Tensor | None = None) -> Tensor:
        """Return ab (B, out_channels, H, W), nominally in [-1, 1], of L (B, 1, H, W).

        Args:
            L: Lightness, in [-1, 1].
            hints: Shape (B, 3, H, W), as in `photochrom.training.data.hints`; None: there are none.

        Raises:
            ValueError: If there are hints and the network takes none.
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
    """x + BN(conv(ReLU(BN(conv(x))))), with 3x3 convolutions, both of the same dilation.

    Reference:
        He et al. 2016, figure 2, without the ReLU after the sum.
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
    """The report's custom generator: residual blocks at full size, no down- or up-sampling.

    The report gives neither width nor depth; both are filled in. Each output pixel sees 5 px and
    4 for each block and unit of its dilation, 37 with 8 blocks, which is too little to recognise an
    object. Dilations let it see more with as many parameters.

    Args:
        channels: Of every layer but the last.
        blocks: Residual blocks.
        out_channels: 2 for ab, 3 for Lab or RGB.
        dilations: Of each block, over again from the first where there are more blocks.
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
        """Return ab (B, out_channels, H, W) in [-1, 1] for L (B, 1, H, W) in [-1, 1]."""
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
        r.hints is not None,
        r.lr_encoder == 0,
    ),
    "residual": lambda r: ResidualGenerator(
        r.base_channels, r.depth, r.output_channels, r.dilations
    ),
}

TAKE_HINTS = {"encoder_unet"}
"""Generators that can take colour hints."""


def build_generator(recipe: Recipe) -> nn.Module:
    """Return the recipe's generator, freshly made.

    Raises:
        RecipeError: If there is no generator of that name, or it cannot be built as told.
    """
    if recipe.generator not in GENERATORS:
        raise RecipeError(
            f"unknown generator {recipe.generator!r}; choose from {', '.join(GENERATORS)}"
        )
    if recipe.hints is not None and recipe.generator not in TAKE_HINTS:
        raise RecipeError(
            f"the generator {recipe.generator} takes no hints; set hints=none, or choose "
            f"{', '.join(sorted(TAKE_HINTS))}"
        )
    return GENERATORS[recipe.generator](recipe)
