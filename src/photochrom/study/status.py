"""The progress of a study while it runs: numbers, and no results."""

from collections import Counter
from collections.abc import Iterable

from photochrom.study.answers import Response
from photochrom.study.design import Study
from photochrom.study.store import Enrolment
from photochrom.study.text import count_noun


def format_status(study: Study, enrolment: Enrolment, responses: Iterable[Response]) -> str:
    """Return the numbers of participants, and of responses to test trials, as a text.

    It tells nothing about what was chosen: an organizer who stops when the results look right
    would bias them.
    """
    left = enrolment.consented - sum((enrolment.withdrawn, enrolment.finished, enrolment.active))
    lines = [
        study.title,
        f"participants: {enrolment.consented} consented; {enrolment.active} active, "
        f"{enrolment.finished} finished, {left} left, {enrolment.withdrawn} withdrew",
    ]
    tests = [response for response in responses if response.kind == "test"]
    if tests:
        lines.append(f"last response: {max(response.answered for response in tests)}")
    counts = Counter((response.protocol, _condition(response)) for response in tests)
    for protocol in study.protocols:
        given = {condition: n for (of, condition), n in sorted(counts.items()) if of == protocol}
        by_condition = ", ".join(f"{condition} {n}" for condition, n in given.items())
        void = enrolment.trials.get((protocol, "void"), 0)
        lines.append(
            f"{protocol}: {count_noun(sum(given.values()), 'response')}"
            f"{f' ({by_condition})' if given else ''}, {count_noun(void, 'void trial')}"
        )
    return "\n".join(lines)


def _condition(response: Response) -> str:
    """Return the system, or the two systems of a preference."""
    if response.protocol == "preference":
        return " or ".join(sorted(response.shown))
    return response.system
