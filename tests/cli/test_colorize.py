import errno
import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import photochrom
from photochrom.batch.planning import Job
from photochrom.batch.process_pool import WorkerStartError
from photochrom.batch.report import Result as BatchResult
from photochrom.batch.runner import Settings
from photochrom.cli import main
from photochrom.errors import RunError
from photochrom.imagefile.reading import open_photo
from support.models import write_model

KEYS = [
    *("input", "output", "status", "seconds", "width", "height", "model", "error", "error_code"),
    *("reason", "warnings", "input_version", "output_version", "hints"),
]
"""Of a line of a report."""


@pytest.fixture
def run(tiny_onnx: Path):
    def run(*arguments: str | Path, model: bool = True) -> Result:
        options = ["--model", str(tiny_onnx)] if model else []
        return CliRunner().invoke(main, ["colorize", *map(str, arguments), *options])

    return run


def test_a_photo_is_colorized_beside_itself(run, photo_file: Path):
    before = hashlib.sha256(photo_file.read_bytes()).digest()
    result = run(photo_file)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "1 done, 0 skipped, 0 failed\n"
    assert hashlib.sha256(photo_file.read_bytes()).digest() == before
    with Image.open(photo_file.with_name("old-color.jpg")) as image:
        assert (image.size, image.mode) == ((64, 48), "RGB")


def test_an_existing_result_is_skipped_without_overwrite(run, photo_file: Path):
    output = photo_file.with_name("old-color.jpg")
    output.write_bytes(b"mine")
    result = run(photo_file.parent)
    assert result.exit_code == 0
    assert result.stderr == f"skipped {photo_file}: {output} exists\n0 done, 1 skipped, 0 failed\n"
    assert output.read_bytes() == b"mine"
    assert run(photo_file, "--overwrite").stderr == "1 done, 0 skipped, 0 failed\n"
    assert output.read_bytes() != b"mine"


def test_json_has_one_object_per_photo(run, photo_file: Path, tmp_path: Path):
    (photo_file.parent / "bad.png").write_text("text")
    result = run(photo_file.parent, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    lines = map(json.loads, result.stdout.splitlines())  # in any order
    good, bad = sorted(lines, key=lambda line: line["status"])
    assert list(bad) == list(good) == KEYS
    assert (bad["status"], bad["width"]) == ("failed", None)
    assert "not a photo" in bad["error"]
    assert (good["status"], good["width"], good["height"]) == ("done", 64, 48)
    assert good["output"] == str(tmp_path / "out" / "old.jpg")
    assert good["error"] is None


@pytest.mark.parametrize("data", [b"", b"text" * 99, b"\xff\xd8\xff\xe0"])
def test_an_invalid_file_prints_one_line_and_fails_alone(run, photo_file: Path, data: bytes):
    bad = photo_file.with_name("a.jpg")
    bad.write_bytes(data)
    result = run(photo_file.parent)
    assert result.exit_code == 1
    reason, _, summary = result.stderr.splitlines()
    assert reason.startswith(f"failed {bad}: ")
    assert summary == "1 done, 0 skipped, 1 failed"
    assert sorted(p.name for p in photo_file.parent.iterdir()) == [
        "a.jpg",
        "old-color.jpg",
        "old.jpg",
    ]


def test_line_breaks_in_names_are_escaped(run, photo_file: Path):
    bad = photo_file.with_name("a\nb\x1b[1m.jpg")
    bad.write_text("text")
    reason, _ = run(bad).stderr.splitlines()
    assert reason.startswith(f"failed {photo_file.parent}/a\\nb\\x1b[1m.jpg: ")


def test_an_interrupt_prints_the_counts(run, photo_file: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object, **__: object) -> Iterator[BatchResult]:
        yield BatchResult(photo_file, photo_file, "done", 0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr("photochrom.batch.runner.colorize_all", interrupted)
    result = run(photo_file.parent)
    assert result.exit_code == 1
    assert result.stderr.split("\n")[0] == "1 done, 0 skipped, 0 failed"


def test_workers_that_cannot_start_end_it_with_one_sentence(
    run, photo_file: Path, monkeypatch: pytest.MonkeyPatch
):
    def cannot_start(*_: object, **__: object) -> Iterator[BatchResult]:
        raise WorkerStartError("cannot start a worker process")
        yield

    monkeypatch.setattr("photochrom.batch.runner.colorize_all", cannot_start)
    result = run(photo_file.parent)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "Error: cannot start a worker process"


def test_a_report_of_a_refused_model_is_not_left_behind(run, photo_file: Path, tmp_path: Path):
    report = tmp_path / "report"
    for options in (("--model", tmp_path / "none.onnx"), ("--device", "cuda")):
        result = run(photo_file, "--report", report, *options, model=options[0] != "--model")
        assert result.exit_code > 0
        assert not report.exists()
    assert run(photo_file, "--report", report).exit_code == 0


def test_a_photo_that_is_named_like_a_result_is_said(run, photo_file: Path, tmp_path: Path):
    other = photo_file.with_name("old-color.jpg")
    other.write_bytes(photo_file.read_bytes())
    result = run(photo_file, other, "-o", tmp_path / "out")
    assert result.stderr.splitlines() == [
        f"ignored {other}: it is named like a result of {photo_file}; colorize it on its own",
        "1 done, 0 skipped, 0 failed, 1 ignored",
    ]


def test_wrong_usage_exits_with_2(run, photo_file: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for arguments, reason in [
        ((), "Missing argument"),
        ((tmp_path / "none.jpg",), "there is no file or folder"),
        ((tmp_path / "empty",), "has no photo"),
        ((photo_file, "-o", photo_file), "give a folder"),
        ((photo_file, "--colour"), "No such option"),
        (("",), "an input is empty; give a photo, or . for the current folder"),
        (("file://",), "an input is empty"),
        ((photo_file, "-o", ""), "the name of the folder for the results is empty"),
        ((photo_file, "--report", ""), "it is empty; give a path"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 2
        assert reason in result.stderr
        assert result.stdout == ""
    assert list(photo_file.parent.iterdir()) == [photo_file]


def test_a_clash_of_names_fails_alone(run, photo_file: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("old.jpg", "new.jpg"):
        (other / name).write_bytes(photo_file.read_bytes())
    result = run(photo_file.parent, other, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    *reasons, summary = result.stderr.splitlines()
    assert summary == "1 done, 0 skipped, 2 failed"
    assert [reason.split(": ")[0] for reason in reasons] == [
        f"failed {photo_file}",
        f"failed {other / 'old.jpg'}",
    ]
    assert len(result.stdout.splitlines()) == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new.jpg"]


def test_an_output_in_place_of_a_photo_fails(run, photo_file: Path):
    before = photo_file.read_bytes()
    result = run(photo_file, "-o", photo_file.parent, "--overwrite")
    assert result.exit_code == 1
    assert "would be replaced" in result.stderr
    assert photo_file.read_bytes() == before


def test_ignored_files_are_counted_and_reported(run, photo_file: Path, tmp_path: Path):
    for name in ("notes.txt", "Thumbs.db", ".hidden"):
        (photo_file.parent / name).touch()
    report = tmp_path / "report"
    result = run(photo_file.parent, "-o", tmp_path / "out", "--json", "--report", report)
    assert (result.exit_code, result.stderr) == (0, "1 done, 0 skipped, 0 failed, 2 ignored\n")
    assert result.stdout == report.read_text()
    lines = {Path(line["input"]).name: line for line in map(json.loads, result.stdout.splitlines())}
    assert lines.keys() == {"old.jpg", "notes.txt", "Thumbs.db"}
    assert (lines["notes.txt"]["status"], lines["notes.txt"]["output"]) == ("ignored", None)
    assert ".txt is not the suffix of a photo" in lines["notes.txt"]["reason"]


def test_checksums_are_reported_on_request(run, photo_file: Path):
    for options in ((), ("--checksum", "--overwrite")):
        line = json.loads(run(photo_file, "--json", *options).stdout)
        for key in ("input", "output"):
            path, version = Path(line[key]), line[f"{key}_version"]
            assert version["size"] == path.stat().st_size
            assert version["mtime_ns"] == path.stat().st_mtime_ns
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if options else None
            assert version["sha256"] == sha256


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_a_broken_pipe_ends_quietly_with_an_intact_report(photo_file: Path, tiny_onnx: Path):
    for number in range(40):
        (photo_file.parent / f"{number:02}.jpg").write_bytes(photo_file.read_bytes())
    report = photo_file.parent.parent / "report.jsonl"
    command = [sys.executable, "-m", "photochrom", "colorize", photo_file.parent]
    command += ["--model", tiny_onnx, "-j", "2", "--json", "--report", report]
    line = " ".join(shlex.quote(str(part)) for part in command)
    answer = subprocess.run(
        f"{line} | head -1", shell=True, capture_output=True, text=True, check=False
    )
    assert len(answer.stdout.splitlines()) == 1
    assert answer.stderr == ""
    lines = report.read_text().splitlines(keepends=True)
    assert 1 <= len(lines) < 41
    assert all(json.loads(line)["status"] == "done" and line[-1] == "\n" for line in lines)
    assert lines[0] == answer.stdout


def test_a_missing_model_is_wrong_usage_and_a_damaged_one_is_not(
    run, photo_file: Path, tmp_path: Path
):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    for model, code in (("none.onnx", 2), ("bad.onnx", 1)):
        result = run(photo_file, "--model", tmp_path / model, model=False)
        assert result.exit_code == code
        assert model in result.stderr.splitlines()[-1]
    assert list(photo_file.parent.iterdir()) == [photo_file]


def test_what_is_damaged_or_missing_here_is_no_wrong_usage(
    run_hinted, photo_file: Path, tmp_path: Path
):
    (tmp_path / "report").write_text("no report\n")
    (tmp_path / "hints.json").write_text("[")
    for arguments, reason in [
        (("--resume", tmp_path / "report"), f"line 1 of {tmp_path / 'report'} is not a line"),
        (("--hints", tmp_path / "hints.json"), "hints.json is not JSON"),
        (("--device", "cuda"), "device cuda cannot be used"),
    ]:
        result = run_hinted(photo_file, *arguments)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("Error: ")
        assert reason in result.stderr
    assert list(photo_file.parent.iterdir()) == [photo_file]


def test_a_full_disk_leaves_no_file(run, photo_file: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    result = run(photo_file)
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert list(photo_file.parent.iterdir()) == [photo_file]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RunError("the run is not complete"), "Error: the run is not complete\n"),
        (PermissionError(13, "Permission denied", "/x"), "Error: /x: Permission denied\n"),
        (OSError("odd"), "Error: odd\n"),
    ],
)
def test_every_command_reports_errors_in_one_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch
):
    @click.command()
    def fail() -> None:
        raise error

    monkeypatch.setitem(main.commands, "fail", fail)
    result = CliRunner().invoke(main, ["fail"])
    assert (result.exit_code, result.stderr) == (1, line)


def test_version_is_printed():
    result = CliRunner().invoke(main, ["--version"])
    assert result.output.strip().endswith(photochrom.__version__)


def test_help_imports_no_large_packages():
    code = (
        "import sys\n"
        "from photochrom.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'numpy', 'PIL', 'cv2', 'onnxruntime', 'torch', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.stderr == ""
    assert "colorize" in answer.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_closed_streams_are_ignored(photo_file: Path, tiny_onnx: Path):
    command = [sys.executable, "-m", "photochrom", "colorize", photo_file, "--model", tiny_onnx]
    line = " ".join(shlex.quote(str(part)) for part in command)
    assert subprocess.run(f"{line} >&- 2>&-", shell=True, check=False).returncode == 0
    with Image.open(photo_file.with_name("old-color.jpg")) as image:
        assert image.size == (64, 48)


def test_the_module_runs_the_command(photo_file: Path, tiny_onnx: Path):
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "photochrom",
            "colorize",
            str(photo_file),
            "--model",
            str(tiny_onnx),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (0, "")
    assert answer.stderr == "1 done, 0 skipped, 0 failed\n"


def test_rendering_options_change_the_result(run, photo_file: Path, tmp_path: Path):
    for name, options in (
        ("plain", ()),
        ("grey", ("--saturation", 0)),
        ("weak", ("--strength", 0)),
    ):
        assert run(photo_file, "-o", tmp_path / name, *map(str, options)).exit_code == 0
    pixels = {}
    for name in ("plain", "grey", "weak"):
        with Image.open(tmp_path / name / "old.jpg") as image:
            pixels[name] = image.convert("RGB").getpixel((20, 20))
            marked = b"colours added by photochrom" in image.info.get("xmp", b"")
            assert marked == (name == "plain")
    assert max(pixels["plain"]) - min(pixels["plain"]) > 3
    assert max(pixels["grey"]) - min(pixels["grey"]) <= 3
    assert pixels["grey"] == pixels["weak"]
    run(photo_file, "-o", tmp_path / "bare", "--no-mark")
    with Image.open(tmp_path / "bare" / "old.jpg") as image:
        assert "xmp" not in image.info


def test_a_report_resumes(run, photo_file: Path, tmp_path: Path):
    report, out = tmp_path / "report.jsonl", tmp_path / "out"
    bad = photo_file.with_name("bad.png")
    bad.write_text("text")
    assert run(photo_file.parent, "-o", out, "--report", report).exit_code == 1
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert sorted(line["status"] for line in lines) == ["done", "failed"]
    assert list(lines[0]) == KEYS
    Image.new("L", (30, 20), 90).save(bad)
    again = run(photo_file.parent, "-o", out, "--resume", report)
    assert (again.exit_code, again.stderr) == (0, "1 done, 0 skipped, 0 failed\n")
    assert len(report.read_text().splitlines()) == 3
    assert run(photo_file.parent, "-o", out, "--resume", report).stderr == (
        "0 done, 0 skipped, 0 failed\n"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--saturation", "5"), "saturation is 5.0; it has to be from 0 to 4"),
        (("--size", "8"), "size is 8"),
        (("--jobs", "0"), "0 is not in the range x>=1"),
        (("--device", "gpu"), "'gpu' is not one of 'auto', 'cpu'"),
        (("--report", "a", "--resume", "b"), "leave out --report"),
        (("--resume", "none.jsonl"), "there is no report none.jsonl; start one with --report"),
        (("--address", "auto"), "--address needs --engine ray"),
        (("--max-pixels", "0"), "0 is not in the range x>=1"),
    ],
)
def test_invalid_options_exit_with_2(run, photo_file: Path, arguments, reason: str):
    result = run(photo_file, *arguments)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert list(photo_file.parent.iterdir()) == [photo_file]


def test_a_photo_above_max_pixels_fails(run, photo_file: Path):
    result = run(photo_file, "--max-pixels", "100")
    assert result.exit_code == 1
    assert "has 0.003072 megapixels; the limit is 0.0001" in result.stderr


@pytest.fixture
def colored(photo_file: Path, picture: Image.Image) -> Path:
    """A photo in colour beside the grey one."""
    path = photo_file.with_name("new.png")
    picture.resize((256, 192)).save(path)
    return path


def test_a_batch_leaves_out_photos_in_color_with_a_line_each(run, photo_file: Path, colored: Path):
    result = run(photo_file.parent, "--json")
    assert result.exit_code == 0
    assert f"ignored {colored}: it is in colour already; --recolor colorizes it\n" in result.stderr
    assert result.stderr.endswith("1 done, 0 skipped, 0 failed, 1 ignored\n")
    (line,) = (
        line for line in map(json.loads, result.stdout.splitlines()) if "new" in line["input"]
    )
    assert (line["status"], line["width"], line["model"]) == ("ignored", 256, None)
    assert not colored.with_name("new-color.png").exists()


def test_recolor_colorizes_photos_in_color(run, photo_file: Path, colored: Path):
    result = run(photo_file.parent, "--recolor")
    assert result.stderr.splitlines()[-1] == "2 done, 0 skipped, 0 failed"
    assert "warning" not in result.stderr


def test_resume_looks_at_photos_in_color_again_only_if_they_changed(
    run, photo_file: Path, colored: Path, tmp_path: Path
):
    report = tmp_path / "r"
    run(photo_file.parent, "--report", report)
    again = (photo_file.parent, "--resume", report)
    assert run(*again).stderr == "0 done, 0 skipped, 0 failed\n"
    assert run(*again, "--recolor").stderr == "1 done, 0 skipped, 0 failed\n"
    colored.with_name("new-color.png").unlink()
    Image.new("RGB", (40, 30), (90, 80, 60)).save(colored)
    assert run(*again).stderr == "1 done, 0 skipped, 0 failed\n"


def test_a_single_photo_in_color_is_colorized_with_a_warning(run, colored: Path):
    result = run(colored)
    assert "warning" in result.stderr
    assert "it is in colour; its own colours are lost" in result.stderr
    assert result.stderr.splitlines()[-1] == "1 done, 0 skipped, 0 failed"


def test_the_warning_says_what_becomes_of_the_colors(run, colored: Path, tmp_path: Path):
    result = run(colored, "-o", tmp_path, "--strength", "0")
    assert result.stderr == "1 done, 0 skipped, 0 failed\n"
    result = run(colored, "-o", tmp_path, "--strength", "0.5", "--overwrite")
    assert "it is in colour; its own colours are mixed with new ones\n" in result.stderr


def test_a_photo_with_our_mark_is_in_color(run, photo_file: Path, tmp_path: Path):
    run(photo_file, "-o", tmp_path / "out")
    (tmp_path / "out" / "old.jpg").rename(photo_file.with_name("marked.jpg"))
    assert "1 ignored" in run(photo_file.parent, "-o", tmp_path / "out").stderr


def test_results_get_the_mode_of_their_photos_and_their_times_on_request(run, photo_file: Path):
    photo_file.chmod(0o640)
    os.utime(photo_file, ns=(10**18, 9 * 10**17))
    output = photo_file.with_name("old-color.jpg")
    run(photo_file)
    assert output.stat().st_mode & 0o777 == 0o640
    assert output.stat().st_mtime > 1.5e9
    run(photo_file, "--overwrite", "--times", "--sidecar")
    assert output.stat().st_mtime_ns == 9 * 10**17
    assert output.with_name("old-color.jpg.xmp").stat().st_mode & 0o777 == 0o640


def test_a_sidecar_that_exists_leaves_no_result_behind(run, photo_file: Path, tmp_path: Path):
    output = photo_file.with_name("old-color.jpg")
    sidecar = photo_file.with_name("old-color.jpg.xmp")
    sidecar.write_text("mine")
    report = tmp_path / "report.jsonl"
    result = run(photo_file, "--sidecar", "--report", report)
    assert f"failed {photo_file}: {sidecar} exists already; remove it" in result.stderr
    assert sidecar.read_text() == "mine"
    assert not output.exists()
    sidecar.unlink()
    result = run(photo_file, "--sidecar", "--resume", report)
    assert result.stderr.splitlines()[-1] == "1 done, 0 skipped, 0 failed"
    assert output.exists()
    assert sidecar.exists()


def test_a_sidecar_is_read_and_one_is_written_on_request(run, photo_file: Path, tmp_path: Path):
    sidecar = photo_file.with_suffix(".xmp")
    sidecar.write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" '
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:City="Ulm"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
    result = run(photo_file.parent, "-o", tmp_path / "out", "--sidecar")
    assert result.stderr == "1 done, 0 skipped, 0 failed\n"  # the sidecar is no ignored file
    photo = open_photo(tmp_path / "out" / "old.jpg")
    assert photo.size == (48, 64)
    assert b"Ulm" in photo.metadata.xmp
    written = (tmp_path / "out" / "old.jpg.xmp").read_bytes()
    assert b"Ulm" in written
    assert b"photochrom:colorized" in written
    assert not run(photo_file, "-o", tmp_path / "2", "--no-mark").exit_code
    assert [path.name for path in (tmp_path / "2").iterdir()] == ["old.jpg"]


def snapshot(folder: Path) -> list[tuple[Path, int]]:
    return [(path, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))]


def test_a_dry_run_says_what_becomes_what_and_writes_nothing(
    run, photo_file: Path, colored: Path, tmp_path: Path
):
    folder = photo_file.parent
    (folder / "bad.tif").write_text("text")
    (folder / "notes.txt").touch()
    (folder / "there.png").write_bytes(colored.read_bytes())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "there.png").touch()
    before = snapshot(tmp_path)
    result = run(folder, "-o", tmp_path / "out", "--dry-run")
    assert snapshot(tmp_path) == before
    assert result.exit_code == 1  # as of the run itself
    out = tmp_path / "out"
    lines = [f"{colored} -> {out / 'new.png'}", f"{photo_file} -> {out / 'old.jpg'}"]
    assert result.stdout.splitlines() == lines
    assert f"failed {folder / 'bad.tif'}: " in result.stderr
    assert f"skipped {folder / 'there.png'}: " in result.stderr
    assert "estimate for 2 photos of 0.1 megapixels: " in result.stderr
    assert f"measured: {photo_file}, 0.0 megapixels: " in result.stderr
    assert result.stderr.endswith("2 planned, 1 skipped, 1 failed, 1 ignored\n")


def test_a_dry_run_in_json_ends_with_the_estimate(run, photo_file: Path, colored: Path):
    result = run(photo_file.parent, "--dry-run", "--json")
    assert result.exit_code == 0
    *photos, last = map(json.loads, result.stdout.splitlines())
    assert [(photo["status"], photo["width"]) for photo in photos] == [
        ("planned", 256),
        ("planned", 64),
    ]
    estimate = last["estimate"]
    assert (estimate["photos"], estimate["left_out"]) == (2, 0)
    assert estimate["megapixels"] == pytest.approx((256 * 192 + 64 * 48) / 1e6)
    assert estimate["seconds"] > 0
    sizes = [sample["bytes"] for sample in estimate["samples"]]
    assert estimate["bytes"] == sum(sizes)


@pytest.mark.parametrize(
    "arguments", [["--format", "jpeg"], ["--crop", "0,0,200,100"], ["--hint", "200,100,red"]]
)
def test_a_dry_run_measures_with_options_that_do_not_fit_the_tiny_photo(
    run_hinted, colored: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
):
    results = []

    def load_model(settings: Settings) -> Callable[[Job], BatchResult]:
        colorize = load(settings)

        def colorize_and_keep(job: Job, **options: Any) -> BatchResult:
            results.append(colorize(job, **options))
            return results[-1]

        return colorize_and_keep

    load = Settings.load_model
    monkeypatch.setattr(Settings, "load_model", load_model)
    assert run_hinted(colored, "--dry-run", *arguments).exit_code == 0
    assert [result.error for result in results] == [None] * 6
    assert len({result.hints for result in results}) == 1 + ("--hint" in arguments)


def test_a_dry_run_of_damaged_photos_says_that_they_are_not_in_the_estimate(run, photo_file: Path):
    photo_file.write_bytes(photo_file.read_bytes()[:400])  # the header is complete
    result = run(photo_file, "--dry-run")
    assert "not in the estimate: 1 photos" in result.stderr


def test_a_dry_run_takes_no_report(run, photo_file: Path, tmp_path: Path):
    assert run(photo_file, "--dry-run", "--report", tmp_path / "r").exit_code == 2
    run(photo_file, "--report", tmp_path / "r")
    before = (tmp_path / "r").read_bytes()
    result = run(photo_file, "--dry-run", "--resume", tmp_path / "r")
    assert result.stderr == "0 planned, 0 skipped, 0 failed\n"
    assert (tmp_path / "r").read_bytes() == before


def test_geometry(run, photo_file: Path):
    arguments = ["--turn", "90", "--straighten", "-1.5", "--crop", "3,4,30,40"]
    result = run(photo_file, *arguments)
    assert result.exit_code == 0, result.stderr
    with Image.open(photo_file.with_name("old-color.jpg")) as image:
        assert image.size == (30, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--crop", "1,2,3"], "'1,2,3' has to be four whole numbers: left,top,width,height in px"),
        (["--turn", "45"], "turn is 45; it has to be 0, 90, 180 or 270"),
        (["--straighten", "nan"], "straighten is nan; it has to be from -45 to 45"),
    ],
)
def test_wrong_geometry_is_wrong_usage(run, photo_file: Path, arguments: list[str], message: str):
    result = run(photo_file, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert [path.name for path in photo_file.parent.iterdir()] == [photo_file.name]


def test_a_crop_that_does_not_fit_fails_the_photo(run, photo_file: Path):
    result = run(photo_file, "--crop", "0,0,65,48")
    assert result.exit_code == 1
    assert f"failed {photo_file}: {photo_file}: the crop 0,0,65,48" in result.stderr
    assert [path.name for path in photo_file.parent.iterdir()] == [photo_file.name]


def test_format(run, photo_file: Path, tmp_path: Path):
    photo = tmp_path / "grey.png"
    Image.new("L", (32, 24), 90).save(photo)
    assert run(photo, "--format", "jpeg").stderr == "1 done, 0 skipped, 0 failed\n"
    with Image.open(tmp_path / "grey.png-color.jpg") as image:
        assert image.format == "JPEG"
    dry = run(photo, photo_file, "--format", "jpeg", "--dry-run", "--overwrite")
    assert f"{photo} -> {tmp_path / 'grey.png-color.jpg'}\n" in dry.stdout
    wrong = run(photo, "--format", "gif")
    assert wrong.exit_code == 2
    assert "jpeg" in wrong.stderr


def test_a_photo_that_is_cut_off(run, photo_file: Path, tmp_path: Path):
    photo = tmp_path / "cut.jpg"
    data = photo_file.read_bytes()
    photo.write_bytes(data[: (data.index(b"\xff\xda") + len(data)) // 2])
    result = run(photo)
    assert result.exit_code == 1
    assert f"failed {photo}: {photo} is cut off: the first " in result.stderr
    assert not (tmp_path / "cut-color.jpg").exists()
    result = run(photo, "--truncated")
    assert result.exit_code == 0
    assert "% of the photo, at the bottom, are missing and left white" in result.stderr
    with Image.open(tmp_path / "cut-color.jpg") as image:
        assert image.size == (64, 48)
        assert min(image.getpixel((30, 47))) >= 253  # no colours
        assert min(image.getpixel((30, 4))) < 253


def test_a_dry_run_refuses_what_format_and_crop_do_not_fit(run, photo_file: Path, tmp_path: Path):
    page = Image.new("L", (32, 24), 90)
    pages = tmp_path / "pages.tif"
    page.save(pages, save_all=True, append_images=[page])
    crops = ("0,0,64,48", "0,0,48,64", "0,0,65,48")
    codes = [run(photo_file, "--dry-run", "--crop", crop).exit_code for crop in crops]
    assert codes == [0, 0, 1]  # the second one fits if its orientation turns the photo
    result = run(pages, "--dry-run", "--format", "jpeg")
    assert result.exit_code == 1
    assert "several pages, which one JPEG cannot hold" in result.stderr


@pytest.fixture
def run_hinted(tmp_path: Path):
    """Run the command with a model that takes hints."""
    write_model(tmp_path / "hinted.onnx", hints=3)
    options = ["--model", str(tmp_path / "hinted.onnx")]
    return lambda *arguments: CliRunner().invoke(main, ["colorize", *map(str, arguments), *options])


def test_hints_of_one_photo(run_hinted, photo_file: Path, tmp_path: Path):
    file = tmp_path / "mine.json"
    file.write_text('[{"x": 3, "y": 4, "color": "firebrick"}]')
    result = run_hinted(photo_file, "--hint", "40,20,#00f", "--hints", file, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["hints"] == [
        {"x": 3, "y": 4, "color": "firebrick"},
        {"x": 40, "y": 20, "color": "#00f"},
    ]
    photo = open_photo(photo_file.with_name("old-color.jpg"))
    assert str(photo.metadata.mark).endswith("; a person gave the colours at 2 places")


def test_hints_of_a_batch(run_hinted, photo_file: Path, colored: Path, tmp_path: Path):
    folder, report = tmp_path / "hints", tmp_path / "report"
    folder.mkdir()
    (folder / "old.jpg.hints.json").write_text('[{"x": 3, "y": 4, "color": "firebrick"}]')
    stray = folder / "old.jpeg.hints.json"
    stray.write_text("[]")
    batch = [photo_file.parent, "-o", tmp_path / "out", "--hints", folder]
    dry = run_hinted(*batch, "--dry-run")
    reason = f"ignored {stray}: these hints are not used: no photo old.jpeg is colorized"
    assert dry.stderr.startswith(reason)
    result = run_hinted(*batch, "--report", report)
    assert result.exit_code == 0, result.stderr
    assert reason in result.stderr
    assert result.stderr.endswith("1 done, 0 skipped, 0 failed, 2 ignored\n")
    lines = {
        Path(line["input"]).name: line for line in map(json.loads, report.read_text().splitlines())
    }
    assert lines["old.jpg"]["hints"] == [{"x": 3, "y": 4, "color": "firebrick"}]
    assert (lines["new.png"]["hints"], lines[stray.name]["status"]) == ([], "ignored")
    # A batch is not continued without the hints that it had.
    result = run_hinted(*batch[:3], "--resume", report)
    assert result.exit_code == 2
    assert f"{report} has photos with hints; give their --hints again, or" in result.stderr
    assert run_hinted(*batch, "--resume", report).exit_code == 0
    # Without the option, those beside photos are not used, which is said.
    stray.rename(photo_file.with_name("old.jpg.hints.json"))
    result = run_hinted(photo_file.parent, "--dry-run")
    assert "json: these hints are not in the folder of --hints, and not used" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hint", "410,220"], "the hint is '410,220'; it has to be x,y,colour such as"),
        (["--hint", "1,2,reddish"], "the hint's colour is 'reddish'; it has to be a CSS name"),
        (["--hints", "none.json"], "there are no hints none.json; give a file or a folder"),
        (["--hint", "1,2,red", "{folder}"], "--hint is for one photo, and there are 2; give"),
    ],
)
def test_wrong_hints_are_wrong_usage(
    run_hinted, photo_file: Path, colored: Path, arguments: list[str], message: str
):
    result = run_hinted(photo_file, *(a.format(folder=colored.parent) for a in arguments))
    assert result.exit_code == 2
    assert message in result.stderr
    assert not photo_file.with_name("old-color.jpg").exists()


def test_a_model_that_takes_no_hints_is_refused_before_any_work(
    run, photo_file: Path, tmp_path: Path
):
    result = run(photo_file, "--hint", "1,2,red", "--report", tmp_path / "report")
    assert result.exit_code == 2
    assert "model tiny takes no colour hints; use a model that was trained" in result.stderr
    assert not (tmp_path / "report").exists()


def test_a_hint_outside_fails_the_photo(run_hinted, photo_file: Path):
    result = run_hinted(photo_file, "--hint", "64,2,red")
    assert result.exit_code == 1
    assert f"{photo_file}: the hint 64,2,red lies outside the photo of 64x48 pixels" in (
        result.stderr
    )
    assert not photo_file.with_name("old-color.jpg").exists()
