"""Whose answers count, and which of them."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import TypeVar

from photochrom.errors import DataError
from photochrom.study.answers import Answer
from photochrom.study.design import REAL, Study
from photochrom.study.results import Judged, Person

Key = TypeVar("Key", bound=Hashable)


def grouped(answers: Iterable[Answer], key: Callable[[Answer], Key]) -> dict[Key, list[Answer]]:
    """Return the answers by key, keys and answers in the order in which they come."""
    groups: dict[Key, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(key(answer), []).append(answer)
    return groups


def exclusion_rule(study: Study) -> str:
    """Return who does not count, as a sentence."""
    least = f"answered fewer than {_counted(study.least_trials, 'test')}"
    if not study.checks:
        return f"Who {least} does not count."
    misses = f"more than {study.allowed_misses}" if study.allowed_misses else "any"
    return (
        f"Who got {misses} of the checks wrong (an obvious fake among the trials), or {least}, "
        "does not count."
    )


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def numbered(answers: Iterable[Answer]) -> list[Answer]:
    """Return the answers with numbers for ids, in the order in which people began: 01, 02, ...

    A person's id is the cookie with which the study goes on, so nothing that is passed on has it.
    """
    given = sorted(answers, key=lambda a: (a.answered, a.person, a.number))
    ids = list(dict.fromkeys(answer.person for answer in given))
    digits = len(str(len(ids)))
    names = {person: f"{i:0{digits}}" for i, person in enumerate(ids, 1)}
    return [replace(answer, person=names[answer.person]) for answer in given]


def judge_people(study: Study, answers: Iterable[Answer]) -> tuple[Person, ...]:
    """Return everybody who answered anything, by id, and whether the answers count."""
    people = []
    for person, given in sorted(grouped(answers, lambda a: a.person).items()):
        tests = sum(answer.kind == "test" for answer in given)
        checks = sum(answer.kind == "check" for answer in given)
        missed = sum(answer.missed for answer in given)
        reasons = []
        if missed > study.allowed_misses:
            reasons.append(f"missed {missed} of {_counted(checks, 'check')}")
        if tests < study.least_trials:
            reasons.append(f"answered {_counted(tests, 'test')}")
        people.append(Person(person, tests, checks, missed, " and ".join(reasons) or None))
    return tuple(people)


def counted_answers(people: Iterable[Person], answers: Iterable[Answer]) -> list[Answer]:
    """Return the answers that are analysed: the tests of those who are not excluded, in order."""
    count = {person.person for person in people if person.excluded is None}
    kept = [a for a in answers if a.kind == "test" and a.person in count]
    return sorted(kept, key=lambda a: (a.person, a.number))


def judged_pictures(answers: Iterable[Answer]) -> list[Judged]:
    """Return the generated pictures that people called real or generated, in order."""
    kept = (a for a in answers if a.protocol != "preference" and a.system != REAL)
    return sorted({(a.item, a.system) for a in kept})


def check_answers(study: Study, answers: Iterable[Answer]) -> None:
    """Refuse answers of which there is nothing to report.

    Raises:
        DataError: If nobody has answered a test yet, or an answer is about a photo or a system that
            the study does not have.
    """
    tests = [answer for answer in answers if answer.kind == "test"]
    if not tests:
        raise DataError(
            f"nobody has answered a test of {study.title!r} yet; serve the study, let people take "
            "part, and ask for the report then"
        )
    pictures = {item.id: item.pictures for item in study.items}
    for answer in tests:
        if not set(answer.shown) <= pictures.get(answer.item, {}).keys():
            raise DataError(
                f"an answer is about photo {answer.item} by {' and '.join(answer.shown)}, which "
                f"{study.title!r} does not have; give the folder of the study that was answered"
            )
