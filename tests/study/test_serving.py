"""The server of a study, and its database."""

import contextlib
import hashlib
import http.client
import json
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi")

from click.testing import CliRunner
from fastapi.testclient import TestClient

from photochrom.cli.study import study as command
from photochrom.errors import DataError, PhotochromError
from photochrom.study import store as store_module
from photochrom.study.app import create_app
from photochrom.study.design import OBVIOUS, REAL, RESPONSE_FILE, Protocol, load_study, save_study
from photochrom.study.store import Store, TrialNotOpenError
from photochrom.study.trials import Trial
from support.server import run_server
from support.studies import write_study

pytestmark = pytest.mark.slow

PROTOCOLS: tuple[Protocol, ...] = ("pair", "single", "timed")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study of all protocols: 12 photos, 5 for test trials, and 4 historic ones."""
    return write_study(tmp_path_factory.mktemp("study"), protocols=PROTOCOLS, checks=1)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """Return a copy without responses."""
    return Path(shutil.copytree(original, tmp_path / "study"))


@contextlib.contextmanager
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(create_app(folder), base_url="http://127.0.0.1:8001") as browser:
        yield browser


@pytest.fixture
def browser(folder: Path) -> Iterator[TestClient]:
    with client(folder) as browser:
        yield browser


def pick(trial: dict[str, Any], index: int = 0) -> Any:
    one = trial["protocol"] in ("single", "timed")
    return ("real", "generated")[index] if one else index


MEASURED = {
    "viewport_width": 390.0,
    "viewport_height": 844.0,
    "pixel_ratio": 3.0,
    "image_width": 40.0,
}


def response_body(trial: dict[str, Any], chosen: Any = None, **changes: Any) -> dict[str, Any]:
    """Return the body of a response as the page sends it."""
    chosen = pick(trial) if chosen is None else chosen
    timing = MEASURED | {"reaction_ms": 250.0, "since_onset_ms": 260.0}
    if trial["protocol"] in ("pair", "timed"):
        timing["exposure_ms"] = 500.5
    if trial["protocol"] == "pair":
        timing["second_exposure_ms"] = 501.5
    known = {"number": trial["number"], "pictures": trial["pictures"], "chosen": chosen}
    return known | timing | changes


def consent(browser: TestClient) -> None:
    """Give consent, and answer the question about colour vision."""
    assert browser.post("/api/person", json={}).status_code == 204
    assert browser.post("/api/color-vision", json={"answer": "normal"}).status_code == 204


def run_trials(browser: TestClient) -> Iterator[dict[str, Any]]:
    """Respond to all trials; yield each one between its begin and the response."""
    while (trial := browser.get("/api/next").json())["state"] == "trial":
        assert browser.post("/api/begun", json={"number": trial["number"]}).status_code == 204
        yield trial
        reply = browser.post("/api/answer", json=response_body(trial))
        assert reply.status_code == 200
        assert set(reply.json()) == ({"right"} if trial["practice"] else set())


def read_trials(folder: Path) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(folder / RESPONSE_FILE)) as db:
        return db.execute("SELECT number, protocol, kind, state FROM trials").fetchall()


def read_participants(folder: Path) -> list[tuple[str, str | None]]:
    """Return the id of each participant, and when they finished."""
    with contextlib.closing(sqlite3.connect(folder / RESPONSE_FILE)) as db:
        return db.execute("SELECT id, finished FROM persons ORDER BY created, id").fetchall()


def test_study_from_consent_to_end(folder: Path, browser: TestClient):
    assert browser.get("/api/next").json() == {"state": "consent"}
    agreed = browser.post("/api/person", json={})
    assert agreed.status_code == 204
    assert browser.get("/api/next").json() == {"state": "color-vision"}
    assert browser.post("/api/color-vision", json={"answer": "green"}).status_code == 422
    for answer in ("normal", "unsure"):  # the first one counts
        reply = browser.post("/api/color-vision", json={"answer": answer})
        assert reply.status_code == 204
    cookie = agreed.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    trials = [trial | {"kind": "?"} for trial in run_trials(browser)]
    done = browser.get("/api/next").json()
    assert done.pop("state") == "done"
    assert re.fullmatch("[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}", done.pop("code"))
    assert done == {}
    study = load_study(folder)
    of = 3 * 2 + 1 + 8  # practice of three protocols, a check, tests
    assert [trial["number"] for trial in trials] == list(range(of))
    assert {trial["of"] for trial in trials} == {of}
    assert {trial["protocol"] for trial in trials} == {*PROTOCOLS, "preference"}
    with Store(folder / RESPONSE_FILE, read_only=True) as store:
        responses = store.read()[1]
    ((participant, finished),) = read_participants(folder)
    assert finished is not None
    assert re.fullmatch("[0-9a-f]{32}", participant)
    items = {item.id: item for item in study.items}
    for trial, response in zip(trials, responses, strict=True):
        item = items[response.item]
        assert (response.person, response.number) == (participant, trial["number"])
        assert [item.pictures[system] for system in response.shown] == trial["pictures"]
        assert response.chosen == (response.shown[0] if len(response.shown) == 2 else "real")
        assert response.reaction_ms == 250
        timed = response.protocol == "timed"
        pair = response.protocol == "pair"
        assert response.exposure_ms == (500.5 if timed or pair else None)
        assert response.second_exposure_ms == (501.5 if pair else None)
        assert response.since_onset_ms == 260
        assert {name: getattr(response, name) for name in MEASURED} == MEASURED
        assert response.color_vision == "normal"
        assert trial["show_ms"] == {"pair": 1000, "timed": response.asked_ms}.get(response.protocol)
        assert (response.asked_ms is not None) == timed
        assert datetime.fromisoformat(response.answered).utcoffset() == timedelta(0)


def test_trials_do_not_reveal_systems(folder: Path, browser: TestClient):
    consent(browser)
    texts = [browser.get("/").text]
    for trial in run_trials(browser):
        assert set(trial) == {
            *("state", "number", "of", "protocol", "practice", "pictures"),
            *("width", "height", "show_ms"),
        }
        texts.append(json.dumps(trial))
    study = load_study(folder)
    names = [item.id for item in study.items] + [item.name for item in study.items]
    for secret in (*names, OBVIOUS, "check", *(f'"{system}"' for system in ("a", "b", REAL))):
        assert not [text for text in texts[1:] if secret in text]
    assert not [name for name in names if name in texts[0]]


def test_headers_of_images_do_not_reveal_systems(folder: Path, browser: TestClient):
    for item in load_study(folder).items:
        headers = []
        for id_ in item.pictures.values():
            reply = browser.get(f"/pictures/{id_}.png")
            assert reply.content == (folder / "pictures" / f"{id_}.png").read_bytes()
            headers.append([pair for pair in reply.headers.multi_items() if pair[0] != "date"])
        assert all(other == headers[0] for other in headers)
        names = {name for name, _ in headers[0]}
        assert not names & {"etag", "last-modified", "set-cookie"}
        assert ("cache-control", "no-store") in headers[0]


@pytest.mark.parametrize(
    "path",
    [
        "/study.json",
        "/answers.sqlite",
        "/pictures/../study.json",
        "/pictures/%2e%2e/study.json",
        "/pictures/..%2fstudy.json",
        "/pictures/%2e%2e%2fstudy.json",
        "/pictures/....//study.json",
        "/pictures//etc/passwd",
        "/static/../templates/study.html",
        "/static/%2e%2e/%2e%2e/study/app.py",
        "/static/..%2fapp.py",
        "/pictures/",
        "/pictures/0123456789abcdef.png",
        "/pictures/0123456789abcdef",
        "/docs",
        "/openapi.json",
        "/api/answers",
    ],
)
def test_other_paths_are_not_found(path: str, folder: Path):
    """Over a socket, as HTTP clients normalize paths."""
    with run_server(create_app(folder)) as address:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        connection.request("GET", path)
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
    assert reply.status == 404
    assert b"pictures" not in body
    assert b"root:" not in body


def test_other_hosts_and_origins_are_rejected(browser: TestClient, folder: Path):
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 421
    other = browser.post("/api/person", json={}, headers={"Origin": "http://evil.example"})
    assert other.status_code == 403
    assert read_participants(folder) == []
    policy = browser.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy


def test_consent_and_title_are_escaped(folder: Path):
    key = folder / "study.json"
    content = json.loads(key.read_bytes()) | {"title": "<i>T</i>", "consent": "A <b>\n\n& B"}
    key.write_text(json.dumps(content))
    with client(folder) as browser:
        page = browser.get("/").text
    assert "&lt;i&gt;T&lt;/i&gt;" in page
    assert "<p>A &lt;b&gt;</p>" in page
    assert "<p>&amp; B</p>" in page


def test_title_that_is_not_utf_8_is_escaped(folder: Path):
    save_study(replace(load_study(folder), title="caf\udce9"), folder)
    with client(folder) as browser:
        assert r"<title>caf\udce9</title>" in browser.get("/").text


def test_addresses_are_relative(browser: TestClient):
    """The study can be served below a path by a proxy."""
    files = ("static/study.js", "static/server.js", "static/showing.js", "static/study.css")
    for path in ("", "withdrawn", *files):
        reply = browser.get(f"/{path}")
        assert reply.status_code == 200
        assert not re.findall(r"""["'`(]/\w""", reply.text), path


def test_study_below_a_path(folder: Path):
    app = create_app(folder)
    with TestClient(app, base_url="http://127.0.0.1:8001", root_path="/study") as browser:
        cookie = browser.post("/api/person").headers["set-cookie"]
        assert "; Path=/study;" in cookie
        browser.cookies.clear()
        browser.headers["cookie"] = cookie.split(";")[0]
        assert "; Path=/study;" in browser.post("/api/withdraw").headers["set-cookie"]


def test_head_requests_have_no_body(browser: TestClient, folder: Path):
    image_id = next(iter(load_study(folder).items[0].pictures.values()))
    for path in ("/", "/withdrawn", f"/pictures/{image_id}.png", "/static/study.js"):
        response = browser.head(path)
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-length"] == str(len(browser.get(path).content))


def test_second_consent_adds_no_participant(browser: TestClient, folder: Path):
    for _ in range(2):
        browser.post("/api/person", json={})
    assert len(read_participants(folder)) == 1


def test_two_browsers_are_two_participants(folder: Path):
    app = create_app(folder)
    address = "http://127.0.0.1:8001"
    with TestClient(app, base_url=address) as one:
        two = TestClient(app, base_url=address)
        for browser in (one, two):
            consent(browser)
        for _ in zip(run_trials(one), run_trials(two), strict=True):
            pass
    with Store(folder / RESPONSE_FILE, read_only=True) as store:
        responses = store.read()[1]
    assert len({response.person for response in responses}) == len(read_participants(folder)) == 2
    tests = [(a.protocol, a.item, frozenset(a.shown)) for a in responses if a.kind == "test"]
    assert len(tests) == 16


INVALID: dict[str, tuple[dict[str, Any], int]] = {
    "choice": ({"chosen": 7}, 400),
    "word": ({"chosen": "both"}, 400),
    "list": ({"chosen": [0]}, 422),
    "nothing": ({"chosen": None}, 422),
    "negative": ({"reaction_ms": -1}, 422),
    "text": ({"reaction_ms": "soon"}, 422),
    "huge number": ({"number": 2**70}, 422),
    "no number": ({"number": "first"}, 422),
    "later": ({"number": 3}, 409),
    "none such": ({"number": 999}, 409),
    "others": ({"pictures": ["0" * 16] * 2}, 409),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_responses_are_rejected(case: str, browser: TestClient, folder: Path):
    consent(browser)
    trial = browser.get("/api/next").json()
    browser.post("/api/begun", json={"number": 0})
    changes, status = INVALID[case]
    reply = browser.post("/api/answer", json=response_body(trial) | changes)
    assert reply.status_code == status
    assert set(reply.json()) == {"detail"}
    assert "\n" not in reply.json()["detail"]
    with Store(folder / RESPONSE_FILE, read_only=True) as store:
        assert store.read()[1] == []
    assert browser.post("/api/answer", json=response_body(trial)).status_code == 200


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_times_must_be_finite_numbers(number: str, browser: TestClient):
    consent(browser)
    trial = browser.get("/api/next").json()
    browser.post("/api/begun", json={"number": 0})
    text = json.dumps(response_body(trial)).replace("250.0", number)
    headers = {"Content-Type": "application/json"}
    assert browser.post("/api/answer", content=text, headers=headers).status_code == 422
    assert browser.post("/api/answer", content="{", headers=headers).status_code == 422
    assert browser.post("/api/answer", content="x" * 1_000_000, headers=headers).status_code == 413


def test_timed_requires_the_exposure(browser: TestClient):
    consent(browser)
    for trial in run_trials(browser):
        if trial["protocol"] == "timed":
            reply = browser.post("/api/answer", json=response_body(trial, exposure_ms=None))
            assert reply.status_code == 400
            assert "exposure_ms is missing" in reply.json()["detail"]


@pytest.mark.parametrize("measure", ["image_width", "pixel_ratio", "since_onset_ms"])
def test_measurements_must_be_possible(measure: str, browser: TestClient):
    consent(browser)
    trial = browser.get("/api/next").json()
    browser.post("/api/begun", json={"number": 0})
    for value in (-1, "wide", 1e308):
        body = response_body(trial, **{measure: value})
        assert browser.post("/api/answer", json=body).status_code == 422


def test_exposures_are_saved_only_where_they_are_limited(browser: TestClient, folder: Path):
    consent(browser)
    for trial in run_trials(browser):
        body = response_body(trial, exposure_ms=90.0, second_exposure_ms=91.0)
        assert browser.post("/api/answer", json=body).status_code == 200
    with Store(folder / RESPONSE_FILE, read_only=True) as store:
        saved = {(r.protocol, r.exposure_ms, r.second_exposure_ms) for r in store.read()[1]}
    assert saved == {
        ("pair", 90, 91),
        ("single", None, None),
        ("timed", 90, None),
        ("preference", None, None),
    }


def test_color_vision_is_not_asked_if_the_design_says_so(tmp_path: Path):
    folder = write_study(tmp_path, color_vision="unasked")
    assert "colour-vision" not in load_study(folder).consent
    with client(folder) as browser:
        browser.post("/api/person", json={})
        assert browser.get("/api/next").json()["state"] == "trial"


def test_responses_require_consent(browser: TestClient, folder: Path):
    trial = {"protocol": "single", "number": 0, "pictures": []}
    for cookie in ("", "0" * 32):
        browser.cookies.set("person", cookie)
        answer = {"answer": "normal"}
        assert browser.post("/api/color-vision", json=answer).status_code == 409
        assert browser.post("/api/begun", json={"number": 0}).status_code == 409
        assert browser.post("/api/answer", json=response_body(trial)).status_code == 409
    assert read_trials(folder) == []


def test_first_of_two_responses_is_saved(browser: TestClient, folder: Path):
    consent(browser)
    trial = browser.get("/api/next").json()
    assert (
        browser.post("/api/answer", json=response_body(trial)).status_code == 409
    )  # nothing was shown
    browser.post("/api/begun", json={"number": 0})
    replies = [
        browser.post("/api/answer", json=response_body(trial, pick(trial, i))) for i in (1, 0, 1)
    ]
    assert [reply.status_code for reply in replies] == [200] * 3
    assert len({reply.text for reply in replies}) == 1  # the feedback is for the saved response
    with Store(folder / RESPONSE_FILE, read_only=True) as store:
        (response,) = store.read()[1]
    assert response.chosen == response.shown[1]
    assert browser.get("/api/next").json()["number"] == 1


def test_reload_voids_limited_exposures_and_repeats_others(browser: TestClient, folder: Path):
    consent(browser)
    reloaded: set[int] = set()
    for trial in run_trials(browser):
        if trial["number"] in reloaded:
            assert trial["protocol"] in ("single", "preference")
            continue
        reloaded.add(trial["number"])
        again = browser.get("/api/next").json()
        if trial["protocol"] in ("pair", "timed"):
            assert again["state"] == "done" or again["number"] == trial["number"] + 1
            late = browser.post("/api/answer", json=response_body(trial))
            assert late.status_code == 409
            assert "is not open" in late.json()["detail"]
            break
        assert again == trial
    browser.get("/api/next")
    voids = [row for row in read_trials(folder) if row[3] == "void"]
    assert [row[:2] for row in voids] == [(0, "pair")]


def test_response_time_is_dropped_after_a_reload(browser: TestClient, folder: Path):
    consent(browser)
    for trial in run_trials(browser):
        if trial["protocol"] in ("single", "preference") and trial["number"] % 2:
            assert browser.get("/api/next").json() == trial
            browser.post("/api/begun", json={"number": trial["number"]})
    with Store(folder / RESPONSE_FILE, read_only=True) as store:
        responses = store.read()[1]
    assert len(responses) == 15
    for response in responses:
        again = response.protocol in ("single", "preference") and response.number % 2
        assert response.reaction_ms == (None if again else 250)


def test_database_error_is_reported_and_rolled_back(browser: TestClient, folder: Path):
    consent(browser)
    trial = browser.get("/api/next").json()
    browser.post("/api/begun", json={"number": 0})
    with contextlib.closing(sqlite3.connect(folder / RESPONSE_FILE, isolation_level=None)) as db:
        full = "CREATE TRIGGER full BEFORE UPDATE ON persons BEGIN SELECT RAISE(ABORT, 'full'); END"
        db.execute(full)
        reply = browser.post("/api/answer", json=response_body(trial))
        assert reply.status_code == 503
        assert reply.json() == {"detail": "the response could not be saved: full"}
        db.execute("DROP TRIGGER full")
    assert browser.post("/api/answer", json=response_body(trial)).status_code == 200


def two(item: str) -> list[Trial]:
    return [Trial("pair", "test", item, (REAL, "a")), Trial("pair", "test", "z", ("a", REAL))]


def test_open_trials_count_until_the_inactivity_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with Store(tmp_path / RESPONSE_FILE) as store:
        counts_given: list[Any] = []

        def draw_trials(counts: Any) -> list[Trial]:
            counts_given.append(dict(counts))
            return two(f"{len(counts_given)}")

        first, z = two("1")[0].stimulus, two("z")[0].stimulus
        participant = store.add_participant(draw_trials)
        store.begin_trial(participant, 0)
        store.save_response(participant, 0, "a")
        store.add_participant(draw_trials)
        assert counts_given[1] == {first: 1, z: 1}
        later = datetime.now(UTC) + timedelta(minutes=31)
        monkeypatch.setattr(store_module, "_now", lambda: later)
        third = store.add_participant(draw_trials)
        assert counts_given[2] == {first: 1}  # only complete trials
        store.begin_trial(third, 0)
        open_ = store.next_trial(third)  # a reload
        assert open_ is not None
        assert open_.number == 1
        store.add_participant(draw_trials)
        assert counts_given[3] == {first: 1, z: 1}
        assert read_participants(tmp_path)[0][0] == participant


def test_participant_with_void_trials_finishes(tmp_path: Path):
    with Store(tmp_path / RESPONSE_FILE) as store:
        participant = store.add_participant(lambda _: two("y"))
        with pytest.raises(TrialNotOpenError, match="trial 1 is not the current one"):
            store.begin_trial(participant, 1)
        for number in (0, 1):
            store.begin_trial(participant, number)
            store.begin_trial(participant, number)  # the first reply may have been lost
            store.next_trial(participant)
        assert store.next_trial(participant) is None
        assert store.read()[1] == []
        assert read_participants(tmp_path)[0][1] is not None
        assert not store.has_participant("nobody")


def test_responses_can_be_read_while_the_study_runs(tmp_path: Path):
    path = tmp_path / RESPONSE_FILE
    with Store(path) as store, Store(path, read_only=True) as reader:
        participant = store.add_participant(lambda _: two("y"))
        store.begin_trial(participant, 0)
        store.save_response(participant, 0, "a", reaction_ms=3.0)
        (response,) = reader.read()[1]
        assert (response.chosen, response.shown, response.reaction_ms) == ("a", (REAL, "a"), 3.0)
        assert response.correct
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.add_participant(lambda _: [])
        store.begin_trial(participant, 1)
        store.save_response(participant, 1, REAL)
        assert [r.correct for r in reader.read()[1]] == [True, False]


def test_invalid_database_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="cannot open responses"):
        Store(tmp_path / "none.sqlite", read_only=True)
    assert not (tmp_path / "none.sqlite").exists()
    (tmp_path / "odd").write_bytes(b"no database" * 100)
    for read_only in (True, False):
        with pytest.raises(DataError, match="not a database"):
            Store(tmp_path / "odd", read_only=read_only)
    with pytest.raises(DataError, match="cannot open responses"):
        Store(tmp_path / "no" / "folder")


def test_missing_image_or_study_is_an_error(folder: Path, tmp_path: Path):
    next((folder / "pictures").iterdir()).unlink()
    with pytest.raises(DataError, match=r"1 images of study .* are missing"):
        create_app(folder)
    with pytest.raises(DataError, match="holds no study"):
        create_app(tmp_path)


def test_port_in_use_is_an_error(folder: Path):
    with run_server(create_app(folder)) as address:
        port = str(urlsplit(address).port)
        result = CliRunner().invoke(command, ["serve", str(folder), "--port", port])
    assert isinstance(result.exception, PhotochromError)
    assert "Address already in use" in str(result.exception)


def test_report_command(folder: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[Any] = []

    def write_report(*given: Any, **_: Any) -> Path:
        calls.append(given)
        return Path("there/report.html")

    monkeypatch.setattr("photochrom.study.report.write_report", write_report)
    for arguments in ([], ["--out", "there", "--metrics", "metrics.json"]):
        result = CliRunner().invoke(command, ["report", str(folder), *arguments])
        assert result.output == "there/report.html\n"
    assert calls == [(folder, None, None), (folder, Path("there"), Path("metrics.json"))]


def bytes_of_database(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob(f"{RESPONSE_FILE}*"))


@pytest.mark.parametrize("trials", [0, 5, 100])
def test_withdrawal_deletes_everything_but_the_count(
    trials: int, browser: TestClient, folder: Path
):
    consent(browser)
    for n, _ in enumerate(run_trials(browser)):
        if n == trials:
            break
    ((participant, _),) = read_participants(folder)
    assert participant.encode() in bytes_of_database(folder)
    for _ in range(2):  # the first reply may have been lost
        reply = browser.post("/api/withdraw", json={})
        assert reply.status_code == 204
        assert "person-" in reply.headers["set-cookie"]
        assert not browser.cookies
    assert read_participants(folder) == read_trials(folder) == []
    assert participant.encode() not in bytes_of_database(folder)
    with Store(folder / RESPONSE_FILE, read_only=True) as store:
        enrolment, responses = store.read()
    assert (enrolment.consented, enrolment.withdrawn, responses) == (1, 1, [])
    assert browser.get("/api/next").json() == {"state": "consent"}
    assert "deleted" in browser.get("/withdrawn").text


def test_withdrawal_concerns_one_participant(folder: Path):
    app = create_app(folder)
    address = "http://127.0.0.1:8001"
    with TestClient(app, base_url=address) as one:
        two = TestClient(app, base_url=address)
        for browser in (one, two):
            consent(browser)
            for _ in run_trials(browser):
                pass
        one.post("/api/withdraw", json={})
        assert two.get("/api/next").json()["state"] == "done"
        with Store(folder / RESPONSE_FILE, read_only=True) as store:
            enrolment, responses = store.read()
        assert (enrolment.consented, enrolment.finished, enrolment.withdrawn) == (2, 1, 1)
        assert len(responses) == 15
        assert len({response.person for response in responses}) == 1


def test_withdraw_command(browser: TestClient, folder: Path):
    """With the code as somebody may type it, while the study is running."""
    consent(browser)
    for _ in run_trials(browser):
        pass
    code = browser.get("/api/next").json()["code"]
    typed = f" {code.lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')}"
    wrong = CliRunner().invoke(command, ["withdraw", str(folder), "0000-0000"])
    assert isinstance(wrong.exception, PhotochromError)
    assert "has the code 0000-0000" in str(wrong.exception)
    result = CliRunner().invoke(command, ["withdraw", str(folder), typed])
    assert result.exit_code == 0, result.output
    assert "deleted a participant with 15 responses; a report written before" in result.output
    assert read_participants(folder) == []
    assert code.replace("-", "").encode() not in bytes_of_database(folder)
    assert browser.get("/api/next").json() == {"state": "consent"}
    again = CliRunner().invoke(command, ["withdraw", str(folder), code])
    assert isinstance(again.exception, PhotochromError)


def test_status_command(browser: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch):
    result = CliRunner().invoke(command, ["status", str(folder)])
    assert result.exit_code == 0, result.output
    assert "0 consented; 0 active, 0 finished, 0 left, 0 withdrew" in result.output
    consent(browser)
    for _ in run_trials(browser):
        pass
    browser.cookies.clear()
    for _ in range(2):
        browser.post("/api/person", json={})
        browser.cookies.clear()
    with contextlib.closing(sqlite3.connect(folder / RESPONSE_FILE)) as db:
        db.execute(
            "UPDATE persons SET seen = '2026-01-01' WHERE id = "
            "(SELECT id FROM persons WHERE finished IS NULL LIMIT 1)"
        )
        db.commit()
    output = CliRunner().invoke(command, ["status", str(folder)]).output
    assert "3 consented; 1 active, 1 finished, 1 left, 0 withdrew" in output
    with Store(folder / RESPONSE_FILE, read_only=True) as store:
        tests = [r for r in store.read()[1] if r.kind == "test"]
    for protocol in ("pair", "single", "timed", "preference"):
        systems = [r.system for r in tests if r.protocol == protocol]
        n = len(systems)
        assert f"{protocol}: {n} response{'s' * (n != 1)} (" in output
        if protocol == "pair":
            assert f"(a {systems.count('a')}, b {systems.count('b')}), 0 void trials" in output
    assert "(a or b " in output
    assert "%" not in output

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    result = CliRunner().invoke(command, ["status", str(folder), "--watch"])
    assert (result.exit_code, result.output.count("3 consented")) == (0, 1)


@pytest.mark.parametrize("arguments", [["status"], ["withdraw"]])
def test_status_and_withdrawal_need_no_extra(arguments: list[str], folder: Path):
    with Store(folder / RESPONSE_FILE) as store:
        code = store.code(store.add_participant(lambda _: []))
    arguments += [str(folder), *([code] if arguments == ["withdraw"] else [])]
    block = "import sys; sys.modules |= dict.fromkeys(['krippendorff', 'fastapi', 'uvicorn'])"
    program = f"{block}; from photochrom.cli.study import study; study()"
    subprocess.run([sys.executable, "-c", program, *arguments], check=True)


OLD_SCHEMA = """
CREATE TABLE persons (
    id TEXT PRIMARY KEY, created TEXT NOT NULL, seen TEXT NOT NULL, finished TEXT
) WITHOUT ROWID;
CREATE TABLE trials (
    person TEXT NOT NULL REFERENCES persons (id), number INTEGER NOT NULL, protocol TEXT NOT NULL,
    kind TEXT NOT NULL, item TEXT NOT NULL, shown TEXT NOT NULL, asked_ms REAL,
    state TEXT NOT NULL CHECK (state IN ('planned', 'begun', 'again', 'void')),
    PRIMARY KEY (person, number)
) WITHOUT ROWID;
CREATE TABLE answers (
    person TEXT NOT NULL, number INTEGER NOT NULL, chosen TEXT NOT NULL, exposure_ms REAL,
    reaction_ms REAL, answered TEXT NOT NULL, PRIMARY KEY (person, number),
    FOREIGN KEY (person, number) REFERENCES trials (person, number)
) WITHOUT ROWID;
INSERT INTO persons VALUES ('0123456789abcdef0123456789abcdef', '2026-01-01T10:00:00.000+00:00',
    '2026-01-01T10:00:09.000+00:00', NULL);
"""
"""The database before participants could withdraw, with a participant."""


@pytest.fixture
def old_folder(folder: Path) -> Path:
    """Return a study of format 1 with an old database: one answered trial, one to come."""
    (folder / RESPONSE_FILE).unlink()
    content = json.loads((folder / "study.json").read_bytes()) | {"format": 1}
    for key in ("least_reaction_ms", "color_vision", "display", "skipped"):
        del content[key]
    (folder / "study.json").write_text(json.dumps(content))
    ids = [i.id for i in load_study(folder).items if OBVIOUS not in i.pictures][:2]
    with contextlib.closing(sqlite3.connect(folder / RESPONSE_FILE)) as db:
        db.executescript(OLD_SCHEMA)
        db.executemany(
            "INSERT INTO trials VALUES ('0123456789abcdef0123456789abcdef', ?, 'pair', 'test', ?, "
            '\'["real", "a"]\', NULL, ?)',
            [(0, ids[0], "begun"), (1, ids[1], "planned")],
        )
        db.execute(
            "INSERT INTO answers VALUES ('0123456789abcdef0123456789abcdef', 0, 'real', NULL, "
            "700.0, '2026-01-01T10:00:09.000+00:00')"
        )
        db.commit()
    return folder


def test_old_database_is_read_without_a_change(old_folder: Path):
    path = old_folder / RESPONSE_FILE
    before = path.read_bytes()
    with Store(path, read_only=True) as store:
        enrolment, (response,) = store.read()
    assert (response.reaction_ms, response.since_onset_ms, response.color_vision) == (
        700,
        None,
        None,
    )
    assert (enrolment.consented, enrolment.withdrawn, enrolment.finished) == (1, 0, 0)
    assert dict(enrolment.trials) == {("pair", "answered"): 1, ("pair", "unanswered"): 1}
    result = CliRunner().invoke(command, ["report", str(old_folder)])
    assert result.exit_code == 0, result.output
    assert "did not record how many photos" in (old_folder / "report/report.html").read_text()
    assert path.read_bytes() == before


def test_old_study_is_served(old_folder: Path):
    with client(old_folder) as browser:
        study = (old_folder / "study.json").read_bytes()
        name = f"person-{hashlib.sha256(study).hexdigest()[:8]}"
        browser.cookies.set(name, "0123456789abcdef0123456789abcdef")
        assert browser.get("/api/next").json()["number"] == 1
        for _ in run_trials(browser):
            pass
        assert browser.get("/api/next").json()["state"] == "done"
    for _ in range(2):  # the columns are there already
        with Store(old_folder / RESPONSE_FILE) as store:
            enrolment, responses = store.read()
    assert [response.number for response in responses] == [0, 1]
    assert (enrolment.consented, enrolment.finished) == (1, 1)
    assert responses[1].since_onset_ms == 260
    assert responses[1].viewport_width is responses[1].image_width is None  # no consent to that
    with contextlib.closing(sqlite3.connect(old_folder / RESPONSE_FILE)) as db:
        assert db.execute("SELECT count(*) FROM persons WHERE length(code) = 8").fetchone() == (1,)


class Server:
    """`photochrom study serve` in a process that can be killed."""

    def __init__(self, folder: Path) -> None:
        code = "from photochrom.cli.study import study; study()"
        command = [sys.executable, "-c", code, "serve", str(folder), "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        match = re.search(r":(\d+)/", self.process.stderr.readline())
        assert match is not None
        self.port = int(match[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Browser:
    """A client that repeats requests until there is a reply, as the page does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Server(folder)
        self.kills = 0
        self.cookie = ""

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", "Cookie": self.cookie}
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
            try:
                connection.request(method, path, json.dumps(body) if body else None, headers)
                reply = connection.getresponse()
                content = reply.read()
            except (OSError, http.client.HTTPException):
                self.kills += 1
                self.server.kill()
                self.server = Server(self.folder)
                continue
            finally:
                connection.close()
            self.cookie = reply.headers.get("Set-Cookie", self.cookie).split(";")[0]
            return reply.status, json.loads(content) if content else None


def test_killed_server_neither_loses_nor_repeats_responses(tmp_path: Path):
    """Kill the server several times during responses."""
    folder = write_study(tmp_path, protocols=("single",), practice=0, checks=0, trials=16)
    browser = Browser(folder)
    chance = random.Random(0)
    sent: dict[int, str] = {}
    try:
        browser.send("POST", "/api/person", {"a": 1})
        browser.send("POST", "/api/color-vision", {"answer": "undisclosed"})
        while (trial := browser.send("GET", "/api/next")[1])["state"] == "trial":
            number = trial["number"]
            assert browser.send("POST", "/api/begun", {"number": number})[0] == 204
            response = response_body(trial, pick(trial, number % 2))
            killer = None
            if browser.kills < 3 and number % 4 == 1:  # during the request
                killer = threading.Timer(chance.uniform(0, 0.006), browser.server.process.kill)
                killer.start()
            status, _ = browser.send("POST", "/api/answer", response)
            if killer:
                killer.join()
            assert status == 200
            assert number not in sent
            sent[number] = str(response["chosen"])
    finally:
        browser.server.kill()
    assert browser.kills >= 2
    assert list(sent) == list(range(16))
    with Store(folder / RESPONSE_FILE, read_only=True) as store:
        responses = store.read()[1]
    assert len(read_participants(folder)) == 1
    assert [response.number for response in responses] == list(range(16))
    for response in responses:
        chosen = sent[response.number]
        index = (
            response.shown.index(response.chosen) if len(response.shown) == 2 else response.chosen
        )
        assert chosen == str(index)
    with contextlib.closing(sqlite3.connect(folder / RESPONSE_FILE)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
