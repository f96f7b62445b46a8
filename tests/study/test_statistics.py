"""The statistics of the human study, against hand values, published examples and simulations."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from photochrom.study.answers import Answer
from photochrom.study.statistics import (
    LEAST_CLUSTERS,
    Term,
    binomial_p,
    cluster_bootstrap,
    clustered,
    clustered_mean,
    modal_level,
    nominal_alpha,
    ratio,
    settled_mean,
    side_of_half,
    spearman,
    spearman_interval,
    wilson,
)
from photochrom.study.trials import Trial, asked_ms

MISSING = -1


def test_wilson_by_hand() -> None:
    # 8 of 10: (.8 + 1.9207/10 ± 1.96 √(.16/10 + 3.8415/400)) / 1.38415
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0, 3.8415 / 13.8415), abs=1e-4)
    assert wilson(0, 0) is None


def test_binomial_p_by_hand() -> None:
    assert binomial_p(8, 10) == pytest.approx(2 * (45 + 10 + 1) / 1024)
    assert binomial_p(5, 10) == pytest.approx(1)
    assert binomial_p(0, 0) is None


def test_cluster_bootstrap_of_independent_answers_is_the_analytic_interval() -> None:
    hits = np.arange(400) < 160  # 400 persons, one answer each, rate .4
    low, high = cluster_bootstrap(ratio(hits, np.ones(400)), 400) or (0, 0)
    half = 1.96 * np.sqrt(0.4 * 0.6 / 400)
    assert (low, high) == pytest.approx((0.4 - half, 0.4 + half), abs=0.005)


def test_cluster_bootstrap_is_wide_where_each_person_always_says_the_same() -> None:
    n = np.full(20, 40)
    hits = np.where(np.arange(20) < 8, 40, 0)  # 800 answers, but of 20 persons
    low, high = clustered(Term(hits, n)) or (0, 0)
    half = 1.96 * np.sqrt(0.4 * 0.6 / 20)
    assert (low, high) == pytest.approx((0.4 - half, 0.4 + half), abs=0.04)
    independent = wilson(320, 800)
    assert independent is not None
    assert high - low > 5 * (independent[1] - independent[0])


def test_bootstrap_is_the_same_for_the_same_seed_and_no_other() -> None:
    rng = np.random.default_rng(0)
    share = ratio(rng.integers(0, 100, 9), np.full(9, 100))
    first = cluster_bootstrap(share, 9, seed=1)
    assert first == cluster_bootstrap(share, 9, seed=1)
    assert first != cluster_bootstrap(share, 9, seed=2)


@pytest.mark.parametrize("persons", [0, 1, 2, LEAST_CLUSTERS - 1])
def test_few_persons_have_no_interval(persons: int) -> None:
    assert cluster_bootstrap(ratio(np.ones(persons), np.full(persons, 9)), persons) is None
    assert clustered_mean([300.0] * persons) is None
    # Persons without answers do not make them more.
    hits, n = np.ones(persons + 9), np.array([9] * persons + [0] * 9)
    assert clustered(Term(hits * (n > 0), n)) is None


def test_persons_who_agree_do_not_pretend_certainty() -> None:
    assert clustered(Term(np.zeros(6), np.full(6, 20))) == wilson(0, 120)
    assert clustered(Term(np.full(6, 8), np.full(6, 20))) == pytest.approx(wilson(48, 120))


def test_difference_of_two_shares_against_a_published_example() -> None:
    """Newcombe 1998, table II (a), method 10: 56/70 - 48/80 is 0.2 [0.0524, 0.3339]."""
    # Nobody answered about both, and all have the rate of their group: nothing varies but answers.
    first = Term([4] * 14 + [0] * 16, [5] * 14 + [0] * 16)
    second = Term([0] * 14 + [3] * 16, [0] * 14 + [5] * 16, -1.0)
    assert clustered(first, second) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_difference_takes_out_what_persons_have_in_common() -> None:
    rng = np.random.default_rng(0)
    rates = rng.choice([0.1, 0.7], 40)
    n = np.full(40, 50)
    hits = rng.binomial(50, rates), rng.binomial(50, rates)
    alone = clustered(Term(hits[0], n)) or (0, 0)
    between = clustered(Term(hits[0], n), Term(hits[1], n, -1.0)) or (1, 1)
    assert between[0] < 0 < between[1]
    assert between[1] - between[0] < (alone[1] - alone[0]) / 2


def test_mean_of_two_shares_lies_in_its_interval() -> None:
    rng = np.random.default_rng(0)
    n = np.full(200, 20)
    terms = [Term(rng.binomial(20, p, 200), n, 0.5) for p in (0.2, 0.4)]
    low, high = clustered(*terms) or (0, 0)
    assert low < 0.3 < high
    half = 1.96 * np.sqrt((0.16 + 0.24) / 4000) / 2
    assert high - low == pytest.approx(2 * half, rel=0.1)


def test_side_of_half() -> None:
    ends = [(0.3, 0.49), (0.51, 0.6), (0.4, 0.6), (0.3, 0.5), None]
    assert [side_of_half(e) for e in ends] == ["below", "above", "undecided", "undecided", None]


# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability": two observers, binary, and four
# observers, nominal, with answers missing.
BINARY = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
NOMINAL = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, MISSING, MISSING, MISSING],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, MISSING, 3],
    [MISSING, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, MISSING],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, MISSING],
]


@pytest.mark.parametrize(("answers", "alpha"), [(BINARY, 0.095), (NOMINAL, 0.743)])
def test_alpha_against_the_published_examples(answers: list[list[int]], alpha: float) -> None:
    values = sorted({value for row in answers for value in row} - {MISSING})
    units = np.array(answers).T
    counts = [[np.count_nonzero(unit == value) for value in values] for unit in units]
    assert nominal_alpha(counts) == pytest.approx(alpha, abs=5e-4)


def test_alpha_of_chance_agreement_is_none_at_all() -> None:
    yes = np.random.default_rng(0).binomial(20, 0.5, 400)
    assert nominal_alpha(np.stack([yes, 20 - yes], 1)) == pytest.approx(0, abs=0.01)
    assert nominal_alpha([[5, 0], [0, 4]]) == 1


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param([], id="nothing"),
        pytest.param([[1, 0], [0, 1]], id="nobody saw the same"),
        pytest.param([[5, 0], [3, 0]], id="all said the same"),
        pytest.param([[5, 0], [0, 1]], id="all that can be paired are the same"),
    ],
)
def test_alpha_is_undefined(counts: list[list[int]]) -> None:
    assert nominal_alpha(counts) is None


def test_spearman_with_ties_is_scipys() -> None:
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
    photos = [str(i) for i in range(400)]
    rho = spearman(x, y)
    low, high = spearman_interval(x, y, photos) or (0, 0)
    assert rho is not None
    # Fisher's z, with the variance that Bonett and Wright 2000 give for Spearman's.
    half = 1.96 * np.sqrt((1 + rho**2 / 2) / (400 - 3))
    expected = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    assert (low, high) == pytest.approx(tuple(expected), abs=0.02)
    assert spearman_interval(x[:4], y[:4], photos[:4]) is None


def test_pictures_of_one_photo_are_drawn_together() -> None:
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


def test_settled_mean() -> None:
    levels = [500, 490, 480, 510, 500, 490, 520, 510]
    # Down to 480, up to 510, down to 490, up to 520: turns at 480, 510, 490, 520.
    assert settled_mean(levels, turns=1) == np.mean(levels[2:])
    assert settled_mean(levels, turns=4) == np.mean(levels[6:])
    assert settled_mean(levels, turns=5) is None
    assert settled_mean([], turns=1) is None
    # Whoever is always right comes to the lower bound and stays there.
    assert settled_mean([120, 110, *[100] * 9]) == 100


def observed(threshold: float, random: np.random.Generator, trials: int) -> list[float]:
    """Return the levels of a person who is right in 75 % at the threshold, in ms."""
    answers: list[Answer] = []
    trial = Trial("timed", "test", "photo", ("real",))
    for number in range(trials):
        level = asked_ms(trial, answers)
        assert level is not None
        right = random.random() < 1 - 0.5 * 0.5 ** ((level / threshold) ** 3.5)
        said = "real" if right else "generated"
        answers.append(
            Answer("p", number, "timed", "test", "photo", ("real",), said, level, level, None, "")
        )
    return [answer.asked_ms or 0 for answer in answers]


@pytest.mark.parametrize("threshold", [200.0, 350.0, 500.0])
def test_staircase_finds_a_known_threshold(threshold: float) -> None:
    random = np.random.default_rng(0)
    runs = [observed(threshold, random, 150) for _ in range(60)]
    assert {run[0] for run in runs} == {500}
    modal = np.array([modal_level(run) for run in runs])
    mean = np.array([settled_mean(run) or np.nan for run in runs])
    assert modal.mean() == pytest.approx(threshold, abs=20)
    assert mean.mean() == pytest.approx(threshold, abs=20)
    assert abs(mean - threshold).max() < 0.3 * threshold  # of each person alone
    assert mean.std() < modal.std()


def shares_of(
    rate: float, spread: float, persons: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return rates of persons around a known one, in 0..1."""
    both = rate * (1 - rate) / spread**2 - 1
    return random.beta(rate * both, (1 - rate) * both, persons)


@pytest.mark.parametrize(
    ("persons", "rate", "spread"), [(5, 0.32, 0.1), (8, 0.5, 0.2), (30, 0.32, 0.1), (30, 0.1, 0.08)]
)
def test_clustered_interval_covers(persons: int, rate: float, spread: float) -> None:
    random = np.random.default_rng(0)
    n = np.full(persons, 20)
    covered = independent = 0
    for study in range(200):
        hits = random.binomial(n, shares_of(rate, spread, persons, random))
        low, high = clustered(Term(hits, n), draws=500, seed=study) or (1, 0)
        covered += low <= rate <= high
        low, high = wilson(int(hits.sum()), int(n.sum())) or (1, 0)
        independent += low <= rate <= high
    assert 0.88 < covered / 200 <= 0.99
    assert independent < covered
