"""A study is served: what the browser is told, and what is kept of what it says."""

import contextlib
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
from photochrom.study.design import ANSWERS, OBVIOUS, REAL, Protocol, load_study
from photochrom.study.store import NotOpenError, Store
from photochrom.study.trials import Trial, cell
from support.server import running
from support.studies import write_study

KINDS: tuple[Protocol, ...] = ("pair", "single", "timed")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of all protocols: 12 photos of which 5 are for tests, 4 historic ones."""
    return write_study(tmp_path_factory.mktemp("study"), protocols=KINDS, checks=1)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of it that nobody answered."""
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


def said(trial: dict[str, Any], chosen: Any = None, **changes: Any) -> dict[str, Any]:
    """Return an answer as the page would send it."""
    chosen = pick(trial) if chosen is None else chosen
    timing = {"exposure_ms": 500.5 if trial["protocol"] == "timed" else None, "reaction_ms": 250.0}
    known = {"number": trial["number"], "pictures": trial["pictures"], "chosen": chosen}
    return known | timing | changes


def go_through(browser: TestClient, until: str = "") -> Iterator[dict[str, Any]]:
    """Answer one trial after the other; yields each once it is begun, before the answer."""
    while (trial := browser.get("/api/next").json())["state"] == "trial":
        assert browser.post("/api/begun", json={"number": trial["number"]}).status_code == 204
        yield trial
        response = browser.post("/api/answer", json=said(trial))
        assert response.status_code == 200
        assert set(response.json()) == ({"right"} if trial["practice"] else set())


def trials_of(folder: Path) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(folder / ANSWERS)) as db:
        return db.execute("SELECT number, protocol, kind, state FROM trials").fetchall()


def test_from_consent_to_the_end(folder: Path, browser: TestClient):
    assert browser.get("/api/next").json() == {"state": "consent"}
    agreed = browser.post("/api/person", json={})
    assert agreed.status_code == 204
    cookie = agreed.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    seen = [trial | {"kind": "?"} for trial in go_through(browser)]
    assert browser.get("/api/next").json() == {"state": "done"}
    study = load_study(folder)
    of = 3 * 2 + 1 + 8  # practice of three protocols, a check, tests
    assert [trial["number"] for trial in seen] == list(range(of))
    assert {trial["of"] for trial in seen} == {of}
    assert {trial["protocol"] for trial in seen} == {*KINDS, "preference"}
    with Store(folder / ANSWERS, read_only=True) as store:
        answers = store.answers()
        (person,) = store.persons()
    assert person.finished is not None
    assert re.fullmatch("[0-9a-f]{32}", person.id)
    items = {item.id: item for item in study.items}
    for trial, answer in zip(seen, answers, strict=True):
        item = items[answer.item]
        assert (answer.person, answer.number) == (person.id, trial["number"])
        assert [item.pictures[system] for system in answer.shown] == trial["pictures"]
        assert answer.chosen == (answer.shown[0] if len(answer.shown) == 2 else "real")
        assert answer.reaction_ms == 250
        timed = answer.protocol == "timed"
        assert answer.exposure_ms == (500.5 if timed else None)
        assert trial["show_ms"] == {"pair": 1000, "timed": answer.asked_ms}.get(answer.protocol)
        assert (answer.asked_ms is not None) == timed
        assert datetime.fromisoformat(answer.answered).utcoffset() == timedelta(0)


def test_the_browser_is_not_told_what_is_what(folder: Path, browser: TestClient):
    browser.post("/api/person", json={})
    told = [browser.get("/").text]
    for trial in go_through(browser):
        assert set(trial) == {
            *("state", "number", "of", "protocol", "practice", "pictures"),
            *("width", "height", "show_ms"),
        }
        told.append(json.dumps(trial))
    study = load_study(folder)
    names = [item.id for item in study.items] + [item.name for item in study.items]
    for secret in (*names, OBVIOUS, "check", *(f'"{system}"' for system in ("a", "b", REAL))):
        assert not [text for text in told[1:] if secret in text]
    assert not [name for name in names if name in told[0]]


def test_answers_about_pictures_are_the_same_for_all(folder: Path, browser: TestClient):
    for item in load_study(folder).items:
        headers = []
        for id_ in item.pictures.values():
            response = browser.get(f"/pictures/{id_}.png")
            assert response.content == (folder / "pictures" / f"{id_}.png").read_bytes()
            headers.append([pair for pair in response.headers.multi_items() if pair[0] != "date"])
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
def test_nothing_else_is_served(path: str, folder: Path):
    """Asked over a socket, as clients tidy up paths before they send them."""
    with running(create_app(folder)) as address:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
    assert response.status == 404
    assert b"pictures" not in body
    assert b"root:" not in body


def test_strange_hosts_and_pages_are_refused(browser: TestClient, folder: Path):
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 421
    other = browser.post("/api/person", json={}, headers={"Origin": "http://evil.example"})
    assert other.status_code == 403
    with Store(folder / ANSWERS, read_only=True) as store:
        assert store.persons() == []
    policy = browser.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy


def test_consent_and_title_are_text(folder: Path):
    key = folder / "study.json"
    content = json.loads(key.read_bytes()) | {"title": "<i>T</i>", "consent": "A <b>\n\n& B"}
    key.write_text(json.dumps(content))
    with client(folder) as browser:
        page = browser.get("/").text
    assert "&lt;i&gt;T&lt;/i&gt;" in page
    assert "<p>A &lt;b&gt;</p>" in page
    assert "<p>&amp; B</p>" in page


def test_who_agrees_twice_stays_the_same(browser: TestClient, folder: Path):
    for _ in range(2):
        browser.post("/api/person", json={})
    with Store(folder / ANSWERS, read_only=True) as store:
        assert len(store.persons()) == 1


def test_two_browsers_are_two_people(folder: Path):
    app = create_app(folder)
    address = "http://127.0.0.1:8001"
    with TestClient(app, base_url=address) as one:
        two = TestClient(app, base_url=address)
        for browser in (one, two):
            browser.post("/api/person", json={})
        for _ in zip(go_through(one), go_through(two), strict=True):
            pass
    with Store(folder / ANSWERS, read_only=True) as store:
        answers = store.answers()
        assert len({answer.person for answer in answers}) == len(store.persons()) == 2
    tests = [(a.protocol, a.item, frozenset(a.shown)) for a in answers if a.kind == "test"]
    assert len(tests) == 16


WRONG: dict[str, tuple[dict[str, Any], int]] = {
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


@pytest.mark.parametrize("case", WRONG)
def test_nonsense_is_refused(case: str, browser: TestClient, folder: Path):
    browser.post("/api/person", json={})
    trial = browser.get("/api/next").json()
    browser.post("/api/begun", json={"number": 0})
    changes, status = WRONG[case]
    response = browser.post("/api/answer", json=said(trial) | changes)
    assert response.status_code == status
    assert set(response.json()) == {"detail"}
    assert "\n" not in response.json()["detail"]
    with Store(folder / ANSWERS, read_only=True) as store:
        assert store.answers() == []
    assert browser.post("/api/answer", json=said(trial)).status_code == 200


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_times_have_to_be_numbers(number: str, browser: TestClient):
    browser.post("/api/person", json={})
    trial = browser.get("/api/next").json()
    browser.post("/api/begun", json={"number": 0})
    text = json.dumps(said(trial)).replace("250.0", number)
    headers = {"Content-Type": "application/json"}
    assert browser.post("/api/answer", content=text, headers=headers).status_code == 422
    assert browser.post("/api/answer", content="{", headers=headers).status_code == 422
    assert browser.post("/api/answer", content="x" * 1_000_000, headers=headers).status_code == 413


def test_the_exposure_of_timed_is_needed(browser: TestClient):
    browser.post("/api/person", json={})
    for trial in go_through(browser):
        if trial["protocol"] == "timed":
            response = browser.post("/api/answer", json=said(trial, exposure_ms=None))
            assert response.status_code == 400
            assert "exposure_ms is missing" in response.json()["detail"]


def test_nobody_can_answer_without_consent(browser: TestClient, folder: Path):
    trial = {"protocol": "single", "number": 0, "pictures": []}
    for cookie in ("", "0" * 32):
        browser.cookies.set("person", cookie)
        assert browser.post("/api/begun", json={"number": 0}).status_code == 409
        assert browser.post("/api/answer", json=said(trial)).status_code == 409
    assert trials_of(folder) == []


def test_the_first_of_two_answers_counts(browser: TestClient, folder: Path):
    browser.post("/api/person", json={})
    trial = browser.get("/api/next").json()
    assert browser.post("/api/answer", json=said(trial)).status_code == 409  # nothing was shown
    browser.post("/api/begun", json={"number": 0})
    replies = [browser.post("/api/answer", json=said(trial, pick(trial, i))) for i in (1, 0, 1)]
    assert [reply.status_code for reply in replies] == [200] * 3
    assert len({reply.text for reply in replies}) == 1  # the feedback is of what is kept
    with Store(folder / ANSWERS, read_only=True) as store:
        (answer,) = store.answers()
    assert answer.chosen == answer.shown[1]
    assert browser.get("/api/next").json()["number"] == 1


def test_a_reload_voids_what_has_its_time_and_repeats_the_rest(browser: TestClient, folder: Path):
    browser.post("/api/person", json={})
    reloaded: set[int] = set()
    for trial in go_through(browser):
        if trial["number"] in reloaded:
            assert trial["protocol"] in ("single", "preference")
            continue
        reloaded.add(trial["number"])
        again = browser.get("/api/next").json()
        if trial["protocol"] in ("pair", "timed"):
            assert again["state"] == "done" or again["number"] == trial["number"] + 1
            late = browser.post("/api/answer", json=said(trial))
            assert late.status_code == 409
            assert "is not open" in late.json()["detail"]
            break
        assert again == trial
    browser.get("/api/next")
    voids = [row for row in trials_of(folder) if row[3] == "void"]
    assert [row[:2] for row in voids] == [(0, "pair")]


def test_after_a_reload_nobody_knows_how_long_it_took(browser: TestClient, folder: Path):
    browser.post("/api/person", json={})
    for trial in go_through(browser):
        if trial["protocol"] in ("single", "preference") and trial["number"] % 2:
            assert browser.get("/api/next").json() == trial
            browser.post("/api/begun", json={"number": trial["number"]})
    with Store(folder / ANSWERS, read_only=True) as store:
        answers = store.answers()
    assert len(answers) == 15
    for answer in answers:
        again = answer.protocol in ("single", "preference") and answer.number % 2
        assert answer.reaction_ms == (None if again else 250)


def test_a_full_disk_is_said_and_nothing_is_half_written(browser: TestClient, folder: Path):
    browser.post("/api/person", json={})
    trial = browser.get("/api/next").json()
    browser.post("/api/begun", json={"number": 0})
    with contextlib.closing(sqlite3.connect(folder / ANSWERS, isolation_level=None)) as db:
        full = "CREATE TRIGGER full BEFORE UPDATE ON persons BEGIN SELECT RAISE(ABORT, 'full'); END"
        db.execute(full)
        response = browser.post("/api/answer", json=said(trial))
        assert response.status_code == 503
        assert response.json() == {"detail": "the answer could not be written: full"}
        db.execute("DROP TRIGGER full")
    assert browser.post("/api/answer", json=said(trial)).status_code == 200


def two(item: str) -> list[Trial]:
    return [Trial("pair", "test", item, (REAL, "a")), Trial("pair", "test", "z", ("a", REAL))]


def test_what_others_are_asked_counts_unless_they_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with Store(tmp_path / ANSWERS) as store:
        found: list[Any] = []

        def plan(counts: Any) -> list[Trial]:
            found.append(dict(counts))
            return two(f"{len(found)}")

        first, z = cell("pair", "1", (REAL, "a")), cell("pair", "z", (REAL, "a"))
        person = store.add_person(plan)
        store.begin(person, 0)
        store.answer(person, 0, "a")
        store.add_person(plan)
        assert found[1] == {first: 1, z: 1}
        later = datetime.now(UTC) + timedelta(minutes=31)
        monkeypatch.setattr(store_module, "_now", lambda: later)
        third = store.add_person(plan)
        assert found[2] == {first: 1}  # only what was answered
        store.begin(third, 0)
        open_ = store.next(third)  # a reload
        assert open_ is not None
        assert open_.number == 1
        store.add_person(plan)
        assert found[3] == {first: 1, z: 1}
        assert store.persons()[0].id == person


def test_void_and_finished(tmp_path: Path):
    with Store(tmp_path / ANSWERS) as store:
        person = store.add_person(lambda _: two("y"))
        with pytest.raises(NotOpenError, match="trial 1 is not the one"):
            store.begin(person, 1)
        for number in (0, 1):
            store.begin(person, number)
            store.begin(person, number)  # the reply to the first may have been lost
            store.next(person)
        assert store.next(person) is None
        assert store.answers() == []
        assert store.persons()[0].finished is not None
        assert not store.knows("nobody")


def test_a_report_can_read_while_people_answer(tmp_path: Path):
    path = tmp_path / ANSWERS
    with Store(path) as store, Store(path, read_only=True) as reader:
        person = store.add_person(lambda _: two("y"))
        store.begin(person, 0)
        store.answer(person, 0, "a", reaction_ms=3.0)
        (answer,) = reader.answers()
        assert (answer.chosen, answer.shown, answer.reaction_ms) == ("a", (REAL, "a"), 3.0)
        assert answer.right
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.add_person(lambda _: [])
        store.begin(person, 1)
        store.answer(person, 1, REAL)
        assert [found.right for found in reader.answers()] == [True, False]


def test_what_is_no_store_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="cannot open answers"):
        Store(tmp_path / "none.sqlite", read_only=True)
    assert not (tmp_path / "none.sqlite").exists()
    (tmp_path / "odd").write_bytes(b"no database" * 100)
    for read_only in (True, False):
        with pytest.raises(DataError, match="not a database"):
            Store(tmp_path / "odd", read_only=read_only)
    with pytest.raises(DataError, match="cannot open answers"):
        Store(tmp_path / "no" / "folder")


def test_a_study_that_is_not_whole_is_not_served(folder: Path, tmp_path: Path):
    next((folder / "pictures").iterdir()).unlink()
    with pytest.raises(DataError, match=r"1 pictures of study .* are missing"):
        create_app(folder)
    with pytest.raises(DataError, match="holds no study"):
        create_app(tmp_path)


def test_a_port_in_use_is_said(folder: Path):
    with running(create_app(folder)) as address:
        port = str(urlsplit(address).port)
        result = CliRunner().invoke(command, ["serve", str(folder), "--port", port])
    assert isinstance(result.exception, PhotochromError)
    assert "Address already in use" in str(result.exception)


def test_a_report_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []

    def write_report(*given: Any, **_: Any) -> Path:
        asked.append(given)
        return Path("there/report.html")

    monkeypatch.setattr("photochrom.study.report.write_report", write_report)
    for arguments in ([], ["--out", "there", "--metrics", "metrics.json"]):
        result = CliRunner().invoke(command, ["report", str(folder), *arguments])
        assert result.output == "there/report.html\n"
    assert asked == [(folder, None, None), (folder, Path("there"), Path("metrics.json"))]


class Server:
    """`photochrom study serve` in a process of its own, to be killed."""

    def __init__(self, folder: Path) -> None:
        code = "from photochrom.cli.study import study; study()"
        command = [sys.executable, "-c", code, "serve", str(folder), "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        found = re.search(r":(\d+)/", self.process.stderr.readline())
        assert found is not None
        self.port = int(found[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Browser:
    """Somebody who sends everything again until it is answered, as the page does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Server(folder)
        self.kills = 0
        self.cookie = ""

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", "Cookie": self.cookie}
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
            try:
                connection.request(method, path, json.dumps(body) if body else None, headers)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException):
                self.kills += 1
                self.server.kill()
                self.server = Server(self.folder)
                continue
            finally:
                connection.close()
            self.cookie = response.headers.get("Set-Cookie", self.cookie).split(";")[0]
            return response.status, json.loads(content) if content else None


def test_a_kill_loses_no_answer_and_doubles_none(tmp_path: Path):
    """Kill the server again and again while somebody answers."""
    folder = write_study(tmp_path, protocols=("single",), practice=0, checks=0, trials=16)
    browser = Browser(folder)
    chance = random.Random(0)
    sent: dict[int, str] = {}
    try:
        browser.ask("POST", "/api/person", {"a": 1})
        while (trial := browser.ask("GET", "/api/next")[1])["state"] == "trial":
            number = trial["number"]
            assert browser.ask("POST", "/api/begun", {"number": number})[0] == 204
            answer = said(trial, pick(trial, number % 2))
            killer = None
            if browser.kills < 3 and number % 4 == 1:  # while the answer is on its way
                killer = threading.Timer(chance.uniform(0, 0.006), browser.server.process.kill)
                killer.start()
            status, _ = browser.ask("POST", "/api/answer", answer)
            if killer:
                killer.join()
            assert status == 200
            assert number not in sent
            sent[number] = str(answer["chosen"])
    finally:
        browser.server.kill()
    assert browser.kills >= 2
    assert list(sent) == list(range(16))
    with Store(folder / ANSWERS, read_only=True) as store:
        answers = store.answers()
        assert len(store.persons()) == 1
    assert [answer.number for answer in answers] == list(range(16))
    for answer in answers:
        chosen = sent[answer.number]
        index = answer.shown.index(answer.chosen) if len(answer.shown) == 2 else answer.chosen
        assert chosen == str(index)
    with contextlib.closing(sqlite3.connect(folder / ANSWERS)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
