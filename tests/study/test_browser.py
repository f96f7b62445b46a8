"""A study in a browser, as people see it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi")

from photochrom.study.answers import Answer
from photochrom.study.app import create_app
from photochrom.study.design import ANSWERS, Protocol
from photochrom.study.store import Store
from support.browser import browser, needs_browser
from support.server import running
from support.studies import write_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = needs_browser


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    with browser() as chromium:
        yield chromium


@contextlib.contextmanager
def study(folder: Path, *protocols: Protocol, **options: Any) -> Iterator[str]:
    """Make a study in `folder/study` and serve it."""
    options = {"practice": 1, "checks": 1, "seconds": 0.1} | options
    with running(create_app(write_study(folder, protocols=protocols, **options))) as address:
        yield address


@contextlib.contextmanager
def visitor(
    chromium: "Browser", expected: str = "ERR_INTERNET_DISCONNECTED", **options: Any
) -> "Iterator[tuple[BrowserContext, Page]]":
    """Open a browser without a past; what goes wrong on its pages, unexpected, is an error."""
    wrong: list[str] = []
    context = chromium.new_context(**options)
    context.set_default_timeout(10_000)
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on("console", lambda said: wrong.append(said.text))
    try:
        yield context, context.new_page()
    finally:
        context.close()
    assert [text for text in wrong if expected not in text] == []


def answers_in(folder: Path) -> list[Answer]:
    with Store(folder / "study" / ANSWERS, read_only=True) as store:
        return store.answers()


def wait_for(what: Callable[[], Any]) -> Any:
    """Wait till something is true; the page's own eval is forbidden by its policy."""
    deadline = time.monotonic() + 10
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def place(page: "Page") -> str:
    """Return what a person can do now: a section, `question` or `feedback`; or nothing yet."""
    return str(
        page.evaluate(
            """() => {
                const sections = [...document.querySelectorAll("main > section")];
                const shown = sections.find((section) => !section.hidden);
                if (shown?.id !== "trial") return shown?.id ?? "";
                if (!document.getElementById("feedback").hidden) return "feedback";
                const asked = document.getElementById("question").classList.contains("seen");
                return asked && !document.getElementById("choice-0").disabled ? "question" : "";
            }"""
        )
    )


def agree(page: "Page", address: str) -> None:
    """Open the page and agree, by keyboard."""
    page.goto(address)
    wait_for(lambda: place(page) == "consent")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for(lambda: place(page) == "brief")


def come_to(page: "Page", *wanted: str) -> str:
    """Go on by keyboard till one of some places is reached."""

    def at() -> str:
        where = place(page)
        if where in wanted:
            return where
        if where in ("brief", "feedback"):
            page.keyboard.press("Enter")
        return ""

    return str(wait_for(at))


def count(page: "Page") -> str:
    return page.inner_text("#count")


def test_a_whole_study_by_keyboard(tmp_path: Path, chromium: "Browser"):
    keys = ["1", "ArrowRight", "2", "ArrowLeft"]
    progress, seen = [], set()
    with (
        study(tmp_path, "pair", "single", "timed") as address,
        visitor(chromium) as (context, page),
    ):
        agree(page, address)
        while come_to(page, "question", "thanks") == "question":
            before = count(page)
            progress.append(before)
            names = page.get_by_role("button").all_inner_texts()
            assert names in (["Picture 1", "Picture 2"], ["Real", "Generated"])
            pictures = page.get_by_role("img").all()
            question = page.inner_text("#asked")
            still = question in ("Is this photo real or generated?", "Which one looks better?")
            assert len(pictures) == still * (1 + ("better" in question))
            assert [p.get_attribute("alt") for p in pictures] == ["Picture 1", "Picture 2"][
                : len(pictures)
            ]
            seen.add(question)
            page.keyboard.press(keys[len(progress) % 4])
            wait_for(lambda before=before: place(page) != "question" or count(page) != before)
        assert page.get_by_role("heading").inner_text() == "Thank you"
        (cookie,) = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        page.reload()
        wait_for(lambda: place(page) == "thanks")
    assert progress == [f"{number} of 12" for number in range(1, 13)]
    assert len(seen) == 4
    answers = answers_in(tmp_path)
    assert [answer.number for answer in answers] == list(range(12))
    for number, answer in enumerate(answers):
        index = (0, 1, 1, 0)[(number + 1) % 4]
        if len(answer.shown) == 2:
            assert answer.chosen == answer.shown[index]
        else:
            assert answer.chosen == ("real", "generated")[index]
        assert answer.reaction_ms is not None
        assert 0 < answer.reaction_ms < 10_000
        if answer.protocol == "timed":  # to the nearest frame, or somewhat longer if it is busy
            assert answer.exposure_ms is not None
            assert answer.asked_ms is not None
            assert -17 < answer.exposure_ms - answer.asked_ms < 200


def test_practice_says_what_was_right(tmp_path: Path, chromium: "Browser"):
    with (
        study(tmp_path, "single", practice=2, checks=0) as address,
        visitor(chromium) as (_, page),
    ):
        agree(page, address)
        assert "some practice" in page.inner_text("#brief")
        for _ in range(2):
            come_to(page, "question")
            page.click("#choice-1")
            come_to(page, "feedback")
            answer = answers_in(tmp_path)[-1]
            verdict = (
                "Right. This photo is generated."
                if answer.right
                else ("Wrong. This photo is real.")
            )
            assert page.inner_text("#verdict") == verdict
            page.keyboard.press("Enter")
        wait_for(lambda: place(page) == "brief")
        assert "The practice is over" in page.inner_text("#brief")
        come_to(page, "question")
        page.click("#choice-0")
        wait_for(lambda: place(page) == "question" and count(page) == "4 of 10")
    assert [answer.kind for answer in answers_in(tmp_path)] == ["practice"] * 2 + ["test"]


def test_a_reload_in_the_middle(tmp_path: Path, chromium: "Browser"):
    options = {"practice": 0, "checks": 0, "trials": 3, "seconds": 1.0}
    with (
        study(tmp_path, "pair", "single", **options) as address,
        visitor(chromium) as (_, page),
    ):
        agree(page, address)
        page.keyboard.press("Enter")
        page.wait_for_selector("figure.seen")  # the first of two is on the screen
        page.reload()
        come_to(page, "question")
        assert page.inner_text("#asked") == "Is this photo real or generated?"
        assert count(page) == "2 of 3"
        pictures = page.evaluate("fetch('/api/next').then((r) => r.json())")["pictures"]
        page.reload()
        come_to(page, "question")
        assert count(page) == "2 of 3"
        page.keyboard.press("1")
        come_to(page, "question")
        wait_for(lambda: count(page) == "3 of 3")
        page.keyboard.press("1")
        come_to(page, "thanks")
    single, preference = answers_in(tmp_path)
    assert len(pictures) == 1
    assert (single.number, single.reaction_ms) == (1, None)
    assert (preference.protocol, preference.number) == ("preference", 2)
    assert preference.reaction_ms is not None


def test_out_of_sight_is_not_seen(tmp_path: Path, chromium: "Browser"):
    with (
        study(tmp_path, "pair", practice=0, checks=0, trials=2, seconds=0.5) as address,
        visitor(chromium) as (_, page),
    ):
        agree(page, address)
        page.keyboard.press("Enter")
        page.wait_for_selector("figure.seen")
        page.evaluate(
            """() => {
                Object.defineProperty(document, "hidden", { configurable: true, value: true });
                document.dispatchEvent(new Event("visibilitychange"));
                delete document.hidden;
            }"""
        )
        come_to(page, "question")
        assert count(page) == "2 of 2"


def test_a_connection_that_is_cut(tmp_path: Path, chromium: "Browser"):
    options = {"practice": 0, "checks": 0, "trials": 4}
    with (
        study(tmp_path, "single", **options) as address,
        visitor(chromium) as (context, page),
    ):
        agree(page, address)
        come_to(page, "question")
        context.set_offline(True)
        page.keyboard.press("2")
        note = page.get_by_role("status")
        wait_for(lambda: "There is no connection. Your answer is kept here." in note.inner_text())
        assert answers_in(tmp_path) == []
        page.keyboard.press("1")  # it is answered already
        context.set_offline(False)
        wait_for(lambda: place(page) == "question" and count(page) == "2 of 4")
        assert note.inner_text() == ""
        assert [answer.chosen for answer in answers_in(tmp_path)] == ["generated"]
        # Cut off again, and the page is closed before the connection is back.
        context.set_offline(True)
        page.keyboard.press("2")
        wait_for(lambda: "kept here" in note.inner_text())
        page.close()
        context.set_offline(False)
        page = context.new_page()
        page.goto(address)
        come_to(page, "question")
        assert count(page) == "3 of 4"
    assert [answer.number for answer in answers_in(tmp_path)] == [0, 1]


def test_a_double_click_counts_once(tmp_path: Path, chromium: "Browser"):
    with (
        study(tmp_path, "single", practice=0, checks=0, trials=4) as address,
        visitor(chromium) as (_, page),
    ):
        agree(page, address)
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url.removeprefix(address)))
        come_to(page, "question")
        page.evaluate(
            "() => { for (const n of [1, 0, 1]) document.getElementById(`choice-${n}`).click(); }"
        )
        wait_for(lambda: place(page) == "question" and count(page) == "2 of 4")
        assert sent.count("/api/answer") == 1
    (answer,) = answers_in(tmp_path)
    assert answer.chosen == "generated"


def test_two_browsers_at_once_and_a_kept_answer_of_somebody_else(
    tmp_path: Path, chromium: "Browser"
):
    with (
        study(tmp_path, "single", practice=0, checks=0, trials=4) as address,
        visitor(chromium, "409 (Conflict)") as (first, one),
        visitor(chromium, color_scheme="dark", reduced_motion="reduce") as (second, two),
    ):
        for page in (one, two):
            agree(page, address)
            come_to(page, "question")
        ids = {context.cookies()[0]["value"] for context in (first, second)}
        assert len(ids) == 2
        for page in (one, two):
            page.keyboard.press("1")
        for page in (one, two):
            wait_for(lambda page=page: count(page) == "2 of 4")
        # Somebody else agrees in the first browser, which still has an answer to the first trial.
        first.clear_cookies()
        kept = '{"number": 0, "pictures": ["0123456789abcdef"], "chosen": "real"}'
        one.evaluate("(kept) => localStorage.setItem('photochrom-study-answer', kept)", kept)
        agree(one, address)
        come_to(one, "question")
        assert count(one) == "1 of 4"
        one.evaluate("(kept) => localStorage.setItem('photochrom-study-answer', kept)", kept)
        one.reload()
        come_to(one, "question")
        assert count(one) == "1 of 4"
        assert one.evaluate("localStorage.length") == 0
    assert {answer.person for answer in answers_in(tmp_path)} == ids


def test_calm_masks_and_phones(tmp_path: Path, chromium: "Browser"):
    """On a small screen that wants less motion, nothing is cut off and one mask is shown."""
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with (
        study(tmp_path, "timed", practice=0, checks=0, trials=2) as address,
        visitor(chromium, reduced_motion="reduce", **phone) as (_, page),
    ):
        page.goto(address)
        page.tap("#agree")
        page.tap("#start")
        assert come_to(page, "question") == "question"
        assert page.locator("#stage canvas").count() == 1
        page.tap("#choice-1")
        page.tap("#start")
        come_to(page, "question")
        assert page.inner_text("#asked") == "Which one looks better?"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        boxes = [page.locator(f"#choice-{n}").bounding_box() for n in (0, 1)]
        for box in boxes:
            assert box is not None
            assert box["height"] >= 44
            assert box["y"] + box["height"] <= 844
        page.tap("#choice-0")
        come_to(page, "thanks")
    assert len(answers_in(tmp_path)) == 2
