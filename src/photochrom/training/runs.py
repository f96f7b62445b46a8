"""Run directories.

recipe.json, environment.json    written before the first step
log.jsonl, tensorboard/          one line, or point, for each epoch
epochs/005/                      weights of epochs that are kept, each a run directory
samples/epoch_005.png            grey | generated | truth for fixed validation photos
generator.safetensors            weights, saved together with state.pt
state.pt                         state for `--resume`
metrics.json, metrics-test.json  results of `photochrom evaluate`, by split
scores.csv, scores-test.csv      the same, photo by photo
hub.json                         where `photochrom hub pull` got the run
"""

import contextlib
import io
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from photochrom.cores import count_cores
from photochrom.errors import RecipeError, RunError, first_line
from photochrom.imagefile.atomic import write_atomic
from photochrom.training.recipes.recipe import Inference, Recipe, override

Keep = Literal["last", "best", "all"] | int

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def is_run(path: Path) -> bool:
    """Return whether `path` is a run directory."""
    return (path / "recipe.json").is_file()


def new_run(out: Path, name: str, recipe: Recipe, environment: Mapping[str, Any]) -> Path:
    """Create `out/NNNN-name` with recipe.json and environment.json, and return its path."""
    out.mkdir(parents=True, exist_ok=True)
    numbers = [int(p.name[:4]) for p in out.iterdir() if p.name[:4].isdigit()]
    run = out / f"{max(numbers, default=-1) + 1:04d}-{name}"
    run.mkdir()
    (run / "samples").mkdir()
    (run / "environment.json").write_text(json.dumps(environment, indent=2) + "\n", "utf-8")
    write_atomic(run / "recipe.json", recipe.to_json().encode())  # makes `run` a run
    return run


def kept_epoch(run: Path) -> int | None:
    """Return the number of the epoch that `keep_epoch` wrote a run for; None: another run."""
    path = run.resolve()
    is_kept = path.parent.name == "epochs" and path.name.isdigit()
    return int(path.name) if is_kept and is_run(path.parent.parent) else None


def run_name(run: Path) -> str:
    """Return the name of a run for tables; that of a kept epoch begins with that of its run."""
    path = run.resolve()
    return path.name if kept_epoch(run) is None else "/".join(path.parts[-3:])


def bare_name(directory: str) -> str:
    """Return the name of a run without the number that `new_run` puts before it."""
    return directory.partition("-")[2]


def describe_environment(**more: Any) -> dict[str, Any]:
    """Return versions, machine, commit and command line, plus `more`, for environment.json."""
    packages = ("photochrom", "torch", "torchvision", "lightning-fabric", "kornia", "timm", "numpy")
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {
        "command": sys.argv,
        "commit": commit,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in packages},
        "machine": describe_machine(),
        "threads": torch.get_num_threads(),
        **more,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout, or from a frozen copy
        return "unknown"


def describe_machine() -> dict[str, Any]:
    """Return `processor`, the `cores` available, and `gpu`, which is None if there is none."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):  # on Linux, platform does not know the model
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return {
        "processor": processor,
        "cores": count_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def read_recipe(run: Path) -> Recipe:
    """Return the recipe of a run.

    Raises:
        RunError: If `run` is not a run directory.
        RecipeError: If the recipe is invalid.
    """
    if not is_run(run):
        raise RunError(f"{run} is not a run; give a folder created by `photochrom train`")
    return Recipe.from_json((run / "recipe.json").read_bytes())


def read_environment(run: Path) -> dict[str, Any]:
    """Return the content of environment.json.

    Raises:
        RunError: If it cannot be read.
    """
    try:
        environment: dict[str, Any] = json.loads((run / "environment.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{run}/environment.json cannot be read ({error})") from error
    return environment


def save_generator(run: Path, generator: nn.Module) -> None:
    """Write generator.safetensors, atomically."""
    state = {key: value.contiguous() for key, value in generator.state_dict().items()}
    write_atomic(run / "generator.safetensors", save(state))


def load_generator(
    run: Path, changes: Mapping[str, bool] = MappingProxyType({})
) -> tuple[nn.Module, Recipe]:
    """Return the trained generator of a run, on the CPU and as `prepare_inference`, and its recipe.

    Args:
        run: The run directory.
        changes: Values of `Recipe.inference` other than the recipe's: `batch_statistics`,
            `dropout`.

    Raises:
        RunError: As `load_weights`.
    """
    recipe = override(read_recipe(run), {f"inference.{key}": v for key, v in changes.items()})
    generator = build_generator(without_pretrained_weights(recipe))
    load_weights(generator, run)
    prepare_inference(generator, recipe.inference)
    return generator, recipe


def prepare_inference(generator: nn.Module, inference: Inference) -> None:
    """Put a generator into eval mode, with batch norms and dropout as in a recipe."""
    generator.eval()
    for layer in generator.modules():
        if inference.batch_statistics and isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats = False
            layer.running_mean = layer.running_var = None
        elif inference.dropout and isinstance(layer, DROPOUTS):
            layer.train()


def check_inference(generator: nn.Module, inference: Mapping[str, Any]) -> None:
    """Check that a generator has layers of the kinds that values of `Recipe.inference` turn on.

    Raises:
        RecipeError: If it has none.
    """
    kinds = {"batch_statistics": (nn.BatchNorm2d,), "dropout": DROPOUTS}
    for key, layers in kinds.items():
        if inference.get(key) and not any(isinstance(x, layers) for x in generator.modules()):
            raise RecipeError(
                f"inference.{key} changes nothing, as the generator has no "
                f"{layers[0].__name__} layers; leave it out"
            )


def without_pretrained_weights(recipe: Recipe) -> Recipe:
    """Return a recipe whose networks are built without loading the weights of an encoder."""
    if "encoder_weights" not in recipe.generator.settings:
        return recipe
    return override(recipe, {"generator.encoder_weights": "none"})


def build_generator(recipe: Recipe) -> nn.Module:
    """Return the recipe's generator; weights other than pretrained ones are PyTorch's defaults.

    Raises:
        RecipeError: If it cannot be built.
    """
    generator: nn.Module = recipe.generator.build(recipe.output.build().channels)
    return generator


def load_weights(generator: nn.Module, run: Path) -> None:
    """Load the weights of a run into a generator.

    Raises:
        RunError: If the run has no weights yet, or they do not fit.
    """
    weights = run / "generator.safetensors"
    if not weights.is_file():
        if not run.exists():
            raise RunError(f"{run} does not exist; give a run, or an .onnx file exported from one")
        raise RunError(f"{run} has no weights yet; train it first, or --resume it")
    try:
        generator.load_state_dict(load_file(weights), strict=True)
    except (RuntimeError, SafetensorError) as error:
        raise RunError(
            f"the weights in {run} do not fit the generator of the recipe "
            f"({first_line(error)}); give the recipe they were trained with"
        ) from error


def keep_epoch(run: Path, generator: nn.Module, recipe: Recipe, keep: Keep) -> None:
    """Save the weights of the epoch that was logged last as a run in `run/epochs`, if asked for.

    Args:
        run: The run directory.
        generator: The generator to save.
        recipe: Of the run.
        keep: `last`: nothing. `best`: the epoch, if it has the highest PSNR so far, in place of the
            one before. `all`: every epoch. A number: as many, the last ones.
    """
    if keep == "last":
        return
    log = read_log(run)
    epoch, folder = log[-1]["epoch"], run / "epochs"
    if keep == "best" and log[-1]["psnr"] < max(line["psnr"] for line in log):
        return
    kept = folder / f"{epoch:03d}"
    kept.mkdir(parents=True, exist_ok=True)
    save_generator(kept, generator)
    write_atomic(kept / "recipe.json", recipe.to_json().encode())
    if keep != "all":
        epochs = sorted(folder.glob("[0-9]*"), key=lambda path: int(path.name))
        for other in epochs[: -1 if keep == "best" else -keep]:
            shutil.rmtree(other)


def save_state(run: Path, state: Mapping[str, Any]) -> None:
    """Write state.pt, atomically."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomic(run / "state.pt", buffer.getbuffer())


def load_state(run: Path) -> dict[str, Any] | None:
    """Return the content of state.pt, on the CPU, or None if there is none yet.

    Raises:
        RunError: If it cannot be read.
    """
    path = run / "state.pt"
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling damaged data can raise anything
        raise RunError(f"{path} is damaged or truncated; start a new run") from error
    return state


def append_log(run: Path, line: Mapping[str, Any]) -> None:
    """Append a line to log.jsonl."""
    with (run / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return the lines of log.jsonl, without a last one that a crash truncated.

    Raises:
        RunError: If a line cannot be parsed.
    """
    path = run / "log.jsonl"
    lines = path.read_text("utf-8").split("\n")[:-1] if path.is_file() else []
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise RunError(f"{path} is damaged; delete it, as training does not need it") from error


def cut_log(run: Path, epochs: int) -> None:
    """Remove the lines after the first `epochs` epochs, which a resumed run writes again."""
    lines = [line for line in read_log(run) if line["epoch"] <= epochs]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_atomic(run / "log.jsonl", text.encode())
