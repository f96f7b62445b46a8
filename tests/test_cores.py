import os
from pathlib import Path

import pytest

from photochrom import cores
from photochrom.cores import count_cores


def make_system(root: Path, groups: str, files: dict[str, str]) -> None:
    """Make the files in which Linux describes the control groups of a process."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        # version 2, in a container: the top is the container's own group
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        # the group itself, and those above it
        (
            "0::/user.slice/job.scope\n",
            {
                "sys/fs/cgroup/user.slice/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/user.slice/job.scope/cpu.max": "max 100000\n",
            },
            3,
        ),
        ("0::/a\n", {"sys/fs/cgroup/b/cpu.max": "100000 100000\n"}, 8),
        # version 1
        (
            "4:memory:/x\n2:cpu,cpuacct:/x\n0::/\n",
            {
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        ("2:cpuset:/x\n", {"sys/fs/cgroup/cpu/x/cpu.max": "100000 100000\n"}, 8),
        # less than one core
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "20000 100000\n"}, 1),
    ],
)
def test_the_quota_of_control_groups_limits_the_cores(
    groups: str,
    files: dict[str, str],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_system(tmp_path, groups, files)
    quotas = cores._quotas
    monkeypatch.setattr(cores, "available_cores", lambda: list(range(8)))
    monkeypatch.setattr(cores, "_quotas", lambda: quotas(tmp_path))
    assert count_cores() == expected


def test_without_control_groups_all_available_cores_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "available_cores", lambda: [3, 5])
    assert list(cores._quotas(tmp_path)) == []
    assert count_cores() <= 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is of Linux")
def test_a_process_on_one_core_counts_one() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores.available_cores() == [min(before)]
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_nothing_in_the_package_counts_the_cores_of_the_machine() -> None:
    """Except `cores` itself, and where ONNX Runtime's default is left as it is."""
    source = Path(cores.__file__).parent
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if "cpu_count(" in path.read_text()
    }
    assert found == {"cores.py", "colorize/onnx_model.py"}
