"""The page's texts in all languages."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from photochrom.web.template import STATIC, TEMPLATES
from photochrom.web.texts import FOLDER, Texts, languages, preferred_language

CALL = re.compile(r"\bt\(\s*((?:[^()]|\([^()]*\))*?)\s*(?:,|\))")
"""The first argument of a call of t()."""
STRING = re.compile(r'"([^"]*)"|`([^`]*)`')
PLURAL = re.compile(r"\.(zero|one|two|few|many|other)$")


SITE = Path(__file__).parents[2] / "site/src"
"""The scripts of the static site, with texts of their own."""


def find_used_keys(paths: Iterable[Path]) -> dict[str, str]:
    """Return a regular expression for each key that is used, and the file that uses it."""
    used = {}
    for path in paths:
        for argument in CALL.findall(path.read_text()):
            choices = re.split(r"(?<!\?)\?(?![?.])", argument)[-1]  # condition ? "a" : "b"
            texts = [double or template for double, template in STRING.findall(choices)]
            if path.suffix == ".html" and "~" in argument:
                parts = re.split(r"\s*~\s*", argument)
                texts = ["".join(p.strip('"') if p[0] == '"' else "${}" for p in parts)]
            for text in texts:
                key = ".+".join(re.escape(part) for part in re.split(r"\$\{[^}]*\}", text))
                used[key] = path.name
    return used


@pytest.fixture(params=sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def texts(request: pytest.FixtureRequest) -> dict[str, str]:
    """The texts of each language in turn."""
    path: Path = request.param
    read: dict[str, str] = json.loads(path.read_text("utf-8"))
    assert list(read) == sorted(read)
    return read


@pytest.mark.parametrize("site", [False, True], ids=["server", "site"])
def test_every_used_text_exists(texts: dict[str, str], site: bool):
    names = {PLURAL.sub("", key.removeprefix("site.") if site else key) for key in texts}
    page = TEMPLATES / "page.html"
    used = find_used_keys([*STATIC.glob("*.js"), *([*SITE.rglob("*.ts"), page] if site else [])])
    assert len(used) > 40
    missing = {
        key: file for key, file in used.items() if not any(map(re.compile(key).fullmatch, names))
    }
    assert missing == {}


def test_every_text_is_used(texts: dict[str, str]):
    paths = [*STATIC.glob("*.js"), *SITE.rglob("*.ts"), TEMPLATES / "page.html"]
    used = [re.compile(key) for key in find_used_keys(paths)]
    names = {PLURAL.sub("", key.removeprefix("site.")) for key in texts}
    names -= {"language.name"}  # in the menu
    assert {name for name in names if not any(key.fullmatch(name) for key in used)} == set()


def test_texts_have_the_same_values_in_all_languages(texts: dict[str, str]):
    english = json.loads((FOLDER / "en.json").read_text("utf-8"))
    values = re.compile(r"\{\w+\}")
    for key, text in texts.items():
        original = english.get(key) or english[PLURAL.sub(".other", key)]
        assert set(values.findall(text)) == set(values.findall(original)), key
        assert text.strip() == text != "", key


def test_german_sentence_begins_with_sie_for_the_user_only():
    german = json.loads((FOLDER / "de.json").read_text("utf-8"))
    verbs = {key: re.findall(r"(?:^|[.:!?] )Sie (\w+)", text) for key, text in german.items()}
    # Elsewhere it is read as "you" where photos or colours are meant.
    assert {key: found for key, found in verbs.items() if set(found) - {"können"}} == {}


def test_text_of_the_site_replaces_that_of_the_server():
    server, site = (Texts("en", site=is_site).all for is_site in (False, True))
    assert not [key for key in (*server, *site) if key.startswith("site.")]
    assert server["status.uploaded"] == "Uploading"
    assert site["status.uploaded"] == "Opening"
    assert site["viewer.after"] == server["viewer.after"]


def test_site_does_not_speak_of_a_server(texts: dict[str, str], request: pytest.FixtureRequest):
    language = request.node.callspec.params["texts"].stem
    words = re.compile(r"server|\bAPI\b|upload|hochgeladen|hochladen", re.IGNORECASE)
    allowed = {"engine.file", "footer.api"}  # python -m http.server; not on the site
    found = {key for key, text in Texts(language, site=True).all.items() if words.search(text)}
    assert found <= allowed


def test_template_has_no_text_of_its_own():
    html = (TEMPLATES / "page.html").read_text()
    attribute = r' (?:aria-label|alt|title|placeholder)="([^"]*)"'
    html = re.sub(r"{% set \w+ %}.*?{% endset %}|{%.*?%}|{{.*?}}|{#.*?#}", "", html)
    words = re.sub(r"<title>photochrom</title>|<[^>]*>", " ", html).split()
    assert words == ["photochrom"]
    assert [text for text in re.findall(attribute, html) if text] == []


def test_missing_text_is_english(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from photochrom.web import texts

    (tmp_path / "en.json").write_text('{"language.name": "English", "a": "one {b}"}')
    (tmp_path / "xx.json").write_text('{"language.name": "Other"}')
    monkeypatch.setattr(texts, "FOLDER", tmp_path)
    texts._read.cache_clear()
    try:
        assert Texts("xx")("a", b=2) == "one 2"
        assert Texts("xx")("language.name") == "Other"
    finally:
        texts._read.cache_clear()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("fr;q=0.9, de;q=0.5, en;q=0.4", "de"),
        ("de;q=0", "en"),
        ("xx, *;q=0.5, ;q=, de;q=nan1", "en"),
    ],
)
def test_preferred_language(header: str, language: str):
    assert preferred_language(header) == language


def test_page_in_the_browsers_language(web_client: TestClient):
    web_client.cookies.clear()
    for header, title in (("de-CH", "Schwarz-Weiß-Fotos"), ("en", "black-and-white photos")):
        page = web_client.get("/", headers={"Accept-Language": header}).text
        assert f'<html lang="{header[:2]}">' in page
        assert title in page


def test_chosen_language_is_kept(web_client: TestClient):
    web_client.cookies.clear()
    headers = {"Accept-Language": "en"}
    response = web_client.get("/?lang=de", headers=headers, follow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (303, "./")
    assert '<html lang="de">' in web_client.get("/", headers=headers).text
    assert '<html lang="de">' in web_client.get("/?lang=../en", headers=headers).text
    web_client.get("/?lang=en")
    assert '<html lang="en">' in web_client.get("/", headers={"Accept-Language": "de"}).text
    web_client.cookies.clear()


def test_languages_are_named_in_themselves():
    assert languages()["de"] == "Deutsch"
