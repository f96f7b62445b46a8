"""Reports of studies, from simulated participants with known rates."""

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photochrom.errors import DataError, PhotochromError, PhotoError
from photochrom.study import rates
from photochrom.study.analysis import analyse
from photochrom.study.answers import Measurements, Response
from photochrom.study.design import OBVIOUS, REAL, Item, Kind, Protocol, Study, save_study
from photochrom.study.exclusion import apply_exclusion, number_participants
from photochrom.study.fooling import select_extremes
from photochrom.study.report import NO_METRICS, write_report
from photochrom.study.results import Analysis
from photochrom.study.statistics import clustered_interval, wilson
from photochrom.study.store import Store
from photochrom.study.trials import Trial
from support.photos import draw

SYSTEMS = ("A", "B")


def make_study(photos: int = 6, **changes: Any) -> Study:
    """Return a study of photos colorized by `SYSTEMS`."""
    systems = changes.pop("systems", SYSTEMS)
    items = tuple(
        Item(
            f"{i:016x}",
            f"photo {i}.jpg",
            {s: f"{i + 1000 * (n + 1):016x}" for n, s in enumerate((REAL, *systems))},
            40,
            30,
        )
        for i in range(photos)
    )
    settings: dict[str, Any] = {
        "title": "Colours",
        "consent": "Yes?",
        "created": "2026-01-01T00:00:00+00:00",
        "protocols": ("pair", "single", "timed", "preference"),
        "trials": 40,
        "practice": 0,
        "checks": 0,
        "seconds": 1.0,
        "allowed_misses": 1,
        "least_trials": 1,
        "least_reaction_ms": 0.0,
        "color_vision": "unasked",
        "display": True,
        "skipped": {},
    }
    return Study(systems=systems, items=items, **settings | changes)


def response(
    participant: str,
    number: int,
    protocol: Protocol,
    shown: tuple[str, ...],
    chosen: str,
    *,
    item: int = 0,
    kind: Kind = "test",
    asked_ms: float | None = None,
    reaction_ms: float | None = 800.0,
) -> Response:
    time = f"2026-03-0{1 + number % 9}T10:00:00.000+00:00"
    photo = f"{item:016x}"
    return Response(
        participant, number, protocol, kind, photo, shown, chosen, None, asked_ms, reaction_ms, time
    )


def pair_responses(
    participant: str, system: str, fooled: Sequence[bool], first: int = 0
) -> list[Response]:
    """Return responses to `pair`, one photo each."""
    return [
        response(participant, first + i, "pair", (REAL, system), REAL if was else system, item=i)
        for i, was in enumerate(fooled)
    ]


def simulate(
    rates: dict[str, float], participants: int, trials: int, seed: int, spread: float = 0.1
) -> list[Response]:
    """Simulate participants with rates around the known ones; systems have equally many trials."""
    random = np.random.default_rng(seed)
    responses = []
    for participant in range(participants):
        for first, (system, rate) in enumerate(rates.items()):
            both = rate * (1 - rate) / spread**2 - 1
            participant_rate = random.beta(rate * both, (1 - rate) * both)
            fooled = random.random(trials // len(rates)) < participant_rate
            responses += pair_responses(f"{participant:032x}", system, list(fooled), 100 * first)
    return responses


# Analysis.


def test_known_fooling_rates_are_recovered() -> None:
    study = make_study(photos=20)
    results = analyse(study, simulate({"A": 0.32, "B": 0.5}, 60, 40, seed=1))
    (result,) = results.fooling
    a, b = result.systems
    assert (a.system, b.system) == SYSTEMS
    assert a.fooled.clustered is not None
    assert b.fooled.clustered is not None
    assert a.fooled.clustered[0] < 0.32 < a.fooled.clustered[1] < 0.5
    assert b.fooled.clustered[0] < 0.5 < b.fooled.clustered[1]
    assert (a.fooled.half, b.fooled.half) == ("below", "undecided")
    assert a.fooled.n == b.fooled.n == 60 * 20
    assert a.fooled.n_participants == len(a.by_participant) == 60
    assert a.fooled.p is not None
    assert a.fooled.p < 1e-6
    (difference,) = result.differences
    assert difference.clustered is not None
    assert difference.difference == pytest.approx(a.fooled.share - b.fooled.share)
    assert difference.clustered[0] < -0.18 < difference.clustered[1] < 0


def test_differences_have_intervals_over_photos_too() -> None:
    """A fools with 5 of 10 photos, B with none; all participants say the same."""
    study = make_study(photos=10)
    responses = []
    for p in range(8):
        responses += pair_responses(f"p{p}", "A", [i % 2 == 0 for i in range(10)])
        responses += pair_responses(f"p{p}", "B", [False] * 10, 10)
    (difference,) = analyse(study, responses).fooling[0].differences
    assert difference.difference == 0.5
    assert difference.clustered is not None
    assert difference.by_photo is not None
    # Participants do not differ, photos do: 1.96 √(.25/10), and Student's t for 10 photos.
    assert np.ptp(difference.clustered) < 0.25
    assert 0.25 < 0.5 - difference.by_photo[0] < 0.45
    few = [r for r in responses if int(r.item, 16) < 4]
    assert analyse(study, few).fooling[0].differences[0].by_photo is None


def test_differences_are_paired_by_photo() -> None:
    """Photos differ from each other, and hardly between systems."""
    study = make_study(photos=20)
    responses = []
    for p in range(20):
        for n, system in enumerate(SYSTEMS):
            fooled = [(i < 10) != (p == i and system == "A") for i in range(20)]
            responses += pair_responses(f"p{p}", system, fooled, 20 * n)
    (result,) = analyse(study, responses).fooling
    (difference,) = result.differences
    assert difference.by_photo is not None
    assert difference.by_photo[0] < difference.difference == 0 < difference.by_photo[1]
    # Unpaired photos would give 2 x 1.96 √(2 x .25/20) = 0.62.
    assert np.ptp(difference.by_photo) < 0.2


def test_preferences_have_intervals_over_photos() -> None:
    """All participants prefer A for the first half of the photos."""
    study = make_study(photos=10)
    responses = [
        response(f"p{p}", i, "preference", SYSTEMS, "A" if i < 5 else "B", item=i)
        for p in range(8)
        for i in range(10)
    ]
    result = analyse(study, responses).preference
    assert result is not None
    (pair,) = result.pairs
    assert pair.preferred.clustered is not None
    assert pair.by_photo is not None
    assert np.ptp(pair.preferred.clustered) < 0.25
    assert np.ptp(pair.by_photo) > 0.5


def test_intervals_cover_in_95_of_100_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies of 15 participants; test_statistics.py has more."""
    monkeypatch.setattr(rates, "clustered_interval", partial(clustered_interval, samples=400))
    study = make_study(photos=10)
    covered = 0
    for seed in range(100):
        (result,) = analyse(study, simulate({"A": 0.32}, 15, 10, seed)).fooling
        low, high = result.systems[0].fooled.clustered or (1, 0)
        covered += low <= 0.32 <= high
    assert 88 <= covered <= 99


def test_proportions_by_hand() -> None:
    study = make_study(photos=10)
    responses = pair_responses("p", "A", [True] * 8 + [False] * 2)
    (result,) = analyse(study, responses).fooling
    (a,) = result.systems
    assert (a.fooled.hits, a.fooled.n, a.fooled.share) == (8, 10, 0.8)
    assert a.fooled.wilson == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert a.fooled.clustered is None  # one participant shows no variance
    assert a.fooled.half is None
    assert a.by_participant[0].share == 0.8
    assert result.false_alarms is None
    assert a.error is None


def test_hype_infinity_by_hand() -> None:
    """3 of 4 fakes of A were called real, 1 of 5 of B, and 2 of 8 real photos generated."""
    study = make_study(photos=10)
    responses = []
    for system, real, of in (("A", 3, 4), ("B", 1, 5), (REAL, 6, 8)):
        for i in range(of):
            chosen = "real" if i < real else "generated"
            responses.append(response("p", len(responses), "single", (system,), chosen, item=i))
    # Real images in the score of A are those of participants with trials of A, unlike q.
    responses.append(response("q", 0, "single", (REAL,), "generated"))
    (result,) = analyse(study, responses).fooling
    a, b = result.systems
    assert (a.fooled.share, b.fooled.share) == (0.75, 0.2)
    assert result.false_alarms is not None
    assert (result.false_alarms.hits, result.false_alarms.n) == (3, 9)
    assert a.error is not None
    assert b.error is not None
    assert a.error.share == pytest.approx((0.75 + 0.25) / 2)
    assert b.error.share == pytest.approx((0.2 + 0.25) / 2)


def test_calling_everything_real_has_an_error_rate_of_half() -> None:
    study = make_study(photos=20)
    responses = [
        response(f"p{p}", i, "single", ((REAL, "A")[i % 2],), "real", item=i)
        for p in range(8)
        for i in range(20)
    ]
    (result,) = analyse(study, responses).fooling
    (a,) = result.systems
    assert a.fooled.half == "above"
    assert a.error is not None
    assert (a.error.share, a.error.half) == (0.5, "undecided")


def timed(participant: str, system: str, levels: Sequence[float]) -> list[Response]:
    """Every second image is real; all responses are correct."""
    return [
        response(
            participant,
            i,
            "timed",
            (shown,),
            "real" if shown == REAL else "generated",
            item=i,
            asked_ms=level,
        )
        for i, level in enumerate(levels)
        for shown in [(system, REAL)[i % 2]]
    ]


def test_threshold_leaves_out_staircases_that_did_not_converge() -> None:
    study = make_study(photos=30)
    swings = [500, 490, 520, 510, 500, 490, 480, 510, 500, 530, 520, 550, 540, 570]
    responses = timed("p", "A", [*swings, 570, 570, 570])
    responses += timed("q", "A", [500 - 10 * i for i in range(16)])  # not converged
    responses += timed("r", "B", [100] * 20)
    (result,) = analyse(study, responses).fooling
    a, b = (of_system.threshold for of_system in result.systems)
    assert a is not None
    assert b is not None
    assert (a.n_participants, a.not_converged) == (1, 1)
    assert a.modal == 570
    assert a.mean == pytest.approx(np.mean([550, 540, 570, 570, 570, 570]))  # real ones as well
    assert a.modal_interval is a.mean_interval is None
    assert (b.modal, b.mean) == (100, 100)
    # The staircase controls the rates, so 1/2 is not chance level.
    assert result.systems[0].fooled.half is result.systems[0].fooled.p is None


def test_preference_by_hand() -> None:
    study = make_study(photos=4, systems=("A", "B", "C"))
    shown: list[tuple[tuple[str, str], str]] = [
        (("A", "B"), "A"),
        (("B", "A"), "A"),
        (("B", "A"), "B"),
        (("C", "A"), "C"),
    ]
    responses = [
        response(f"p{p}", i, "preference", both, chosen, item=i)
        for p in range(6)
        for i, (both, chosen) in enumerate(shown)
    ]
    result = analyse(study, responses).preference
    assert result is not None
    assert [(p.first, p.second) for p in result.pairs] == [("A", "B"), ("A", "C")]
    ab, ac = (pair.preferred for pair in result.pairs)
    assert (ab.hits, ab.n) == (12, 18)
    assert ab.clustered is not None
    assert ab.clustered == pytest.approx(wilson(12, 18))  # all participants agree
    assert (ac.hits, ac.n) == (0, 6)
    assert ac.half == "below"
    assert (result.left_chosen.hits, result.left_chosen.n) == (18, 24)
    assert result.pairs[0].agreement == 1  # all participants agree on each photo
    assert result.reaction == (800, 800, 800)


def test_first_chosen_of_pairs() -> None:
    study = make_study()
    responses = [
        response("p", 0, "pair", (REAL, "A"), REAL, item=0),
        response("p", 1, "pair", ("A", REAL), "A", item=1),
        response("p", 2, "pair", ("A", REAL), REAL, item=2),
    ]
    first = analyse(study, responses).fooling[0].first_chosen
    assert first is not None
    assert (first.hits, first.n) == (2, 3)


def test_agreement() -> None:
    study = make_study(photos=3)
    same = [a for p in "pqr" for a in pair_responses(p, "A", [True, False, True])]
    (result,) = analyse(study, same).fooling
    assert result.agreement == result.systems[0].agreement == 1
    (alone,) = analyse(study, pair_responses("p", "A", [True, False])).fooling
    assert alone.agreement is None
    # Two participants who are always correct agree; over the images of A alone, all responses are
    # the same.
    sharp = [
        response(p, i, "single", (s,), "real" if s == REAL else "generated", item=i)
        for p in "pq"
        for i, s in enumerate((REAL, "A"))
    ]
    (result,) = analyse(study, sharp).fooling
    assert (result.agreement, result.systems[0].agreement) == (1, None)


def test_response_times() -> None:
    study = make_study()
    responses = [
        response("p", i, "pair", (REAL, "A"), chosen, item=i, reaction_ms=ms)
        for i, (chosen, ms) in enumerate(
            [("A", 100.0), ("A", 300.0), (REAL, 900.0), ("A", 200.0), (REAL, None)]
        )
    ]
    (times,) = analyse(study, responses).fooling[0].reactions
    assert (times.system, times.n) == ("A", 4)
    assert times.quartiles == (175, 250, 450)
    assert (times.correct, times.incorrect) == (200, 900)


# Exclusion.


def check(participant: str, number: int, *, failed: bool) -> Response:
    chosen = REAL if failed else OBVIOUS
    return response(participant, number, "pair", (OBVIOUS, REAL), chosen, kind="check")


def test_exclusion() -> None:
    study = make_study(checks=2, allowed_misses=1, least_trials=3)
    tests = [False, False, True]
    responses = [*pair_responses("good", "A", tests), check("good", 9, failed=True)]
    responses += pair_responses("careless", "A", tests)
    responses += [check("careless", n, failed=n > 7) for n in (7, 8, 9)]
    responses += pair_responses("short", "A", tests[:2])
    responses += pair_responses("both", "A", tests[:1]) + [
        check("both", n, failed=True) for n in (8, 9)
    ]
    responses.append(response("new", 0, "pair", (OBVIOUS, REAL), OBVIOUS, kind="practice"))
    why = {p.participant: p.excluded for p in apply_exclusion(study, responses)}
    assert why == {
        "good": None,
        "careless": "failed 2 of 3 attention checks",
        "short": "responded to 2 test trials",
        "both": "failed 2 of 2 attention checks and responded to 1 test trial",
        "new": "responded to 0 test trials",
    }
    results = analyse(study, responses)
    assert results.counted == 1
    assert results.fooling[0].systems[0].fooled.n == 3  # of `good` alone, and no checks
    assert "more than 1 of the attention checks" in results.rule
    assert "fewer than 3 test trials" in results.rule


def test_exclusion_criteria_without_checks() -> None:
    results = analyse(make_study(checks=0, least_trials=1), pair_responses("p", "A", [True]))
    assert results.rule == "Participants are excluded if they responded to fewer than 1 test trial."


def test_analysis_without_included_participants() -> None:
    results = analyse(make_study(least_trials=9), pair_responses("p", "A", [True]))
    assert (results.counted, results.fooling, results.preference) == (0, (), None)


def test_practice_and_checks_are_not_analysed() -> None:
    study = make_study()
    only = [
        response("p", 0, "pair", (REAL, "A"), "A", kind="practice"),
        check("p", 1, failed=False),
    ]
    with pytest.raises(DataError, match="there are no responses to test trials of 'Colours' yet"):
        analyse(study, only)
    (result,) = analyse(study, [*only, *pair_responses("p", "A", [True, True], 2)]).fooling
    assert result.systems[0].fooled.n == result.n_responses == 2


@pytest.mark.parametrize(("item", "system"), [(99, "A"), (0, "C")])
def test_responses_to_another_study_are_an_error(item: int, system: str) -> None:
    wrong = response("p", 0, "single", (system,), "real", item=item)
    with pytest.raises(
        DataError, match=rf"photo {item:016x} by {system}, which 'Colours' does not"
    ):
        analyse(make_study(), [wrong])


def test_ids_are_replaced_by_numbers_in_order() -> None:
    responses = [response(f"{9 - p:032x}", 1 + p % 9, "pair", (REAL, "A"), "A") for p in range(3)]
    assert [(r.person, r.number) for r in number_participants(reversed(responses))] == [
        ("1", 1),
        ("2", 2),
        ("3", 3),
    ]


def test_responses_before_a_judgement_are_left_out() -> None:
    study = make_study(least_reaction_ms=200.0, least_trials=2, checks=1)
    times = [199.0, 200.0, None, 1000.0]
    responses = [
        replace(r, since_onset_ms=ms)
        for r, ms in zip(pair_responses("p", "A", [True, True, False, False]), times, strict=True)
    ]
    responses += [
        replace(r, since_onset_ms=10.0, person="q") for r in responses[:1] + responses[2:]
    ]
    responses.append(replace(check("q", 9, failed=False), since_onset_ms=10.0))
    results = analyse(study, responses)
    (a,) = results.fooling[0].systems
    assert (a.fooled.hits, a.fooled.n) == (1, 3)
    assert [(p.participant, p.tests, p.early, p.excluded) for p in results.participants] == [
        ("p", 3, 1, None),
        ("q", 0, 3, "responded to 0 test trials"),
    ]
    assert "Responses to test trials within 200 ms after the last image appeared" in results.rule
    everything = analyse(replace(study, least_reaction_ms=0.0), responses)
    assert everything.fooling[0].systems[0].fooled.n == 7
    assert "200 ms" not in everything.rule


def test_early_responses_moved_the_staircase() -> None:
    study = make_study(photos=30, least_reaction_ms=200.0)
    swings = [500, 490, 520, 510, 500, 490, 480, 510, 500, 530, 520, 550, 540, 570]
    responses = timed("p", "A", [*swings, 570, 570, 570])
    late = analyse(study, responses).fooling[0].systems[0]
    responses[6] = replace(responses[6], since_onset_ms=150.0)
    early = analyse(study, responses).fooling[0].systems[0]
    assert early.threshold == late.threshold
    assert early.fooled.n == late.fooled.n - 1


def colorblind(rule: str) -> Analysis:
    """Analyse 5 participants who are never fooled, and 1 with a deficiency who always is."""
    study = make_study(color_vision=rule, checks=1, allowed_misses=0)
    responses = [r for p in range(5) for r in pair_responses(f"p{p}", "A", [False] * 4)]
    responses = [replace(r, color_vision="normal") for r in responses]
    for participant in ("q", "careless"):
        given = pair_responses(participant, "A", [True] * 4)
        responses += [replace(r, color_vision="deficient") for r in given]
    responses.append(check("careless", 9, failed=True))
    return analyse(study, responses)


def test_color_vision_is_reported_with_and_without() -> None:
    for rule, excluded, n in (
        ("exclude", "reported a colour-vision deficiency", 20),
        ("include", None, 24),
    ):
        results = colorblind(rule)
        assert results.fooling[0].systems[0].fooled.n == n
        assert {p.participant: p.excluded for p in results.participants}["q"] == excluded
        assert ("colour-vision" in results.rule) == (rule == "exclude")
        vision = results.color_vision
        assert vision is not None
        assert vision.counts == {"deficient": 2, "normal": 5}
        (effect,) = vision.effects
        assert (effect.protocol, effect.system, effect.other) == ("pair", "A", None)
        assert (effect.everybody.value, effect.everybody.n) == (4 / 24, 24)
        assert (effect.without.value, effect.without.n) == (0, 20)
        assert effect.without.clustered is not None
    assert colorblind("unasked").color_vision is None
    assert colorblind("unasked").fooling[0].systems[0].fooled.n == 24


def test_exposures_are_compared_with_the_requested_ones() -> None:
    study = make_study(seconds=0.5)
    times = [(490.0, 510.0), (500.0, None), (560.0, 505.0)]
    responses = [
        replace(r, exposure_ms=first, second_exposure_ms=second)
        for r, (first, second) in zip(pair_responses("p", "A", [True] * 3), times, strict=True)
    ]
    responses += [
        replace(r, exposure_ms=(r.asked_ms or 0) + 5) for r in timed("p", "A", [300, 290])
    ]
    first, second, glance = analyse(study, responses).exposures
    assert (first.protocol, first.image, first.n, first.unmeasured) == ("pair", 1, 3, 0)
    assert first.quantiles is not None
    assert first.quantiles[1] == 0
    assert first.largest == 60
    assert (second.image, second.n, second.unmeasured, second.largest) == (2, 2, 1, 10)
    assert (glance.protocol, glance.n, glance.quantiles) == ("timed", 2, (5, 5, 5))


def test_sizes_on_the_screen() -> None:
    """Images have a width of 40 px."""
    study = make_study()
    windows = [(800.0, 600.0, 1.0, 40.0), (800.0, 600.0, 2.0, 40.0), (600.0, 800.0, 1.0, 30.0)]
    names = ("viewport_width", "viewport_height", "pixel_ratio", "image_width")
    responses = [
        replace(r, **dict(zip(names, window, strict=True)))
        for r, window in zip(pair_responses("p", "A", [True] * 3), windows, strict=True)
    ]
    responses += pair_responses("q", "A", [True])  # not recorded
    results = analyse(study, responses)
    (display,) = results.displays
    assert (display.participant, display.n, display.scale) == ("p", 3, (0.75, 2))
    assert display.viewports == ((800, 600), (600, 800))
    assert display.pixel_ratios == (1, 2)
    assert [(s.scaling, s.n, s.n_participants) for s in results.scalings] == [
        ("reduced", 1, 1),
        ("unscaled", 1, 1),
        ("enlarged", 1, 1),
    ]


def test_page_has_exposures_sizes_and_colour_vision(tmp_path: Path) -> None:
    write_study(tmp_path, make_study(color_vision="exclude", least_reaction_ms=200.0))
    measured = {"exposure_ms": 1016.7, "second_exposure_ms": 1000.0, "since_onset_ms": 1700.0}
    measured |= {"viewport_width": 390.0, "viewport_height": 844.0}
    measured |= {"pixel_ratio": 3.0, "image_width": 40.0}
    responses = [
        replace(r, **measured, color_vision="deficient" if p == 5 else "unsure")
        for p in range(6)
        for r in pair_responses(f"p{p}", "A", [p > 3] * 3)
    ]
    responses[0] = replace(responses[0], since_onset_ms=12.0)
    fill(tmp_path, responses)
    write_report(tmp_path)
    page = page_of(tmp_path)
    for row in (
        ["pair", "18", "0", "1", "0", "0"],
        ["pair", "1", "+16.7 ms", "+16.7 to +16.7 ms", "+16.7 ms", "14", "0"],
        ["enlarged", "14", "5"],
        ["2", "390 x 844", "3", "3.00", "3"],
        ["reported a colour-vision deficiency", "1"],
    ):
        assert row in page.rows
    assert ["A", "pair", "35.3 %"] in [cells[:3] for cells in page.rows]
    assert "0 of 6 participants said no, 1 yes, 5 not sure, 0 preferred not to say" in page.text
    assert "All other results of this report are without those who said yes." in page.text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report/answers.csv").read_text())))
    assert [row["early"] for row in rows] == ["1", *["0"] * 17]
    assert {row["color_vision"] for row in rows} == {"unsure", "deficient"}


# Images and metrics.


def calls(fooled: Sequence[Sequence[bool]]) -> list[Response]:
    """Return responses to one image of A for each photo, by one participant each."""
    return [
        response(f"p{p}", item, "pair", (REAL, "A"), REAL if was else "A", item=item)
        for item, calls in enumerate(fooled)
        for p, was in enumerate(calls)
    ]


def test_lists_need_a_number_of_responses() -> None:
    fooled = [[True], [True] * 7 + [False], [False], [False] * 7 + [True]]
    images = analyse(make_study(photos=4), calls(fooled)).fooling[0].images
    most, least = select_extremes(images, 8)
    assert [image.name for image in most] == ["photo 1.jpg"]
    assert [image.name for image in least] == ["photo 3.jpg"]
    most, least = select_extremes(images, 8, least_responses=1)
    assert [image.name for image in most] == ["photo 1.jpg", "photo 0.jpg"]
    assert [image.name for image in least] == ["photo 3.jpg", "photo 2.jpg"]
    assert select_extremes(images[:1], 8) == ([images[0]], [])
    assert select_extremes(images, 8, least_responses=9) == ([], [])


def test_fooled_most_has_no_image_that_fooled_nobody() -> None:
    images = analyse(make_study(photos=2), calls([[False] * 6, [False] * 8])).fooling[0].images
    most, least = select_extremes(images, 8)
    assert most == []
    assert [image.name for image in least] == ["photo 1.jpg"]


def test_correlation_with_metrics() -> None:
    study = make_study(photos=8)
    responses = []
    for p in range(8):
        for system in SYSTEMS:
            responses += pair_responses(
                f"p{p}", system, [p < i for i in range(8)], 10 * (system == "B")
            )
    scores = {
        (item.id, system): {"psnr": 20.0 + i, "mse": 1.0 - i / 10, "flat": 1.0}
        for i, item in enumerate(study.items)
        for system in SYSTEMS
    }
    correlations = analyse(study, responses, scores=scores).fooling[0].correlations
    rhos = {(c.metric, c.system): c.rho for c in correlations}
    assert rhos["psnr", None] == rhos["psnr", "A"] == pytest.approx(1)
    assert rhos["mse", "B"] == pytest.approx(-1)
    assert rhos["flat", None] is None
    assert {c.n_images for c in correlations if c.system is None} == {16}
    assert all(
        c.interval == pytest.approx((c.rho, c.rho)) for c in correlations if c.rho is not None
    )


def test_correlation_over_systems() -> None:
    study = make_study(photos=4, systems=("A", "B", "C"))
    responses = pair_responses("p", "A", [True, True, True, False])
    responses += pair_responses("p", "B", [True, True, False, False], 10)
    responses += pair_responses("p", "C", [True, False, False, False], 20)
    measured = {"A": {"fid": 10.0}, "B": {"fid": 30.0}, "C": {"fid": 20.0}, "grey": {"fid": 99.0}}
    across = analyse(study, responses, system_metrics=measured).across
    assert across is not None
    assert across.matched == 3
    assert [of_system.realism for of_system in across.systems] == [
        {"pair": 0.75},
        {"pair": 0.5},
        {"pair": 0.25},
    ]
    assert across.rho == {"pair": {"fid": pytest.approx(-0.5)}}
    del measured["B"]
    across = analyse(study, responses, system_metrics=measured).across
    assert across is not None
    assert (across.matched, across.rho) == (2, {})


# Files.


class Page(HTMLParser):
    """The text of a page, its tags, and the rows of its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.in_cell:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def write_study(folder: Path, study: Study) -> None:
    """Write a study with images and without responses."""
    (folder / "pictures").mkdir(parents=True)
    save_study(study, folder)
    for i, item in enumerate(study.items):
        for n, image_id in enumerate(item.pictures.values()):
            pixels = draw(item.height, item.width).astype(float)
            pixels[..., 0] *= 1 - 0.1 * n - 0.02 * i  # the error grows with system and photo
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "pictures" / f"{image_id}.png")
    Store(folder / "answers.sqlite").close()


def fill(folder: Path, responses: Sequence[Response]) -> list[str]:
    """Save responses, and return the participant ids."""
    ids = []
    with Store(folder / "answers.sqlite") as store:
        for participant in dict.fromkeys(r.person for r in responses):
            own = [r for r in responses if r.person == participant]
            trials = [Trial(r.protocol, r.kind, r.item, r.shown) for r in own]
            ids.append(store.add_participant(lambda _, trials=trials: trials))  # type: ignore[misc]
            for number, given in enumerate(own):
                store.begin_trial(ids[-1], number)
                measured = {name: getattr(given, name) for name in Measurements.__annotations__}
                store.save_response(ids[-1], number, given.chosen, **measured)
            if own[0].color_vision:
                store.save_color_vision(ids[-1], own[0].color_vision)
    return ids


def population(participants: int = 6) -> list[Response]:
    """Return responses to every protocol; participant 5 fails two attention checks."""
    responses = []
    for p in range(participants):
        name = f"p{p}"
        responses += pair_responses(name, "A", [(p + i) % 3 == 0 for i in range(3)])
        responses += pair_responses(name, "B", [(p + i) % 2 == 0 for i in range(3)], 3)
        for i, system in enumerate((REAL, "A", REAL, "B")):
            chosen = "real" if (p + i) % 3 else "generated"
            responses.append(response(name, 6 + i, "single", (system,), chosen, item=i))
        for i in range(4):
            shown = ((REAL, "A")[i % 2],)
            responses.append(response(name, 10 + i, "timed", shown, "real", item=i))
        responses.append(response(name, 14, "preference", SYSTEMS, "A" if p % 2 else "B"))
        responses += [check(name, 15 + i, failed=p == 5) for i in range(2)]
    return responses


NAME = "<script>alert(1)</script>.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study with a report, responses, and a file name with HTML."""
    study = make_study(title="Old & <new>", checks=2)
    first = dataclasses.replace(study.items[0], name=NAME)
    study = dataclasses.replace(study, items=(first, *study.items[1:]))
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, study)
    fill(folder, population())
    metrics = folder / "metrics.json"
    metrics.write_text(json.dumps({"evaluations": [evaluated("A", 3.5), evaluated("grey", 9)]}))
    assert write_report(folder, metrics=metrics) == folder / "report/report.html"
    return folder


def evaluated(name: str, fid: float) -> dict[str, Any]:
    return {"name": name, "n": 9, "values": {"fid": [fid, fid - 1, None], "psnr": [22, 21, 23]}}


def page_of(folder: Path) -> Page:
    return Page((folder / "report/report.html").read_text())


def json_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report/report.json").read_text())
    return content


def test_report_has_four_files(folder: Path) -> None:
    files = {path.name for path in (folder / "report").iterdir()}
    assert files == {"report.html", "report.json", "answers.csv", "contact.png"}


def test_page_is_self_contained(folder: Path) -> None:
    page = page_of(folder)
    names = {tag for tag, _ in page.tags}
    assert names.isdisjoint({"script", "link", "iframe", "object", "form"})
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert sources
    assert all(source and source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]


def test_names_are_escaped(folder: Path) -> None:
    html = (folder / "report/report.html").read_text()
    assert "<script" not in html.lower()
    page = page_of(folder)
    assert NAME in page.text
    assert f"real: {NAME}" in [attributes.get("alt") for _, attributes in page.tags]
    assert "Old & <new>" in page.text


def test_page_has_the_numbers_of_the_json(folder: Path) -> None:
    content, page = json_of(folder), page_of(folder)
    assert [result["protocol"] for result in content["fooling"]] == ["pair", "single", "timed"]
    for result in content["fooling"]:
        assert (
            f"{result['n_responses']} responses of {result['n_participants']} participants."
            in page.text
        )
        for of_system in result["systems"]:
            share = of_system["fooled"]
            row = [
                of_system["system"],
                f"{100 * share['share']:.1f} %",
                *(
                    f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"
                    for ends in (share["clustered"], share["wilson"])
                ),
                f"{share['hits']} of {share['n']}",
                str(share["n_participants"]),
            ]
            assert row in [cells[:6] for cells in page.rows]
            if of_system["error"]:
                row = [of_system["system"], f"{100 * of_system['error']['share']:.1f} %"]
                assert row in [cells[:2] for cells in page.rows]
            for participant in of_system["by_participant"]:
                ends = "[{:.1f}, {:.1f}]".format(*(100 * end for end in participant["wilson"]))
                rate = f"{100 * participant['share']:.1f} %"
                row = [
                    participant["participant"],
                    of_system["system"],
                    rate,
                    ends,
                    f"{participant['hits']} of {participant['n']}",
                ]
                assert row in page.rows
        for pair in result["differences"]:
            row = [pair["first"], pair["second"], f"{100 * pair['difference']:+.1f}"]
            for key in ("clustered", "by_photo"):
                ends = pair[key]
                row.append("[{:.1f}, {:.1f}]".format(*(100 * e for e in ends)) if ends else "-")
            assert row in page.rows
        for one in result["reactions"]:
            name = "Real photos" if one["system"] == REAL else one["system"]
            assert [name, f"{one['quartiles'][1]:.0f} ms"] in [cells[:2] for cells in page.rows]
    preferred = content["preference"]["pairs"][0]["preferred"]
    assert ["A over B", f"{100 * preferred['share']:.1f} %"] in [cells[:2] for cells in page.rows]


def test_page_lists_excluded_participants(folder: Path) -> None:
    page = page_of(folder)
    assert "failed more than 1 of the attention checks" in page.text
    assert "Of 6 participants, 1 was excluded." in page.text
    assert ["6", "failed 2 of 2 attention checks", "15", "2 of 2"] in page.rows
    assert "5 of 6 participants included" in page.text


def test_correlations_use_images_of_the_study(folder: Path) -> None:
    from photochrom.training.evaluation.metrics import photo_metrics

    correlations = json_of(folder)["fooling"][0]["correlations"]
    assert {c["metric"] for c in correlations} == set(photo_metrics())
    assert {c["system"] for c in correlations} == {None, *SYSTEMS}
    assert [c["n_images"] for c in correlations if c["metric"] == "ssim"] == [6, 3, 3]
    assert all(-1 <= c["rho"] <= 1 for c in correlations if c["rho"] is not None)
    assert "PSNR ↑" in page_of(folder).text


def test_page_compares_systems_with_metrics(folder: Path) -> None:
    page = page_of(folder)
    top = next(i for i, cells in enumerate(page.rows) if cells[-2:] == ["FID ↓", "PSNR ↑"])
    assert [[cells[0], *cells[-2:]] for cells in page.rows[top + 1 : top + 3]] == [
        ["A", "3.5", "22"],
        ["B", "-", "-"],
    ]
    assert "metrics.json has 1 system of this study" in page.text


def test_answers_csv(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((folder / "report/answers.csv").read_text())))
    assert len(rows) == 6 * 15
    assert {row["kind"] for row in rows} == {"test"}
    assert {row["person"] for row in rows if row["excluded"] == "1"} == {"6"}
    counted = [row for row in rows if row["protocol"] == "pair" and row["excluded"] == "0"]
    for of_system in json_of(folder)["fooling"][0]["systems"]:
        fooled = [row["fooled"] for row in counted if row["system"] == of_system["system"]]
        assert (fooled.count("1"), len(fooled)) == (
            of_system["fooled"]["hits"],
            of_system["fooled"]["n"],
        )
    assert {row["fooled"] for row in rows if row["protocol"] == "preference"} == {""}
    assert rows[0]["photo"] == NAME


def test_contact_sheet(folder: Path) -> None:
    with Image.open(folder / "report/contact.png") as sheet:
        assert sheet.mode == "RGB"
        colours = sheet.resize((sheet.width // 4, sheet.height // 4)).getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 100


def test_report_does_not_contain_cookies(tmp_path: Path) -> None:
    write_study(tmp_path, make_study())
    ids = fill(tmp_path, population(2))
    write_report(tmp_path)
    for file in (tmp_path / "report").iterdir():
        assert not [one for one in ids if one.encode() in file.read_bytes()], file


def test_report_is_reproducible_and_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    write_report(folder, tmp_path, folder / "metrics.json")
    for file in (folder / "report").iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def test_import_of_the_report_does_not_load_training() -> None:
    code = (
        "import sys, photochrom.study.report\n"
        "assert not {'torch', 'photochrom.training'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_train_extra(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "photochrom.training.evaluation.metrics", None)
    write_report(folder, tmp_path, folder / "metrics.json")
    page = Page((tmp_path / "report.html").read_text())
    assert page.text.count(NO_METRICS) == 3  # once per protocol with rates
    assert "pip install 'photochrom[train]'" in page.text
    assert json.loads((tmp_path / "report.json").read_text())["fooling"][0]["correlations"] == []
    assert "fid" in page.text  # metrics of systems have plain names


def test_small_photos_have_no_ssim(tmp_path: Path) -> None:
    study = make_study(photos=3)
    items = tuple(dataclasses.replace(item, width=10, height=10) for item in study.items)
    write_study(tmp_path, dataclasses.replace(study, items=items))
    fill(tmp_path, pair_responses("p", "A", [True, False, True]))
    write_report(tmp_path)
    metrics = {c["metric"] for c in json_of(tmp_path)["fooling"][0]["correlations"]}
    assert "psnr" in metrics
    assert "ssim" not in metrics


def test_one_participant(tmp_path: Path) -> None:
    write_study(tmp_path, make_study())
    fill(tmp_path, pair_responses("p", "A", [True, False]))
    write_report(tmp_path)
    page = page_of(tmp_path)
    assert "too few participants for a confidence interval" in page.text
    assert ["A", "50.0 %", "-", "[9.5, 90.5]", "1 of 2", "1", "-", "1"] in page.rows


def test_lists_without_images_say_so(tmp_path: Path) -> None:
    write_study(tmp_path, make_study())
    fill(tmp_path, calls([[True], [False] * 6, [False] * 5]))
    write_report(tmp_path)
    text = page_of(tmp_path).text
    assert "Only images with at least 5 responses" in text
    assert "None of these images fooled anybody." in text
    assert "Fooled most" not in text
    write_report(tmp_path, least_responses=7)
    text = page_of(tmp_path).text
    assert "No image has as many responses. The most that one has: 6." in text
    assert "Fooled least" not in text
    write_report(tmp_path, least_responses=1)
    assert "Fooled most" in page_of(tmp_path).text
    with pytest.raises(PhotochromError, match="least responses is 0; it has to be at least 1"):
        write_report(tmp_path, least_responses=0)


def test_impossible_measurements_do_not_prevent_the_report(tmp_path: Path) -> None:
    """Older versions stored any number."""
    write_study(tmp_path, make_study())
    huge = {"image_width": 1e308, "pixel_ratio": 1e308, "reaction_ms": 1e308}
    fill(tmp_path, [replace(r, **huge) for r in pair_responses("p", "A", [False] * 2)])
    write_report(tmp_path)
    content = json_of(tmp_path)
    assert content["displays"] == []
    assert content["fooling"][0]["reactions"][0]["correct"] == 1e308


def test_names_that_are_not_utf_8_are_escaped(tmp_path: Path) -> None:
    study = make_study()
    names = ["caf\udce9 \udcff.jpg", *(item.name for item in study.items[1:])]
    items = [replace(i, name=name) for i, name in zip(study.items, names, strict=True)]
    write_study(tmp_path, replace(study, items=tuple(items)))
    fill(tmp_path, calls([[True] * 5]))
    write_report(tmp_path)
    assert r"caf\udce9 \udcff.jpg" in page_of(tmp_path).text
    assert r"caf\udce9 \udcff.jpg" in (tmp_path / "report/answers.csv").read_text()


def test_flow_of_participants(tmp_path: Path) -> None:
    study = make_study(checks=2, least_trials=2, skipped={"near-grey": 3, "unreadable": 1})
    write_study(tmp_path, study)
    good = [*pair_responses("p", "A", [True, False]), check("p", 2, failed=False)]
    fill(tmp_path, good)
    fill(tmp_path, [*good[:2], *[check("p", n, failed=True) for n in (2, 3)]])
    fill(tmp_path, good[:1])
    with Store(tmp_path / "answers.sqlite") as store:
        tests = [Trial("pair", "test", f"{i:016x}", (REAL, "A")) for i in range(3)]
        left = [store.add_participant(lambda _: tests) for _ in range(3)]
        store.begin_trial(left[1], 0)
        store.next_trial(left[1])  # a reload voids it
        store.begin_trial(left[2], 0)
        store.save_response(left[2], 0, REAL)
    write_report(tmp_path)
    content, page = json_of(tmp_path), page_of(tmp_path)
    criteria = content["flow"].pop("criteria")
    assert content["flow"] == {
        "consented": 6,
        "withdrawn": 0,
        "no_response": 2,
        "began": 4,
        "unfinished": 1,
        "excluded": 3,
        "analysed": 1,
    }
    assert [criterion["n_participants"] for criterion in criteria] == [1, 2]
    (pair, *others) = content["trials"]
    assert list(pair.values()) == ["pair", 6, 0, 1, 7, 0]
    assert {other["answered"] for other in others} == {0}
    for row in (
        ["Consented", "6"],
        ["left before their first response", "2"],
        ["Began: responded to at least one trial", "4"],
        ["responded to fewer than 2 test trials", "2"],
        ["Analysed", "1"],
        ["pair", "6", "0", "0", "1", "7"],
        ["In test trials, with true colours", "6"],
        ["Left out: near-grey, mean chroma under 4", "3"],
        ["Left out: unreadable", "1"],
    ):
        assert row in page.rows


def test_only_excluded_participants(tmp_path: Path) -> None:
    write_study(tmp_path, make_study(least_trials=10))
    fill(tmp_path, pair_responses("p", "A", [True, False]))
    write_report(tmp_path)
    assert "All participants are excluded" in page_of(tmp_path).text
    with Image.open(tmp_path / "report/contact.png") as sheet:
        sheet.load()


def test_no_responses_are_an_error(tmp_path: Path) -> None:
    write_study(tmp_path, make_study())
    with pytest.raises(DataError, match="there are no responses to test trials of 'Colours' yet"):
        write_report(tmp_path)
    assert not (tmp_path / "report").exists()


def test_missing_study_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no study"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "\udcff",
        '{"evaluations": 3}',
        '{"evaluations": [{"name": "A"}]}',
        '{"evaluations": [{"name": "A", "values": {"fid": [1, 2]}}]}',
    ],
)
def test_invalid_metrics_are_an_error(folder: Path, tmp_path: Path, content: str) -> None:
    metrics = tmp_path / "metrics.json"
    metrics.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(
        DataError, match=r"metrics\.json is not a metrics\.json of `photochrom evaluate`"
    ):
        write_report(folder, tmp_path / "out", metrics)
    assert not (tmp_path / "out").exists()


def test_old_metrics_have_the_names_of_today(folder: Path, tmp_path: Path) -> None:
    """`kid` alone is the estimator without the pairs of one photo."""
    metrics = tmp_path / "metrics.json"
    old = {"name": "A", "n": 9, "values": {"kid": [0.1, None, None]}}
    metrics.write_text(json.dumps({"evaluations": [old]}))
    write_report(folder, tmp_path / "out", metrics)
    assert '"kid_paired"' in (tmp_path / "out/report.json").read_text()


def test_missing_metrics_are_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read metrics .*none\.json: No such file"):
        write_report(folder, tmp_path / "out", tmp_path / "none.json")


def test_damaged_image_is_an_error(tmp_path: Path) -> None:
    study = make_study()
    write_study(tmp_path, study)
    fill(tmp_path, pair_responses("p", "A", [True]))
    image = tmp_path / "pictures" / f"{study.items[0].pictures['A']}.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(PhotoError, match=re.escape(str(image))):
        write_report(tmp_path)


def test_unwritable_folder_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot make folder"):
        write_report(folder, tmp_path / "file")
    (tmp_path / "out/report.json").mkdir(parents=True)
    with pytest.raises(DataError, match=r"cannot write .*report\.json"):
        write_report(folder, tmp_path / "out")
