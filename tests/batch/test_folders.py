from pathlib import Path

import pytest

from photochrom.batch.folders import find_photos, has_photo_suffix, walk_folder, walk_photos
from photochrom.errors import DataError


def write_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_hidden_and_other_files_are_skipped(tmp_path: Path):
    write_files(tmp_path, "b.jpg", "a/c.HEIC", ".a.jpg", ".hidden/d.jpg", "notes.txt", "e")
    assert walk_photos(tmp_path) == [tmp_path / "a/c.HEIC", tmp_path / "b.jpg"]
    assert walk_photos(tmp_path, {".jpg"}) == [tmp_path / "b.jpg"]


def test_photos_of_several_folders_have_the_folder_in_their_names(tmp_path: Path):
    write_files(tmp_path, "x/a.jpg", "y/b/c.png", "y/d.heic")
    assert find_photos([tmp_path / "y"]) == {"b/c.png": tmp_path / "y/b/c.png"}
    assert list(find_photos([tmp_path / "x", tmp_path / "y"])) == ["x/a.jpg", "y/b/c.png"]


def test_folders_with_the_same_name_raise(tmp_path: Path):
    write_files(tmp_path, "x/photos/a.jpg", "y/photos/a.jpg")
    with pytest.raises(DataError, match="two of the folders are called photos"):
        find_photos([tmp_path / "x/photos", tmp_path / "y/photos"])


@pytest.mark.parametrize(("name", "expected"), [("a.JPE", True), ("a.nef", True), ("jpg", False)])
def test_photo_suffixes(name: str, expected: bool):
    assert has_photo_suffix(name) == expected


def test_sidecars_of_photos_are_not_listed(tmp_path: Path):
    write_files(tmp_path, "a.jpg", "a.xmp", "b.NEF", "b.NEF.xmp", "b.XMP", "other.xmp", "c.txt.xmp")
    listed = [entry.path.name for entry in walk_folder(tmp_path)]
    assert listed == ["a.jpg", "b.NEF", "c.txt.xmp", "other.xmp"]


def test_sidecars_are_found_without_asking_for_each_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_files(tmp_path, "a.jpg", "a.jpg.xmp", "a.xmp", "lone.xmp")

    def refuse(path: object) -> bool:
        raise AssertionError(path)

    monkeypatch.setattr("os.path.exists", refuse)
    assert [entry.path.name for entry in walk_folder(tmp_path)] == ["a.jpg", "lone.xmp"]
