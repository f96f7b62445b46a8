"""What the report says, and what the figures say to that.

A claim is judged by a rule that was written down before the runs were made: `grey` is below a
fifth of the truth's colourfulness (`photochrom.training.loop.monitor.GREY_RATIO`), and one value is
above another if their 95 % intervals do not touch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import spearmanr

from photochrom.training.evaluation.bootstrap import Estimate
from photochrom.training.loop.monitor import GREY_RATIO
from photochrom.training.reproduction.experiments import (
    BASELINES,
    EXPERIMENTS,
    LAMBDAS,
    SYSTEMS,
    lambda_run,
)
from photochrom.training.reproduction.results import Results, Run

Word = Literal["confirmed", "partly", "refuted", "open"]

PSNR_MARGIN, RATIO_MARGIN = 0.1, 0.05
"""In dB and as a share of the truth: nearer than this to where another run ended is as good."""


@dataclass(frozen=True)
class Verdict:
    """What came out of a claim."""

    word: Word
    """`open` where what it takes was not run."""
    sentence: str
    """Why, with figures."""

    def __str__(self) -> str:
        return f"{self.word.capitalize()}: {self.sentence}."


@dataclass(frozen=True)
class Claim:
    """Something that the report says, or that explains it."""

    title: str
    needs: tuple[str, ...]
    """The experiments that it takes."""
    judge: Callable[[Results], Verdict]
    needs_fid: bool = False


def judge(claim: Claim, results: Results) -> Verdict:
    """Return the verdict on a claim, or `open` where what it takes was not run."""
    missing = [name for name in claim.needs if results.evaluation(name) is None]
    if missing:
        return Verdict("open", f"not run: {', '.join(missing)}")
    if claim.needs_fid and any("fid" not in _values(results, name) for name in claim.needs):
        return Verdict("open", "FID was not measured; give --inception")
    return claim.judge(results)


def _values(results: Results, name: str) -> dict[str, Estimate]:
    evaluation = results.evaluation(name)
    return {} if evaluation is None else dict(evaluation.values)


def _ratio(results: Results, name: str) -> Estimate:
    return results.value(name, "colorfulness_ratio")


def _show(value: Estimate, digits: int = 2) -> str:
    mean, low, high = value
    if low is None or high is None:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def above(one: Estimate, other: Estimate) -> bool:
    """Return whether a value is above another beyond both intervals."""
    low, high = one[1], other[2]
    return low is not None and high is not None and low > high


def _run(results: Results, name: str) -> Run:
    run = results.of(name)
    assert run is not None  # `judge` has looked
    return run


def _stays_grey(results: Results) -> Verdict:
    found = [_ratio(results, name) for name in ("custom", "custom-no-l1")]
    grey = [value[0] < GREY_RATIO for value in found]
    word: Word = "confirmed" if all(grey) else "partly" if any(grey) else "refuted"
    return Verdict(
        word,
        f"with L1 it has {_show(found[0])} of the truth's colourfulness, without "
        f"{_show(found[1])}; below {GREY_RATIO:.2f} counts as grey",
    )


def _sees_too_little(results: Results) -> Verdict:
    plain, dilated = _ratio(results, "custom"), _ratio(results, "custom-dilated")
    distances = [results.value(name, "ciede2000") for name in ("custom", "custom-dilated")]
    more = above(dilated, plain)
    nearer = above(*distances)
    word: Word = "confirmed" if more and nearer else "partly" if more or nearer else "refuted"
    return Verdict(
        word,
        "dilated, so that a pixel sees nearly the whole photo, its colourfulness goes from "
        f"{_show(plain)} to {_show(dilated)} of the truth's and its CIEDE2000 from "
        f"{_show(distances[0])} to {_show(distances[1])}",
    )


def _lambda(results: Results) -> Verdict:
    at_1, at_100 = (_ratio(results, lambda_run(value)) for value in (1, 100))
    grey, helps = at_100[0] < GREY_RATIO, above(at_1, at_100)
    word: Word = "confirmed" if grey and helps else "partly" if grey or helps else "refuted"
    sweep = "; ".join(
        f"{value}: {_ratio(results, name)[0]:.2f} at {results.value(name, 'mse')[0]:.4f}"
        for value, name in ((value, lambda_run(value)) for value in LAMBDAS)
    )
    return Verdict(
        word,
        f"{_run(results, lambda_run(1)).title.partition(',')[0]}: lambda 100 gives "
        f"{_show(at_100)} of the truth's colourfulness, lambda 1 {_show(at_1)}; over the sweep, "
        f"colourfulness at MSE is {sweep}",
    )


def _as_good_at(run: Run, psnr: float, ratio: float) -> int | None:
    """Return after how many generator steps beside a discriminator a run was as good, if ever."""
    steps = run.updates_by_epoch("g", phases=("gan",))
    for after, line in zip(steps, run.log, strict=True):
        near = line["psnr"] >= psnr - PSNR_MARGIN
        if line["phase"] == "gan" and near and line["colorfulness_ratio"] >= ratio - RATIO_MARGIN:
            return after
    return None


def _pretraining(results: Results) -> Verdict:
    plain, pretrained = _run(results, "unet-patchgan"), _run(results, "unet-patchgan-l1pre")
    end = plain.log[-1]
    steps = [
        _as_good_at(run, end["psnr"], end["colorfulness_ratio"]) for run in (plain, pretrained)
    ]
    goal = (
        f"PSNR {end['psnr']:.2f} dB and {end['colorfulness_ratio']:.2f} of the truth's "
        "colourfulness, where the plain U-Net ended on the photos that are watched in training"
    )
    total = [run.updates("g") for run in (plain, pretrained)]
    assert steps[0] is not None  # its own end at the latest
    if steps[1] is None:
        return Verdict(
            "refuted",
            f"the pretrained U-Net never came as far as {goal}, in "
            f"{pretrained.updates('g', phases=('gan',))} steps beside the PatchGAN",
        )
    word: Word = "confirmed" if steps[1] < steps[0] else "refuted"
    return Verdict(
        word,
        f"the pretrained U-Net reached {goal}, after {steps[1]} generator steps beside the "
        f"PatchGAN, the plain one after {steps[0]}; with L1 alone before that, the runs took "
        f"{total[1]} and {total[0]} generator steps in all",
    )


def _best_is_worst(results: Results) -> Verdict:
    fid = {name: results.value(name, "fid")[0] for name in SYSTEMS}
    mse = {name: results.value(name, "mse")[0] for name in SYSTEMS}
    ssim = {name: results.value(name, "ssim")[0] for name in SYSTEMS}
    best = min(fid, key=lambda name: fid[name])
    by_mse, by_ssim = max(mse, key=lambda n: mse[n]), min(ssim, key=lambda n: ssim[n])
    names = [n for n in (*BASELINES, *EXPERIMENTS) if "fid" in _values(results, n)]
    correlation = spearmanr(
        [results.value(n, "fid")[0] for n in names], [results.value(n, "mse")[0] for n in names]
    ).statistic
    grey_beats = sum(results.value("grey", "mse")[0] < value for value in mse.values())
    worst = (by_mse == best) + (by_ssim == best)
    word: Word = ("refuted", "partly", "confirmed")[worst]
    return Verdict(
        word,
        f"the best FID of the four systems, {fid[best]:.1f}, is {best}'s, the worst MSE "
        f"{by_mse}'s, the worst SSIM {by_ssim}'s; over all {len(names)} rows FID and MSE have a "
        f"rank correlation of {correlation:+.2f}; a grey picture beats {grey_beats} of the four "
        "systems in MSE",
    )


CLAIMS: Sequence[Claim] = (
    Claim(
        "The custom pair makes grey pictures, with L1 and without it.",
        ("custom", "custom-no-l1"),
        _stays_grey,
    ),
    Claim(
        "Its colours are as they are because a pixel sees too little of the photo: dilated, with "
        "as many parameters, it is more colourful and nearer to the truth.",
        ("custom", "custom-dilated"),
        _sees_too_little,
    ),
    Claim(
        "Lambda 100 turns the ResNet18 U-Net grey, and lambda 1 helps.",
        tuple(lambda_run(value) for value in LAMBDAS),
        _lambda,
    ),
    Claim(
        "A U-Net that was pretrained with L1 needs fewer GAN steps.",
        ("unet-patchgan", "unet-patchgan-l1pre"),
        _pretraining,
    ),
    Claim(
        "The system with the best pictures has the worst scores.",
        ("grey", *SYSTEMS),
        _best_is_worst,
        needs_fid=True,
    ),
)
"""What is judged, in the order of the pages."""


def compare(results: Results, name: str, base: str) -> str:
    """Return in a few words how an experiment differs from another, where intervals do not touch.

    `as colourful, as near` says that these photos do not tell them apart.
    """
    ratio, ratio_base = _ratio(results, name), _ratio(results, base)
    distance, distance_base = (results.value(n, "ciede2000") for n in (name, base))
    color, near = "as colourful", "as near to the truth"
    if above(ratio, ratio_base):
        color = "more colourful"
    elif above(ratio_base, ratio):
        color = "less colourful"
    if above(distance, distance_base):
        near = "farther from the truth"
    elif above(distance_base, distance):
        near = "nearer to the truth"
    return f"{color}, {near}"
