"""Several processes that train as one.

Each takes an equal share of every batch, and all draw what is random for the whole batch, so that
photo, crop, mirroring and dropout are those of one process. Gradients are averaged by DDP. What a
batch norm sees is the whole batch as well, unless it is told not to.
"""

import atexit
import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.distributed import _destroy_dist_connection
from torch import Tensor, nn

from photochrom.errors import PhotochromError, RunError
from photochrom.training.loop.launching import LostError, ToldError, report_once, started

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32", "bf16"]
Value = TypeVar("Value")

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others: for the last to start, or for one that says nothing."""
_DIMS, _SHAPE = (0, 2, 3), (1, -1, 1, 1)
_LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


class _DDP(DDPStrategy):
    """Fabric's DDP, with what networks that play against each other need.

    A network that learns nothing has no gradients to share, and DDP refuses it. Statistics stay
    what they are in each process: a discriminator is asked twice before it learns, and what it saw
    first must not be overwritten. One that uses a part of itself in each step says so.
    """

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        if not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        self._ddp_kwargs["find_unused_parameters"] = getattr(
            module, "find_unused_parameters", False
        )
        parallel = super().setup_module(module)
        parallel.broadcast_buffers = False
        return parallel


@contextlib.contextmanager
def processes(device: Device, precision: Precision, devices: int, nodes: int) -> Iterator[Fabric]:
    """Meet the other processes that train, if there are any, and part from them at the end.

    Args:
        device: `auto` takes GPUs if there are any.
        precision: As in `photochrom.training.loop.train.train`.
        devices: Processes on each machine, on a GPU of its own each.
        nodes: Machines.

    Yields:
        What knows the device, the precision and the others.

    Raises:
        RunError: If there are no such devices, or the others cannot be reached.
    """
    with report_once():
        _check_device(device, devices, alone=devices * nodes == 1)
    environment = _environment()
    options: dict[str, Any] = {"devices": 1, "plugins": [environment]}
    if devices * nodes > 1:
        strategy = _DDP(cluster_environment=environment, timeout=TIMEOUT)
        options = {"devices": devices, "num_nodes": nodes, "strategy": strategy}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about workers and devices that we do not use
        fabric = Fabric(
            accelerator=device,
            precision="bf16-mixed" if precision == "bf16" else "32-true",
            **options,
        )
        with report_lost_processes(fabric, None):
            fabric.launch()
    try:
        with report_lost_processes(fabric, None):
            yield fabric
            if fabric.world_size > 1:
                fabric.barrier()  # the first one keeps the address book that others still need
    except BaseException:
        # To take leave would be to wait for others who may be waiting for this one.
        atexit.unregister(_destroy_dist_connection)
        raise
    if fabric.world_size > 1:
        dist.destroy_process_group()


def _check_device(device: Device, devices: int, *, alone: bool) -> None:
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device != "auto" and not available[device]:
        usable = ", ".join(name for name, there in available.items() if there)
        raise RunError(f"there is no {device} here; give one of auto, {usable}")
    if alone:
        return
    if device == "mps" or (device == "auto" and available["mps"]):
        raise RunError("an mps device trains alone; give --devices 1, or --device cpu")
    if device == "cuda" or (device == "auto" and available["cuda"]):
        there = torch.cuda.device_count()
        if there < devices:
            raise RunError(
                f"--devices {devices} takes as many GPUs, and a process sees {there}; give a "
                "smaller number, or have all GPUs of the machine shown to every process"
            )


def _environment() -> ClusterEnvironment:
    place = started()
    if place is None or place.by == "photochrom" or place.processes == 1:
        return LightningEnvironment()
    return TorchElasticEnvironment() if place.by == "torchrun" else SLURMEnvironment()


@contextlib.contextmanager
def report_lost_processes(fabric: Fabric, run: Path | None) -> Iterator[None]:
    """Say in one sentence that the others are gone, and how to go on.

    Args:
        fabric: Which process of how many this is.
        run: What can be resumed.

    Raises:
        LostError: In place of what a broken connection raises.
    """
    try:
        yield
    except RuntimeError as error:
        is_lost = isinstance(error, dist.DistError) or any(word in str(error) for word in _LOST)
        if not is_lost or fabric.world_size == 1:
            raise
        go_on = "" if run is None else f"; go on with --resume {run}"
        raise LostError(
            f"process {fabric.global_rank + 1} of {fabric.world_size} has lost the others, as one "
            f"of them ended or cannot be reached{go_on}"
        ) from error


@contextlib.contextmanager
def together(fabric: Fabric) -> Iterator[None]:
    """Do what a process may refuse: if one does, all stop, and the first of those says why.

    Nothing in it may wait for the other processes.

    Raises:
        PhotochromError: What this process raised, if it is the one that says so.
        OSError: Likewise.
        ToldError: If another one says why.
    """
    if fabric.world_size == 1:
        yield
        return
    error: PhotochromError | OSError | None = None
    try:
        yield
    except (PhotochromError, OSError) as caught:
        error = caught
    failed = [rank for rank, sound in enumerate(gathered(fabric, error is None)) if not sound]
    if failed and error is not None and failed[0] == fabric.global_rank:
        raise error
    if failed:
        raise ToldError(f"process {failed[0] + 1} of {fabric.world_size} says why") from error


def gathered(fabric: Fabric, value: Value) -> list[Value]:
    """Return the value that each process has, first to last."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    dist.all_gather_object(values, value)
    return values


def by_first(fabric: Fabric, function: Callable[[], Value]) -> Value:
    """Return to all processes what the first, and it alone, gets from `function`.

    Raises:
        PhotochromError: On the first, if `function` does; a `ToldError` on the others.
        OSError: Likewise.
    """
    value: Value | None = None
    with together(fabric):
        if fabric.is_global_zero:
            value = function()
    return cast(Value, fabric.broadcast(value))


def check_alike(fabric: Fabric, facts: Mapping[str, object]) -> None:
    """Refuse processes that do not do the same.

    Args:
        fabric: What knows the others.
        facts: What has to be the same on all, by what it is called.

    Raises:
        RunError: On the first process, if a fact differs; a `ToldError` on the others.
    """
    everyones = gathered(fabric, dict(facts))
    with together(fabric):
        for number, theirs in enumerate(everyones, start=1):
            different = [key for key, value in theirs.items() if value != everyones[0][key]]
            if different:
                raise RunError(
                    f"process {number} of {fabric.world_size} has not the {different[0]} of "
                    "process 1; start all with the same command, and the same files on every "
                    "machine"
                )


def share(fabric: Fabric, count: int) -> slice:
    """Return which of `count` photos of a batch are this process's; its size divides `count`."""
    size = count // fabric.world_size
    return slice(fabric.global_rank * size, (fabric.global_rank + 1) * size)


def drawn(draw: Callable[[int], Tensor], count: int) -> Tensor:
    """Return what is drawn for the photos of this process, having drawn for those of all.

    Args:
        draw: Makes a tensor (N, ...) of random numbers for N photos.
        count: How many photos this process has; the others have as many.

    Returns:
        Shape (count, ...).
    """
    if not dist.is_initialized():
        return draw(count)
    rank, size = dist.get_rank(), dist.get_world_size()
    return draw(size * count)[rank * count : (rank + 1) * count]


def mean(values: Tensor) -> Tensor:
    """Return the mean over all processes: the same number on each."""
    if not dist.is_initialized():
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def means(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean over all processes of each of some scalars."""
    if not dist.is_initialized():
        return dict(values)
    return dict(zip(values, mean(torch.stack(list(values.values()))), strict=True))


def synchronize_batch_norm(
    network: nn.Module, *, device: torch.device, sync_batchnorm: bool
) -> None:
    """Have the layers that look at a batch as a whole look at the photos of all processes.

    Parameters and buffers stay the same objects, under the same names.

    Args:
        network: Changed in place.
        device: Where it is trained.
        sync_batchnorm: Whether batch norms are among those layers, or only dropout.
    """
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.BatchNorm2d) and sync_batchnorm:
            network.set_submodule(name, _synced(layer, device))
        elif type(layer) is nn.Dropout:
            network.set_submodule(name, WholeDropout(layer.p))


class WholeDropout(nn.Dropout):
    """Dropout that draws for the photos of all processes, as one process would."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`, (B, ...)."""
        if not self.training or self.p == 0.0:
            return x
        flat = x.dim() != 4 or x.is_contiguous()  # numbers are drawn in the order of the memory
        layout = torch.contiguous_format if flat else torch.channels_last

        def draw(count: int) -> Tensor:
            ones = torch.ones((count, *x.shape[1:]), dtype=x.dtype, device=x.device)
            return F.dropout(ones.contiguous(memory_format=layout), self.p)

        return x * drawn(draw, len(x))


class _Normalized(torch.autograd.Function):
    """Values less their mean over all processes, over their deviation; with the mean and variance.

    Each way takes one message to the others.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        own = torch.stack(torch.var_mean(x, dim=_DIMS, correction=0))
        everyones = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(everyones, own)
        variances, averages = torch.stack(everyones, dim=1)  # each of equally many values
        average = averages.mean(0)
        variance = variances.mean(0) + (averages - average).square().mean(0)
        scale = (variance + eps).rsqrt()
        y = (x - average.view(_SHAPE)) * scale.view(_SHAPE)
        ctx.save_for_backward(y, scale)
        ctx.mark_non_differentiable(average, variance)
        return y, average, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors
        sums = torch.stack([grad.sum(_DIMS), (grad * y).sum(_DIMS)])
        dist.all_reduce(sums)
        of_mean, of_deviation = sums / (grad.numel() // grad.shape[1] * dist.get_world_size())
        grad = grad - of_mean.view(_SHAPE) - y * of_deviation.view(_SHAPE)
        return grad * scale.view(_SHAPE), None


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm with the statistics of the photos of all processes, which have equally many.

    torch's own refuses the CPU. What a norm of timm does behind it, `drop` and `act`, it does too.
    In eval mode it asks nobody.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`, (B, C, H, W)."""
        y = self._normalized(x) if self.training else super().forward(x)
        for layer in self.children():
            y = layer(y)
        return y

    def _normalized(self, x: Tensor) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        y, average, variance = cast(tuple[Tensor, ...], _Normalized.apply(wide, self.eps))
        if self.affine:
            y = y * self.weight.view(_SHAPE) + self.bias.view(_SHAPE)
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            count = x.numel() // x.shape[1] * dist.get_world_size()
            with torch.no_grad():
                self.num_batches_tracked += 1
                new = self.momentum or 1.0 / float(self.num_batches_tracked)
                self.running_mean.lerp_(average, new)
                self.running_var.lerp_(variance * count / (count - 1), new)
        return y.to(x.dtype)


class _SyncedOnGPU(nn.SyncBatchNorm, nn.BatchNorm2d):
    """torch's own, with what a norm of timm does behind it."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`, (B, C, H, W)."""
        y: Tensor = super().forward(x)
        for layer in self.children():
            y = layer(y)
        return y


def _synced(norm: nn.BatchNorm2d, device: torch.device) -> nn.BatchNorm2d:
    kind = _SyncedOnGPU if device.type == "cuda" else SyncedBatchNorm2d
    synced = kind(
        norm.num_features,
        eps=norm.eps,
        momentum=norm.momentum,
        affine=norm.affine,
        track_running_stats=norm.track_running_stats,
        device="meta",  # it gets the tensors of the other
    )
    for name, value in (*norm.named_parameters(recurse=False), *norm.named_buffers(recurse=False)):
        setattr(synced, name, value)
    for name, layer in norm.named_children():
        setattr(synced, name, layer)
    return synced.train(norm.training)
