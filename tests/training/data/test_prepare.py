import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from photochrom.batch.folders import find_photos
from photochrom.errors import DataError
from photochrom.training.data.packed import PackedPhotos, find_split
from photochrom.training.data.prepare import Small, prepare
from support.photos import write_photos


def manifest(data: Path) -> str:
    return (data / "manifest.csv").read_text()


def test_splits_sizes_and_manifest(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 10)
    info = prepare(find_photos([photos]), tmp_path / "data", size=32, progress=False)
    assert (info["train"], info["eval"]) == (8, 2)
    train, held_out = (PackedPhotos(tmp_path / "data", s) for s in ("train", "validation"))
    assert (len(train), len(held_out)) == (8, 2)
    names = [name for name, _ in train.sources()]
    assert not set(names) & {name for name, _ in held_out.sources()}
    for i, name in enumerate(names):
        source = photos / name
        with Image.open(source) as image:
            expected = image.resize((32, 32), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(train.photo(i), np.asarray(expected))
        assert hashlib.sha256(source.read_bytes()).hexdigest() in manifest(tmp_path / "data")


def test_manifest_depends_on_the_seed_but_not_on_the_folder(tmp_path: Path) -> None:
    for parent in ("here", "there/below"):
        photos = write_photos(tmp_path / parent / "photos", 12)
        prepare(find_photos([photos]), tmp_path / parent / "data", size=16, count=7, progress=False)
    assert manifest(tmp_path / "here/data") == manifest(tmp_path / "there/below/data")
    prepare(find_photos([photos]), tmp_path / "other", size=16, count=7, seed=1, progress=False)
    assert manifest(tmp_path / "other") != manifest(tmp_path / "here/data")


def test_grey_and_unreadable_photos_are_dropped_and_counted(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    Image.new("RGB", (40, 40), (120, 121, 120)).save(photos / "grey.png")
    (photos / "text.jpg").write_text("not a photo")
    info = prepare(
        find_photos([photos]), tmp_path / "data", size=16, eval_fraction=0.25, progress=False
    )
    assert info["dropped"] == {"unreadable": 1, "near-grey": 1, "small": 0}
    assert json.loads((tmp_path / "data/data.json").read_text())["min_chroma"] == 2.0
    assert (info["train"], info["eval"]) == (3, 1)


def test_keep_aspect_and_batches_of_crops(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3, size=(80, 40))
    prepare(
        find_photos([photos]),
        tmp_path / "data",
        size=20,
        eval_fraction=0,
        keep_aspect=True,
        progress=False,
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
        eval_fraction=0,
        keep_aspect=True,
        progress=False,
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
    with pytest.raises(DataError, match="80x40 px, smaller than the image_size 41"):
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
        eval_fraction=0,
        keep_aspect=True,
        small=small,
        progress=False,
    )
    train = PackedPhotos(tmp_path / "data", "train")
    assert set(train.shapes.min(axis=1).tolist()) == sides
    assert (info["dropped"]["small"], info["smaller"]) == (dropped, 2 - dropped)
    assert len(train) == info["train"] == 5 - dropped


def test_batches_enlarge_small_photos_only_if_asked(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 3, size=(80, 60))
    write_photos(tmp_path / "photos/more", 2, size=(24, 36))
    photos = find_photos([tmp_path / "photos"])
    options = {"eval_fraction": 0, "keep_aspect": True, "small": "keep", "progress": False}
    prepare(photos, tmp_path / "data", size=40, **options)
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
        with pytest.raises(DataError, match="smaller than the image_size 32"):
            train.batch([small], 32, None, crop_min)


def test_eval_names_select_the_eval_split(tmp_path: Path) -> None:
    photos = find_photos([write_photos(tmp_path / "photos", 9)])
    names = ["03.png", "07.png", "05.png"]
    info = prepare(photos, tmp_path / "data", size=16, eval_names=names, progress=False)
    assert (info["eval"], info["train"], info["eval_fraction"]) == (3, 6, None)
    held_out = PackedPhotos(tmp_path / "data", "validation")
    assert {name for name, _ in held_out.sources()} == set(names)
    for i, (name, _) in enumerate(held_out.sources()):
        with Image.open(photos[name]) as image:
            expected = image.resize((16, 16), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(held_out.photo(i), np.asarray(expected))
    with pytest.raises(DataError, match=r"1 of the 2 names .* such as 99.png; give names as"):
        prepare(photos, tmp_path / "other", eval_names=["03.png", "99.png"], progress=False)
    assert not (tmp_path / "other").exists()


def test_photos_of_several_shapes_are_not_loaded_to_a_device(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2, size=(80, 40))
    write_photos(tmp_path / "photos/more", 2, size=(40, 40))
    photos = find_photos([tmp_path / "photos"])
    prepare(photos, tmp_path / "data", size=20, eval_fraction=0, keep_aspect=True, progress=False)
    assert not PackedPhotos(tmp_path / "data", "train").load_to(torch.device("cpu"))


def test_names_of_several_folders_start_with_the_folder(tmp_path: Path) -> None:
    sources = [write_photos(tmp_path / name, 2) for name in ("one", "two")]
    prepare(find_photos(sources), tmp_path / "data", size=16, eval_fraction=0, progress=False)
    names = [name for name, _ in PackedPhotos(tmp_path / "data", "train").sources()]
    assert sorted(names) == ["one/00.png", "one/01.png", "two/00.png", "two/01.png"]


def test_eval_fraction_of_1_leaves_no_training_photos(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    prepare(find_photos([photos]), tmp_path / "data", size=16, eval_fraction=1, progress=False)
    assert [len(PackedPhotos(tmp_path / "data", s)) for s in ("train", "validation")] == [0, 3]


def test_too_few_photos_are_an_error_and_leave_no_files(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    with pytest.raises(DataError, match="only 3 of 3 are usable"):
        prepare(find_photos([photos]), tmp_path / "data", size=16, count=4, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": 8}, "size of 16"), ({"eval_fraction": 1.5}, "fraction"), ({"count": 0}, "count")],
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


def write_format_2(folder: Path) -> None:
    """Write a data set as photochrom did before there was a test split: 2 photos and 1."""
    folder.mkdir()
    rows = [
        ("eval", "a.png", "aa", 3, 2),
        ("train", "b.png", "bb", 2, 2),
        ("train", "c", "cc", 1, 2),
    ]
    text = "split,source,sha256,width,height\n" + "".join(
        f"{','.join(map(str, r))}\n" for r in rows
    )
    (folder / "manifest.csv").write_text(text)
    np.save(folder / "eval.npy", np.arange(18, dtype=np.uint8))
    np.save(folder / "eval.index.npy", np.array([[0, 2, 3]]))
    np.save(folder / "train.npy", np.arange(100, 118, dtype=np.uint8))
    np.save(folder / "train.index.npy", np.array([[0, 2, 2], [12, 2, 1]]))
    content = {"format": 2, "size": 2, "train": 2, "eval": 1}
    content["manifest_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "data.json").write_text(json.dumps(content))


def test_eval_of_format_2_is_read_as_validation(tmp_path: Path) -> None:
    write_format_2(tmp_path / "old")
    train, validation = (PackedPhotos(tmp_path / "old", s) for s in ("train", "validation"))
    assert list(train.sources()) == [("b.png", "bb"), ("c", "cc")]
    assert train.photo(1).ravel().tolist() == list(range(112, 118))
    assert list(validation.sources()) == [("a.png", "aa")]
    assert validation.photo(0).tolist() == np.arange(18).reshape(2, 3, 3).tolist()
    assert find_split("eval") == "validation"
    with pytest.raises(DataError, match="of format 2, which has no test split; give train or"):
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
    prepare(find_photos([photos]), tmp_path / "data", size=16, eval_fraction=0, progress=False)
    read = {name for name, _ in PackedPhotos(tmp_path / "data", "train").sources()}
    assert read == set(map(os.fsdecode, names))


@pytest.mark.parametrize("name", ["data.json", "manifest.csv", "train.index.npy", "train.npy"])
@pytest.mark.parametrize("data", [b"", b"garbage\n" * 9, b"\xff\0" * 99])
def test_damaged_data_are_rejected(name: str, data: bytes, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    prepare(find_photos([photos]), tmp_path / "data", size=16, eval_fraction=0, progress=False)
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
