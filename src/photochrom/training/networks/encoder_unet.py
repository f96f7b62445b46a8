"""A U-Net on a pretrained encoder."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor, nn

from photochrom.errors import RecipeError
from photochrom.training.networks.encoders import (
    add_input_channels,
    build_encoder,
    pad_strided_convolutions,
)
from photochrom.training.networks.padding import pad_to_multiple
from photochrom.training.recipes.registry import Count


class EncoderUNet(nn.Module):
    """A U-Net whose encoder is an image classifier.

    The encoder gets L as all three channels. The decoder upsamples by nearest neighbour, which
    avoids checkerboard artefacts; the output is linear, as in fastai's DynamicUnet, or bounded by
    tanh. Colour hints are three additional input channels with initial weights of 0.

    Args:
        out_channels: Channels of the output.
        encoder: A segmentation-models-pytorch encoder, or any timm model as `tu-NAME`.
        encoder_weights: `none`, `imagenet` (from an installed package or downloaded), or the path
            of a state dict.
        encoder_channels: Channels of the stages of a timm ResNet; None: as published.
        decoder_channels: Channels of the decoder's stages, deepest first. With four and an encoder
            of stride 32 the output has half the size and is enlarged bilinearly.
        encoder_padding: Padding mode of the encoder's convolutions of stride 2. On even sizes they
            use the padding at the top and left only; with zeros, a generator trained against a
            discriminator leaves specks in the top left corner.
        reflection_padding: Padding in px on each side, cropped from the output.
        enlarge_output: Enlarge the output to the size of the input if the decoder has fewer stages
            than the encoder; false for classes of ab, which do not need it.
        tanh_output: End with tanh. A linear output learns faster with L1, but may leave [-1, 1] in
            adversarial training.
        hints: Take colour hints as second input.
        freeze_encoder: The encoder gets no gradients and keeps the statistics of its batch norms.

    Raises:
        RecipeError: If there is no such encoder or no weights for it, the decoder has more stages
            than the encoder, or `reflection_padding` is not divisible by the stride of the output.

    Reference:
        Ronneberger et al. 2015; decoder of segmentation_models.pytorch's `Unet`, without its
        segmentation head.
    """

    def __init__(
        self,
        out_channels: int = 2,
        *,
        encoder: str = "resnet18",
        encoder_weights: str = "none",
        encoder_channels: tuple[Count, ...] | None = None,
        decoder_channels: tuple[Count, ...] = (256, 128, 64, 32, 16),
        encoder_padding: Literal["zeros", "replicate"] = "zeros",
        reflection_padding: Annotated[int, Ge(0), Le(128)] = 0,
        enlarge_output: bool = True,
        tanh_output: bool = False,
        hints: bool = False,
        freeze_encoder: bool = False,
    ) -> None:
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        super().__init__()
        self.encoder = build_encoder(encoder, encoder_weights, encoder_channels)
        pad_strided_convolutions(self.encoder, encoder_padding)
        self.takes_hints = hints
        if hints:
            add_input_channels(self.encoder, 3)
        self.frozen = freeze_encoder
        if freeze_encoder:
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
        self.last: nn.Module = nn.Tanh() if tanh_output else nn.Identity()
        self.multiple: int = self.encoder.output_stride
        self.stride = 1 if enlarge_output else self.multiple // 2 ** len(decoder_channels)
        """Size of the input over the size of the output."""
        if reflection_padding % self.stride:
            raise RecipeError(
                f"generator.reflection_padding is {reflection_padding}; give a multiple of "
                f"{self.stride}, the stride of the output"
            )
        self.reflection_padding = reflection_padding

    def train(self, mode: bool = True) -> "EncoderUNet":
        """Set training mode; a frozen encoder stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, L: Tensor, hints: Tensor | None = None) -> Tensor:
        """Predict (B, out_channels, ceil(H/stride), ceil(W/stride)) from L (B, 1, H, W).

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
        x = pad_to_multiple(x, self.multiple, self.reflection_padding)
        x = torch.cat([x[:, :1].expand(-1, 3, -1, -1), x[:, 1:]], dim=1)
        output: Tensor = self.last(self.head(self.decoder(self.encoder(x))))
        if self.stride == 1 and output.shape[2:] != x.shape[2:]:
            output = F.interpolate(output, size=x.shape[2:], mode="bilinear")
        padding = self.reflection_padding // self.stride
        # Positive numbers only: ONNX rounds the quotient of negative ones to 0.
        height, width = ((size + self.stride - 1) // self.stride for size in (height, width))
        return output[..., padding : padding + height, padding : padding + width]
