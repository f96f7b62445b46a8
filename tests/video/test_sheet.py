import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from photochrom.cli import main
from photochrom.color import lab_to_rgb, rgb_to_lab
from photochrom.color.icc import BT709, build_profile
from photochrom.errors import VideoError
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.writing import save_photo
from photochrom.video.colors import sheet as sheets
from photochrom.video.pipeline import colorize_video, preview_video
from photochrom.video.shots.hints import read_timed_hints
from photochrom.video.shots.references import parse_reference
from support.models import write_model
from support.video import read_frames, still_shot, write_video

TILE = 240, 160
STEP = 248, 192


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five shots of 10 frames."""
    frames = [frame for seed in range(5) for frame in still_shot(10, seed)]
    return write_video(tmp_path_factory.mktemp("film") / "a.mkv", frames)


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, ["video", *map(str, arguments)])


def read_image(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_tiles(path: Path, columns: int, count: int) -> list[np.ndarray]:
    """Return the ab of each tile."""
    lab = rgb_to_lab(read_image(path).astype(np.float32) / 255)
    corners = [
        (8 + index % columns * STEP[0], 8 + index // columns * STEP[1]) for index in range(count)
    ]
    return [lab[y : y + TILE[1], x : x + TILE[0], 1:] for x, y in corners]


def test_a_sheet_without_out(film: Path, tiny_onnx: Path, tmp_path: Path):
    sheet = tmp_path / "sheet.png"
    result = run(film, "--sheet", sheet, "--model", tiny_onnx, "-j", 1)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-1] == f"{sheet} shows shots 1 to 5"
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]
    assert read_image(sheet).shape == (2 * STEP[1] + 8, 3 * STEP[0] + 8, 3)
    tiles = read_tiles(sheet, 3, 5)
    assert all(np.abs(tile).mean() > 5 for tile in tiles)
    assert not np.array_equal(tiles[0], tiles[1])
    labels = read_image(sheet)[8 + TILE[1] : STEP[1] + 4]
    assert all((labels[:, x : x + 100] > 200).any() for x in (8, 256, 504))


def test_many_shots_make_several_pages(
    film: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sheets, "_MAX_TILES", 2)
    result = run(film, "--sheet", tmp_path / "s.jpg", "--model", tiny_onnx, "-j", 1)
    assert result.exit_code == 0, result.output
    assert [re.split(r"[/\\]", line)[-1] for line in result.stderr.splitlines()[-3:]] == [
        "s.jpg shows shots 1 to 2",
        "s-2.jpg shows shots 3 to 4",
        "s-3.jpg shows shots 5 to 5",
    ]
    assert read_image(tmp_path / "s-3.jpg").shape == (200, 256, 3)


def test_the_sheet_has_hints_and_the_same_pixels_with_two_processes(film: Path, tmp_path: Path):
    model, hints = tmp_path / "hinted.onnx", tmp_path / "hints.json"
    write_model(model, hints=3)
    hints.write_text('[{"time": 0.4, "x": 30, "y": 40, "color": "red"}]')
    sheet = tmp_path / "s.png"
    options: Any = {"model": model, "sheet": sheet, "overwrite": True}
    preview_video(film, processes=1, **options)
    plain = read_tiles(sheet, 3, 5)
    preview_video(film, processes=1, hints=read_timed_hints(hints), **options)
    hinted = read_tiles(sheet, 3, 5)
    changed = [not np.array_equal(*pair) for pair in zip(plain, hinted, strict=True)]
    assert changed == [False, True, False, False, False]
    content = sheet.read_bytes()
    preview_video(film, processes=2, hints=read_timed_hints(hints), **options)
    assert sheet.read_bytes() == content


def test_the_sheet_comes_before_the_film_and_is_kept_by_a_resumed_run(
    film: Path, tiny_onnx: Path, tmp_path: Path
):
    target, sheet = tmp_path / "b.mkv", tmp_path / "s.png"
    options: Any = {"model": tiny_onnx, "processes": 1, "sheet": sheet}

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "colorizing" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        colorize_video(film, target, progress=interrupt, **options)
    time = sheet.stat().st_mtime_ns
    messages: list[str] = []
    colorize_video(film, target, notify=messages.append, **options)
    assert target.exists()
    assert sheet.stat().st_mtime_ns == time
    assert messages == [f"{sheet} is that of the earlier run; --overwrite makes it again"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.gif", r"the sheet is .*a\.gif; its name has to end in \.png"),
        ("none/a.png", "there is no folder"),
        ("there.png", "exists already; use --overwrite"),
    ],
)
def test_a_sheet_that_cannot_be_written(
    film: Path, tiny_onnx: Path, tmp_path: Path, name: str, message: str
):
    (tmp_path / "there.png").write_bytes(b"mine")
    for result in (
        run(film, "--sheet", tmp_path / name, "--model", tiny_onnx),
        run(film, tmp_path / "b.mkv", "--sheet", tmp_path / name, "--model", tiny_onnx),
    ):
        assert result.exit_code == 1
        assert re.search(message, result.stderr.splitlines()[-1])
        assert [file.name for file in tmp_path.iterdir()] == ["there.png"]
    assert (tmp_path / "there.png").read_bytes() == b"mine"


def test_neither_out_nor_a_preview(film: Path):
    result = run(film)
    assert result.exit_code == 2
    assert "give OUT, or --sheet or --shots for a preview without OUT" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sheet", "s.png", "--codec", "vp9"), "--codec has no effect without OUT; give it"),
        (("--sheet", "s.png", "--no-steady"), "--no-steady has no effect without OUT; give it"),
        (("--shots", "s.json", "--recolor"), "--recolor has no effect without OUT or --sheet;"),
        (("--shots", "s.json", "--model", "a.onnx"), "--model has no effect without OUT or --sh"),
    ],
)
def test_options_without_effect_are_refused(film: Path, options: tuple[str, ...], message: str):
    result = run(film, *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_sheet_of_pictures_is_in_srgb_whatever_their_profile(tiny_onnx: Path, tmp_path: Path):
    profile, scan = build_profile(1.0, BT709), tmp_path / "scan"
    scan.mkdir()
    for number, frame in enumerate(still_shot(3)):
        linear = Photo(np.repeat(frame[..., None] // 4, 3, axis=2), metadata=Metadata(icc=profile))
        save_photo(linear, scan / f"{number}.png")
    preview_video(scan, sheet=tmp_path / "s.png", model=tiny_onnx, processes=1)
    shown = read_image(tmp_path / "s.png")[8 : 8 + TILE[1], 8 : 8 + TILE[0]]
    assert shown.mean() == pytest.approx(open_photo(scan / "1.png").to_srgb().mean(), rel=0.1)


def test_a_list_of_shots_without_out(film: Path, tmp_path: Path):
    result = run(film, "--shots", tmp_path / "a.json")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-1] == f"{tmp_path / 'a.json'}: 5 shots"


def test_a_sheet_shows_a_film_as_players_do(tiny_onnx: Path, tmp_path: Path):
    film = write_video(tmp_path / "a.mp4", still_shot(2), rotation=90, aspect=Fraction(2))
    preview_video(film, sheet=tmp_path / "s.png", model=tiny_onnx, processes=1)
    assert read_image(tmp_path / "s.png").shape == (720 + 24 + 16, 256, 3)


def test_a_sheet_of_a_list_of_shots(film: Path, tiny_onnx: Path, tmp_path: Path):
    shots, sheet = tmp_path / "a.json", tmp_path / "s.png"
    run(film, "--shots", shots)
    shots.write_text(re.sub(r"^.*0:00:00\.400.*\n", "", shots.read_text(), flags=re.MULTILINE))
    result = run(film, "--shots", shots, "--sheet", sheet, "--model", tiny_onnx, "-j", 1)
    assert result.stderr.splitlines()[-1] == f"{sheet} shows shots 1 to 4"


def test_a_sheet_shows_references(film: Path, tiny_onnx: Path, tmp_path: Path):
    frame = read_frames(film)[21]
    painted = rgb_to_lab(frame.astype(np.float32) / 255) * (1, 0, 0) + (0, 40, 0)
    painted = np.clip(lab_to_rgb(painted.astype(np.float32)) * 255, 0, 255).astype(np.uint8)
    Image.fromarray(painted).save(tmp_path / "frame.png")
    sheet = tmp_path / "s.png"
    result = run(
        *(film, "--sheet", sheet, "--model", tiny_onnx, "-j", 1),
        *("--reference", f"{tmp_path / 'frame.png'}@0.84"),
    )
    assert result.exit_code == 0, result.output
    means = [tile.mean((0, 1)) for tile in read_tiles(sheet, 3, 5)]
    assert means[2][0] > 25
    assert abs(means[2][1]) < 5
    assert all(mean[1] > 5 for mean in (*means[:2], *means[3:]))


def test_a_sheet_replaces_no_input(film: Path, tiny_onnx: Path, tmp_path: Path):
    for number, frame in enumerate(still_shot(2)):
        Image.fromarray(frame).save(tmp_path / f"f{number}.png")
    for number, frame in enumerate(read_frames(film)[21:22]):
        painted = frame // 2 + np.array([120, 30, 0], np.uint8)
        Image.fromarray(painted).save(tmp_path / f"painted{number}.png")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for source, sheet, options in (
        (tmp_path / "f%d.png", tmp_path / "f1.png", ()),
        (film, tmp_path / "painted0.png", ("--reference", f"{tmp_path / 'painted0.png'}@0.84")),
    ):
        result = run(source, "--sheet", sheet, *options, "--overwrite", "--model", tiny_onnx)
        assert result.exit_code == 1
        message = f"{sheet} is a picture of the source or a reference; choose another sheet"
        assert result.stderr.splitlines()[-1] == f"Error: {message}"
    options = {"model": tiny_onnx, "overwrite": True}
    references = [parse_reference(f"{tmp_path / 'painted0.png'}@0.84")]
    with pytest.raises(VideoError, match=r"painted0.png is a picture of the output .*painted%d"):
        colorize_video(film, tmp_path / "painted%d.png", references=references, **options)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_sheet_that_exists_keeps_the_checkpoint(film: Path, tiny_onnx: Path, tmp_path: Path):
    target, shots, sheet = (tmp_path / name for name in ("b.mkv", "s.json", "s.png"))
    options: Any = {"model": tiny_onnx, "processes": 1, "shots": shots, "sheet": sheet}
    colorize_video(film, target, **options)
    before = sorted(tmp_path.rglob("*"))
    target.unlink()
    with pytest.raises(VideoError, match=r"s.png exists already; use --overwrite"):
        colorize_video(film, target, restart=True, **options)
    assert sorted(tmp_path.rglob("*")) == [path for path in before if path != target]
