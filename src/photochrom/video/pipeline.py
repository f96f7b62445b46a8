"""Colorize a video: analyse, split, colorize the segments in processes, mux."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.colorize.options import OPTIONS, check_options
from photochrom.colorize.rendering import format_mark
from photochrom.errors import PhotochromError, VideoError
from photochrom.version import __version__
from photochrom.video.colors import checkpoint
from photochrom.video.colors.scheduling import colorize_segments
from photochrom.video.colors.segment import SegmentSettings
from photochrom.video.colors.sheet import SheetSettings, check_sheet, make_sheet
from photochrom.video.outputs import choose_output, write_output
from photochrom.video.reading.field_detection import detect_fields
from photochrom.video.reading.fields import FieldKind, Fields
from photochrom.video.reading.sequences import find_warnings
from photochrom.video.reading.source import MAX_PIXELS, Video, probe
from photochrom.video.shots.analysis import ProgressCallback, VideoAnalysis
from photochrom.video.shots.hints import TimedHint, check_timed_hints, describe_hints
from photochrom.video.shots.parts import WHOLE, TimeRange, analyse_part
from photochrom.video.shots.planning import plan_shots
from photochrom.video.shots.references import TimedReference, check_references, describe_references
from photochrom.video.shots.shot import HeldHint, Shot, find_shots
from photochrom.video.shots.shot_list import ShotList, check_name, read_shot_list, write_shot_list
from photochrom.video.shots.splitting import split


@dataclass(frozen=True)
class VideoResult:
    """Outcome of a video."""

    frames: int
    shots: int
    left_out: list[str]
    """Descriptions of data streams that the container does not support."""
    hints: list[str] = field(default_factory=list)
    """Descriptions of hints: their time, place and colour, and until when they hold."""
    references: list[str] = field(default_factory=list)
    """Descriptions of references: their file and time, and from when to when they were used."""
    checkpoint: Path | None = None
    """The folder that was kept for further changes."""
    notes: list[str] = field(default_factory=list)
    """Sentences on damage, and on times of frames that were mended."""
    fields: Fields = field(default_factory=Fields)
    """How the frames of the source consist of fields; all that are written are progressive."""


def colorize_video(
    path: Path,
    target: Path,
    *,
    model: Path | None = None,
    device: str = "auto",
    codec: str | None = None,
    quality: int | None = None,
    steady: bool = True,
    processes: int | None = None,
    overwrite: bool = False,
    restart: bool = False,
    max_pixels: int = MAX_PIXELS,
    rate: Fraction | None = None,
    field: FieldKind | None = None,
    progress: ProgressCallback = lambda *_: None,
    hints: Sequence[TimedHint] = (),
    references: Sequence[TimedReference] = (),
    shots: Path | None = None,
    sheet: Path | None = None,
    part: TimeRange = WHOLE,
    recolor: bool = False,
    notify: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> VideoResult:
    """Colorize a video, or resume from its checkpoint.

    Args:
        path: The source: a video, the pattern of an image sequence such as `reel_%06d.tif`, or a
            folder with one such sequence.
        target: The output: a video or a pattern. Its checkpoint is a folder beside it until it is
            complete.
        model: An ONNX file; None: the default model.
        device: A key of `photochrom.colorize.onnx_model.DEVICES`, or `auto`.
        codec: One of `codecs.CODECS`; None: the container's default.
        quality: CRF, smaller is better and larger; None: the codec's default.
        steady: Whether frames of a shot share their colours.
        processes: Number of processes; None: one for each core.
        overwrite: Whether to replace an existing output.
        restart: Whether to discard a checkpoint.
        max_pixels: Limit of pixels per frame.
        rate: Frames per second of an image sequence; None: 24.
        field: Whether the frames are progressive, interlaced with the top or the bottom field
            first, or telecined; None: found from the pictures.
        progress: Called after every frame, or every second while several processes work.
        hints: Known colours of places, each from a time until the next cut.
        references: Frames in colour, each of which gives its shot its colours; not without
            `steady`.
        shots: The list of shots, which is written unless it exists. With it the checkpoint is kept
            at the end, so that only what has changed is colorized again.
        sheet: A contact sheet, which is written before the long work begins: one frame of each
            shot. One that exists is kept when a run is resumed, unless `overwrite` is set.
        part: The frames to colorize. The output has these alone, and begins at 0.
        recolor: Whether to colorize shots that are in colour already too. Those with hints or
            references always are.
        notify: Called with sentences for the user, before the long work begins.
        **options: Keywords of `Colorizer.__call__`.

    Raises:
        VideoError: If the video cannot be colorized, or the output not be written.
        ModelError: If the model cannot be loaded, or takes no hints and some are given.
        PhotochromError: If an option is out of range, or a hint lies outside of the frames.
        OSError: If the output cannot be written.
    """
    check_options(**options)
    video = probe(path, max_pixels=max_pixels, rate=rate)
    output = choose_output(
        *(video, target, part),
        codec=codec,
        quality=quality,
        overwrite=overwrite,
        restart=restart,
    )
    if video.sequence is not None:
        for warning in find_warnings(video.sequence, output.pattern):
            notify(f"{video.path}: {warning}")
    model = model or default_model_path()
    colors = _check_colors(video, model, device, hints, references, shots)
    if colors.references and not steady:
        raise VideoError(
            "references need colours that are shared by a shot; leave --no-steady out, or the "
            "references"
        )
    for reference in colors.references:
        if output.pattern is not None and output.pattern.has(reference.path):
            raise VideoError(
                f"the reference {reference.path} is a picture of the output {output.pattern}, "
                "which would replace it; move it to another folder"
            )
    video = _find_fields(video, field, notify)
    checked_settings = {
        "video": video.read_version(),
        "model": hashlib.sha256(model.read_bytes()).hexdigest(),
        **{option.name: options.get(option.name, option.default) for option in OPTIONS},
        "codec": output.encoding.codec,
        "quality": output.encoding.crf,
        "steady": steady,
        "start or end": [str(part.start), str(part.end)],
        "field": str(video.fields),
        "version of photochrom or PyAV": [__version__, av.__version__],
    }
    folder = checkpoint.checkpoint_folder(target)
    analysis = None if restart else checkpoint.load(folder, checked_settings)
    is_resumed = analysis is not None
    if sheet is not None:
        check_sheet(sheet, colors.input_pictures(video), overwrite=overwrite or is_resumed)
    if restart:
        checkpoint.remove(folder)
    if analysis is None:
        analysis = analyse_part(video, part, progress)
        checkpoint.create(folder, checked_settings, analysis)
    settings = SegmentSettings(video, folder, output.encoding, model, device, steady, options)
    try:
        found, held = colors.plan(video, analysis, recolor=recolor, notify=notify)
        if sheet is not None and is_resumed and sheet.exists() and not overwrite:
            notify(f"{sheet} is that of the earlier run; --overwrite makes it again")
        elif sheet is not None:
            make_sheet(
                *(sheet, analysis, found, SheetSettings(video, model, device, options)),
                processes=processes,
                overwrite=overwrite,
                progress=progress,
                notify=notify,
            )
        segments = list(split(video, analysis, found))
        colorize_segments(segments, analysis, settings, processes, progress)
        notes = write_output(
            *(output, video, analysis, segments, folder),
            mark=_format_mark(colors.model_name, found, **options),
            keep=shots is not None,
        )
    except (PhotochromError, OSError):
        if shots is None and not checkpoint.has_segments(folder):
            checkpoint.remove(folder)
        raise
    return VideoResult(
        *(len(analysis.timestamps), len(found), output.left_out),
        hints=describe_hints(held, video, analysis),
        references=describe_references(found, video, analysis),
        checkpoint=None if shots is None else folder,
        notes=analysis.notes + notes,
        fields=video.fields,
    )


def preview_video(
    path: Path,
    *,
    sheet: Path,
    model: Path | None = None,
    device: str = "auto",
    processes: int | None = None,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    rate: Fraction | None = None,
    field: FieldKind | None = None,
    progress: ProgressCallback = lambda *_: None,
    hints: Sequence[TimedHint] = (),
    references: Sequence[TimedReference] = (),
    shots: Path | None = None,
    part: TimeRange = WHOLE,
    recolor: bool = False,
    notify: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> None:
    """Write a contact sheet without colorizing the video.

    Arguments and errors are those of `colorize_video`.
    """
    check_options(**options)
    video = probe(path, max_pixels=max_pixels, rate=rate)
    model = model or default_model_path()
    colors = _check_colors(video, model, device, hints, references, shots)
    check_sheet(sheet, colors.input_pictures(video), overwrite=overwrite)
    video = _find_fields(video, field, notify)
    analysis = analyse_part(video, part, progress)
    found, _ = colors.plan(video, analysis, recolor=recolor, notify=notify)
    make_sheet(
        *(sheet, analysis, found, SheetSettings(video, model, device, options)),
        processes=processes,
        overwrite=overwrite,
        progress=progress,
        notify=notify,
    )


def list_shots(
    path: Path,
    shots: Path,
    *,
    max_pixels: int = MAX_PIXELS,
    rate: Fraction | None = None,
    part: TimeRange = WHOLE,
    field: FieldKind | None = None,
    progress: ProgressCallback = lambda *_: None,
    notify: Callable[[str], None] = lambda _: None,
) -> int:
    """Write the list of a video's shots and return their number, without colorizing it.

    Raises:
        VideoError: If the video cannot be read, or the list exists.
        OSError: If the list cannot be written.
    """
    if check_name(shots).exists():
        raise VideoError(f"{shots} exists already; give OUT to use it, or another name")
    video = _find_fields(probe(path, max_pixels=max_pixels, rate=rate), field, notify)
    analysis = analyse_part(video, part, progress)
    found = find_shots(analysis)
    write_shot_list(shots, video, analysis, found)
    return len(found)


def _find_fields(video: Video, kind: FieldKind | None, notify: Callable[[str], None]) -> Video:
    fields = detect_fields(video, kind)
    if fields.kind != "progressive":
        notify(f"{video.path} is {fields}")
    return dataclasses.replace(video, fields=fields)


@dataclass(frozen=True)
class _Colors:
    """What is known of the colours of a video before it is analysed."""

    model_name: str
    hints: Sequence[TimedHint]
    references: Sequence[TimedReference]
    """Those of the list of shots, too."""
    shots: Path | None
    """The list of shots."""
    listed: ShotList | None
    """Its content; None: it is to be written."""

    def input_pictures(self, video: Video) -> list[Path]:
        """Return the files of references, and of the video if it is an image sequence."""
        references = [reference.path for reference in self.references]
        if video.sequence is None:
            return references
        return [*map(video.sequence.pattern.path, video.sequence.numbers), *references]

    def plan(
        self,
        video: Video,
        analysis: VideoAnalysis,
        *,
        recolor: bool,
        notify: Callable[[str], None],
    ) -> tuple[list[Shot], list[HeldHint]]:
        """Return the shots, and the frames that each hint is for; write the list of shots."""
        planned = plan_shots(
            *(video, analysis, self.listed, self.hints, self.references),
            recolor=recolor,
            notify=notify,
        )
        if self.shots is not None and self.listed is None:
            write_shot_list(self.shots, video, analysis, planned[0])
        return planned


def _check_colors(
    video: Video,
    model: Path,
    device: str,
    hints: Sequence[TimedHint],
    references: Sequence[TimedReference],
    shots: Path | None,
) -> _Colors:
    """Check that the model can be loaded, and what was given of the colours."""
    color_model = OnnxModel(model, device=device, threads=1)
    if hints:
        color_model.check_takes_hints()
    check_timed_hints(hints, video)
    is_listed = shots is not None and check_name(shots).exists()
    listed = read_shot_list(shots) if shots is not None and is_listed else None
    references = [*references, *([] if listed is None else listed.references)]
    check_references(references, video)
    return _Colors(color_model.name, hints, references, shots, listed)


def _format_mark(
    model_name: str,
    shots: Sequence[Shot],
    *,
    mark: bool = True,
    saturation: float = 1.0,
    strength: float = 1.0,
    **_: Any,
) -> str | None:
    """Return the note that colours were added, given options of `Colorizer.__call__`."""
    if not mark or saturation * strength == 0:
        return None
    hints = sum(len(shot.hints) for shot in shots)
    references = sum(len(shot.references) for shot in shots)
    return format_mark(model_name, hints=hints, references=references)
