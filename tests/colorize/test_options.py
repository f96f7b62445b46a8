import dataclasses
import inspect
import re

import click
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from photochrom.batch.runner import colorize_file
from photochrom.cli import main
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.options import (
    FILE_OPTIONS,
    GEOMETRY_OPTIONS,
    OPTIONS,
    Option,
    check_options,
)
from photochrom.colorize.rendering import Prediction
from photochrom.errors import PhotochromError
from photochrom.imagefile.geometry import Geometry
from photochrom.web.texts import Texts, languages

NAMES = [option.name for option in OPTIONS]


def test_library_has_exactly_these_options():
    keywords = inspect.signature(Colorizer.__call__).parameters
    options = (*OPTIONS, *GEOMETRY_OPTIONS)
    defaults = {option.name: option.default for option in options}
    assert {name: keywords[name].default for name in defaults} == defaults
    assert set(keywords) - defaults.keys() == {"self", "photo", "hints"}
    of_files = inspect.signature(colorize_file).parameters
    assert all(of_files[option.name].default == option.default for option in FILE_OPTIONS)
    fields = {field.name: field.default for field in dataclasses.fields(Geometry)}
    assert fields == {option.name: option.default for option in GEOMETRY_OPTIONS}
    render = inspect.signature(Prediction.render).parameters
    assert all(render[name].default == keywords[name].default for name in render if name in NAMES)


@pytest.mark.parametrize(
    ("name", "expected", "others"),
    [
        (
            "colorize",
            (*OPTIONS, *GEOMETRY_OPTIONS, *FILE_OPTIONS),
            {
                *("out", "as_json", "report", "resume", "checksum", "engine", "address", "jobs"),
                *("recolor", "times", "sidecar", "dry_run", "hint_texts", "hints"),
            },
        ),
        (
            "video",
            OPTIONS,
            {
                *("codec", "quality", "rate", "steady", "processes", "restart", "hints", "shots"),
                *("references", "field", "start", "end", "sheet", "recolor"),
            },
        ),
    ],
)
def test_command_line_has_exactly_these_options(
    name: str, expected: tuple[Option, ...], others: set[str]
):
    command = main.commands[name]
    options = {p.name: p for p in command.params if isinstance(p, click.Option)}
    names = [option.name for option in expected]
    assert [name for name in options if name in names] == names
    assert {name: options[name].default for name in names} == {o.name: o.default for o in expected}
    assert {name: options[name].help for name in names} == {o.name: o.help for o in expected}
    assert set(options) - set(names) == {"model", "max_pixels", "device", "overwrite", *others}


def test_api_has_exactly_these_fields(web_app: FastAPI):
    schemas = web_app.openapi()["components"]["schemas"]
    (fields,) = [s["properties"] for name, s in schemas.items() if name.startswith("Body_")]
    options = (*OPTIONS, *GEOMETRY_OPTIONS, *FILE_OPTIONS)
    assert set(fields) == {"file", "model", "hints", *(option.name for option in options)}
    for option in options:
        assert fields[option.name].get("default") == option.default
        assert fields[option.name]["description"] == option.help


def test_page_has_a_control_with_texts_for_each_option(web_client: TestClient):
    html = web_client.get("/").text
    on_page = set(re.findall(r'data-option="(\w+)"', html))
    assert {option.name for option in OPTIONS} - {"size"} <= on_page  # the versions choose a size
    for language in languages():
        texts = Texts(language).all
        missing = [
            o for o in on_page for part in ("label", "help") if f"option.{o}.{part}" not in texts
        ]
        assert missing in ([], ["model"])  # the help of a model is in its file


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("saturation", 4.1, "saturation is 4.1; it has to be from 0 to 4"),
        ("saturation", float("nan"), "saturation is nan; it has to be from 0 to 4"),
        ("strength", -0.1, "strength is -0.1; it has to be from 0 to 1"),
        ("size", 15, "size is 15; it has to be from 16 to 4096"),
        ("turn", 30, "turn is 30; it has to be 0, 90, 180 or 270"),
        ("straighten", -46, "straighten is -46; it has to be from -45 to 45"),
        ("format", "gif", "format is 'gif'; it has to be jpeg, or left out"),
        ("crop", (0, 0, 0, 1), "the crop 0,0,0,1 .* at least 1"),
    ],
)
def test_options_out_of_range_are_refused(name: str, value: float, message: str):
    with pytest.raises(PhotochromError, match=message):
        check_options(**{name: value})
