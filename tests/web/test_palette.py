"""Choosing a colour for a hint on the page of `photochrom web`."""

from typing import TYPE_CHECKING

from PIL import ImageColor

from support.browser import needs_browser

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = needs_browser

NAMES = {
    "#000000": "black",
    "#ffffff": "white",
    "#808080": "grey",
    "dimgrey": "grey",
    "#404040": "dark grey",
    "firebrick": "red",
    "darkred": "dark red",
    "#722f37": "dark red",
    "pink": "light pink",
    "darkorange": "orange",
    "#8a5a44": "brown",
    "#5c3a21": "dark brown",
    "#e0ac69": "light brown",
    "#ffdbac": "beige",
    "gold": "yellow",
    "olive": "olive",
    "yellowgreen": "yellow-green",
    "darkgreen": "dark green",
    "teal": "turquoise",
    "navy": "dark blue",
    "skyblue": "light blue",
    "lightsteelblue": "pale blue",
    "slategray": "greyish blue",
    "rebeccapurple": "purple",
    "purple": "purple",
    "fuchsia": "magenta",
    "#B22": "red",
    "neutral": "grey",
    "original": "the photo's own colour",
}
"""What people call them."""


def test_colours_have_names(page: "Page"):
    values = list(NAMES)
    names = page.evaluate(
        """async (colors) => {
            const { colorName } = await import("/static/colors.js");
            return colors.map(colorName);
        }""",
        values,
    )
    assert dict(zip(values, names, strict=True)) == NAMES


def test_css_names_are_those_of_the_library(page: "Page"):
    """So that a hint of a file is shown as it is made."""
    values = page.evaluate(
        """async (names) => {
            const { toHex } = await import("/static/colors.js");
            return names.map(toHex);
        }""",
        [*ImageColor.colormap, "#1a2", "#a0b1c2"],
    )
    assert values[-2:] == ["#11aa22", "#a0b1c2"]
    for value, name in zip(values, ImageColor.colormap, strict=False):
        assert value == "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(name)), name
