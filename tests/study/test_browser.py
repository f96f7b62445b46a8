"""The page of a study in a browser."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi")

from photochrom.study.answers import Response
from photochrom.study.app import create_app
from photochrom.study.design import RESPONSE_FILE, Protocol
from photochrom.study.store import Store
from support.browser import launch_browser, needs_browser
from support.server import run_server
from support.studies import write_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

pytestmark = needs_browser


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    with launch_browser() as chromium:
        yield chromium


@contextlib.contextmanager
def study(folder: Path, *protocols: Protocol, **options: Any) -> Iterator[str]:
    """Create a study in `folder/study` and serve it."""
    options = {"practice": 1, "checks": 1, "seconds": 0.1} | options
    with run_server(create_app(write_study(folder, protocols=protocols, **options))) as address:
        yield address


@contextlib.contextmanager
def new_page(
    chromium: "Browser", expected: str = "ERR_INTERNET_DISCONNECTED", **options: Any
) -> "Iterator[tuple[BrowserContext, Page]]":
    """Open a page without cookies; unexpected messages on its console are errors."""
    messages: list[str] = []
    context = chromium.new_context(**options)
    context.on("weberror", lambda error: messages.append(str(error.error)))
    context.on("console", lambda message: messages.append(message.text))
    try:
        yield context, context.new_page()
    finally:
        context.close()
    assert [text for text in messages if expected not in text] == []


def responses_in(folder: Path) -> list[Response]:
    with Store(folder / "study" / RESPONSE_FILE, read_only=True) as store:
        return store.read()[1]


def wait_for(condition: Callable[[], Any]) -> Any:
    """Wait until a condition is true; the page's content security policy forbids eval."""
    deadline = time.monotonic() + 30  # CI machines are slow
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def visible_section(page: "Page") -> str:
    """Return the visible section; in a trial `question`, `feedback` or nothing yet."""
    return str(
        page.evaluate(
            """() => {
                const sections = [...document.querySelectorAll("main > section")];
                const shown = sections.find((section) => !section.hidden);
                if (shown?.id !== "trial") return shown?.id ?? "";
                if (!document.getElementById("feedback").hidden) return "feedback";
                const visible = document.getElementById("question").classList.contains("visible");
                return visible && !document.getElementById("choice-0").disabled ? "question" : "";
            }"""
        )
    )


def agree(page: "Page", address: str) -> None:
    """Open the page and give consent, by keyboard."""
    page.goto(address)
    wait_for(lambda: visible_section(page) == "consent")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for(lambda: visible_section(page) == "color-vision")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    wait_for(lambda: visible_section(page) == "instructions")


def continue_to(page: "Page", *wanted: str) -> str:
    """Continue by keyboard until one of some sections is visible."""

    def at() -> str:
        where = visible_section(page)
        if where in wanted:
            return where
        if where in ("instructions", "feedback"):
            page.keyboard.press("Enter")
        return ""

    return str(wait_for(at))


def count(page: "Page") -> str:
    return page.inner_text("#count")


def test_study_can_be_completed_by_keyboard(tmp_path: Path, chromium: "Browser"):
    keys = ["1", "ArrowRight", "2", "ArrowLeft"]
    progress, questions = [], set()
    with (
        study(tmp_path, "pair", "single", "timed") as address,
        new_page(chromium) as (context, page),
    ):
        agree(page, address)
        while continue_to(page, "question", "thanks") == "question":
            before = count(page)
            progress.append(before)
            *names, last = page.get_by_role("button").all_inner_texts()
            assert names in (["Image 1", "Image 2"], ["Real", "Generated"])
            assert last == "Withdraw"
            pictures = page.get_by_role("img").all()
            question = page.inner_text("#question-text")
            still = question in ("Is this photo real or generated?", "Which one looks better?")
            assert len(pictures) == still * (1 + ("better" in question))
            assert [p.get_attribute("alt") for p in pictures] == ["Image 1", "Image 2"][
                : len(pictures)
            ]
            questions.add(question)
            page.keyboard.press(keys[len(progress) % 4])
            wait_for(
                lambda before=before: visible_section(page) != "question" or count(page) != before
            )
        assert page.get_by_role("heading").inner_text() == "Thank you"
        (cookie,) = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        page.reload()
        wait_for(lambda: visible_section(page) == "thanks")
    assert progress == [f"{number} of 12" for number in range(1, 13)]
    assert len(questions) == 4
    responses = responses_in(tmp_path)
    assert [response.number for response in responses] == list(range(12))
    too_long: dict[str, list[float]] = {"timed": [], "pair": []}  # exposures, in ms
    for number, response in enumerate(responses):
        index = (0, 1, 1, 0)[(number + 1) % 4]
        if len(response.shown) == 2:
            assert response.chosen == response.shown[index]
        else:
            assert response.chosen == ("real", "generated")[index]
        assert response.reaction_ms is not None
        assert 0 < response.reaction_ms < 10_000
        assert response.since_onset_ms is not None
        delay = response.since_onset_ms - response.reaction_ms
        if response.protocol == "timed":
            assert response.exposure_ms is not None
            assert response.asked_ms is not None
            too_long["timed"].append(response.exposure_ms - response.asked_ms)
            assert delay > response.exposure_ms
        elif response.protocol == "pair":
            for exposure in (response.exposure_ms, response.second_exposure_ms):
                assert exposure is not None
                too_long["pair"].append(exposure - 100)
            assert delay > (response.second_exposure_ms or 0)
        else:
            assert response.exposure_ms is response.second_exposure_ms is None
            assert delay == pytest.approx(0, abs=1e-3)
        assert response.color_vision == "normal"
        size = (response.viewport_width, response.viewport_height, response.pixel_ratio)
        assert size == (1280, 720, 1)
        assert response.image_width == 60
    for differences in too_long.values():  # to the nearest frame; longer if the computer is busy
        assert min(differences) > -17
        assert min(differences) < 200


def test_practice_trials_give_feedback(tmp_path: Path, chromium: "Browser"):
    with (
        study(tmp_path, "single", practice=2, checks=0) as address,
        new_page(chromium) as (_, page),
    ):
        agree(page, address)
        assert "practice trials" in page.inner_text("#instructions")
        for _ in range(2):
            continue_to(page, "question")
            page.click("#choice-1")
            continue_to(page, "feedback")
            response = responses_in(tmp_path)[-1]
            feedback = (
                "Right. This photo is generated."
                if response.correct
                else ("Wrong. This photo is real.")
            )
            assert page.inner_text("#feedback-text") == feedback
            page.keyboard.press("Enter")
        wait_for(lambda: visible_section(page) == "instructions")
        assert "The practice is over" in page.inner_text("#instructions")
        continue_to(page, "question")
        page.click("#choice-0")
        wait_for(lambda: visible_section(page) == "question" and count(page) == "4 of 10")
    assert [response.kind for response in responses_in(tmp_path)] == ["practice"] * 2 + ["test"]


def start_pair(page: "Page", script: str) -> None:
    """Start a pair, and run a script while its first image is shown, however slow the computer."""
    page.evaluate(
        f"""() => new MutationObserver((_, observer) => {{
            if (!document.querySelector("figure.visible")) return;
            observer.disconnect();
            {script}
        }}).observe(document.getElementById("stage"), {{ subtree: true, attributes: true }})"""
    )
    page.keyboard.press("Enter")


def open_dialog(page: "Page") -> None:
    page.click("section:not([hidden]) .withdraw")
    wait_for(lambda: page.get_by_role("dialog").is_visible())


def test_participant_withdraws_during_a_trial(tmp_path: Path, chromium: "Browser"):
    with (
        study(tmp_path, "single", practice=0, checks=0, trials=8) as address,
        new_page(chromium) as (context, page),
    ):
        agree(page, address)
        continue_to(page, "question")
        page.keyboard.press("1")
        wait_for(lambda: visible_section(page) == "question" and count(page) == "2 of 8")
        open_dialog(page)
        page.keyboard.press("1")  # no response while the dialog is open
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Escape")
        wait_for(lambda: not page.get_by_role("dialog").is_visible())
        assert len(responses_in(tmp_path)) == 1
        page.keyboard.press("2")
        wait_for(lambda: visible_section(page) == "question" and count(page) == "3 of 8")
        first, second = responses_in(tmp_path)
        assert first.reaction_ms is not None
        assert second.reaction_ms is second.since_onset_ms is None  # it includes the dialog
        open_dialog(page)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/withdrawn")
        assert page.get_by_role("heading").inner_text() == "You have withdrawn"
        assert context.cookies() == []
        assert responses_in(tmp_path) == []
        page.goto(address)
        wait_for(lambda: visible_section(page) == "consent")


def test_dialog_during_an_exposure_voids_the_trial(tmp_path: Path, chromium: "Browser"):
    with (
        study(tmp_path, "pair", practice=0, checks=0, trials=2, seconds=0.5) as address,
        new_page(chromium) as (_, page),
    ):
        agree(page, address)
        start_pair(page, "document.querySelector('#trial .withdraw').click();")
        wait_for(lambda: page.get_by_role("dialog").is_visible())
        time.sleep(2)  # the exposures are over
        assert visible_section(page) == ""
        assert count(page) == "1 of 2"
        page.get_by_role("button", name="Keep my responses").click()
        continue_to(page, "question")
        assert count(page) == "2 of 2"


def test_participant_withdraws_at_the_end(tmp_path: Path, chromium: "Browser"):
    with (
        study(tmp_path, "single", practice=0, checks=0, trials=2) as address,
        new_page(chromium) as (context, page),
    ):
        agree(page, address)
        for number in (1, 2):
            continue_to(page, "question")
            wait_for(lambda number=number: count(page) == f"{number} of 2")
            page.keyboard.press("1")
        continue_to(page, "thanks")
        assert re.fullmatch("[0-9A-Z]{4}-[0-9A-Z]{4}", page.inner_text("#code"))
        context.set_offline(True)
        open_dialog(page)
        page.get_by_role("button", name="Delete my responses").click()
        wait_for(lambda: "There is no connection." in page.get_by_role("status").inner_text())
        page.keyboard.press("Escape")
        assert page.get_by_role("dialog").is_visible()
        context.set_offline(False)
        page.wait_for_url("**/withdrawn")
    assert responses_in(tmp_path) == []


def test_reload_voids_a_pair_and_repeats_a_single_image(tmp_path: Path, chromium: "Browser"):
    options = {"practice": 0, "checks": 0, "trials": 3, "seconds": 1.0}
    with (
        study(tmp_path, "pair", "single", **options) as address,
        new_page(chromium) as (_, page),
    ):
        agree(page, address)
        page.keyboard.press("Enter")
        page.wait_for_selector("figure.visible")  # the first of two is on the screen
        page.reload()
        continue_to(page, "question")
        assert page.inner_text("#question-text") == "Is this photo real or generated?"
        assert count(page) == "2 of 3"
        pictures = page.evaluate("fetch('/api/next').then((r) => r.json())")["pictures"]
        page.reload()
        continue_to(page, "question")
        assert count(page) == "2 of 3"
        page.keyboard.press("1")
        continue_to(page, "question")
        wait_for(lambda: count(page) == "3 of 3")
        page.keyboard.press("1")
        continue_to(page, "thanks")
    single, preference = responses_in(tmp_path)
    assert len(pictures) == 1
    assert (single.number, single.reaction_ms) == (1, None)
    assert (preference.protocol, preference.number) == ("preference", 2)
    assert preference.reaction_ms is not None


def test_hidden_page_voids_a_pair(tmp_path: Path, chromium: "Browser"):
    with (
        study(tmp_path, "pair", practice=0, checks=0, trials=2, seconds=0.5) as address,
        new_page(chromium) as (_, page),
    ):
        agree(page, address)
        start_pair(
            page,
            """
            Object.defineProperty(document, "hidden", { configurable: true, value: true });
            document.dispatchEvent(new Event("visibilitychange"));
            delete document.hidden;
            """,
        )
        continue_to(page, "question")
        assert count(page) == "2 of 2"


DIALOG = """
    document.querySelector("#instructions .withdraw").click();
"""
HIDDEN = """
    Object.defineProperty(document, "hidden", { configurable: true, value: true });
    document.dispatchEvent(new Event("visibilitychange"));
"""


@pytest.mark.parametrize(
    ("cover", "uncover"),
    [
        (DIALOG, "document.querySelector('#withdraw-dialog button[value=keep]').click();"),
        (
            HIDDEN,
            "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'));",
        ),
    ],
    ids=["dialog", "hidden"],
)
def test_trial_begins_once_it_can_be_seen(
    tmp_path: Path, chromium: "Browser", cover: str, uncover: str
):
    with (
        study(tmp_path, "pair", practice=0, checks=0, trials=2) as address,
        new_page(chromium) as (_, page),
    ):
        agree(page, address)
        begun: list[str] = []
        page.on("request", lambda request: begun.extend(re.findall("/api/begun", request.url)))
        page.evaluate(f"() => {{ {cover} document.getElementById('start').click(); }}")
        page.wait_for_timeout(500)
        assert begun == []
        page.evaluate(f"() => {{ {uncover} }}")
        continue_to(page, "question")
        assert count(page) == "1 of 2"


def test_dialog_while_a_trial_begins_does_not_void_it(tmp_path: Path, chromium: "Browser"):
    with (
        study(tmp_path, "pair", practice=0, checks=0, trials=2) as address,
        new_page(chromium) as (_, page),
    ):
        agree(page, address)
        requests: list[Route] = []
        page.route("**/api/begun", lambda route: requests.append(route))
        page.keyboard.press("Enter")
        while not requests:
            page.wait_for_timeout(20)
        open_dialog(page)
        requests[0].continue_()
        page.wait_for_timeout(500)
        page.keyboard.press("Escape")
        continue_to(page, "question")
        assert count(page) == "1 of 2"


def test_response_is_sent_after_a_lost_connection(tmp_path: Path, chromium: "Browser"):
    options = {"practice": 0, "checks": 0, "trials": 4}
    with (
        study(tmp_path, "single", **options) as address,
        new_page(chromium) as (context, page),
    ):
        agree(page, address)
        continue_to(page, "question")
        context.set_offline(True)
        page.keyboard.press("2")
        note = page.get_by_role("status")
        wait_for(
            lambda: (
                "There is no connection. Your response is stored in this browser."
                in note.inner_text()
            )
        )
        assert responses_in(tmp_path) == []
        page.keyboard.press("1")  # there is a response already
        context.set_offline(False)
        wait_for(lambda: visible_section(page) == "question" and count(page) == "2 of 4")
        assert note.inner_text() == ""
        assert [response.chosen for response in responses_in(tmp_path)] == ["generated"]
        # The page is closed while the connection is interrupted again.
        context.set_offline(True)
        page.keyboard.press("2")
        wait_for(lambda: "is stored" in note.inner_text())
        page.close()
        context.set_offline(False)
        page = context.new_page()
        page.goto(address)
        continue_to(page, "question")
        assert count(page) == "3 of 4"
    assert [response.number for response in responses_in(tmp_path)] == [0, 1]


def test_double_click_sends_one_response(tmp_path: Path, chromium: "Browser"):
    with (
        study(tmp_path, "single", practice=0, checks=0, trials=4) as address,
        new_page(chromium) as (_, page),
    ):
        agree(page, address)
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url.removeprefix(address)))
        continue_to(page, "question")
        page.evaluate(
            "() => { for (const n of [1, 0, 1]) document.getElementById(`choice-${n}`).click(); }"
        )
        wait_for(lambda: visible_section(page) == "question" and count(page) == "2 of 4")
        assert sent.count("/api/answer") == 1
    (response,) = responses_in(tmp_path)
    assert response.chosen == "generated"


def test_two_browsers_and_a_stored_response_of_another_participant(
    tmp_path: Path, chromium: "Browser"
):
    with (
        study(tmp_path, "single", practice=0, checks=0, trials=4) as address,
        new_page(chromium, "409 (Conflict)") as (first, one),
        new_page(chromium, color_scheme="dark", reduced_motion="reduce") as (second, two),
    ):
        for page in (one, two):
            agree(page, address)
            continue_to(page, "question")
        ids = {context.cookies()[0]["value"] for context in (first, second)}
        assert len(ids) == 2
        for page in (one, two):
            page.keyboard.press("1")
        for page in (one, two):
            wait_for(lambda page=page: count(page) == "2 of 4")
        # Another participant gives consent in the first browser, which still stores a response.
        first.clear_cookies()
        stored = '{"number": 0, "pictures": ["0123456789abcdef"], "chosen": "real"}'
        one.evaluate("(stored) => localStorage.setItem('photochrom-study-answer', stored)", stored)
        agree(one, address)
        continue_to(one, "question")
        assert count(one) == "1 of 4"
        one.evaluate("(stored) => localStorage.setItem('photochrom-study-answer', stored)", stored)
        one.reload()
        continue_to(one, "question")
        assert count(one) == "1 of 4"
        assert one.evaluate("localStorage.length") == 0
    assert {response.person for response in responses_in(tmp_path)} == ids


def test_reduced_motion_on_a_phone(tmp_path: Path, chromium: "Browser"):
    """On a small screen with reduced motion, nothing is cut off and one mask is shown."""
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with (
        study(tmp_path, "timed", practice=0, checks=0, trials=2) as address,
        new_page(chromium, reduced_motion="reduce", **phone) as (_, page),
    ):
        page.goto(address)
        page.tap("#agree")
        page.get_by_label("Prefer not to say").tap()
        page.tap("#color-vision-form button")
        page.tap("#start")
        assert continue_to(page, "question") == "question"
        assert page.locator("#stage canvas").count() == 1
        page.tap("#choice-1")
        page.tap("#start")
        continue_to(page, "question")
        assert page.inner_text("#question-text") == "Which one looks better?"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        boxes = [page.locator(f"#choice-{n}").bounding_box() for n in (0, 1)]
        for box in boxes:
            assert box is not None
            assert box["height"] >= 44
            assert box["y"] + box["height"] <= 844
        page.tap("#choice-0")
        continue_to(page, "thanks")
    responses = responses_in(tmp_path)
    assert len(responses) == 2
    assert {response.color_vision for response in responses} == {"undisclosed"}
    assert {response.viewport_width for response in responses} == {390}
