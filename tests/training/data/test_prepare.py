import csv
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from photochrom.batch.folders import find_photos
from photochrom.errors import DataError
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.prepare import Small, prepare
from photochrom.training.data.splits import (
    SPLITS,
    Split,
    draw_split,
    find_split,
    read_split_file,
)
from support.data import write_format_2
from support.icc_profiles import SPACES
from support.photos import write_photos

PIXEL = 60, 180, 60
ALL_TRAIN: dict[str, Any] = {"validation_fraction": 0, "test_fraction": 0, "progress": False}


def read_problems(data: Path) -> list[dict[str, str]]:
    with (data / "problems.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def manifest(data: Path) -> str:
    return (data / "manifest.csv").read_text()


def test_splits_sizes_and_manifest(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 10)
    found = find_photos([photos])
    options = {"validation_fraction": 0.3, "test_fraction": 0.3, "progress": False}
    info = prepare(found, tmp_path / "data", size=32, **options)
    assert sum(info[split] for split in SPLITS) == 10
    seen = []
    for split in SPLITS:
        part = PackedPhotos(tmp_path / "data", split)
        assert len(part) == info[split] > 0
        for i, (name, sha256) in enumerate(part.sources()):
            seen.append(name)
            with Image.open(photos / name) as image:
                expected = image.resize((32, 32), Image.Resampling.BICUBIC)
            np.testing.assert_array_equal(part.photo(i), np.asarray(expected))
            assert sha256 == hashlib.sha256((photos / name).read_bytes()).hexdigest()
            assert draw_split(sha256, 0, 0.3, 0.3) == split
            assert f"{split},{name},{sha256},32,32\n" in manifest(tmp_path / "data")
    assert sorted(seen) == sorted(found)


def test_manifest_depends_on_the_seed_but_not_on_the_folder(tmp_path: Path) -> None:
    for parent in ("here", "there/below"):
        photos = write_photos(tmp_path / parent / "photos", 12)
        prepare(find_photos([photos]), tmp_path / parent / "data", size=16, count=7, progress=False)
    assert manifest(tmp_path / "here/data") == manifest(tmp_path / "there/below/data")
    prepare(find_photos([photos]), tmp_path / "other", size=16, count=7, seed=1, progress=False)
    assert manifest(tmp_path / "other") != manifest(tmp_path / "here/data")


def test_grey_and_unreadable_photos_are_dropped_counted_and_named(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    Image.new("RGB", (40, 40), (120, 121, 120)).save(photos / "grey.png")
    (photos / "text.jpg").write_text("not a photo")
    (photos / "secret.jpg").mkdir()
    found = find_photos([photos]) | {"missing.jpg": photos / "missing.jpg"}
    info = prepare(found, tmp_path / "data", size=16, **ALL_TRAIN)
    assert info["dropped"] == {"unreadable": 2, "near-grey": 1, "small": 0, "duplicate": 0}
    assert json.loads((tmp_path / "data/data.json").read_text())["min_chroma"] == 2.0
    assert info["train"] == 4
    problems = read_problems(tmp_path / "data")
    assert {row["source"]: row["problem"] for row in problems} == {
        "grey.png": "near-grey",
        "text.jpg": "unreadable",
        "missing.jpg": "unreadable",
    }
    assert {row["action"] for row in problems} == {"drop"}
    details = {row["source"]: row["detail"] for row in problems}
    assert details["text.jpg"].startswith("text.jpg is not a photo in a format that can be read")
    assert "No such file" in details["missing.jpg"]
    assert str(tmp_path) not in (tmp_path / "data/problems.csv").read_text()


def test_keep_aspect_and_batches_of_crops(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3, size=(80, 40))
    prepare(
        find_photos([photos]),
        tmp_path / "data",
        size=20,
        keep_aspect=True,
        **ALL_TRAIN,
    )
    train = PackedPhotos(tmp_path / "data", "train")
    assert train.shapes.tolist() == [[20, 40]] * 3
    middle = train.batch([2], 16, None)
    np.testing.assert_array_equal(middle[0].numpy(), train.photo(2)[2:18, 12:28])
    drawn = train.batch([0, 0, 0, 0], 16, torch.Generator().manual_seed(0))
    assert len({crop.numpy().tobytes() for crop in drawn}) > 1
    assert train.load_to(torch.device("cpu"))
    kept = train.batch([0, 0, 0, 0], 16, torch.Generator().manual_seed(0))
    assert torch.equal(kept, drawn)


def test_crops_with_crop_min_are_resized(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3, size=(80, 40))
    prepare(
        find_photos([photos]),
        tmp_path / "data",
        size=40,
        keep_aspect=True,
        **ALL_TRAIN,
    )
    train = PackedPhotos(tmp_path / "data", "train")
    whole = train.batch([1], 16, None, crop_min=0.5)[0].numpy()
    square = Image.fromarray(train.photo(1)[:, 20:60])
    expected = np.asarray(square.resize((16, 16), Image.Resampling.BILINEAR))
    assert np.abs(whole.astype(int) - expected).max() <= 1
    drawn = train.batch([1] * 8, 16, torch.Generator().manual_seed(0), crop_min=0.5)
    assert (drawn.dtype, drawn.shape) == (torch.uint8, (8, 16, 16, 3))
    assert len({crop.numpy().tobytes() for crop in drawn}) == 8
    again = train.batch([1] * 8, 16, torch.Generator().manual_seed(0), crop_min=0.5)
    assert torch.equal(again, drawn)
    with pytest.raises(DataError, match=r"80x40 px, smaller .* 41 .*--set data\.image_size=40"):
        train.batch([0], 41, None, crop_min=0.5)


@pytest.mark.parametrize(
    ("small", "sides", "dropped"),
    [("enlarge", {40}, 0), ("keep", {24, 40}, 0), ("drop", {40}, 2)],
)
def test_treatment_of_small_photos(
    tmp_path: Path, small: Small, sides: set[int], dropped: int
) -> None:
    write_photos(tmp_path / "photos", 3, size=(80, 60))
    write_photos(tmp_path / "photos/more", 2, size=(24, 36))
    photos = find_photos([tmp_path / "photos"])
    info = prepare(
        photos,
        tmp_path / "data",
        size=40,
        keep_aspect=True,
        small=small,
        **ALL_TRAIN,
    )
    train = PackedPhotos(tmp_path / "data", "train")
    assert set(train.shapes.min(axis=1).tolist()) == sides
    assert (info["dropped"]["small"], info["smaller"]) == (dropped, 2 - dropped)
    assert len(train) == info["train"] == 5 - dropped
    assert sorted(read_problems(tmp_path / "data"), key=lambda row: row["source"]) == [
        {
            **{"source": f"more/{name}.png", "action": small, "problem": "small"},
            "detail": "its short side has 24 px",
        }
        for name in ("00", "01")
    ]


def test_batches_enlarge_small_photos_only_if_asked(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 3, size=(80, 60))
    write_photos(tmp_path / "photos/more", 2, size=(24, 36))
    photos = find_photos([tmp_path / "photos"])
    prepare(photos, tmp_path / "data", size=40, keep_aspect=True, small="keep", **ALL_TRAIN)
    train = PackedPhotos(tmp_path / "data", "train")
    assert len(train.select(None)) == len(train.select(24)) == 5
    large = train.select(25)
    assert len(large) == 3
    (small,) = set(range(5)) - set(large.tolist()) - {4}
    for crop_min in (None, 0.5):
        crops = train.batch([small, int(large[0])], 32, None, crop_min, enlarge=True)
        assert crops.shape == (2, 32, 32, 3)
        whole = train.photo(small)
        height, width = whole.shape[:2]
        top, left = (height - 24) // 2, (width - 24) // 2
        square = Image.fromarray(whole[top : top + 24, left : left + 24])
        expected = np.asarray(square.resize((32, 32), Image.Resampling.BILINEAR))
        assert np.abs(crops[0].numpy().astype(int) - expected).max() <= 1
        with pytest.raises(DataError, match=r"smaller than the data\.image_size 32"):
            train.batch([small], 32, None, crop_min)


def test_splits_can_be_given_by_name(tmp_path: Path) -> None:
    photos = find_photos([write_photos(tmp_path / "photos", 9)])
    file = tmp_path / "splits.csv"
    file.write_text("split,name\neval,03.png\nvalidation,07.png\ntest,05.png\ntrain,01.png\n")
    splits = read_split_file(file)
    info = prepare(photos, tmp_path / "data", size=16, splits=splits, progress=False)
    assert (info["train"], info["validation"], info["test"]) == (6, 2, 1)
    assert (info["validation_fraction"], info["test_fraction"]) == (None, None)
    held_out = PackedPhotos(tmp_path / "data", "validation")
    assert {name for name, _ in held_out.sources()} == {"03.png", "07.png"}
    assert [name for name, _ in PackedPhotos(tmp_path / "data", "test").sources()] == ["05.png"]
    for i, (name, _) in enumerate(held_out.sources()):
        with Image.open(photos[name]) as image:
            expected = image.resize((16, 16), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(held_out.photo(i), np.asarray(expected))
    splits = {"03.png": "validation", "99.png": "test"}
    with pytest.raises(DataError, match=r"1 of the 2 names .* such as 99.png; give names as"):
        prepare(photos, tmp_path / "other", splits=splits, progress=False)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("03.png,test\n", "the first line of .* is '03.png,test'; it has to have the columns"),
        ("", "the first line of .* is ''; it has to have"),
        ("name,split\n03.png,dev\n", "line 2: the split is 'dev'; give train, validation or"),
        ("name,split\n03.png\n", "line 2: the split is ''; give train, validation or test"),
        ("name,split\na,test\na,train\n", "gives a the splits test and train; give it one"),
        ('name,split\n"a,test\n', "is not a valid CSV file"),
    ],
)
def test_invalid_split_files_are_rejected(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_split_file(tmp_path / "splits.csv")


def test_a_missing_split_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*splits.csv: No such file"):
        read_split_file(tmp_path / "splits.csv")


def test_the_split_depends_on_content_and_seed_alone(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 30)
    options = {"validation_fraction": 0.4, "test_fraction": 0.2, "progress": False}
    found = find_photos([photos])
    prepare(found, tmp_path / "data", size=16, **options)
    renamed = {f"new/{i}": path for i, path in enumerate(reversed(found.values()))}
    prepare(renamed, tmp_path / "renamed", size=32, count=20, **options)
    prepare(found, tmp_path / "seeded", size=16, seed=1, **options)
    first, other, seeded = (
        {
            sha256: split
            for split in SPLITS
            for _, sha256 in PackedPhotos(tmp_path / folder, split).sources()
        }
        for folder in ("data", "renamed", "seeded")
    )
    assert len(other) == 20
    assert other.items() <= first.items()
    assert seeded.keys() == first.keys()
    assert seeded != first


def test_fractions_are_met_in_expectation() -> None:
    hashes = [hashlib.sha256(bytes([i, j])).hexdigest() for i in range(64) for j in range(64)]
    drawn = [draw_split(sha256, 0, 0.1, 0.2) for sha256 in hashes]
    # Standard deviations: 19 and 26.
    assert drawn.count("validation") == pytest.approx(410, abs=60)
    assert drawn.count("test") == pytest.approx(819, abs=80)
    more = [draw_split(sha256, 0, 0.3, 0.2) for sha256 in hashes]
    changes = {(old, new) for old, new in zip(drawn, more, strict=True) if old != new}
    assert changes == {("train", "validation")}
    assert {draw_split(sha256, 0, 0.3, 0.7) for sha256 in hashes} == {"validation", "test"}


def test_copies_of_a_file_are_dropped_counted_and_named(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 8)
    (photos / "copies").mkdir()
    for path in photos.glob("*.png"):
        shutil.copy(path, photos / "copies" / f"again-{path.name}")
    options = {"validation_fraction": 0.5, "test_fraction": 0, "progress": False}
    info = prepare(find_photos([photos]), tmp_path / "data", size=16, **options)
    assert (info["train"] + info["validation"], info["dropped"]["duplicate"]) == (8, 8)
    sources = [list(PackedPhotos(tmp_path / "data", s).sources()) for s in SPLITS]
    assert len({sha256 for part in sources for _, sha256 in part}) == 8
    kept = {name for part in sources for name, _ in part}
    for row in read_problems(tmp_path / "data"):
        assert (row["action"], row["problem"]) == ("drop", "duplicate")
        assert row["detail"].removeprefix("the same file as ") in kept - {row["source"]}


def test_copies_with_different_given_splits_are_an_error(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    shutil.copy(photos / "00.png", photos / "again.png")
    found = find_photos([photos])
    splits: dict[str, Split] = {"00.png": "train", "again.png": "test"}
    with pytest.raises(DataError, match=r"(00|again).png and .* are the same file, with the spl"):
        prepare(found, tmp_path / "data", size=16, splits=splits, progress=False)
    splits = {"again.png": "test"}  # the copy without a split is dropped
    info = prepare(found, tmp_path / "data", size=16, splits=splits, progress=False)
    assert (info["train"], info["test"], info["dropped"]["duplicate"]) == (3, 1, 1)
    assert [name for name, _ in PackedPhotos(tmp_path / "data", "test").sources()] == ["again.png"]


@pytest.mark.parametrize(
    ("name", "expected"), [("adobe", (0, 173, 86)), ("linear", (133, 218, 133)), ("sRGB", PIXEL)]
)
def test_photos_are_stored_in_srgb(tmp_path: Path, name: str, expected: tuple[int, ...]) -> None:
    (tmp_path / "photos").mkdir()
    image = Image.new("RGB", (40, 40), PIXEL)
    image.save(tmp_path / "photos/green.png", icc_profile=SPACES.get(name))
    prepare(find_photos([tmp_path / "photos"]), tmp_path / "data", size=16, **ALL_TRAIN)
    stored = PackedPhotos(tmp_path / "data", "train").photo(0)
    np.testing.assert_allclose(stored.reshape(-1, 3), [expected] * 256, atol=1)


def test_other_folders_beside_the_data_set_stay(tmp_path: Path) -> None:
    photos = find_photos([write_photos(tmp_path / "photos", 3)])
    (tmp_path / "data.partial").mkdir()
    (tmp_path / "data.partial/mine.txt").write_text("mine")
    prepare(photos, tmp_path / "data", size=16, progress=False)
    assert (tmp_path / "data.partial/mine.txt").read_text() == "mine"


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    photos = find_photos([write_photos(tmp_path / "photos", 6)])

    class Interrupting(dict[str, Path]):
        """Prepares another data set of the same name while the first photos are read."""

        done = False

        def __getitem__(self, name: str) -> Path:
            if not self.done:
                self.done = True
                prepare(photos, tmp_path / "data", size=16, **ALL_TRAIN)
            return photos[name]

    with pytest.raises(DataError, match=r"cannot make folder .*data: .* give a new one"):
        prepare(Interrupting(photos), tmp_path / "data", size=32, **ALL_TRAIN)
    assert PackedPhotos(tmp_path / "data", "train").shapes.tolist() == [[16, 16]] * 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "photos"]


def test_photos_of_several_shapes_are_not_loaded_to_a_device(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2, size=(80, 40))
    write_photos(tmp_path / "photos/more", 2, size=(40, 40))
    photos = find_photos([tmp_path / "photos"])
    prepare(photos, tmp_path / "data", size=20, keep_aspect=True, **ALL_TRAIN)
    assert not PackedPhotos(tmp_path / "data", "train").load_to(torch.device("cpu"))


def test_names_of_several_folders_start_with_the_folder(tmp_path: Path) -> None:
    sources = [
        write_photos(tmp_path / name, 2, size)
        for name, size in (("one", (40, 40)), ("two", (50, 40)))
    ]
    prepare(find_photos(sources), tmp_path / "data", size=16, **ALL_TRAIN)
    names = [name for name, _ in PackedPhotos(tmp_path / "data", "train").sources()]
    assert sorted(names) == ["one/00.png", "one/01.png", "two/00.png", "two/01.png"]


def test_a_validation_fraction_of_1_leaves_no_training_photos(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    options = {"validation_fraction": 1, "test_fraction": 0, "progress": False}
    prepare(find_photos([photos]), tmp_path / "data", size=16, **options)
    assert [len(PackedPhotos(tmp_path / "data", split)) for split in SPLITS] == [0, 3, 0]


def test_too_few_photos_are_an_error_and_leave_no_files(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    (photos / "03.png").write_bytes((photos / "02.png").read_bytes()[:99])
    message = r"only 3 of 4 are usable \(1 unreadable, .*; the first of the unreadable: 03.png is"
    with pytest.raises(DataError, match=message):
        prepare(find_photos([photos]), tmp_path / "data", size=16, count=4, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, "size of 16"),
        ({"count": 0}, "count of 1"),
        ({"validation_fraction": 1.5}, "fraction of validation is 1.5 and that of test 0.1; give"),
        ({"validation_fraction": 0.6, "test_fraction": 0.5}, "together 1 at most"),
        ({"test_fraction": -0.1}, "fractions from 0 to 1"),
        ({"test_fraction": float("nan")}, "fractions from 0 to 1"),
    ],
)
def test_options_out_of_range_are_rejected(
    tmp_path: Path, options: dict[str, float], message: str
) -> None:
    photos = write_photos(tmp_path / "photos", 1)
    with pytest.raises(DataError, match=message):
        prepare(find_photos([photos]), tmp_path / "data", progress=False, **options)  # type: ignore[arg-type]


def test_invalid_folders_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no photo"):
        prepare(find_photos([tmp_path / "empty"]), tmp_path / "data", progress=False)
    with pytest.raises(DataError, match="is not a folder"):
        prepare(find_photos([tmp_path / "missing"]), tmp_path / "data", progress=False)
    photos = write_photos(tmp_path / "photos", 2)
    with pytest.raises(DataError, match="not an empty folder"):
        prepare(find_photos([photos]), photos, progress=False)
    assert len(list(photos.iterdir())) == 2


def test_eval_of_format_2_is_read_as_validation(tmp_path: Path) -> None:
    write_format_2(tmp_path / "old")
    train, validation = (PackedPhotos(tmp_path / "old", s) for s in ("train", "validation"))
    assert list(train.sources()) == [("b.png", "bb"), ("c", "cc")]
    assert train.photo(1).ravel().tolist() == list(range(112, 118))
    assert list(validation.sources()) == [("a.png", "aa")]
    assert validation.photo(0).tolist() == np.arange(18).reshape(2, 3, 3).tolist()
    assert find_split("eval") == "validation"
    with pytest.raises(DataError, match="of format 2, which has no test split; prepare the"):
        PackedPhotos(tmp_path / "old", "test")


def test_a_data_set_of_a_later_format_is_rejected(tmp_path: Path) -> None:
    write_format_2(tmp_path / "new")
    path = tmp_path / "new/data.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 4'))
    with pytest.raises(DataError, match="format 4, and formats 2 and 3 can be read; update"):
        PackedPhotos(tmp_path / "new", "train")


def test_unprepared_data_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="photochrom data folder"):
        PackedPhotos(tmp_path, "train")


def test_names_with_invalid_utf8_and_line_breaks(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    names = [b"caf\xe9.png", "a\u2028b.png".encode(), b'c\nd,"e.png']
    for path, name in zip(sorted(photos.iterdir()), names, strict=True):
        path.rename(photos / os.fsdecode(name))
    prepare(find_photos([photos]), tmp_path / "data", size=16, **ALL_TRAIN)
    read = {name for name, _ in PackedPhotos(tmp_path / "data", "train").sources()}
    assert read == set(map(os.fsdecode, names))


@pytest.mark.parametrize("name", ["data.json", "manifest.csv", "train.index.npy", "train.npy"])
@pytest.mark.parametrize("data", [b"", b"garbage\n" * 9, b"\xff\0" * 99])
def test_damaged_data_are_rejected(name: str, data: bytes, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    prepare(find_photos([photos]), tmp_path / "data", size=16, **ALL_TRAIN)
    (tmp_path / "data" / name).write_bytes(data)
    with pytest.raises(DataError, match=r"damaged|inconsistent|prepared"):
        PackedPhotos(tmp_path / "data", "train")


def test_incomplete_copies_are_rejected(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    prepare(find_photos([photos]), tmp_path / "data", size=16, progress=False)
    np.save(tmp_path / "data/train.npy", np.zeros(5, np.uint8))
    with pytest.raises(DataError, match="are inconsistent"):
        PackedPhotos(tmp_path / "data", "train")
    (tmp_path / "data/manifest.csv").unlink()
    with pytest.raises(DataError, match="is not a prepared data set"):
        PackedPhotos(tmp_path / "data", "train")
