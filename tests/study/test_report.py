"""What the report of a human study says, from simulated people whose rates are known."""

import csv
import dataclasses
import io
import json
import re
import sys
from collections.abc import Sequence
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photochrom.errors import DataError, PhotoError
from photochrom.study import analysis
from photochrom.study.analysis import analyse, extremes
from photochrom.study.answers import Answer
from photochrom.study.design import OBVIOUS, REAL, Item, Kind, Protocol, Study, save_study
from photochrom.study.exclusion import judge_people, numbered
from photochrom.study.report import NO_METRICS, write_report
from photochrom.study.statistics import clustered, wilson
from photochrom.study.store import Store
from photochrom.study.trials import Trial
from support.photos import draw

SYSTEMS = ("A", "B")


def make_study(photos: int = 6, **changes: Any) -> Study:
    """A study whose photos are colorized by `SYSTEMS`."""
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
    }
    return Study(systems=systems, items=items, **settings | changes)


def answer(
    person: str,
    number: int,
    protocol: Protocol,
    shown: tuple[str, ...],
    chosen: str,
    *,
    item: int = 0,
    kind: Kind = "test",
    asked_ms: float | None = None,
    reaction_ms: float | None = 800.0,
) -> Answer:
    time = f"2026-03-0{1 + number % 9}T10:00:00.000+00:00"
    photo = f"{item:016x}"
    return Answer(
        person, number, protocol, kind, photo, shown, chosen, None, asked_ms, reaction_ms, time
    )


def said(person: str, system: str, fooled: Sequence[bool], first: int = 0) -> list[Answer]:
    """Answers to `pair`, one photo each."""
    return [
        answer(person, first + i, "pair", (REAL, system), REAL if was else system, item=i)
        for i, was in enumerate(fooled)
    ]


def simulate(
    rates: dict[str, float], persons: int, trials: int, seed: int, spread: float = 0.1
) -> list[Answer]:
    """People with rates of their own around the known ones; half of the trials for each system."""
    random = np.random.default_rng(seed)
    answers = []
    for person in range(persons):
        for first, (system, rate) in enumerate(rates.items()):
            both = rate * (1 - rate) / spread**2 - 1
            own = random.beta(rate * both, (1 - rate) * both)
            fooled = random.random(trials // len(rates)) < own
            answers += said(f"{person:032x}", system, list(fooled), 100 * first)
    return answers


# The numbers.


def test_known_fooling_rates_are_recovered() -> None:
    study = make_study(photos=20)
    found = analyse(study, simulate({"A": 0.32, "B": 0.5}, 60, 40, seed=1))
    (result,) = found.fooling
    a, b = result.systems
    assert (a.system, b.system) == SYSTEMS
    assert a.fooled.clustered is not None
    assert b.fooled.clustered is not None
    assert a.fooled.clustered[0] < 0.32 < a.fooled.clustered[1] < 0.5
    assert b.fooled.clustered[0] < 0.5 < b.fooled.clustered[1]
    assert (a.fooled.half, b.fooled.half) == ("below", "undecided")
    assert a.fooled.n == b.fooled.n == 60 * 20
    assert a.fooled.persons == len(a.by_person) == 60
    assert a.fooled.p is not None
    assert a.fooled.p < 1e-6
    (difference,) = result.differences
    assert difference.clustered is not None
    assert difference.difference == pytest.approx(a.fooled.share - b.fooled.share)
    assert difference.clustered[0] < -0.18 < difference.clustered[1] < 0


def test_intervals_cover_in_95_of_100_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole studies, of 15 persons; test_study_statistics.py has more of them."""
    monkeypatch.setattr(analysis, "clustered", partial(clustered, draws=400))
    study = make_study(photos=10)
    covered = 0
    for seed in range(100):
        (result,) = analyse(study, simulate({"A": 0.32}, 15, 10, seed)).fooling
        low, high = result.systems[0].fooled.clustered or (1, 0)
        covered += low <= 0.32 <= high
    assert 88 <= covered <= 99


def test_shares_by_hand() -> None:
    study = make_study(photos=10)
    answers = said("p", "A", [True] * 8 + [False] * 2)
    (result,) = analyse(study, answers).fooling
    (a,) = result.systems
    assert (a.fooled.hits, a.fooled.n, a.fooled.share) == (8, 10, 0.8)
    assert a.fooled.wilson == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert a.fooled.clustered is None  # one person says nothing of others
    assert a.fooled.half is None
    assert a.by_person[0].share == 0.8
    assert result.false_alarms is None
    assert a.error is None


def test_hype_infinity_by_hand() -> None:
    """3 of 4 fakes of A were called real, 1 of 5 of B, and 2 of 8 real photos generated."""
    study = make_study(photos=10)
    answers = []
    for system, real, of in (("A", 3, 4), ("B", 1, 5), (REAL, 6, 8)):
        for i in range(of):
            chosen = "real" if i < real else "generated"
            answers.append(answer("p", len(answers), "single", (system,), chosen, item=i))
    # Somebody else, who never saw A: real photos of A's score are of those who saw A.
    answers.append(answer("q", 0, "single", (REAL,), "generated"))
    (result,) = analyse(study, answers).fooling
    a, b = result.systems
    assert (a.fooled.share, b.fooled.share) == (0.75, 0.2)
    assert result.false_alarms is not None
    assert (result.false_alarms.hits, result.false_alarms.n) == (3, 9)
    assert a.error is not None
    assert b.error is not None
    assert a.error.share == pytest.approx((0.75 + 0.25) / 2)
    assert b.error.share == pytest.approx((0.2 + 0.25) / 2)


def test_calling_everything_real_fools_but_is_wrong_in_half() -> None:
    study = make_study(photos=20)
    answers = [
        answer(f"p{p}", i, "single", ((REAL, "A")[i % 2],), "real", item=i)
        for p in range(8)
        for i in range(20)
    ]
    (result,) = analyse(study, answers).fooling
    (a,) = result.systems
    assert a.fooled.half == "above"
    assert a.error is not None
    assert (a.error.share, a.error.half) == (0.5, "undecided")


def timed(person: str, system: str, levels: Sequence[float]) -> list[Answer]:
    """Every second picture is real; all answers are right."""
    return [
        answer(
            person,
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


def test_threshold_is_of_those_whose_staircase_has_settled() -> None:
    study = make_study(photos=30)
    swings = [500, 490, 520, 510, 500, 490, 480, 510, 500, 530, 520, 550, 540, 570]
    answers = timed("p", "A", [*swings, 570, 570, 570])
    answers += timed("q", "A", [500 - 10 * i for i in range(16)])  # still on the way down
    answers += timed("r", "B", [100] * 20)
    (result,) = analyse(study, answers).fooling
    a, b = (found.threshold for found in result.systems)
    assert a is not None
    assert b is not None
    assert (a.persons, a.unsettled) == (1, 1)
    assert a.modal == 570
    assert a.mean == pytest.approx(np.mean([550, 540, 570, 570, 570, 570]))  # real ones as well
    assert a.modal_interval is a.mean_interval is None
    assert (b.modal, b.mean) == (100, 100)
    # The staircase holds the rates, so nothing is compared with a half.
    assert result.systems[0].fooled.half is result.systems[0].fooled.p is None


def test_preference_by_hand() -> None:
    study = make_study(photos=4, systems=("A", "B", "C"))
    shown: list[tuple[tuple[str, str], str]] = [
        (("A", "B"), "A"),
        (("B", "A"), "A"),
        (("B", "A"), "B"),
        (("C", "A"), "C"),
    ]
    answers = [
        answer(f"p{p}", i, "preference", both, chosen, item=i)
        for p in range(6)
        for i, (both, chosen) in enumerate(shown)
    ]
    found = analyse(study, answers).preference
    assert found is not None
    assert [(p.first, p.second) for p in found.pairs] == [("A", "B"), ("A", "C")]
    ab, ac = (pair.preferred for pair in found.pairs)
    assert (ab.hits, ab.n) == (12, 18)
    assert ab.clustered is not None
    assert ab.clustered == pytest.approx(wilson(12, 18))  # all persons say the same
    assert (ac.hits, ac.n) == (0, 6)
    assert ac.half == "below"
    assert (found.left_chosen.hits, found.left_chosen.n) == (18, 24)
    assert found.pairs[0].agreement == 1  # everybody prefers the same of the same photo
    assert found.reaction == (800, 800, 800)


def test_order_of_a_pair() -> None:
    study = make_study()
    answers = [
        answer("p", 0, "pair", (REAL, "A"), REAL, item=0),
        answer("p", 1, "pair", ("A", REAL), "A", item=1),
        answer("p", 2, "pair", ("A", REAL), REAL, item=2),
    ]
    first = analyse(study, answers).fooling[0].first_chosen
    assert first is not None
    assert (first.hits, first.n) == (2, 3)


def test_agreement() -> None:
    study = make_study(photos=3)
    same = [a for p in "pqr" for a in said(p, "A", [True, False, True])]
    (result,) = analyse(study, same).fooling
    assert result.agreement == result.systems[0].agreement == 1
    (alone,) = analyse(study, said("p", "A", [True, False])).fooling
    assert alone.agreement is None
    # Two who tell real from generated agree on the whole, and on A's pictures there is nothing to
    # agree about.
    sharp = [
        answer(p, i, "single", (s,), "real" if s == REAL else "generated", item=i)
        for p in "pq"
        for i, s in enumerate((REAL, "A"))
    ]
    (result,) = analyse(study, sharp).fooling
    assert (result.agreement, result.systems[0].agreement) == (1, None)


def test_reaction_times() -> None:
    study = make_study()
    answers = [
        answer("p", i, "pair", (REAL, "A"), chosen, item=i, reaction_ms=ms)
        for i, (chosen, ms) in enumerate(
            [("A", 100.0), ("A", 300.0), (REAL, 900.0), ("A", 200.0), (REAL, None)]
        )
    ]
    (found,) = analyse(study, answers).fooling[0].reactions
    assert (found.system, found.n) == ("A", 4)
    assert found.quartiles == (175, 250, 450)
    assert (found.right, found.wrong) == (200, 900)


# Who counts.


def check(person: str, number: int, *, missed: bool) -> Answer:
    chosen = REAL if missed else OBVIOUS
    return answer(person, number, "pair", (OBVIOUS, REAL), chosen, kind="check")


def test_exclusion() -> None:
    study = make_study(checks=2, allowed_misses=1, least_trials=3)
    tests = [False, False, True]
    answers = [*said("good", "A", tests), check("good", 9, missed=True)]
    answers += said("careless", "A", tests)
    answers += [check("careless", n, missed=n > 7) for n in (7, 8, 9)]
    answers += said("short", "A", tests[:2])
    answers += said("both", "A", tests[:1]) + [check("both", n, missed=True) for n in (8, 9)]
    answers.append(answer("new", 0, "pair", (OBVIOUS, REAL), OBVIOUS, kind="practice"))
    why = {person.person: person.excluded for person in judge_people(study, answers)}
    assert why == {
        "good": None,
        "careless": "missed 2 of 3 checks",
        "short": "answered 2 tests",
        "both": "missed 2 of 2 checks and answered 1 test",
        "new": "answered 0 tests",
    }
    found = analyse(study, answers)
    assert found.counted == 1
    assert found.fooling[0].systems[0].fooled.n == 3  # of `good` alone, and no checks
    assert "more than 1 of the checks" in found.rule
    assert "fewer than 3 tests" in found.rule


def test_rule_without_checks() -> None:
    found = analyse(make_study(checks=0, least_trials=1), said("p", "A", [True]))
    assert found.rule == "Who answered fewer than 1 test does not count."


def test_nobody_counts() -> None:
    found = analyse(make_study(least_trials=9), said("p", "A", [True]))
    assert (found.counted, found.fooling, found.preference) == (0, (), None)


def test_practice_and_checks_are_not_analysed() -> None:
    study = make_study()
    only = [answer("p", 0, "pair", (REAL, "A"), "A", kind="practice"), check("p", 1, missed=False)]
    with pytest.raises(DataError, match="nobody has answered a test of 'Colours' yet"):
        analyse(study, only)
    (result,) = analyse(study, [*only, *said("p", "A", [True, True], 2)]).fooling
    assert result.systems[0].fooled.n == result.answers == 2


@pytest.mark.parametrize(("item", "system"), [(99, "A"), (0, "C")])
def test_answers_to_another_study(item: int, system: str) -> None:
    wrong = answer("p", 0, "single", (system,), "real", item=item)
    with pytest.raises(
        DataError, match=rf"photo {item:016x} by {system}, which 'Colours' does not"
    ):
        analyse(make_study(), [wrong])


def test_ids_become_numbers_in_the_order_of_beginning() -> None:
    answers = [answer(f"{9 - p:032x}", 1 + p % 9, "pair", (REAL, "A"), "A") for p in range(3)]
    assert [(a.person, a.number) for a in numbered(reversed(answers))] == [
        ("1", 1),
        ("2", 2),
        ("3", 3),
    ]


# Photos and metrics.


def test_one_answer_leads_no_list() -> None:
    study = make_study(photos=4)
    fooled = {0: [True], 1: [True] * 7 + [False], 2: [False], 3: [False] * 7 + [True]}
    answers = [
        answer(f"p{p}", item, "pair", (REAL, "A"), REAL if was else "A", item=item)
        for item, all_said in fooled.items()
        for p, was in enumerate(all_said)
    ]
    photos = analyse(study, answers).fooling[0].photos
    most, least = extremes(photos, 8)
    assert [photo.name for photo in most] == ["photo 1.jpg", "photo 0.jpg"]
    assert [photo.name for photo in least] == ["photo 3.jpg", "photo 2.jpg"]
    assert extremes(photos[:1], 8) == ([photos[0]], [])


def test_correlation_with_metrics() -> None:
    study = make_study(photos=8)
    answers = []
    for p in range(8):
        for system in SYSTEMS:
            answers += said(f"p{p}", system, [p < i for i in range(8)], 10 * (system == "B"))
    scores = {
        (item.id, system): {"psnr": 20.0 + i, "mse": 1.0 - i / 10, "flat": 1.0}
        for i, item in enumerate(study.items)
        for system in SYSTEMS
    }
    found = analyse(study, answers, scores=scores).fooling[0].correlations
    rhos = {(c.metric, c.system): c.rho for c in found}
    assert rhos["psnr", None] == rhos["psnr", "A"] == pytest.approx(1)
    assert rhos["mse", "B"] == pytest.approx(-1)
    assert rhos["flat", None] is None
    assert {c.pictures for c in found if c.system is None} == {16}
    assert all(c.interval == pytest.approx((c.rho, c.rho)) for c in found if c.rho is not None)


def test_systems_beside_evaluate() -> None:
    study = make_study(photos=4, systems=("A", "B", "C"))
    answers = said("p", "A", [True, True, True, False])
    answers += said("p", "B", [True, True, False, False], 10)
    answers += said("p", "C", [True, False, False, False], 20)
    measured = {"A": {"fid": 10.0}, "B": {"fid": 30.0}, "C": {"fid": 20.0}, "grey": {"fid": 99.0}}
    across = analyse(study, answers, measured=measured).across
    assert across is not None
    assert across.matched == 3
    assert [found.realism for found in across.systems] == [
        {"pair": 0.75},
        {"pair": 0.5},
        {"pair": 0.25},
    ]
    assert across.rho == {"pair": {"fid": pytest.approx(-0.5)}}
    del measured["B"]
    across = analyse(study, answers, measured=measured).across
    assert across is not None
    assert (across.matched, across.rho) == (2, {})


# The files.


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
    """Write key, pictures and an empty store."""
    (folder / "pictures").mkdir(parents=True)
    save_study(study, folder)
    for i, item in enumerate(study.items):
        for n, picture in enumerate(item.pictures.values()):
            pixels = draw(item.height, item.width).astype(float)
            pixels[..., 0] *= 1 - 0.1 * n - 0.02 * i  # further from the truth by system and photo
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "pictures" / f"{picture}.png")
    Store(folder / "answers.sqlite").close()


def fill(folder: Path, answers: Sequence[Answer]) -> list[str]:
    """Have people answer, and return their ids."""
    ids = []
    with Store(folder / "answers.sqlite") as store:
        for person in dict.fromkeys(a.person for a in answers):
            mine = [a for a in answers if a.person == person]
            trials = [Trial(a.protocol, a.kind, a.item, a.shown) for a in mine]
            ids.append(store.add_person(lambda _, trials=trials: trials))  # type: ignore[misc]
            for number, given in enumerate(mine):
                store.begin(ids[-1], number)
                store.answer(ids[-1], number, given.chosen, reaction_ms=given.reaction_ms)
    return ids


def population(persons: int = 6) -> list[Answer]:
    """Answers to every protocol; person 5 misses two checks."""
    answers = []
    for p in range(persons):
        name = f"p{p}"
        answers += said(name, "A", [(p + i) % 3 == 0 for i in range(3)])
        answers += said(name, "B", [(p + i) % 2 == 0 for i in range(3)], 3)
        for i, system in enumerate((REAL, "A", REAL, "B")):
            chosen = "real" if (p + i) % 3 else "generated"
            answers.append(answer(name, 6 + i, "single", (system,), chosen, item=i))
        for i in range(4):
            shown = ((REAL, "A")[i % 2],)
            answers.append(answer(name, 10 + i, "timed", shown, "real", item=i))
        answers.append(answer(name, 14, "preference", SYSTEMS, "A" if p % 2 else "B"))
        answers += [check(name, 15 + i, missed=p == 5) for i in range(2)]
    return answers


NAME = "<script>alert(1)</script>.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was answered, with a report, and a file and a system of nasty names."""
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


def test_all_files_are_there_and_no_others(folder: Path) -> None:
    files = {path.name for path in (folder / "report").iterdir()}
    assert files == {"report.html", "report.json", "answers.csv", "contact.png"}


def test_the_page_is_whole_in_itself(folder: Path) -> None:
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


def test_the_page_has_the_numbers_of_the_json(folder: Path) -> None:
    content, page = json_of(folder), page_of(folder)
    assert [result["protocol"] for result in content["fooling"]] == ["pair", "single", "timed"]
    for result in content["fooling"]:
        assert f"{result['answers']} answers of {result['persons']} persons." in page.text
        for found in result["systems"]:
            share = found["fooled"]
            row = [
                found["system"],
                f"{100 * share['share']:.1f} %",
                *(
                    f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"
                    for ends in (share["clustered"], share["wilson"])
                ),
                f"{share['hits']} of {share['n']}",
                str(share["persons"]),
            ]
            assert row in [cells[:6] for cells in page.rows]
            if found["error"]:
                wrong = [found["system"], f"{100 * found['error']['share']:.1f} %"]
                assert wrong in [cells[:2] for cells in page.rows]
            for one in found["by_person"]:
                ends = "[{:.1f}, {:.1f}]".format(*(100 * end for end in one["wilson"]))
                rate = f"{100 * one['share']:.1f} %"
                told = [one["person"], found["system"], rate, ends, f"{one['hits']} of {one['n']}"]
                assert told in page.rows
        for one in result["reactions"]:
            name = "Real photos" if one["system"] == REAL else one["system"]
            assert [name, f"{one['quartiles'][1]:.0f} ms"] in [cells[:2] for cells in page.rows]
    preferred = content["preference"]["pairs"][0]["preferred"]
    assert ["A over B", f"{100 * preferred['share']:.1f} %"] in [cells[:2] for cells in page.rows]


def test_the_page_says_who_was_excluded(folder: Path) -> None:
    page = page_of(folder)
    assert "more than 1 of the checks wrong" in page.text
    assert "Of 6 persons, 1 was excluded." in page.text
    assert ["6", "missed 2 of 2 checks", "15", "2 of 2"] in page.rows
    assert "5 persons of 6 counted" in page.text


def test_metrics_of_the_very_pictures(folder: Path) -> None:
    from photochrom.training.evaluation.metrics import METRICS

    found = json_of(folder)["fooling"][0]["correlations"]
    assert {one["metric"] for one in found} == set(METRICS)
    assert {one["system"] for one in found} == {None, *SYSTEMS}
    assert [one["pictures"] for one in found if one["metric"] == "ssim"] == [6, 3, 3]
    assert all(-1 <= one["rho"] <= 1 for one in found if one["rho"] is not None)
    assert "PSNR ↑" in page_of(folder).text


def test_systems_beside_metrics(folder: Path) -> None:
    page = page_of(folder)
    top = next(i for i, cells in enumerate(page.rows) if cells[-2:] == ["FID ↓", "PSNR ↑"])
    assert [[cells[0], *cells[-2:]] for cells in page.rows[top + 1 :]] == [
        ["A", "3.5", "22"],
        ["B", "-", "-"],
    ]
    assert "metrics.json has 1 of these systems by name" in page.text


def test_answers_csv(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((folder / "report/answers.csv").read_text())))
    assert len(rows) == 6 * 15
    assert {row["kind"] for row in rows} == {"test"}
    assert {row["person"] for row in rows if row["excluded"] == "1"} == {"6"}
    counted = [row for row in rows if row["protocol"] == "pair" and row["excluded"] == "0"]
    for found in json_of(folder)["fooling"][0]["systems"]:
        fooled = [row["fooled"] for row in counted if row["system"] == found["system"]]
        assert (fooled.count("1"), len(fooled)) == (found["fooled"]["hits"], found["fooled"]["n"])
    assert {row["fooled"] for row in rows if row["protocol"] == "preference"} == {""}
    assert rows[0]["photo"] == NAME


def test_contact_sheet(folder: Path) -> None:
    with Image.open(folder / "report/contact.png") as sheet:
        assert sheet.mode == "RGB"
        colours = sheet.resize((sheet.width // 4, sheet.height // 4)).getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 100


def test_no_cookie_gets_out(tmp_path: Path) -> None:
    write_study(tmp_path, make_study())
    ids = fill(tmp_path, population(2))
    write_report(tmp_path)
    for file in (tmp_path / "report").iterdir():
        assert not [one for one in ids if one.encode() in file.read_bytes()], file


def test_same_answers_same_bytes_in_place_of_the_old(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    write_report(folder, tmp_path, folder / "metrics.json")
    for file in (folder / "report").iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def test_without_the_train_extra(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "photochrom.training.evaluation.metrics", None)
    write_report(folder, tmp_path, folder / "metrics.json")
    page = Page((tmp_path / "report.html").read_text())
    assert page.text.count(NO_METRICS) == 3  # once for each protocol that has rates
    assert "pip install 'photochrom[train]'" in page.text
    assert json.loads((tmp_path / "report.json").read_text())["fooling"][0]["correlations"] == []
    assert "fid" in page.text  # what was measured elsewhere is there, under its plain name


def test_small_photos_have_no_ssim(tmp_path: Path) -> None:
    study = make_study(photos=3)
    items = tuple(dataclasses.replace(item, width=10, height=10) for item in study.items)
    write_study(tmp_path, dataclasses.replace(study, items=items))
    fill(tmp_path, said("p", "A", [True, False, True]))
    write_report(tmp_path)
    found = {one["metric"] for one in json_of(tmp_path)["fooling"][0]["correlations"]}
    assert "psnr" in found
    assert "ssim" not in found


def test_one_person(tmp_path: Path) -> None:
    write_study(tmp_path, make_study())
    fill(tmp_path, said("p", "A", [True, False]))
    write_report(tmp_path)
    page = page_of(tmp_path)
    assert "too few persons for an interval that counts" in page.text
    assert ["A", "50.0 %", "-", "[9.5, 90.5]", "1 of 2", "1", "-", "1"] in page.rows


def test_only_excluded_people(tmp_path: Path) -> None:
    write_study(tmp_path, make_study(least_trials=10))
    fill(tmp_path, said("p", "A", [True, False]))
    write_report(tmp_path)
    assert "Nobody counts yet" in page_of(tmp_path).text
    with Image.open(tmp_path / "report/contact.png") as sheet:
        sheet.load()


def test_no_answers(tmp_path: Path) -> None:
    write_study(tmp_path, make_study())
    with pytest.raises(DataError, match="nobody has answered a test of 'Colours' yet"):
        write_report(tmp_path)
    assert not (tmp_path / "report").exists()


def test_no_study(tmp_path: Path) -> None:
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
def test_other_files_are_no_metrics(folder: Path, tmp_path: Path, content: str) -> None:
    metrics = tmp_path / "metrics.json"
    metrics.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(
        DataError, match=r"metrics\.json is no metrics\.json of `photochrom evaluate`"
    ):
        write_report(folder, tmp_path / "out", metrics)
    assert not (tmp_path / "out").exists()


def test_missing_metrics(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read metrics .*none\.json: No such file"):
        write_report(folder, tmp_path / "out", tmp_path / "none.json")


def test_a_damaged_picture(tmp_path: Path) -> None:
    study = make_study()
    write_study(tmp_path, study)
    fill(tmp_path, said("p", "A", [True]))
    picture = tmp_path / "pictures" / f"{study.items[0].pictures['A']}.png"
    picture.write_bytes(picture.read_bytes()[:60])
    with pytest.raises(PhotoError, match=re.escape(str(picture))):
        write_report(tmp_path)


def test_a_place_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot make folder"):
        write_report(folder, tmp_path / "file")
    (tmp_path / "out/report.json").mkdir(parents=True)
    with pytest.raises(DataError, match=r"cannot write .*report\.json"):
        write_report(folder, tmp_path / "out")
