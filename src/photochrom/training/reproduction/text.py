"""Markdown of lines of 100 characters."""

import textwrap
from collections.abc import Sequence


def paragraph(text: str) -> str:
    """Return a text as a paragraph."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def bullets(texts: Sequence[str]) -> str:
    """Return a list with an item for each text."""
    wrapper = textwrap.TextWrapper(
        100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrapper.fill(f"- {text}") for text in texts)
