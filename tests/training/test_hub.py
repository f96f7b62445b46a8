import json
import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from huggingface_hub import constants

from photochrom.cli import main
from photochrom.training.evaluation.results import (
    Evaluation,
    PhotoScores,
    scores_to_csv,
    to_json,
)
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import override
from photochrom.training.runs import build_generator, load_generator
from support.hub import TOKEN, Hub, create_hub
from support.models import write_run
from support.server import run_server

NAME = "someone/colours"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["hub", *(str(argument) for argument in arguments)])


def set_endpoint(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what HF_ENDPOINT does when `huggingface_hub` is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub in this process; the user is logged in."""
    hub = Hub()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with run_server(create_hub(hub)) as address:
        set_endpoint(address, monkeypatch)
        yield hub


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run that was evaluated, as `train` and `evaluate` leave it."""
    recipe = override(named_recipe("tiny"), {"initialization.generator_weights": "/home/me/first"})
    torch.manual_seed(0)
    path = write_run(tmp_path / "runs/0000-tiny", recipe, build_generator(recipe))
    (path / "state.pt").write_bytes(b"a pickle")
    environment = {
        "command": ["/home/me/photochrom", "train", "tiny"],
        "commit": "abc123",
        "packages": {"torch": "2.14.1"},
        "data": "/home/me/flowers",
        "data_fingerprint": "f1f1",
        "precision": "bf16",
        "processes": 2,
        "nodes": 1,
        "sync_batchnorm": False,
    }
    (path / "environment.json").write_text(json.dumps(environment))
    evaluation = Evaluation("0000-tiny", 2, {"mse": (0.01234, 0.01, 0.02)})
    facts = {"data": "flowers", "fingerprint": "f1f1", "split": "validation", "n": 2, "hints": 0}
    (path / "metrics.json").write_bytes(to_json(facts, [evaluation]))
    scores = PhotoScores([("a.jpg", "00"), ("b.jpg", "01")], {"mse": np.array([0.01, 0.02])})
    (path / "scores.csv").write_bytes(scores_to_csv({"0000-tiny": scores}))
    return path


def test_a_pulled_run_is_the_one_that_was_pushed(hub: Hub, trained: Path, tmp_path: Path) -> None:
    result = run("push", trained, NAME, "--licence", "cc-by-nc-4.0", "--onnx")
    assert result.exit_code == 0, result.output
    assert f"/{NAME}/commit/" in result.output
    uploaded = {"recipe.json", "generator.safetensors", "metrics.json", "scores.csv"}
    uploaded |= {"model.onnx", "README.md"}
    assert set(hub.files(NAME)) == {".gitattributes", *uploaded}

    dest = tmp_path / "deep/pulled"
    result = run("pull", NAME, dest)
    assert result.exit_code == 0, result.output
    assert {path.name for path in dest.iterdir()} == {*uploaded, "hub.json"}
    commit = json.loads((dest / "hub.json").read_text())
    assert commit == {"repository": NAME, "commit": f"{2:040x}"}
    before, recipe = load_generator(trained)
    after, pulled_recipe = load_generator(dest)
    assert pulled_recipe == recipe
    for key, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[key])
    for name in ("metrics.json", "scores.csv"):
        assert (dest / name).read_bytes() == (trained / name).read_bytes()


def test_the_card_states_recipe_data_metrics_licence_and_command(hub: Hub, trained: Path) -> None:
    assert run("push", trained, NAME, "--licence", "cc-by-nc-4.0").exit_code == 0
    _, metadata, text = hub.files(NAME)["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(metadata)["license"] == "cc-by-nc-4.0"
    assert yaml.safe_load(metadata)["pipeline_tag"] == "image-to-image"
    assert "Licence of the weights: cc-by-nc-4.0." in text
    assert "Trained on the data set `flowers`, fingerprint `f1f1`." in text
    assert ".0123 [.0100, .0200]" in text.replace("0.", ".")
    command = "photochrom train recipe.json --data DATA --precision bf16 --devices 2"
    assert f"{command} --local-batchnorm\n" in text
    assert "Training started from the weights `first`" in text
    assert '[generator]\nkind = "unet"' in text
    assert "torch 2.14.1; commit of photochrom: abc123." in text
    assert "/home/me" not in text.replace('generator_weights = "/home/me/first"', "")
    assert 'scheme = "normal"' in text


def test_a_new_upload_leaves_nothing_of_the_last(hub: Hub, trained: Path) -> None:
    hub.add(NAME, model__onnx=b"old", scores__csv=b"old", notes__md=b"of the owner")
    (trained / "scores.csv").unlink()
    result = run("push", trained, NAME, "--licence", "mit")
    assert result.exit_code == 0, result.output
    assert set(hub.files(NAME)) == {
        *("recipe.json", "generator.safetensors", "metrics.json", "README.md", "notes.md"),
    }


def test_a_run_without_evaluation_or_environment_is_pushed(hub: Hub, trained: Path) -> None:
    for name in ("metrics.json", "scores.csv", "environment.json"):
        (trained / name).unlink()
    assert run("push", trained, NAME, "--licence", "mit").exit_code == 0
    card = hub.files(NAME)["README.md"].decode()
    assert "Not evaluated." in card
    assert "does not record what it was trained on" in card
    assert "    photochrom train recipe.json --data DATA\n" in card


def test_only_files_of_a_run_are_downloaded(hub: Hub, trained: Path, tmp_path: Path) -> None:
    recipe, weights = (trained / "recipe.json"), (trained / "generator.safetensors")
    needed = {"recipe.json": recipe.read_bytes(), "generator.safetensors": weights.read_bytes()}
    others = dict.fromkeys(("state.pt", "setup.py", "deep/recipe.json", ".gitignore"), b"x")
    hub.commits[NAME] = [needed | others]
    assert run("pull", NAME, tmp_path / "pulled").exit_code == 0
    assert sorted(hub.downloads) == sorted(needed)
    assert {path.name for path in (tmp_path / "pulled").iterdir()} == {*needed, "hub.json"}


def test_an_older_revision_is_pulled(hub: Hub, trained: Path, tmp_path: Path) -> None:
    run("push", trained, NAME, "--licence", "mit")
    (trained / "metrics.json").unlink()
    run("push", trained, NAME, "--licence", "mit")
    for revision, is_evaluated in ((f"{2:040x}", True), (f"{3:040x}", False)):
        dest = tmp_path / revision
        result = run("pull", NAME, dest, "--revision", revision)
        assert result.exit_code == 0, result.output
        assert (dest / "metrics.json").exists() == is_evaluated


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("recipe.json", b"{}", "a recipe must have a generator"),
        ("generator.safetensors", b"\x80\x04K\x01.", "do not fit the generator"),
        ("metrics.json", b"[]", "metrics.json is damaged"),
        ("scores.csv", b"no table", "scores.csv is damaged"),
        ("model.onnx", b"no model", "model.onnx"),
    ],
)
def test_an_invalid_file_is_refused_and_nothing_remains(
    hub: Hub, trained: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    run("push", trained, NAME, "--licence", "mit")
    hub.files(NAME)[name] = content
    result = run("pull", NAME, tmp_path / "new/pulled")
    assert result.exit_code == 1
    assert message in result.output
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("part", ["generator", "term", "format 1"])
def test_a_downloaded_recipe_imports_nothing_unless_allowed(
    hub: Hub, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    (tmp_path / "foreign.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(tmp_path / 'imported')!r}).touch()\n"
        "from photochrom.training.networks.unet import UNet as Mine\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run("push", trained, NAME, "--licence", "mit")
    recipe = json.loads(hub.files(NAME)["recipe.json"])
    if part == "generator":
        recipe["generator"]["kind"] = "foreign:Mine"
    elif part == "term":
        recipe["objective"]["foreign:Mine"] = {"weight": 1.0}
    else:
        recipe = {"generator": "unet", "discriminator": "patch", "gan_mode": "foreign:Mine"}
    hub.files(NAME)["recipe.json"] = json.dumps(recipe).encode()
    result = run("pull", NAME, tmp_path / "pulled")
    assert result.exit_code == 1
    assert "'foreign:Mine', which is not part of photochrom" in result.output
    assert not (tmp_path / "imported").exists()
    if part == "generator":
        result = run("pull", NAME, tmp_path / "pulled", "--allow-imports")
        assert result.exit_code == 0, result.output
        assert (tmp_path / "imported").exists()


def test_pull_leaves_an_existing_folder_alone(hub: Hub, trained: Path) -> None:
    run("push", trained, NAME, "--licence", "mit")
    before = sorted(trained.rglob("*"))
    result = run("pull", NAME, trained)
    assert result.exit_code == 1
    assert "exists already; give a new folder" in result.output
    assert sorted(trained.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("someone/nothing",), "the hub has no model someone/nothing that you may read"),
        ((NAME, "--revision", "v9"), "has no such revision; give a branch, a tag or a commit"),
        (("colours",), "'colours' is not a repository of the hub; give OWNER/NAME"),
        (("../..",), "the hub refuses: "),
        (("someone/else",), "is not a run of photochrom: it has no generator.safetensors"),
    ],
)
def test_what_the_hub_does_not_have_is_said(
    hub: Hub, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    hub.add(NAME, recipe__json=b"{}", generator__safetensors=b"")
    hub.add("someone/else", recipe__json=b"{}", pytorch_model__bin=b"")
    result = run("pull", arguments[0], tmp_path / "pulled", *arguments[1:])
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "pulled").exists()


def test_who_is_not_logged_in_is_told_before_anything_is_sent(
    hub: Hub, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    result = run("push", trained, NAME, "--licence", "mit")
    assert result.exit_code == 1
    assert "you are not logged in to the hub; run `hf auth login`" in result.output
    assert hub.commits == {}


def test_refused_uploads_are_explained(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("push", trained, NAME, "--licence", "nobody-knows")
    assert result.exit_code == 1
    assert '"license" must be one of these' in result.output
    monkeypatch.setenv("HF_TOKEN", "hf_reads")
    result = run("push", trained, NAME, "--licence", "mit")
    assert result.exit_code == 1
    assert "the hub refuses (403: this token may not write)" in result.output
    assert len(result.output.splitlines()) == 1


def test_a_hub_that_cannot_be_reached_is_said(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"  # nobody listens from now on
    set_endpoint(address, monkeypatch)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for arguments in (("pull", NAME, tmp_path / "x"), ("push", trained, NAME, "--licence", "mit")):
        result = run(*arguments)
        assert result.exit_code == 1
        assert f"the hub at {address} cannot be reached (" in result.output
        assert len(result.output.splitlines()) == 1


def test_offline_mode_is_said(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()  # a session keeps the mode that it was made in
    result = run("pull", NAME, tmp_path / "pulled")
    huggingface_hub.close_session()
    assert result.exit_code == 1
    assert "HF_HUB_OFFLINE is set" in result.output
