import errno
import functools
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photochrom.batch import planning
from photochrom.batch.planning import Job
from photochrom.batch.report import Result, read_version
from photochrom.batch.runner import (
    Settings,
    colorize_all,
)
from photochrom.colorize.colorizer import Colorizer
from photochrom.errors import ModelError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_pages
from photochrom.imagefile.writing import save_photo
from support.processes import default_sigint
from support.systems import needs_long_names, needs_signals


def plan(inputs: list[str], out: Path | None = None) -> list[Job]:
    """Return the jobs of a plan."""
    return planning.plan(inputs, out).jobs


def test_all_photos_are_colorized_and_unchanged(tree: Path, tmp_path: Path, colorize_here):
    jobs = plan([str(tree)], tmp_path / "new" / "out")
    before = [hashlib.sha256(job.input.read_bytes()).digest() for job in jobs]
    results = colorize_here(jobs)
    assert [result.status for result in results] == ["done"] * 3
    for result in results:
        assert (result.width, result.height, result.model, result.error) == (20, 16, "tiny", None)
        assert result.seconds > 0
    assert [hashlib.sha256(job.input.read_bytes()).digest() for job in jobs] == before
    with Image.open(jobs[0].output) as image:
        assert image.mode == "RGB"
        assert len(set(image.getpixel((0, 0)))) == 3


def test_a_geometry_that_fits_no_photo_is_reported_in_the_result(tree: Path, colorize_here):
    (result,) = colorize_here([Job(tree / "a.PNG", tree / "out.png")], turn=45)
    assert (result.status, result.width) == ("failed", None)
    assert result.error == "turn is 45; it has to be 0, 90, 180 or 270, in degrees clockwise"


def test_worker_processes_give_the_same_outputs(
    tree: Path, tmp_path: Path, tiny_onnx: Path, colorize_here
):
    (tree / "a.PNG").write_bytes(b"")
    colorize_here(plan([str(tree)], tmp_path / "one"))
    jobs = plan([str(tree)], tmp_path / "two")
    results = list(colorize_all(jobs, Settings(tiny_onnx), processes=2))
    assert sorted(result.status for result in results) == ["done", "done", "failed"]
    for job in jobs[1:]:
        other = tmp_path / "one" / job.output.relative_to(tmp_path / "two")
        assert job.output.read_bytes() == other.read_bytes()


def test_a_missing_model_raises_before_any_output(tree: Path, tmp_path: Path):
    jobs = plan([str(tree)], tmp_path / "out")
    for some in (jobs, jobs[:1]):
        with pytest.raises(ModelError, match="there is no model file"):
            list(colorize_all(some, Settings(tmp_path / "none.onnx"), processes=2))


def test_existing_outputs_are_skipped_without_overwrite(tree: Path, colorize_here):
    jobs = plan([str(tree)])  # b-color.jpg is there
    jobs[1].output.write_bytes(b"mine")
    assert [result.status for result in colorize_here(jobs)] == ["done", "skipped", "done"]
    assert jobs[1].output.read_bytes() == b"mine"
    assert [result.status for result in colorize_here(jobs, overwrite=True)] == ["done"] * 3
    assert jobs[1].output.read_bytes() != b"mine"


def test_an_empty_file_fails_alone(tree: Path, tmp_path: Path, colorize_here):
    (tree / "a.PNG").write_bytes(b"")
    jobs = plan([str(tree)], tmp_path / "out")
    first, *rest = colorize_here(jobs)
    assert first == Result(
        jobs[0].input,
        jobs[0].output,
        "failed",
        first.seconds,
        error=f"{jobs[0].input} is empty: 0 bytes",
        input_version=read_version(jobs[0].input),
    )
    assert [result.status for result in rest] == ["done"] * 2
    assert not jobs[0].output.exists()


def test_an_output_folder_that_cannot_be_created_fails(tree: Path, tmp_path: Path, colorize_here):
    (tmp_path / "file").touch()
    (result,) = colorize_here(plan([str(tree / "b.jpg")], tmp_path / "file" / "out"))
    assert result.status == "failed"
    assert result.error is not None
    assert "cannot make folder" in result.error


@needs_long_names
def test_an_output_name_that_is_too_long_fails(tree: Path, colorize_here):
    Image.new("L", (20, 16)).save(tree / ("c" * 250 + ".jpg"))
    results = colorize_here(plan([str(tree)]))
    assert [result.status for result in results] == ["done", "skipped", "failed", "done"]
    assert results[2].error is not None
    assert "File name too long" in results[2].error


def test_a_memory_error_fails_one_photo(tree: Path, colorize_here, monkeypatch: pytest.MonkeyPatch):
    def greedy(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Colorizer, "__call__", greedy)
    (result,) = colorize_here(plan([str(tree / "deep")]))
    assert "not enough memory" in str(result.error)
    assert result.error_code == "too_large"


def test_the_code_of_a_failure_says_what_helps(
    tmp_path: Path, colorize_here, monkeypatch: pytest.MonkeyPatch
):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    photo, output = tmp_path / "a.jpg", tmp_path / "out.jpg"
    Image.effect_noise((80, 60), 50).save(photo)
    with monkeypatch.context() as patch:
        patch.setattr("photochrom.imagefile.atomic.os.fsync", full)
        results = colorize_here([Job(photo, output)])
    results += colorize_here([Job(photo, output)], max_pixels=80 * 60 - 1)
    photo.write_bytes(photo.read_bytes()[:-900])
    results += colorize_here([Job(photo, output)])
    photo.write_text("no photo")
    results += colorize_here([Job(photo, output)])
    codes = [result.error_code for result in results]
    assert codes == ["disk_full", "too_large", "truncated", None]
    assert not output.exists()


def test_a_deleted_photo_fails_alone(tree: Path, tmp_path: Path, colorize_here):
    jobs = plan([str(tree)], tmp_path / "out")
    (tree / "b.jpg").unlink()
    results = colorize_here(jobs)
    assert [result.status for result in results] == ["done", "failed", "done"]
    assert "No such file" in str(results[1].error)


def test_every_page_is_colorized(tmp_path: Path, colorize_here):
    pages = [Image.new("L", (20 + n, 16), 60 * n + 40) for n in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    (result,) = colorize_here([Job(tmp_path / "a.tif", tmp_path / "b.tif")])
    assert result.error is None
    output = list(open_pages(tmp_path / "b.tif"))
    assert [photo.size for photo in output] == [(20, 16), (21, 16), (22, 16)]
    assert all(photo.pixels.shape[2] == 3 for photo in output)


def test_a_damaged_page_leaves_no_file(tmp_path: Path, colorize_here):
    pages = [Image.effect_noise((60, 60), 50) for _ in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="raw")
    data = (tmp_path / "a.tif").read_bytes()
    with Image.open(tmp_path / "a.tif") as image:
        image.seek(1)
        (offset,) = image.tag_v2[273]
    position = data.rfind(offset.to_bytes(4, "little"))
    damaged = data[:position] + len(data).to_bytes(4, "little") + data[position + 4 :]
    (tmp_path / "a.tif").write_bytes(damaged)
    (result,) = colorize_here([Job(tmp_path / "a.tif", tmp_path / "b.tif")])
    assert "page 2 of" in str(result.error)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_16_bits_with_a_jpeg_suffix_fail(tmp_path: Path, colorize_here):
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(tmp_path / "a.jpg", "PNG")
    (result,) = colorize_here([Job(tmp_path / "a.jpg", tmp_path / "b.jpg")])
    assert "is a PNG of 16 bits" in str(result.error)


@needs_signals
def test_a_killed_batch_resumes(tmp_path: Path, tiny_onnx: Path):
    """Kill a batch repeatedly: all outputs are complete, and --resume writes the rest."""
    photos, out, report = tmp_path / "photos", tmp_path / "out", tmp_path / "report"
    photos.mkdir()
    for number in range(40):
        Image.effect_noise((400, 300), 60).save(photos / f"{number:02}.png")
    command = [sys.executable, "-m", "photochrom", "colorize", photos, "-o", out]
    command += ["--model", tiny_onnx, "--jobs", "2"]
    for signal_ in (signal.SIGKILL, signal.SIGINT, None):
        going_on = ["--resume" if report.exists() else "--report", report]
        before = len(list(out.glob("*")))
        process = subprocess.Popen(
            [*command, *going_on], stderr=subprocess.DEVNULL, preexec_fn=default_sigint
        )
        if signal_ is not None:
            while len(list(out.glob("*"))) < before + 5:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal_)
        code = process.wait()
        assert (code == 0) == (signal_ is None)
        for path in out.iterdir():  # no partial or temporary files
            assert path.suffix == ".png"
            next(iter(open_pages(path)))
    assert len(list(out.iterdir())) == 40
    statuses = [json.loads(line)["status"] for line in report.read_text().splitlines()]
    assert "failed" not in statuses


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks up processes in /proc")
def test_worker_processes_end_with_their_parent(tmp_path: Path, tiny_onnx: Path):
    for number in range(60):
        Image.effect_noise((600, 400), 60).save(tmp_path / f"{number}.png")
    command = [sys.executable, "-m", "photochrom", "colorize", tmp_path, "-o", tmp_path / "out"]
    process = subprocess.Popen([*command, "--model", tiny_onnx, "-j", "2"], stderr=-3)
    while not (tmp_path / "out").exists():
        assert process.poll() is None
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8").split()
    assert len(children) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass(frozen=True)
class DyingSettings(Settings):
    signal: int = signal.SIGSEGV
    """That ends the worker process of b.jpg."""

    def load_model(self) -> Callable[[Job], Result]:
        return functools.partial(die_on_b, self.signal)


def die_on_b(number: int, job: Job) -> Result:
    if job.input.name == "b.jpg":
        os.kill(os.getpid(), number)
    return Result(job.input, job.output, "done", 0.1)


def test_a_crashed_worker_fails_one_photo(tree: Path, tmp_path: Path):
    jobs = plan([str(tree)], tmp_path / "out")
    for processes in (1, 3):
        results = list(colorize_all(jobs, DyingSettings(), processes=processes))
        by_name = {result.input.name: result for result in results}
        assert [by_name[name].status for name in ("a.PNG", "b.jpg", "c.tif")] == [
            "done",
            "failed",
            "done",
        ]
        assert re.search("exit code -?11$", str(by_name["b.jpg"].error))


@needs_signals
def test_a_killed_worker_needs_more_memory(tree: Path, tmp_path: Path):
    settings = DyingSettings(signal=signal.SIGKILL)
    results = colorize_all(plan([str(tree)], tmp_path / "out"), settings, processes=1)
    codes = {result.input.name: result.error_code for result in results}
    assert codes == {"a.PNG": None, "b.jpg": "too_large", "c.tif": None}


@needs_long_names
def test_a_name_that_leaves_no_room_for_a_sidecar(tmp_path: Path, colorize_here):
    photo = tmp_path / f"{'n' * 251}.jpg"  # 255 bytes
    Image.new("L", (20, 16)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(photo)
    (result,) = colorize_here(plan([str(photo)], tmp_path / "out"))
    assert (result.status, result.error) == ("done", None)


def test_geometry_applies_to_every_page(tmp_path: Path, colorize_here):
    sizes = [(20, 16), (30, 24)]
    first, second = (Image.new("L", size, 90) for size in sizes)
    photo = tmp_path / "pages.tif"
    first.save(photo, save_all=True, append_images=[second])
    options = {"turn": 90, "crop": (1, 2, 15, 18)}
    (result,) = colorize_here(plan([str(photo)]), **options)
    assert result.status == "done"
    assert (result.width, result.height) == sizes[0]
    assert [page.size for page in open_pages(result.output)] == [(15, 18)] * 2


def test_a_crop_has_to_fit_every_page(tmp_path: Path, colorize_here):
    photo = tmp_path / "pages.tif"
    small = Image.new("L", (20, 15), 90)
    Image.new("L", (20, 16), 90).save(photo, save_all=True, append_images=[small])
    jobs = plan([str(photo)])
    (result,) = colorize_here(jobs, crop=(0, 0, 20, 16))
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.startswith(f"page 2 of {photo}: the crop 0,0,20,16 ")
    assert list(tmp_path.iterdir()) == [photo]


def test_a_photo_of_another_format_becomes_a_jpeg(tmp_path: Path, colorize_here):
    rgba = np.full((16, 20, 4), 30_000, np.uint16)
    photo = tmp_path / "deep.png"
    save_photo(Photo(rgba[..., :1].copy(), rgba[..., 3].copy()), photo)
    (job,) = planning.plan([str(photo)], format="jpeg").jobs
    (result,) = colorize_here([job], format="jpeg")
    assert result.output == tmp_path / "deep.png-color.jpg"
    assert result.warnings == [
        "transparency becomes white: a JPEG cannot hold it",
        "16 bits are reduced to 8: a JPEG cannot hold them",
    ]
    with Image.open(result.output) as image:
        assert image.format == "JPEG"
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3
        assert "xmp" in image.info


def test_what_one_jpeg_cannot_hold_fails(tmp_path: Path, colorize_here):
    photo = tmp_path / "pages.tif"
    page = Image.new("L", (20, 16), 90)
    page.save(photo, save_all=True, append_images=[page])
    (job,) = planning.plan([str(photo)], format="jpeg").jobs
    (result,) = colorize_here([job], format="jpeg")
    assert result.error == (
        f"{photo} has several pages, which one JPEG cannot hold; keep the format of the photo"
    )
    (result,) = colorize_here([Job(photo, tmp_path / "a.png")], format="jpeg")
    assert result.error == f"{tmp_path / 'a.png'} is not named like a JPEG; rename it"
    assert list(tmp_path.iterdir()) == [photo]
