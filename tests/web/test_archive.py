import pytest

from photochrom.web.archive import safe_name, unique_name


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


def test_names_differ_without_case():
    names: set[str] = set()
    given = ["a.jpg", "A.JPG", "a (2).jpg", "STRASSE.jpg", "straße.jpg"]
    assert [unique_name(name, names) for name in given] == [
        "a.jpg",
        "A (2).JPG",
        "a (2) (2).jpg",
        "STRASSE.jpg",
        "straße (2).jpg",
    ]
