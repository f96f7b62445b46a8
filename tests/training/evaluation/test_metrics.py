"""Every metric against its formula, a second implementation, or a case that can be worked out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torchmetrics.functional.image.lpips import _LPIPS
from torchvision.models import alexnet

from photochrom.color import FloatArray, lab_to_rgb, rgb_to_lab
from photochrom.errors import ModelError
from photochrom.training.evaluation import metrics


def photo(seed: int = 0, height: int = 40, width: int = 52) -> FloatArray:
    """A soft colourful picture with some noise, in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 10.0
    phase = rng.uniform(0, 6, 3)
    waves = np.stack([np.sin(x + p) * np.cos(y - p) for p in phase], axis=-1)
    return np.clip(0.5 + 0.4 * waves + rng.normal(0, 0.03, waves.shape), 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "perfect"),
    [("mse", 0), ("psnr", 100), ("mse_ab110", 0), ("ssim", 1), ("ciede2000", 0)],
)
def test_a_perfect_copy(name: str, perfect: float) -> None:
    assert metrics.METRICS[name].function(photo(), photo()) == pytest.approx(perfect, abs=1e-6)


def test_mse_and_psnr_of_a_constant_error() -> None:
    target = np.full((16, 16, 3), 0.5, np.float32)
    assert metrics.mse(target + np.float32(0.1), target) == pytest.approx(0.01, rel=1e-5)
    assert metrics.psnr(target + np.float32(0.1), target) == pytest.approx(20, abs=1e-4)
    assert metrics.psnr(target, target + np.float32(0.1)) == pytest.approx(20, abs=1e-4)


def test_mse_ab110_leaves_lightness_out() -> None:
    lab = np.full((16, 16, 3), (50.0, 10.0, 0.0), np.float32)
    darker = lab_to_rgb(lab - np.float32([20, 0, 0]))
    redder = lab_to_rgb(lab + np.float32([0, 11, 0]))
    assert metrics.mse_ab110(darker, lab_to_rgb(lab)) == pytest.approx(0, abs=1e-7)
    assert metrics.mse_ab110(redder, lab_to_rgb(lab)) == pytest.approx(0.01 / 2, rel=1e-3)


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.4])
def test_ssim_is_scikit_images(noise: float) -> None:
    target = photo()
    rng = np.random.default_rng(1)
    rgb = np.clip(target + rng.normal(0, noise, target.shape), 0, 1).astype(np.float32)
    expected = structural_similarity(
        *(rgb, target),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=-1,
    )
    assert metrics.ssim(rgb, target) == pytest.approx(expected, abs=1e-5)


def test_ciede2000_of_a_published_pair() -> None:
    """Sharma, Wu and Dalal 2005, pair 17 is 27.1492; it lies inside sRGB."""
    one, two = (
        lab_to_rgb(np.full((8, 8, 3), lab, np.float32)) for lab in ((50, 2.5, 0), (73, 25, -18))
    )
    assert rgb_to_lab(two)[0, 0] == pytest.approx((73, 25, -18), abs=0.05)
    assert metrics.ciede2000(one, two) == pytest.approx(27.1492, abs=0.05)


def test_colorfulness_by_its_formula() -> None:
    rgb = np.zeros((2, 2, 3), np.float32)
    rgb[0] = (1, 0, 0)  # rg 255, yb 127.5
    rgb[1] = (0, 0, 1)  # rg 0, yb -255
    spread = np.hypot(127.5, 191.25)
    offset = np.hypot(127.5, -63.75)
    assert metrics.colorfulness(rgb) == pytest.approx(spread + 0.3 * offset, rel=1e-6)
    assert metrics.colorfulness(np.full((4, 4, 3), 0.3, np.float32)) == pytest.approx(0, abs=1e-5)


def test_colorfulness_is_signed() -> None:
    """Red beside green: |R - G| is the same in both, R - G is not."""
    rgb = np.zeros((2, 2, 3), np.float32)
    rgb[0], rgb[1] = (1, 0, 0), (0, 1, 0)
    assert metrics.colorfulness(rgb) == pytest.approx(255 + 0.3 * 127.5, rel=1e-6)


def test_bootstrap_interval_of_a_mean() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    low, high = metrics.bootstrap_interval(lambda drawn: float(values[drawn].mean()), 400)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05)
    again = metrics.bootstrap_interval(lambda drawn: float(values[drawn].mean()), 400)
    assert again == (low, high)
    assert metrics.bootstrap_interval(lambda drawn: 7.0, 1) == (7, 7)


def test_frechet_distance_of_gaussians_with_diagonal_covariance() -> None:
    """|m1 - m2|^2 + sum (s1 - s2)^2."""
    mean1, mean2 = np.array([0.0, 1, 2]), np.array([1.0, 1, 0])
    s1, s2 = np.array([1.0, 2, 3]), np.array([2.0, 2, 1])
    distance = metrics.frechet_distance(mean1, np.diag(s1**2), mean2, np.diag(s2**2))
    assert distance == pytest.approx(5 + 5, rel=1e-9)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turned = metrics.frechet_distance(
        turn @ mean1, turn @ np.diag(s1**2) @ turn.T, turn @ mean2, turn @ np.diag(s2**2) @ turn.T
    )
    assert turned == pytest.approx(10, rel=1e-9)


def test_frechet_distance_of_fewer_photos_than_features() -> None:
    features = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    moments = metrics.feature_moments(features)
    assert moments[1] == pytest.approx(np.cov(features.T.astype(float), ddof=1))
    assert metrics.frechet_distance(*moments, *moments) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("count", [9, 40])
def test_fid_of_features_is_that_of_their_moments(count: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(count, 16)), rng.normal(0.3, 1.4, size=(count, 16))
    moments = *metrics.feature_moments(x), *metrics.feature_moments(y)
    assert metrics.fid(x, y) == pytest.approx(metrics.frechet_distance(*moments), rel=1e-6)
    assert metrics.fid(x, x) == pytest.approx(0, abs=1e-6)


def test_jackknife_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = metrics.jackknife_interval(lambda kept: float(values[kept].mean()), 400)
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.3)
    each = metrics.jackknife_interval(lambda kept: float(values[kept].mean()), 400, groups=400)
    assert each[1] - each[0] == pytest.approx(2 * 1.96 * values.std(ddof=1) / 20, rel=1e-6)
    assert metrics.jackknife_interval(lambda kept: 1.0, 3) is None


def test_jackknife_intervals_of_fid_and_kid_cover_what_other_photos_give() -> None:
    rng = np.random.default_rng(0)

    def draw() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x = rng.normal(size=(100, 8))
        return x, 0.8 * x + 0.6 * rng.normal(size=x.shape) + 0.4

    for statistic in (metrics.fid, lambda x, y: metrics.kernel_distance(x, y, paired=True)):
        expected = np.mean([statistic(*draw()) for _ in range(200)])
        inside = 0
        for _ in range(40):
            x, y = draw()
            low, high = metrics.jackknife_interval(lambda kept: statistic(x[kept], y[kept]), 100)  # noqa: B023
            inside += low <= expected <= high
        assert inside >= 33


def test_kernel_distance_by_its_sums() -> None:
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
    assert metrics.kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_of_pairs_leaves_the_pairs_out() -> None:
    # Each photo is nearly its own copy, but the two sets are of one distribution.
    rng = np.random.default_rng(0)
    values, naive = [], []
    for _ in range(300):
        x = rng.normal(size=(10, 4))
        y = x + 0.01 * rng.normal(size=x.shape)
        values.append(metrics.kernel_distance(x, y, paired=True))
        naive.append(metrics.kernel_distance(x, y))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    assert np.mean(naive) < -10 * abs(np.mean(values))


def test_kernel_distance_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    values = [metrics.kernel_distance(*rng.normal(size=(2, 10, 4))) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    assert min(values) < 0


class _FakeInception(torch.nn.Module):
    """Keeps what it is shown, as the first of its features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        width = torch.ones_like(x[0, 0, 0]).sum()
        first = torch.stack([x.min(), x.max(), width, x[0, 0, 0, 0]])
        return torch.nn.functional.pad(first, (0, 2044))[None]


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_inception_sees_tensorflows_range(tmp_path: Path) -> None:
    path = tmp_path / "fake.pt"
    torch.jit.save(torch.jit.trace(_FakeInception(), torch.rand(1, 3, 299, 299)), str(path))
    black_and_white = np.zeros((20, 30, 3), np.uint8)
    black_and_white[:, 15:] = 255
    features = metrics.InceptionFeatures(path)([black_and_white, black_and_white[:, :15]])
    assert features.shape == (2, 2048)
    assert features[0, :4] == pytest.approx([-1, 127 / 128, 299, -1])
    assert features[1, 1] == -1


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "weights.pt"
    text.write_text("no weights")
    for path in (text, tmp_path / "missing.pt"):
        with pytest.raises(ModelError, match="no TorchScript network"):
            metrics.InceptionFeatures(path)
        with pytest.raises(ModelError, match="AlexNet"):
            metrics.Lpips(path)


def test_lpips_is_torchmetrics(tmp_path: Path) -> None:
    """On an untrained AlexNet, as the trained one cannot be had offline."""
    torch.manual_seed(0)
    trunk = alexnet()
    torch.save(trunk.state_dict(), tmp_path / "alexnet.pth")
    reference = _LPIPS(pretrained=True, net="alex", pnet_rand=True).eval()
    for stage in (f"slice{i}" for i in range(1, 6)):
        for name, layer in getattr(reference.net, stage).named_children():
            layer.load_state_dict(trunk.features[int(name)].state_dict())
    rgb, target = photo(1, 64, 80), photo(2, 64, 80)
    with torch.inference_mode():
        expected = reference(
            *(torch.from_numpy(x).permute(2, 0, 1)[None] for x in (rgb, target)), normalize=True
        )
    lpips = metrics.Lpips(tmp_path / "alexnet.pth")
    assert float(expected) > 1e-4
    assert lpips(rgb, target) == pytest.approx(float(expected), rel=1e-4)
    assert lpips(rgb, rgb) == 0
