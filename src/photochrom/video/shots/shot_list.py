"""The list of a video's shots as a file in JSON, to be edited by hand."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from photochrom.errors import PhotochromError, VideoError
from photochrom.imagefile.atomic import write_atomic
from photochrom.video.reading.source import Video
from photochrom.video.reading.timestamps import format_time
from photochrom.video.shots.analysis import VideoAnalysis
from photochrom.video.shots.references import TimedReference, parse_reference
from photochrom.video.shots.shot import Shot, find_shots
from photochrom.video.shots.times import (
    format_frame_time,
    frame_times,
    is_between,
    nearest_frame,
    parse_time,
)

_KEYS = {"video", "frames", "shots"}
_SHOT_KEYS = {"start", "references", "colored"}
_FORM = '{"start": "0:00:12.480", "references": ["frame.png@0:00:13.2"]}'


@dataclass(frozen=True)
class ListedShot:
    """A shot of a list."""

    start: Fraction
    """In seconds from the first frame."""
    colored: bool | None = None
    """Whether it is in colour already and keeps its colours; None: as it was found."""
    references: tuple[TimedReference, ...] = ()


@dataclass(frozen=True)
class ShotList:
    """The shots of a video, as a file lists them."""

    path: Path
    """Of the file."""
    frames: int
    """Number of the video's frames."""
    shots: tuple[ListedShot, ...]

    @property
    def references(self) -> list[TimedReference]:
        """The references of all shots."""
        return [reference for shot in self.shots for reference in shot.references]

    def find_shots(self, video: Video, analysis: VideoAnalysis) -> list[Shot]:
        """Return the shots, without references; of a part of the video, those that lie there.

        Raises:
            VideoError: If the list is of another video, a shot begins beyond its end, or a
                reference is not of a frame of its shot.
        """
        times = frame_times(video, analysis)
        if not analysis.is_part and self.frames != len(analysis.timestamps):
            raise VideoError(
                f"{self.path} lists the shots of a video with {self.frames} frames, but "
                f"{video.path} has {len(analysis.timestamps)}; give its own list, or another name "
                "to have one written"
            )
        listed = list(enumerate(self.shots, 1))
        if analysis.is_part:
            listed = _cut_out(listed, times)
        cuts = [self._find_frame(shot.start, times, number) for number, shot in listed]
        for (number, _), (cut, next_cut) in zip(listed, pairwise(cuts), strict=False):
            if cut == next_cut:
                raise VideoError(
                    f"{self.path}: shots {number} and {number + 1} start at the same frame, at "
                    f"{format_frame_time(times, cut)}; remove one"
                )
        if cuts[0] > 0:
            raise VideoError(
                f"{self.path}: shot 1 starts at {format_frame_time(times, cuts[0])}; it has to "
                f"start at {format_frame_time(times, 0)}"
            )
        shots = find_shots(analysis, cuts)
        for (number, listed_shot), shot in zip(listed, shots, strict=True):
            self._check_references(listed_shot, shot, number, times)
        return [
            shot if listed_shot.colored is None else replace(shot, is_colored=listed_shot.colored)
            for (_, listed_shot), shot in zip(listed, shots, strict=True)
        ]

    def _find_frame(self, start: Fraction, times: Sequence[Fraction], number: int) -> int:
        index = nearest_frame(times, start)
        if index is None:
            raise VideoError(
                f"{self.path}: shot {number} starts at {format_time(float(start))}, but the video "
                f"ends at {format_time(float(times[-1]))}; give an earlier time, or remove the shot"
            )
        return index

    def _check_references(
        self, listed: ListedShot, shot: Shot, number: int, times: Sequence[Fraction]
    ) -> None:
        for reference in listed.references:
            index = nearest_frame(times, reference.time)
            if index is None or not shot.first <= index < shot.stop:
                raise VideoError(
                    f"{self.path}: shot {number} does not contain the time of its reference "
                    f"{reference}; give the reference to another shot, or another time"
                )


def _cut_out(
    listed: Sequence[tuple[int, ListedShot]], times: Sequence[Fraction]
) -> list[tuple[int, ListedShot]]:
    """Return the shots that lie in a part, with the references that do, and their numbers."""
    starts = [shot.start for _, shot in listed]
    first = max(bisect_right(starts, (times[0] + times[1]) / 2) - 1, 0)
    stop = max(bisect_left(starts, (times[-2] + times[-1]) / 2), first + 1)
    return [
        (
            number,
            replace(
                shot,
                start=max(shot.start, times[0]),
                references=tuple(
                    r for r in shot.references if is_between(r.time, times[0], times[-1])
                ),
            ),
        )
        for number, shot in listed[first:stop]
    ]


def check_name(path: Path) -> Path:
    """Return the path of a list.

    Raises:
        VideoError: If it does not end in `.json`, or its folder does not exist.
    """
    if path.suffix.lower() != ".json":
        raise VideoError(f"the list of shots is {path}; its name has to end in .json")
    if not path.parent.is_dir():
        raise VideoError(f"there is no folder {path.parent}; create it, or choose another")
    return path


def read_shot_list(path: Path) -> ShotList:
    """Read a list of shots.

    Raises:
        VideoError: If it cannot be read, or is not a list of shots.
    """
    try:
        values = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=_unique_keys)
        return _parse_list(values, path)
    except PhotochromError as error:
        raise VideoError(f"{path}: {error}") from None
    except OSError as error:
        raise VideoError(f"the shots {path} cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise VideoError(
            f"{path} is not JSON at line {error.lineno}, column {error.colno} ({error.msg}); "
            f"correct it, or give another name to have the list written"
        ) from None
    except (ValueError, RecursionError):
        raise VideoError(
            f"{path} is not JSON; correct it, or give another name to have the list written"
        ) from None


def write_shot_list(
    path: Path, video: Video, analysis: VideoAnalysis, shots: Iterable[Shot]
) -> None:
    """Write a list of shots, one on each line.

    Raises:
        FileExistsError: If the file exists.
        OSError: If it cannot be written.
    """
    times = frame_times(video, analysis)
    lines = []
    for shot in shots:
        value: dict[str, Any] = {"start": format_frame_time(times, shot.first)}
        if shot.is_colored:
            value["colored"] = True
        lines.append(json.dumps(value))
    listed = ",\n    ".join(lines)
    text = (
        f'{{\n  "video": {json.dumps(video.path.name)},\n'
        f'  "frames": {len(analysis.timestamps)},\n'
        f'  "shots": [\n    {listed}\n  ]\n}}\n'
    )
    write_atomic(path, text.encode(), overwrite=False)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise PhotochromError(f"{repeated[:40]!r} is given more than once in one place; remove one")
    return values


def _parse_list(values: Any, path: Path) -> ShotList:
    if not isinstance(values, dict) or values.keys() != _KEYS:
        raise PhotochromError(
            'a list of shots has to be {"video": NAME, "frames": NUMBER, "shots": [...]}'
        )
    frames, shots = values["frames"], values["shots"]
    if not isinstance(values["video"], str):
        raise PhotochromError(f"video is {_quote(values['video'])}; it has to be a name")
    if not isinstance(frames, int) or isinstance(frames, bool) or frames < 1:
        raise PhotochromError(f"frames is {_quote(frames)}; it has to be the number of frames")
    if not isinstance(shots, list) or not shots:
        raise PhotochromError(f"shots is {_quote(shots)}; it has to be a list such as [{_FORM}]")
    listed = tuple(_parse_shot(shot, number, path.parent) for number, shot in enumerate(shots, 1))
    for number, (shot, next_shot) in enumerate(pairwise(listed), 1):
        if next_shot.start <= shot.start:
            raise PhotochromError(
                f"shot {number + 1} starts at {format_time(float(next_shot.start))}, not after "
                f"shot {number}, which starts at {format_time(float(shot.start))}; list the shots "
                "in order, each once"
            )
    return ShotList(path, frames, listed)


def _parse_shot(value: Any, number: int, folder: Path) -> ListedShot:
    if not isinstance(value, dict) or "start" not in value or value.keys() - _SHOT_KEYS:
        raise PhotochromError(
            f"shot {number} is {_quote(value)}; it has to have start, and may have references and "
            f"colored, as in {_FORM}"
        )
    colored = value.get("colored")
    if "colored" in value and not isinstance(colored, bool):
        raise PhotochromError(
            f"shot {number}: colored is {_quote(colored)}; it has to be true or false"
        )
    references = value.get("references", [])
    if not isinstance(references, list) or not all(isinstance(text, str) for text in references):
        raise PhotochromError(
            f"shot {number}: references is {_quote(references)}; it has to be a list such as "
            '["frame.png@0:00:13.2"]'
        )
    if references and colored:
        raise PhotochromError(
            f"shot {number} has references, which give it new colours, but colored is true; remove "
            "one of both"
        )
    try:
        start = parse_time(value["start"], "start")
        parsed = tuple(parse_reference(text, folder) for text in references)
        return ListedShot(start, colored, parsed)
    except PhotochromError as error:
        raise PhotochromError(f"shot {number}: {error}") from None


def _quote(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]
