"""Batch norm and dropout over the photos of all processes."""

from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from photochrom.training.collectives import draw_local

_DIMS, _SHAPE = (0, 2, 3), (1, -1, 1, 1)


def synchronize_layers(network: nn.Module, *, device: torch.device, sync_batchnorm: bool) -> None:
    """Convert Dropout and, if `sync_batchnorm`, BatchNorm2d to synchronized layers, in place.

    Parameters and buffers remain the same objects, with the same names.
    """
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.BatchNorm2d) and sync_batchnorm:
            network.set_submodule(name, _convert(layer, device))
        elif type(layer) is nn.Dropout:
            network.set_submodule(name, GlobalBatchDropout(layer.p))


class GlobalBatchDropout(nn.Dropout):
    """Dropout with the mask that a single process would draw for the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`, (B, ...)."""
        if not self.training or self.p == 0.0:
            return x
        # Random numbers are drawn in memory order.
        is_contiguous = x.dim() != 4 or x.is_contiguous()
        layout = torch.contiguous_format if is_contiguous else torch.channels_last

        def draw(count: int) -> Tensor:
            ones = torch.ones((count, *x.shape[1:]), dtype=x.dtype, device=x.device)
            return F.dropout(ones.contiguous(memory_format=layout), self.p)

        return x * draw_local(draw, len(x))


class _Normalize(torch.autograd.Function):
    """Normalize by mean and variance over all processes; also return both.

    Forward and backward pass need one collective each.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        local = torch.stack(torch.var_mean(x, dim=_DIMS, correction=0))
        gathered = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, local)
        variances, means = torch.stack(gathered, dim=1)  # each of equally many values
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        scale = (variance + eps).rsqrt()
        y = (x - mean.view(_SHAPE)) * scale.view(_SHAPE)
        ctx.save_for_backward(y, scale)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors
        sums = torch.stack([grad.sum(_DIMS), (grad * y).sum(_DIMS)])
        dist.all_reduce(sums)
        mean, projection = sums / (grad.numel() // grad.shape[1] * dist.get_world_size())
        grad = grad - mean.view(_SHAPE) - y * projection.view(_SHAPE)
        return grad * scale.view(_SHAPE), None


class SyncBatchNormCPU(nn.BatchNorm2d):
    """Batch norm over the equal shares of all processes, as `nn.SyncBatchNorm` refuses the CPU.

    Child layers are applied after it, such as `drop` and `act` of timm's norms.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`, (B, C, H, W)."""
        y = self._normalize(x) if self.training else super().forward(x)
        for layer in self.children():
            y = layer(y)
        return y

    def _normalize(self, x: Tensor) -> Tensor:
        x_float = x if x.dtype == torch.float64 else x.float()
        y, mean, variance = cast(tuple[Tensor, ...], _Normalize.apply(x_float, self.eps))
        if self.affine:
            y = y * self.weight.view(_SHAPE) + self.bias.view(_SHAPE)
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            count = x.numel() // x.shape[1] * dist.get_world_size()
            with torch.no_grad():
                self.num_batches_tracked += 1
                momentum = self.momentum or 1.0 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(variance * count / (count - 1), momentum)
        return y.to(x.dtype)


class _SyncBatchNormGPU(nn.SyncBatchNorm, nn.BatchNorm2d):
    """`nn.SyncBatchNorm` with child layers applied after it, such as those of timm's norms."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`, (B, C, H, W)."""
        y: Tensor = super().forward(x)
        for layer in self.children():
            y = layer(y)
        return y


def _convert(norm: nn.BatchNorm2d, device: torch.device) -> nn.BatchNorm2d:
    kind = _SyncBatchNormGPU if device.type == "cuda" else SyncBatchNormCPU
    synced = kind(
        norm.num_features,
        eps=norm.eps,
        momentum=norm.momentum,
        affine=norm.affine,
        track_running_stats=norm.track_running_stats,
        device="meta",  # its tensors are replaced below
    )
    for name, value in (
        *norm.named_parameters(recurse=False),
        *norm.named_buffers(recurse=False),
        *norm.named_children(),
    ):
        setattr(synced, name, value)
    return synced.train(norm.training)
