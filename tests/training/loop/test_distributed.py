"""Several processes that train as one: 2 and 4 on the CPU, by each way of starting them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from click.testing import CliRunner
from lightning_fabric.plugins.precision import Precision
from torch import Tensor, nn

from photochrom.batch.folders import find_photos
from photochrom.cli import main
from photochrom.errors import PhotochromError, RecipeError, RunError
from photochrom.training.data.packed import PackedPhotos, epoch_order
from photochrom.training.data.prepare import prepare
from photochrom.training.loop import train as train_module
from photochrom.training.loop.distributed import (
    SyncedBatchNorm2d,
    processes,
    synchronize_batch_norm,
)
from photochrom.training.loop.launching import is_main_process, launch, must_launch, started
from photochrom.training.loop.runs import read_environment, read_log
from photochrom.training.loop.train import train
from photochrom.training.recipes.named import RECIPES
from photochrom.training.recipes.recipe import Recipe, apply_settings
from support.photos import write_photos

SETTINGS = {
    # Dropout and batch norm come with the networks; this is all else that is random or counted.
    **{"batch_size": "4", "crop_min": "0.8", "view": "0.9", "aging": "0.5", "ema": "0.9"},
    **{"epochs": "3", "d_threshold": "0.69", "depth": "3", "betas": "0.9,0.999"},
}
SMALL = apply_settings(RECIPES["tiny"], SETTINGS)  # 4 epochs of 6 steps
EXACT = {
    # Features of two classifiers that are judged in turn, spectral norm, two learning rates, aging,
    # hints.
    "photochrom": replace(
        RECIPES["photochrom"],
        **{"base_channels": 4, "encoder_weights": "none", "decoder_channels": (8, 8, 8, 8)},
        **{"image_size": 32, "batch_size": 8, "epochs": 1, "aging": 0.5, "hints": 0.5},
        features=("tu-efficientnet_lite0", "tu-efficientnet_lite1"),
    ),
    # Dropout in the discriminator, turns, norms that track nothing, biases before them.
    "nazeri": replace(
        RECIPES["nazeri-code"],
        **{"discriminator": "classifier", "base_channels": 4, "depth": 2},
        **{"image_size": 32, "batch_size": 8, "epochs": 2, "turn_epochs": 1},
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    photos = write_photos(folder / "photos", 32, size=(48, 48))
    prepare(find_photos([photos]), folder / "data", size=40, eval_fraction=0.2, progress=False)
    return folder / "data"


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that those of several are held against."""
    return train(SMALL, data, tmp_path_factory.mktemp("alone"), device="cpu", progress=False)


def command(data: Path, out: Path, *more: object) -> list[str]:
    settings = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    arguments = ["train", "tiny", "--data", data, "--out", out, "--device", "cpu", *settings, *more]
    return ["-m", "photochrom", *map(str, arguments)]


def state(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run / "state.pt", weights_only=True)
    return loaded


def difference(one: Path, other: Path) -> float:
    """Return by how much weights and statistics of two runs differ at most."""
    first, second = state(one), state(other)
    assert first["step"] == second["step"]
    found = 0.0
    for part in {"generator", "discriminator", "average"} & first.keys():
        assert first[part].keys() == second[part].keys()
        for key, value in first[part].items():
            if isinstance(value, Tensor):
                found = max(found, float((value.double() - second[part][key]).abs().max()))
    return found


def norm_differences() -> list[float]:
    """Return how far a synced norm is from torch's on the whole batch: values and gradients."""
    torch.manual_seed(0)
    x, weights = torch.randn(2, 6, 3, 5, 4, dtype=torch.float64)
    plain = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False)).double()
    shared = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False)).double()
    synchronize_batch_norm(shared, device=torch.device("cpu"), sync_batchnorm=True)
    assert all(type(layer) is SyncedBatchNorm2d for layer in shared)
    assert shared.state_dict().keys() == plain.state_dict().keys()
    mine = slice(3 * dist.get_rank(), 3 * dist.get_rank() + 3)
    inputs = [part.clone().requires_grad_() for part in (5 * x + 20, (5 * x + 20)[mine])]
    outputs = [plain(inputs[0]), shared(inputs[1])]
    (outputs[0] * weights).sum().backward()
    (outputs[1] * weights[mine]).sum().backward()
    pairs = [(outputs[0][mine], outputs[1]), (inputs[0].grad[mine], inputs[1].grad)]
    for key, one in plain.named_parameters():
        gradient = shared.get_parameter(key).grad
        dist.all_reduce(gradient)
        pairs.append((one.grad, gradient))
    pairs += [(value, shared.state_dict()[key]) for key, value in plain.state_dict().items()]
    if dist.get_rank() == 0:  # in eval mode it waits for nobody
        pairs.append((plain.eval()(x), shared.eval()(x)))
    return [float((one - other).abs().max()) for one, other in pairs]


def compute_in_double() -> None:
    """Have this process, which does nothing else, train in float64."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    Precision.convert_input = Precision.convert_output = lambda _, x: x  # type: ignore[method-assign]
    train_module.look = lambda *args: args[4].update(warnings=[])  # its pictures are float32


def work_of_two(data: Path, other: Path, out: Path, *, on_run: object) -> dict[str, Any]:
    """Do all that is asked of two processes in turn, as it takes seconds to start them."""
    with processes("cpu", "32", 2, 1) as fabric:
        rank, norms = fabric.global_rank, norm_differences()
    options: dict[str, Any] = {"device": "cpu", "progress": False}

    seen: list[int] = []
    photo = PackedPhotos.photo
    PackedPhotos.photo = lambda self, i: (  # type: ignore[method-assign]
        seen.append(int(i)) if len(self) > 10 else None,
        photo(self, i),
    )[1]
    once = replace(SMALL, batch_size=8, pretrain_epochs=0, epochs=1, discriminator=None)
    local = train(once, data, out / "seen", devices=2, sync_batchnorm=False, **options)
    (out / f"seen{rank}.json").write_text(json.dumps(seen[1:]))  # the first is a look at the size
    PackedPhotos.photo = photo  # type: ignore[method-assign]

    refusals = []
    for recipe, where in [(SMALL, (data, other)), (SMALL, (data, data / "nowhere"))]:
        try:
            train(recipe, where[rank], out / "none", devices=2, **options)
        except PhotochromError as error:
            refusals.append(f"{type(error).__name__}: {error}")
    (out / f"refusals{rank}.json").write_text(json.dumps(refusals))
    dist.destroy_process_group()  # a refusal leaves it as it is

    compute_in_double()
    for name, recipe in EXACT.items():
        train(recipe, data, out / "two", name=name, devices=2, **options)
    if rank == 0:
        del os.environ["PHOTOCHROM_PROCESSES"]  # from here on it is alone
        for name, recipe in EXACT.items():
            train(recipe, data, out / "one", name=name, **options)
    return {"norms": norms, "local": local}


@pytest.fixture(scope="module")
def two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("two")
    photos = write_photos(out / "photos", 20, size=(48, 48))
    prepare(find_photos([photos]), out / "other", size=40, progress=False)
    return out, launch(partial(work_of_two, data, out / "other", out), 2, 1)


def test_a_norm_of_two_processes_is_that_of_the_whole_batch(two: Any) -> None:
    assert len(two[1]["norms"]) > 8
    assert max(two[1]["norms"]) < 1e-12


def test_each_photo_is_seen_once_in_an_epoch(two: Any, data: Path) -> None:
    seen = [json.loads((two[0] / f"seen{rank}.json").read_text()) for rank in range(2)]
    count = len(PackedPhotos(data, "train")) // 8 * 8
    order = epoch_order(0, 0, len(PackedPhotos(data, "train")))[:count].tolist()
    assert len(set(order)) == count
    for first in range(0, count, 8):
        shares = [part[first // 2 : first // 2 + 4] for part in seen]
        assert shares[0] + shares[1] == order[first : first + 8]
    assert len(seen[0]) == len(seen[1]) == count // 2


def test_processes_that_do_not_fit_each_other_stop_and_one_says_why(two: Any) -> None:
    first, second = (json.loads((two[0] / f"refusals{rank}.json").read_text()) for rank in range(2))
    assert re.match(r"RunError: process 2 of 2 has not the data of process 1", first[0])
    assert re.match(r"ToldError: process 1 of 2 says why", second[0])
    assert re.match(r"ToldError: process 2 of 2 says why", first[1])
    assert re.match(r"DataError: .*nowhere", second[1])
    assert not (two[0] / "none").exists()


@pytest.mark.parametrize("number", range(len(EXACT)), ids=EXACT)
def test_in_double_precision_two_processes_are_one(two: Any, number: int) -> None:
    runs = [next((two[0] / way).glob(f"{number:04d}-*")) for way in ("one", "two")]
    dtypes = {value.dtype for value in state(runs[0])["generator"].values()}
    assert dtypes <= {torch.float64, torch.int64}
    assert difference(*runs) < 1e-7


def test_other_norms_are_not_resumed_with(two: Any, data: Path) -> None:
    recipe = Recipe.from_json((two[1]["local"] / "recipe.json").read_text())
    with pytest.raises(RunError, match="trained with --local-batchnorm; resume it with the same"):
        train(recipe, data, data, device="cpu", progress=False, resume=two[1]["local"])


def test_four_processes_of_the_command_are_one(data: Path, tmp_path: Path, alone: Path) -> None:
    done = subprocess.run(
        [sys.executable, *command(data, tmp_path, "--devices", 4)],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "0000-tiny"
    assert [path.name for path in tmp_path.iterdir()] == [run.name]
    assert f"{run} is trained" in done.stdout
    assert done.stdout.count(" is trained") == 1
    assert state(run)["step"] == 24
    assert difference(run, alone) < 1e-5
    environment = read_environment(run)
    assert (environment["processes"], environment["nodes"]) == (4, 1)
    assert environment["sync_batchnorm"] is True
    assert environment["command"][1:4] == ["train", "tiny", "--data"]
    logs = read_log(run), read_log(alone)
    assert [line["epoch"] for line in logs[0]] == [1, 2, 3, 4]
    assert any(0 < line.get("d_updates", 0) < 1 for line in logs[0])  # the threshold counts
    for ours, theirs in zip(*logs, strict=True):
        for key in ("g_l1", "d_real", "g_gan", "d_updates", "colorfulness", "psnr"):
            assert ours.get(key) == pytest.approx(theirs.get(key), abs=1e-4), key
    assert len(list((run / "tensorboard").iterdir())) == 1


def test_torchrun_starts_the_same_command(data: Path, tmp_path: Path, alone: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, *command(data, tmp_path, "--devices", 2)],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" is trained") == 1
    assert difference(tmp_path / "0000-tiny", alone) < 1e-5


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_a_killed_process_ends_the_job_and_another_number_goes_on(
    data: Path, tmp_path: Path, alone: Path
) -> None:
    run = tmp_path / "0000-tiny"
    with subprocess.Popen(
        [sys.executable, *command(data, tmp_path, "--devices", 2)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as job:
        deadline = time.monotonic() + 120
        while not (run / "state.pt").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        victim = children(job.pid)[1]
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        _, errors = job.communicate(timeout=30)
    assert job.returncode == 1
    assert time.monotonic() - killed < 20
    says = [line for line in errors.replace("\r", "\n").splitlines() if line.startswith("Error")]
    assert says == [
        "Error: process 2 of 2 was killed, most likely because memory ran out, and the others were "
        f"stopped; go on with --resume {run}"
    ]
    assert "Traceback" not in errors
    assert 6 <= state(run)["step"] < 24
    train(SMALL, data, tmp_path, device="cpu", progress=False, resume=run)
    assert difference(run, alone) < 1e-5
    assert [line["epoch"] for line in read_log(run)] == [1, 2, 3, 4]


def children(parent: int) -> list[int]:
    """Return the processes that `launch` has started, first to last."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and "spawn_main" in (place / "cmdline").read_text():
                found.append(int(place.name))
        except OSError:
            continue  # it has just ended
    return sorted(found)


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "RANK": "3"}
SLURM = {
    **{"SLURM_STEP_ID": "0", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"},
    **{"SLURM_LOCALID": "0", "SLURM_JOB_NAME": "train"},
}


@pytest.mark.parametrize(
    ("variables", "by", "size", "first"),
    [
        ({}, None, 1, True),
        (TORCHRUN, "torchrun", 4, False),
        (SLURM, "SLURM", 4, True),
        ({**SLURM, **TORCHRUN}, "torchrun", 4, False),  # torchrun in a step of SLURM's
        ({**SLURM, "SLURM_JOB_NAME": "bash"}, None, 1, True),  # typed by hand
        ({key: SLURM[key] for key in SLURM if key != "SLURM_STEP_ID"}, None, 1, True),  # no srun
    ],
)
def test_who_started_the_processes(
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    by: str | None,
    size: int,
    first: bool,
) -> None:
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    place = started()
    assert (place and place.by) == by
    assert is_main_process() is first
    if place is not None:
        assert place.processes == size
        assert not must_launch(2, 2, 8)
        with pytest.raises(RunError, match=rf"{by} has started 4 processes.* asks for 2"):
            must_launch(2, 1, 8)
    else:
        assert must_launch(2, 1, 8)
        assert not must_launch(1, 1, 8)


def test_what_cannot_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"3 processes cannot share equally.*batch_size=18"):
        must_launch(3, 1, 16)
    with pytest.raises(RunError, match="or set MASTER_ADDR, MASTER_PORT, NODE_RANK"):
        must_launch(1, 2, 16)
    with pytest.raises(RunError, match="0 devices on 1 nodes"):
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
