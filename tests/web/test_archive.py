from photochrom.web.archive import unique_name


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
