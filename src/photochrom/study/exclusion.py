"""The exclusion criteria, and the responses that remain for analysis."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import TypeVar

from photochrom.errors import DataError
from photochrom.study.answers import Response
from photochrom.study.design import Study
from photochrom.study.results import Criterion, Participant
from photochrom.study.text import count_noun

Key = TypeVar("Key", bound=Hashable)


def group_by(
    responses: Iterable[Response], key: Callable[[Response], Key]
) -> dict[Key, list[Response]]:
    """Group responses; keys and responses keep their order."""
    groups: dict[Key, list[Response]] = {}
    for response in responses:
        groups.setdefault(key(response), []).append(response)
    return groups


def exclusion_criteria(study: Study) -> dict[Criterion, str]:
    """Return the exclusion criteria of the study; the texts follow "participants who"."""
    criteria: dict[Criterion, str] = {}
    if study.checks:
        limit = f"more than {study.allowed_misses}" if study.allowed_misses else "any"
        criteria["checks"] = f"failed {limit} of the attention checks (obvious fakes)"
    criteria["trials"] = f"responded to fewer than {count_noun(study.least_trials, 'test trial')}"
    if study.color_vision == "exclude":
        criteria["color_vision"] = "reported a colour-vision deficiency"
    return criteria


def describe_exclusion(study: Study) -> str:
    """Return the exclusion criteria as a text."""
    *others, last = exclusion_criteria(study).values()
    either = f"{', '.join(others)} or {last}" if others else last
    rule = f"Participants are excluded if they {either}."
    if study.least_reaction_ms:
        rule += (
            f" Responses to test trials within {study.least_reaction_ms:g} ms after the last image "
            "appeared are left out, as nobody can have judged it so soon."
        )
    return rule


def is_early(study: Study, response: Response) -> bool:
    """Return whether a response came sooner after the image than a judgement can."""
    time = response.since_onset_ms
    return response.kind == "test" and time is not None and time < study.least_reaction_ms


def number_participants(responses: Iterable[Response]) -> list[Response]:
    """Replace participant ids by numbers (01, 02, ...) in the order of their first response.

    The ids are the session cookies of participants, so reports must not contain them.
    """
    ordered = sorted(responses, key=lambda r: (r.answered, r.person, r.number))
    ids = list(dict.fromkeys(response.person for response in ordered))
    digits = len(str(len(ids)))
    numbers = {id_: f"{i:0{digits}}" for i, id_ in enumerate(ids, 1)}
    return [replace(response, person=numbers[response.person]) for response in ordered]


def apply_exclusion(study: Study, responses: Iterable[Response]) -> tuple[Participant, ...]:
    """Return all participants who responded to any trial, by id."""
    participants = []
    for participant, given in sorted(group_by(responses, lambda r: r.person).items()):
        early = sum(is_early(study, response) for response in given)
        tests = sum(response.kind == "test" for response in given) - early
        checks = sum(response.kind == "check" for response in given)
        failed = sum(response.failed_check for response in given)
        reasons: dict[Criterion, str] = {}
        if failed > study.allowed_misses:
            reasons["checks"] = f"failed {failed} of {count_noun(checks, 'attention check')}"
        if tests < study.least_trials:
            reasons["trials"] = f"responded to {count_noun(tests, 'test trial')}"
        color_vision = given[0].color_vision
        if study.color_vision == "exclude" and color_vision == "deficient":
            reasons["color_vision"] = "reported a colour-vision deficiency"
        excluded = " and ".join(reasons.values()) or None
        participants.append(
            Participant(
                participant, tests, checks, failed, excluded, tuple(reasons), early, color_vision
            )
        )
    return tuple(participants)


def select_responses(
    participants: Iterable[Participant], responses: Iterable[Response]
) -> list[Response]:
    """Return the responses of included participants to test trials, by participant and trial."""
    included = {p.participant for p in participants if p.excluded is None}
    selected = [r for r in responses if r.kind == "test" and r.person in included]
    return sorted(selected, key=lambda r: (r.person, r.number))


def check_responses(study: Study, responses: Iterable[Response]) -> None:
    """Check that there are responses to analyse, and that they belong to the study.

    Raises:
        DataError: If there is no response to a test trial, or one to an unknown item or system.
    """
    tests = [response for response in responses if response.kind == "test"]
    if not tests:
        raise DataError(
            f"there are no responses to test trials of {study.title!r} yet; serve the study, and "
            "create the report after participants have responded"
        )
    images = {item.id: item.pictures for item in study.items}
    for response in tests:
        if not set(response.shown) <= images.get(response.item, {}).keys():
            raise DataError(
                f"a response is about photo {response.item} by {' and '.join(response.shown)}, "
                f"which {study.title!r} does not have; give the folder of the right study"
            )
