"""The sections of results.md on the report's claims, and on how verdicts are reached."""

from collections import Counter
from itertools import pairwise
from statistics import mean

from photochrom.training.loop.monitor import GREY_RATIO
from photochrom.training.reproduction.claims import CONTROLS, find_claims
from photochrom.training.reproduction.comparison import LEAST_EPOCHS, SEEDS
from photochrom.training.reproduction.experiments import EPOCHS
from photochrom.training.reproduction.results import Results
from photochrom.training.reproduction.text import bullets

_RULES_DATE = "2026-11-30"


def claims_section(results: Results) -> str:
    """Return the verdicts on the claims that the runs are about."""
    claims = find_claims(results)
    verdicts = [claim.conclude(results) for claim in claims]
    texts = [f"**{c.title}** {verdict}" for c, verdict in zip(claims, verdicts, strict=True)]
    counts = Counter(verdict.outcome for verdict in verdicts)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    return f"""## The report's claims

Of {len(claims)} claims: {summary}.

{bullets(texts)}
"""


def rules_section(results: Results) -> str:
    """Return the rules for verdicts."""
    texts = [
        "*Confirmed* and *refuted* are verdicts at the report's scale: its size, number and kind "
        "of photos (COCO), full width, and ResNet18 with ImageNet weights. Elsewhere a claim is "
        "*reproduced* or *not reproduced at this scale*. *Open* means that runs or measurements "
        "are missing, or that the intervals do not decide.",
        f"The value of a system is the mean of the networks of the last {EPOCHS} epochs of its "
        f"last phase of training (at least {LEAST_EPOCHS}), over its seeds, on the "
        f"{results.photos} test photos, on which nothing is chosen. No weights are averaged. "
        f"{_fluctuation(results)}",
        f"Its interval, in brackets above, is the 95 % interval of Student's t over the seeds, if "
        f"there are {SEEDS} or more. With fewer seeds it is the range of those epochs; it then "
        "describes the runs, and how much another seed would differ is not known.",
        f"Two systems with {SEEDS} seeds or more differ if Welch's 95 % interval of the difference "
        "of their means excludes 0, others if the intervals above do not overlap. In addition, the "
        "paired bootstrap interval of the differences between their scores by photo, means over "
        "these epochs and the seeds, must exclude 0 on the same side. FID and KID are measured "
        f"after the last epoch only, so they need {SEEDS} seeds.",
        f"A system is grey if its interval, and those over photos, are below {GREY_RATIO:.2f} of "
        "the original's colourfulness, and a control that was trained in the same way is above.",
        "Positive controls: effects that are known have to be found first. Colouring with the "
        "mean colour has to count as grey; the U-Net with L1 alone has to be less colourful "
        "than with the PatchGAN, and to have a higher PSNR. A claim is open if the control of "
        "its metric fails.",
        "Intervals are not corrected for the number of comparisons.",
    ]
    controls = [f"**{c.title}** {c.conclude(results)}" for c in CONTROLS.values()]
    return f"""## How verdicts are reached

These rules were set on {_RULES_DATE}, before these runs.

{bullets(texts)}

The controls:

{bullets(controls)}
"""


def _fluctuation(results: Results) -> str:
    """Describe how much adversarial training fluctuates from epoch to epoch."""
    steps = []
    for run in results.runs:
        ratios = [line["colorfulness_ratio"] for line in run.log if line["phase"] == "gan"][-10:]
        steps += [abs(after - before) for before, after in pairwise(ratios)]
    if not steps:
        return ""
    return (
        f"In these runs, the colourfulness of adversarial training changes by {mean(steps):.2f} of "
        "the original's from one epoch to the next, on average over the last ten epochs."
    )
