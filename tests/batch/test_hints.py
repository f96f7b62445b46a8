import json
import re
from pathlib import Path

import pytest
from PIL import Image

from photochrom.batch.dry_run import DryRun
from photochrom.batch.hints import give_hints
from photochrom.batch.planning import Job, Plan, plan
from photochrom.batch.report import open_report
from photochrom.batch.resuming import read_finished, skip_finished
from photochrom.batch.runner import Settings, colorize_all
from photochrom.colorize.hints import MAX_HINTS, Hint
from photochrom.errors import PhotochromError, UsageError
from photochrom.imagefile.reading import open_pages
from support.models import write_model

RED = Hint(3, 4, "firebrick")
VALUES = [{"x": 3, "y": 4, "color": "firebrick"}]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With a model that takes hints."""
    write_model(tmp_path / "hinted.onnx", hints=3)
    return Settings(tmp_path / "hinted.onnx", threads=1)


def write_hints(path: Path, values: object = VALUES) -> Path:
    """Write a file of hints."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def hints_by_name(planned: Plan) -> dict[str, tuple[Hint, ...]]:
    return {job.name: job.hints for job in planned.jobs}


def test_photos_get_the_hints_of_the_file_with_their_path(tree: Path, tmp_path: Path):
    folder = tmp_path / "hints"
    write_hints(folder / "deep/er/c.tif.hints.json")
    write_hints(folder / "a.PNG.hints.json", [])
    write_hints(folder / "._b.jpg.hints.json")
    (folder / "notes.json").write_text("mine")
    planned = give_hints(plan([str(tree)], tmp_path / "out"), str(folder))
    assert hints_by_name(planned) == {"a.PNG": (), "b.jpg": (), "deep/er/c.tif": (RED,)}
    assert not [result for result in planned.results if str(result.input).endswith(".json")]


def test_names_are_compared_whatever_their_unicode_form(tmp_path: Path):
    composed, decomposed = "M\xfc.jpg", "Mu\u0308.jpg"
    folder, scans = tmp_path / "hints", tmp_path / "scans"
    scans.mkdir()
    Image.new("L", (9, 9)).save(scans / composed)
    other = [{"x": 5, "y": 6, "color": "neutral"}]
    write_hints(folder / f"{decomposed}.HINTS.JSON")  # as old cards and shares write it
    assert hints_by_name(give_hints(plan([str(scans)]), str(folder))) == {composed: (RED,)}
    # The same form counts first.
    write_hints(folder / f"{composed}.hints.json", other)
    planned = give_hints(plan([str(scans)]), str(folder))
    assert hints_by_name(planned) == {composed: (Hint(5, 6, "neutral"),)}
    assert [result.status for result in planned.results] == ["ignored"]


def test_a_file_that_belongs_to_no_photo_is_named(tree: Path, tmp_path: Path):
    folder = tmp_path / "hints"
    write_hints(folder / "a.PNG.hints.json")
    stray = write_hints(folder / "b.jpeg.hints.json", "broken")
    planned = give_hints(plan([str(tree)]), str(folder))
    (result,) = [r for r in planned.results if r.status == "ignored" and "json" in str(r.input)]
    assert result.input == str(stray)
    assert result.reason == "these hints are not used: no photo b.jpeg is colorized"


def test_hints_beside_the_photos_are_no_ignored_files(tree: Path):
    used = write_hints(tree / "b.jpg.hints.json")
    planned = plan([str(tree)])
    reasons = {str(result.input): str(result.reason) for result in planned.results}
    assert reasons[str(used)] == "these hints are not in the folder of --hints, and not used"
    planned = give_hints(planned, f"{tree}/")
    assert hints_by_name(planned)["b.jpg"] == (RED,)
    assert str(used) not in {str(result.input) for result in planned.results}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "{file} is not JSON"),
        ('{"x": 1}', "{file}: the hints have to be a list"),
        ('[{"x": 1, "y": 2}]', "{file}: a hint is "),
        ('[{"x": 1, "y": 2, "color": "reddish"}]', "{file}: the hint's colour is 'reddish'"),
        (json.dumps(VALUES * (MAX_HINTS + 1)), "{file}: there are 201 hints; a photo takes up to"),
    ],
)
def test_a_bad_file_fails_its_photo_only(tree: Path, tmp_path: Path, content: str, message: str):
    file = write_hints(tmp_path / "hints" / "b.jpg.hints.json")
    write_hints(tmp_path / "hints" / "a.PNG.hints.json")
    file.write_text(content)
    planned = give_hints(plan([str(tree)]), str(file.parent))
    assert hints_by_name(planned) == {"a.PNG": (RED,), "deep/er/c.tif": ()}
    (result,) = [result for result in planned.results if result.status == "failed"]
    assert (result.input, result.output) == (tree / "b.jpg", tree / "b-color.jpg")
    assert str(result.error).startswith(message.format(file=file))
    assert "\n" not in str(result.error)
    # Of a single photo, it is wrong usage.
    with pytest.raises(PhotochromError, match=re.escape(message.format(file=file))):
        give_hints(plan([str(tree / "b.jpg")]), str(file))


def test_photos_of_one_name_do_not_share_hints(tree: Path, tmp_path: Path):
    file = write_hints(tmp_path / "hints" / "c.tif.hints.json")
    (tree / "c.tif").write_bytes((tree / "deep/er/c.tif").read_bytes())
    inputs = [str(tree / "c.tif"), str(tree / "deep/er/c.tif")]
    planned = give_hints(plan(inputs), str(file.parent))
    assert planned.jobs == []
    assert [result.status for result in planned.results] == ["failed", "failed"]
    for result, path in zip(planned.results, inputs, strict=True):
        assert str(result.error) == (
            f"{path}: the hints {file} may belong to it or to another photo called c.tif; colorize "
            "them separately"
        )


def test_hints_of_a_single_photo(tree: Path, tmp_path: Path):
    file, blue = write_hints(tmp_path / "mine.json"), Hint(0, 0, "#00f")
    single = plan([str(tree / "b.jpg")])
    assert hints_by_name(give_hints(single, str(file))) == {"b.jpg": (RED,)}
    assert hints_by_name(give_hints(single, None, [blue])) == {"b.jpg": (blue,)}
    assert hints_by_name(give_hints(single, str(file), [blue])) == {"b.jpg": (RED, blue)}
    with pytest.raises(PhotochromError, match="there are 201 hints; a photo takes up to 200"):
        give_hints(single, str(file), [blue] * MAX_HINTS)


def test_several_photos_need_a_folder(tree: Path, tmp_path: Path):
    file = write_hints(tmp_path / "mine.json")
    several = plan([str(tree)])
    for arguments, name in (((str(file),), str(file)), ((None, [RED]), "--hint")):
        with pytest.raises(PhotochromError) as error:
            give_hints(several, *arguments)
        assert str(error.value) == (
            f"{name} is for one photo, and there are 3; give --hints a folder in which the hints "
            "of a photo sub/a.jpg are sub/a.jpg.hints.json"
        )


def test_a_source_without_hints_is_refused(tree: Path, tmp_path: Path):
    planned = plan([str(tree)])
    with pytest.raises(
        PhotochromError, match=r"there are no hints .*none; give a file or a folder"
    ):
        give_hints(planned, str(tmp_path / "none"))
    with pytest.raises(PhotochromError, match="photos has no hints; give --hints a folder"):
        give_hints(planned, str(tree))
    with pytest.raises(PhotochromError, match="--hints has no name; give a file"):
        give_hints(planned, "")


def marks(path: Path) -> list[str | None]:
    """Return the mark of each page."""
    return [page.metadata.mark for page in open_pages(path)]


def test_hints_belong_to_the_first_page(tmp_path: Path, settings: Settings):
    page = Image.new("L", (40, 30), 120)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    colorize = settings.load_model()
    jobs = [
        Job(tmp_path / "a.tif", tmp_path / f"{number}.tif", hints=hints)
        for number, hints in enumerate([(), (RED,)])
    ]
    results = [colorize(job) for job in jobs]
    assert [result.hints for result in results] == [(), (RED,)]
    (plain, second), (hinted, other) = (list(open_pages(job.output)) for job in jobs)
    assert (plain.pixels != hinted.pixels).any()
    assert (second.pixels == other.pixels).all()
    assert "1 place" in str(hinted.metadata.mark)
    assert "place" not in str(other.metadata.mark)


def test_worker_processes_take_hints(tree: Path, tmp_path: Path, settings: Settings):
    write_hints(tmp_path / "hints" / "b.jpg.hints.json", [{"x": 20, "y": 0, "color": "red"}])
    write_hints(tmp_path / "hints" / "a.PNG.hints.json")
    planned = give_hints(plan([str(tree)], tmp_path / "out"), str(tmp_path / "hints"))
    results = {r.input.name: r for r in colorize_all(planned.jobs, settings, processes=2)}
    assert {name: result.status for name, result in results.items()} == {
        "a.PNG": "done",
        "b.jpg": "failed",
        "c.tif": "done",
    }
    assert str(results["b.jpg"].error) == (
        f"{tree / 'b.jpg'}: the hint 20,0,red lies outside the photo of 20x16 pixels; x has to be "
        "from 0 to 19, y from 0 to 15"
    )
    assert results["a.PNG"].hints == (RED,)
    assert "1 place" in str(marks(tmp_path / "out" / "a.PNG"))
    # The dry run says the same.
    dry = {r.input.name: r for r in DryRun(planned.jobs, settings).run() if r.status == "failed"}
    assert {name: r.error for name, r in dry.items()} == {"b.jpg": results["b.jpg"].error}


def test_a_photo_in_color_with_hints_is_colorized(tmp_path: Path, settings: Settings):
    Image.merge("RGB", [Image.linear_gradient("L").rotate(90 * n) for n in range(3)]).save(
        tmp_path / "a.png"
    )
    colorize = Settings(settings.model, recolor=False).load_model()
    job = Job(tmp_path / "a.png", tmp_path / "b.png")
    assert colorize(job).status == "ignored"
    result = colorize(Job(job.input, job.output, hints=(Hint(3, 4, "original"),)))
    assert result.status == "done"
    assert result.warnings == [
        "it is in colour; its own colours are lost, except where a hint keeps them"
    ]
    result = colorize(Job(job.input, tmp_path / "c.png", hints=(RED,)))
    assert result.warnings == ["it is in colour; its own colours are lost"]


def test_a_photo_whose_hints_have_changed_is_made_again(
    tree: Path, tmp_path: Path, settings: Settings
):
    file, report = tmp_path / "hints" / "b.jpg.hints.json", tmp_path / "report"
    write_hints(file)
    write_hints(file.with_name("a.PNG.hints.json"))
    output = tmp_path / "out" / "b.jpg"

    def resume() -> list[tuple[str, str]]:
        finished = read_finished(report) if report.exists() else {}
        planned = plan([str(tree)], tmp_path / "out")
        left = skip_finished(give_hints(planned, str(file.parent)), finished)
        results = [*left.results, *map(settings.load_model(), left.jobs)]
        with open_report(report, append=report.exists()) as add:
            for result in results:
                add(result)
        return [(Path(result.input).name, result.status) for result in results]

    assert ("b.jpg", "done") in resume()
    assert resume() == []
    before = output.read_bytes()
    write_hints(file, [{"x": 3, "y": 4, "color": "blue"}])
    assert resume() == [("b.jpg", "done")]
    assert output.read_bytes() != before
    assert resume() == []
    file.unlink()
    assert resume() == [("b.jpg", "done")]
    assert "place" not in str(marks(output))
    assert resume() == []
    # What somebody has retouched stays, and is listed again and again.
    write_hints(file)
    output.write_bytes(b"retouched")
    assert [resume() for _ in range(2)] == [[("b.jpg", "failed")]] * 2
    # So is a file that broke.
    file.write_text("[")
    assert [resume() for _ in range(2)] == [[("b.jpg", "failed")]] * 2
    assert output.read_bytes() == b"retouched"


def test_a_photo_that_is_skipped_may_have_other_hints(tree: Path, settings: Settings):
    colorize = settings.load_model()
    job = Job(tree / "a.PNG", tree / "b-color.jpg", hints=(RED,))
    assert str(colorize(job).reason).endswith(
        "b-color.jpg exists, perhaps with other hints; replace it with --overwrite"
    )


def test_a_model_without_hints_is_refused(settings: Settings, tiny_onnx: Path):
    settings.check_takes_hints()
    with pytest.raises(UsageError, match="model tiny takes no colour hints; use a model that was"):
        Settings(tiny_onnx).check_takes_hints()
