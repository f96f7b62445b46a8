import dataclasses
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from photochrom.cli import main
from photochrom.color import rgb_to_lab
from photochrom.color.icc import Primaries, build_profile
from photochrom.errors import PhotochromError, VideoError
from photochrom.imagefile.atomic import rename
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.writing import save_photo
from photochrom.video.pipeline import VideoResult
from photochrom.video.reading import dpx
from photochrom.video.reading.frames import to_photo
from photochrom.video.reading.sequences import (
    PictureSequence,
    find_sequence,
    open_folder,
    parse_rate,
)
from photochrom.video.reading.source import decode, probe
from support.video import read_frames, still_shot, write_video

Colorize = Callable[..., VideoResult]


def write_sequence(
    pattern: str, count: int, *, first: int = 0, bits: int = 8, size: tuple[int, int] = (32, 24)
) -> None:
    """Write grey pictures with grain; a pattern is a path with `{}` for the number."""
    dtype = np.uint8 if bits == 8 else np.uint16
    Path(pattern).parent.mkdir(exist_ok=True)
    for number, frame in enumerate(still_shot(count, size=size), first):
        pixels = (frame.astype(dtype) * (1 if bits == 8 else 257) + (bits > 8))[..., None]
        photo = Photo(pixels.astype(dtype), metadata=Metadata(density=(600.0, 600.0, "inch")))
        path = Path(pattern.format(number))
        if path.suffix == ".dpx":
            path.write_bytes(dpx.encode(dataclasses.replace(photo, pixels=np.tile(pixels, 3))))
        else:
            save_photo(photo, path)


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def find(path: Path) -> PictureSequence:
    sequence = find_sequence(path)
    assert sequence is not None
    return sequence


@pytest.mark.parametrize(
    ("names", "pattern", "first", "count"),
    [
        (["reel_086400.tif", "reel_086401.tif"], "reel_%06d.tif", 86400, 2),
        (["7.PNG", "8.PNG", "9.PNG", "10.PNG"], "%d.PNG", 7, 4),
        (["a0999.dpx", "a1000.dpx"], "a%04d.dpx", 999, 2),
        (["a9999.dpx", "a10000.dpx"], "a%d.dpx", 9999, 2),
        (["a0.tiff", "a1.tiff", ".a_2.tiff", "notes.txt", "cover.png"], "a%d.tiff", 0, 2),
        (["2 reels_007.tif"], "2 reels_%03d.tif", 7, 1),
    ],
)
def test_sequence_of_a_folder(
    names: list[str], pattern: str, first: int, count: int, tmp_path: Path
):
    touch(tmp_path, *names)
    for path in (tmp_path, tmp_path / pattern):
        sequence = find(path)
        assert str(sequence.pattern) == str(tmp_path / pattern)
        assert (sequence.first, sequence.count) == (first, count)
        assert sequence.pattern.path(first).name == names[0]


def test_pattern_takes_what_follows_the_number(tmp_path: Path):
    touch(tmp_path, "a_0001_v2.tif", "a_0002_v2.tif", "a_0003_v1.tif")
    assert find(tmp_path / "a_%04d_v2.tif").count == 2


@pytest.mark.parametrize(
    ("names", "path", "message"),
    [
        ([], "", r"scan has no image sequence .*give a video, or a pattern such as reel_%06d"),
        (["a_1.txt"], "", "scan has no image sequence"),
        (
            ["b_01.tif", "a_1.tif", "a_1.png", "a_2.png"],
            "",
            "scan has 3 sequences: a_%d.png, a_%d.tif, b_%02d.tif; give one of them",
        ),
        (
            [f"{letter}_1.tif" for letter in "abcdefg"],
            "",
            "scan has 7 sequences: a_%d.tif, .*, e_%d.tif and 2 more; give one of them",
        ),
        (["a_01.tif"], "a_%d.tif", "there is no file .*a_%d.tif; the folder has a_%02d.tif$"),
        ([], "a_%d.tif", "there is no file .*a_%d.tif$"),
        (["a_1.jpg"], "a_%d.jpg", "a_%d.jpg has to end in .dpx, .png, .tif, .tiff: numbered"),
        (["a_1.tif", "a_3.tif"], "", "^a_2.tif is missing in .*scan; number the pictures"),
        (
            ["a_8.tif", "a_12.tif", "a_13.tif", "a_20260101123000.tif"],
            "a_%d.tif",
            "^a_9.tif to a_11.tif are missing in .*scan, and 20260101122986 more; number",
        ),
    ],
)
def test_what_is_no_sequence(names: list[str], path: str, message: str, tmp_path: Path):
    touch(tmp_path / "scan", *names)
    with pytest.raises(PhotochromError, match=message):
        find_sequence(tmp_path / "scan" / path)


def test_films_and_missing_folders(tmp_path: Path):
    touch(tmp_path, "a_%d.tif")
    assert find_sequence(tmp_path / "a_%d.tif") is None  # a file of this name
    assert find_sequence(tmp_path / "a.mkv") is None
    with pytest.raises(PhotochromError, match=r"cannot read .*missing: No such file"):
        find_sequence(tmp_path / "missing" / "a_%d.tif")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("24", Fraction(24)),
        ("16.5", Fraction(33, 2)),
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        ("24000/1001", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
    ],
)
def test_rates(text: str, rate: Fraction):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["fast", "0", "-24", "1/0", "1001", "nan"])
def test_invalid_rates(text: str):
    with pytest.raises(PhotochromError, match=rf"the rate is '{text}'; give frames per second"):
        parse_rate(text)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".dpx"])
@pytest.mark.parametrize("bits", [8, 16])
def test_pictures_to_pictures(suffix: str, bits: int, tmp_path: Path, colorize: Colorize):
    write_sequence(f"{tmp_path}/scan/reel_{{:06}}{suffix}", 4, first=86399, bits=bits)
    target = tmp_path / "new" / "out" / f"reel_%06d{suffix}"
    result = colorize(tmp_path / "scan", target)
    assert result == VideoResult(4, 1, [])
    names = [f"reel_{number:06}{suffix}" for number in range(86399, 86403)]
    assert sorted(file.name for file in target.parent.iterdir()) == names
    for name in names:
        old, new = (read(folder / name) for folder in (tmp_path / "scan", target.parent))
        assert new.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
        L, L_of_source = (
            rgb_to_lab(p.to_srgb().astype(np.float32) / 255)[..., 0] for p in (new, old)
        )
        assert np.abs(L - L_of_source).mean() < 0.5
        assert is_in_color(new.pixels)
        if suffix == ".dpx":
            header = new.encoding.options["header"]
            assert header[160:].startswith(b"colours added by photochrom")
        else:
            assert "colours added by photochrom" in (new.metadata.mark or "")
            assert new.metadata.density == old.metadata.density is not None


@pytest.mark.parametrize(("name", "bits"), [("a.mkv", 16), ("a.mp4", 8), ("a.mov", 8)])
def test_pictures_to_film(name: str, bits: int, tmp_path: Path, colorize: Colorize):
    write_sequence(f"{tmp_path}/scan/a{{:03}}.tif", 5, first=7, bits=bits)
    rate = Fraction(24000, 1001)
    colorize(tmp_path / "scan" / "a%03d.tif", tmp_path / name, rate=rate, quality=2)
    with av.open(str(tmp_path / name)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert container.streams.video[0].average_rate == pytest.approx(rate, rel=1e-3)
        assert (
            container.metadata.get("comment", container.metadata.get("COMMENT")).count("added") == 1
        )
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([n / rate for n in range(5)], abs=1e-3)
    assert frames[0].format.name == ("yuv420p10le" if bits == 16 else "yuv420p")
    assert (frames[0].color_primaries, frames[0].color_trc) == (1, 13)
    for number, frame in enumerate(read_frames(tmp_path / name), 7):
        old = open_photo(tmp_path / "scan" / f"a{number:03}.tif").to_srgb()
        L, L_of_source = (rgb_to_lab(p.astype(np.float32) / 255)[..., 0] for p in (frame, old))
        assert np.abs(L - L_of_source).mean() < 2
        assert is_in_color(frame)


def test_film_to_pictures(tmp_path: Path, colorize: Colorize):
    path = write_video(
        tmp_path / "a.mkv",
        still_shot(12),
        pixel_format="yuv420p10le",
        aspect=Fraction(4, 3),
        rotation=90,
        audio="flac",
        subtitles="subrip",
    )
    result = colorize(path, tmp_path / "out" / "frame_%04d.png")
    assert result.left_out == [
        "audio stream 1 (flac)",
        "subtitle stream 2 (srt)",
        "the pixel aspect ratio 4/3",
    ]
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"frame_{number:04}.png" for number in range(1, 13)]
    video = probe(path)
    for frame, file in zip(decode(video), files, strict=True):
        old, new = to_photo(frame, video), open_photo(file)
        assert new.pixels.dtype == np.uint16
        assert new.size == old.size == (64, 96)
        L, L_of_source = (
            rgb_to_lab(p.to_srgb().astype(np.float32) / 255)[..., 0] for p in (new, old)
        )
        assert np.abs(L - L_of_source).mean() < 0.5
        assert is_in_color(new.pixels)


def test_profile_is_kept_in_pictures_and_applied_in_films(tmp_path: Path, colorize: Colorize):
    adobe = build_profile(2.2, Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), (0.3127, 0.329)))
    for name, profile, channels in (("rgb", adobe, 3), ("grey", build_profile(1.8, None), 1)):
        for number, frame in enumerate(still_shot(2, grain=0)):
            pixels = np.repeat(frame[..., None].astype(np.uint16) * 257, channels, axis=2)
            photo = Photo(pixels, metadata=Metadata(icc=profile))
            (tmp_path / name).mkdir(exist_ok=True)
            save_photo(photo, tmp_path / name / f"{number}.tif")
        colorize(tmp_path / name, tmp_path / f"{name}-out" / "%d.tif")
        colorize(tmp_path / name, tmp_path / f"{name}.mkv", quality=2)
        picture = open_photo(tmp_path / f"{name}-out" / "1.tif")
        assert (picture.metadata.icc == profile) == (name == "rgb")
        film = read_frames(tmp_path / f"{name}.mkv")[1].astype(int)
        assert np.abs(film - picture.to_srgb()).mean() < 3  # chroma is subsampled


def test_output_does_not_depend_on_processes_or_interruptions(
    tmp_path: Path, colorize: Colorize, monkeypatch: pytest.MonkeyPatch
):
    write_sequence(f"{tmp_path}/scan/a{{:03}}.tif", 40, first=500)
    pattern = tmp_path / "scan" / "a%03d.tif"
    target = tmp_path / "two" / "b%03d.tif"
    folder = tmp_path / "two" / "b%03d.tif.partial"
    colorize(pattern, tmp_path / "one" / "b%03d.tif")
    renamed = []

    def interrupt(stage: str, done: int, total: int) -> None:
        if any(folder.glob("?" * 16)):
            raise KeyboardInterrupt

    def rename_two(*paths: Path, overwrite: bool) -> None:
        if len(renamed) == 2:
            raise KeyboardInterrupt
        renamed.append(paths)
        rename(*paths, overwrite=overwrite)

    with pytest.raises(KeyboardInterrupt):
        colorize(pattern, target, progress=interrupt)
    assert [file.name for file in (tmp_path / "two").iterdir()] == [folder.name]
    assert not list(folder.glob("*.part"))
    (folder / f"{16 * 'a'}.12.part").mkdir()  # as a kill leaves it
    with monkeypatch.context() as patch:
        patch.setattr("photochrom.video.reading.sequences.rename", rename_two)
        with pytest.raises(KeyboardInterrupt):
            colorize(pattern, target, processes=2)
    assert {file.name for file in target.parent.glob("*.tif")} == {"b500.tif", "b501.tif"}
    progress: list[tuple[str, int, int]] = []
    colorize(pattern, target, progress=lambda *step: progress.append(step))
    assert progress == [("colorizing", 40, 40)]
    one, two = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    )
    assert sorted(one) == [f"b{number}.tif" for number in range(500, 540)]
    assert one == two


def test_only_changed_shots_are_colorized_again(tmp_path: Path, colorize: Colorize):
    write_sequence(f"{tmp_path}/scan/a{{:03}}.png", 20)
    for number, frame in enumerate(still_shot(20, seed=1, size=(32, 24)), 20):
        save_photo(Photo(frame[..., None]), tmp_path / "scan" / f"a{number:03}.png")
    shots, target = tmp_path / "shots.json", tmp_path / "out" / "%03d.png"
    folder = tmp_path / "out" / "%03d.png.partial"
    assert colorize(tmp_path / "scan", target, shots=shots).checkpoint == folder
    before = {file.name: file.read_bytes() for file in target.parent.glob("*.png")}
    content = json.loads(shots.read_text())
    assert len(content["shots"]) == 2
    content["shots"][1]["colored"] = True
    shots.write_text(json.dumps(content))
    progress: list[tuple[str, int, int]] = []
    with pytest.raises(PhotochromError, match=r"000.png exists already; use --overwrite"):
        colorize(tmp_path / "scan", target, shots=shots)
    colorize(
        *(tmp_path / "scan", target),
        shots=shots,
        overwrite=True,
        progress=lambda *step: progress.append(step),
    )
    assert progress[0] == ("colorizing", 20, 40)
    after = {file.name: file.read_bytes() for file in target.parent.glob("*.png")}
    assert sorted(name for name in before if before[name] != after[name]) == [
        f"{number:03}.png" for number in range(20, 40)
    ]
    old, new = (open_photo(tmp_path / path) for path in ("scan/a030.png", "out/030.png"))
    assert (old.pixels == new.pixels).all()  # what is in colour already is left alone
    assert new.metadata.mark is None


def test_folder_is_made_by_two_processes(tmp_path: Path):
    with open_folder(tmp_path / "a", ".png") as write, open_folder(tmp_path / "a", ".png") as other:
        for number in range(3):
            write(Photo(np.full((8, 8, 3), number, np.uint8)))
            other(Photo(np.full((8, 8, 3), number, np.uint8)))
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["0.png", "1.png", "2.png"]
    with (
        pytest.raises(PhotochromError, match=r"no transparency"),
        open_folder(tmp_path / "b", ".dpx") as write,
    ):
        write(Photo(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)))
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_existing_pictures_are_not_replaced(tmp_path: Path, colorize: Colorize):
    write_sequence(f"{tmp_path}/scan/a{{:03}}.png", 3, first=5)
    film = write_video(tmp_path / "a.mkv", still_shot(3))
    touch(tmp_path / "out", "b004.png", "b006.png")
    target = tmp_path / "out" / "b%03d.png"

    def fail(*_: object) -> None:
        raise AssertionError("work was begun")

    with pytest.raises(PhotochromError, match=r"b006.png exists already; use --overwrite"):
        colorize(tmp_path / "scan", target, progress=fail)
    with pytest.raises(PhotochromError, match=r"b004.png exists already; use --overwrite"):
        colorize(film, target, progress=fail)
    colorize(tmp_path / "scan", target, overwrite=True)
    assert (tmp_path / "out" / "b004.png").stat().st_size == 0
    assert open_photo(tmp_path / "out" / "b006.png").size == (32, 24)
    source = tmp_path / "out" / ".." / "scan" / "a%03d.png"
    with pytest.raises(PhotochromError, match=r"a%03d.png is the source itself"):
        colorize(tmp_path / "scan", source, overwrite=True, progress=fail)

    write_sequence(f"{tmp_path}/ten/a{{:02}}.png", 2, first=9)
    with pytest.raises(PhotochromError, match=r"a%d.png is the source itself"):  # a10.png is
        colorize(tmp_path / "ten", tmp_path / "ten" / "a%d.png", overwrite=True, progress=fail)

    def write_another(stage: str, done: int, total: int) -> None:
        touch(tmp_path / "new", "b006.png")

    with pytest.raises(PhotochromError, match=r"b006.png exists already; use --overwrite"):
        colorize(tmp_path / "scan", tmp_path / "new" / "b%03d.png", progress=write_another)
    assert (tmp_path / "new" / "b006.png").stat().st_size == 0
    for name in ("b005.png", "b006.png"):  # nor by the same command again
        with pytest.raises(PhotochromError, match=rf"{name} exists already; use --overwrite"):
            colorize(tmp_path / "scan", tmp_path / "new" / "b%03d.png")
        (tmp_path / "new" / "b005.png").unlink(missing_ok=True)
    assert (tmp_path / "new" / "b006.png").stat().st_size == 0


def test_unsupported_requests_are_refused_before_any_work(tmp_path: Path, colorize: Colorize):
    write_sequence(f"{tmp_path}/scan/a{{:03}}.png", 2)
    film, scan = write_video(tmp_path / "a.mkv", still_shot(2)), tmp_path / "scan"
    touch(tmp_path, "file")
    alpha = Photo(np.zeros((24, 32, 1), np.uint8), np.zeros((24, 32), np.uint8))
    save_photo(alpha, tmp_path / "rgba1.png")
    for path, name, options, message in (
        (film, "b%d.png", {"rate": Fraction(24)}, "a.mkv is a video, which has its own rate"),
        (scan, "b%d.png", {"codec": "ffv1"}, "--codec and --quality are for videos"),
        (scan, "b%d.png", {"quality": 3}, "--codec and --quality are for videos"),
        (tmp_path / "rgba%d.png", "%d.dpx", {}, r"rgba1.png has transparency"),
        (scan, "b%d.jpg", {}, r"has to end in .dpx, .png, .tif, .tiff"),
        (film, "out", {}, r"out has to end in .*; for an image sequence.*reel_%06d.tif"),
        (scan, "file/b%d.png", {}, "file is not a folder"),
        (film, "scan", {}, r"scan is not a file; .*scan/reel_%06d.tif for an image sequence"),
        (scan, "b.mkv", {"max_pixels": 700}, "frames of 32x24 pixels, more than the limit of 700"),
        (scan / "a000.png", "b.mkv", {}, r"is an image .*a pattern such as reel_%06d.tif"),
    ):
        with pytest.raises(PhotochromError, match=message):
            colorize(path, tmp_path / name, **options)
    assert {file.name for file in tmp_path.iterdir()} == {"a.mkv", "file", "rgba1.png", "scan"}


def test_what_is_not_kept_is_said(tmp_path: Path, colorize: Colorize):
    write_sequence(f"{tmp_path}/a{{}}.dpx", 1)
    data = bytearray((tmp_path / "a0.dpx").read_bytes())
    data[801] = 1
    (tmp_path / "a0.dpx").write_bytes(data)
    lines: list[str] = []
    colorize(tmp_path / "a%d.dpx", tmp_path / "b.mkv", notify=lines.append)
    assert [line.partition(", but")[0] for line in lines] == [
        f"{tmp_path / 'a%d.dpx'}: the header says printing density"
    ]
    photo = Photo(np.zeros((32, 48, 3), np.uint8), metadata=Metadata(comments=("mine",)))
    save_photo(photo, tmp_path / "c0.png")
    colorize(tmp_path / "c%d.png", tmp_path / "c%d.dpx", notify=lines.append)
    assert lines[1:] == [f"{tmp_path / 'c%d.png'}: the comment is lost: a DPX cannot hold it"]


def test_damaged_and_other_pictures_are_named(tmp_path: Path, colorize: Colorize):
    write_sequence(f"{tmp_path}/scan/a{{:03}}.png", 3)
    save_photo(
        Photo(np.zeros((32, 24, 1), np.uint8)), tmp_path / "scan" / "a002.png", overwrite=True
    )
    with pytest.raises(PhotochromError, match=r"a002.png has 24x32 px and the first picture 32x24"):
        colorize(tmp_path / "scan", tmp_path / "b.mkv")
    (tmp_path / "scan" / "a002.png").write_bytes(b"text")
    with pytest.raises(PhotochromError, match=r"a002.png"):
        colorize(tmp_path / "scan", tmp_path / "b.mkv")
    assert {file.name for file in tmp_path.iterdir()} == {"scan"}


def test_a_changed_picture_is_noticed(tmp_path: Path, colorize: Colorize):
    write_sequence(f"{tmp_path}/scan/a{{:03}}.png", 3)

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "colorizing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        colorize(tmp_path / "scan", tmp_path / "b.mkv", progress=interrupt)
    write_sequence(f"{tmp_path}/scan/a{{:03}}.tmp.png", 1)
    (tmp_path / "scan" / "a000.tmp.png").replace(tmp_path / "scan" / "a001.png")
    with pytest.raises(VideoError, match="was started with a different video"):
        colorize(tmp_path / "scan", tmp_path / "b.mkv")


def test_command(tmp_path: Path, tiny_onnx: Path):
    write_sequence(f"{tmp_path}/scan/a{{:03}}.png", 3)
    command = ["video", f"{tmp_path}/scan", f"{tmp_path}/a.mkv", "--model", str(tiny_onnx), "-j1"]
    result = CliRunner().invoke(main, [*command, "--rate", "16"])
    assert result.exit_code == 0, result.output
    with av.open(f"{tmp_path}/a.mkv") as container:
        assert container.streams.video[0].average_rate == 16
    command[1:3] = [f"{tmp_path}/a.mkv", f"{tmp_path}/out/%d.dpx"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert result.output.endswith("out/%d.dpx: 3 frames, 1 shots\n")
    result = CliRunner().invoke(main, [*command, "--rate", "fast"])
    assert result.exit_code != 0
    assert "the rate is 'fast'; give frames per second" in result.output


def read(path: Path) -> Photo:
    return dpx.read(path) if path.suffix == ".dpx" else open_photo(path)


def is_in_color(pixels: np.ndarray) -> bool:
    return bool(np.ptp(pixels.astype(float), axis=2).mean() > 0.02 * np.iinfo(pixels.dtype).max)
