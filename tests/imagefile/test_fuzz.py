"""A short run of tests/support/fuzzing.py: the long one is recorded in docs/reliability.md."""

from support.fuzzing import Outcome, fuzz, seeds


def test_damaged_files_are_colorized_or_refused():
    count = 20 * len(seeds())
    outcomes = list(fuzz(range(count), processes=2))
    assert len(outcomes) == count
    wrong = [outcome for outcome in outcomes if outcome.what not in ("colorized", "refused")]
    assert wrong == []
    assert all(isinstance(outcome, Outcome) and outcome.seconds < 10 for outcome in outcomes)
    kinds = {(outcome.seed, outcome.what) for outcome in outcomes}
    assert {seed for seed, what in kinds if what == "refused"} == set(seeds())
    assert len({seed for seed, what in kinds if what == "colorized"}) > 25
