import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pydantic
import pytest

from photochrom.errors import RecipeError
from photochrom.training.recipes.kinds import (
    ADVERSARIAL_LOSSES,
    DISCRIMINATORS,
    GENERATORS,
    OUTPUTS,
    REGULARIZERS,
    TERMS,
)
from photochrom.training.recipes.loading import load_recipe, named_recipe, recipe_names, to_toml
from photochrom.training.recipes.recipe import Recipe, flatten, override
from photochrom.training.recipes.registry import Registry

EVERY_RECIPE = pytest.mark.parametrize("name", recipe_names())
TINY = named_recipe("tiny")


def value(recipe: Recipe, key: str) -> Any:
    """Return the value of a dotted key, with its type."""
    found: Any = recipe
    for part in key.split("."):
        if hasattr(found, "settings") and part in found.settings:
            found = found.settings[part]
        else:
            found = found[part] if isinstance(found, dict) else getattr(found, part)
    return found


@pytest.mark.parametrize(
    "registry", [GENERATORS, OUTPUTS, DISCRIMINATORS, ADVERSARIAL_LOSSES, TERMS, REGULARIZERS]
)
def test_every_registered_kind_can_be_parsed(registry: Registry) -> None:
    for kind in registry.names:
        component = registry.parse({"kind": kind})
        assert registry.parse(component.to_dict()) == component


def test_unknown_recipe_is_rejected() -> None:
    with pytest.raises(RecipeError, match=r"unknown recipe 'tinny'; choose from custom, .*tiny"):
        named_recipe("tinny")


@EVERY_RECIPE
def test_json_and_toml_round_trip(name: str, tmp_path: Path) -> None:
    recipe = named_recipe(name)
    assert Recipe.from_json(recipe.to_json()) == recipe
    (tmp_path / "mine.toml").write_text(to_toml(recipe))
    assert load_recipe(str(tmp_path / "mine.toml")) == recipe


@EVERY_RECIPE
def test_quoted_keys_exist_unless_the_recipe_is_ours(name: str) -> None:
    recipe = named_recipe(name)
    assert recipe.source
    assert len(set(recipe.quoted)) == len(recipe.quoted)
    assert not {"source", "quoted", "seed", "format"} & set(recipe.quoted)
    assert recipe.source.startswith("photochrom") == (not recipe.quoted)


def test_values_that_the_report_states() -> None:
    unet, resnet18 = named_recipe("unet-patchgan"), named_recipe("resnet18-unet-patchgan")
    pretrained = named_recipe("unet-patchgan-l1pre")
    assert (unet.schedule.epochs, unet.schedule.pretrain_epochs) == (20, 0)
    assert (pretrained.schedule.epochs, pretrained.schedule.pretrain_epochs) == (15, 20)
    assert pretrained.total_epochs == 35
    assert resnet18.objective["l1"].weight == 1
    assert named_recipe("unet-l1").discriminator is None
    for name in ("custom", "unet-patchgan", "resnet18-unet-patchgan", "unet-patchgan-l1pre"):
        recipe = named_recipe(name)
        assert recipe.data.image_size == 256
        assert recipe.adversarial is not None
        assert recipe.adversarial.loss.kind == "bce"


def test_nazeri_paper_and_code_differ() -> None:
    def values(name: str) -> tuple[Any, ...]:
        flat = flatten(named_recipe(name).to_dict())
        keys = ("optimization.lr_g", "adversarial.lr_d", "optimization.beta1")
        return tuple(flat[key] for key in keys)

    assert values("nazeri-paper") == (2e-4, 2e-4, 0.5)
    assert values("nazeri-code") == (3e-4, 3e-5, 0.0)
    assert value(named_recipe("nazeri-paper"), "adversarial.loss.label_real") == 0.9
    assert value(named_recipe("nazeri-code"), "adversarial.g_steps") == 2


def test_phase_of_every_epoch() -> None:
    def phases(**changes: Any) -> str:
        names = {"pretrain": "schedule.pretrain_epochs", "epochs": "schedule.epochs"}
        names |= {"d_only": "adversarial.d_only_epochs", "turns": "adversarial.turn_epochs"}
        keys = {names.get(key, key): count for key, count in changes.items()}
        changed = override(TINY, keys)
        return " ".join(changed.phase(epoch) for epoch in range(changed.total_epochs))

    assert phases(pretrain=2, epochs=3) == "pretrain pretrain gan gan gan"
    assert phases(discriminator=None, pretrain=1, epochs=2) == "pretrain g g"
    assert phases(pretrain=1, d_only=2, epochs=2) == "pretrain d d gan gan"
    assert phases(pretrain=1, turns=1, epochs=4) == "pretrain d g d g"
    assert phases(pretrain=0, d_only=1, turns=2, epochs=5) == "d d d g g d"


def test_recipes_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        TINY.schedule.epochs = 3  # type: ignore[misc]


# --set KEY=VALUE


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("optimization.lr_g", "1e-3", 1e-3),
        ("optimization.lr_g", "1", 1.0),
        ("schedule.epochs", "7", 7),
        ("data.flip", "false", False),
        ("data.flip", "True", True),
        ("generator.kind", "residual", "residual"),
        ("generator.depth", "5", 5),
        ("discriminator", "none", None),
        ("discriminator.kind", "classifier", "classifier"),
        ("initialization.generator_weights", "none", "none"),  # a string, not None
        ("initialization.generator_weights", "some/run", "some/run"),
        ("optimization.ema", "none", None),
        ("optimization.ema", "0.9", 0.9),
        ("quoted", "data.flip, generator.depth", ("data.flip", "generator.depth")),
        ("adversarial.loss.kind", "hinge", "hinge"),
        ("adversarial.d_threshold", "None", None),
        ("optimization.lr_schedule", "cosine", "cosine"),
        ("objective.perceptual.weight", "2", 2.0),
        ("adversarial.regularization.r1.weight", "10", 10.0),
        ("output.kind", "lab", "lab"),
    ],
)
def test_settings_are_parsed_by_type(key: str, text: str, expected: object) -> None:
    parsed = value(override(TINY, {key: text}), key)
    assert parsed == expected
    assert type(parsed) is type(expected)


def test_tuples_of_a_network_are_parsed() -> None:
    recipe = override(TINY, {"generator.kind": "encoder_unet", "generator.decoder_channels": "8,4"})
    assert recipe.generator.settings["decoder_channels"] == (8, 4)


def test_settings_change_no_other_value() -> None:
    changed = override(TINY, {"schedule.epochs": "3", "optimization.lr_g": "1e-3"})
    before, after = flatten(TINY.to_dict()), flatten(changed.to_dict())
    assert {k for k in after if before[k] != after[k]} == {"schedule.epochs", "optimization.lr_g"}
    assert TINY.schedule.epochs == 1
    assert override(TINY, {}) == TINY


def test_another_kind_drops_the_settings_of_the_first() -> None:
    changed = override(TINY, {"generator.kind": "residual"})
    assert changed.generator.settings == {"channels": 64, "blocks": 8, "dilations": (1,)}
    same = override(TINY, {"generator.kind": "unet"})
    assert same.generator.settings["base_channels"] == 4


def test_without_a_discriminator_there_is_no_adversarial_loss() -> None:
    recipe = override(TINY, {"discriminator": None})
    assert recipe.adversarial is None
    assert list(recipe.objective) == ["l1"]


@pytest.mark.parametrize("section", ["adversarial", "initialization", "objective"])
def test_discriminator_and_another_section_are_removed_together(section: str) -> None:
    recipe = override(TINY, {"discriminator": "none", section: "none"})
    assert recipe == override(recipe, {})
    assert recipe.discriminator is None
    assert recipe.adversarial is None
    assert list(recipe.objective) == ["l1"]


def test_a_changed_value_is_no_longer_quoted() -> None:
    recipe = named_recipe("shariatnia-unet")
    changed = override(recipe, {"objective.l1.weight": "10", "data.batch_size": "16"})
    assert "objective.l1.weight" in recipe.quoted
    assert "objective.l1.weight" not in changed.quoted
    assert "data.batch_size" in changed.quoted  # set, but not changed


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("lamda_l1", "10", "a recipe has no key 'lamda_l1'; its keys are format, source"),
        ("depth", "7", "a recipe has no key 'depth'; it is generator.depth now"),
        ("data.size", "64", "data has no key 'size'; its keys are image_size, batch_size"),
        ("schedule.epochs", "two", "schedule.epochs is 'two'; it should be a valid integer"),
        ("schedule.epochs", "2.5", "schedule.epochs is '2.5'; it should be a valid integer"),
        ("schedule.epochs", "", "schedule.epochs is ''; it should be a valid integer"),
        ("schedule.epochs", "none", "schedule.epochs is 'none'; it should be a valid integer"),
        ("schedule.epochs", "-1", "schedule.epochs is '-1'; it should be greater than or equal"),
        ("optimization.lr_g", "fast", "optimization.lr_g is 'fast'; it should be a valid number"),
        ("optimization.lr_g", "0", "optimization.lr_g is '0'; it should be greater than 0"),
        ("optimization.lr_g", "1e300", "lr_g is '1e300'; it should be less than 1000"),
        ("optimization.lr_g", "nan", "lr_g is 'nan'; it should be"),
        ("optimization.lr_g", "inf", "lr_g is 'inf'; it should be less than"),
        ("optimization.beta1", "1", "beta1 is '1'; it should be less than 1"),
        ("optimization.beta2", "nan", "beta2 is 'nan'; it should be"),
        ("optimization.ema", "1", "ema is '1'; it should be less than 1"),
        ("optimization.optimizer", "sgd", "optimizer is 'sgd'; it should be 'adam' or 'adamw'"),
        ("data.flip", "perhaps", "data.flip is 'perhaps'; it should be a valid boolean"),
        ("data.batch_size", "0", "data.batch_size is '0'; it should be greater than 0"),
        ("data.image_size", "8", "image_size is '8'; it should be greater than or equal to 16"),
        ("data.degradation", "1.5", "degradation is '1.5'; it should be less than or equal to 1"),
        ("data.saturation", "0", "saturation is '0'; it should be greater than 0"),
        ("data.crop_min", "0", "crop_min is '0'; it should be greater than 0"),
        ("seed", "9223372036854", "seed is '9223372036854'; it should be less than 4294967296"),
        ("objective.l1.weight", "nan", "objective.l1.weight is 'nan'; it should be"),
        ("objective.l2.weight", "1", "unknown term 'l2'; choose from l1, gan, classes"),
        ("objective.perceptual", "1", "objective.perceptual is '1'; give objective.perceptual.w"),
        ("objective.perceptual.networks", "", "objective.perceptual.weight is missing"),
        ("objective.l1.delta", "1", r"objective\.l1 \(l1\) has no key 'delta'; it has no settings"),
        ("adversarial.loss.kind", "wgan", "unknown adversarial loss 'wgan'; choose from bce, lsg"),
        ("adversarial.loss.label_real", "1.5", "loss.label_real is '1.5'; it should be less"),
        ("adversarial.window", "0", "adversarial.window is '0'; it should be greater than 0"),
        ("adversarial.turn_epochs", "0", "turn_epochs is '0'; it should be greater than 0"),
        ("output.kind", "yuv", "unknown output 'yuv'; choose from ab, lab, rgb"),
        ("generator.kind", "vae", "unknown generator 'vae'; choose from unet, "),
        ("generator.depth", "2", "generator.depth is '2'; it should be greater than or equal to 3"),
        ("generator.encoder", "resnet18", r"generator \(unet\) has no key 'encoder'; its keys are"),
        ("generator", "unet", "generator is 'unet'; give generator.kind, one of unet, "),
        ("discriminator.kind", "critic", "unknown discriminator 'critic'; choose from patch, "),
        ("discriminator.depth", "0", "discriminator.depth is '0'; it should be greater than 0"),
        ("quoted", "generator.width", "`quoted` names no key of the recipe: generator.width"),
        # what would have no effect
        ("data.hints", "0.5", "data.hints is 0.5 and the generator takes no hints; set generator"),
        ("optimization.lr_encoder", "1e-4", "optimization.lr_encoder has no effect"),
        ("schedule.pretrain_terms", "l1,gan", "has gan, but pretraining has no discriminator"),
        ("schedule.pretrain_terms", "l2", "schedule.pretrain_terms is l2; give terms of the obj"),
    ],
)
def test_invalid_settings_are_rejected(key: str, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        override(TINY, {key: text})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("tiny", {"schedule.epochs": 0, "schedule.pretrain_epochs": 0}, "both 0; set one above 0"),
        ("unet-patchgan", {"optimization.lr_pretrain": 1e-3}, "no effect without pretraining"),
        ("unet-l1", {"adversarial.lr_d": 1e-4}, "adversarial needs a discriminator; set discr"),
        ("unet-l1", {"objective.gan.weight": 1}, "objective.gan needs a discriminator"),
        ("tiny", {"objective.gan": None}, "the discriminator has no effect, as no term"),
        (
            "unet-l1",
            {"initialization.discriminator_scheme": "he"},
            "discriminator_scheme needs a discriminator",
        ),
        (
            "photochrom",
            {"adversarial.loss.label_real": 0.9},
            r"adversarial.loss \(hinge\) has no key 'label_real'; it has no settings",
        ),
        ("resnet18-unet-patchgan", {"generator.depth": 3}, "has no key 'depth'; its keys are enc"),
        ("custom", {"discriminator.depth": 3}, r"discriminator \(classifier\) has no key 'depth'"),
        ("photochrom-stage-1", {"optimization.lr_encoder": 1e-4}, "no effect, as the generator"),
        ("photochrom-stage-2", {"generator.hints": False}, "takes no hints; set generator.hints"),
        ("tiny", {"generator": 3, "generator.depth": 3}, "both set; set one of them"),
    ],
)
def test_settings_that_do_not_go_together_are_rejected(
    name: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        override(named_recipe(name), settings)


# Files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be JSON"),
        ("{", "must be JSON"),
        ("[]", "must be an object, not list"),
        ("{}", "must have a generator"),
        ('{"generator": {}}', r"generator is \{\}; give generator.kind"),
        ('{"generator": {"kind": 3}}', "give generator.kind"),
        ('{"generator": {"kind": "unet"}, "epochs": 2}', "no key 'epochs'; it is schedule.epochs"),
        ('{"generator": {"kind": "unet"}, "data": 3}', "data is 3; it should be"),
        ('{"generator": {"kind": "unet"}, "format": 3}', "format 3, .* update photochrom"),
        ('{"generator": {"kind": "unet"}, "objective": []}', r"objective is \[\]; give obj"),
        ('{"generator": {"kind": "unet"}, "seed": -1}', "seed is -1; it should be greater"),
        (
            '{"generator": "unet", "data": {"flip": true}}',
            "to be a section, so give generator.kind",
        ),
        ('{"generator": "unet", "depth": "8"}', "a value of the recipe of format 1 is invalid"),
        ('{"generator": "unet", "betas": [0.5]}', "a value of the recipe of format 1 is invalid"),
        ('{"generator": "unet", "quoted": 5}', "a value of the recipe of format 1 is invalid"),
    ],
)
def test_invalid_json_is_rejected(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        Recipe.from_json(text)
    assert "\n" not in str(caught.value)


def test_recipe_file_states_differences_from_a_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "unet-patchgan"\ngenerator.depth = 7\nadversarial.lr_d = 1e-4\n')
    changes = {"generator.depth": 7, "adversarial.lr_d": 1e-4, "quoted": ()}
    assert load_recipe(str(path)) == override(named_recipe("unet-patchgan"), changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("generator = ", "is not TOML"),
        ('base = "nothing"', "unknown recipe 'nothing'"),
        ('base = "tiny"\ngenerator.width = 3', r"generator \(unet\) has no key 'width'"),
    ],
)
def test_invalid_recipe_files_are_rejected(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(tmp_path / "mine.toml"))
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*none.toml: No such file"):
        load_recipe(str(tmp_path / "none.toml"))


# Parts of one's own

PLUGIN = """
from torch import nn

class Linear(nn.Module):
    def __init__(self, out_channels: int, *, size: int = 1) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, out_channels, size, padding=size // 2)

    def forward(self, L):
        return self.layer(L)
"""


def test_generator_of_an_importable_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "my_network", raising=False)
    kind = "my_network:Linear"
    with pytest.raises(RecipeError, match="cannot import the generator 'my_network:Linear'"):
        override(TINY, {"generator.kind": kind})
    (tmp_path / "my_network.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    recipe = override(TINY, {"generator.kind": kind, "generator.size": "3"})
    assert recipe.generator.build(2).layer.kernel_size == (3, 3)
    assert Recipe.from_json(recipe.to_json()) == recipe
    with pytest.raises(RecipeError, match=r"cannot import .*no attribute 'Square'"):
        override(TINY, {"generator.kind": "my_network:Square"})


def test_generator_of_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other_network.py").write_text(PLUGIN)
    info = tmp_path / "other_network-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other_network\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[photochrom.generator]\nlin = other_network:Linear\n")
    monkeypatch.syspath_prepend(tmp_path)
    recipe = override(TINY, {"generator.kind": "lin"})
    assert recipe.to_dict()["generator"] == {"kind": "lin", "size": 1}
    with pytest.raises(RecipeError, match=r"unknown generator 'lun'; choose from unet, .*, lin"):
        override(TINY, {"generator.kind": "lun"})


WRONG_PLUGINS = {
    "def f(): ...": r"takes \(\) \(too many positional arguments\); it is called as \(out_",
    "def f(out_channels, depth): ...": "missing a required argument: 'depth'",
    "f = 3": "is 3; give a class or a function",
    "class C:\n def __call__(self, n): ...\nf = C()": "is <mine_N.C .*; give a class or a function",
    "from torch import relu as f": "has no signature; give a class or a function in Python",
    "def f(n, *, depth=3): ...": "depth of f has no annotation; annotate what is valid",
    "def f(n, *, depth: 'Dept' = 3): ...": "cannot be settings .*'Dept' is not defined.*; annotate",
    "def f(n, *, depth: object() = 3): ...": "cannot be settings .*; annotate",
    "class C: ...\ndef f(n, *, c: C): ...": "cannot be settings .*; annotate",
    "def f(n, *, _depth: int = 3): ...": "_depth of f cannot be a setting; give it a name",
    "def f(n, *, depth: int = 'x'): ...": "default of depth of f is 'x'; it should be a",
    "def f(n, *, depth: int = None): ...": "default of depth of f is None; it should be a",
    "def f(n, *, kind: str = 'a'): ...": "kind of f cannot be a setting; give it a name",
    "1 +": r"mine_N.*: SyntaxError .*mine_N.py, line 1\).*; mend it",
    "f = 1 / 0": r"ZeroDivisionError \(division by zero\) in .*mine_N.py, line 1; mend it",
}


@pytest.mark.parametrize("code", WRONG_PLUGINS)
def test_wrong_plugins_are_refused_in_one_sentence(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"mine_{list(WRONG_PLUGINS).index(code)}"
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    message = WRONG_PLUGINS[code].replace("mine_N", module)
    with pytest.raises(RecipeError, match=message) as caught:
        override(TINY, {"generator.kind": f"{module}:f"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "members"),
    [
        ("generator", "forward, parameters"),
        ("discriminator", "forward, parameters"),
        ("output", "channels, target, values, photo, rgb, ab"),
        ("adversarial.loss", "boundary, real, fake, generator"),
    ],
)
def test_plugins_without_what_is_needed_are_refused(
    section: str, members: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    arguments = (2,) if section == "generator" else ()
    (tmp_path / f"empty_{section[:3]}.py").write_text(f"def f({'n' * len(arguments)}): ...")
    part = value(override(TINY, {f"{section}.kind": f"empty_{section[:3]}:f"}), section)
    with pytest.raises(RecipeError, match=f"makes NoneType without {members}; it needs"):
        part.build(*arguments)


def test_settings_of_plugins_are_keyword_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "positional.py").write_text("def f(n, depth=3): ...")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RecipeError, match=r"depth of positional:f is no setting, .*; put it after"):
        override(TINY, {"generator.kind": "positional:f", "generator.depth": 4})


def test_recipes_with_plugins_can_be_pickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unnamed.py").write_text("f = lambda n: None")
    monkeypatch.syspath_prepend(tmp_path)
    recipe = override(TINY, {"generator.kind": "unnamed:f"})
    assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_default_of_a_plugin_is_converted_to_its_annotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "with_default.py").write_text("def f(n, *, width: float = 1): ...")
    monkeypatch.syspath_prepend(tmp_path)
    width = override(TINY, {"generator.kind": "with_default:f"}).generator.settings["width"]
    assert isinstance(width, float)


# Recipes of format 1


def test_recipe_of_format_1_is_upgraded() -> None:
    old = {
        **{"generator": "encoder_unet", "discriminator": "projected", "base_channels": 32},
        **{"encoder": "tu-efficientnet_lite2", "margin": 16, "bounded": True, "hints": 0.5},
        **{"features": "tu-efficientnet_lite0", "lambda_perceptual": 1.0, "gan_mode": "hinge"},
        **{"lambda_l1": 10.0, "lambda_gan": 0.4, "view": 0.75, "aging": 0.3, "ema": 0.999},
        **{"lr_encoder": 1e-4, "betas": [0.5, 0.99], "feed_size": 192, "depth": 3},
        **{"target_saturation": 1.1, "quoted": ["encoder", "lambda_l1", "depth", "betas"]},
    }
    recipe = Recipe.from_dict(old)
    flat = flatten(recipe.to_dict())
    expected = {
        "generator.kind": "encoder_unet",
        "generator.reflection_padding": 16,
        "generator.tanh_output": True,
        "generator.hints": True,
        "generator.freeze_encoder": False,
        "data.hints": 0.5,
        "data.degradation": 0.3,
        "data.saturation": 1.1,
        "discriminator.kind": "projected",
        "discriminator.base_channels": 32,
        "discriminator.networks": ["tu-efficientnet_lite0"],
        "objective.perceptual.networks": ["tu-efficientnet_lite0"],
        "objective.gan.weight": 0.4,
        "adversarial.loss.kind": "hinge",
        "adversarial.window": 0.75,
        "optimization.lr_encoder": 1e-4,
        "optimization.beta2": 0.99,
        "optimization.ema": 0.999,
        "inference.size": 192,
    }
    assert {key: flat[key] for key in expected} == expected
    assert set(recipe.quoted) == {"generator.encoder", "objective.l1.weight", "optimization.beta1"}
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_upgrade_keeps_what_the_networks_were() -> None:
    def settings(**old: object) -> dict[str, Any]:
        return Recipe.from_dict(old).generator.settings

    assert settings(generator="unet", depth=7)["dropout_stages"] == 3
    assert settings(generator="unet")["dropout_stages"] is None
    assert settings(generator="nazeri_unet", depth=7)["norm_eps"] == 1e-5
    assert settings(generator="nazeri_unet_paper")["published_code"] is False
    assert settings(generator="residual", depth=3, base_channels=8)["blocks"] == 3
    assert settings(generator="encoder_unet", lr_encoder=0.0)["freeze_encoder"] is True
    l1 = Recipe.from_dict({"generator": "unet", "lambda_l1": 100.0, "label_real": 0.9})
    assert l1.objective["l1"].weight == 1.0  # the weight had no effect
    with pytest.raises(RecipeError, match="unknown key 'epoch' in a recipe of format 1"):
        Recipe.from_dict({"generator": "unet", "epoch": 2})


ROOT = Path(__file__).parents[3]


def test_recipes_of_published_files_can_be_read() -> None:
    import onnxruntime

    from photochrom.colorize.onnx_model import default_model_path

    session = onnxruntime.InferenceSession(str(default_model_path()))
    text = session.get_modelmeta().custom_metadata_map["recipe"]
    assert Recipe.from_json(text).generator.kind == "encoder_unet"
    assert Recipe.from_json((ROOT / "recovery" / "recipe.json").read_text()).takes_hints
    runs = json.loads((ROOT / "docs" / "results.json").read_text())["runs"]
    kinds = {Recipe.from_dict(run["recipe"]).generator.kind for run in runs}
    assert kinds == {"residual", "unet", "encoder_unet"}


@EVERY_RECIPE
def test_recipe_is_in_the_table_of_docs(name: str) -> None:
    document = ROOT / "docs" / "recipes.md"
    rows = [line.split(" | ") for line in document.read_text("utf-8").splitlines()]
    (row,) = [row for row in rows if row[0] == f"| `{name}`"]
    recipe = named_recipe(name)
    rates = row[5].split(", ")
    kind = None if recipe.discriminator is None else recipe.discriminator.kind
    assert row[1] == f"`{recipe.generator.kind}`"
    assert row[2].strip("`") == str(kind or "none")
    l1 = recipe.objective.get("l1")
    assert row[3] == "-" if l1 is None else float(row[3]) == l1.weight
    assert row[4] == f"{recipe.schedule.pretrain_epochs} + {recipe.schedule.epochs}"
    assert float(rates[0]) == recipe.optimization.lr_g
    lr_d = None if recipe.adversarial is None else recipe.adversarial.lr_d
    assert rates[1] == "-" if lr_d is None else float(rates[1]) == lr_d
