"""Creation of studies, and the trials of participants."""

import dataclasses
import itertools
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from photochrom.cli.study import study as command
from photochrom.color import rgb_to_lab
from photochrom.errors import DataError, ModelError, PhotochromError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.writing import save_photo
from photochrom.study.answers import Response
from photochrom.study.creation import create_study
from photochrom.study.design import OBVIOUS, REAL, Item, Protocol, Study, load_study
from photochrom.study.trials import (
    Stimulus,
    Trial,
    count_tests,
    decode_choice,
    draw_trials,
    requested_exposure_ms,
)
from support.icc_profiles import SPACES
from support.models import write_model
from support.photos import draw, write_tinted_photos
from support.studies import write_models, write_study


def pixels_of(folder: Path, item: Item, system: str) -> np.ndarray:
    with Image.open(folder / "pictures" / f"{item.pictures[system]}.png") as image:
        return np.asarray(image)


def lab_of(pixels: np.ndarray) -> np.ndarray:
    return rgb_to_lab(pixels.astype(np.float32) / np.float32(255))


def png_chunks(path: Path) -> list[bytes]:
    data, position, names = path.read_bytes(), 8, []
    while position < len(data):
        names.append(data[position + 4 : position + 8])
        position += 12 + int.from_bytes(data[position : position + 4])
    return names


def test_photos_are_shown_in_srgb(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    image = Image.new("RGB", (40, 32), (60, 180, 60))
    image.save(tmp_path / "photos/green.png", icc_profile=SPACES["adobe"])
    options = {"practice": 0, "checks": 0, "least_trials": 1}
    create_study(
        tmp_path / "study", real=[tmp_path / "photos"], models=["default"], size=16, **options
    )
    (item,) = load_study(tmp_path / "study").items
    assert np.abs(pixels_of(tmp_path / "study", item, REAL).astype(int) - (0, 173, 86)).max() <= 1


def test_files_do_not_reveal_systems(tmp_path: Path):
    folder = write_study(tmp_path)
    study = load_study(folder)
    ids = [id_ for item in study.items for id_ in item.pictures.values()]
    paths = {id_: folder / "pictures" / f"{id_}.png" for id_ in ids}
    assert sorted(paths.values()) == sorted((folder / "pictures").iterdir())
    assert len(set(ids)) == len(ids) == 8 * 3 + 4 * 2 + 4 * 2
    assert len({path.stat().st_mtime_ns for path in paths.values()}) == 1
    for item in study.items:
        files = [paths[id_] for id_ in item.pictures.values()]
        assert len({path.stat().st_size for path in files}) == 1
        for path in files:
            with Image.open(path) as image:
                assert (image.size, image.mode) == ((item.width, item.height), "RGB")
                assert image.info == {}
            names = png_chunks(path)
            assert names == png_chunks(files[0])
            assert set(names) == {b"IHDR", b"IDAT", b"IEND"}


def test_images_are_the_photo_and_its_colorizations(tmp_path: Path):
    folder = write_study(tmp_path, protocols=("pair", "single"), practice=1, checks=1)
    study = load_study(folder)
    assert study.systems == ("a", "b")
    assert study.protocols == ("pair", "single", "preference")
    kinds = Counter(tuple(item.pictures) for item in study.items)
    assert kinds == {(REAL, OBVIOUS): 3, (REAL, "a", "b"): 9, ("a", "b"): 4}
    for item in study.items:
        if REAL in item.pictures:
            with Image.open(tmp_path / "photos" / item.name) as image:
                photo = np.asarray(image).astype(int)
            assert np.abs(pixels_of(folder, item, REAL) - photo).max() <= 1
        real = pixels_of(folder, item, REAL if REAL in item.pictures else "b")
        for system in item.pictures:
            lab = lab_of(pixels_of(folder, item, system))
            assert np.abs(lab[..., 0] - lab_of(real)[..., 0]).max() < 1
        if "a" in item.pictures:
            lab = lab_of(pixels_of(folder, item, "a"))
            inside = (lab[..., 0] > 40) & (lab[..., 0] < 75)  # where sRGB has such colours
            assert np.abs(lab[..., 1] - (0.2 * lab[..., 0] + 5))[inside].mean() < 1


def test_obvious_fake_has_opposite_hues(tmp_path: Path):
    folder = write_study(tmp_path)
    chroma = {}
    for item in load_study(folder).items:
        if REAL in item.pictures:
            _, a, b = lab_of(pixels_of(folder, item, REAL)).mean(axis=(0, 1))
            chroma[item.id] = np.hypot(a, b)
        if OBVIOUS in item.pictures:
            _, x, y = lab_of(pixels_of(folder, item, OBVIOUS)).mean(axis=(0, 1))
            assert (a * x + b * y) / np.hypot(a, b) / np.hypot(x, y) < -0.9
            assert np.hypot(x, y) > 20
    easy = {item.id for item in load_study(folder).items if OBVIOUS in item.pictures}
    assert len(easy) == 4
    assert min(chroma[id_] for id_ in easy) > max(
        value for id_, value in chroma.items() if id_ not in easy
    )


def test_photos_are_shrunk_but_not_enlarged(tmp_path: Path):
    photos = write_tinted_photos(tmp_path / "a", 2, size=(100, 60))
    write_tinted_photos(tmp_path / "a/b", 2, size=(20, 30))
    options: dict[str, Any] = {"size": 30, "practice": 0, "checks": 0, "least_trials": 1}
    create_study(tmp_path / "study", real=[photos], models=write_models(tmp_path)[:1], **options)
    sizes = Counter((item.width, item.height) for item in load_study(tmp_path / "study").items)
    assert sizes == {(50, 30): 2, (20, 30): 2}


def test_seed_determines_photos_but_not_ids(tmp_path: Path):
    studies = []
    for number, seed in enumerate((1, 1, 2)):
        folder = write_study(tmp_path / str(number), seed=seed, count=4, practice=1, checks=0)
        items = load_study(folder).items
        studies.append(([item.name for item in items], {item.id for item in items}))
    assert studies[0][0] == studies[1][0] != studies[2][0]
    assert len(studies[0][0]) == 8
    assert not studies[0][1] & studies[1][1]


def test_16_bit_photos_are_converted(tmp_path: Path):
    photos = write_tinted_photos(tmp_path / "photos", 1)
    with Image.open(photos / "00.png") as image:
        eight = np.asarray(image)
    (photos / "00.png").unlink()
    save_photo(Photo(eight.astype(np.uint16) * 257), photos / "deep.png")
    options = {"practice": 0, "checks": 0, "least_trials": 1}
    create_study(tmp_path / "study", real=[photos], models=write_models(tmp_path), **options)
    (item,) = load_study(tmp_path / "study").items
    shown = pixels_of(tmp_path / "study", item, REAL).astype(int)
    assert np.abs(shown - eight).max() <= 1


def test_unusable_photos_are_skipped_and_reported(tmp_path: Path):
    photos = write_tinted_photos(tmp_path / "photos", 3)
    (photos / "again.png").write_bytes((photos / "00.png").read_bytes())
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    Image.fromarray(draw()).convert("L").save(photos / "grey.png")
    Image.new("RGBA", (30, 30), (200, 30, 30, 90)).save(photos / "clear.png")
    arguments = ["new", str(tmp_path / "study"), "--real", str(photos)]
    arguments += ["--model", write_models(tmp_path)[0], "--practice", "1", "--checks", "0"]
    arguments += ["--least-trials", "1", "--title", "Ours", "--allowed-misses", "2"]
    arguments += ["--protocol", "single", "--seconds", "0.5"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "3 photos, 2 test trials per participant" in result.output
    assert "skipped 1 given twice, 1 near-grey, 1 transparent, 1 unreadable;" in result.output
    study = load_study(tmp_path / "study")
    assert (study.title, study.allowed_misses, study.protocols) == ("Ours", 2, ("single",))
    assert study.skipped == {"given twice": 1, "near-grey": 1, "transparent": 1, "unreadable": 1}
    assert "voluntary" in study.consent


def test_study_files_of_format_1_are_read(tmp_path: Path):
    folder = write_study(tmp_path)
    content = json.loads((folder / "study.json").read_bytes())
    assert content["format"] == 2
    for key in ("least_reaction_ms", "color_vision", "display", "skipped"):
        del content[key]
    (folder / "study.json").write_text(json.dumps(content | {"format": 1}))
    study = load_study(folder)
    # Nothing is excluded by rules that were not stated before.
    assert (study.least_reaction_ms, study.color_vision, study.skipped) == (0, "unasked", None)
    (folder / "study.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="is damaged"):
        load_study(folder)


def test_consent_is_read_from_a_file(tmp_path: Path):
    photos = str(write_tinted_photos(tmp_path / "photos", 2))
    arguments = ["--real", photos, "--model", write_models(tmp_path)[0], "--practice", "0"]
    arguments += ["--checks", "0", "--least-trials", "1", "--consent", str(tmp_path / "text")]
    (tmp_path / "text").write_text("Bitte, gern. Schön.", encoding="utf-8")
    result = CliRunner().invoke(command, ["new", str(tmp_path / "study"), *arguments])
    assert result.exit_code == 0, result.output
    assert load_study(tmp_path / "study").consent == "Bitte, gern. Schön."
    (tmp_path / "text").write_bytes(b"\xff")
    result = CliRunner().invoke(command, ["new", str(tmp_path / "other"), *arguments])
    assert isinstance(result.exception, PhotochromError)
    assert "not UTF-8 text" in str(result.exception)


INVALID = {
    "no photos": ({"real": []}, "there are no photos"),
    "no model": ({"models": []}, "there is no model"),
    "the same model": ({"models": ["a", "a"]}, "the name of model .*a.onnx, 'a', is already used"),
    "a model called real": ({"models": ["real"]}, "'real', is already used"),
    "one model": ({"historic": ["photos"], "models": ["a"]}, "two models side by side"),
    "more than there are": ({"count": 9}, "6 of 6 photos in .*the study needs at least 9"),
    "all for practice": ({"practice": 4, "checks": 2}, "practice and checks need 6 photos"),
    "too few tests": (
        {"practice": 2, "checks": 1},
        "every participant would be excluded: .* the minimum is 10",
    ),
    "no trials": ({"trials": 0}, "trials is 0; it has to be from 1"),
    "no count": ({"count": 0}, "count is 0"),
    "no time": ({"seconds": float("nan")}, "seconds is nan"),
    "no title": ({"title": " "}, "the title is empty"),
    "in use": ({"folder": "photos"}, "exists already"),
    "no folder of photos": ({"real": ["a.onnx"]}, "is not a folder"),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_options_are_errors(case: str, tmp_path: Path):
    write_tinted_photos(tmp_path / "photos", 6)
    write_models(tmp_path)
    write_model(tmp_path / "real.onnx", name="real")
    before = sorted(tmp_path.rglob("*"))
    changes, message = INVALID[case]
    options: dict[str, Any] = {"folder": "study", "real": ["photos"], "models": ["a"]} | changes
    options["models"] = [str(tmp_path / f"{name}.onnx") for name in options["models"]]
    for key in ("real", "historic"):
        options[key] = [tmp_path / name for name in options.get(key, [])]
    with pytest.raises(PhotochromError, match=message):
        create_study(tmp_path / options.pop("folder"), **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_photos_without_colour_are_an_error(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(draw()).convert("L").save(tmp_path / "photos/grey.png")
    with pytest.raises(DataError, match=r"0 of 1 photos in .* can be used \(1 near-grey\)"):
        create_study(tmp_path / "s", real=[tmp_path / "photos"], models=write_models(tmp_path))
    with pytest.raises(ModelError, match="there is no model file"):
        create_study(tmp_path / "s", real=[tmp_path / "photos"], models=[str(tmp_path / "none")])
    assert not list(tmp_path.glob(".*"))


def test_historic_photos_suffice(tmp_path: Path):
    old = write_tinted_photos(tmp_path / "old", 3)
    Image.fromarray(draw()).convert("L").save(old / "grey.png")
    options = {"historic": [old], "models": write_models(tmp_path), "least_trials": 4}
    study = create_study(tmp_path / "study", **options)
    assert study.protocols == ("preference",)
    assert (study.practice, study.checks, len(study.items)) == (0, 0, 4)
    assert {trial.protocol for trial in draw_trials(study, Counter(), random.Random(0))} == {
        "preference"
    }


def test_damaged_study_file_is_an_error(tmp_path: Path):
    folder = write_study(tmp_path)
    key = folder / "study.json"
    whole = json.loads(key.read_bytes())
    item = whole["items"][0]
    for change in (
        {"format": 3},
        {"color_vision": "maybe"},
        {"items": 3},
        {"protocols": ["guess"]},
        {"items": [item, item]},
        {"items": [item | {"pictures": {"real": "../../secret"}}]},
        {"more": 1},
    ):
        key.write_text(json.dumps(whole | change))
        with pytest.raises(DataError, match=r"study.json"):
            load_study(folder)
    for content in (b"", b"[]", b"\xff", b"{}"):
        key.write_bytes(content)
        with pytest.raises(DataError, match=r"study.json is damaged"):
            load_study(folder)
    with pytest.raises(DataError, match="holds no study"):
        load_study(tmp_path)


def a_study(
    protocols: Sequence[Protocol] = ("pair",),
    *,
    photos: int = 40,
    systems: Sequence[str] = ("a", "b"),
    historic: int = 0,
    **changes: Any,
) -> Study:
    """Return a study without image files."""
    practice, checks = changes.setdefault("practice", 2), changes.setdefault("checks", 3)
    easy = practice * sum(protocol != "preference" for protocol in protocols) + checks
    conditions = (
        [(REAL, OBVIOUS)] * easy + [(REAL, *systems)] * photos + [tuple(systems)] * historic
    )
    ids = map("{:016x}".format, itertools.count())
    items = [Item(next(ids), "", {n: next(ids) for n in names}, 60, 40) for names in conditions]
    values: dict[str, Any] = {
        "trials": 40,
        "seconds": 1.0,
        "allowed_misses": 1,
        "least_trials": 1,
        "least_reaction_ms": 200.0,
        "color_vision": "exclude",
        "display": True,
        "skipped": {},
    }
    values |= changes
    return Study(
        title="",
        consent="",
        created="",
        protocols=tuple(protocols),
        systems=tuple(systems),
        items=tuple(items),
        **values,
    )


def draw_participants(
    study: Study, count: int, seed: int
) -> tuple[list[list[Trial]], Counter[Stimulus]]:
    """Return the trials of successive participants, and the counts of stimuli."""
    participants, counts, chance = [], Counter(), random.Random(seed)
    for _ in range(count):
        participants.append(draw_trials(study, counts, chance))
        tests = [trial for trial in participants[-1] if trial.kind == "test"]
        counts.update(trial.stimulus for trial in tests)
    return participants, counts


def spread(counts: Counter[Any], expected: Sequence[Any]) -> int:
    """Return the range of the counts of `expected`."""
    assert set(counts) <= set(expected)
    return max(counts[key] for key in expected) - min(counts[key] for key in expected)


STUDIES = [
    (a_study(), 8),
    (a_study(photos=86, systems=("a", "b", "c")), 12),
    (a_study(photos=7, systems=("a", "b", "c", "d")), 16),
    (a_study(["single"], systems=("a", "b", "c"), trials=21), 12),
    (a_study(["timed"], trials=30), 12),
    (a_study(["preference"], photos=0, practice=0, checks=0, historic=20, systems="abc"), 12),
    (a_study(["pair", "single", "timed", "preference"], historic=12, trials=37), 12),
    (a_study(["single"], systems=("a",), photos=5, practice=0, checks=0), 7),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("which", range(len(STUDIES)))
def test_trials_of_a_participant_are_balanced(which: int, seed: int):
    study, count = STUDIES[which]
    items = {item.id: item for item in study.items}
    participants, _ = draw_participants(study, count, seed)
    for trials in participants:
        assert len({trial.item for trial in trials}) == len(trials)
        tests = [trial for trial in trials if trial.kind == "test"]
        assert len(tests) == count_tests(study) <= study.trials
        for trial in trials:
            assert set(trial.shown) <= set(items[trial.item].pictures)
            assert (OBVIOUS in items[trial.item].pictures) == (trial.kind != "test")
        for protocol in study.protocols:
            own = [trial for trial in tests if trial.protocol == protocol]
            assert own
            conditions = Counter(frozenset(trial.shown) for trial in own)
            if protocol in ("pair", "preference"):
                assert max(conditions.values()) - min(conditions.values()) <= 1
                for condition in conditions:  # the order is balanced
                    order = Counter(
                        trial.shown for trial in own if frozenset(trial.shown) == condition
                    )
                    first, *rest = order.values()
                    assert abs(first - sum(rest)) <= 1
            else:
                real = conditions.pop(frozenset([REAL]))
                assert abs(real - conditions.total()) <= 1
                assert max(conditions.values()) - min(conditions.values()) <= 1
                assert protocol == "single" or len(conditions) == 1
        checks = [trial for trial in trials if trial.kind == "check"]
        assert len(checks) == study.checks
        assert all(OBVIOUS in trial.shown for trial in checks)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("which", range(len(STUDIES)))
def test_stimuli_are_balanced_over_participants(which: int, seed: int):
    study, count = STUDIES[which]
    _, counts = draw_participants(study, count, seed)
    for protocol in study.protocols:
        historic = protocol == "preference"
        items = [
            item.id
            for item in study.items
            if OBVIOUS not in item.pictures and (REAL not in item.pictures) == historic
        ]
        own = Counter({key: value for key, value in counts.items() if key[0] == protocol})
        by_item: Counter[str] = Counter()
        by_condition: Counter[frozenset[str]] = Counter()
        for (_, item, condition), number in own.items():
            by_item[item] += number
            by_condition[condition] += number
        if len(study.protocols) == 1:  # otherwise other protocols use some of the photos
            assert spread(by_item, items) <= 1
        real = by_condition.pop(frozenset([REAL]), by_condition.total() // 2)
        if protocol in ("single", "timed"):
            assert abs(real - by_condition.total()) <= 1
        # A participant of `timed` sees one system; other protocols may differ by one trial.
        assert spread(by_condition, list(by_condition)) <= (20 if protocol == "timed" else 1)
        for condition in by_condition:
            stimuli = Counter({key: value for key, value in own.items() if key[2] == condition})
            allowed = 2 if len(study.protocols) == 1 else 3
            assert spread(stimuli, [(protocol, item, condition) for item in items]) <= allowed


def test_systems_of_timed_are_balanced_over_participants():
    study = a_study(["timed"], systems=("a", "b", "c"), trials=20)
    participants, _ = draw_participants(study, 9, 0)
    systems = Counter(
        next(trial.shown[0] for trial in trials if trial.kind == "test" and REAL not in trial.shown)
        for trials in participants
    )
    assert systems == {"a": 3, "b": 3, "c": 3}


def test_practice_trials_come_first_and_checks_are_spread():
    study = a_study(["pair", "single"], practice=3, checks=4, trials=20)
    participants, _ = draw_participants(study, 30, 0)
    positions = []
    for trials in participants:
        kinds = [trial.kind for trial in trials]
        assert [trial.protocol for trial in trials] == ["pair"] * 15 + ["single"] * 15
        assert [kinds[:3], kinds[15:18]] == [["practice"] * 3] * 2
        assert "practice" not in kinds[3:15] + kinds[18:]
        own = [position for position in range(12) if kinds[3 + position] == "check"]
        assert own[0] <= 5  # one in each half of the ten tests
        assert own[1] >= 6
        positions += own
        practice = Counter(trial.shown for trial in trials[15:18])
        assert set(practice) == {(REAL,), (OBVIOUS,)}
    assert set(positions) == set(range(12))


def response(correct: bool, kind: Any = "test", protocol: Protocol = "timed") -> Response:
    chosen = "generated" if correct else REAL
    return Response("p", 0, protocol, kind, "", ("a",), chosen, 500.0, 500.0, 1.0, "")


def test_staircase_levels():
    test = Trial("timed", "test", "", ("a",))
    yes, no = response(True), response(False)
    assert requested_exposure_ms(test, []) == 500
    assert requested_exposure_ms(test, [yes]) == 490
    assert requested_exposure_ms(test, [yes, no]) == 520
    assert requested_exposure_ms(test, [yes, yes, yes, no]) == 500  # three of four: it stays
    assert requested_exposure_ms(test, [yes] * 40) == requested_exposure_ms(test, [yes] * 60) == 100
    assert (
        requested_exposure_ms(test, [yes] * 60 + [no]) == 130
    )  # from the limit, not from below it
    assert requested_exposure_ms(test, [no] * 20) == 1000
    assert requested_exposure_ms(test, [no] * 20 + [yes]) == 990
    others = [
        response(False, "check"),
        response(False, "practice"),
        response(False, protocol="single"),
    ]
    assert requested_exposure_ms(test, others) == 500
    easy = dataclasses.replace(test, kind="check", shown=(OBVIOUS,))
    assert requested_exposure_ms(easy, [yes] * 20) == 500  # an obvious fake has to be seen
    assert requested_exposure_ms(easy, [no]) == 530
    assert requested_exposure_ms(dataclasses.replace(test, protocol="single"), [yes]) is None


def test_choices_are_decoded():
    pair = Trial("pair", "test", "", ("a", REAL))
    single = Trial("single", "test", "", ("a",))
    assert [decode_choice(pair, 0), decode_choice(pair, 1)] == ["a", REAL]
    assert [decode_choice(single, "real"), decode_choice(single, "generated")] == [
        "real",
        "generated",
    ]
    for trial, chosen in ((pair, 2), (pair, -1), (pair, "real"), (single, 0), (single, "a")):
        with pytest.raises(PhotochromError, match="is not a valid response"):
            decode_choice(trial, chosen)
