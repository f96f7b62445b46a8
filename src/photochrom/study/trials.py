"""Draws the trials of a participant: items, systems, their order, and exposures."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from photochrom.errors import PhotochromError
from photochrom.study.answers import Response
from photochrom.study.design import OBVIOUS, REAL, Kind, Protocol, Study

INITIAL_MS, MIN_MS, MAX_MS = 500.0, 100.0, 1000.0
"""Exposures of the staircase of `timed`: the first, and the limits."""
STEP_DOWN_MS, STEP_UP_MS = 10.0, 30.0
"""Steps of the staircase of `timed`, after a correct and an incorrect response. They balance at
75 % correct (weighted up-down method, Kaernbach 1991), the level that HYPE-time converges to."""
CONVERGENCE_TESTS = 150
"""Test trials after which most staircases have converged; see docs/study.md."""

Condition = tuple[str, ...]
"""The systems shown in a trial, in order."""
Stimulus = tuple[Protocol, str, frozenset[str]]
"""Protocol, item and systems shown, regardless of order: the unit of counterbalancing."""


@dataclass(frozen=True)
class Trial:
    """A trial of one participant."""

    protocol: Protocol
    kind: Kind
    item: str
    """Item id."""
    shown: Condition

    @property
    def stimulus(self) -> Stimulus:
        """What the trial shows, regardless of order."""
        return self.protocol, self.item, frozenset(self.shown)


def requested_exposure_ms(trial: Trial, responses: Iterable[Response]) -> float | None:
    """Return the exposure of a `timed` trial; None for other protocols.

    Practice trials and attention checks do not move the staircase. They have at least the initial
    exposure, as they should be easy.

    Args:
        trial: The trial.
        responses: The participant's responses so far, in order.
    """
    if trial.protocol != "timed":
        return None
    level = INITIAL_MS
    for response in responses:
        if response.protocol == "timed" and response.kind == "test":
            level += -STEP_DOWN_MS if response.correct else STEP_UP_MS
            level = min(max(level, MIN_MS), MAX_MS)
    return level if trial.kind == "test" else max(level, INITIAL_MS)


def decode_choice(trial: Trial, choice: int | str) -> str:
    """Return a choice as in `Response.chosen`.

    Args:
        trial: The trial.
        choice: Index of one of two images, or "real" or "generated" for a single image.

    Raises:
        PhotochromError: If the choice does not fit the trial.
    """
    if len(trial.shown) == 2 and choice in (0, 1):
        return trial.shown[int(choice)]
    if len(trial.shown) == 1 and choice in ("real", "generated"):
        return str(choice)
    allowed = "0 or 1" if len(trial.shown) == 2 else '"real" or "generated"'
    raise PhotochromError(f"{choice!r} is not a valid response to this trial; give {allowed}")


def draw_trials(study: Study, counts: Counter[Stimulus], random: Random) -> list[Trial]:
    """Draw the trials of a participant, in order.

    No item repeats. Within the participant, systems are balanced to within one trial, and so are
    the two orders of a pair; half of the single images are real. Across participants, each item is
    shown by each system equally often, as far as possible.

    Args:
        study: The study.
        counts: How often each stimulus was shown to other participants.
        random: Source of randomness.
    """
    obvious = [item.id for item in study.items if OBVIOUS in item.pictures]
    random.shuffle(obvious)
    items = _test_items(study)
    amounts = _tests_per_protocol(study)
    with_practice = [protocol for protocol in study.protocols if protocol != "preference"]
    trials = []
    for protocol in study.protocols:
        conditions = _draw_conditions(protocol, study.systems, amounts[protocol], counts, random)
        tests = _draw_tests(protocol, conditions, items[protocol], counts, random)
        for trial in tests:
            items[protocol].remove(trial.item)
        if protocol != "preference" and tests:
            trials += _obvious_trials(protocol, "practice", study.practice, obvious, random)
            index, parts = with_practice.index(protocol), len(with_practice)
            amount = study.checks // parts + (index < study.checks % parts)
            checks = _obvious_trials(protocol, "check", amount, obvious, random)
            _insert_checks(tests, checks, random)
        trials += tests
    return trials


def count_obvious_items(protocols: Iterable[Protocol], practice: int, checks: int) -> int:
    """Return the number of items a participant needs for practice trials and attention checks."""
    with_practice = sum(protocol != "preference" for protocol in protocols)
    return practice * with_practice + checks if with_practice else 0


def count_tests(study: Study) -> int:
    """Return the test trials of a participant: fewer than `study.trials` if there are few items."""
    return _tests_per_protocol(study).total()


def _test_items(study: Study) -> dict[Protocol, list[str]]:
    """Return the item ids for test trials; protocols with real images share one list."""
    real = [i.id for i in study.items if REAL in i.pictures and OBVIOUS not in i.pictures]
    historic = [i.id for i in study.items if REAL not in i.pictures]
    return {p: historic if p == "preference" else real for p in study.protocols}


def _tests_per_protocol(study: Study) -> Counter[Protocol]:
    """Divide the test trials evenly between protocols, as far as there are items."""
    items = _test_items(study)
    amounts: Counter[Protocol] = Counter()
    for protocol in itertools.cycle(study.protocols):
        if amounts.total() == study.trials or not any(items.values()):
            break
        if items[protocol]:
            items[protocol].pop()
            amounts[protocol] += 1
    return amounts


def _draw_conditions(
    protocol: Protocol,
    systems: Sequence[str],
    amount: int,
    counts: Counter[Stimulus],
    random: Random,
) -> list[Condition]:
    """Draw the conditions of a participant's test trials, in no particular order."""
    shown_before: Counter[frozenset[str]] = Counter()
    for (other_protocol, _, shown), count in counts.items():
        if other_protocol == protocol:
            shown_before[shown] += count

    def draw(conditions: list[Condition], amount: int) -> list[Condition]:
        """Repeat conditions equally often; a remainder goes to those shown less before."""
        random.shuffle(conditions)
        conditions.sort(key=lambda condition: shown_before[frozenset(condition)])
        return list(itertools.islice(itertools.cycle(conditions), amount))

    if protocol == "pair":
        return draw([(REAL, system) for system in systems], amount)
    if protocol == "preference":
        return draw(list(itertools.combinations(systems, 2)), amount)
    generated: list[Condition] = [(system,) for system in systems]
    if protocol == "timed":  # a staircase takes all test trials of a participant
        generated = draw(generated, 1)
    surplus_real = 2 * shown_before[frozenset([REAL])] - shown_before.total()
    fakes = (amount + (surplus_real + random.uniform(-0.5, 0.5) > 0)) // 2
    return draw(generated, fakes) + [(REAL,)] * (amount - fakes)


def _draw_tests(
    protocol: Protocol,
    conditions: Sequence[Condition],
    items: Sequence[str],
    counts: Counter[Stimulus],
    random: Random,
) -> list[Trial]:
    """Assign the items shown least before to conditions, with balanced stimuli and orders."""
    shown_before: Counter[str] = Counter()
    for (other_protocol, item, _), count in counts.items():
        if other_protocol == protocol:
            shown_before[item] += count
    drawn = sorted(random.sample(items, len(items)), key=lambda item: shown_before[item])
    drawn = drawn[: len(conditions)]
    random.shuffle(drawn)
    pairs = list(zip(drawn, conditions, strict=True))

    def cost(item: str, condition: Condition) -> int:
        return counts[protocol, item, frozenset(condition)]

    improved = True
    while improved:  # swap conditions until no swap lowers the counts of the stimuli
        improved = False
        for i, j in itertools.combinations(range(len(pairs)), 2):
            (a, first), (b, second) = pairs[i], pairs[j]
            if cost(a, first) + cost(b, second) > cost(a, second) + cost(b, first):
                pairs[i], pairs[j] = (a, second), (b, first)
                improved = True
    trials = [Trial(protocol, "test", item, condition) for item, condition in pairs]
    return _balance_order(trials, random)


def _balance_order(trials: list[Trial], random: Random) -> list[Trial]:
    """Shuffle trials, and reverse every second pair of the same two systems."""
    trials = sorted(random.sample(trials, len(trials)), key=lambda trial: trial.shown)
    reverse_even = random.random() < 0.5
    for i, trial in enumerate(trials):
        if (i % 2 == 0) == reverse_even:
            trials[i] = dataclasses.replace(trial, shown=trial.shown[::-1])
    random.shuffle(trials)
    return trials


def _obvious_trials(
    protocol: Protocol, kind: Kind, amount: int, items: list[str], random: Random
) -> list[Trial]:
    """Take items for trials with obvious fakes; single-image practice also shows real images."""
    conditions: list[Condition] = [(REAL, OBVIOUS) if protocol == "pair" else (OBVIOUS,)]
    if kind == "practice" and protocol != "pair":
        conditions.append((REAL,))
        random.shuffle(conditions)
    trials = [
        Trial(protocol, kind, items.pop(), conditions[i % len(conditions)]) for i in range(amount)
    ]
    return _balance_order(trials, random)


def _insert_checks(tests: list[Trial], checks: list[Trial], random: Random) -> None:
    """Insert each attention check at a random position in its own section of the test trials."""
    for i in reversed(range(len(checks))):
        section = [len(tests) * end // len(checks) for end in (i, i + 1)]
        tests.insert(random.randint(*section), checks[i])
