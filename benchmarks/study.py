"""Check the statistics of a study on simulated participants with known parameters.

    python benchmarks/study.py --studies 1000 --participants 400

Prints two Markdown tables: the coverage of the intervals of a fooling rate, and the threshold
estimates of `timed`.
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
TRIAL = Trial("timed", "test", "photo", ("real",))


def main() -> None:
    """Print both tables."""
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


def thresholds(threshold: float, tests: int, participants: int) -> str:
    """Return the estimates of a known threshold, as a line of the second table."""
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
