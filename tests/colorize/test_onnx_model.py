import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photochrom.colorize import onnx_model
from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.errors import ModelError
from support.models import write_model


@pytest.mark.parametrize("threads", [None, 1])
@pytest.mark.parametrize("size", [(16, 16), (17, 93)])
def test_exported_model_is_loaded_and_run(
    tiny_onnx: Path, size: tuple[int, int], threads: int | None
):
    model = OnnxModel(tiny_onnx, threads=threads)
    assert (model.name, model.size) == ("tiny", 32)
    assert model.metadata["photochrom_format"] == "1"
    L = np.random.default_rng(0).uniform(0, 100, (2, 1, *size)).astype(np.float32)
    ab = model(L)
    assert ab.dtype == np.float32
    np.testing.assert_allclose(ab, np.concatenate([0.2 * L + 5, 30 - 0.3 * L], axis=1), atol=1e-4)


def test_model_with_hints(tmp_path: Path):
    path = tmp_path / "hinted.onnx"
    write_model(path, hints=3)
    model = OnnxModel(path)
    assert model.takes_hints
    L = np.full((2, 1, 17, 20), 50, np.float32)
    hints = np.zeros((2, 3, 17, 20), np.float32)
    hints[1, :, 4:6, 7:9] = np.array([40, -20, 1], np.float32)[:, None, None]
    without, with_hints = model(L), model(L, hints)
    np.testing.assert_allclose(without[0, :, 0, 0], [15, 15], atol=1e-4)
    np.testing.assert_allclose(with_hints - without, hints[:, :2], atol=1e-4)


def test_hints_for_a_model_without_hints_are_refused(tiny_onnx: Path):
    model = OnnxModel(tiny_onnx)
    assert not model.takes_hints
    L = np.zeros((1, 1, 16, 16), np.float32)
    with pytest.raises(ModelError, match="model tiny takes no colour hints; use a model that was"):
        model(L, np.zeros((1, 3, 16, 16), np.float32))


def assert_refused(path: Path, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        OnnxModel(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # ONNX Runtime prints nothing itself


def test_missing_model_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert_refused(tmp_path / "none.onnx", "there is no model file", capfd)


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "folder"])
def test_file_that_is_no_model_is_refused(
    kind: str, tmp_path: Path, tiny_onnx: Path, capfd: pytest.CaptureFixture[str]
):
    path = tmp_path / "a.onnx"
    if kind == "folder":
        path.mkdir()
    else:
        good = tiny_onnx.read_bytes()
        path.write_bytes({"empty": b"", "text": b"no model\n" * 9, "cut": good[:60]}[kind])
    assert_refused(path, "there is no model|not an ONNX model|not a photochrom model", capfd)


def test_model_with_other_ports_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    path = tmp_path / "a.onnx"
    write_model(path, names=("image", "ab"))
    assert_refused(
        path, r"it has image of float \(batch, 1, height, width\) where L of float", capfd
    )
    write_model(path, names=("L", "rgb"))
    assert_refused(path, "it has rgb of float .* where ab of float", capfd)
    write_model(path, channels=3)
    assert_refused(
        path, r"it has ab of float \(batch, 3, .* where ab of float \(N, 2, H, W\)", capfd
    )
    write_model(path, hints=4)
    assert_refused(
        path, r"hints of float \(batch, 4, .* where L of .* hints of float \(N, 3, H", capfd
    )
    write_model(path, sides=(64, 96))
    assert_refused(path, "one size only, 64x96", capfd)


def test_model_with_wrong_metadata_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    path = tmp_path / "a.onnx"
    write_model(path, photochrom_format="")
    assert_refused(path, "it has no photochrom_format", capfd)
    write_model(path, photochrom_format="2")
    assert_refused(path, "it has photochrom_format '2'", capfd)
    for metadata in ({"name": ""}, {"size": ""}, {"size": "big"}, {"size": "8"}, {"size": "5000"}):
        write_model(path, **metadata)
        assert_refused(path, "wrong metadata", capfd)


def test_error_while_running_is_a_model_error(tiny_onnx: Path, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(ModelError, match="model tiny failed on an image of 20x16"):
        OnnxModel(tiny_onnx)(np.zeros((1, 3, 16, 20), np.float32))
    assert capfd.readouterr() == ("", "")


def test_default_model_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(onnx_model, "__file__", str(tmp_path / "colorize/onnx_model.py"))
    with pytest.raises(ModelError, match=r"no default model.*install photochrom again"):
        default_model_path()
    write_model(tmp_path / "default.onnx")
    assert default_model_path() == tmp_path / "default.onnx"


def test_unavailable_device_is_refused(tiny_onnx: Path):
    assert OnnxModel(tiny_onnx).device == OnnxModel(tiny_onnx, device="cpu").device == "cpu"
    for device in ("cuda", "coreml", "directml"):
        with pytest.raises(ModelError, match=f"device {device} cannot be used.*ask for cpu"):
            OnnxModel(tiny_onnx, device=device)
    with pytest.raises(ModelError, match="no device 'gpu'; it has to be auto, coreml, cpu, cuda"):
        OnnxModel(tiny_onnx, device="gpu")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_device_that_does_not_start_is_refused(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch):
    """ONNX Runtime falls back to the CPU without an error."""
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnx_model.onnxruntime, "get_available_providers", lambda: providers)
    with pytest.raises(ModelError, match="cannot be used"):
        OnnxModel(tiny_onnx, device="cuda")
    assert OnnxModel(tiny_onnx).device == "cpu"


def test_device_that_raises_is_refused(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As of CUDA's libraries in another version; the model is not to blame."""
    runtime = onnx_model.onnxruntime
    session = runtime.InferenceSession

    def start(path: Path, options: Any, providers: list[str], **kwargs: Any) -> Any:
        if providers != ["CPUExecutionProvider"]:
            raise RuntimeError("CUDA failure 35\nof an old driver")
        return session(path, options, providers=providers, **kwargs)

    monkeypatch.setattr(runtime, "InferenceSession", start)
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(runtime, "get_available_providers", lambda: providers)
    assert OnnxModel(tiny_onnx).device == "cpu"
    with pytest.raises(ModelError, match="device cuda cannot be used: CUDA failure 35; install"):
        OnnxModel(tiny_onnx, device="cuda")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    for device in ("auto", "cuda"):
        with pytest.raises(ModelError, match="is not an ONNX model"):
            OnnxModel(damaged, device=device)


def test_telemetry_is_off(photo_file: Path, tmp_path: Path):
    """ONNX Runtime's telemetry would write an id and a store."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)}
    command = [sys.executable, "-m", "photochrom", "colorize", str(photo_file)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert photo_file.with_name("old-color.jpg").exists()
    assert list(home.iterdir()) == []
