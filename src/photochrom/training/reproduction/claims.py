"""The report's claims and our verdicts on them.

The rules were fixed before the runs: output below a fifth of the original's colourfulness is grey
(`photochrom.training.loop.monitor.GREY_RATIO`), and a value is above another if their 95 %
intervals do not overlap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import spearmanr

from photochrom.training.evaluation.bootstrap import Estimate
from photochrom.training.loop.monitor import GREY_RATIO
from photochrom.training.reproduction.experiments import LAMBDAS, SYSTEMS, lambda_run
from photochrom.training.reproduction.results import Results, Run

Outcome = Literal["confirmed", "partly", "refuted", "open"]

PSNR_MARGIN, RATIO_MARGIN = 0.1, 0.05
"""In dB, and as a share of the original's colourfulness: differences below these are ignored when
two runs are compared during training."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim."""

    outcome: Outcome
    """`open` if a required run is missing."""
    message: str
    """The reason, with values."""

    def __str__(self) -> str:
        return f"{self.outcome.capitalize()}: {self.message}."


@dataclass(frozen=True)
class Claim:
    """A claim of the report, or an explanation of one."""

    title: str
    requires: tuple[str, ...]
    """Experiments and baselines."""
    rule: Callable[[Results], Verdict]
    requires_fid: bool = False

    def conclude(self, results: Results) -> Verdict:
        """Return the verdict; `open` if a required run or FID is missing."""
        missing = [name for name in self.requires if results.evaluation(name) is None]
        if missing:
            return Verdict("open", f"not run: {', '.join(missing)}")
        if self.requires_fid and not set(self.requires) <= set(results.with_metric("fid")):
            return Verdict("open", "FID was not measured; give --inception")
        return self.rule(results)


def _outcome(*conditions: bool) -> Outcome:
    return "confirmed" if all(conditions) else "partly" if any(conditions) else "refuted"


def _ratio(results: Results, name: str) -> Estimate:
    return results.value(name, "colorfulness_ratio")


def _show(value: Estimate, digits: int = 2) -> str:
    mean, low, high = value
    if low is None or high is None:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def is_above(one: Estimate, other: Estimate) -> bool:
    """Return whether a value is above another and their intervals do not overlap."""
    low, high = one[1], other[2]
    return low is not None and high is not None and low > high


def _is_grey(results: Results) -> Verdict:
    ratios = [_ratio(results, name) for name in ("custom", "custom-no-l1")]
    return Verdict(
        _outcome(*(ratio[0] < GREY_RATIO for ratio in ratios)),
        f"with L1 it has {_show(ratios[0])} of the original's colourfulness, without L1 "
        f"{_show(ratios[1])}; below {GREY_RATIO:.2f} counts as grey",
    )


def _receptive_field_is_small(results: Results) -> Verdict:
    plain, dilated = _ratio(results, "custom"), _ratio(results, "custom-dilated")
    distances = [results.value(name, "ciede2000") for name in ("custom", "custom-dilated")]
    return Verdict(
        _outcome(is_above(dilated, plain), is_above(*distances)),
        "with dilations, whose receptive field is nearly the whole photo, colourfulness changes "
        f"from {_show(plain)} to {_show(dilated)} of the original's and CIEDE2000 from "
        f"{_show(distances[0])} to {_show(distances[1])}",
    )


def _lambda_100_is_grey(results: Results) -> Verdict:
    at_1, at_100 = (_ratio(results, lambda_run(value)) for value in (1, 100))
    run = results.of(lambda_run(1))
    assert run is not None  # `conclude` has checked
    sweep = "; ".join(
        f"{value}: {_ratio(results, name)[0]:.2f} at {results.value(name, 'mse')[0]:.4f}"
        for value, name in ((value, lambda_run(value)) for value in LAMBDAS)
    )
    return Verdict(
        _outcome(at_100[0] < GREY_RATIO, is_above(at_1, at_100)),
        f"{run.title.partition(',')[0]}: lambda 100 gives {_show(at_100)} of the original's "
        f"colourfulness, lambda 1 {_show(at_1)}; colourfulness and MSE for each lambda: {sweep}",
    )


def _steps_until(run: Run, psnr: float, ratio: float) -> int | None:
    """Return the generator steps with a discriminator until a run first reaches two values."""
    steps = run.updates_by_epoch("g", phases=("gan",))
    for after, line in zip(steps, run.log, strict=True):
        near = line["psnr"] >= psnr - PSNR_MARGIN
        if line["phase"] == "gan" and near and line["colorfulness_ratio"] >= ratio - RATIO_MARGIN:
            return after
    return None


def _pretraining_saves_steps(results: Results) -> Verdict:
    plain, pretrained = results.of("unet-patchgan"), results.of("unet-patchgan-l1pre")
    assert plain is not None  # `conclude` has checked
    assert pretrained is not None
    psnr, ratio = plain.log[-1]["psnr"], plain.log[-1]["colorfulness_ratio"]
    goal = (
        f"the plain U-Net's final values on the photos monitored in training, PSNR {psnr:.2f} dB "
        f"and {ratio:.2f} of the original's colourfulness"
    )
    plain_steps = _steps_until(plain, psnr, ratio)
    assert plain_steps is not None  # the last epoch at the latest
    steps = _steps_until(pretrained, psnr, ratio)
    if steps is None:
        return Verdict(
            "refuted",
            f"the pretrained U-Net never reached {goal}, in "
            f"{pretrained.updates('g', phases=('gan',))} generator steps with the PatchGAN",
        )
    return Verdict(
        _outcome(steps < plain_steps),
        f"the pretrained U-Net reached {goal}, after {steps} generator steps with the PatchGAN, "
        f"the plain one after {plain_steps}; including L1 pretraining, the runs took "
        f"{pretrained.updates('g')} and {plain.updates('g')} generator steps",
    )


def _best_has_worst_scores(results: Results) -> Verdict:
    def values(metric: str, names: Sequence[str] = SYSTEMS) -> dict[str, float]:
        return {name: results.value(name, metric)[0] for name in names}

    fid, mse, ssim = values("fid"), values("mse"), values("ssim")
    best = min(fid, key=fid.__getitem__)
    worst_mse, worst_ssim = max(mse, key=mse.__getitem__), min(ssim, key=ssim.__getitem__)
    names = results.with_metric("fid")
    correlation = spearmanr(
        list(values("fid", names).values()), list(values("mse", names).values())
    ).statistic
    grey_mse = results.value("grey", "mse")[0]
    return Verdict(
        _outcome(worst_mse == best, worst_ssim == best),
        f"of the four systems, {best} has the best FID, {fid[best]:.1f}, {worst_mse} the worst MSE "
        f"and {worst_ssim} the worst SSIM; over all {len(names)} rows FID and MSE have a rank "
        f"correlation of {correlation:+.2f}; grey has a lower MSE than "
        f"{sum(grey_mse < value for value in mse.values())} of the four systems",
    )


CLAIMS: Sequence[Claim] = (
    Claim(
        "The custom pair produces grey images, with and without L1.",
        ("custom", "custom-no-l1"),
        _is_grey,
    ),
    Claim(
        "The reason is its small receptive field: with dilations and equally many parameters, it "
        "is more colourful and closer to the original.",
        ("custom", "custom-dilated"),
        _receptive_field_is_small,
    ),
    Claim(
        "Lambda 100 turns the ResNet18 U-Net grey, and lambda 1 helps.",
        tuple(lambda_run(value) for value in LAMBDAS),
        _lambda_100_is_grey,
    ),
    Claim(
        "A U-Net that was pretrained with L1 needs fewer GAN steps.",
        ("unet-patchgan", "unet-patchgan-l1pre"),
        _pretraining_saves_steps,
    ),
    Claim(
        "The system with the best images has the worst scores.",
        ("grey", *SYSTEMS),
        _best_has_worst_scores,
        requires_fid=True,
    ),
)
"""In the order of the pages."""


def compare(results: Results, name: str, base: str) -> str:
    """Describe the significant differences of an experiment from another.

    "as colourful, as close" means that the intervals overlap.
    """

    def choose(metric: str, above: str, below: str, equal: str) -> str:
        value, base_value = results.value(name, metric), results.value(base, metric)
        if is_above(value, base_value):
            return above
        return below if is_above(base_value, value) else equal

    color = choose("colorfulness_ratio", "more colourful", "less colourful", "as colourful")
    distance = choose("ciede2000", "farther from", "closer to", "as close to")
    return f"{color}, {distance} the original"
