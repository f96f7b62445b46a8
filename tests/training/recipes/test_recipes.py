import dataclasses
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from photochrom.errors import RecipeError
from photochrom.training.recipes.named import RECIPES, get_recipe
from photochrom.training.recipes.recipe import Recipe, apply_settings

NAMES = [
    "custom",
    "unet-patchgan",
    "resnet18-unet-patchgan",
    "unet-patchgan-l1pre",
    "unet-l1",
    "nazeri-paper",
    "nazeri-code",
    "shariatnia-unet",
    "shariatnia-resnet18",
    "lite0-unet-patchgan",
    "lite0-unet-l1",
    "photochrom",
    "photochrom-stage-1",
    "photochrom-stage-2",
    "photochrom-stage-3",
    "photochrom-stage-4",
    "photochrom-stage-5",
    "tiny",
]
EVERY_RECIPE = pytest.mark.parametrize("name", NAMES)
TINY = RECIPES["tiny"]


def test_recipe_names() -> None:
    assert sorted(RECIPES) == sorted(NAMES)


@EVERY_RECIPE
def test_get_recipe_returns_the_recipe(name: str) -> None:
    assert get_recipe(name) is RECIPES[name]


def test_get_recipe_rejects_an_unknown_name() -> None:
    with pytest.raises(RecipeError, match=r"unknown recipe 'tinny'; choose from custom, .*tiny"):
        get_recipe("tinny")


@EVERY_RECIPE
def test_json_round_trip(name: str) -> None:
    recipe = RECIPES[name]
    text = recipe.to_json()
    assert Recipe.from_json(text) == recipe
    assert json.loads(text).keys() == {f.name for f in dataclasses.fields(Recipe)}
    again = Recipe.from_json(text)
    for field in dataclasses.fields(Recipe):  # equality alone would take 1 for 1.0, [] for ()
        assert type(getattr(again, field.name)) is type(getattr(recipe, field.name)), field.name


@EVERY_RECIPE
def test_quoted_fields_exist_unless_the_recipe_is_ours(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.source
    assert len(set(recipe.quoted)) == len(recipe.quoted)
    assert set(recipe.quoted) <= {f.name for f in dataclasses.fields(Recipe)}
    assert not {"source", "quoted", "seed"} & set(recipe.quoted)
    ours = recipe.source.startswith("photochrom")
    assert ours == (not recipe.quoted)


def test_values_that_the_report_states() -> None:
    unet, resnet18 = RECIPES["unet-patchgan"], RECIPES["resnet18-unet-patchgan"]
    pretrained = RECIPES["unet-patchgan-l1pre"]
    assert (unet.epochs, unet.pretrain_epochs) == (20, 0)
    assert (pretrained.epochs, pretrained.pretrain_epochs, pretrained.total_epochs) == (15, 20, 35)
    assert resnet18.lambda_l1 == 1
    assert RECIPES["unet-l1"].discriminator is None
    for name in ("custom", "unet-patchgan", "resnet18-unet-patchgan", "unet-patchgan-l1pre"):
        assert (RECIPES[name].image_size, RECIPES[name].gan_mode) == (256, "bce")


def test_nazeri_paper_and_code_differ() -> None:
    paper, code = RECIPES["nazeri-paper"], RECIPES["nazeri-code"]
    assert (paper.lr_g, paper.lr_d, paper.betas[0], paper.label_real) == (2e-4, 2e-4, 0.5, 0.9)
    assert (code.lr_g, code.lr_d, code.betas[0], code.g_steps) == (3e-4, 3e-5, 0.0, 2)


def test_phase_of_every_epoch() -> None:
    recipe = RECIPES["tiny"]

    def phases(**changes: Any) -> str:
        changed = dataclasses.replace(recipe, **changes)
        return " ".join(changed.phase(epoch) for epoch in range(changed.total_epochs))

    assert phases(pretrain_epochs=2, epochs=3) == "l1 l1 gan gan gan"
    assert phases(discriminator=None, pretrain_epochs=0, epochs=2) == "l1 l1"
    assert phases(pretrain_epochs=1, d_only_epochs=2, epochs=2) == "l1 d d gan gan"
    assert phases(pretrain_epochs=1, turn_epochs=1, epochs=4) == "l1 d g d g"
    assert phases(pretrain_epochs=0, d_only_epochs=1, turn_epochs=2, epochs=5) == "d d d g g d"


def test_recipes_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TINY.epochs = 3  # type: ignore[misc]


def test_recipes_import_no_torch() -> None:
    code = "import sys, photochrom.training.recipes.named; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --set KEY=VALUE


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("lr_g", "1e-3", 1e-3),
        ("lr_g", "1", 1.0),
        ("epochs", "7", 7),
        ("flip", "false", False),
        ("flip", "True", True),
        ("generator", "residual", "residual"),
        ("discriminator", "none", None),
        ("discriminator", "classifier", "classifier"),
        ("encoder_weights", "none", "none"),  # a string, not None
        ("encoder_weights", "some/file.pt", "some/file.pt"),
        ("lr_encoder", "none", None),
        ("lr_encoder", "1e-4", 1e-4),
        ("betas", "0.9, 0.99", (0.9, 0.99)),
        ("betas", "0,0.9", (0.0, 0.9)),
        ("decoder_channels", "64,32,16,8", (64, 32, 16, 8)),
        ("decoder_channels", "8", (8,)),
        ("gan_mode", "hinge", "hinge"),
        ("schedule", "cosine", "cosine"),
    ],
)
def test_settings_are_parsed_by_type(key: str, text: str, value: object) -> None:
    parsed = getattr(apply_settings(TINY, {key: text}), key)
    assert parsed == value
    assert type(parsed) is type(value)


def test_settings_change_no_other_field() -> None:
    changed = apply_settings(TINY, {"epochs": "3", "lr_g": "1e-3"})
    assert changed == replace(TINY, epochs=3, lr_g=1e-3)
    assert TINY.epochs == 1
    assert apply_settings(TINY, {}) == TINY


def test_a_changed_field_is_no_longer_quoted() -> None:
    recipe = RECIPES["shariatnia-unet"]
    changed = apply_settings(recipe, {"lambda_l1": "10", "batch_size": "16"})
    assert "lambda_l1" in recipe.quoted
    assert "lambda_l1" not in changed.quoted
    assert "batch_size" in changed.quoted  # set, but not changed


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("lamda_l1", "10", "unknown recipe key 'lamda_l1'; choose from aging, base_channels"),
        ("epochs", "two", "epochs is 'two'; give a whole number"),
        ("epochs", "2.5", "epochs is '2.5'; give a whole number"),
        ("epochs", "", "epochs is ''; give a whole number"),
        ("epochs", "none", "epochs is 'none'; give a whole number"),
        ("lr_g", "fast", "lr_g is 'fast'; give a number"),
        ("lr_encoder", "slow", "lr_encoder is 'slow'; give a number or none"),
        ("flip", "yes", "flip is 'yes'; give true or false"),
        ("betas", "0.5", "betas is .*; give 2 comma-separated values, each a number"),
        ("betas", "0.5,0.9,0.99", "betas is .*; give 2 comma-separated values"),
        ("betas", "a,b", "betas is .*; give 2 comma-separated values, each a number"),
        ("decoder_channels", "64,x", "give comma-separated values, each a whole number"),
        ("gan_mode", "wgan", "gan_mode is 'wgan'; give one of bce, lsgan, hinge"),
        ("optimizer", "sgd", "optimizer is 'sgd'; give one of adam, adamw"),
        # the right type, out of range
        ("epochs", "-1", "epochs is -1; give 0 or more"),
        ("batch_size", "0", "batch_size is 0; give a number above 0"),
        ("lr_g", "0", "lr_g is 0.0; give a number above 0"),
        ("seed", "9223372036854", "seed is 9223372036854; give a whole number below"),
        ("lr_g", "1e300", r"lr_g is 1e\+300; give a number above 0"),
        ("lr_g", "nan", "lr_g is nan; give a number above 0"),
        ("lr_g", "inf", "lr_g is inf; give a number above 0"),
        ("lambda_l1", "nan", "lambda_l1 is nan; give 0 or more"),
        ("lr_encoder", "-1", "lr_encoder is -1.0; give 0 or more"),
        ("lr_pretrain", "nan", "lr_pretrain is nan; give 0 or more"),
        ("betas", "0.5,1", "betas is .*; give two numbers from 0 to below 1"),
        ("betas", "nan,0.9", "betas is .*; give two numbers from 0 to below 1"),
        ("label_real", "1.5", "label_real is 1.5; give a number above 0, up to 1"),
        ("image_size", "8", "image_size is 8; give 16 px or more"),
        ("dilations", "0", "dilations is .*; give one or more numbers above 0"),
        ("patch_depth", "0", "patch_depth is 0; give a number above 0"),
        ("turn_epochs", "0", "turn_epochs is 0; give a number above 0"),
        ("output", "yuv", "output is 'yuv'; give one of ab, lab, rgb"),
        ("decoder_channels", "", "decoder_channels is .*; give one or more numbers above 0"),
        ("decoder_channels", "8,0", "decoder_channels is .*; give one or more numbers above 0"),
        ("aging", "1.5", "aging is 1.5; give a fraction from 0 to 1"),
        ("ema", "1", "ema is 1.0; give a decay above 0 and below 1, or none"),
        ("target_saturation", "0", "target_saturation is 0.0; give a factor above 0, up to 2"),
        ("crop_min", "0", "crop_min is 0.0; give a fraction above 0, up to 1"),
        ("view", "0", "view is 0.0; give a fraction above 0, up to 1"),
        ("encoder_padding", "same", "encoder_padding is 'same'; give one of zeros, rep"),
        ("margin", "-1", "margin is -1; give 0 to 128 px"),
        ("bounded", "1", "bounded is '1'; give true or false"),
        ("quoted", "lambda", "`quoted` names no field of a recipe: lambda"),
    ],
)
def test_invalid_settings_are_rejected(key: str, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        apply_settings(TINY, {key: text})
    assert "\n" not in str(caught.value)


def test_zero_epochs_are_rejected() -> None:
    with pytest.raises(RecipeError, match="both 0"):
        apply_settings(TINY, {"epochs": "0", "pretrain_epochs": "0"})


# recipe.json


def test_missing_json_fields_get_defaults() -> None:
    assert Recipe.from_json('{"generator": "unet"}') == Recipe(generator="unet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be JSON"),
        ("{", "must be JSON"),
        ("[]", "must be a JSON object, not list"),
        ("{}", "must have a generator"),
        ('{"generator": "unet", "epoch": 2}', "unknown recipe key 'epoch'"),
        ('{"generator": 3}', "generator is 3; give a string"),
        ('{"generator": null}', "generator is None; give a string"),
        ('{"generator": "unet", "epochs": true}', "epochs is True; give a whole number"),
        ('{"generator": "unet", "epochs": 2.0}', "epochs is 2.0; give a whole number"),
        ('{"generator": "unet", "flip": 1}', "flip is 1; give true or false"),
        ('{"generator": "unet", "betas": "ab"}', "betas is 'ab'; give 2 comma-separated values"),
        ('{"generator": "unet", "betas": [0.5]}', "give 2 comma-separated values"),
        ('{"generator": "unet", "gan_mode": ["bce"]}', "give one of bce"),
        ('{"generator": "unet", "lr_g": NaN}', "lr_g is nan"),
        ('{"generator": "unet", "seed": -1}', "seed is -1; give 0 or more"),
    ],
)
def test_invalid_json_is_rejected(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        Recipe.from_json(text)
    assert "\n" not in str(caught.value)


def test_json_integers_become_floats() -> None:
    recipe = Recipe.from_json('{"generator": "unet", "lambda_l1": 10, "betas": [0, 0.9]}')
    assert type(recipe.lambda_l1) is float
    assert recipe.betas == (0.0, 0.9)


@EVERY_RECIPE
def test_recipe_is_in_the_table_of_docs(name: str) -> None:
    document = Path(__file__).parents[3] / "docs" / "recipes.md"
    rows = [line.split(" | ") for line in document.read_text("utf-8").splitlines()]
    (row,) = [row for row in rows if row[0] == f"| `{name}`"]
    recipe = RECIPES[name]
    rates = row[5].split(", ")
    assert row[1] == f"`{recipe.generator}`"
    assert row[2].strip("`") == str(recipe.discriminator or "none")
    assert float(row[3]) == recipe.lambda_l1
    assert row[4] == f"{recipe.pretrain_epochs} + {recipe.epochs}"
    assert float(rates[0]) == recipe.lr_g
    assert rates[1] == "-" if recipe.discriminator is None else float(rates[1]) == recipe.lr_d
