"""What one person is asked: which photos, by which systems, in which order, for how long."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from photochrom.errors import PhotochromError
from photochrom.study.answers import Answer
from photochrom.study.design import OBVIOUS, REAL, Item, Kind, Protocol, Study

FIRST_MS, SHORTEST_MS, LONGEST_MS = 500.0, 100.0, 1000.0
"""Of `timed`: how long the first picture is shown, and the limits."""
FASTER_MS, SLOWER_MS = 10.0, 30.0
"""Of `timed`: how much shorter the next picture is shown after a right answer, how much longer
after a wrong one. The steps cancel out where three of four are right (weighted up-down, Kaernbach
1991), which is what HYPE's staircase converges to."""

SETTLED = 150
"""Of `timed`: tests after which most staircases have settled; see docs/study.md."""

Cell = tuple[Protocol, str, frozenset[str]]
"""A protocol, a photo and the systems that it is shown by: what is to be asked equally often."""


@dataclass(frozen=True)
class Trial:
    """One question."""

    protocol: Protocol
    kind: Kind
    item: str
    """The id of the photo."""
    shown: tuple[str, ...]
    """The systems in the order shown, as in `Answer`."""


def cell(protocol: Protocol, item: str, shown: Iterable[str]) -> Cell:
    """Return what is counted of a trial; the order of two pictures is not."""
    return protocol, item, frozenset(shown)


def asked_ms(trial: Trial, answers: Iterable[Answer]) -> float | None:
    """Return for how long the picture of a trial is to be shown.

    Practice and checks are no part of the staircase. As they are to be easy, they are never shown
    for less than the first picture.

    Args:
        trial: Any; of others than `timed` the answer is None.
        answers: What the person said up to now, in order.
    """
    if trial.protocol != "timed":
        return None
    level = FIRST_MS
    for answer in answers:
        if answer.protocol == "timed" and answer.kind == "test":
            level += -FASTER_MS if answer.right else SLOWER_MS
            level = min(max(level, SHORTEST_MS), LONGEST_MS)
    return level if trial.kind == "test" else max(level, FIRST_MS)


def meant(trial: Trial, chosen: int | str) -> str:
    """Return what a choice means, as `Answer.chosen` has it.

    Args:
        trial: What was asked.
        chosen: 0 or 1, which of two pictures; of one, "real" or "generated".

    Raises:
        PhotochromError: If it is something else.
    """
    if len(trial.shown) == 2 and chosen in (0, 1):
        return trial.shown[int(chosen)]
    if len(trial.shown) == 1 and chosen in ("real", "generated"):
        return str(chosen)
    allowed = "0 or 1" if len(trial.shown) == 2 else '"real" or "generated"'
    raise PhotochromError(f"{chosen!r} is no answer to this question; it has to be {allowed}")


def plan(study: Study, counts: Counter[Cell], random: Random) -> list[Trial]:
    """Draw up what one person is asked.

    No photo is shown twice. Within the person, systems come equally often, to within one, and so do
    the two orders of a pair; real and generated ones come half and half. Over all persons, each
    photo is shown equally often by each system, as far as can be.

    Args:
        study: The study.
        counts: How often each cell was shown to others.
        random: Where chance comes from.

    Returns:
        The trials in order.
    """
    easy = [item.id for item in study.items if OBVIOUS in item.pictures]
    random.shuffle(easy)
    free = {pool: [item.id for item in items] for pool, items in _pools(study).items()}
    amounts = _amounts(study)
    with_truth = [protocol for protocol in study.protocols if protocol != "preference"]
    trials = []
    for protocol in study.protocols:
        pool = free[_pool(protocol)]
        looks = _looks(protocol, study.systems, amounts[protocol], counts, random)
        tests = _ordered(_placed(protocol, looks, pool, counts, random), random)
        for trial in tests:
            pool.remove(trial.item)
        if protocol != "preference" and tests:
            trials += _easy(protocol, "practice", study.practice, easy, random)
            share = _even(study.checks, len(with_truth))[with_truth.index(protocol)]
            _strew(tests, _easy(protocol, "check", share, easy, random), random)
        trials += tests
    return trials


def easy_photos(protocols: Iterable[Protocol], practice: int, checks: int) -> int:
    """Return how many photos one person needs for practice and checks."""
    with_truth = sum(protocol != "preference" for protocol in protocols)
    return practice * with_truth + checks if with_truth else 0


def most_tests(study: Study) -> int:
    """Return how many tests one person is given: fewer than `study.trials` if photos are few."""
    return _amounts(study).total()


def _pool(protocol: Protocol) -> Literal["photos", "historic"]:
    return "historic" if protocol == "preference" else "photos"


def _pools(study: Study) -> dict[str, list[Item]]:
    """Return the photos for tests."""
    return {
        "photos": [i for i in study.items if REAL in i.pictures and OBVIOUS not in i.pictures],
        "historic": [i for i in study.items if REAL not in i.pictures],
    }


def _even(amount: int, parts: int) -> list[int]:
    """Split a number into parts that differ by at most one."""
    return [amount // parts + (part < amount % parts) for part in range(parts)]


def _amounts(study: Study) -> Counter[Protocol]:
    """Return how many tests each protocol gets: the same, as far as photos last."""
    left = {pool: len(items) for pool, items in _pools(study).items()}
    amounts: Counter[Protocol] = Counter()
    for protocol in itertools.cycle(study.protocols):
        if amounts.total() == study.trials or not any(left[_pool(p)] for p in study.protocols):
            break
        if left[_pool(protocol)]:
            left[_pool(protocol)] -= 1
            amounts[protocol] += 1
    return amounts


def _looks(
    protocol: Protocol,
    systems: Sequence[str],
    amount: int,
    counts: Counter[Cell],
    random: Random,
) -> list[tuple[str, ...]]:
    """Return by what systems the photos of a person are shown, in no order."""
    so_far: Counter[frozenset[str]] = Counter()
    for (which, _, shown), count in counts.items():
        if which == protocol:
            so_far[shown] += count

    def dealt(looks: list[tuple[str, ...]], amount: int) -> list[tuple[str, ...]]:
        """Deal out equally; who had less up to now gets what is left over."""
        random.shuffle(looks)
        looks.sort(key=lambda look: so_far[frozenset(look)])
        return list(itertools.islice(itertools.cycle(looks), amount))

    if protocol == "pair":
        return dealt([(REAL, system) for system in systems], amount)
    if protocol == "preference":
        return dealt(list(itertools.combinations(systems, 2)), amount)
    generated: list[tuple[str, ...]] = [(system,) for system in systems]
    if protocol == "timed":  # ten milliseconds a step take all that one person can give
        generated = dealt(generated, 1)
    real = so_far[frozenset([REAL])]
    lead = 2 * real - so_far.total()  # of real ones over generated ones
    fakes = (amount + (lead + random.uniform(-0.5, 0.5) > 0)) // 2
    return dealt(generated, fakes) + [(REAL,)] * (amount - fakes)


def _placed(
    protocol: Protocol,
    looks: Sequence[tuple[str, ...]],
    items: Sequence[str],
    counts: Counter[Cell],
    random: Random,
) -> list[Trial]:
    """Give each look a photo: of the photos shown least, so that cells are shown equally often."""
    totals: Counter[str] = Counter()
    for (which, item, _), count in counts.items():
        if which == protocol:
            totals[item] += count
    drawn = sorted(random.sample(items, len(items)), key=lambda item: totals[item])[: len(looks)]
    random.shuffle(drawn)
    pairs = list(zip(drawn, looks, strict=True))

    def cost(item: str, look: tuple[str, ...]) -> int:
        return counts[cell(protocol, item, look)]

    better = True
    while better:  # swap looks till no swap makes rare cells less rare
        better = False
        for i, j in itertools.combinations(range(len(pairs)), 2):
            (a, one), (b, other) = pairs[i], pairs[j]
            if cost(a, one) + cost(b, other) > cost(a, other) + cost(b, one):
                pairs[i], pairs[j] = (a, other), (b, one)
                better = True
    return [Trial(protocol, "test", item, look) for item, look in pairs]


def _ordered(trials: list[Trial], random: Random) -> list[Trial]:
    """Shuffle trials, and turn every second one of those that show the same two systems round."""
    trials = sorted(random.sample(trials, len(trials)), key=lambda trial: trial.shown)
    turn = random.random() < 0.5
    for number, trial in enumerate(trials):
        if (number % 2 == 0) == turn:
            trials[number] = dataclasses.replace(trial, shown=trial.shown[::-1])
    random.shuffle(trials)
    return trials


def _easy(
    protocol: Protocol, kind: Kind, amount: int, easy: list[str], random: Random
) -> list[Trial]:
    """Use up photos with an obvious fake; practice with one picture has real ones as well."""
    looks: list[tuple[str, ...]] = [(REAL, OBVIOUS) if protocol == "pair" else (OBVIOUS,)]
    if kind == "practice" and protocol != "pair":
        looks.append((REAL,))
        random.shuffle(looks)
    trials = [Trial(protocol, kind, easy.pop(), looks[n % len(looks)]) for n in range(amount)]
    return _ordered(trials, random)


def _strew(tests: list[Trial], checks: list[Trial], random: Random) -> None:
    """Put each check at random into its own stretch of the tests."""
    for number in reversed(range(len(checks))):
        stretch = [len(tests) * end // len(checks) for end in (number, number + 1)]
        tests.insert(random.randint(*stretch), checks[number])
