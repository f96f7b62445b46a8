"""The page's texts: one JSON file in static/texts for each language; docs/web.md describes them."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path

from fastapi import Request
from starlette.responses import Response

from photochrom.server.guard import cookie_path

COOKIE = "photochrom_language"
"""The cookie with the chosen language."""
FOLDER = Path(__file__).with_name("static") / "texts"
FALLBACK = "en"
_SITE = "site."
_YEAR = 365 * 24 * 3600  # s


class Texts:
    """The texts in one language; those that are missing are English."""

    def __init__(self, language: str, *, site: bool = False) -> None:
        """Read a file.

        Args:
            language: A key of `languages()`.
            site: Whether for the static site, where the text of `site.KEY` replaces that of `KEY`.
        """
        self.language = language
        texts = {**_read(FALLBACK), **_read(language)}
        self.all = {key: text for key, text in texts.items() if not key.startswith(_SITE)}
        if site:
            own = {key: text for key, text in texts.items() if key.startswith(_SITE)}
            self.all |= {key.removeprefix(_SITE): text for key, text in own.items()}

    def __call__(self, key: str, **values: object) -> str:
        """Return a text, with `{name}` replaced by each value.

        Raises:
            KeyError: If there is no such text.
        """
        text = self.all[key]
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text


@functools.cache
def languages() -> Mapping[str, str]:
    """Return the name of each language in itself, such as `{"de": "Deutsch"}`, sorted by name."""
    names = {path.stem: _read(path.stem)["language.name"] for path in FOLDER.glob("*.json")}
    return dict(sorted(names.items(), key=lambda item: item[1]))


def choose_language(request: Request) -> str:
    """Return the language that was chosen on the page, or else the browser's preferred one."""
    chosen = request.cookies.get(COOKIE)
    if chosen in languages():
        return str(chosen)
    return preferred_language(request.headers.get("Accept-Language", ""))


def preferred_language(header: str) -> str:
    """Return the language that fits an Accept-Language header best; English if none does."""
    known = {name.lower(): name for name in languages()}
    wanted: list[tuple[float, str]] = []
    for part in header.lower().split(","):
        tag, _, q = part.partition(";q=")
        try:
            wanted.append((float(q or 1), tag.strip()))
        except ValueError:
            continue
    for quality, tag in sorted(wanted, key=lambda item: -item[0]):
        for name in (tag, tag.split("-")[0]):
            if quality > 0 and name in known:
                return known[name]
    return FALLBACK


def store_language(request: Request, response: Response, language: str) -> None:
    """Set the cookie with the chosen language."""
    path = cookie_path(request)
    response.set_cookie(COOKIE, language, max_age=_YEAR, path=path, httponly=True, samesite="lax")


@functools.cache
def _read(language: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads((FOLDER / f"{language}.json").read_text("utf-8"))
    return texts
