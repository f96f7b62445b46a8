"""How the work of a cluster is shared out among actors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from photochrom.batch.ray import ClusterError
from photochrom.colorize.onnx_model import DEVICES

_SHARE = 16
"""How many actors share a GPU at most: each has the model in its memory."""


@dataclass(frozen=True)
class ActorPlan:
    """How many actors there are, and what each of them takes."""

    count: int
    cpus: float
    gpus: float
    device: str
    """Of ONNX Runtime."""


def plan_actors(
    device: str, actors: int | None, resources: Mapping[str, float], providers: Sequence[str]
) -> ActorPlan:
    """Decide how many actors there are.

    A GPU is shared by the actors of its machine's cores, as all but the network, nine tenths of the
    work, is done by cores.

    Args:
        device: What was asked for.
        actors: How many, if that was asked for.
        resources: What the cluster has, as Ray tells.
        providers: What ONNX Runtime has on a machine with a GPU; nothing where there is none.

    Raises:
        ClusterError: If the device is none of a cluster's, or no machine has it.
    """
    cores, gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
    if device not in ("auto", "cpu", "cuda"):
        raise ClusterError(
            f"device {device!r} cannot be had on a cluster; ask for cpu, cuda or auto"
        )
    there = gpus > 0 and DEVICES["cuda"] in providers
    if device == "cuda" and not there:
        lack = "no GPU" if not gpus else "GPUs, but no ONNX Runtime for them (onnxruntime-gpu)"
        raise ClusterError(f"device cuda cannot be used: the cluster has {lack}; ask for cpu")
    if cores < 1:
        raise ClusterError("the cluster has no cores to work on; start a machine of it with some")
    if device == "cpu" or not there:
        return ActorPlan(min(actors or cores, cores), 1, 0, "cpu")
    share = max(1 / _SHARE, math.floor(1000 * min(1.0, gpus / cores)) / 1000)
    return ActorPlan(min(actors or cores, cores, int(gpus / share)), 1, share, "cuda")
