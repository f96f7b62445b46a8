"""See how far a study's figures can be trusted: simulated people whose truth is known.

    python benchmarks/study.py --studies 1000 --people 400

The first table says how often the intervals of a fooling rate hold the true one, the second what
the two estimates of the threshold of `timed` come to. Both are Markdown.
"""

import argparse

import numpy as np

from photochrom.study.answers import Answer
from photochrom.study.statistics import Term, clustered, modal_level, settled_mean, wilson
from photochrom.study.trials import Trial, asked_ms

RATES = ((0.32, 0.1), (0.5, 0.2), (0.05, 0.05))
"""A fooling rate, and how far persons are spread around it (standard deviation)."""
SHOWN = Trial("timed", "test", "photo", ("real",))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--answers", type=int, default=20, help="Of one person.")
    parser.add_argument("--people", type=int, default=400)
    options = parser.parse_args()
    print("| persons | true rate, spread of persons | persons as clusters | Wilson | width |")
    print("| ---: | --- | ---: | ---: | ---: |")
    for persons in (5, 10, 30):
        for rate, spread in RATES:
            print(coverage(persons, rate, spread, options.answers, options.studies))
    print("\n| threshold | tests | settled | mean: average, spread | mode: average, spread |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for tests in (40, 150):
        for threshold in (200.0, 350.0, 500.0):
            print(thresholds(threshold, tests, options.people))


def coverage(persons: int, rate: float, spread: float, answers: int, studies: int) -> str:
    """Return how often intervals hold a rate, as a line of the first table."""
    random = np.random.default_rng(1)
    both = rate * (1 - rate) / spread**2 - 1
    n = np.full(persons, answers)
    held = np.zeros(2)
    width = 0.0
    for study in range(studies):
        hits = random.binomial(n, random.beta(rate * both, (1 - rate) * both, persons))
        intervals = (
            clustered(Term(hits, n), draws=1000, seed=study),
            wilson(int(hits.sum()), int(n.sum())),
        )
        for which, interval in enumerate(intervals):
            assert interval is not None
            held[which] += interval[0] <= rate <= interval[1]
        assert intervals[0] is not None
        width += intervals[0][1] - intervals[0][0]
    ours, independent = 100 * held / studies
    return (
        f"| {persons} | {100 * rate:g} %, {100 * spread:g} points | {ours:.1f} % "
        f"| {independent:.1f} % | {100 * width / studies:.0f} points |"
    )


def thresholds(threshold: float, tests: int, people: int) -> str:
    """Return what comes out of people with a known threshold, as a line of the second table."""
    random = np.random.default_rng(0)
    runs = [staircase(threshold, tests, random) for _ in range(people)]
    settled = [run for run in runs if settled_mean(run) is not None]
    estimates = (
        [[float(settled_mean(run) or 0) for run in settled], [modal_level(run) for run in settled]]
        if settled
        else [[np.nan], [np.nan]]
    )
    mean, mode = (f"{np.mean(of):.0f} ms, {np.std(of):.0f} ms" for of in estimates)
    share = 100 * len(settled) / people
    return f"| {threshold:g} ms | {tests} | {share:.0f} % | {mean} | {mode} |"


def staircase(threshold: float, tests: int, random: np.random.Generator) -> list[float]:
    """Return the levels of a person who is right in 75 % of the answers at a threshold, in ms."""
    answers: list[Answer] = []
    levels = []
    for number in range(tests):
        level = asked_ms(SHOWN, answers)
        assert level is not None
        levels.append(level)
        right = random.random() < 1 - 0.5 * 0.5 ** ((level / threshold) ** 3.5)
        said = "real" if right else "generated"
        answers.append(
            Answer("p", number, "timed", "test", "photo", ("real",), said, level, level, None, "")
        )
    return levels


if __name__ == "__main__":
    main()
