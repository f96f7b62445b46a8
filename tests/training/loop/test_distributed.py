"""Training in 2 and 4 processes on the CPU, started in each possible way."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from click.testing import CliRunner
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from lightning_fabric.plugins.precision import Precision
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

from photochrom.cli import main
from photochrom.errors import PhotochromError, RecipeError, RunError
from photochrom.training.data.packed import PackedPhotos, epoch_order
from photochrom.training.loop.building import build, check_second_derivatives
from photochrom.training.loop.distributed import process_group
from photochrom.training.loop.synchronized_layers import SyncBatchNormCPU, synchronize_layers
from photochrom.training.loop.train import train
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.runs import read_environment, read_log
from support.data import pack
from support.photos import write_photos

pytestmark = pytest.mark.slow

# The networks have dropout and batch norm; these settings add all other random numbers.
SETTINGS = {
    "data.batch_size": 4,
    "data.crop_min": 0.8,
    "data.degradation": 0.5,
    "generator.depth": 3,
    "generator.dropout_stages": 1,
    "adversarial.window": 0.9,
    "adversarial.d_threshold": 0.69,
    "optimization.ema": 0.9,
    "optimization.beta1": 0.9,
    "schedule.epochs": 3,
}
SMALL = override(named_recipe("tiny"), SETTINGS)  # 4 epochs of 6 steps
DOUBLE_PRECISION_RECIPES = {
    # Two feature networks, spectral norm, two learning rates, degradation, hints, regularizers.
    "photochrom": override(
        named_recipe("photochrom"),
        {
            "generator.encoder": "tu-test_efficientnet",
            "generator.encoder_weights": "none",
            "generator.decoder_channels": (8, 8, 8, 8),
            "generator.hints": True,
            "adversarial.regularization.r1.weight": 0.1,
            "adversarial.regularization.gradient_penalty.weight": 0.1,
            "discriminator.base_channels": 4,
            "discriminator.networks": ("tu-efficientnet_lite0", "tu-efficientnet_lite1"),
            "objective.perceptual.networks": ("tu-efficientnet_lite0",),
            "data.image_size": 32,
            "data.batch_size": 8,
            "data.degradation": 0.5,
            "data.hints": 0.5,
            "schedule.epochs": 1,
        },
    ),
    # Dropout in the discriminator, turns, norms without statistics, biases before norms.
    "nazeri": override(
        named_recipe("nazeri-code"),
        {
            "generator.base_channels": 4,
            "generator.depth": 2,
            "discriminator.kind": "classifier",
            "discriminator.base_channels": 2,
            "adversarial.turn_epochs": 1,
            "data.image_size": 32,
            "data.batch_size": 8,
            "schedule.epochs": 2,
        },
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    photos = write_photos(folder / "photos", 32, size=(48, 48))
    return pack(photos, folder / "data", size=40, validation=6)


@pytest.fixture(scope="module")
def reference(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a single process."""
    return train(SMALL, data, tmp_path_factory.mktemp("reference"), device="cpu", progress=False)


@pytest.fixture(scope="module")
def fork() -> Callable[..., Any]:
    """torch's `spawn`, from a process that has imported what trains: that takes 6 seconds."""
    modules = ["photochrom.training.loop.train"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(modules)
    return partial(start_processes, start_method="forkserver")


def command(data: Path, out: Path, *more: object) -> list[str]:
    settings = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    arguments = ["train", "tiny", "--data", data, "--out", out, "--device", "cpu", *settings, *more]
    return [str(argument) for argument in arguments]


def state(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run / "state.pt", weights_only=True)
    return loaded


def difference(one: Path, other: Path) -> float:
    """Return the largest difference of weights and statistics of two runs."""
    first, second = state(one), state(other)
    assert first["step"] == second["step"]
    largest = 0.0
    for part in {"generator", "discriminator", "average"} & first.keys():
        assert first[part].keys() == second[part].keys()
        for key, value in first[part].items():
            if isinstance(value, Tensor):
                largest = max(largest, float((value.double() - second[part][key]).abs().max()))
    return largest


def norm_differences() -> list[float]:
    """Return the differences of a synchronized norm from torch's on the whole batch."""
    torch.manual_seed(0)
    x, weights = torch.randn(2, 6, 3, 5, 4, dtype=torch.float64)
    plain = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False)).double()
    shared = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False)).double()
    synchronize_layers(shared, device=torch.device("cpu"), sync_batchnorm=True)
    assert all(type(layer) is SyncBatchNormCPU for layer in shared)
    assert shared.state_dict().keys() == plain.state_dict().keys()
    local = slice(3 * dist.get_rank(), 3 * dist.get_rank() + 3)
    inputs = [part.clone().requires_grad_() for part in (5 * x + 20, (5 * x + 20)[local])]
    outputs = [plain(inputs[0]), shared(inputs[1])]
    (outputs[0] * weights).sum().backward()
    (outputs[1] * weights[local]).sum().backward()
    pairs = [(outputs[0][local], outputs[1]), (inputs[0].grad[local], inputs[1].grad)]
    for key, one in plain.named_parameters():
        gradient = shared.get_parameter(key).grad
        dist.all_reduce(gradient)
        pairs.append((one.grad, gradient))
    pairs += [(value, shared.state_dict()[key]) for key, value in plain.state_dict().items()]
    if dist.get_rank() == 0:  # eval mode has no collectives
        pairs.append((plain.eval()(x), shared.eval()(x)))
    return [float((one - other).abs().max()) for one, other in pairs]


def compute_in_double() -> None:
    """Make this process train in float64."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    Precision.convert_input = Precision.convert_output = lambda _, x: x  # type: ignore[method-assign]


def run_in_two_processes(
    rank: int, ports: tuple[int, int], data: Path, other: Path, out: Path
) -> None:
    """Do the work of several tests, as starting processes takes seconds."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "TORCHELASTIC_RUN_ID": "test"}
    variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": ports[0]}
    os.environ.update({key: str(value) for key, value in variables.items()})
    with process_group("cpu", "32", 2, 1):
        norms = norm_differences()
    options: dict[str, Any] = {"device": "cpu", "progress": False}

    indices: list[int] = []
    photo = PackedPhotos.photo
    PackedPhotos.photo = lambda self, i: (  # type: ignore[method-assign]
        indices.append(int(i)) if len(self) > 10 else None,
        photo(self, i),
    )[1]
    once = override(
        SMALL,
        {
            "data.batch_size": 8,
            "schedule.pretrain_epochs": 0,
            "schedule.epochs": 1,
            "discriminator": None,
        },
    )
    local = train(once, data, out / "local", devices=2, sync_batchnorm=False, **options)
    (out / f"indices{rank}.json").write_text(json.dumps(indices[1:]))  # first: the size check
    PackedPhotos.photo = photo  # type: ignore[method-assign]

    errors = []
    for second in (other, data / "nowhere"):
        try:
            train(SMALL, (data, second)[rank], out / "none", devices=2, **options)
        except PhotochromError as error:
            errors.append(f"{type(error).__name__}: {error}")
    (out / f"errors{rank}.json").write_text(json.dumps(errors))
    dist.destroy_process_group()  # an error leaves it initialized
    # Under the same port, this process could still find the store that the other is closing.
    os.environ["MASTER_PORT"] = str(ports[1])

    compute_in_double()
    for name, recipe in DOUBLE_PRECISION_RECIPES.items():
        train(recipe, data, out / "two", name=name, devices=2, **options)
    if rank == 0:
        del os.environ["TORCHELASTIC_RUN_ID"]  # train in this process alone
        for name, recipe in DOUBLE_PRECISION_RECIPES.items():
            train(recipe, data, out / "one", name=name, **options)
        (out / "result.json").write_text(json.dumps({"norms": norms, "local": str(local)}))


@pytest.fixture(scope="module")
def two(
    fork: Callable[..., Any], data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("two")
    photos = write_photos(out / "photos", 20, size=(48, 48))
    pack(photos, out / "other", size=40, validation=4)
    ports = find_free_network_port(), find_free_network_port()
    fork(run_in_two_processes, (ports, data, out / "other", out), nprocs=2)
    return out, json.loads((out / "result.json").read_text())


def test_synchronized_norm_equals_norm_of_the_whole_batch(two: Any) -> None:
    assert len(two[1]["norms"]) > 8
    assert max(two[1]["norms"]) < 1e-12


def test_processes_load_each_photo_once_in_an_epoch(two: Any, data: Path) -> None:
    indices = [json.loads((two[0] / f"indices{rank}.json").read_text()) for rank in range(2)]
    count = len(PackedPhotos(data, "train")) // 8 * 8
    order = epoch_order(0, 0, len(PackedPhotos(data, "train")))[:count].tolist()
    assert len(set(order)) == count
    for first in range(0, count, 8):
        shares = [part[first // 2 : first // 2 + 4] for part in indices]
        assert shares[0] + shares[1] == order[first : first + 8]
    assert len(indices[0]) == len(indices[1]) == count // 2


def test_error_on_one_process_is_reported_once(two: Any) -> None:
    first, second = (json.loads((two[0] / f"errors{rank}.json").read_text()) for rank in range(2))
    assert re.match(
        r"RunError: process 2 of 2 differs from process 1 in data_fingerprint", first[0]
    )
    assert re.match(r"ReportedElsewhereError: process 1 of 2 reports", second[0])
    assert re.match(r"ReportedElsewhereError: process 2 of 2 reports", first[1])
    assert re.match(r"DataError: .*nowhere", second[1])
    assert not (two[0] / "none").exists()


@pytest.mark.parametrize(
    "number", range(len(DOUBLE_PRECISION_RECIPES)), ids=DOUBLE_PRECISION_RECIPES
)
def test_two_processes_equal_one_in_double_precision(two: Any, number: int) -> None:
    runs = [next((two[0] / way).glob(f"{number:04d}-*")) for way in ("one", "two")]
    dtypes = {value.dtype for value in state(runs[0])["generator"].values()}
    assert dtypes <= {torch.float64, torch.int64}
    assert difference(*runs) < 1e-7


@pytest.mark.parametrize(
    ("discriminator", "regularizer", "refused"),
    [("patch", "r1", True), ("patch", None, False), ("projected", "r1", False)],
)
def test_regularizers_need_norms_with_second_derivatives(
    discriminator: str, regularizer: str | None, refused: bool
) -> None:
    changes: dict[str, object] = {"discriminator.kind": discriminator}
    if regularizer is not None:
        changes[f"adversarial.regularization.{regularizer}.weight"] = 1.0
    recipe = override(named_recipe("tiny"), changes)
    networks = build(recipe, torch.device("cpu"))
    expected = (
        pytest.raises(RecipeError, match="give --local-batchnorm") if refused else nullcontext()
    )
    with expected:
        check_second_derivatives(networks, recipe)


def test_resume_with_other_batchnorm_is_refused(two: Any, data: Path) -> None:
    run = Path(two[1]["local"])
    recipe = Recipe.from_json((run / "recipe.json").read_text())
    with pytest.raises(RunError, match="trained with --local-batchnorm; resume it with the same"):
        train(recipe, data, data, device="cpu", progress=False, resume=run)


def test_command_with_four_processes_equals_one(
    fork: Callable[..., Any],
    data: Path,
    tmp_path: Path,
    reference: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = command(data, tmp_path, "--devices", 4)
    monkeypatch.setattr(sys.modules["torch.multiprocessing.spawn"], "spawn", fork)
    monkeypatch.setattr(sys, "argv", ["photochrom", *arguments])
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    run = tmp_path / "0000-tiny"
    assert [path.name for path in tmp_path.iterdir()] == [run.name]
    assert f"{run} is trained" in done.stdout
    assert (done.stdout + capfd.readouterr().out).count(" is trained") == 1
    assert state(run)["step"] == 24
    assert difference(run, reference) < 1e-5
    environment = read_environment(run)
    assert (environment["processes"], environment["nodes"]) == (4, 1)
    assert environment["sync_batchnorm"] is True
    assert environment["command"][1:4] == ["train", "tiny", "--data"]
    logs = read_log(run), read_log(reference)
    assert [line["epoch"] for line in logs[0]] == [1, 2, 3, 4]
    assert any(0 < line.get("d_updates", 0) < 1 for line in logs[0])  # d_threshold skips updates
    for ours, theirs in zip(*logs, strict=True):
        for key in ("g_l1", "d_real", "g_gan", "d_updates", "colorfulness", "psnr"):
            assert ours.get(key) == pytest.approx(theirs.get(key), abs=1e-4), key
    assert len(list((run / "tensorboard").iterdir())) == 1


def test_torchrun_with_two_processes_equals_one(
    data: Path, tmp_path: Path, reference: Path
) -> None:
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    photochrom = ["-m", "photochrom", *command(data, tmp_path, "--devices", 2)]
    done = subprocess.run(
        [sys.executable, *torchrun, *photochrom],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" is trained") == 1
    assert difference(tmp_path / "0000-tiny", reference) < 1e-5


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_killed_process_ends_the_command_and_the_run_is_resumed(
    data: Path, tmp_path: Path, reference: Path
) -> None:
    run = tmp_path / "0000-tiny"
    with subprocess.Popen(
        [sys.executable, "-m", "photochrom", *command(data, tmp_path, "--devices", 2)],
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
        _, errors = job.communicate(timeout=60)
    assert job.returncode == 1
    assert time.monotonic() - killed < 60
    messages = [
        line for line in errors.replace("\r", "\n").splitlines() if line.startswith("Error")
    ]
    assert messages == [
        "Error: process 2 of 2 was killed, most likely because memory ran out, and the others were "
        f"stopped; continue with --resume {run}"
    ]
    assert "Traceback" not in errors
    assert 6 <= state(run)["step"] < 24
    train(SMALL, data, tmp_path, device="cpu", progress=False, resume=run)
    assert difference(run, reference) < 1e-5
    assert [line["epoch"] for line in read_log(run)] == [1, 2, 3, 4]


def children(parent: int) -> list[int]:
    """Return the processes that `launch` started, by rank."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and "spawn_main" in (folder / "cmdline").read_text():
                pids.append(int(folder.name))
        except OSError:
            continue  # it has ended meanwhile
    return sorted(pids)
