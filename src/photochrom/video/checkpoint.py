"""The folder beside a result in which the work on it is kept, so that it can go on after a kill."""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.video.analysis import Learned
from photochrom.video.source import FilmError

_PLAN = "plan.json"


def beside(target: Path) -> Path:
    """Return the folder for a result."""
    return target.with_name(target.name + ".partial")


def take_up(folder: Path, settings: dict[str, Any], *, restart: bool) -> Learned | None:
    """Return what an earlier run with the same settings learned, None if there was none.

    Args:
        folder: From `beside`.
        settings: All that decides about the result, as JSON holds it.
        restart: Whether to throw away what is there.

    Raises:
        FilmError: If it is of other settings, or not of ours.
    """
    if restart:
        clear(folder)
    if not folder.exists():
        return None
    try:
        plan = json.loads((folder / _PLAN).read_bytes())
        before = plan["settings"]
        learned = Learned(**plan["learned"])
        other = sorted(key for key in settings if before.get(key) != settings[key])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise FilmError(
            f"{folder} is there but holds no work to go on with; remove it, or give another name "
            "for the result"
        ) from error
    if other:
        raise FilmError(
            f"{folder} holds work that was begun with another {' and '.join(other)}; say --restart "
            "to throw it away, or give another name for the result"
        )
    return learned


def begin(folder: Path, settings: dict[str, Any], learned: Learned) -> None:
    """Make the folder.

    Raises:
        FilmError: If the disk refuses.
    """
    make_folder(folder, FilmError)
    plan = {"settings": settings, "learned": dataclasses.asdict(learned)}
    write_atomic(folder / _PLAN, json.dumps(plan).encode())


def clear(folder: Path) -> None:
    """Remove the folder with what we put there; what is not ours stays."""
    for file in (*folder.glob("[0-9]*.mkv"), folder / _PLAN):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
