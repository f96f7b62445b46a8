"""Random numbers of a batch that several processes share, and means over these processes.

A process that trains alone gets its own values.
"""

from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor


def draw_local(draw: Callable[[int], Tensor], count: int) -> Tensor:
    """Draw random numbers (N, ...) for the whole batch; return the `count` of this process."""
    if not dist.is_initialized():
        return draw(count)
    rank, size = dist.get_rank(), dist.get_world_size()
    return draw(size * count)[rank * count : (rank + 1) * count]


def mean(values: Tensor) -> Tensor:
    """Return the mean over all processes."""
    if not dist.is_initialized():
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def means(scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean of each scalar over all processes, with one collective."""
    if not dist.is_initialized():
        return dict(scalars)
    return dict(zip(scalars, mean(torch.stack(list(scalars.values()))), strict=True))
