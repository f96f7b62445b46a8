import pytest

from photochrom.web.sessions import sanitize_name


@pytest.mark.parametrize(
    ("name", "sanitized"),
    [
        ("C:\\photos\\old.jpg", "old.jpg"),
        ("../../etc/passwd", "passwd"),
        ("..", "photo"),
        ("", "photo"),
        (".hidden.jpg", "hidden.jpg"),
        ("a\nb\0c.jpg", "abc.jpg"),
        ("x" * 300 + ".jpeg", "x" * 115 + ".jpeg"),
    ],
)
def test_sanitize_name_returns_short_line(name: str, sanitized: str):
    assert sanitize_name(name) == sanitized
