"""The page's HTML: on the server, and as a static site."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from photochrom.colorize.options import OPTIONS
from photochrom.web.models import Model
from photochrom.web.texts import Texts, languages

STATIC = Path(__file__).with_name("static")
TEMPLATES = Path(__file__).with_name("templates")
STYLES = ("page", "grid", "panel", "viewer", "crop", "hints", "palette")
"""CSS files of the page in static/."""
_SAMPLES = ("astronaut", "chelsea", "rocket")
"""JPEG files in static/samples."""


def create_environment() -> Environment:
    """Return the environment with the templates."""
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)


def render_page(
    environment: Environment,
    texts: Texts,
    *,
    models: Sequence[Model],
    max_bytes: int,
    static: Callable[[str], str],
    site: dict[str, Any] | None = None,
) -> str:
    """Return the HTML of the page.

    Args:
        environment: As of `create_environment`.
        texts: Of its language.
        models: The models that can be chosen, the default first.
        max_bytes: Of one photo.
        static: Returns the relative URL of a file in static/.
        site: What only the static site has; None: the page of the server.
    """
    return environment.get_template("page.html").render(
        t=texts,
        languages=languages(),
        options=OPTIONS,
        models=models,
        samples=_SAMPLES,
        styles=STYLES,
        max_bytes=max_bytes,
        static=static,
        site=site,
    )
