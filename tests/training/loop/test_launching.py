"""Starting processes, and the error that explains a failure of one of them."""

from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from photochrom.cli import main
from photochrom.errors import DataError, RecipeError, RunError
from photochrom.training.loop.launching import (
    find_launcher,
    is_main_process,
    launch,
    must_launch,
)
from photochrom.training.loop.sweep import train_variants
from support.failing_training import train_and_fail

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("fail", "error", "message"),
    [
        ("error", DataError, "^photo 7 is damaged$"),  # sent after the DisconnectedError
        ("hang", DataError, "^photo 7 is damaged$"),
        ("kill", RunError, "^process 2 of 2 was killed, .* continue with --resume .*0000-run$"),
        ("crash", RunError, "^process 1 of 2 was disconnected$"),
    ],
)
def test_launch_raises_the_error_that_explains_the_failure(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    fail: str,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        launch(partial(train_and_fail, tmp_path, fail=fail), 2, 1)
    assert ("ZeroDivisionError" in capfd.readouterr().err) == (fail == "crash")


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "RANK": "3"}
SLURM = {
    **{"SLURM_STEP_ID": "0", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"},
    **{"SLURM_LOCALID": "0", "SLURM_JOB_NAME": "train"},
}


@pytest.mark.parametrize(
    ("variables", "name", "world_size", "is_main"),
    [
        ({}, None, 1, True),
        (TORCHRUN, "torchrun", 4, False),
        (SLURM, "SLURM", 4, True),
        ({**SLURM, **TORCHRUN}, "torchrun", 4, False),  # torchrun in a step of SLURM's
        ({**SLURM, "SLURM_JOB_NAME": "bash"}, None, 1, True),  # typed by hand
        ({key: SLURM[key] for key in SLURM if key != "SLURM_STEP_ID"}, None, 1, True),  # no srun
    ],
)
def test_find_launcher(
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    name: str | None,
    world_size: int,
    is_main: bool,
) -> None:
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    launcher = find_launcher()
    assert (launcher and launcher.name) == name
    assert is_main_process() is is_main
    if launcher is not None:
        assert launcher.world_size == world_size
        assert not must_launch(2, 2, 8)
        with pytest.raises(RunError, match=rf"{name} has started 4 processes.* asks for 2"):
            must_launch(2, 1, 8)
    else:
        assert must_launch(2, 1, 8)
        assert not must_launch(1, 1, 8)


def test_must_launch_refuses_impossible_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"divided equally among 3 processes.*batch_size=18"):
        must_launch(3, 1, 16)
    with pytest.raises(RecipeError, match=r"2 processes with .*accumulate=4; .*batch_size=24"):
        must_launch(2, 1, 20, 4)
    with pytest.raises(RunError, match="or set MASTER_ADDR, MASTER_PORT, NODE_RANK"):
        must_launch(1, 2, 16)
    with monkeypatch.context() as patch:
        for key, value in SLURM.items():
            patch.setenv(key, value)
        with pytest.raises(RunError, match="--sweep trains on one machine"):
            train_variants([], tmp_path, tmp_path, name="tiny")
    with pytest.raises(RunError, match="--sweep trains on one machine"):
        train_variants([], tmp_path, tmp_path, name="tiny", nodes=2)
    with pytest.raises(RunError, match="--devices is 0"):
        must_launch(0, 1, 16)
    with monkeypatch.context() as patch:
        for key, value in SLURM.items():
            patch.setenv(key, value)
        with pytest.raises(RunError, match="--ntasks-per-node is 2"):
            must_launch(4, 1, 16)
    arguments = ["train", "tiny", "--data", str(tmp_path), "--devices", "3"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
