"""Statistics of studies against hand values, published examples and simulations."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from photochrom.study.answers import Response
from photochrom.study.statistics import (
    MIN_CLUSTERS,
    Statistic,
    Term,
    binomial_p,
    cluster_bootstrap,
    clustered_interval,
    compare_with_half,
    converged_mean,
    mean_interval,
    modal_level,
    nominal_alpha,
    spearman,
    spearman_interval,
    wilson,
)
from photochrom.study.trials import Trial, requested_exposure_ms

MISSING = -1


def mean(values: NDArray[np.float64]) -> Statistic:
    """Return the mean of one value per cluster."""
    return lambda weights: weights @ values / len(values)


def test_wilson_by_hand() -> None:
    # 8 of 10: (.8 + 1.9207/10 ± 1.96 √(.16/10 + 3.8415/400)) / 1.38415
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0, 3.8415 / 13.8415), abs=1e-4)


def test_binomial_p_by_hand() -> None:
    assert binomial_p(8, 10) == pytest.approx(2 * (45 + 10 + 1) / 1024)
    assert binomial_p(5, 10) == pytest.approx(1)


def test_cluster_bootstrap_of_independent_responses_is_the_analytic_interval() -> None:
    hits = np.arange(400) < 160  # 400 participants with one response each, rate .4
    low, high = cluster_bootstrap(mean(hits), 400) or (0, 0)
    half = 1.96 * np.sqrt(0.4 * 0.6 / 400)
    assert (low, high) == pytest.approx((0.4 - half, 0.4 + half), abs=0.005)


def test_cluster_bootstrap_is_wide_for_constant_participants() -> None:
    n = np.full(20, 40)
    hits = np.where(np.arange(20) < 8, 40, 0)  # 800 responses of 20 participants
    low, high = clustered_interval(Term(hits, n)) or (0, 0)
    half = 1.96 * np.sqrt(0.4 * 0.6 / 20)
    assert (low, high) == pytest.approx((0.4 - half, 0.4 + half), abs=0.04)
    independent = wilson(320, 800)
    assert high - low > 5 * (independent[1] - independent[0])


def test_bootstrap_depends_on_the_seed() -> None:
    rng = np.random.default_rng(0)
    share = mean(rng.integers(0, 100, 9) / 100)
    first = cluster_bootstrap(share, 9, seed=1)
    assert first == cluster_bootstrap(share, 9, seed=1)
    assert first != cluster_bootstrap(share, 9, seed=2)


@pytest.mark.parametrize("participants", [0, 1, 2, MIN_CLUSTERS - 1])
def test_few_participants_have_no_interval(participants: int) -> None:
    assert cluster_bootstrap(mean(np.ones(participants)), participants) is None
    assert mean_interval([300.0] * participants) is None
    # Participants without responses do not count.
    hits, n = np.ones(participants + 9), np.array([9] * participants + [0] * 9)
    assert clustered_interval(Term(hits * (n > 0), n)) is None


def test_interval_of_participants_who_agree_is_wilsons() -> None:
    assert clustered_interval(Term(np.zeros(6), np.full(6, 20))) == wilson(0, 120)
    assert clustered_interval(Term(np.full(6, 8), np.full(6, 20))) == pytest.approx(wilson(48, 120))


def test_difference_of_proportions_against_a_published_example() -> None:
    """Newcombe 1998, table II (a), method 10: 56/70 - 48/80 is 0.2 [0.0524, 0.3339]."""
    # Separate groups of participants with equal rates, so only responses vary.
    first = Term([4] * 14 + [0] * 16, [5] * 14 + [0] * 16)
    second = Term([0] * 14 + [3] * 16, [0] * 14 + [5] * 16, -1.0)
    assert clustered_interval(first, second) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_difference_is_paired_by_participant() -> None:
    rng = np.random.default_rng(0)
    rates = rng.choice([0.1, 0.7], 40)
    n = np.full(40, 50)
    hits = rng.binomial(50, rates), rng.binomial(50, rates)
    alone = clustered_interval(Term(hits[0], n)) or (0, 0)
    between = clustered_interval(Term(hits[0], n), Term(hits[1], n, -1.0)) or (1, 1)
    assert between[0] < 0 < between[1]
    assert between[1] - between[0] < (alone[1] - alone[0]) / 2


def test_interval_of_a_difference_over_photos_covers() -> None:
    """Photos have rates for two systems that go together, 6 responses to each."""
    random = np.random.default_rng(0)
    covered = 0
    n = np.full(12, 6)
    for study in range(200):
        rates = draw_rates(0.4, 0.2, 12, random)
        others = np.clip(rates * random.uniform(0.5, 1, 12), 0, 1)  # 0.3 on average
        terms = Term(random.binomial(n, rates), n), Term(random.binomial(n, others), n, -1.0)
        low, high = clustered_interval(*terms, samples=500, seed=study) or (1, 0)
        covered += low <= 0.1 <= high
    assert 0.88 < covered / 200 <= 0.99


def test_interval_of_the_mean_of_two_proportions() -> None:
    rng = np.random.default_rng(0)
    n = np.full(200, 20)
    terms = [Term(rng.binomial(20, p, 200), n, 0.5) for p in (0.2, 0.4)]
    low, high = clustered_interval(*terms) or (0, 0)
    assert low < 0.3 < high
    half = 1.96 * np.sqrt((0.16 + 0.24) / 4000) / 2
    assert high - low == pytest.approx(2 * half, rel=0.1)


def test_compare_with_half() -> None:
    ends = [(0.3, 0.49), (0.51, 0.6), (0.4, 0.6), (0.3, 0.5), None]
    assert [compare_with_half(e) for e in ends] == [
        "below",
        "above",
        "undecided",
        "undecided",
        None,
    ]


# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability": two observers, binary, and four
# observers, nominal, with responses missing.
BINARY = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
NOMINAL = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, MISSING, MISSING, MISSING],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, MISSING, 3],
    [MISSING, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, MISSING],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, MISSING],
]


@pytest.mark.parametrize(("responses", "alpha"), [(BINARY, 0.095), (NOMINAL, 0.743)])
def test_alpha_against_the_published_examples(responses: list[list[int]], alpha: float) -> None:
    values = sorted({value for row in responses for value in row} - {MISSING})
    units = np.array(responses).T
    counts = [[np.count_nonzero(unit == value) for value in values] for unit in units]
    assert nominal_alpha(counts) == pytest.approx(alpha, abs=5e-4)


def test_alpha_of_chance_agreement_is_zero() -> None:
    yes = np.random.default_rng(0).binomial(20, 0.5, 400)
    assert nominal_alpha(np.stack([yes, 20 - yes], 1)) == pytest.approx(0, abs=0.01)
    assert nominal_alpha([[5, 0], [0, 4]]) == 1


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param([], id="nothing"),
        pytest.param([[1, 0], [0, 1]], id="no image has two responses"),
        pytest.param([[5, 0], [3, 0]], id="all responses are the same"),
        pytest.param([[5, 0], [0, 1]], id="all pairs are the same"),
    ],
)
def test_alpha_is_undefined(counts: list[list[int]]) -> None:
    assert nominal_alpha(counts) is None


def test_spearman_with_ties_equals_scipy() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, 40)
    y = x + rng.integers(0, 8, 40)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)  # 1 - 6 (1 + 1) / (4 * 15)


@pytest.mark.parametrize(("x", "y"), [([], []), ([1, 2], [1, 2]), ([1, 2, 3], [4, 4, 4])])
def test_spearman_is_undefined(x: list[float], y: list[float]) -> None:
    assert spearman(x, y) is None


def test_spearman_interval() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 400))
    y = x + noise
    items = [str(i) for i in range(400)]
    rho = spearman(x, y)
    low, high = spearman_interval(x, y, items) or (0, 0)
    assert rho is not None
    # Fisher's z, with the variance that Bonett and Wright 2000 give for Spearman's.
    half = 1.96 * np.sqrt((1 + rho**2 / 2) / (400 - 3))
    expected = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    assert (low, high) == pytest.approx(tuple(expected), abs=0.02)
    assert spearman_interval(x[:4], y[:4], items[:4]) is None


def test_images_of_one_item_are_resampled_together() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 40))
    y = x + noise
    once = spearman_interval(x, y, [str(i) for i in range(40)])
    thrice = spearman_interval(
        np.repeat(x, 3), np.repeat(y, 3), [str(i) for i in range(40) for _ in "123"]
    )
    assert once is not None
    assert thrice is not None
    assert np.ptp(thrice) == pytest.approx(np.ptp(once), rel=0.1)


def test_modal_level() -> None:
    assert modal_level([500, 490, 480, 510, 500]) == 500
    assert modal_level([500, 490, 520, 510, 490, 520]) == 505  # 490 and 520, twice each
    assert modal_level([300]) == 300


def test_converged_mean() -> None:
    levels = [500, 490, 480, 510, 500, 490, 520, 510]
    # Down to 480, up to 510, down to 490, up to 520: reversals at 480, 510, 490, 520.
    assert converged_mean(levels, reversals=1) == np.mean(levels[2:])
    assert converged_mean(levels, reversals=4) == np.mean(levels[6:])
    assert converged_mean(levels, reversals=5) is None
    assert converged_mean([], reversals=1) is None
    # Only correct responses lead to the lower limit.
    assert converged_mean([120, 110, *[100] * 9]) == 100


def run_staircase(threshold: float, random: np.random.Generator, trials: int) -> list[float]:
    """Return the levels of a participant with a threshold for 75 % correct responses, in ms."""
    responses: list[Response] = []
    trial = Trial("timed", "test", "photo", ("real",))
    for number in range(trials):
        level = requested_exposure_ms(trial, responses)
        assert level is not None
        right = random.random() < 1 - 0.5 * 0.5 ** ((level / threshold) ** 3.5)
        chosen = "real" if right else "generated"
        responses.append(
            Response(
                "p", number, "timed", "test", "photo", ("real",), chosen, level, level, None, ""
            )
        )
    return [response.asked_ms or 0 for response in responses]


@pytest.mark.parametrize("threshold", [200.0, 350.0, 500.0])
def test_staircase_finds_a_known_threshold(threshold: float) -> None:
    random = np.random.default_rng(0)
    runs = [run_staircase(threshold, random, 150) for _ in range(60)]
    assert {run[0] for run in runs} == {500}
    modal = np.array([modal_level(run) for run in runs])
    mean = np.array([converged_mean(run) or np.nan for run in runs])
    assert modal.mean() == pytest.approx(threshold, abs=20)
    assert mean.mean() == pytest.approx(threshold, abs=20)
    assert abs(mean - threshold).max() < 0.3 * threshold  # of each participant
    assert mean.std() < modal.std()


def draw_rates(
    rate: float, spread: float, participants: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return rates of participants with a known mean."""
    both = rate * (1 - rate) / spread**2 - 1
    return random.beta(rate * both, (1 - rate) * both, participants)


@pytest.mark.parametrize(
    ("participants", "rate", "spread"),
    [(5, 0.32, 0.1), (8, 0.5, 0.2), (30, 0.32, 0.1), (30, 0.1, 0.08)],
)
def test_clustered_interval_covers(participants: int, rate: float, spread: float) -> None:
    random = np.random.default_rng(0)
    n = np.full(participants, 20)
    covered = independent = 0
    for study in range(200):
        hits = random.binomial(n, draw_rates(rate, spread, participants, random))
        low, high = clustered_interval(Term(hits, n), samples=500, seed=study) or (1, 0)
        covered += low <= rate <= high
        low, high = wilson(int(hits.sum()), int(n.sum()))
        independent += low <= rate <= high
    assert 0.88 < covered / 200 <= 0.99
    assert independent < covered
