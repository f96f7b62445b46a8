"""What a study is: photos, the systems that colorized them, and how they are shown."""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from photochrom.errors import DataError
from photochrom.imagefile.atomic import write_atomic

Protocol = Literal["pair", "single", "timed", "preference"]
"""How people are asked.

`pair`: the real photo and a generated one, each shown for a set time, one after the other, order
random: which is generated? (Zhang, Isola and Efros 2016, section 3.1.)
`single`: one picture for as long as one likes: real or generated? (HYPE-infinity.)
`timed`: one picture for a time that adapts to the person: real or generated? (HYPE-time.)
`preference`: the same photo by two systems, side by side: which one looks better?

HYPE is Zhou, Gordon, Krishna et al. 2019, "HYPE: A Benchmark for Human eYe Perceptual Evaluation".
"""

Kind = Literal["practice", "check", "test"]
"""What a trial is for: `practice` and `check` show an obvious fake; only `test` is counted."""

REAL = "real"
"""The name of the system that took a real photo: the camera."""
OBVIOUS = "obvious"
"""The name of what spoils a photo's colours for practice and checks."""

KEY = "study.json"
"""The file that says which picture is whose; nobody who takes part may see it."""
PICTURES = "pictures"
"""The folder of the pictures."""
ANSWERS = "answers.sqlite"
"""The file of the answers."""

_FORMAT = 1
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Item:
    """One photo of a study, as colorized by everybody."""

    id: str
    name: str
    """Of the file that it is from: for the report, never shown to people."""
    pictures: dict[str, str]
    """By system, `REAL` and `OBVIOUS` among them where there are such: the id of the picture, whose
    file is `pictures/ID.png`. Historic photos have no `REAL`."""
    width: int
    height: int


@dataclass(frozen=True)
class Study:
    """A study, as it lies in `study.json`; made once, never changed."""

    title: str
    consent: str
    """What people read and agree to before they begin."""
    created: str
    """ISO 8601, UTC."""
    protocols: tuple[Protocol, ...]
    """In the order in which they are asked."""
    systems: tuple[str, ...]
    """Without `REAL` and `OBVIOUS`."""
    items: tuple[Item, ...]
    trials: int
    """At most so many of kind `test` for one person."""
    practice: int
    """Trials with feedback, before the first test of each protocol but `preference`."""
    checks: int
    """Trials with an obvious fake, strewn among the tests."""
    seconds: float
    """How long each picture of `pair` is shown."""
    allowed_misses: int
    """Who gets more checks wrong than this is excluded from the report."""
    least_trials: int
    """Who answered fewer tests than this is excluded."""


def save_study(study: Study, folder: Path) -> None:
    """Write `study.json` into a folder.

    Raises:
        OSError: If the disk refuses.
    """
    content = {"format": _FORMAT} | dataclasses.asdict(study)
    write_atomic(folder / KEY, json.dumps(content, indent=1).encode() + b"\n")


def load_study(folder: Path) -> Study:
    """Read the study in a folder.

    Raises:
        DataError: If there is none, or its `study.json` is damaged.
    """
    path = folder / KEY
    if not path.is_file():
        raise DataError(
            f"{folder} holds no study, {KEY} is missing; give a folder that "
            "`photochrom study new` made"
        )
    try:
        content = json.loads(path.read_bytes())
        if content.pop("format") != _FORMAT:
            raise DataError(
                f"{path} has a format that this version does not know; install a newer photochrom"
            )
        return _study(content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is damaged ({error}); make the study again") from error


def _study(content: dict[str, Any]) -> Study:
    items = tuple(Item(**item) for item in content.pop("items"))
    protocols, systems = (tuple(content.pop(key)) for key in ("protocols", "systems"))
    ids = [item.id for item in items]
    ids += [picture for item in items for picture in item.pictures.values()]
    if not set(protocols) <= set(get_args(Protocol)) or not all(map(_ID.fullmatch, ids)):
        raise ValueError("a protocol or an id is none")
    if len(set(ids)) < len(ids):
        raise ValueError("an id is there twice")
    return Study(items=items, protocols=protocols, systems=systems, **content)
