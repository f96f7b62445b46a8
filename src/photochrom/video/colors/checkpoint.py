"""The checkpoint folder beside an output: the analysis, and the segments that are done."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from photochrom.errors import PhotoError, VideoError
from photochrom.imagefile.atomic import TEMPORARY, make_folder, write_atomic
from photochrom.video.colors.pass_counter import PassCounter
from photochrom.video.shots.analysis import VideoAnalysis
from photochrom.video.shots.splitting import Segment
from photochrom.video.writing.codecs import VideoEncoding

_PLAN = "plan.json"
_COUNTER = "passes"
_SEGMENTS = 16 * "[0-9a-f]"
_COLORS = f"{_SEGMENTS}.colors"
_MOVING = "moving"
"""A file that exists once the pictures of an output are moved into place."""


def checkpoint_folder(target: Path) -> Path:
    """Return the checkpoint folder of an output."""
    return target.with_name(target.name + ".partial")


def load(folder: Path, settings: dict[str, Any]) -> VideoAnalysis | None:
    """Return the analysis of an earlier run; None if there was none.

    Args:
        folder: From `checkpoint_folder`.
        settings: What decides the output beside the shots, in JSON types.

    Raises:
        VideoError: If the checkpoint is invalid or has other settings.
    """
    if not folder.exists():
        return None
    try:
        plan = json.loads((folder / _PLAN).read_bytes())
        saved = plan["settings"]
        analysis = VideoAnalysis(**plan["analysis"])
        changed = sorted(key for key in settings if saved.get(key) != settings[key])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise VideoError(
            f"{folder} exists but is not a valid checkpoint; remove it, or choose another output"
        ) from error
    if changed:
        raise VideoError(
            f"{folder} was started with a different {' and '.join(changed)}; discard it with "
            "--restart, or choose another output"
        )
    return analysis


def create(folder: Path, settings: dict[str, Any], analysis: VideoAnalysis) -> None:
    """Create a checkpoint without segments.

    Raises:
        VideoError: If the folder cannot be created.
    """
    make_folder(folder, VideoError)
    plan = {"settings": settings, "analysis": dataclasses.asdict(analysis)}
    write_atomic(folder / _PLAN, json.dumps(plan).encode())


def segment_path(folder: Path, segment: Segment, encoding: VideoEncoding) -> Path:
    """Return the file of a colorized segment, or the folder of its pictures."""
    return folder / f"{segment.name}{'' if encoding.is_pictures else '.mkv'}"


def colors_path(folder: Path, segment: Segment) -> Path:
    """Return the file of the colours of a segment's shot."""
    return folder / f"{segment.shot_name}.colors"


def pass_counter(folder: Path) -> PassCounter:
    """Return the counter of passes over frames in this run."""
    return PassCounter(folder / _COUNTER)


def has_segments(folder: Path) -> bool:
    """Return whether a checkpoint has colorized segments."""
    return any(folder.glob(_SEGMENTS)) or any(folder.glob(f"{_SEGMENTS}.mkv"))


def is_moving(folder: Path) -> bool:
    """Return whether an earlier run ended in `moving`."""
    return (folder / _MOVING).exists()


@contextlib.contextmanager
def moving(folder: Path) -> Iterator[None]:
    """Note while pictures of the output are moved into place, so that a later run replaces them.

    After a refusal to replace a picture, nothing may be replaced later either.
    """
    (folder / _MOVING).touch()
    try:
        yield
    except PhotoError:
        (folder / _MOVING).unlink()
        raise
    (folder / _MOVING).unlink()


def remove_others(folder: Path, files: Iterable[Path]) -> None:
    """Remove the segments whose files are not among these."""
    for path in {*_segments(folder)} - {*files}:
        discard(path)


def _segments(folder: Path) -> Iterator[Path]:
    """Yield the files and folders of segments, complete or not."""
    for suffix in ("", ".mkv", ".*.part"):
        yield from folder.glob(f"{_SEGMENTS}{suffix}")


def discard(path: Path) -> None:
    """Remove a file or folder as far as processes of a killed run allow it."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)  # a process of a killed run may still write
    else:
        with contextlib.suppress(PermissionError):  # of Windows, while such a process has it open
            path.unlink(missing_ok=True)


def remove_colors(folder: Path) -> None:
    """Remove the files of the colours of shots."""
    for file in folder.glob(_COLORS):
        discard(file)


def remove(folder: Path) -> None:
    """Remove a checkpoint; a folder with other files remains, with these."""
    remove_colors(folder)
    for path in (*_segments(folder), *folder.glob(TEMPORARY)):
        discard(path)
    for name in (_PLAN, _COUNTER, _MOVING):
        discard(folder / name)
    with contextlib.suppress(OSError):
        folder.rmdir()
