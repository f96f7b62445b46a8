"""The training loop, run directories, and resuming."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from photochrom.errors import DataError, ModelError, RecipeError, RunError
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.loop import distributed
from photochrom.training.loop import train as train_module
from photochrom.training.loop.building import build, describe
from photochrom.training.loop.monitor import NonFiniteLossError, list_warnings
from photochrom.training.loop.train import train
from photochrom.training.networks import encoders, features
from photochrom.training.onnx.export import export
from photochrom.training.recipes.loading import named_recipe, recipe_names
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.runs import (
    Keep,
    append_log,
    keep_epoch,
    load_generator,
    read_environment,
    read_log,
)
from photochrom.training.tensors import to_L_ab
from support.data import pack
from support.photos import write_photos

pytestmark = pytest.mark.slow

TINY = named_recipe("tiny")
L1_ONLY = override(TINY, {"discriminator": None, "schedule.pretrain_epochs": 0})
ENCODER_L1 = override(
    L1_ONLY,
    {
        "generator.kind": "encoder_unet",
        "generator.encoder": "tu-test_efficientnet",
        "generator.encoder_weights": "none",
        "generator.decoder_channels": (24, 16, 8, 8),
    },
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    photos = write_photos(folder / "photos", 20, size=(48, 48))
    return pack(photos, folder / "data", size=40, validation=4)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of TINY, which no test may change."""
    out = tmp_path_factory.mktemp("trained")
    return train(TINY, data, out, name="tiny", device="cpu", progress=False)


@pytest.fixture
def own_run(trained: Path, tmp_path: Path) -> Path:
    """A copy of `trained`."""
    return Path(shutil.copytree(trained, tmp_path / trained.name))


@pytest.fixture(scope="module", params=["constant", "plateau"])
def uninterrupted(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recipe, Path]:
    """A recipe with a schedule, and a run of it."""
    changes = {"optimization.lr_schedule": request.param, "optimization.lr_pretrain": 1e-3}
    recipe = override(TINY, changes)
    out = tmp_path_factory.mktemp("uninterrupted")
    return recipe, train(recipe, data, out, device="cpu", progress=False)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "generator.safetensors")


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


class Killed(Exception):  # noqa: N818 (a signal, not an error)
    """Simulates `kill -9` within a run."""


def kill_after(step: int) -> object:
    def on_step(taken: int) -> None:
        if taken == step:
            raise Killed

    return on_step


def test_run_directory_is_complete(trained: Path) -> None:
    run = trained
    assert run.name == "0000-tiny"
    assert Recipe.from_json((run / "recipe.json").read_text()) == TINY
    environment = json.loads((run / "environment.json").read_text())
    assert environment["data_fingerprint"]
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]
    log = read_log(run)
    assert [line["phase"] for line in log] == ["pretrain", "gan"]
    assert {"g_l1", "colorfulness_ratio", "images_per_second"} <= log[0].keys()
    assert {"d_real", "d_fake", "g_gan", "d_real_accuracy", "d_fake_accuracy"} <= log[1].keys()
    assert sorted(p.name for p in (run / "samples").iterdir()) == ["epoch_001.png", "epoch_002.png"]
    assert list((run / "tensorboard").iterdir())
    generator, recipe = load_generator(run)
    assert recipe == TINY
    assert generator(torch.zeros(1, 1, 17, 33)).shape == (1, 2, 17, 33)


@pytest.mark.parametrize(("variable", "threads"), [(None, 2), ("3", 3)])
def test_training_takes_no_more_threads_than_cores(
    variable: str | None, threads: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(distributed, "count_cores", lambda: 2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        run = train(L1_ONLY, data, tmp_path, device="cpu", progress=False)
        torch.set_num_threads(1)
        fewer = train(L1_ONLY, data, tmp_path, device="cpu", progress=False)
    finally:
        torch.set_num_threads(before)
    assert read_environment(run)["threads"] == threads
    assert read_environment(fewer)["threads"] == 1


def test_weights_depend_on_the_seed_alone(data: Path, tmp_path: Path, trained: Path) -> None:
    same = train(TINY, data, tmp_path, device="cpu", progress=False)
    assert_same_weights(trained, same)
    other = train(override(TINY, {"seed": 1}), data, tmp_path, device="cpu", progress=False)
    key = "down.0.0.weight"
    assert not torch.equal(weights(trained)[key], weights(other)[key])


def test_generator_weights_from_a_run(data: Path, tmp_path: Path, trained: Path):
    frozen = override(
        TINY,
        {
            "initialization.generator_weights": str(trained),
            "optimization.lr_g": 1e-12,
            "adversarial.lr_d": 0.0,
        },
    )
    second = train(frozen, data, tmp_path, device="cpu", progress=False)
    before, after = weights(trained), weights(second)
    for key, value in before.items():
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(after[key], value, rtol=0, atol=1e-6)
    for path, message in ((tmp_path / "nowhere", "does not exist"), (tmp_path, "no weights yet")):
        without = override(TINY, {"initialization.generator_weights": str(path)})
        with pytest.raises(RunError, match=message):
            train(without, data, tmp_path / "none", progress=False)
    with pytest.raises(RunError, match="do not fit the generator of the recipe"):
        train(
            override(frozen, {"generator.base_channels": 8}),
            data,
            tmp_path / "none",
            progress=False,
        )
    assert not (tmp_path / "none").exists()


def test_run_without_a_checkpoint_resumes_from_generator_weights(
    data: Path, tmp_path: Path, trained: Path
):
    recipe = override(TINY, {"initialization.generator_weights": str(trained)})
    uninterrupted = train(recipe, data, tmp_path, device="cpu", progress=False)
    with pytest.raises(Killed):
        train(recipe, data, tmp_path, device="cpu", progress=False, on_step=kill_after(1))
    killed = tmp_path / "0001-run"
    assert not (killed / "state.pt").exists()
    train(recipe, data, tmp_path, device="cpu", progress=False, resume=killed)
    assert_same_weights(killed, uninterrupted)


def test_resuming_removes_the_metrics_of_earlier_weights(data: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(TINY, data, tmp_path, device="cpu", progress=False, on_step=kill_after(3))
    run = tmp_path / "0000-run"
    files = [run / name for name in ("metrics.json", "scores.csv", "metrics-test.json")]
    for resumed, remaining in ((True, []), (False, files)):
        for file in files:
            file.touch()
        train(TINY, data, tmp_path, device="cpu", progress=False, resume=run)
        assert [file for file in files if file.exists()] == remaining, resumed


def test_trained_run_without_its_state_is_not_trained_again(
    data: Path, tmp_path: Path, trained: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "state.pt").unlink()
    log = (run / "log.jsonl").read_bytes()
    with pytest.raises(RunError, match=r"has a log of 2 epochs and no state\.pt to resume from"):
        train(TINY, data, tmp_path, device="cpu", progress=False, resume=run)
    assert (run / "log.jsonl").read_bytes() == log
    assert_same_weights(run, trained)


@pytest.mark.parametrize("split", ["validation", "train"])
def test_photos_that_are_too_small_are_refused_before_the_first_step(
    split: str, tmp_path: Path
) -> None:
    photos = write_photos(tmp_path / "photos", 10, size=(48, 48))
    small = sorted(photos.iterdir())[2 if split == "validation" else 5]
    with Image.open(small) as image:
        image.resize((20, 20)).save(small)
    data = pack(photos, tmp_path / "data", size=32, validation=4, small="keep")
    with pytest.raises(DataError, match=r"a photo of 20x20 px, smaller than the data\.image_size"):
        train(TINY, data, tmp_path / "runs", device="cpu", progress=False)
    assert not (tmp_path / "runs").exists()


def test_generator_weights_from_an_exported_file(data: Path, tmp_path: Path) -> None:
    first = train(ENCODER_L1, data, tmp_path, device="cpu", progress=False)
    file = export(first, tmp_path / "first.onnx", half=False)
    frozen = override(
        ENCODER_L1, {"initialization.generator_weights": str(file), "optimization.lr_g": 1e-12}
    )
    before, after = weights(first), weights(train(frozen, data, tmp_path, progress=False))
    for key in ("head.weight", "head.bias"):  # no norm is folded into it
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=1e-6)
    with pytest.raises(ModelError, match="are not those of the recipe's generator"):
        train(
            override(frozen, {"generator.decoder_channels": (24, 16, 8, 4)}),
            data,
            tmp_path / "none",
        )
    assert not (tmp_path / "none").exists()


def test_first_gan_steps_do_not_undo_pretraining(tmp_path: Path) -> None:
    """With Adam's moments of L1 alone, the first GAN steps would be far too large."""
    photos = write_photos(tmp_path / "photos", 44, size=(32, 32))
    data = pack(photos, tmp_path / "data", size=32, validation=4)
    recipe = override(
        TINY,
        {"schedule.pretrain_epochs": 30, "objective.l1.weight": 100.0, "optimization.lr_g": 2e-3},
    )  # 10 steps an epoch
    L, ab = to_L_ab(PackedPhotos(data, "train").batch(list(range(40)), 32, None))

    def error(run: Path) -> float:
        generator, _ = load_generator(run)
        with torch.no_grad():
            return float((generator.train()(L) - ab).abs().mean())

    with pytest.raises(Killed):
        train(recipe, data, tmp_path, progress=False, device="cpu", on_step=kill_after(300))
    run = tmp_path / "0000-run"
    before = error(run)
    train(recipe, data, tmp_path, progress=False, device="cpu", resume=run)
    assert error(run) < 1.1 * before


@pytest.mark.parametrize("step", [2, 4, 6])  # within an epoch, at its end, in the GAN phase
def test_resumed_run_has_the_weights_of_an_uninterrupted_one(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    uninterrupted: tuple[Recipe, Path],
) -> None:
    monkeypatch.setattr(train_module, "STATE_EVERY_SECONDS", 0.0)
    recipe, whole = uninterrupted
    with pytest.raises(Killed):
        train(
            recipe, data, tmp_path / "cut", device="cpu", progress=False, on_step=kill_after(step)
        )
    cut = tmp_path / "cut/0000-run"
    resumed = train(recipe, data, tmp_path, device="cpu", progress=False, resume=cut)
    assert resumed == cut
    assert_same_weights(whole, cut)
    assert [line["epoch"] for line in read_log(cut)] == [1, 2]
    for ours, theirs in zip(read_log(cut), read_log(whole), strict=True):
        assert ours["g_l1"] == theirs["g_l1"]


def test_run_of_a_killed_process_is_resumed(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "photochrom", "train", "tiny", "--data", str(data)]
    command += ["--device", "cpu", "--out", str(tmp_path / "runs"), "--set", "schedule.epochs=12"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = tmp_path / "runs/0000-tiny"
    limit = time.monotonic() + 120
    while not (run / "state.pt").is_file() and time.monotonic() < limit:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    recipe = override(TINY, {"schedule.epochs": 12})
    train(recipe, data, tmp_path, device="cpu", progress=False, resume=run)
    uninterrupted = train(recipe, data, tmp_path / "uninterrupted", device="cpu", progress=False)
    assert_same_weights(run, uninterrupted)
    assert [line["epoch"] for line in read_log(run)] == list(range(1, 14))


ALL_EXTRAS = override(
    TINY,
    {
        "discriminator.kind": "projected",
        "adversarial.loss.kind": "hinge",
        "adversarial.window": 0.75,
        "adversarial.regularization.r1.weight": 0.1,
        "objective.perceptual.weight": 0.1,
        "optimization.ema": 0.9,
        "data.degradation": 0.5,
        "data.saturation": 1.2,
        "data.crop_min": 0.8,
    },
)


def test_resume_with_every_extra_gives_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "STATE_EVERY_SECONDS", 0.0)
    uninterrupted = train(
        ALL_EXTRAS, data, tmp_path / "uninterrupted", device="cpu", progress=False
    )
    with pytest.raises(Killed):
        train(ALL_EXTRAS, data, tmp_path, device="cpu", progress=False, on_step=kill_after(5))
    cut = tmp_path / "0000-run"
    train(ALL_EXTRAS, data, tmp_path, device="cpu", progress=False, resume=cut)
    assert_same_weights(uninterrupted, cut)
    assert read_log(cut)[1]["g_perceptual"] > 0
    state = torch.load(cut / "state.pt", weights_only=True)
    assert state["average"]["updates"] == state["step"]
    saved = weights(cut)
    assert all(torch.equal(saved[key], state["average"][key]) for key in saved)
    assert any(not torch.equal(saved[key], state["generator"][key]) for key in saved)


def test_target_saturation_increases_colorfulness(data: Path, tmp_path: Path) -> None:
    recipe = override(L1_ONLY, {"schedule.epochs": 6, "optimization.lr_g": 3e-3})
    ratios = []
    for factor in (0.5, 2.0):
        more = override(recipe, {"data.saturation": factor})
        run = train(more, data, tmp_path, device="cpu", progress=False)
        ratios.append(read_log(run)[-1]["colorfulness_ratio"])
    assert ratios[1] > 1.5 * ratios[0]


def test_resuming_a_finished_run_changes_nothing(data: Path, tmp_path: Path, own_run: Path) -> None:
    before = (own_run / "log.jsonl").read_text()
    train(TINY, data, tmp_path, device="cpu", progress=False, resume=own_run)
    assert (own_run / "log.jsonl").read_text() == before


def test_resume_with_another_recipe_or_other_data_is_refused(
    data: Path, tmp_path: Path, own_run: Path
) -> None:
    run = own_run
    with pytest.raises(RunError, match=r"optimization\.lr_g was 0\.0002 and is 0\.1"):
        train(
            override(TINY, {"optimization.lr_g": 0.1}), data, tmp_path, progress=False, resume=run
        )
    photos = write_photos(tmp_path / "photos", 10)
    pack(photos, tmp_path / "other", size=40, validation=2)
    with pytest.raises(RunError, match="other data"):
        train(TINY, tmp_path / "other", tmp_path, progress=False, resume=run)
    with pytest.raises(RunError, match="--precision 32; resume it with the same"):
        train(TINY, data, tmp_path, progress=False, resume=run, precision="bf16")
    with pytest.raises(RunError, match="is not a run"):
        train(TINY, data, tmp_path, progress=False, resume=tmp_path / "nowhere")


def test_non_finite_loss_stops_training(data: Path, tmp_path: Path) -> None:
    recipe = override(
        TINY,
        {
            "schedule.pretrain_epochs": 0,
            "objective.l1.weight": 1e34,
            "optimization.lr_g": 1e30,
            "schedule.epochs": 4,
        },
    )
    with pytest.raises(
        NonFiniteLossError, match=r"no longer finite in epoch \d.*lower optimization.lr_g"
    ):
        train(recipe, data, tmp_path, device="cpu", progress=False)
    state = tmp_path / "0000-run/state.pt"
    if state.is_file():  # a state saved before is finite
        saved = torch.load(state, weights_only=True)
        assert all(torch.isfinite(value).all() for value in saved["generator"].values())


def test_non_finite_weights_are_not_saved(data: Path, tmp_path: Path) -> None:
    # The variance of a norm overflows, which does not affect losses in training mode.
    recipe = override(TINY, {"schedule.pretrain_epochs": 0, "optimization.lr_g": 1e6})
    with pytest.raises(NonFiniteLossError, match=r"weights are no longer finite after epoch 1"):
        train(recipe, data, tmp_path, device="cpu", progress=False)
    assert not (tmp_path / "0000-run/generator.safetensors").exists()


def test_image_size_too_small_for_a_network_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be trained on 4 photos of 16 px"):
        train(override(TINY, {"data.image_size": 16}), data, tmp_path / "runs", progress=False)
    assert not (tmp_path / "runs").exists()


def test_photo_too_small_for_its_statistics_is_refused(data: Path, tmp_path: Path) -> None:
    """Statistics of one value are undefined: one pixel of one photo, unlike of two photos."""
    settings = {"data.image_size": 32, "generator.encoder": "tu-resnet18"}
    settings |= {"generator.decoder_channels": (8, 8, 8, 8), "inference.batch_statistics": True}
    with pytest.raises(RecipeError, match="Expected more than 1 value per channel"):
        train(override(ENCODER_L1, settings), data, tmp_path / "runs", progress=False)
    assert not (tmp_path / "runs").exists()


def test_inference_without_layers_for_it_is_refused(data: Path, tmp_path: Path) -> None:
    settings = {"generator.dropout_stages": 0, "inference.dropout": True}
    with pytest.raises(RecipeError, match=r"inference.dropout changes nothing, as the generator"):
        train(override(TINY, settings), data, tmp_path / "runs", progress=False)


def test_plateau_counts_the_epochs_that_train_the_generator(data: Path, tmp_path: Path) -> None:
    settings = {"optimization.lr_schedule": "plateau", "adversarial.d_only_epochs": 8}
    settings |= {"schedule.pretrain_epochs": 0, "schedule.epochs": 1}
    run = train(override(TINY, settings), data, tmp_path, device="cpu", progress=False)
    assert {line["lr_g"] for line in read_log(run)} == {TINY.optimization.lr_g}


WRONG_PARTS = {
    "generator": (
        "def forward(self, L): return self.layer(L)[:, :1]",
        r"the generator returns \(2, 1, 32, 32\) for L of .*; \(2, 2, 32, 32\) is needed",
    ),
    "discriminator": (
        "def forward(self, photo): return self.layer(photo[:, :1])",
        r"do not fit each other \(.*forward\(\) takes 2 positional arguments but 3 were .*; see",
    ),
    "objective.mine": (
        "def __new__(cls, sample): return (sample.values - sample.target).abs()",
        r"the term mine returns a tensor of shape \(2, 2, 32, 32\); return a scalar",
    ),
    "objective.other": (
        "def __new__(cls, sample): return 0.5",
        r"do not fit each other \('float' object has no attribute 'ndim'\); see the contracts",
    ),
    "objective.without_message": (
        "def __new__(cls, sample): assert sample is None",
        r"cannot be trained on 4 photos of 32 px at a time \(AssertionError\); give another",
    ),
}


@pytest.mark.parametrize("part", WRONG_PARTS)
def test_parts_that_break_their_contract_are_refused(
    part: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, message = WRONG_PARTS[part]
    module = f"wrong_{part.replace('.', '_')}"
    arguments = "self, out_channels" if part == "generator" else "self"
    (tmp_path / f"{module}.py").write_text(
        "from torch import nn\n\nclass Part(nn.Module):\n"
        f"    def __init__({arguments}):\n        super().__init__()\n"
        "        self.layer = nn.Conv2d(1, 2, 1)\n\n"
        f"    {code}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    weight = {f"{part}.weight": 1} if part.startswith("objective") else {}
    recipe = override(TINY, {f"{part}.kind": f"{module}:Part", **weight})
    with pytest.raises(RecipeError, match=message) as caught:
        train(recipe, data, tmp_path / "runs", device="cpu", progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_missing_package_of_a_loss_is_an_error_of_its_own(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "find_weight_file", lambda package, file: None)
    features._feature_network.cache_clear()
    recipe = override(
        TINY,
        {"objective.perceptual.weight": 1, "objective.perceptual.networks": "stlpips-alexnet"},
    )
    with pytest.raises(RecipeError, match=r"^the package stlpips_pytorch is not installed") as e:
        train(recipe, data, tmp_path / "runs", device="cpu", progress=False)
    assert "data.image_size" not in str(e.value)


def test_encoder_of_another_fixed_size_is_refused(data: Path, tmp_path: Path) -> None:
    recipe = override(
        ENCODER_L1,
        {
            "generator.encoder": "tu-swin_tiny_patch4_window7_224",
            "generator.decoder_channels": (8, 8, 8, 8),
        },
    )
    with pytest.raises(RecipeError, match=r"on 4 photos of 32 px .*doesn't match model \(224\)"):
        train(recipe, data, tmp_path / "runs", device="cpu", progress=False)
    assert not (tmp_path / "runs").exists()


def test_damaged_run_files(data: Path, tmp_path: Path, own_run: Path) -> None:
    run = own_run
    sound = {name: (run / name).read_bytes() for name in ("log.jsonl", "state.pt")}
    (run / "log.jsonl").write_bytes(sound["log.jsonl"] + b'{"epoch": 3, "st')  # a power cut
    assert [line["epoch"] for line in read_log(run)] == [1, 2]
    assert train(TINY, data, tmp_path, device="cpu", progress=False, resume=run) == run
    assert (run / "log.jsonl").read_bytes() == sound["log.jsonl"]
    for name, reason in [("log.jsonl", "delete it"), ("state.pt", "damaged or truncated")]:
        (run / name).write_bytes(b"garbage\n")
        with pytest.raises(RunError, match=reason):
            train(TINY, data, tmp_path, device="cpu", progress=False, resume=run)
        (run / name).write_bytes(sound[name])
    (run / "environment.json").write_text("{}")
    with pytest.raises(RunError, match="other data"):
        train(TINY, data, tmp_path, progress=False, resume=run)
    (run / "recipe.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="must be JSON"):
        train(TINY, data, tmp_path, progress=False, resume=run)


def test_warning_about_grey_output(data: Path, tmp_path: Path) -> None:
    recipe = override(
        TINY, {"discriminator": None, "schedule.pretrain_epochs": 0, "optimization.lr_g": 1e-9}
    )
    run = train(recipe, data, tmp_path, device="cpu", progress=False)
    assert "nearly grey" in read_log(run)[0]["warnings"][0]


def test_warning_about_a_too_accurate_discriminator() -> None:
    line = {"colorfulness_ratio": 0.9, "d_real_accuracy": 1.0, "d_fake_accuracy": 0.99}
    assert "right about nearly every photo" in list_warnings(line)[0]
    assert list_warnings({**line, "d_fake_accuracy": 0.5}) == []


def test_too_few_or_too_small_photos_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a batch takes 64"):
        train(override(TINY, {"data.batch_size": 64}), data, tmp_path, progress=False)
    with pytest.raises(DataError, match="image_size=40"):
        train(override(TINY, {"data.image_size": 64}), data, tmp_path, progress=False)
    assert not list(tmp_path.iterdir())  # no run directory was made


def test_missing_device_is_refused(data: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(RunError, match="there is no cuda here"):
        train(TINY, data, tmp_path, device="cuda", progress=False)


def shrink(recipe: Recipe) -> Recipe:
    """Return a recipe with tiny networks on tiny photos, without pretraining."""
    sizes: dict[str, object] = {"base_channels": 2, "channels": 2, "depth": 3, "blocks": 2}
    sizes |= {"decoder_channels": (8, 8, 8), "encoder_weights": "none"}
    networks = {"generator": recipe.generator, "discriminator": recipe.discriminator}
    changes: dict[str, object] = {
        f"{name}.{key}": size
        for name, network in networks.items()
        if network is not None
        for key, size in sizes.items()
        if key in network.settings
    }
    changes |= {"data.image_size": 32, "data.min_side": None, "data.batch_size": 8}
    changes |= {"schedule.pretrain_epochs": 0, "optimization.lr_pretrain": None}
    return override(recipe, {**changes, "schedule.epochs": 1})


@pytest.mark.parametrize("name", [name for name in recipe_names() if "-stage-" not in name])
def test_every_recipe_trains_for_a_step(name: str, data: Path, tmp_path: Path) -> None:
    small = shrink(named_recipe(name))
    run = train(small, data, tmp_path, name=name, device="cpu", progress=False)
    adversarial = small.adversarial
    (line,) = read_log(run)
    assert line["g_updates"] == (1 if adversarial is None else adversarial.g_steps)
    assert line.get("d_updates") == (None if adversarial is None else 1)
    terms = {f"g_{term}" for term in small.objective}
    assert terms <= line.keys()
    torch.manual_seed(small.seed)
    fresh = build(small, torch.device("cpu")).generator.state_dict()
    assert any(not torch.equal(fresh[key], value) for key, value in weights(run).items())


def test_bf16_computes_in_bf16_and_keeps_weights_in_float32(
    data: Path, tmp_path: Path, trained: Path
) -> None:
    run = train(TINY, data, tmp_path, device="cpu", precision="bf16", progress=False)
    single, half = (read_log(each)[-1]["g_l1"] for each in (trained, run))
    assert half != single
    assert half == pytest.approx(single, rel=0.05)
    assert {value.dtype for value in weights(run).values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize(("fast", "expected"), [(False, 1), (True, 0)])
def test_bf16_without_instructions_for_it_is_warned_of(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fast: bool,
    expected: int,
) -> None:
    monkeypatch.setattr(distributed, "has_bf16_instructions", lambda: fast)
    train(TINY, data, tmp_path, device="cpu", precision="bf16", progress=False)
    assert caplog.text.count("may take 20 times as long as --precision 32") == expected


def test_fp16_on_a_cpu_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"fp16 needs a GPU with CUDA.*give --precision bf16 or 32"):
        train(TINY, data, tmp_path, device="cpu", precision="fp16", progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_resumed_run_has_the_scale_and_the_weights_of_an_uninterrupted_one(
    clip_norm: float | None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fp16_on_a_cpu(*, precision: str, plugins: list[object], **options: object) -> Fabric:
        assert precision == "16-mixed"
        scaler = torch.amp.GradScaler("cpu", growth_interval=3)
        return Fabric(plugins=[*plugins, MixedPrecision(precision, "cpu", scaler)], **options)

    monkeypatch.setattr(distributed, "_check_device", lambda *_, **__: None)
    monkeypatch.setattr(distributed, "Fabric", fp16_on_a_cpu)
    monkeypatch.setattr(train_module, "STATE_EVERY_SECONDS", 0.0)
    recipe = override(TINY, {"optimization.clip_norm": clip_norm})
    options = {"device": "cpu", "precision": "fp16", "progress": False}
    uninterrupted = train(recipe, data, tmp_path / "uninterrupted", **options)
    with pytest.raises(Killed):
        train(recipe, data, tmp_path, **options, on_step=kill_after(5))
    cut = tmp_path / "0000-run"
    train(recipe, data, tmp_path, **options, resume=cut)
    assert_same_weights(uninterrupted, cut)
    scales, other = (
        torch.load(run / "state.pt", weights_only=True)["precision"] for run in (cut, uninterrupted)
    )
    assert scales == other
    assert scales["scale"] != 2.0**16  # it changed during the run
    assert weights(cut)["down.0.0.weight"].dtype == torch.float32


def test_accumulation_and_clipping_are_resumed_exactly(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Path
) -> None:
    monkeypatch.setattr(train_module, "STATE_EVERY_SECONDS", 0.0)
    changes = {"optimization.accumulate": 2, "optimization.clip_norm": 0.5}
    recipe = override(TINY, changes)
    uninterrupted = train(recipe, data, tmp_path / "one", device="cpu", progress=False)
    with pytest.raises(Killed):
        train(recipe, data, tmp_path, device="cpu", progress=False, on_step=kill_after(5))
    cut = tmp_path / "0000-run"
    train(recipe, data, tmp_path, device="cpu", progress=False, resume=cut)
    assert_same_weights(uninterrupted, cut)
    assert [line["step"] for line in read_log(cut)] == [4, 8]  # a step is a whole batch
    key = "down.0.0.weight"
    assert not torch.equal(weights(cut)[key], weights(trained)[key])


@pytest.mark.parametrize(("keep", "kept"), [("last", []), ("all", ["001", "002", "003"])])
def test_epochs_are_kept(keep: Keep, kept: list[str], data: Path, tmp_path: Path) -> None:
    recipe = override(L1_ONLY, {"schedule.epochs": 3})
    run = train(recipe, data, tmp_path, device="cpu", keep=keep, progress=False)
    folders = sorted((run / "epochs").iterdir()) if kept else []
    assert (run / "epochs").exists() == bool(kept)
    assert [folder.name for folder in folders] == kept
    if kept:
        assert_same_weights(folders[-1], run)
        assert not torch.equal(*(weights(f)["down.0.0.weight"] for f in folders[:2]))
        assert load_generator(folders[0])[1] == recipe


def test_best_epoch_is_the_one_with_the_highest_psnr(data: Path, tmp_path: Path) -> None:
    recipe = override(L1_ONLY, {"schedule.epochs": 4, "optimization.lr_g": 1e-2})
    run = train(recipe, data, tmp_path, device="cpu", keep="best", progress=False)
    best = max(read_log(run), key=lambda line: line["psnr"])
    (folder,) = (run / "epochs").iterdir()
    assert int(folder.name) == best["epoch"]


@pytest.mark.parametrize(("keep", "kept"), [("best", ["1001"]), (2, ["1000", "1001"])])
def test_epochs_of_four_digits_come_after_those_of_three(
    keep: Keep, kept: list[str], tmp_path: Path
) -> None:
    for epoch in range(998, 1002):
        append_log(tmp_path, {"epoch": epoch, "psnr": epoch / 100})
        keep_epoch(tmp_path, nn.Conv2d(1, 1, 1), L1_ONLY, keep)
    assert sorted(path.name for path in (tmp_path / "epochs").iterdir()) == sorted(kept)


def test_describe_has_parameter_counts() -> None:
    assert "generator: " in describe(TINY)
    assert '"weight": 100.0' in describe(TINY)


def test_describe_loads_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(encoders, "check_hub", offline)
    settings = {"generator.kind": "encoder_unet", "generator.encoder_weights": "imagenet"}
    text = describe(override(L1_ONLY, settings))
    assert "generator: 14," in text
    assert '"encoder_weights": "imagenet"' in text
