import os
from importlib.metadata import PackageNotFoundError, version

import pytest

from photochrom.training import runs
from photochrom.training.runs import describe_environment, describe_machine


def test_packages_without_metadata_have_an_unknown_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when photochrom itself is run from a checkout that is not installed."""

    def without_photochrom(name: str) -> str:
        if name == "photochrom":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(runs, "version", without_photochrom)
    packages = describe_environment(seed=3)["packages"]
    assert packages["photochrom"] == "unknown"
    assert packages["torch"] == version("torch")
    assert describe_environment(seed=3)["seed"] == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is of Linux")
def test_cores_of_the_machine_are_those_available() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert describe_machine()["cores"] == 1
    finally:
        os.sched_setaffinity(0, before)
