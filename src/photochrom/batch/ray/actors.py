"""Decide how many actors a cluster runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from photochrom.batch.ray import ClusterError
from photochrom.colorize.onnx_model import DEVICES

_MAX_ACTORS_PER_GPU = 16
"""Each actor has a copy of the model in the GPU's memory."""


@dataclass(frozen=True)
class ActorPlan:
    """Number of actors and the resources of each."""

    count: int
    cpus: float
    gpus: float
    device: str
    """Device of ONNX Runtime."""


def plan_actors(
    device: str, actors: int | None, resources: Mapping[str, float], providers: Sequence[str]
) -> ActorPlan:
    """Decide how many actors there are.

    The actors of all cores share the GPUs, since nine tenths of the work runs on the CPU.

    Args:
        device: The requested device.
        actors: The requested number of actors; None: one per core.
        resources: Resources of the cluster, as reported by Ray.
        providers: ONNX Runtime's providers on a machine with a GPU; empty if there is none.

    Raises:
        ClusterError: If a cluster does not support the device, or no machine has it.
    """
    cores, gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
    if device not in ("auto", "cpu", "cuda"):
        raise ClusterError(f"a cluster has no device {device!r}; ask for cpu, cuda or auto")
    has_cuda = gpus > 0 and DEVICES["cuda"] in providers
    if device == "cuda" and not has_cuda:
        lack = "no GPU" if not gpus else "GPUs, but no ONNX Runtime for them (onnxruntime-gpu)"
        raise ClusterError(f"device cuda cannot be used: the cluster has {lack}; ask for cpu")
    if cores < 1:
        raise ClusterError("the cluster has no cores; add a machine with CPUs")
    count = min(actors or cores, cores)
    if device == "cpu" or not has_cuda:
        return ActorPlan(count, 1, 0, "cpu")
    share = max(1 / _MAX_ACTORS_PER_GPU, math.floor(1000 * min(1.0, gpus / cores)) / 1000)
    return ActorPlan(min(count, int(gpus / share)), 1, share, "cuda")
