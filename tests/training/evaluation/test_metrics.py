"""Metrics of one photo against their formulas, other implementations, and worked examples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.functional.image.lpips import _LPIPS
from torchvision.models import alexnet

from photochrom.color import FloatArray, lab_to_rgb, rgb_to_lab
from photochrom.errors import ModelError
from photochrom.training.evaluation import metrics


def photo(seed: int = 0, height: int = 40, width: int = 52) -> FloatArray:
    """Return a smooth colourful image with some noise, in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 10.0
    phase = rng.uniform(0, 6, 3)
    waves = np.stack([np.sin(x + p) * np.cos(y - p) for p in phase], axis=-1)
    return np.clip(0.5 + 0.4 * waves + rng.normal(0, 0.03, waves.shape), 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "perfect"),
    [("mse", 0), ("psnr", 100), ("mse_ab110", 0), ("ssim", 1), ("ciede2000", 0)],
)
def test_value_of_a_perfect_copy(name: str, perfect: float) -> None:
    assert metrics.photo_metrics()[name](photo(), photo()) == pytest.approx(perfect, abs=1e-6)


def test_mse_and_psnr_of_a_constant_error() -> None:
    target = np.full((16, 16, 3), 0.5, np.float32)
    assert metrics.mse(target + np.float32(0.1), target) == pytest.approx(0.01, rel=1e-5)
    assert metrics.psnr(target + np.float32(0.1), target) == pytest.approx(20, abs=1e-4)
    assert metrics.psnr(target, target + np.float32(0.1)) == pytest.approx(20, abs=1e-4)


def test_mse_ab110_ignores_lightness() -> None:
    lab = np.full((16, 16, 3), (50.0, 10.0, 0.0), np.float32)
    darker = lab_to_rgb(lab - np.float32([20, 0, 0]))
    redder = lab_to_rgb(lab + np.float32([0, 11, 0]))
    assert metrics.mse_ab110(darker, lab_to_rgb(lab)) == pytest.approx(0, abs=1e-7)
    assert metrics.mse_ab110(redder, lab_to_rgb(lab)) == pytest.approx(0.01 / 2, rel=1e-3)


@pytest.mark.parametrize(("contrast", "noise"), [(0.001, 0.001), (1, 0.1), (1, 0.4)])
def test_ssim_agrees_with_torchmetrics_in_double(contrast: float, noise: float) -> None:
    """A bright photo of low contrast, where single precision is off, and usual ones."""
    target = np.float32(1) - np.float32(contrast) * photo()
    rng = np.random.default_rng(1)
    rgb = np.clip(target + rng.normal(0, noise, target.shape), 0, 1).astype(np.float32)
    pair = (torch.from_numpy(x).double().permute(2, 0, 1)[None] for x in (rgb, target))
    _, similarity = structural_similarity_index_measure(
        *pair, sigma=1.5, data_range=1.0, return_full_image=True
    )
    expected = float(similarity[..., 5:-5, 5:-5].mean())
    assert metrics.ssim(rgb, target) == pytest.approx(expected, abs=1e-12)


def test_psnr_and_ciede2000_agree_with_scikit_image() -> None:
    target, rgb = photo(1), photo(2)
    assert metrics.psnr(rgb, target) == pytest.approx(
        peak_signal_noise_ratio(target.astype(float), rgb.astype(float), data_range=1), rel=1e-9
    )
    difference = deltaE_ciede2000(*(rgb2lab(x.astype(float)) for x in (target, rgb)))
    assert metrics.ciede2000(rgb, target) == pytest.approx(difference.mean(), rel=1e-4)


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


def test_absolute_colorfulness_by_its_formula() -> None:
    """Red beside green: |R - G| is 255 in both, |(R + G)/2 - B| is 127.5."""
    rgb = np.zeros((2, 2, 3), np.float32)
    rgb[0], rgb[1] = (1, 0, 0), (0, 1, 0)
    assert metrics.colorfulness_abs(rgb) == pytest.approx(0.3 * np.hypot(255, 127.5), rel=1e-6)


def test_difference_of_colorfulness_is_that_of_means() -> None:
    """Not the mean of absolute differences, which would be 2."""
    metric = metrics.METRICS["colorfulness_abs_difference"]
    assert metric.statistic(np.array([10.0, 13.0]), np.array([12.0, 12.0])) == 0.5


def test_invalid_lpips_weights_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "weights.pt"
    text.write_text("no weights")
    for path in (text, tmp_path / "missing.pt"):
        with pytest.raises(ModelError, match="AlexNet"):
            metrics.Lpips(path)


def test_lpips_agrees_with_torchmetrics(tmp_path: Path) -> None:
    """With an untrained AlexNet, as the trained one is not available offline."""
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
