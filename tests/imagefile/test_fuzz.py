"""A short run of tests/support/fuzzing.py: the long one is recorded in docs/reliability.md."""

from support.fuzzing import Outcome, fuzz, seeds


def test_damaged_files_are_colorized_or_refused():
    count = 20 * len(seeds())
    outcomes = list(fuzz(range(count), processes=2))
    assert len(outcomes) == count
    errors = [outcome for outcome in outcomes if outcome.result not in ("colorized", "refused")]
    assert errors == []
    assert all(isinstance(outcome, Outcome) and outcome.seconds < 10 for outcome in outcomes)
    kinds = {(outcome.seed, outcome.result) for outcome in outcomes}
    assert {seed for seed, result in kinds if result == "refused"} == set(seeds())
    assert len({seed for seed, result in kinds if result == "colorized"}) > 25
