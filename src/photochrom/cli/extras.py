"""Check that the dependencies of a command are installed."""

import importlib.util

from photochrom.errors import PhotochromError

_EXTRAS = {
    "train": ("torch", "lightning_fabric"),
    "ray": ("fsspec", "pyarrow", "ray", "s3fs"),
    "video": ("av",),
    "web": ("fastapi", "jinja2", "krippendorff", "python_multipart", "scipy", "segno", "uvicorn"),
}
"""Modules that each extra of pyproject.toml installs."""


def need(extra: str) -> None:
    """Raise a PhotochromError with the command to install unless an extra is installed."""
    missing = [name for name in _EXTRAS[extra] if not importlib.util.find_spec(name)]
    if missing:
        raise PhotochromError(
            f"this command needs {', '.join(missing)}; run `pip install 'photochrom[{extra}]'`"
        )
