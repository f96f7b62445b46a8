"""The report's claims and our verdicts on them, by the rules of `comparison`.

Output below a fifth of the original's colourfulness is grey
(`photochrom.training.loop.monitor.GREY_RATIO`). That a system is grey is evidence only if another
system, trained by the same protocol, is not. That it is not grey is evidence only if the measure
finds a known grey picture, and a difference only if it finds a known one (`CONTROLS`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from statistics import mean
from typing import Literal

from photochrom.training.evaluation.bootstrap import Estimate
from photochrom.training.evaluation.metrics import METRICS
from photochrom.training.loop.monitor import GREY_RATIO
from photochrom.training.reproduction.comparison import (
    SEEDS,
    MissingDataError,
    compare,
    compare_colorfulness,
    compare_epochs,
    estimate,
)
from photochrom.training.reproduction.experiments import EPOCHS, PROTOCOLS, SYSTEMS, lambda_run
from photochrom.training.reproduction.results import Results, Run

Finding = Literal["holds", "fails", "open"]
Outcome = Literal[
    "confirmed", "refuted", "reproduced at this scale", "not reproduced at this scale", "open"
]

_OUTCOMES: Mapping[Finding, tuple[Outcome, Outcome]] = {
    "holds": ("confirmed", "reproduced at this scale"),
    "fails": ("refuted", "not reproduced at this scale"),
    "open": ("open", "open"),
}
"""At the report's scale, and elsewhere."""

PSNR_MARGIN, RATIO_MARGIN = 0.1, 0.05
"""In dB, and as a share of the original's colourfulness: how near a run has to come to the values
of another to have reached them."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim."""

    outcome: Outcome
    """`confirmed` and `refuted` are for the report's scale only: `Results.at_report_scale`, and
    ResNet18 with ImageNet weights."""
    message: str
    """The reason, with values."""

    def __str__(self) -> str:
        return f"{self.outcome.capitalize()}: {self.message}."


@dataclass(frozen=True)
class Claim:
    """A claim of the report, or an explanation of one."""

    title: str
    requires: tuple[str, ...]
    """Experiments, including controls."""
    rule: Callable[[Results], tuple[Finding, str]]
    """The finding with its reason."""
    control: str | None = None
    """A key of `CONTROLS`. Where it does not hold, the verdict is `open`."""

    def conclude(self, results: Results) -> Verdict:
        """Return the verdict; `open` if a required run or measurement is missing."""
        missing = [name for name in self.requires if results.of(name) is None]
        if missing:
            return Verdict("open", f"not run: {', '.join(missing)}")
        runs = [run for name in self.requires for run in results.seeds(name)]
        try:
            finding, message = self.rule(results)
        except MissingDataError as error:
            return Verdict("open", str(error))
        if self.control is not None and finding != "open":
            control = CONTROLS[self.control]
            if not control.holds(results):
                lowered = control.title[0].lower() + control.title[1:].rstrip(".")
                return Verdict("open", f"{message}; but the control is not met that {lowered}")
        origins = sorted({run.encoder_origin for run in runs if run.other_weights})
        if origins:
            message += f"; ResNet18 started from {' and '.join(origins)}"
        at_report_scale, elsewhere = _OUTCOMES[finding]
        is_like_report = results.at_report_scale and not origins
        return Verdict(at_report_scale if is_like_report else elsewhere, message)

    def holds(self, results: Results) -> bool:
        """Return whether it was reproduced, at whatever scale."""
        return self.conclude(results).outcome in _OUTCOMES["holds"]


def _show(value: Estimate, digits: int = 2) -> str:
    mean, low, high = value
    if low is None or high is None:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _show_estimate(results: Results, name: str, metric: str) -> str:
    return _show(estimate(results, name, metric), METRICS[metric].digits)


def _is_grey(results: Results, name: str, control: str) -> tuple[Finding, str]:
    share, low, high = estimate(results, name, "grey_share")
    message = (
        f"{name} has {_show_estimate(results, name, 'colorfulness_ratio')} of the original's "
        f"colourfulness (grey: below {GREY_RATIO:.2f}); {share:.0%} ({low:.0%}..{high:.0%}) of its "
        "pictures are grey"
    )
    order = compare_colorfulness(results, name, GREY_RATIO)
    if order == "above":
        return "fails", message
    if order == "unclear":
        return "open", f"{message}; the intervals do not decide"
    message += f"; the control {control} has "
    message += _show_estimate(results, control, "colorfulness_ratio")
    if compare_colorfulness(results, control, GREY_RATIO) != "above":
        return "open", f"{message}, so grey may come from the protocol, not from {name}"
    return "holds", message


def _baseline_is_grey(results: Results) -> tuple[Finding, str]:
    evaluation = results.evaluation("mean-ab")
    if evaluation is None or _RATIO not in evaluation.values:
        raise MissingDataError("the baseline mean-ab was not measured")
    value = evaluation.values[_RATIO]
    message = f"mean-ab has {_show(value)} of the original's colourfulness"
    _, low, high = value
    if high is not None and high < GREY_RATIO:
        return "holds", message
    return ("fails" if low is not None and low > GREY_RATIO else "open"), message


def _is_larger(
    results: Results, name: str, base: str, metric: str, quantity: str
) -> tuple[Finding, str]:
    """Find whether `name` has a larger value than `base`."""
    message = (
        f"{quantity} is {_show_estimate(results, name, metric)} with {name} and "
        f"{_show_estimate(results, base, metric)} with {base}"
    )
    order = compare(results, name, base, metric)
    if order == "unclear":
        similar = compare_epochs(results, name, base, metric) == "unclear"
        reason = "the intervals do not decide" if similar else "the scores by photo do not agree"
        return "open", f"{message}; {reason}"
    return "holds" if order == "above" else "fails", message


def _steps_until(run: Run, psnr: float, ratio: float) -> float:
    """Return the generator steps with a discriminator until a run reaches two values.

    The means of five consecutive epochs count, as single epochs wander; infinite if they never do.
    """
    steps = run.updates_by_epoch("g", phases=("gan",))
    epochs = [pair for pair in zip(steps, run.log, strict=True) if pair[1]["phase"] == "gan"]
    for end in range(EPOCHS, len(epochs) + 1):
        lines = [line for _, line in epochs[end - EPOCHS : end]]
        near = mean(line["psnr"] for line in lines) >= psnr - PSNR_MARGIN
        if near and mean(line["colorfulness_ratio"] for line in lines) >= ratio - RATIO_MARGIN:
            return epochs[end - 1][0]
    return inf


def _pretraining_saves_steps(results: Results) -> tuple[Finding, str]:
    names = "unet-patchgan-l1pre", "unet-patchgan"
    pretrained, plain = (results.seeds(name) for name in names)
    for name, runs in zip(names, (pretrained, plain), strict=True):
        if len(runs) < SEEDS:
            raise MissingDataError(
                f"{SEEDS} seeds of {name} are needed, as the step at which a curve first reaches "
                f"a value depends on chance; the number of seeds is {len(runs)}"
            )
    last = [line for run in plain for line in run.log[-EPOCHS:]]  # of the same photos as the curves
    psnr, ratio = (mean(line[metric] for line in last) for metric in ("psnr", _RATIO))
    fewer, more = (sorted(_steps_until(run, psnr, ratio) for run in x) for x in (pretrained, plain))
    message = (
        "on the validation photos, the pretrained U-Nets reached the plain ones' final values, "
        f"PSNR {psnr:.2f} dB and {ratio:.2f} of the original's colourfulness, after "
        f"{_show_steps(fewer)} generator steps with the PatchGAN, the plain ones after "
        f"{_show_steps(more)}; with L1 pretraining, a run takes {pretrained[0].updates('g')} "
        f"generator steps, a plain one {plain[0].updates('g')}"
    )
    if fewer[-1] < more[0]:
        return "holds", message
    if fewer[0] >= more[-1] < inf:
        return "fails", message
    return "open", f"{message}; the ranges overlap"


def _show_steps(steps: Sequence[float]) -> str:
    return ", ".join("never" if value == inf else f"{value:.0f}" for value in steps)


def _best_is_worst(results: Results, metric: str) -> tuple[Finding, str]:
    """Find whether the system of the four with the best FID has the worst value of a metric."""
    fids = {name: estimate(results, name, "fid") for name in SYSTEMS}
    best = min(SYSTEMS, key=lambda name: fids[name][0])
    others = [name for name in SYSTEMS if name != best]
    values = ", ".join(
        f"{name} {_show(fids[name], 1)} and {_show_estimate(results, name, metric)}"
        for name in SYSTEMS
    )
    message = f"FID and {METRICS[metric].title}: {values}"
    if any(compare_epochs(results, name, best, "fid") != "above" for name in others):
        return "open", f"{message}; the intervals do not show which system has the best FID"
    worse = "below" if METRICS[metric].direction == "up" else "above"
    orders = [compare(results, best, name, metric) for name in others]
    if all(order == worse for order in orders):
        return "holds", message
    if any(order not in (worse, "unclear") for order in orders):
        return "fails", message
    return "open", f"{message}; the intervals do not show which system has the worst one"


_RATIO = "colorfulness_ratio"
_COLOURFULNESS = "the share of the original's colourfulness"
_SYSTEM_3, _LAMBDA_100 = lambda_run(1), lambda_run(100)

CONTROLS: Mapping[str, Claim] = {
    "grey": Claim("Colouring with the mean colour of all photos is grey.", (), _baseline_is_grey),
    _RATIO: Claim(
        "The PatchGAN makes the U-Net more colourful than L1 alone.",
        ("unet-patchgan", "unet-l1"),
        partial(
            _is_larger,
            name="unet-patchgan",
            base="unet-l1",
            metric=_RATIO,
            quantity=_COLOURFULNESS,
        ),
    ),
    "psnr": Claim(
        "L1 alone gives the U-Net a higher PSNR than with the PatchGAN.",
        ("unet-l1", "unet-patchgan"),
        partial(_is_larger, name="unet-l1", base="unet-patchgan", metric="psnr", quantity="PSNR"),
    ),
}
"""Positive controls: known effects that measurements have to show before they count."""

CLAIMS: Sequence[Claim] = (
    *(
        Claim(
            title,
            (name, "unet-patchgan"),
            partial(_is_grey, name=name, control="unet-patchgan"),
            "grey",
        )
        for name, title in (
            ("custom", "The custom pair produces grey images."),
            ("custom-no-l1", "The custom pair produces grey images without L1, too."),
        )
    ),
    *(
        Claim(
            title,
            ("custom-dilated", "custom"),
            partial(
                _is_larger, name="custom-dilated", base="custom", metric=metric, quantity=quantity
            ),
            metric,
        )
        for metric, quantity, title in (
            (
                _RATIO,
                _COLOURFULNESS,
                "A larger receptive field (dilations, equally many parameters) makes the custom "
                "pair more colourful, so the small one would explain grey.",
            ),
            ("psnr", "PSNR", "A larger receptive field brings it closer to the original."),
        )
    ),
    Claim(
        "Lambda 100 turns the ResNet18 U-Net grey.",
        (_LAMBDA_100, _SYSTEM_3),
        partial(_is_grey, name=_LAMBDA_100, control=_SYSTEM_3),
        "grey",
    ),
    Claim(
        "Lambda 1 makes the ResNet18 U-Net more colourful than lambda 100.",
        (_SYSTEM_3, _LAMBDA_100),
        partial(
            _is_larger, name=_SYSTEM_3, base=_LAMBDA_100, metric=_RATIO, quantity=_COLOURFULNESS
        ),
        _RATIO,
    ),
    Claim(
        "A U-Net that was pretrained with L1 needs fewer GAN steps.",
        ("unet-patchgan", "unet-patchgan-l1pre"),
        _pretraining_saves_steps,
    ),
    *(
        Claim(
            f"The system with the best images, here by FID, has the worst {title}.",
            SYSTEMS,
            partial(_best_is_worst, metric=metric),
        )
        for metric, title in (("mse", "MSE"), ("ssim", "SSIM (in the report the second worst)"))
    ),
)
"""In the order of the pages."""


def find_claims(results: Results) -> list[Claim]:
    """Return the claims whose experiments are all planned by the protocol, or all were run."""
    planned = PROTOCOLS[results.protocol].covers
    return [
        claim
        for claim in CLAIMS
        if planned(*claim.requires) or all(map(results.of, claim.requires))
    ]


def describe_difference(results: Results, name: str, base: str) -> str:
    """Describe how an experiment differs from another in colourfulness and PSNR."""

    def choose(metric: str, above: str, below: str, unclear: str) -> str:
        words = {"above": above, "below": below, "unclear": unclear}
        try:
            return words[compare(results, name, base, metric)]
        except MissingDataError:  # too few epochs
            return unclear

    color = choose(_RATIO, "more colourful", "less colourful", "colourfulness unclear")
    distance = choose("psnr", "higher PSNR", "lower PSNR", "PSNR unclear")
    return f"{color}, {distance}"
