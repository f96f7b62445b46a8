import pytest

from photochrom import file_names
from photochrom.file_names import is_refused, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ('who? "me": 1.jpg', "who_ _me__ 1.jpg"),
        ("a<b>c|d*e\\f/g\n.png", "a_b_c_d_e_f_g_.png"),
        ("CON.jpg", "_CON.jpg"),
        ("com1", "_com1"),
        ("common.jpg", "common.jpg"),
        ("dots...", "dots"),
        ("...", "_"),
        ("Großmutter 1910.jpg", "Großmutter 1910.jpg"),
    ],
)
def test_names_are_allowed_by_every_system(name: str, safe: str):
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    "name", ["a\\b.jpg", "a:b.jpg", "a?.jpg", "nul.jpg", "LPT1", "a.jpg ", "a.", "a\n.jpg"]
)
def test_windows_refuses_more_names(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_names, "_IS_WINDOWS", False)
    assert not is_refused(name)
    monkeypatch.setattr(file_names, "_IS_WINDOWS", True)
    assert is_refused(name)


@pytest.mark.parametrize("is_windows", [True, False])
def test_names_for_all_systems(is_windows: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_names, "_IS_WINDOWS", is_windows)
    assert not any(map(is_refused, ("a.jpg", ".a", "Größe (1).tif", "null.jpg", "a.b.c")))
    assert all(map(is_refused, ("", ".", "..")))
