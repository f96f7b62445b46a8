"""Check the statistics of a study on simulated participants with known parameters.

    python benchmarks/study.py --studies 1000 --participants 400

Prints three Markdown tables: the coverage of the intervals of a fooling rate, of a difference
between systems, and the threshold estimates of `timed`.
"""

import argparse

import numpy as np

from photochrom.study.answers import Response
from photochrom.study.statistics import (
    Term,
    clustered_interval,
    converged_mean,
    modal_level,
    wilson,
)
from photochrom.study.trials import Trial, requested_exposure_ms

RATES = ((0.32, 0.1), (0.5, 0.2), (0.05, 0.05))
"""Fooling rate, and its standard deviation over participants."""
DIFFERENCES = ((10, 20, 10), (20, 10, 20), (20, 30, 20), (20, 100, 20), (80, 10, 40), (80, 30, 40))
"""Numbers of photos, of participants, and of test trials of each."""
LOGITS = (-0.4, -0.85)
"""Mean logits of two systems: fooling rates of about 41 % and 33 %."""
PARTICIPANT_SD, PHOTO_SD, PHOTO_SYSTEM_SD = 0.7, 0.7, 0.5
"""Standard deviations of logits: over participants, over photos, and over photos for each system
on its own."""
TRIAL = Trial("timed", "test", "photo", ("real",))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--responses", type=int, default=20, help="Per participant.")
    parser.add_argument("--participants", type=int, default=400)
    options = parser.parse_args()
    print("| participants | true rate, its SD | participants as clusters | Wilson | width |")
    print("| ---: | --- | ---: | ---: | ---: |")
    for participants in (5, 10, 30):
        for rate, spread in RATES:
            print(coverage(participants, rate, spread, options.responses, options.studies))
    print("\n| photos | participants | trials | photos as clusters: coverage, width ", end="")
    print("| participants as clusters: coverage, width | both new: photos, participants |")
    print("| ---: | ---: | ---: | --- | --- | --- |")
    for setting in DIFFERENCES:
        print(difference_coverage(*setting, options.studies))
    print("\n| threshold | tests | converged | mean: average, SD | mode: average, SD |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for tests in (40, 150):
        for threshold in (200.0, 350.0, 500.0):
            print(thresholds(threshold, tests, options.participants))


def coverage(participants: int, rate: float, spread: float, responses: int, studies: int) -> str:
    """Return the coverage of both intervals, as a line of the first table."""
    random = np.random.default_rng(1)
    both = rate * (1 - rate) / spread**2 - 1
    n = np.full(participants, responses)
    covered = np.zeros(2)
    width = 0.0
    for study in range(studies):
        hits = random.binomial(n, random.beta(rate * both, (1 - rate) * both, participants))
        intervals = (
            clustered_interval(Term(hits, n), samples=1000, seed=study),
            wilson(int(hits.sum()), int(n.sum())),
        )
        for which, interval in enumerate(intervals):
            assert interval is not None
            covered[which] += interval[0] <= rate <= interval[1]
        assert intervals[0] is not None
        width += intervals[0][1] - intervals[0][0]
    clustered, independent = 100 * covered / studies
    return (
        f"| {participants} | {100 * rate:g} %, {100 * spread:g} points | {clustered:.1f} % "
        f"| {independent:.1f} % | {100 * width / studies:.0f} points |"
    )


def difference_coverage(photos: int, participants: int, trials: int, studies: int) -> str:
    """Return the coverage of the intervals of a difference, as a line of the second table.

    The interval over photos should hold the difference for the study's participants and all
    photos; the one over participants that for all participants and the study's photos.
    """
    random = np.random.default_rng(2)
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(20)
    node_weights = node_weights / node_weights.sum()
    photo_sd = np.hypot(PHOTO_SD, PHOTO_SYSTEM_SD)
    total_sd = np.hypot(photo_sd, PARTICIPANT_SD)
    overall = float(np.subtract(*(rate(m + total_sd * nodes) @ node_weights for m in LOGITS)))
    covered = {name: np.zeros(2) for name in ("photos", "participants")}
    width = dict.fromkeys(covered, 0.0)
    for study in range(studies):
        of_person = random.normal(0, PARTICIPANT_SD, participants)
        of_photo = random.normal(0, PHOTO_SD, photos)
        logits = [m + of_photo + random.normal(0, PHOTO_SYSTEM_SD, photos) for m in LOGITS]
        truths = {
            "photos": [
                (rate(m + of_person[:, None] + photo_sd * nodes) @ node_weights).mean()
                for m in LOGITS
            ],
            "participants": [
                (rate(of[:, None] + PARTICIPANT_SD * nodes) @ node_weights).mean() for of in logits
            ],
        }
        shape = (2, participants, photos)
        n, hits = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        seen = random.integers(0, 2, photos)  # so that the systems of a photo take turns
        order = random.permutation(photos)
        for person in range(participants):
            own = order[(person * trials + np.arange(trials)) % photos]
            for photo in own:
                system = seen[photo] % 2
                seen[photo] += 1
                n[system, person, photo] = 1
                logit = logits[system][photo] + of_person[person]
                hits[system, person, photo] = random.random() < rate(logit)
        for name, axis in (("photos", 1), ("participants", 2)):
            interval = clustered_interval(
                Term(hits[0].sum(axis - 1), n[0].sum(axis - 1)),
                Term(hits[1].sum(axis - 1), n[1].sum(axis - 1), -1.0),
                samples=1000,
                seed=study,
            )
            assert interval is not None
            targets = (float(np.subtract(*truths[name])), overall)
            covered[name] += [interval[0] <= target <= interval[1] for target in targets]
            width[name] += interval[1] - interval[0]
    own, both = zip(*(100 * covered[name] / studies for name in covered), strict=True)
    cells = [
        f"{own[i]:.1f} %, {100 * width[name] / studies:.0f} points" for i, name in enumerate(width)
    ]
    return (
        f"| {photos} | {participants} | {trials} | {cells[0]} | {cells[1]} "
        f"| {both[0]:.1f} %, {both[1]:.1f} % |"
    )


def rate(logit: np.ndarray) -> np.ndarray:
    """Return the logistic function."""
    return 1 / (1 + np.exp(-logit))


def thresholds(threshold: float, tests: int, participants: int) -> str:
    """Return the estimates of a known threshold, as a line of the third table."""
    random = np.random.default_rng(0)
    runs = [staircase(threshold, tests, random) for _ in range(participants)]
    converged = [run for run in runs if converged_mean(run) is not None]
    estimates = (
        [
            [float(converged_mean(run) or 0) for run in converged],
            [modal_level(run) for run in converged],
        ]
        if converged
        else [[np.nan], [np.nan]]
    )
    mean, mode = (f"{np.mean(of):.0f} ms, {np.std(of):.0f} ms" for of in estimates)
    share = 100 * len(converged) / participants
    return f"| {threshold:g} ms | {tests} | {share:.0f} % | {mean} | {mode} |"


def staircase(threshold: float, tests: int, random: np.random.Generator) -> list[float]:
    """Return the levels of a participant with a threshold for 75 % correct responses, in ms."""
    responses: list[Response] = []
    levels = []
    for number in range(tests):
        level = requested_exposure_ms(TRIAL, responses)
        assert level is not None
        levels.append(level)
        right = random.random() < 1 - 0.5 * 0.5 ** ((level / threshold) ** 3.5)
        chosen = "real" if right else "generated"
        responses.append(
            Response(
                "p", number, "timed", "test", "photo", ("real",), chosen, level, level, None, ""
            )
        )
    return levels


if __name__ == "__main__":
    main()
