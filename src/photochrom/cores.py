"""The CPU cores that this process may use, which can be fewer than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def available_cores() -> list[int]:
    """Return the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def count_cores() -> int:
    """Return how many cores this process can keep busy.

    Not more than the CPU time that the control groups (cgroups) of Linux allow, as for
    `docker run --cpus 2`, rounded up.
    """
    return max(1, min([len(available_cores()), *map(math.ceil, _quotas())]))


def _quotas(root: Path = Path("/")) -> Iterator[float]:
    """Yield the limits of this process's control groups and those above them, in cores."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container, the group's path may be that outside: then only the top is found.
        base = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        folders = Path(path.lstrip("/")).parts
        for depth in range(len(folders) + 1):
            yield from _quota(base.joinpath(*folders[:depth]))


def _quota(group: Path) -> Iterator[float]:
    """Yield the limit of a control group of version 2 or 1, in cores, if it has one."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text("utf-8").split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text("utf-8").strip()
                for name in ("quota", "period")
            )
    except OSError:
        return
    if quota not in ("max", "-1"):
        yield int(quota) / int(period)
