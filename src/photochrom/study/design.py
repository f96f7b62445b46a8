"""The design of a study: items, systems, protocols and exclusion criteria."""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from photochrom.errors import DataError
from photochrom.imagefile.atomic import write_atomic

Protocol = Literal["pair", "single", "timed", "preference"]
"""The task of a trial.

`pair`: the real photo and a generated one, each shown for a fixed time, in random order: which is
generated? (Zhang, Isola and Efros 2016, section 3.1)
`single`: one image, without time limit: real or generated? (HYPE-infinity)
`timed`: one image, with an exposure set by a staircase: real or generated? (HYPE-time)
`preference`: the same photo by two systems, side by side: which looks better?

HYPE is Zhou, Gordon, Krishna et al. 2019, "HYPE: A Benchmark for Human eYe Perceptual Evaluation".
"""

Kind = Literal["practice", "check", "test"]
"""Practice trials and attention checks show an obvious fake; only test trials are analysed."""

ColorVisionRule = Literal["exclude", "include", "unasked"]
"""What becomes of participants who report a colour-vision deficiency.

`exclude`: they are left out; ITU-R BT.500 screens observers for normal colour vision.
`include`: they count as all others.
`unasked`: participants are not asked.
"""

REAL = "real"
"""Name of the system of the original photo."""
OBVIOUS = "obvious"
"""Name of the system of the obvious fakes."""

MIN_CHROMA = 4.0
"""Minimum mean chroma of a colour photo, in CIELAB units."""

STUDY_FILE = "study.json"
"""Maps images to systems; must be hidden from participants."""
IMAGE_FOLDER = "pictures"
RESPONSE_FILE = "answers.sqlite"

_FORMAT = 2
_DEFAULTS_OF_FORMAT_1 = {
    "least_reaction_ms": 0.0,
    "color_vision": "unasked",
    "display": False,  # their consent text says that nothing else is stored
    "skipped": None,
}
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Item:
    """A photo and its images by several systems."""

    id: str
    name: str
    """File name of the photo, for the report; hidden from participants."""
    pictures: dict[str, str]
    """System to image id; the file is `pictures/ID.png`. Historic photos have no `REAL`."""
    width: int
    height: int


@dataclass(frozen=True)
class Study:
    """The content of `study.json`, which never changes once written."""

    title: str
    consent: str
    """The consent text; paragraphs are separated by empty lines."""
    created: str
    """ISO 8601, UTC."""
    protocols: tuple[Protocol, ...]
    """In order of presentation."""
    systems: tuple[str, ...]
    """Without `REAL` and `OBVIOUS`."""
    items: tuple[Item, ...]
    trials: int
    """Maximum number of test trials of a participant."""
    practice: int
    """Number of practice trials, with feedback, at the start of each protocol but `preference`."""
    checks: int
    """Number of attention checks among the test trials."""
    seconds: float
    """Exposure of each image in `pair`."""
    allowed_misses: int
    """Exclusion criterion: maximum number of failed attention checks."""
    least_trials: int
    """Exclusion criterion: minimum number of responses to test trials."""
    least_reaction_ms: float
    """Responses sooner than this after the image appears are left out; 0: none."""
    color_vision: ColorVisionRule
    display: bool
    """Whether the size of the window and of the images on the screen is stored."""
    skipped: Mapping[str, int] | None
    """Number of photos left out at creation, by reason (`unreadable`, `near-grey`, `transparent`,
    `given twice`); None if it was not recorded."""


def save_study(study: Study, folder: Path) -> None:
    """Write `study.json`.

    Raises:
        OSError: If it cannot be written.
    """
    content = {"format": _FORMAT} | dataclasses.asdict(study)
    write_atomic(folder / STUDY_FILE, json.dumps(content, indent=1).encode() + b"\n")


def load_study(folder: Path) -> Study:
    """Read `study.json`.

    Raises:
        DataError: If it is missing, damaged, or of another format version.
    """
    path = folder / STUDY_FILE
    if not path.is_file():
        raise DataError(
            f"{folder} holds no study, {STUDY_FILE} is missing; give a folder that "
            "`photochrom study new` created"
        )
    try:
        content = json.loads(path.read_bytes())
        version = content.pop("format")
        if version not in (1, _FORMAT):
            raise DataError(f"the format of {path} is unknown; install a newer photochrom")
        return _parse(content | (_DEFAULTS_OF_FORMAT_1 if version == 1 else {}))
    except DataError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); create the study again") from error


def _parse(content: dict[str, Any]) -> Study:
    items = tuple(Item(**item) for item in content.pop("items"))
    protocols, systems = (tuple(content.pop(key)) for key in ("protocols", "systems"))
    ids = [id_ for item in items for id_ in (item.id, *item.pictures.values())]
    if not set(protocols) <= set(get_args(Protocol)) or not all(map(_ID.fullmatch, ids)):
        raise ValueError("invalid protocol or id")
    if len(set(ids)) < len(ids):
        raise ValueError("duplicate id")
    if content["color_vision"] not in get_args(ColorVisionRule):
        raise ValueError("invalid color_vision")
    return Study(items=items, protocols=protocols, systems=systems, **content)
