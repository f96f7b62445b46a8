"""Padding of images to the sizes that networks need, and skip connections."""

import torch
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int, padding: int = 0) -> Tensor:
    """Pad images by reflection, by `padding` on each side, then on the right and bottom.

    Unlike `F.pad`, this reflects repeatedly, so that 16 px can become 256.

    Args:
        x: Shape (B, C, H, W), H and W at least 2.
        multiple: The new height and width are divisible by this.
        padding: In px, on each side.

    Returns:
        Shape (B, C, H', W'), with H' = ceil((H + 2 padding) / multiple) * multiple, W' likewise.
    """
    for dim in (2, 3):
        size = x.shape[dim]
        padded = (size + 2 * padding + multiple - 1) // multiple * multiple
        period = 2 * (size - 1)  # 0 1 2 ... size-1 ... 2 1, repeated
        position = torch.arange(-padding, padded - padding, device=x.device)
        # a tensor: the ONNX exporter does not support the remainder by a symbolic integer
        position = position % torch.full_like(position, period)
        x = x.index_select(dim, torch.minimum(position, period - position))
    return x


def concatenate(first: Tensor, second: Tensor) -> Tensor:
    """Concatenate the channels of decoder features and a skip connection, both (B, C, H, W).

    The gradient of `second` is copied to contiguous memory: on a CPU, the backward pass of a batch
    normalization before it is several times slower on a slice.
    """
    if second.requires_grad:
        second.register_hook(_make_contiguous)  # type: ignore[no-untyped-call]
    return torch.cat([first, second], dim=1)


def _make_contiguous(gradient: Tensor) -> Tensor:
    channels_last = gradient.stride(1) == 1
    return gradient.contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )
