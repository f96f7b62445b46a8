"""Comparison of systems by their scores, photo by photo."""

from pathlib import Path

import numpy as np
import pytest

from photochrom.errors import RunError
from photochrom.training.evaluation.comparison import compare, read_systems
from photochrom.training.evaluation.results import PhotoScores, scores_to_csv
from photochrom.training.evaluation.tables import comparison_table
from support.runs import write_evaluated_run

PHOTOS = [(f"{i}.jpg", f"{i:064x}") for i in range(40)]
ORIGINAL = np.linspace(10, 60, 40)


def make_scores(offset: float, noise: float = 0.1) -> PhotoScores:
    """Return PSNR that mostly depends on the photo, and half the original's colourfulness."""
    rng = np.random.default_rng(round(1000 * offset))
    psnr = np.linspace(10, 40, 40) + offset + rng.normal(0, noise, 40)
    colors = {"colorfulness": ORIGINAL / 2, "original_colorfulness": ORIGINAL}
    return PhotoScores(PHOTOS, {"psnr": psnr, **colors})


def write(path: Path, **models: PhotoScores) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "scores.csv").write_bytes(scores_to_csv(models))
    return path


def test_models_of_a_folder_are_compared_with_the_first_or_another(tmp_path: Path) -> None:
    one, two = make_scores(0), make_scores(0.5)
    out = write(tmp_path / "out", grey=one, ours=two)
    base, (difference,) = compare(read_systems([out]))
    assert (base, difference.name, difference.n, difference.seeds) == ("grey", "ours", 40, 1)
    value, low, high = difference.values["psnr"]
    assert value == pytest.approx((two.values["psnr"] - one.values["psnr"]).mean())
    assert low is not None
    assert high is not None
    assert 0.4 < low < value < high < 0.6  # PSNR itself is 10 to 40
    assert difference.values["colorfulness_ratio"] == (0, 0, 0)
    base, (reverse,) = compare(read_systems([out]), "ours")
    assert (base, reverse.name) == ("ours", "grey")
    assert reverse.values["psnr"][0] == pytest.approx(-value)

    table = comparison_table("grey", [difference])
    assert "Minus grey" in table
    assert f"| +{value:.2f} [+{low:.2f}, +{high:.2f}]* |" in table
    assert "+0.00 [+0.00, +0.00] |" in table


def test_runs_of_several_seeds_are_compared_by_their_means(tmp_path: Path) -> None:
    runs = [
        write_evaluated_run(tmp_path / f"000{i}-unet-l1", changes={"seed": i}) for i in range(3)
    ]
    for i, run in enumerate(runs):
        write(run, **{run.name: make_scores(2.0 * i)})
    baseline = write_evaluated_run(tmp_path / "0009-custom", "custom")
    write(baseline, custom=make_scores(0.5))
    base, (system,) = compare(read_systems([*runs, baseline]), "0009-custom")
    value, low, high = system.values["psnr"]
    assert (base, system.name, system.seeds) == ("0009-custom", "unet-l1", 3)
    assert value == pytest.approx(1.5, abs=0.1)
    assert low is not None
    assert high is not None
    assert low < -2 < 5 < high  # the seeds are far apart, the photos are not
    assert compare(read_systems([*runs, baseline]), "0001-unet-l1")[0] == "unet-l1"


def test_other_photos_and_unknown_systems_are_refused(tmp_path: Path) -> None:
    one = make_scores(0)
    a = write(tmp_path / "a", a=one)
    fewer = PhotoScores(PHOTOS[:9], {k: v[:9] for k, v in one.values.items()})
    other = PhotoScores([("x.jpg", "f" * 64), *PHOTOS[1:]], one.values)
    smaller = PhotoScores(PHOTOS, {**one.values, "original_colorfulness": ORIGINAL + 1})
    for scores, message in (
        (fewer, r"different photos \(40 and 9\)"),
        (other, r"photo 1 is 0\.jpg in the one and x\.jpg in the other"),
        (smaller, "the same files, prepared differently"),
    ):
        with pytest.raises(RunError, match=message):
            read_systems([a, write(tmp_path / "b", b=scores)])
    with pytest.raises(RunError, match="two systems named a"):
        read_systems([a, write(tmp_path / "b", a=one)])
    with pytest.raises(RunError, match="one system to compare"):
        compare(read_systems([a]))
    systems = read_systems([a, write(tmp_path / "b", b=one)])
    with pytest.raises(RunError, match="c is none of the systems; give one of a, b"):
        compare(systems, "c")
    run = write_evaluated_run(tmp_path / "0000-tiny", "tiny")
    with pytest.raises(RunError, match=r"scores-test\.csv does not exist"):
        read_systems([run], "test")
