"""Several processes that train as one.

Each process takes an equal share of every batch. Random numbers are drawn for the whole batch on
every process, so that crops, flips and dropout are those of a single process. DDP averages the
gradients, and batch norm by default uses the statistics of the whole batch.
"""

import atexit
import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.distributed import _destroy_dist_connection
from torch import nn

from photochrom.cores import count_cores
from photochrom.errors import PhotochromError, RunError
from photochrom.training.loop.launching import (
    DisconnectedError,
    ReportedElsewhereError,
    find_launcher,
    report_once,
    resume_hint,
)

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32", "bf16", "fp16"]
Value = TypeVar("Value")

_LOGGER = logging.getLogger(__name__)
_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""Fabric's names."""
TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others, at the start and in every collective."""
_CONNECTION_ERRORS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


class _DDP(DDPStrategy):
    """Fabric's DDP with what GANs need.

    Networks without trainable parameters are not wrapped, as DDP refuses them. Buffers are not
    broadcast: the discriminator runs twice before its backward pass, which must not find them
    overwritten. A network with `find_unused_parameters` may leave parameters without gradients.
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
def process_group(
    device: Device, precision: Precision, devices: int, nodes: int
) -> Iterator[Fabric]:
    """Connect this process to the others that train, and disconnect it at the end.

    The arguments are those of `photochrom.training.loop.train.train`.

    Raises:
        RunError: If the devices are missing or cannot compute in `precision`, or the other
            processes cannot be reached.
    """
    world_size = devices * nodes
    _limit_threads(devices)
    with report_once():
        _check_device(device, devices, precision, alone=world_size == 1)
    launcher = find_launcher()
    environment: ClusterEnvironment = LightningEnvironment()
    if launcher is not None and world_size > 1:
        is_slurm = launcher.name == "SLURM"
        environment = SLURMEnvironment() if is_slurm else TorchElasticEnvironment()
    options: dict[str, Any] = {"devices": 1, "plugins": [environment]}
    if world_size > 1:
        strategy = _DDP(cluster_environment=environment, timeout=TIMEOUT)
        options = {"devices": devices, "num_nodes": nodes, "strategy": strategy}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about workers and devices that does not apply
        fabric = Fabric(
            accelerator=device,
            precision=cast(Any, _PRECISIONS[precision]),
            **options,
        )
        with detect_disconnection(fabric, None):
            fabric.launch()
    try:
        with detect_disconnection(fabric, None):
            yield fabric
            fabric.barrier()  # rank 0 holds the store that others may still need
    except BaseException:
        # An orderly shutdown would wait for processes that may be waiting for this one.
        atexit.unregister(_destroy_dist_connection)
        raise
    if fabric.world_size > 1:
        dist.destroy_process_group()


def _limit_threads(processes: int) -> None:
    """Limit torch's threads to this process's share of the cores; `OMP_NUM_THREADS` has priority.

    torch does not know the limits of control groups, nor the other processes.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), max(1, count_cores() // processes)))


def has_bf16_instructions() -> bool:
    """Return whether this processor multiplies in bfloat16; other ones than x86 are assumed to."""
    capabilities = torch.cpu.get_capabilities()
    if capabilities["architecture"] != "x86_64":
        return True
    return any(capabilities[name] for name in ("amx_bf16", "avx512_bf16"))


def _check_device(device: Device, devices: int, precision: Precision, *, alone: bool) -> None:
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device != "auto" and not available[device]:
        usable = ", ".join(name for name, is_available in available.items() if is_available)
        raise RunError(f"there is no {device} here; give one of auto, {usable}")
    if precision == "fp16" and (device in ("cpu", "mps") or not available["cuda"]):
        raise RunError(
            "--precision fp16 needs a GPU with CUDA, as its gradients are scaled there; give "
            "--precision bf16 or 32"
        )
    on_cpu = device == "cpu" or not (available["cuda"] or available["mps"])
    if precision == "bf16" and on_cpu and not has_bf16_instructions():
        _LOGGER.warning(
            "this processor has no instructions for bfloat16: --precision bf16 may take 20 times "
            "as long as --precision 32"
        )
    if alone or device == "cpu":
        return
    if available["mps"]:
        raise RunError("an mps device trains alone; give --devices 1, or --device cpu")
    count = torch.cuda.device_count()
    if available["cuda"] and count < devices:
        raise RunError(
            f"--devices {devices} needs as many GPUs, but a process sees {count}; give a smaller "
            "number, or make all GPUs of the machine visible to every process"
        )


@contextlib.contextmanager
def detect_disconnection(fabric: Fabric, run: Path | None) -> Iterator[None]:
    """Raise `DisconnectedError` if a connection breaks; its message says how to resume `run`."""
    try:
        yield
    except RuntimeError as error:
        is_connection = isinstance(error, dist.DistError) or any(
            text in str(error) for text in _CONNECTION_ERRORS
        )
        if not is_connection or fabric.world_size == 1:
            raise
        raise DisconnectedError(
            f"process {fabric.global_rank + 1} of {fabric.world_size} was disconnected from the "
            f"others, as one of them ended or cannot be reached{resume_hint(run)}"
        ) from error


@contextlib.contextmanager
def fail_together(fabric: Fabric) -> Iterator[None]:
    """Stop all processes if the block fails on one; it must not contain a collective.

    Raises:
        PhotochromError: The error of this process, if it is the first that failed.
        OSError: Likewise.
        ReportedElsewhereError: On the other processes.
    """
    error: PhotochromError | OSError | None = None
    try:
        yield
    except (PhotochromError, OSError) as caught:
        error = caught
    failed = [rank for rank, ok in enumerate(all_gather(fabric, error is None)) if not ok]
    if failed and error is not None and failed[0] == fabric.global_rank:
        raise error
    if failed:
        reporter = f"process {failed[0] + 1} of {fabric.world_size}"
        raise ReportedElsewhereError(f"{reporter} reports the error") from error


def all_gather(fabric: Fabric, value: Value) -> list[Value]:
    """Return the values of all processes, by rank."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    dist.all_gather_object(values, value)
    return values


def run_on_rank_zero(fabric: Fabric, function: Callable[[], Value]) -> Value:
    """Call `function` on rank 0 alone, and return its result on all processes.

    Raises:
        PhotochromError: On rank 0, if `function` does; a `ReportedElsewhereError` on the others.
        OSError: Likewise.
    """
    value: Value | None = None
    with fail_together(fabric):
        if fabric.is_global_zero:
            value = function()
    return cast(Value, fabric.broadcast(value))


def check_same_on_all(fabric: Fabric, settings: Mapping[str, object]) -> None:
    """Check that all processes have the same settings.

    Raises:
        RunError: On rank 0, if a value differs; a `ReportedElsewhereError` on the others.
    """
    gathered = all_gather(fabric, dict(settings))
    with fail_together(fabric):
        for number, others in enumerate(gathered, start=1):
            different = [key for key, value in others.items() if value != gathered[0][key]]
            if different:
                raise RunError(
                    f"process {number} of {fabric.world_size} differs from process 1 in "
                    f"{different[0]}; start all with the same command, and the same files on every "
                    "machine"
                )


def local_slice(fabric: Fabric, count: int) -> slice:
    """Return the part of `count` photos of a batch that this process takes."""
    size = count // fabric.world_size
    return slice(fabric.global_rank * size, (fabric.global_rank + 1) * size)
