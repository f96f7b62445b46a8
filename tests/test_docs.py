"""What the documents say can be typed."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest

from photochrom.batch.report import Result
from photochrom.cli import main
from photochrom.training.recipes.loading import load_recipe, recipe_names
from photochrom.training.recipes.recipe import override

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

LOG = (ROOT / "docs/model-log.md").read_text()
"""Its commands belong to older commits."""


def commands() -> list[str]:
    """Return every command line of ours in a code block of a document."""
    found = []
    for document in DOCUMENTS:
        for line in document.read_text().splitlines():
            match = re.match(r"(?: {4})?(?:pip .*&& )?(photochrom .*)", line)
            if match:
                found.append(match[1].split("   ")[0].split(" #")[0])
    return found


def test_there_are_commands_in_the_documents() -> None:
    assert len(commands()) > 10


@pytest.mark.parametrize("line", commands())
def test_commands_in_the_documents_parse(line: str) -> None:
    _, *arguments = shlex.split(line)
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        name, command, arguments = command.resolve_command(context, arguments)
        context = click.Context(command, info_name=name, parent=context)
    parsed = command.make_context(command.name, arguments)  # raises on an unknown option
    if command.name == "train":
        recipe = load_recipe(parsed.params["recipe"])
        if line not in LOG:
            assert override(recipe, dict(pair.split("=", 1) for pair in parsed.params["changes"]))


def test_every_key_of_a_report_is_documented() -> None:
    text = (ROOT / "docs/colorize.md").read_text().partition("## Report")[2].partition("## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    documented = re.findall("`(.+?)`", "".join(rows))
    assert sorted(documented) == sorted(field.name for field in fields(Result))


def test_every_recipe_is_documented() -> None:
    table = (ROOT / "docs/recipes.md").read_text()
    assert all(f"| `{name}` |" in table for name in recipe_names())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), target
