import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.onnx_model import OnnxModel
from photochrom.errors import ModelError, RunError
from photochrom.training import runs
from photochrom.training.evaluation.models import load_model
from photochrom.training.onnx import export as exporting
from photochrom.training.onnx.export import CielabGenerator, export
from photochrom.training.recipes.kinds import GENERATORS
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.runs import build_generator
from support.models import write_run

pytestmark = pytest.mark.slow

TINY = named_recipe("tiny")
RECIPE_OF = {
    "unet": TINY,
    "nazeri_unet": Recipe.from_dict(
        {
            "generator": {"kind": "nazeri_unet", "base_channels": 4, "depth": 3},
            "output": {"kind": "lab"},
        }
    ),
    "encoder_unet": Recipe.from_dict(
        {
            "data": {"image_size": 128},
            "generator": {
                "kind": "encoder_unet",
                "encoder": "tu-test_efficientnet",  # fewer layers than those of recipes
                "encoder_weights": "none",
                "decoder_channels": [24, 16, 8, 8],
                "encoder_padding": "replicate",
                "reflection_padding": 8,
                "tanh_output": True,
            },
        }
    ),
    "dynamic_unet": Recipe.from_dict({"generator": {"kind": "dynamic_unet"}}),
    "residual": Recipe.from_dict({"generator": {"kind": "residual", "channels": 8, "blocks": 2}}),
    "zhang2016": Recipe.from_dict(
        {
            "generator": {"kind": "zhang2016"},
            "output": {"kind": "classes"},
            "objective": {"classes": {"weight": 1.0}},
        }
    ),
}
"""By kind of generator."""
EXPORTED = {
    **RECIPE_OF,
    "nazeri_unet of the paper, with RGB": override(
        RECIPE_OF["nazeri_unet"], {"generator.published_code": False, "output.kind": "rgb"}
    ),
    "encoder_unet of classes": override(
        RECIPE_OF["encoder_unet"],
        {
            "generator.decoder_channels": (16, 8, 8),
            "generator.enlarge_output": False,
            "output.kind": "classes",
        },
    ),
    "unet with batch statistics": override(TINY, {"inference.batch_statistics": True}),
}

SMALL = Recipe.from_dict(
    {
        "data": {"image_size": 32},
        "generator": {"kind": "residual", "channels": 64, "blocks": 1},
    }
)
"""Has few layers, so that it is exported fast, and tensors that are large enough for float16."""


@pytest.fixture(scope="module", autouse=True)
def conversion() -> Iterator[None]:
    """Convert equal generators to ONNX once, as it takes seconds."""
    convert = exporting._to_onnx
    converted: dict[tuple[object, ...], onnx.ModelProto] = {}

    def convert_once(module: CielabGenerator, inputs: list[str]) -> onnx.ModelProto:
        weights = (tensor.numpy().tobytes() for tensor in module.state_dict().values())
        key = (repr(module), module.scale, *weights)
        if key not in converted:
            converted[key] = convert(module, inputs)
        model = onnx.ModelProto()
        model.CopyFrom(converted[key])  # `export` changes it
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "_to_onnx", convert_once)
        yield


def make_run(path: Path, recipe: Recipe) -> Path:
    """Write a run directory with untrained weights."""
    torch.manual_seed(0)
    return write_run(path, recipe, build_generator(recipe))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "tiny", SMALL)


def test_every_generator_is_exported() -> None:
    assert set(RECIPE_OF) == set(GENERATORS.names)


@pytest.mark.parametrize("recipe", EXPORTED.values(), ids=EXPORTED)
def test_exported_file_equals_torch_for_every_generator(tmp_path: Path, recipe: Recipe) -> None:
    run = make_run(tmp_path / "run", recipe)
    path = export(run, tmp_path / "model.onnx", half=False)
    model = OnnxModel(path)
    module = CielabGenerator(runs.load_generator(run)[0], recipe.output.build()).eval()
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 16, 16), (3, 1, 33, 50), (1, 1, 200, 129)):
        L = rng.uniform(0, 100, shape).astype(np.float32)
        with torch.inference_mode():
            expected = module(torch.from_numpy(L)).numpy()
        found = model(L)
        assert found.shape == (shape[0], 2, *shape[2:])
        assert np.abs(found - expected).max() < 1e-3 * max(1, np.abs(expected).max())


def test_hints_are_a_second_input_in_cielab_units(tmp_path: Path) -> None:
    recipe = override(
        RECIPE_OF["encoder_unet"],
        {
            "generator.encoder": "tu-resnet18",
            "generator.encoder_channels": (8, 8, 8, 8),
            "generator.hints": True,
        },
    )
    torch.manual_seed(0)
    generator = build_generator(recipe)
    first = next(m for m in generator.modules() if isinstance(m, nn.Conv2d))
    nn.init.normal_(first.weight)  # initially, the weights of hints are 0
    run = write_run(tmp_path / "run", recipe, generator)
    path = export(run, tmp_path / "model.onnx", saturation=1.25)
    model = OnnxModel(path)
    assert model.metadata["hints"] == "a*, b*, mask"
    rng = np.random.default_rng(0)
    L = rng.uniform(0, 100, (2, 1, 33, 50)).astype(np.float32)
    hints = np.zeros((2, 3, 33, 50), np.float32)
    hints[0, :, 9:16, 20:27] = np.array([44, -22, 1], np.float32)[:, None, None]
    inputs = [torch.from_numpy(L) / 50 - 1, torch.from_numpy(hints.copy())]
    inputs[1][:, :2] /= 110 * 1.25
    with torch.inference_mode():
        expected = generator.eval()(*inputs).numpy() * 110 * 1.25
        without_hints = generator(inputs[0]).numpy() * 110 * 1.25
    largest = max(1, np.abs(expected).max())
    assert np.abs(model(L, hints) - expected).max() < 2e-2 * largest
    assert np.abs(model(L) - without_hints).max() < 2e-2 * largest
    assert np.abs(expected[0] - without_hints[0]).max() > 0.1
    np.testing.assert_allclose(expected[1], without_hints[1], atol=1e-3)


def test_metadata(tiny: Path, tmp_path: Path) -> None:
    (tiny / "metrics.json").write_text('{"evaluations": []}')
    path = export(tiny, tmp_path / "a.onnx", licence="CC0-1.0", data_note="four photos")
    (tiny / "metrics.json").unlink()
    model = OnnxModel(path)
    assert (model.name, model.size) == ("tiny", 32)
    assert Recipe.from_json(model.metadata["recipe"]) == SMALL
    assert json.loads(model.metadata["metrics"]) == {"evaluations": []}
    assert model.metadata["licence"] == "CC0-1.0"
    assert model.metadata["data"] == "four photos"
    assert model.metadata["weights"] == "float16"
    assert "created" in model.metadata
    assert str(tmp_path.parent).encode() not in path.read_bytes()
    assert b"unet.py" not in path.read_bytes()


def test_float16_weights_halve_the_file_and_are_cast_to_float32(tiny: Path, tmp_path: Path) -> None:
    full = export(tiny, tmp_path / "full.onnx", half=False)
    half = export(tiny, tmp_path / "half.onnx")
    weights = {t.name: t for t in onnx.load(half).graph.initializer}
    dtypes = {t.data_type for t in weights.values()}
    assert onnx.TensorProto.FLOAT16 in dtypes
    saved = sum(
        2 * int(np.prod(t.dims))
        for t in weights.values()
        if t.data_type == onnx.TensorProto.FLOAT16
    )
    assert full.stat().st_size - half.stat().st_size > 0.8 * saved

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(half, options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx").graph
    assert not any(t.data_type == onnx.TensorProto.FLOAT16 for t in optimized.initializer)
    float16_names = {name for name in weights if name.endswith(".half")}
    assert not any(set(node.input) & float16_names for node in optimized.node)
    assert not any(node.op_type == "BatchNormalization" for node in optimized.node)


def test_first_convolution_stays_float32(tmp_path: Path) -> None:
    recipe = override(RECIPE_OF["encoder_unet"], {"generator.hints": True})
    run = make_run(tmp_path / "run", recipe)
    generator, _ = runs.load_generator(run)
    with torch.no_grad():  # the first three input channels are equal, so this cancels out
        stem = generator.encoder.model.conv_stem.weight
        stem[:, 0] += 30.0
        stem[:, 1] -= 30.0
    runs.save_generator(run, generator)
    path = export(run, tmp_path / "model.onnx")
    assert OnnxModel(path).metadata["weights"] == "float16"
    (stored,) = (t for t in onnx.load(path).graph.initializer if "conv_stem" in t.name)
    assert stored.data_type == onnx.TensorProto.FLOAT


def test_weights_stay_float32_if_pixels_would_change(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "MAX_FLOAT16_LEVELS", -1)
    path = export(tiny, tmp_path / "model.onnx")
    assert OnnxModel(path).metadata["weights"].startswith("float32; float16 would change")
    found = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in found


def test_weights_out_of_the_range_of_float16_stay_float32(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", override(TINY, {"generator.base_channels": 16}))
    generator, _ = runs.load_generator(run)
    with torch.no_grad():
        generator.down[3][1].weight.mul_(1e7)
        generator.up[3][1].weight.mul_(1e-7)  # only a ReLU is in between
    runs.save_generator(run, generator)
    weights = OnnxModel(export(run, tmp_path / "model.onnx")).metadata["weights"]
    assert weights == "float32; float16 would change a rendered pixel by 255 levels"


def test_no_file_is_written_if_the_output_differs_from_torch(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = exporting._run

    def run_with_offset(model: onnx.ModelProto, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return [output + np.float32(0.1) for output in run(model, inputs)]

    monkeypatch.setattr(exporting, "_run", run_with_offset)
    with pytest.raises(ModelError, match="differs from torch"):
        export(tiny, tmp_path / "model.onnx")
    monkeypatch.setattr(exporting, "_run", lambda model, inputs: [x["L"] * np.nan for x in inputs])
    with pytest.raises(ModelError, match="differs from torch"):
        export(tiny, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_existing_files_are_kept_unless_overwrite(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"existing")
    with pytest.raises(ModelError, match="exists already"):
        export(tiny, path)
    assert path.read_bytes() == b"existing"
    export(tiny, path, overwrite=True)
    OnnxModel(path)


def test_full_disk_leaves_no_file(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("photochrom.imagefile.atomic.os.fsync", full)
    with pytest.raises(ModelError, match="No space left"):
        export(tiny, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_unwritable_path_is_an_error(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ModelError, match="cannot write"):
        export(tiny, tmp_path / "file" / "model.onnx")


def test_invalid_runs_are_rejected(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        export(tmp_path, tmp_path / "model.onnx")
    other = make_run(tmp_path / "other", RECIPE_OF["residual"])
    (other / "recipe.json").write_text(TINY.to_json())
    with pytest.raises(RunError, match="do not fit the generator of the recipe"):
        export(other, tmp_path / "model.onnx")


def test_size_of_the_model_is_that_of_inference_or_training(tmp_path: Path) -> None:
    for given, expected in ((None, 32), (48, 48)):
        run = make_run(tmp_path / str(given), override(SMALL, {"inference.size": given}))
        assert OnnxModel(export(run, tmp_path / f"{given}.onnx")).size == expected
        assert load_model(str(run), tmp_path).size == expected


def test_batch_statistics_at_inference_change_the_exported_file(tmp_path: Path) -> None:
    recipe = override(TINY, {"inference.batch_statistics": True})
    run = make_perturbed_run(tmp_path / "run", recipe, 0)
    other = runs.load_generator(run)[0].state_dict()
    assert not any("running" in key for key in other)
    found = OnnxModel(export(run, tmp_path / "batch.onnx"))
    (run / "recipe.json").write_text(TINY.to_json())
    running = OnnxModel(export(run, tmp_path / "running.onnx"))
    L = np.random.default_rng(0).uniform(0, 100, (2, 1, 48, 48)).astype(np.float32)
    assert np.abs(found(L) - running(L)).max() > 1


def test_dropout_at_inference_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", override(TINY, {"inference.dropout": True}))
    with pytest.raises(ModelError, match=r"which makes colours random.*set inference\.dropout to"):
        export(run, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_exported_file_colorizes(tiny: Path, tmp_path: Path) -> None:
    colorizer = Colorizer(export(tiny, tmp_path / "model.onnx"))
    assert colorizer(Image.new("L", (50, 41), 120)).size == (50, 41)


def test_saturation_is_a_factor_on_ab(tiny: Path, tmp_path: Path) -> None:
    L = np.linspace(0, 100, 32 * 48, dtype=np.float32).reshape(1, 1, 32, 48)
    plain = OnnxModel(export(tiny, tmp_path / "plain.onnx"))
    vivid = OnnxModel(export(tiny, tmp_path / "vivid.onnx", saturation=1.25))
    np.testing.assert_allclose(vivid(L), 1.25 * plain(L), rtol=1e-3, atol=1e-3)
    assert vivid.metadata["saturation"] == "1.25"
    with pytest.raises(ModelError, match=r"saturation is 0; give a factor above 0"):
        export(tiny, tmp_path / "grey.onnx", saturation=0)


def test_metrics_of_the_run_are_not_used_for_a_changed_model(tiny: Path, tmp_path: Path) -> None:
    (tiny / "metrics.json").write_text('{"of": "the run"}')
    given = tmp_path / "given.json"
    given.write_text('{"of": "the file"}')
    for i, (options, expected) in enumerate(
        [
            ({}, '{"of": "the run"}'),
            ({"saturation": 1.25}, "{}"),
            ({"saturation": 1.25, "metrics": given}, '{"of": "the file"}'),
        ]
    ):
        path = export(tiny, tmp_path / f"{i}.onnx", **options)
        assert OnnxModel(path).metadata["metrics"] == expected
    (tiny / "metrics.json").unlink()
    with pytest.raises(ModelError, match=r"give a metrics\.json"):
        export(tiny, tmp_path / "4.onnx", metrics=tmp_path / "missing.json")


def make_perturbed_run(path: Path, recipe: Recipe, seed: int) -> Path:
    """Write a run with random norms and biases, as if it had been trained."""
    torch.manual_seed(seed)
    generator = build_generator(recipe)
    for parameter in generator.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.8, 1.2)
    return write_run(path, recipe, generator)


@pytest.fixture
def two_runs(tmp_path: Path) -> list[Path]:
    """Two runs of the same generator with different weights."""
    return [make_perturbed_run(tmp_path / f"run{i}", RECIPE_OF["residual"], i) for i in (0, 1)]


def test_blend_is_the_weighted_mean_of_two_generators(two_runs: list[Path], tmp_path: Path) -> None:
    ends = [export(run, tmp_path / f"{run.name}.onnx", half=False) for run in two_runs]
    L = np.random.default_rng(0).uniform(0, 100, (1, 1, 40, 48)).astype(np.float32)
    ab = [OnnxModel(path)(L) for path in ends]
    assert np.abs(ab[0] - ab[1]).max() > 1
    for share, expected in ((0.0, ab[0]), (1.0, ab[1])):
        path = tmp_path / f"{share}.onnx"
        export(two_runs[0], path, half=False, blend=ends[1], blend_share=share)
        np.testing.assert_allclose(OnnxModel(path)(L), expected, rtol=0, atol=1e-3)

    mixed = export(
        two_runs[0], tmp_path / "mixed.onnx", half=False, blend=ends[1], blend_share=0.25
    )
    assert OnnxModel(mixed).metadata["blend"] == "0.25 of run1.onnx"
    first, second, mean = (
        {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
        for path in (*ends, mixed)
    )
    trained = [name for name in first if name.startswith("generator.")]
    assert len(trained) > 8
    for name in trained:
        expected = 0.75 * first[name] + 0.25 * second[name]
        np.testing.assert_allclose(mean[name], expected, rtol=0, atol=1e-6)


def test_invalid_blends_are_rejected(two_runs: list[Path], tiny: Path, tmp_path: Path) -> None:
    file = export(two_runs[0], tmp_path / "model.onnx")
    transposed = export(tiny, tmp_path / "tiny.onnx")
    wider = override(RECIPE_OF["residual"], {"generator.channels": 12})
    unlike = make_perturbed_run(tmp_path / "wider", wider, 0)
    for run, other, share, reason in (
        (two_runs[0], file, 1.5, r"blend share is 1\.5; give a number from 0 to 1"),
        (two_runs[0], transposed, 0.5, "is not a convolution with a bias or a batch norm after it"),
        (unlike, file, 0.5, "are not those of the recipe's generator"),
        (two_runs[0], tmp_path / "missing.onnx", 0.5, "is not a readable ONNX file"),
    ):
        with pytest.raises(ModelError, match=reason):
            export(run, tmp_path / "none.onnx", blend=other, blend_share=share)
    assert not (tmp_path / "none.onnx").exists()
