"""Runs on a hub of models (`huggingface_hub`): upload with a model card, and download.

A repository has what others need of a run to use and to judge it: `FILES`. What is downloaded was
made by others: only files of these names are taken, weights are safetensors or ONNX, a recipe may
not import code unless the user allows it, and everything is read before the run gets its name.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from httpx2 import HTTPError
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelCardData,
    ModelInfo,
    get_token,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from photochrom.colorize.onnx_model import OnnxModel
from photochrom.errors import PhotochromError, RunError
from photochrom.imagefile.atomic import new_folder
from photochrom.training.data.splits import Split
from photochrom.training.evaluation.results import (
    metrics_path,
    read_evaluation,
    read_scores,
    scores_path,
)
from photochrom.training.evaluation.tables import evaluation_table
from photochrom.training.onnx.export import export
from photochrom.training.recipes.loading import to_toml
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.recipes.registry import without_imports
from photochrom.training.runs import load_generator, read_environment, run_name

NEEDED = ("recipe.json", "generator.safetensors")
UPLOADED = (*NEEDED, "metrics.json", "scores.csv", "metrics-test.json", "scores-test.csv")
FILES = (*UPLOADED, "model.onnx", "README.md")
"""All files that are downloaded; the last two are made by `push`."""
_EVALUATED_SPLITS: tuple[Split, ...] = ("validation", "test")
"""Splits whose evaluations are in FILES."""

_LOGIN = "run `hf auth login`, or set HF_TOKEN to a token"


def push(
    run: Path, repository: str, *, licence: str, onnx: bool = False, private: bool = False
) -> str:
    """Upload a run in one commit; the repository is made if there is none.

    Files of an earlier upload that this run does not have are deleted, so that a commit is of one
    run. state.pt and environment.json stay here.

    Args:
        run: A run directory with weights.
        repository: `OWNER/NAME` on the hub.
        licence: Licence of the weights by its identifier on the hub, such as `cc-by-nc-4.0`.
        onnx: Also export the run to model.onnx.
        private: Make a new repository private.

    Returns:
        The URL of the commit.

    Raises:
        PhotochromError: If the run cannot be used, the user is not logged in, or the hub refuses.
    """
    _check_name(repository)
    generator, recipe = load_generator(run)  # others can use it as well
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    card = _write_card(run, recipe, repository, licence, parameters)
    if get_token() is None:
        raise RunError(f"you are not logged in to the hub; {_LOGIN} that may write")
    api = HfApi()
    files: dict[str, Path | bytes]
    files = {name: run / name for name in UPLOADED if (run / name).is_file()}
    files["README.md"] = card.encode()
    with TemporaryDirectory() as folder, _translate_errors(api, repository):
        if onnx:
            files["model.onnx"] = export(run, Path(folder) / "model.onnx", licence=licence)
        api.create_repo(repository, private=private or None, exist_ok=True)
        there = _list_files(api.model_info(repository))
        commit = api.create_commit(
            repository,
            [
                *(CommitOperationAdd(name, content) for name, content in files.items()),
                *(CommitOperationDelete(name) for name in there if name not in files),
            ],
            commit_message=f"Run {run_name(run)}",
        )
    return str(commit.commit_url)


def pull(
    repository: str, dest: Path, *, revision: str | None = None, allow_imports: bool = False
) -> str:
    """Download a run to a new run directory, which every command takes.

    hub.json records where it is from.

    Args:
        repository: `OWNER/NAME` on the hub.
        dest: The run directory; must not exist, or be an empty folder.
        revision: Branch, tag or commit. None: the default branch.
        allow_imports: Whether the recipe may import code of other packages that are installed.

    Returns:
        The commit that was downloaded.

    Raises:
        PhotochromError: If the hub cannot be reached or has no such run, or a file is invalid.
    """
    _check_name(repository)
    if dest.exists() and not (dest.is_dir() and not any(dest.iterdir())):
        raise RunError(f"{dest} exists already; give a new folder")
    api = HfApi()
    with new_folder(dest) as folder:
        with _translate_errors(api, repository):
            info = api.model_info(repository, revision=revision)
            commit = str(info.sha)
            there = _list_files(info)
            missing = [name for name in NEEDED if name not in there]
            if missing:
                raise RunError(
                    f"{repository} is not a run of photochrom: it has no {' and no '.join(missing)}"
                )
            for name in there:
                api.hf_hub_download(repository, name, revision=commit, local_dir=folder)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the records of local_dir
        with contextlib.nullcontext() if allow_imports else without_imports():
            load_generator(folder)
        _check_results(folder)
        source = {"repository": repository, "commit": commit}
        (folder / "hub.json").write_text(json.dumps(source, indent=2) + "\n", "utf-8")
    return commit


def _list_files(info: ModelInfo) -> list[str]:
    """Return those of `FILES` that a repository has."""
    names = {file.rfilename for file in info.siblings or []}
    return [name for name in FILES if name in names]


def _check_results(run: Path) -> None:
    """Raise a PhotochromError if a file of a downloaded run other than its weights is invalid."""
    for split in _EVALUATED_SPLITS:
        if metrics_path(run, split).exists():
            read_evaluation(run, split)
        if scores_path(run, split).exists():
            read_scores(scores_path(run, split))
    if (run / "model.onnx").exists():
        OnnxModel(run / "model.onnx")


def _check_name(repository: str) -> None:
    """Raise a RunError for what cannot be a repository."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
        raise RunError(f"{repository!r} is not a repository of the hub; give OWNER/NAME")


@contextlib.contextmanager
def _translate_errors(api: HfApi, repository: str) -> Iterator[None]:
    """Replace errors of the hub's client by a RunError."""
    try:
        yield
    except (HTTPError, OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        raise RunError(_explain(error, str(api.endpoint), repository)) from error
    except PhotochromError:
        raise
    except ValueError as error:  # a name or a card that is not valid
        raise RunError(f"the hub refuses: {' '.join(str(error).split())}") from error


def _explain(error: Exception, endpoint: str, repository: str) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so that the hub is not asked; unset it"
    if isinstance(error, GatedRepoError):
        return (
            f"only people whom its owner admits can read {repository}; ask for access on its page"
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"the hub has no model {repository} that you may read; check the name, and if it is "
            f"private, {_LOGIN} that may read it"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repository} has no such revision; give a branch, a tag or a commit"
    if isinstance(error, HfHubHTTPError):
        status, reason = error.response.status_code, error.server_message or "no reason given"
        if status in (401, 403):
            return f"the hub refuses ({status}: {reason}); {_LOGIN} that may write to {repository}"
        return f"the hub at {endpoint} answers {status} ({reason}); try again later"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"the hub at {endpoint} cannot be reached ({reason}); check the connection"


def _write_card(run: Path, recipe: Recipe, repository: str, licence: str, parameters: int) -> str:
    """Return README.md of a repository, with the metadata that the hub reads."""
    metadata = ModelCardData(
        license=licence,
        library_name="photochrom",
        pipeline_tag="image-to-image",
        tags=["image-colorization", "photochrom"],
    )
    environment = read_environment(run) if (run / "environment.json").is_file() else {}
    return f"""---
{metadata.to_yaml()}
---

# {repository.partition("/")[2]}

A network that colorizes black-and-white photos, trained with photochrom. It has {parameters:,}
parameters. Colours are guesses, not the truth.

    photochrom hub pull {repository} RUN
    photochrom export RUN model.onnx
    photochrom colorize --model model.onnx PHOTO

Licence of the weights: {licence}.

## Data

{_describe_data(run, environment)}

## Metrics

{_describe_metrics(run)}

## Recipe

It follows: {recipe.source}.

{_describe_start(recipe)}To train it again, with the same data:

    {_training_command(environment)}

{_describe_versions(environment)}

```toml
{to_toml(recipe)}```
"""


def _describe_data(run: Path, environment: dict[str, Any]) -> str:
    if "data_fingerprint" not in environment:
        return "The run does not record what it was trained on."
    name = Path(str(environment.get("data", ""))).name
    return f"Trained on the data set `{name}`, fingerprint `{environment['data_fingerprint']}`."


def _describe_metrics(run: Path) -> str:
    """Return a table for each split that the run was evaluated on."""
    parts = []
    for split in _EVALUATED_SPLITS:
        if metrics_path(run, split).is_file():
            measured = read_evaluation(run, split)
            parts.append(
                f"On the {split} split of `{measured.data}` (fingerprint "
                f"`{measured.fingerprint or 'not recorded'}`), with 95 % intervals over photos:\n\n"
                f"{evaluation_table([measured.evaluation])}"
            )
    return "\n".join(parts).rstrip() or "Not evaluated."


def _describe_start(recipe: Recipe) -> str:
    weights = recipe.initialization.generator_weights
    if weights == "none":
        return ""
    return (
        f"Training started from the weights `{Path(weights).name}`, which are not in this "
        "repository.\n"
    )


def _training_command(environment: dict[str, Any]) -> str:
    """Return the command of a run, with DATA for the data set and without paths of its machine."""
    words = ["photochrom train recipe.json --data DATA"]
    if environment.get("precision", "32") != "32":
        words.append(f"--precision {environment['precision']}")
    nodes = int(environment.get("nodes", 1))
    devices = int(environment.get("processes", 1)) // nodes
    words += [f"--devices {devices}"] * (devices > 1) + [f"--nodes {nodes}"] * (nodes > 1)
    words += ["--local-batchnorm"] * (not environment.get("sync_batchnorm", True))
    return " ".join(words)


def _describe_versions(environment: dict[str, Any]) -> str:
    packages = environment.get("packages")
    if not isinstance(packages, dict):
        return "The run does not record with which versions it was trained."
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return f"Trained with {versions}; commit of photochrom: {environment.get('commit', 'unknown')}."
